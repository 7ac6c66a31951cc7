"""How fast a server process works through many slices."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.stream import make_stream, peak_memory_mib, percentiles
from inline.mrd.messages import Image, Message
from inline.replay.client import Exchange, exchange
from inline.replay.local_server import started_server
from inline.replay.run import records
from model.machine import describe_machine
from model.output import write_json

PUBLISHED_SECONDS: Final = 12.3
"""For 100 slices on a V100, network and contours without fits and streaming (Kalapos et al. 2023)."""


def measure(
    slices: int, *, connections: int = 1, config: str = "mapping", engine: str = "auto"
) -> dict[str, Any]:
    """Stream the slices twice to one server process: cold, then warm.

    Returns:
        ``cold`` and ``warm`` figures, and those of the process.
    """
    header, stream = make_stream(slices)
    shares = [[image for each in stream[i::connections] for image in each] for i in range(connections)]
    start = time.perf_counter()
    with started_server(["--engine", engine]) as server:
        listening = time.perf_counter() - start
        runs = {name: _run(server.address, header, shares, config) for name in ("cold", "warm")}
        memory = peak_memory_mib(server.process.pid)
    return {
        "machine": describe_machine(),
        "engine": engine,
        "slices": slices,
        "connections": connections,
        "config": config,
        "start_s": listening,
        "peak_memory_mib": memory,
        **runs,
    }


def _run(address: tuple[str, int], header: str, shares: list[list[Image]], config: str) -> dict[str, Any]:
    results: list[Exchange | None] = [None] * len(shares)
    last: list[float] = [0.0] * len(shares)

    def client(number: int) -> None:
        def received(message: Message) -> None:
            if isinstance(message, Image):
                last[number] = time.perf_counter()

        results[number] = exchange(address, header, shares[number], config=config, received=received)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exchanges = [result for result in results if result is not None]
    if len(exchanges) < len(shares):
        raise RuntimeError("a client failed; its error is above")
    seconds = max(last) - min(result.first_sent for result in exchanges)
    found = [record for result in exchanges for record, _ in records(result.images)]
    lost = sum(
        sum((Counter(share) - Counter(result.images)).values())
        for share, result in zip(shares, exchanges, strict=True)
    )
    stages: dict[str, list[float]] = {}
    for record in found:
        for name, value in record["times_ms"].items():
            stages.setdefault(name, []).append(value)
    return {
        "seconds": seconds,
        "images_sent": sum(map(len, shares)),
        "images_lost": lost,
        "results": len(found),
        "without_contour": sum(record["contours"] is None for record in found),
        "late": sum("late" in record["flags"] for record in found),
        "stages_ms": {name: percentiles(values) for name, values in stages.items()},
    }


def show(figures: dict[str, Any], json_file: Path | None) -> None:
    """Print the tables and write the figures."""
    console = Console()
    table = Table(title=f"{figures['slices']} slices over a loopback socket, engine {figures['engine']}")
    for column in ("", "cold", "warm"):
        table.add_column(column, justify="left" if not column else "right")
    runs = figures["cold"], figures["warm"]
    rows = {
        "seconds, first byte to last result": [f"{run['seconds']:.2f}" for run in runs],
        "slices per second": [f"{figures['slices'] / run['seconds']:.1f}" for run in runs],
        "published, 100 slices on a V100, s": [f"{PUBLISHED_SECONDS}"] * 2,
        "images sent": [str(run["images_sent"]) for run in runs],
        "images lost": [str(run["images_lost"]) for run in runs],
        "results": [str(run["results"]) for run in runs],
        "budget misses": [str(run["late"]) for run in runs],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)
    stages = Table(title="Stages of a slice, warm, ms")
    for column in ("stage", "p50", "p95", "p99", "max"):
        stages.add_column(column, justify="left" if column == "stage" else "right")
    for name, values in figures["warm"]["stages_ms"].items():
        stages.add_row(name, *(f"{values[key]:.1f}" for key in ("p50", "p95", "p99", "max")))
    console.print(stages)
    console.print(
        f"server: listening after {figures['start_s']:.1f} s, "
        f"peak memory {figures['peak_memory_mib']:.0f} MiB"
    )
    if json_file is not None:
        write_json(json_file, figures)
