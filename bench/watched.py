"""Measurement of a server process from outside: slices for it, its replies and resources, a good client."""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from inline.data.errors import MyostreamError, ProtocolError
from inline.mrd.messages import Image, Message
from inline.mrd.protocol import Decoder
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.replay.simulate import MOLLI_SERIES, header_xml, simulate_examination, to_images
from model.synthesis.contrast_agent import USUAL_AGENT

Address = tuple[str, int]

RESULTS_FROM: Final = 5000
"""First series number of results; the sender's are smaller."""
_MOTION_MM: Final = 8.0
"""Largest displacement of a moving heart."""
_HEARTS: Final = 4
"""Simulated hearts of a stream; more slices repeat them."""


def usage(pid: int) -> dict[str, float] | None:
    """Return the resources of a process; None once it has ended.

    Returns:
        ``megabytes`` (10^6 bytes) of resident memory, ``peak_mb``: most so far; numbers of ``threads`` and of
        open file ``descriptors``.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        resident, peak = (int(found[name].split()[0]) * 1.024e-3 for name in ("VmRSS", "VmHWM"))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, KeyError):
        return None
    threads = int(found["Threads"])
    return {"megabytes": resident, "peak_mb": peak, "threads": threads, "descriptors": descriptors}


def receive(
    connection: socket.socket, seconds: float, handle: Callable[[Message], None], at_once: int = 1 << 20
) -> str:
    """Handle each message of a connection for so many seconds, or until it ends.

    Returns:
        ``eof``, ``reset``, ``nonsense``, or ``silent`` where the connection did not end in time.
    """
    decoder, end = Decoder(), time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(at_once)
            if not data:
                return "eof"
            for message in decoder.receive(data):
                handle(message)
    except TimeoutError:
        pass
    except OSError:
        return "reset"
    except ProtocolError:
        return "nonsense"
    return "silent"


def make_stream(slices: int, size: int = 256, moving: float = 0.0) -> tuple[str, list[list[Image]]]:
    """Return a header, and the images of each slice: MOLLI (8) and T2-prep (3) in turn.

    Args:
        slices: half of them MOLLI.
        size: rows and columns.
        moving: share of the hearts that move by breathing, evenly among the others.
    """
    hearts = simulate_examination(_HEARTS, seed=3, size=size)
    breathing = simulate_examination(_HEARTS, seed=3, size=size, motion_mm=_MOTION_MM) if moving else []
    series: dict[tuple[bool, int, int], list[Image]] = {}
    for moves, simulated in ((False, hearts), (True, breathing)):
        for image in to_images(simulated):
            place = (moves, image.header.slice, image.header.image_series_index)
            series.setdefault(place, []).append(image)
    stream = []
    for number in range(slices):
        heart = number // 2
        moves = math.floor((heart + 1) * moving) > math.floor(heart * moving)
        members = series[moves, heart % _HEARTS, MOLLI_SERIES + number % 2]
        # Another slice number and position: the server takes equal images for duplicates.
        slice_, position = number // 2, (0.0, 0.0, 10.0 * (number // 2))
        stream.append(
            [replace(each, header=replace(each.header, slice=slice_, position=position)) for each in members]
        )
    return header_xml(hearts), stream


@dataclass(frozen=True, slots=True)
class Measurement:
    """Header and images that a good client sends, and the number of maps that they give."""

    header: str
    images: list[Image]
    slices: int

    @classmethod
    def simulate(cls, hearts: int = 1, size: int = 128, *, post_contrast: bool = False) -> Measurement:
        """Simulate one: a T1 and a T2 slice of each heart, ``size`` rows and columns.

        Args:
            post_contrast: add a T1 slice after contrast agent, of each heart.
        """
        simulated = simulate_examination(hearts, seed=7, size=size)
        post = simulate_examination(hearts, seed=7, size=size, agent=USUAL_AGENT) if post_contrast else []
        return cls(header_xml(simulated), to_images(simulated, post), 2 * hearts + len(post))


@dataclass
class ClientTally:
    """Counts of a good client.

    Attributes:
        measurements: sent.
        sent: images sent.
        lost: images that did not come back bit-exact.
        disordered: measurements whose originals came back in another order.
        expected: maps that the measurements give.
        results: maps that came.
        contours: maps with contours.
        late: maps flagged ``late``.
        seconds: from the first byte to the close message, of each measurement that ended with one.
        problems: error messages of the others.
    """

    measurements: int = 0
    sent: int = 0
    lost: int = 0
    disordered: int = 0
    expected: int = 0
    results: int = 0
    contours: int = 0
    late: int = 0
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: ClientTally) -> ClientTally:
        """Return the sums of the counts of two."""
        return ClientTally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

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
        except MyostreamError as error:
            self.problems.append(str(error)[:120])
        self.measurements += 1
        self.expected += measurement.slices
        self.count(measurement.images, received)

    def count(self, sent: Sequence[Image], received: Sequence[Image]) -> None:
        """Compare images that were sent with those that came back, and count the results among these."""
        originals = [image for image in received if image.header.image_series_index < RESULTS_FROM]
        lost = (Counter(sent) - Counter(originals)).total()
        self.sent += len(sent)
        self.lost += lost
        self.disordered += not lost and originals != list(sent)
        results = [record for record, _ in records(received)]
        self.results += len(results)
        self.contours += sum(record["contours"] is not None for record in results)
        self.late += sum("late" in record["flags"] for record in results)
