"""A server process under observation, and a good client beside whatever else happens to it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from inline.data.errors import MyostreamError
from inline.mrd.messages import Image, Message
from inline.replay.client import ConnectionFailedError, exchange
from inline.replay.local_server import ServerNotStartedError
from inline.replay.run import records
from inline.replay.simulate import header_xml, simulate_examination, to_images

Address = tuple[str, int]

_READY: Final = re.compile(r"listening on (\S+):(\d+)")
_PUBLISHING: Final = re.compile(r"publishing on (\S+)")
_TICK_S: Final = 0.1
_RESULTS_FROM: Final = 5000
"""Series of results; those of the sender are smaller."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds: resident memory (MB, 10^6 bytes), threads and file descriptors."""

    megabytes: float
    threads: int
    descriptors: int


def held(pid: int) -> Held | None:
    """Return what a process holds; None once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        kilobytes = int(found["VmRSS"].split()[0])
        return Held(kilobytes * 1.024e-3, int(found["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, KeyError):
        return None


@dataclass
class Watched:
    """A ``myostream serve`` process.

    Attributes:
        process: its process.
        address: where it listens.
        publishing: address of ZeroMQ, or empty.
        log: file with what it prints and logs.
        peak: largest resident memory so far, MB.
    """

    process: subprocess.Popen[bytes]
    address: Address
    publishing: str
    log: Path
    peak: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def text(self) -> str:
        """Return the log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def watch(self) -> None:
        """Follow the memory until the process ends."""
        while not self._over.wait(_TICK_S) and (now := held(self.process.pid)) is not None:
            self.peak = max(self.peak, now.megabytes)

    def stop(self, timeout_s: float = 60.0) -> int | None:
        """Send SIGTERM and return the exit code; None where the process had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            self._over.set()


@contextmanager
def watched_server(
    arguments: Sequence[str] = (), settings: str = "", *, timeout_s: float = 120.0
) -> Iterator[Watched]:
    """Start ``myostream serve`` on a free port with its log in a file; killed in the end where it still runs.

    Args:
        arguments: further options of the command.
        settings: content of a settings file.
        timeout_s: how long it may take until it listens.

    Raises:
        ServerNotStartedError: it ended, or did not listen; the message holds what it said.
    """
    with tempfile.TemporaryDirectory(prefix="myostream-") as folder:
        file, log = Path(folder) / "settings.toml", Path(folder) / "log"
        file.write_text(settings, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "inline", "serve", "--port", "0", "--settings", str(file)]
        with log.open("wb") as output:
            process = subprocess.Popen([*command, *arguments], stdout=output, stderr=subprocess.STDOUT)
        server = Watched(process, ("", 0), "", log)
        try:
            end = time.monotonic() + timeout_s
            while not (ready := _READY.search(server.text())):
                if process.poll() is not None or time.monotonic() > end:
                    raise ServerNotStartedError(f"the server did not start: {server.text()[-2000:].strip()}")
                time.sleep(0.05)
            server.address = (ready[1], int(ready[2]))
            if "--zmq" in arguments:
                while not (published := _PUBLISHING.search(server.text())):
                    time.sleep(0.05)
                server.publishing = published[1]
            watcher = threading.Thread(target=server.watch, daemon=True)
            watcher.start()
            yield server
        finally:
            server.stop(5.0)


@dataclass(frozen=True, slots=True)
class Examination:
    """What a good client sends."""

    header: str
    images: list[Image]
    slices: int

    @classmethod
    def simulate(cls, hearts: int = 1, size: int = 128) -> Examination:
        """Simulate one: a T1 and a T2 slice of each heart."""
        made = simulate_examination(hearts, seed=7, size=size)
        return cls(header_xml(made), to_images(made), 2 * hearts)


@dataclass
class Tally:
    """What a good client saw.

    Attributes:
        examinations: that it sent.
        sent: images sent.
        lost: images that did not come back bit for bit.
        disordered: examinations whose originals came in another order.
        results: maps.
        contours: maps with contours.
        late: maps that say ``late``.
        seconds: from the first byte to the close, of each examination that ended with one.
        problems: sentences about those that did not.
    """

    examinations: int = 0
    sent: int = 0
    lost: int = 0
    disordered: int = 0
    results: int = 0
    contours: int = 0
    late: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def examine(self, address: Address, examination: Examination, *, timeout_s: float = 60.0) -> None:
        """Send an examination and compare what comes back, message by message."""
        back: list[Image] = []
        results: list[Image] = []

        def received(message: Message) -> None:
            if isinstance(message, Image):
                original = message.header.image_series_index < _RESULTS_FROM
                (back if original else results).append(message)

        try:
            exchanged = exchange(
                address, examination.header, examination.images, received=received, timeout_s=timeout_s
            )
            self.seconds.append(exchanged.finished - exchanged.first_sent)
        except (ConnectionFailedError, MyostreamError) as error:
            self.problems.append(str(error)[:120])
        lost = sum((Counter(examination.images) - Counter(back)).values())
        self.examinations += 1
        self.sent += len(examination.images)
        self.lost += lost
        self.disordered += not lost and back != examination.images
        found = [record for record, _ in records(results)]
        self.results += len(found)
        self.contours += sum(record["contours"] is not None for record in found)
        self.late += sum("late" in record["flags"] for record in found)
