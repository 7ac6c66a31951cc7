"""Headless Chromium, driven over a pipe in the DevTools protocol: a page as a user has it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from inline.data.errors import MyostreamError

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",  # root may not use it; the page is our own
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_ACTIONS: Final[dict[str, dict[str, Any]]] = {
    "Enter": {"text": "\r", "windowsVirtualKeyCode": 13},
    "Tab": {"windowsVirtualKeyCode": 9},
}
"""Further parameters of keys with which the browser itself does something."""
_PIECE: Final = 1 << 16
_SILENT_S: Final = 60.0
_END: Final = b"\0"


def executable() -> str | None:
    """Return the path of Chromium; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Browser:
    """One window with one page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        """Open an empty page; arguments: descriptors of the pipes."""
        self._to, self._from = to_browser, from_browser
        self._received = b""
        self._numbers = itertools.count(1)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str, width: int = 1600, height: int = 1000) -> None:
        """Open an address in a window of a size, pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'", 60.0)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript, as JSON can hold it."""
        reply = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in reply:
            raise MyostreamError(f"the browser reports: {json.dumps(reply['exceptionDetails'])[:500]}")
        return reply["result"].get("value")

    def wait(self, expression: str, timeout_s: float = 20.0) -> Any:
        """Return the value of an expression once it counts as true.

        Raises:
            MyostreamError: it does not within the time.
        """
        end = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise MyostreamError(f"the page did not show {expression} within {timeout_s:g} s")
            time.sleep(0.05)
        return value

    def press(self, key: str) -> None:
        """Press and release a key: a character, or a name such as ``ArrowRight``."""
        text = {"text": key} if len(key) == 1 else _ACTIONS.get(key, {})
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, file: Path) -> None:
        """Write the window as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + _END)
        while (reply := self._receive()).get("id") != number:
            pass
        if "error" in reply:
            raise MyostreamError(f"the browser refuses {method}: {reply['error'].get('message')}")
        result: dict[str, Any] = reply["result"]
        return result

    def _receive(self) -> dict[str, Any]:
        while _END not in self._received:
            if not select.select([self._from], [], [], _SILENT_S)[0]:
                raise MyostreamError(f"the browser was silent for {_SILENT_S:g} s")
            piece = os.read(self._from, _PIECE)
            if not piece:
                raise MyostreamError("the browser has ended")
            self._received += piece
        first, _, self._received = self._received.partition(_END)
        message: dict[str, Any] = json.loads(first)
        return message


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser with a new profile, and end it with the block.

    Raises:
        MyostreamError: there is none.
    """
    path = executable()
    if path is None:
        raise MyostreamError("there is no chromium on this host; install Debian's package chromium")
    commands, replies = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The protocol fixes the descriptors: 3 to read from, 4 to write to.
        shell = f'exec "$0" "$@" 3<&{commands[0]} 4>&{replies[1]}'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, path, *_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[commands[0], replies[1]],
            start_new_session=True,
        )
        os.close(commands[0])
        os.close(replies[1])
        try:
            yield Browser(commands[1], replies[0])
        finally:
            os.close(commands[1])
            os.close(replies[0])
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
