"""Latency of one slice at a scanner's pace: percentiles, jitter, stages of the slowest."""

from __future__ import annotations

import itertools
import socket
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.values import PERCENTILES, draw_curves, percentiles, write_results
from bench.watched import Address, make_stream, receive
from inline.cli.tables import print_lines, print_values
from inline.data.results import RESULT_ATTRIBUTE
from inline.mrd.messages import Close, ConfigFile, Header, Image, Message
from inline.mrd.protocol import encode
from inline.replay.local_server import started_server
from inline.replay.run import records

_IMAGES_BACK: Final = 3
"""Map, labels and overlay."""
_FASTER: Final = 10.0
_LONGEST_S: Final = 86_400.0
"""Of a session."""
OUTSIDE: Final = "outside the stages"
"""Sockets, assembly, encoding, and waiting for a core."""
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
    """Send a slice every ``interval_ms``, then as many at ten times that pace, to one server process."""
    header, stream = make_stream(slices)
    paces = []
    with started_server(["--engine", engine]) as server:
        for pace in (interval_ms, interval_ms / _FASTER):
            slices_ = run_session(server.address, header, stream, pace / 1000.0)
            paces.append({"interval_ms": pace, **summary(slices_)})
    return {"engine": engine, "engine_used": server.engine, "slices": slices, "paces": paces}


def summary(slices: Sequence[Slice]) -> dict[str, Any]:
    """Return percentiles overall and by quantity, jitter, and the slowest slice with its cause.

    The first slice of each quantity runs with cold caches: it is stated apart (``first_ms``) and left out
    elsewhere. ``jitter_ms`` holds the standard deviation, and the mean difference between successive slices
    of a quantity.
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


def run_session(address: Address, header: str, stream: list[list[Image]], interval: float) -> list[Slice]:
    """Send the slices and return them; a slice is complete with the last of its result images.

    Args:
        address: of the server.
        header: of the measurement.
        stream: images of each slice; no two may be alike, or the server takes them for duplicates.
        interval: between two slices, s.

    Raises:
        TimeoutError: a slice has no result within a minute.
    """
    took: list[float] = []
    results: list[Image] = []
    finished = [0.0]
    arrived = threading.Semaphore(0)

    def handle(message: Message) -> None:
        if isinstance(message, Image) and b"MYOSTREAM" in message.attributes:
            results.append(message)
            if len(results) % _IMAGES_BACK == 0:
                finished[0] = time.perf_counter()
                arrived.release()

    with socket.create_connection(address, timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        reader = threading.Thread(target=receive, args=(connection, _LONGEST_S, handle), daemon=True)
        reader.start()
        due = time.perf_counter()
        for number, images in enumerate(stream):
            due = max(due + interval, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
            connection.sendall(b"".join(encode(image) for image in images))
            last_byte = time.perf_counter()
            if not arrived.acquire(timeout=60):
                raise TimeoutError(f"slice {number} had no result within a minute")
            took.append((finished[0] - last_byte) * 1000.0)
        connection.sendall(encode(Close()))
        reader.join(timeout=30)
    # Results come in the order of sending. They are read afterwards, outside the measured time.
    maps = [image for image in results if RESULT_ATTRIBUTE.encode() in image.attributes]
    found = [records([image])[0][0] for image in maps]
    return [
        Slice(record["quantity"], latency, record["times_ms"], "late" in record["flags"], number)
        for number, (record, latency) in enumerate(zip(found, took, strict=True))
    ]


def show(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Write the values, draw the latency of each slice, print the tables."""
    write_results(json_file, results)
    curves = [
        {"latency": (range(len(pace["all_ms"])), pace["all_ms"])}
        | {name: ((0, len(pace["all_ms"])), (pace["latency_ms"][name],) * 2) for name in ("p50", "p99")}
        for pace in results["paces"]
    ]
    draw_curves(plot, [("slice", "last byte in to last byte out, ms", each) for each in curves])
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
