"""Latency of one slice at a scanner's pace: percentiles, jitter, stages of the slowest."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from bench.values import PERCENTILES, draw_curves, percentiles, write_results
from bench.watched import Address, make_stream, receive
from inline.data.errors import MyostreamError
from inline.emit.record import Record
from inline.mrd.messages import Close, ConfigFile, Header, Image, Message, Text
from inline.mrd.protocol import encode
from inline.replay.local_server import started_server
from inline.replay.replies import records, without_result
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines

_FASTER: Final = 10.0
_LONGEST_S: Final = 86_400.0
"""Of a session."""
_LONGEST_WAIT_S: Final = 60.0
"""Of a slice for its result."""
_SETTLE_S: Final = 0.002
OUTSIDE: Final = "outside the stages"
"""Sockets, assembly, encoding, and waiting for a core."""
_FEWEST: Final = 4
"""Slices of a summary."""
_COLUMNS: Final = f"{PERCENTILES}, p99_over_p50 .2f, jitter_SD .1f"


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice.

    Attributes:
        quantity: ``T1`` or ``T2``.
        latency_ms: from its last byte to the last byte of its results.
        stages_ms: of its record, by the server's clock; stages that ended after the budget are missing.
        late: flagged ``late``.
        number: in the order of sending.
    """

    quantity: str
    latency_ms: float
    stages_ms: dict[str, float]
    late: bool = False
    number: int = 0

    def parts(self) -> dict[str, float]:
        """Return the stages and the rest of the latency, ms."""
        return {**self.stages_ms, OUTSIDE: self.latency_ms - sum(self.stages_ms.values())}


def measure(slices: int, interval_ms: float, engine: str = "auto") -> dict[str, Any]:
    """Send a slice every ``interval_ms``, then as many at ten times that pace, to one server process.

    Where a slice fails, the values are those of the slices before it, with the ``problem``.
    """
    header, stream = make_stream(slices)
    paces, problem = [], ""
    with started_server(["--engine", engine]) as server:
        for pace in (interval_ms, interval_ms / _FASTER):
            try:
                slices_ = run_session(server.address, header, stream, pace / 1000.0)
            except NoResultError as error:
                slices_, problem = error.slices, error.message
                if len(slices_) < _FEWEST:
                    raise
            paces.append({"interval_ms": pace, **summary(slices_)})
            if problem:
                break
    found = {"engine": engine, "engine_used": server.engine, "slices": slices, "paces": paces}
    return {**found, "problem": problem} if problem else found


def summary(slices: Sequence[Slice]) -> dict[str, Any]:
    """Return percentiles overall and by quantity, jitter, and the slowest slice with its cause.

    The first slice of each quantity is stated apart (``first_ms``) and left out elsewhere: the first of a
    connection waits for its motion-corrected twin (``assembly.corrected_wait_s``, 1 s), and caches are cold.
    ``jitter_ms`` holds the standard deviation, and the mean difference between successive slices of a
    quantity.
    """
    kinds = sorted({each.quantity for each in slices})
    first = {kind: next(each for each in slices if each.quantity == kind) for kind in kinds}
    slices = [each for each in slices if each not in first.values()]
    took = {kind: [each.latency_ms for each in slices if each.quantity == kind] for kind in kinds}
    steps = [abs(b - a) for values in took.values() for a, b in itertools.pairwise(values)]
    everything = [each.latency_ms for each in slices]
    return {
        "first_ms": {kind: each.latency_ms for kind, each in first.items()},
        "late": sum(each.late for each in slices),
        "latency_ms": percentiles(everything),
        "by_quantity_ms": {kind: percentiles(values) for kind, values in took.items()},
        "jitter_ms": {
            "standard_deviation": {kind: statistics.pstdev(values) for kind, values in took.items()},
            "between_neighbours": statistics.fmean(steps) if steps else 0.0,
        },
        "worst": slowest(slices),
        "numbers": [each.number for each in slices],
        "all_ms": [round(value, 3) for value in everything],
    }


def slowest(slices: Sequence[Slice]) -> dict[str, Any]:
    """Return the slowest slice and the cause of its latency.

    Returns:
        ``slice``; ``excess_ms``: each part above its median over slices of the same quantity; ``part``:
        stage, or :data:`OUTSIDE`, with the largest excess.
    """
    worst = max(slices, key=lambda each: each.latency_ms)
    alike = [each.parts() for each in slices if each.quantity == worst.quantity]
    excess = {
        name: value - statistics.median([parts.get(name, 0.0) for parts in alike])
        for name, value in worst.parts().items()
    }
    return {"slice": asdict(worst), "part": max(excess, key=lambda name: excess[name]), "excess_ms": excess}


class NoResultError(MyostreamError):
    """A slice has no result.

    Attributes:
        slices: those before it.
    """

    def __init__(self, message: str, slices: list[Slice]) -> None:
        super().__init__(message)
        self.slices = slices


class _Replies:
    """Replies of a session by the number of their slice.

    Another thread notes each message with its time. They are read when a slice is complete, outside the
    measured time.
    """

    def __init__(self, stream: Sequence[Sequence[Image]]) -> None:
        heads = [images[0].header for images in stream]
        self._numbers = {(head.image_series_index, head.slice): number for number, head in enumerate(heads)}
        self._noted: list[tuple[float, Image | Text]] = []
        self._read = 0
        self._current = -1
        self._changed = threading.Event()
        self.ended: dict[int, float] = {}
        self.found: dict[int, tuple[str, Record]] = {}
        """Severity of a slice of which only a text came, empty for one with a map; record."""

    def note(self, message: Message) -> None:
        if isinstance(message, Text) or (isinstance(message, Image) and _of_slice(message)):
            self._noted.append((time.perf_counter(), message))
            self._changed.set()

    def wait(self, number: int) -> bool:
        """Wait for the result of a slice, or the text that it has none; False where neither comes."""
        end = time.monotonic() + _LONGEST_WAIT_S
        while number not in self.found and self._changed.wait(max(end - time.monotonic(), 0.0)):
            self._changed.clear()
            time.sleep(_SETTLE_S)  # map, labels and overlay, or text and map, are sent in one piece
            self.read()
        return number in self.found

    def read(self) -> None:
        """Assign what has come: images after a map are of its slice, for any choice of ``emit``."""
        while self._read < len(self._noted):
            at, message = self._noted[self._read]
            self._read += 1
            if isinstance(message, Text):
                severity, stated = message.text[:3], without_result([message.text], [])
                if not stated:
                    continue
            else:
                severity, stated = "", [record for record, _ in records([message])]
            for record in stated:
                self._current = self._numbers[record["series_index"], record["slice_index"]]
                self.found[self._current] = (severity, record)
            self.ended[self._current] = at


def _of_slice(image: Image) -> bool:
    """Return whether an image is a result of a slice, and not the report at the end of a session."""
    return b"MYOSTREAM" in image.attributes and b"myostream_REPORT" not in image.attributes


def run_session(address: Address, header: str, stream: list[list[Image]], interval: float) -> list[Slice]:
    """Send the slices and return them; a slice is complete with the last of its result images.

    A late slice without a map is complete with the text that states it.

    Args:
        address: of the server.
        header: of the measurement.
        stream: images of each slice; no two may be alike, or the server takes them for duplicates.
        interval: between two slices, s.

    Raises:
        NoResultError: a slice failed, or has no result within a minute.
    """
    replies, last_bytes = _Replies(stream), list[float]()

    def measured() -> list[Slice]:
        made = []
        for number, (severity, record) in sorted(replies.found.items(), key=itemgetter(0)):
            took = (replies.ended[number] - last_bytes[number]) * 1000.0
            late = bool(severity) or "late" in record["flags"]
            times = {} if severity else record["times_ms"]
            made.append(Slice(record["quantity"], took, times, late, number))
        return made

    with socket.create_connection(address, timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        reader = threading.Thread(target=receive, args=(connection, _LONGEST_S, replies.note), daemon=True)
        reader.start()
        due = time.perf_counter()
        for number, images in enumerate(stream):
            due = max(due + interval, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
            connection.sendall(b"".join(encode(image) for image in images))
            last_bytes.append(time.perf_counter())
            if not replies.wait(number):
                raise NoResultError(f"slice {number} had no result within a minute", measured())
            severity, record = replies.found[number]
            if severity == "ERR":
                del replies.found[number]
                raise NoResultError(f"slice {number}: {record['error']}", measured())
        connection.sendall(encode(Close()))
        reader.join(timeout=30)
    replies.read()
    return measured()


def show(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Write the values, draw the latency of each slice, print the tables.

    Raises:
        MyostreamError: the measurement ended early, as its ``problem`` states.
    """
    write_results(json_file, results)
    panels = [
        (
            f"slice, one every {pace['interval_ms']:.0f} ms",
            "last byte in to last byte out, ms",
            {
                "latency": (pace["numbers"], pace["all_ms"]),
                **{name: pace["latency_ms"][name] for name in ("p50", "p99")},
            },
        )
        for pace in results["paces"]
    ]
    draw_curves(plot, panels)
    rows, lines = {}, []
    for pace in results["paces"]:
        name, spread = f"every {pace['interval_ms']:.0f} ms", pace["jitter_ms"]["standard_deviation"]
        for kind, values in (("", pace["latency_ms"]), *pace["by_quantity_ms"].items()):
            more = {"p99_over_p50": values["p99"] / values["p50"], "jitter_SD": spread.get(kind)}
            rows[f"{name} {kind}"] = {**values, **more}
        worst = pace["worst"]
        excess = sorted(worst["excess_ms"].items(), key=lambda each: -each[1])
        lines.append(
            f"{name}, slowest: slice {worst['slice']['number']} ({worst['slice']['quantity']}), "
            f"{worst['slice']['latency_ms']:.1f} ms, by {worst['part']}; above the median, ms: "
            f"{', '.join(f'{part} {value:+.1f}' for part, value in excess)}; {pace['late']} slices late; "
            f"first slices {', '.join(f'{kind} {value:.1f} ms' for kind, value in pace['first_ms'].items())}"
        )
    title = f"{results['slices']} slices one by one, engine {results['engine_used']}: ms to the result"
    print_values(title, "interval", rows, _COLUMNS)
    print_lines(*lines)
    if "problem" in results:
        raise MyostreamError(f"the measurement ended early: {results['problem']}")
