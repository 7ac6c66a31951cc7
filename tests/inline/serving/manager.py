"""A service manager in the place of systemd, which does not run in a test."""

import socket
import threading
import time


class Manager:
    """Socket of a service manager; keeps the messages with their times."""

    def __init__(self, path, watchdog_s):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.watchdog_s, self.received, self._changed = watchdog_s, [], threading.Condition()
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            message = self._socket.recv(4096).decode().split("\n")
            with self._changed:
                self.received += [(time.monotonic(), each) for each in message]
                self._changed.notify_all()

    def texts(self):
        return [text for _, text in self.received]

    def wait(self, beginning, number=1, timeout=120):
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(text.startswith(beginning) for text in self.texts()) >= number, timeout
            ), self.texts()

    def wait_for_silence(self, timeout=60):
        """Wait until the watchdog has not been fed for its time, as systemd does."""
        end = time.monotonic() + timeout
        while (
            time.monotonic() - max(at for at, text in self.received if text == "WATCHDOG=1") < self.watchdog_s
        ):
            assert time.monotonic() < end, "the watchdog is still fed"
            time.sleep(0.05)
