"""Server process under observation, and the counts of a good client beside it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from inline.data.errors import MyostreamError
from inline.mrd.messages import Image
from inline.replay.client import ConnectionFailedError, exchange
from inline.replay.local_server import ServerNotStartedError
from inline.replay.run import records
from inline.replay.simulate import header_xml, simulate_examination, to_images

Address = tuple[str, int]

RESULTS_FROM: Final = 5000
"""First series number of results; the sender's are smaller."""
_READY: Final = re.compile(r"listening on (\S+):(\d+)")
_PUBLISHING: Final = re.compile(r"publishing on (\S+)")


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of a process: memory in MB (10^6 bytes), threads, file descriptors.

    Attributes:
        megabytes: resident memory.
        peak_mb: largest resident memory so far.
        threads: number of threads.
        descriptors: number of open file descriptors.
    """

    megabytes: float
    peak_mb: float
    threads: int
    descriptors: int


def usage(pid: int) -> Usage | None:
    """Return the resources of a process; None once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        resident, peak = (int(found[name].split()[0]) * 1.024e-3 for name in ("VmRSS", "VmHWM"))
        return Usage(resident, peak, int(found["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, KeyError):
        return None


@dataclass(slots=True)
class ServerProcess:
    """A ``myostream serve`` process.

    Attributes:
        process: its process.
        log: file with its standard output and its log.
        address: where it listens.
        publishing: address of ZeroMQ, or empty.
    """

    process: subprocess.Popen[bytes]
    log: Path
    address: Address = ("", 0)
    publishing: str = ""

    def log_text(self) -> str:
        """Return the log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, line: re.Pattern[str], deadline: float) -> re.Match[str]:
        """Wait for a line of the log.

        Raises:
            ServerNotStartedError: the process ended, or the monotonic clock passed the deadline.
        """
        while not (found := line.search(self.log_text())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerNotStartedError(f"the server did not start: {self.log_text()[-2000:].strip()}")
            time.sleep(0.05)
        return found

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


@contextmanager
def watched_server(
    arguments: Sequence[str] = (), settings: str = "", *, timeout_s: float = 120.0
) -> Iterator[ServerProcess]:
    """Start ``myostream serve`` on a free port with its log in a file; stop it at the end of the block.

    Args:
        arguments: further options of the command.
        settings: content of a settings file.
        timeout_s: longest time until it listens.

    Raises:
        ServerNotStartedError: it ended, or did not listen; the message holds the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="myostream-") as folder:
        file, log = Path(folder) / "settings.toml", Path(folder) / "log"
        file.write_text(settings, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "inline", "serve", "--port", "0", "--settings", str(file)]
        with log.open("wb") as output:
            process = subprocess.Popen([*command, *arguments], stdout=output, stderr=subprocess.STDOUT)
        server = ServerProcess(process, log)
        try:
            deadline = time.monotonic() + timeout_s
            host, port = server.wait_for(_READY, deadline).groups()
            server.address = (host, int(port))
            if "--zmq" in arguments:
                server.publishing = server.wait_for(_PUBLISHING, deadline)[1]
            yield server
        finally:
            server.stop(5.0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Header and images that a good client sends, and the number of maps that they give."""

    header: str
    images: list[Image]
    slices: int

    @classmethod
    def simulate(cls, hearts: int = 1, size: int = 128) -> Measurement:
        """Simulate one: a T1 and a T2 slice of each heart, ``size`` rows and columns."""
        simulated = simulate_examination(hearts, seed=7, size=size)
        return cls(header_xml(simulated), to_images(simulated), 2 * hearts)


@dataclass
class Tally:
    """Counts of a good client.

    Attributes:
        measurements: sent.
        sent: images sent.
        lost: images that did not come back bit-exact.
        disordered: measurements whose originals came back in another order.
        results: maps.
        contours: maps with contours.
        late: maps flagged ``late``.
        seconds: from the first byte to the close message, of each measurement that ended with one.
        problems: error messages of the others.
    """

    measurements: int = 0
    sent: int = 0
    lost: int = 0
    disordered: int = 0
    results: int = 0
    contours: int = 0
    late: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def send(self, address: Address, measurement: Measurement, *, timeout_s: float = 60.0) -> None:
        """Send a measurement and compare what comes back, message by message."""
        received: list[Image] = []
        try:
            exchanged = exchange(
                address,
                measurement.header,
                measurement.images,
                received=lambda message: received.append(message) if isinstance(message, Image) else None,
                timeout_s=timeout_s,
            )
            self.seconds.append(exchanged.finished - exchanged.first_sent)
        except (ConnectionFailedError, MyostreamError) as error:
            self.problems.append(str(error)[:120])
        originals = [image for image in received if image.header.image_series_index < RESULTS_FROM]
        lost = (Counter(measurement.images) - Counter(originals)).total()
        self.measurements += 1
        self.sent += len(measurement.images)
        self.lost += lost
        self.disordered += not lost and originals != measurement.images
        results = [record for record, _ in records(received)]
        self.results += len(results)
        self.contours += sum(record["contours"] is not None for record in results)
        self.late += sum("late" in record["flags"] for record in results)
