"""A long run of one server, as figures and a plot: ``python -m bench.soak --slices 10000``.

Two good clients send one examination after the other; a third client dies in the middle of an image every few
seconds. Memory, threads, file descriptors and latency are taken at even numbers of slices.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from bench.attacks import break_off
from bench.stream import percentiles
from bench.watched import Examination, Held, Tally, Watched, held, watched_server
from inline.cli.errors import report_errors
from inline.data.errors import MyostreamError
from model.machine import describe_machine

_CLIENTS: Final = 2
_DYING_EVERY_S: Final = 5.0
_SETTLED: Final = 500
"""Slices after which caches and threads are all there: what comes later is compared with this."""
_SAMPLES: Final = 40
_GROWTH: Final = 1.05
_TICK_S: Final = 0.05
_QUIET_S: Final = 3.0
"""After the last client has gone, before threads and descriptors are counted."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One point in time.

    Attributes:
        seconds: since the first slice.
        slices: whose maps have come.
        held: by the server.
        latency_s: percentiles of the examinations since the sample before, s.
    """

    seconds: float
    slices: int
    held: Held
    latency_s: dict[str, float]


def measure(
    slices: int, *, engine: str = "auto", examination: Examination | None = None, samples: int = _SAMPLES
) -> dict[str, Any]:
    """Run a server on so many slices.

    Returns:
        ``samples``, ``settled`` and ``end`` (what the server held), ``idle`` before and after all clients,
        ``tally`` of the good clients, ``broken_off``, ``code``, ``tracebacks``, and ``grown``: names of what
        has grown.
    """
    sent = examination or Examination.simulate(3, 192)
    with watched_server(["--engine", engine]) as server:
        Tally().examine(server.address, sent)  # threads and caches of the first slice
        before = _quiet(server)
        tallies, taken, broken_off = _run(server, sent, slices, samples)
        after = _quiet(server)
        code, text = server.stop(), server.text()
    settled = next((each for each in taken if each.slices >= min(_SETTLED, slices // 2)), taken[-1])
    growth = {
        "memory": taken[-1].held.megabytes > _GROWTH * settled.held.megabytes,
        "threads": after.threads > before.threads,
        "descriptors": after.descriptors > before.descriptors,
    }
    return {
        "machine": describe_machine(),
        "engine": engine,
        "slices": slices,
        "samples": [asdict(each) for each in taken],
        "settled": asdict(settled),
        "end": asdict(taken[-1]),
        "idle": {"before": asdict(before), "after": asdict(after)},
        "tally": _sum(tallies),
        "broken_off": broken_off,
        "code": code,
        "tracebacks": text.count("Traceback"),
        "log_bytes": len(text),
        "grown": [name for name, grown in growth.items() if grown],
    }


def _run(
    server: Watched, sent: Examination, slices: int, samples: int
) -> tuple[list[Tally], list[Sample], int]:
    tallies = [Tally() for _ in range(_CLIENTS)]
    over = threading.Event()
    dying: list[int] = []

    def work(tally: Tally) -> None:
        while sum(each.examinations for each in tallies) * sent.slices < slices:
            tally.examine(server.address, sent, timeout_s=120.0)

    def die() -> None:
        dice = random.Random(1)
        while not over.wait(_DYING_EVERY_S):
            with contextlib.suppress(OSError):
                break_off(server.address, sent, dice)
                dying.append(1)

    clients = [threading.Thread(target=work, args=(tally,)) for tally in tallies]
    for thread in (*clients, threading.Thread(target=die, daemon=True)):
        thread.start()
    taken: list[Sample] = []
    counted = [0] * len(tallies)
    start = time.monotonic()

    def take() -> None:
        lasting = [tally.seconds[count:] for tally, count in zip(tallies, counted, strict=True)]
        counted[:] = [count + len(new) for count, new in zip(counted, lasting, strict=True)]
        now = held(server.process.pid)
        if now is not None:
            latency = percentiles([value for new in lasting for value in new])
            taken.append(Sample(time.monotonic() - start, _done(tallies), now, latency))

    while any(thread.is_alive() for thread in clients) and server.process.poll() is None:
        if _done(tallies) >= (taken[-1].slices if taken else 0) + max(slices // samples, 1):
            take()
        time.sleep(_TICK_S)
    take()
    over.set()
    if not taken:
        raise MyostreamError(f"the server ended in the soak: {server.text()[-2000:].strip()}")
    return tallies, taken, len(dying)


def _done(tallies: Sequence[Tally]) -> int:
    return sum(tally.results for tally in tallies)


def _quiet(server: Watched) -> Held:
    """What the server holds when all clients have gone."""
    time.sleep(_QUIET_S)
    now = held(server.process.pid)
    if now is None:
        raise MyostreamError(f"the server ended in the soak: {server.text()[-2000:].strip()}")
    return now


def _sum(tallies: Sequence[Tally]) -> dict[str, Any]:
    whole = Tally()
    for tally in tallies:
        for name in vars(whole):
            setattr(whole, name, getattr(whole, name) + getattr(tally, name))
    return {**asdict(whole), "seconds": percentiles(whole.seconds)}


def show(
    figures: dict[str, Any], json_file: Path | None, plot: Path | None, console: Console | None = None
) -> bool:
    """Print the tables, write figures and plot; return whether everything held."""
    console = console or Console()
    table = Table(title=f"Soak of {figures['slices']} slices, engine {figures['engine']}")
    for column in ("seconds", "slices", "memory, MB", "threads", "descriptors", "p50, s", "p99, s"):
        table.add_column(column, justify="right")
    taken = figures["samples"]
    for each in taken[:: max(len(taken) // 10, 1)]:
        latency, now = each["latency_s"], each["held"]
        table.add_row(
            f"{each['seconds']:.0f}", str(each["slices"]), f"{now['megabytes']:.0f}", str(now["threads"]),
            str(now["descriptors"]), *(f"{latency[key]:.2f}" if latency else "-" for key in ("p50", "p99")),
        )  # fmt: skip
    console.print(table)
    tally, settled, end = figures["tally"], figures["settled"], figures["end"]
    before, after = figures["idle"]["before"], figures["idle"]["after"]
    growth = 100.0 * (end["held"]["megabytes"] / settled["held"]["megabytes"] - 1.0)
    rows = {
        "images lost": f"{tally['lost']} of {tally['sent']}",
        "maps, with contours, late": f"{tally['results']}, {tally['contours']}, {tally['late']}",
        "examinations that broke off": str(len(tally["problems"])),
        "connections broken off on purpose": str(figures["broken_off"]),
        f"memory since slice {settled['slices']}": f"{growth:+.1f} %",
        "threads, idle, before and after": f"{before['threads']}, {after['threads']}",
        "descriptors, idle, before and after": f"{before['descriptors']}, {after['descriptors']}",
        "tracebacks in the log": str(figures["tracebacks"]),
        "exit code": "killed" if figures["code"] is None else str(figures["code"]),
        "grown": ", ".join(figures["grown"]) or "nothing",
    }
    result = Table(title="Result", show_header=False)
    for name, value in rows.items():
        result.add_row(name, value)
    console.print(result)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if plot is not None:
        _plot(plot, taken)
        console.print(f"plot: {plot}", highlight=False)
    lost = tally["lost"] or tally["problems"] or tally["disordered"] or figures["tracebacks"]
    return not lost and not figures["grown"] and figures["code"] == 0


def _plot(file: Path, taken: Sequence[dict[str, Any]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, rows = plt.subplots(3, 1, figsize=(7, 7), sharex=True)
    slices = [each["slices"] for each in taken]
    rows[0].plot(slices, [each["held"]["megabytes"] for each in taken])
    rows[0].set_ylabel("resident memory, MB")
    for name in ("threads", "descriptors"):
        rows[1].plot(slices, [each["held"][name] for each in taken], label=name)
    rows[1].legend()
    timed = [each for each in taken if each["latency_s"]]
    for name in ("p50", "p99"):
        values = [each["latency_s"][name] for each in timed]
        rows[2].plot([each["slices"] for each in timed], values, label=name)
    rows[2].set_ylabel("one examination, s")
    rows[2].legend()
    for axes in rows:
        axes.set_ylim(0.0, 1.1 * axes.dataLim.y1)
    rows[-1].set_xlabel("slices")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main(
    slices: Annotated[int, typer.Option(min=2, help="Maps that come in all.")] = 10_000,
    engine: Annotated[str, typer.Option(help="auto, or a name that myostream engines lists.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Curves as PNG (needs matplotlib).")] = None,
) -> None:
    """Run a server on many slices; exit code 1 where an image was lost or something has grown."""
    with report_errors(extra="bench"):
        if not show(measure(slices, engine=engine), json_file, plot):
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
