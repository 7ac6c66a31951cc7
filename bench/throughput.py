"""Throughput of a server process over many slices."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from bench.output import print_lines, print_table
from bench.stream import make_stream
from bench.timing import percentiles
from bench.watched import usage
from inline.mrd.messages import Image, Message
from inline.replay.client import Exchange, exchange
from inline.replay.local_server import started_server
from inline.replay.run import records
from model.machine import describe_machine
from model.output import write_json

PUBLISHED_SECONDS: Final = 12.3
"""For 100 slices on a V100, network and contours alone (Kalapos et al. 2023)."""


def measure(
    slices: int, *, connections: int = 1, config: str = "mapping", engine: str = "auto"
) -> dict[str, Any]:
    """Stream the slices twice to one server process: cold, then warm.

    Returns:
        ``cold`` and ``warm`` values, and those of the process.
    """
    header, stream = make_stream(slices)
    shares = [[image for each in stream[i::connections] for image in each] for i in range(connections)]
    start = time.perf_counter()
    with started_server(["--engine", engine]) as server:
        listening = time.perf_counter() - start
        runs = {name: _run(server.address, header, shares, config) for name in ("cold", "warm")}
        used = usage(server.process.pid)
    return {
        "machine": describe_machine(),
        "engine": engine,
        "slices": slices,
        "connections": connections,
        "config": config,
        "start_s": listening,
        "peak_memory_mib": float("nan") if used is None else used.peak_mb / 1.048576,
        **runs,
    }


def _run(address: tuple[str, int], header: str, shares: list[list[Image]], config: str) -> dict[str, Any]:
    last = [0.0] * len(shares)

    def client(number: int) -> Exchange:
        def received(message: Message) -> None:
            if isinstance(message, Image):
                last[number] = time.perf_counter()

        return exchange(address, header, shares[number], config=config, received=received)

    with ThreadPoolExecutor(len(shares)) as pool:
        exchanges = list(pool.map(client, range(len(shares))))
    seconds = max(last) - min(result.first_sent for result in exchanges)
    found = [record for result in exchanges for record, _ in records(result.images)]
    lost = sum(
        (Counter(share) - Counter(result.images)).total()
        for share, result in zip(shares, exchanges, strict=True)
    )
    stages: defaultdict[str, list[float]] = defaultdict(list)
    for record in found:
        for name, value in record["times_ms"].items():
            stages[name].append(value)
    return {
        "seconds": seconds,
        "images_sent": sum(map(len, shares)),
        "images_lost": lost,
        "results": len(found),
        "without_contour": sum(record["contours"] is None for record in found),
        "late": sum("late" in record["flags"] for record in found),
        "stages_ms": {name: percentiles(values) for name, values in stages.items()},
    }


def show(results: dict[str, Any], json_file: Path | None) -> None:
    """Print the tables and write the values."""
    runs = results["cold"], results["warm"]
    rows = {
        "seconds, first byte to last result": [f"{run['seconds']:.2f}" for run in runs],
        "slices per second": [f"{results['slices'] / run['seconds']:.1f}" for run in runs],
        "published, 100 slices on a V100, s": [f"{PUBLISHED_SECONDS}"] * 2,
        "images sent": [str(run["images_sent"]) for run in runs],
        "images lost": [str(run["images_lost"]) for run in runs],
        "results": [str(run["results"]) for run in runs],
        "budget misses": [str(run["late"]) for run in runs],
    }
    title = f"{results['slices']} slices over a loopback socket, engine {results['engine']}"
    print_table(title, ("", "cold", "warm"), [(name, *cells) for name, cells in rows.items()])
    stages = [
        (name, *(f"{values[key]:.1f}" for key in ("p50", "p95", "p99", "max")))
        for name, values in results["warm"]["stages_ms"].items()
    ]
    print_table("Stages of a slice, warm, ms", ("stage", "p50", "p95", "p99", "max"), stages)
    start, peak = results["start_s"], results["peak_memory_mib"]
    print_lines([f"server: listening after {start:.1f} s, peak memory {peak:.0f} MiB"])
    if json_file is not None:
        write_json(json_file, results)
