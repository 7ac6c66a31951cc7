"""Soak: one server over thousands of slices, as table and plot: ``python -m bench.soak --slices 10000``.

Two good clients send one measurement after the other. A third client breaks off in the middle of an image
every few seconds. Memory, threads, file descriptors and latency are sampled at even numbers of slices.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from bench.attacks import break_off
from bench.output import print_lines, print_table
from bench.timing import percentiles
from bench.watched import Measurement, ServerProcess, Tally, Usage, usage, watched_server
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile, output_file
from inline.data.errors import MyostreamError
from model.evaluation.figures import figure
from model.machine import describe_machine
from model.output import write_json

_CLIENTS: Final = 2
_BREAK_OFF_EVERY_S: Final = 5.0
_SETTLED: Final = 500
"""Slices after which all caches and threads exist: memory is compared with this sample."""
_SAMPLES: Final = 40
_GROWTH: Final = 1.05
_TICK_S: Final = 0.05
_QUIET_S: Final = 3.0
"""Pause after the last client has gone, before threads and descriptors are counted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One point in time.

    Attributes:
        seconds: since the first slice.
        slices: maps received so far.
        held: resources of the server.
        latency_s: percentiles of the durations of the measurements since the previous sample.
    """

    seconds: float
    slices: int
    held: Usage
    latency_s: dict[str, float]


def measure(
    slices: int, *, engine: str = "auto", measurement: Measurement | None = None, samples: int = _SAMPLES
) -> dict[str, Any]:
    """Run a server on so many slices.

    Returns:
        ``samples``, ``settled`` and ``end`` (resources of the server), ``idle`` before and after all clients,
        ``tally`` of the good clients, ``broken_off``, ``code``, ``tracebacks``, ``log_bytes``, and ``grown``:
        names of the resources that have grown.
    """
    sent = measurement or Measurement.simulate(3, 192)
    with watched_server(["--engine", engine]) as server:
        Tally().send(server.address, sent)  # threads and caches of the first slice
        before = _idle(server)
        tallies, taken, broken_off = _run(server, sent, slices, samples)
        after = _idle(server)
        code, text = server.stop(), server.log_text()
    settled = next((each for each in taken if each.slices >= min(_SETTLED, slices // 2)), taken[-1])
    growth = {
        "memory": taken[-1].held.megabytes > _GROWTH * settled.held.megabytes,
        "threads": after.threads > before.threads,
        "descriptors": after.descriptors > before.descriptors,
    }
    whole = {
        field.name: sum((getattr(each, field.name) for each in tallies[1:]), getattr(tallies[0], field.name))
        for field in fields(Tally)
    }
    return {
        "machine": describe_machine(),
        "engine": engine,
        "slices": slices,
        "samples": [asdict(each) for each in taken],
        "settled": asdict(settled),
        "end": asdict(taken[-1]),
        "idle": {"before": asdict(before), "after": asdict(after)},
        "tally": {**whole, "seconds": percentiles(whole["seconds"])},
        "broken_off": broken_off,
        "code": code,
        "tracebacks": text.count("Traceback"),
        "log_bytes": len(text),
        "grown": [name for name, grown in growth.items() if grown],
    }


def _run(
    server: ServerProcess, sent: Measurement, slices: int, samples: int
) -> tuple[list[Tally], list[Sample], int]:
    """Return the counts of the good clients, the samples, and the number of connections broken off."""
    tallies = [Tally() for _ in range(_CLIENTS)]
    over = threading.Event()
    broken_off: list[None] = []

    def good_client(tally: Tally) -> None:
        while sum(each.measurements for each in tallies) * sent.slices < slices:
            tally.send(server.address, sent, timeout_s=120.0)

    def broken_client() -> None:
        generator = random.Random(1)
        while not over.wait(_BREAK_OFF_EVERY_S):
            with contextlib.suppress(OSError):
                break_off(server.address, sent, generator)
                broken_off.append(None)

    clients = [threading.Thread(target=good_client, args=(tally,)) for tally in tallies]
    for thread in (*clients, threading.Thread(target=broken_client, daemon=True)):
        thread.start()
    taken: list[Sample] = []
    counted = [0] * len(tallies)
    start = time.monotonic()

    def sample() -> None:
        recent = [tally.seconds[count:] for tally, count in zip(tallies, counted, strict=True)]
        counted[:] = [count + len(new) for count, new in zip(counted, recent, strict=True)]
        now = usage(server.process.pid)
        if now is not None:
            latency = percentiles([value for new in recent for value in new])
            taken.append(Sample(time.monotonic() - start, _maps(tallies), now, latency))

    while any(thread.is_alive() for thread in clients) and server.process.poll() is None:
        if _maps(tallies) >= (taken[-1].slices if taken else 0) + max(slices // samples, 1):
            sample()
        time.sleep(_TICK_S)
    sample()
    over.set()
    if not taken:
        raise _ended(server)
    return tallies, taken, len(broken_off)


def _maps(tallies: Sequence[Tally]) -> int:
    return sum(tally.results for tally in tallies)


def _idle(server: ServerProcess) -> Usage:
    """Return the resources of the server without a client.

    Raises:
        MyostreamError: the server has ended.
    """
    time.sleep(_QUIET_S)
    now = usage(server.process.pid)
    if now is None:
        raise _ended(server)
    return now


def _ended(server: ServerProcess) -> MyostreamError:
    return MyostreamError(f"the server ended in the soak: {server.log_text()[-2000:].strip()}")


def show(
    figures: dict[str, Any], json_file: Path | None, plot: Path | None, console: Console | None = None
) -> bool:
    """Print the tables, write values and plot; return whether everything held."""
    held = ("megabytes", "threads", "descriptors")
    taken = figures["samples"]
    samples = [
        (
            f"{each['seconds']:.0f}", str(each["slices"]), *(f"{each['held'][key]:.0f}" for key in held),
            *(f"{each['latency_s'][key]:.2f}" if each["latency_s"] else "-" for key in ("p50", "p99")),
        )
        for each in taken[:: max(len(taken) // 10, 1)]
    ]  # fmt: skip
    columns = ("seconds", "slices", "memory, MB", "threads", "descriptors", "p50, s", "p99, s")
    print_table(f"Soak of {figures['slices']} slices, engine {figures['engine']}", columns, samples, console)
    tally, settled, end = figures["tally"], figures["settled"], figures["end"]
    before, after = figures["idle"]["before"], figures["idle"]["after"]
    growth = 100.0 * (end["held"]["megabytes"] / settled["held"]["megabytes"] - 1.0)
    rows = {
        "images lost": f"{tally['lost']} of {tally['sent']}",
        "maps, with contours, late": f"{tally['results']}, {tally['contours']}, {tally['late']}",
        "measurements without a close message": str(len(tally["problems"])),
        "connections broken off on purpose": str(figures["broken_off"]),
        f"memory since slice {settled['slices']}": f"{growth:+.1f} %",
        "threads, idle, before and after": f"{before['threads']}, {after['threads']}",
        "descriptors, idle, before and after": f"{before['descriptors']}, {after['descriptors']}",
        "tracebacks in the log": str(figures["tracebacks"]),
        "exit code": "killed" if figures["code"] is None else str(figures["code"]),
        "grown": ", ".join(figures["grown"]) or "nothing",
    }
    print_table("Result", ("", ""), rows.items(), console)
    if json_file is not None:
        write_json(json_file, figures)
    if plot is not None:
        _plot(plot, taken)
        print_lines([f"plot: {plot}"], console)
    lost = tally["lost"] or tally["problems"] or tally["disordered"] or figures["tracebacks"]
    return not lost and not figures["grown"] and figures["code"] == 0


def _plot(file: Path, taken: Sequence[dict[str, Any]]) -> None:
    held = [each["held"] for each in taken]
    curves = {
        "resident memory, MB": {"memory": [each["megabytes"] for each in held]},
        "number": {name: [each[name] for each in held] for name in ("threads", "descriptors")},
        "one measurement, s": {
            name: [each["latency_s"].get(name, float("nan")) for each in taken] for name in ("p50", "p99")
        },
    }
    slices = [each["slices"] for each in taken]
    with figure(file, 3, 1, (7, 7), sharex=True) as rows:
        for axes, (label, lines) in zip(rows.flat, curves.items(), strict=True):
            for name, values in lines.items():
                axes.plot(slices, values, label=name)
            axes.set_ylabel(label)
            axes.legend()
            axes.set_ylim(0.0)
        axes.set_xlabel("slices")


def main(
    slices: Annotated[int, typer.Option(min=2, help="Maps received in all.")] = 10_000,
    engine: Annotated[str, typer.Option(help="auto, or a name that myostream engines lists.")] = "auto",
    json_file: JsonFile = None,
    plot: Annotated[Path | None, typer.Option(callback=output_file, help="Curves as PNG.")] = None,
) -> None:
    """Run a server on many slices; exit code 1 where an image was lost or a resource has grown."""
    if not show(measure(slices, engine=engine), json_file, plot):
        raise typer.Exit(1)


if __name__ == "__main__":
    with report_errors(extra="bench"):
        typer.run(main)
