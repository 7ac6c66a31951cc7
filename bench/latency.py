"""How long one slice takes at a scanner's pace, how evenly, and what held up the slowest."""

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

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.stream import make_stream, percentiles
from inline.data.results import RESULT_ATTRIBUTE
from inline.mrd.messages import Close, ConfigFile, Header, Image
from inline.mrd.protocol import Decoder, encode
from inline.replay.local_server import started_server
from inline.replay.run import records
from model.machine import describe_machine
from model.output import save_figure, write_json

_IMAGES_BACK: Final = 3
"""Map, labels and overlay."""
_FASTER: Final = 10.0
OUTSIDE: Final = "outside the stages"
"""Sockets, assembly, encoding, and whatever kept the server's threads from running."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice.

    Attributes:
        quantity: ``T1`` or ``T2``.
        latency_ms: from its last byte to the last byte of its results.
        stages_ms: of its record, the server's own clock; those that were not over when the budget ended are
            missing.
        late: its budget ended first.
        number: in the order of sending.
    """

    quantity: str
    latency_ms: float
    stages_ms: dict[str, float]
    late: bool = False
    number: int = 0

    def parts(self) -> dict[str, float]:
        """Stages and what is left of the latency, ms."""
        return {**self.stages_ms, OUTSIDE: self.latency_ms - sum(self.stages_ms.values())}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the slowest slice was slow.

    Attributes:
        slice: the slowest.
        part: stage, or :data:`OUTSIDE`, with the largest excess.
        excess_ms: of each part over its median for slices of the same quantity.
    """

    slice: Slice
    part: str
    excess_ms: dict[str, float]


def measure(slices: int, interval_ms: float, engine: str = "auto") -> dict[str, Any]:
    """Send a slice every ``interval_ms``, then as many at ten times that pace, to one server process."""
    header, stream = make_stream(slices)
    paces = []
    with started_server(["--engine", engine]) as server:
        for pace in (interval_ms, interval_ms / _FASTER):
            found = _session(server.address, header, stream, pace / 1000.0)
            paces.append({"interval_ms": pace, **summary(found)})
    return {"machine": describe_machine(), "engine": engine, "slices": slices, "paces": paces}


def summary(slices: Sequence[Slice]) -> dict[str, Any]:
    """Percentiles overall and by quantity, jitter, and the worst case with its cause.

    The first slice of each quantity finds caches cold: it stands by itself (``first_ms``) and counts in
    nothing else. ``jitter_ms`` has the standard deviation, and the mean difference of one slice from the next
    of its quantity.
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
        "worst": asdict(cause(slices)),
        "all_ms": [round(value, 3) for value in everything],
    }


def cause(slices: Sequence[Slice]) -> Cause:
    """The slowest slice, and what took longest beyond its usual time."""
    worst = max(slices, key=lambda each: each.latency_ms)
    alike = [each.parts() for each in slices if each.quantity == worst.quantity]
    excess = {
        name: value - statistics.median([parts.get(name, 0.0) for parts in alike])
        for name, value in worst.parts().items()
    }
    return Cause(worst, max(excess, key=lambda name: excess[name]), excess)


def _session(
    address: tuple[str, int], header: str, stream: list[list[Image]], interval: float
) -> list[Slice]:
    """Every slice; it is complete with the last of its result images.

    Args:
        address: of the server.
        header: of the measurement.
        stream: the images of each slice; no two alike, since the server takes those for sent again.
        interval: between two slices, s.

    Raises:
        TimeoutError: a slice has no result within a minute.
    """
    took: list[float] = []
    maps: list[Image] = []
    with socket.create_connection(address, timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        arrived = threading.Semaphore(0)
        finished: list[float] = []

        def receive() -> None:
            decoder, results = Decoder(), 0
            while not decoder.closed:
                data = connection.recv(1 << 20)
                if not data:
                    return
                for message in decoder.receive(data):
                    if isinstance(message, Image) and b"MYOSTREAM" in message.attributes:
                        results += 1
                        if RESULT_ATTRIBUTE.encode() in message.attributes:
                            maps.append(message)
                        if results % _IMAGES_BACK == 0:
                            finished.append(time.perf_counter())
                            arrived.release()

        reader = threading.Thread(target=receive, daemon=True)
        reader.start()
        due = time.perf_counter()
        for number, images in enumerate(stream):
            due = max(due + interval, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
            connection.sendall(b"".join(encode(image) for image in images))
            last_byte = time.perf_counter()
            if not arrived.acquire(timeout=60):
                raise TimeoutError(f"slice {number} had no result within a minute")
            took.append((finished[-1] - last_byte) * 1000.0)
        connection.sendall(encode(Close()))
        reader.join(timeout=30)
    # One slice at a time: results come in the order of sending. Read afterwards, not to disturb.
    found = [records([image])[0][0] for image in maps]
    return [
        Slice(record["quantity"], latency, record["times_ms"], "late" in record["flags"], number)
        for number, (record, latency) in enumerate(zip(found, took, strict=True))
    ]


def show(figures: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Print the figures, write them, draw the histogram."""
    console = Console()
    table = Table(
        title=f"{figures['slices']} slices one by one, engine {figures['engine']}: ms to the result"
    )
    for column in ("pace", "p50", "p95", "p99", "max", "p99 / p50", "jitter"):
        table.add_column(column, justify="left" if column == "pace" else "right")
    for pace in figures["paces"]:
        rows = {
            "": pace["latency_ms"],
            **{f", {kind}": each for kind, each in pace["by_quantity_ms"].items()},
        }
        for kind, values in rows.items():
            spread = pace["jitter_ms"]["standard_deviation"].get(kind.removeprefix(", "))
            table.add_row(
                f"every {pace['interval_ms']:.0f} ms{kind}",
                *(f"{values[name]:.1f}" for name in ("p50", "p95", "p99", "max")),
                f"{values['p99'] / values['p50']:.2f}",
                "" if spread is None else f"{spread:.1f}",
            )
    console.print(table)
    for pace in figures["paces"]:
        worst = pace["worst"]
        excess = ", ".join(
            f"{name} {value:+.1f}"
            for name, value in sorted(worst["excess_ms"].items(), key=lambda each: -each[1])
        )
        console.print(
            f"every {pace['interval_ms']:.0f} ms, worst: slice {worst['slice']['number']} "
            f"({worst['slice']['quantity']}), {worst['slice']['latency_ms']:.1f} ms, by {worst['part']}; "
            f"beyond the usual, ms: {excess}; {pace['late']} slices late; first slices "
            f"{', '.join(f'{kind} {value:.1f} ms' for kind, value in pace['first_ms'].items())}",
            highlight=False,
        )
    console.print("jitter: standard deviation of the latencies, ms")
    if json_file is not None:
        write_json(json_file, figures)
    if plot is not None:
        _histogram(plot, figures["paces"])
        console.print(f"histogram: {plot}", highlight=False)


def _histogram(file: Path, paces: Sequence[dict[str, Any]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(len(paces), 1, figsize=(7, 2.6 * len(paces)), sharex=True, squeeze=False)
    for axes, pace in zip(rows[:, 0], paces, strict=True):
        axes.hist(np.array(pace["all_ms"]), bins=80)
        for name, style in (("p50", "-"), ("p99", "--")):
            value = pace["latency_ms"][name]
            axes.axvline(value, linestyle=style, color="0.3", label=f"{name} {value:.0f} ms")
        axes.set_ylabel(f"slices, one every\n{pace['interval_ms']:.0f} ms")
        axes.legend()
    rows[-1, 0].set_xlabel("last byte of a slice to last byte of its results, ms")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
    plt.close(figure)
