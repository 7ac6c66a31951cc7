"""Soak: one server over thousands of slices, as table and plot: ``python -m bench.soak --slices 10000``.

Two good clients send one measurement after the other. A third client breaks off in the middle of an image
every few seconds. One measurement in ten has post-contrast slices. The live page is on, and a subscriber
receives the results on ZeroMQ. Memory, threads, file descriptors and latency are sampled at even numbers of
slices; each sample reads the metrics as well.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.attacks import break_off, published
from bench.cli import Engine, PlotFile
from bench.values import draw_curves, percentiles, write_results
from bench.watched import ClientTally, Measurement, usage
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.data.errors import MyostreamError
from inline.emit.publisher import subscribe
from inline.replay.local_server import StartedServer, started_server
from inline.terminal.tables import print_columns, print_values
from inline.terminal.text import print_lines

_CLIENTS: Final = 2
_POST_CONTRAST_EVERY: Final = 10
_OBSERVED: Final = ("--monitor-port", "0", "--page-port", "0", "--zmq", "tcp://127.0.0.1:*")
_BREAK_OFF_EVERY_S: Final = 5.0
_SETTLED: Final = 500
"""Slices after which all caches and threads exist: memory is compared with this sample."""
_SAMPLES: Final = 40
_GROWTH: Final = 1.05
_TICK_S: Final = 0.05
_QUIET_S: Final = 3.0
"""Pause after the last client has gone, before threads and descriptors are counted."""
_HELD: Final = ("megabytes", "threads", "descriptors")
_COLUMNS: Final = (
    "slices, held/megabytes .0f, held/threads, held/descriptors, latency_s/p50 .2f, latency_s/p99 .2f"
)
_RESULT: Final = (
    "tally/expected, tally/results, tally/contours, tally/late, published, broken_off, "
    "idle/before/threads, idle/after/threads, idle/before/descriptors, idle/after/descriptors, "
    "tracebacks, code"
)


def measure(
    slices: int,
    *,
    engine: str = "auto",
    measurements: Sequence[Measurement] | None = None,
    samples: int = _SAMPLES,
) -> dict[str, Any]:
    """Run a server on so many slices.

    Returns:
        ``samples``, ``settled`` and ``end`` as of :func:`_run`; ``idle``: resources of the server before and
        after all clients; ``tally`` of the good clients, ``broken_off``, ``published``: results on ZeroMQ,
        ``code``, ``tracebacks``, ``log_bytes``, and ``grown``: names of the resources that have grown.

    Raises:
        MyostreamError: the server has ended.
    """
    sent = measurements or [
        *[Measurement.simulate(3, 192)] * (_POST_CONTRAST_EVERY - 1),
        Measurement.simulate(3, 192, post_contrast=True),
    ]
    with started_server(["--engine", engine, *_OBSERVED]) as server:
        ClientTally().send(server.address, sent[0])  # threads and caches of the first slice
        time.sleep(_QUIET_S)
        before = _usage(server)
        tally, taken, broken_off, received = _run(server, sent, slices, samples)
        time.sleep(_QUIET_S)
        after = _usage(server)
        code, text = server.stop(), server.log_text()
    settled = next((each for each in taken if each["slices"] >= min(_SETTLED, slices // 2)), taken[-1])
    growth = {
        "memory": taken[-1]["held"]["megabytes"] > _GROWTH * settled["held"]["megabytes"],
        "threads": after["threads"] > before["threads"],
        "descriptors": after["descriptors"] > before["descriptors"],
    }
    return {
        "engine": engine,
        "engine_used": server.engine,
        "slices": slices,
        "samples": taken,
        "settled": settled,
        "end": taken[-1],
        "idle": {"before": before, "after": after},
        "tally": {**asdict(tally), "seconds": percentiles(tally.seconds)},
        "broken_off": broken_off,
        "published": received,
        "code": code,
        "tracebacks": text.count("Traceback"),
        "log_bytes": len(text),
        "grown": [name for name, grown in growth.items() if grown],
    }


def _run(
    server: StartedServer, sent: Sequence[Measurement], slices: int, samples: int
) -> tuple[ClientTally, list[dict[str, Any]], int, int]:
    """Return the counts of the good clients, the samples, and the numbers of broken connections and results.

    A sample has ``seconds`` since the first slice, ``slices`` (maps received so far), ``held`` (resources of
    the server), and ``latency_s``: percentiles of the measurements' durations since the previous sample.
    """
    tallies = [ClientTally() for _ in range(_CLIENTS)]
    over = threading.Event()

    def good_client(tally: ClientTally) -> None:
        while sum(each.expected for each in tallies) < slices:
            tally.send(server.address, sent[tally.measurements % len(sent)], timeout_s=120.0)

    def broken_client() -> int:
        generator, count = random.Random(1), 0
        while not over.wait(_BREAK_OFF_EVERY_S):
            with contextlib.suppress(OSError):
                break_off(server.address, sent[0], generator)
                count += 1
        return count

    def subscriber() -> int:
        count = 0
        with contextlib.closing(subscribe(_address(server, "publishing on"))) as results:
            while not over.is_set():
                count += published(results, 1.0)
        return count

    def sample() -> dict[str, Any]:
        recent = [
            each for tally, count in zip(tallies, counted, strict=True) for each in tally.seconds[count:]
        ]
        urllib.request.urlopen(_address(server, "metrics on"), timeout=30.0).close()
        counted[:] = [len(tally.seconds) for tally in tallies]
        return {
            "seconds": time.monotonic() - start,
            "slices": sum(tally.results for tally in tallies),
            "held": _usage(server),
            "latency_s": percentiles(recent),
        }

    taken: list[dict[str, Any]] = []
    counted = [0] * _CLIENTS
    start = time.monotonic()
    with ThreadPoolExecutor(_CLIENTS + 2) as pool:
        broken: Future[int] = pool.submit(broken_client)
        received: Future[int] = pool.submit(subscriber)
        clients = [pool.submit(good_client, tally) for tally in tallies]
        try:
            while not all(client.done() for client in clients):
                done = taken[-1]["slices"] if taken else 0
                if sum(tally.results for tally in tallies) >= done + max(slices // samples, 1):
                    taken.append(sample())
                time.sleep(_TICK_S)
            taken.append(sample())
        finally:
            over.set()
    return sum(tallies, ClientTally()), taken, broken.result(), received.result()


def _address(server: StartedServer, name: str) -> str:
    """Return an address that the server printed behind a name."""
    return str(re.findall(rf"{name} (\S+)", server.log_text())[0])


def _usage(server: StartedServer) -> dict[str, float]:
    """Return the resources of the server.

    Raises:
        MyostreamError: the server has ended.
    """
    now = usage(server.process.pid)
    if now is None:
        raise MyostreamError(f"the server ended in the soak: {server.log_text()[-2000:].strip()}")
    return now


def show(figures: dict[str, Any], json_file: Path | None, plot: Path | None) -> bool:
    """Write values and plot, print the tables; return whether everything held."""
    taken = figures["samples"]
    write_results(json_file, figures)
    slices = [each["slices"] for each in taken]
    held = {name: (slices, [each["held"][name] for each in taken]) for name in _HELD}
    latency = {
        name: (slices, [each["latency_s"].get(name, math.nan) for each in taken]) for name in ("p50", "p99")
    }
    memory = {"resident memory": held.pop("megabytes")}
    draw_curves(
        plot, [("slices", "MB", memory), ("slices", "number", held), ("slices", "s a measurement", latency)]
    )
    shown = {f"{each['seconds']:.0f}": each for each in taken[:: max(len(taken) // 10, 1)]}
    title = f"Soak of {figures['slices']} slices, engine {figures['engine_used']}"
    print_values(title, "seconds", shown, _COLUMNS)
    tally, settled, end = figures["tally"], figures["settled"], figures["end"]
    print_columns("Result", {"": figures}, _RESULT)
    growth = 100.0 * (end["held"]["megabytes"] / settled["held"]["megabytes"] - 1.0)
    print_lines(
        f"{tally['lost']} of {tally['sent']} images lost",
        f"{tally['expected'] - tally['results']} of {tally['expected']} maps missing",
        f"{len(tally['problems'])} measurements without a close message",
        f"memory {growth:+.1f} % since slice {settled['slices']}",
        f"grown: {', '.join(figures['grown']) or 'nothing'}",
    )
    lost = tally["lost"] or tally["problems"] or tally["disordered"] or figures["tracebacks"]
    complete = tally["results"] == tally["expected"] and len(taken) > 1
    received = figures["published"] > 0
    return not lost and complete and received and not figures["grown"] and figures["code"] == 0


def main(
    slices: Annotated[int, typer.Option(min=2, help="Maps received in all.")] = 10_000,
    engine: Engine = "auto",
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Run a server on many slices.

    Exit code 1 where an image or map was lost, no result was published, or a resource has grown.
    """
    if not show(measure(slices, engine=engine), json_file, plot):
        raise typer.Exit(1)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
