"""Throughput of a server process over many slices."""

from __future__ import annotations

import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.values import PERCENTILES, percentiles, write_results
from bench.watched import ClientTally, make_stream, usage
from inline.mrd.messages import Image, Message
from inline.replay.client import Exchange, exchange
from inline.replay.local_server import started_server
from inline.replay.replies import records
from inline.terminal.tables import print_columns, print_values
from inline.terminal.text import print_lines

PUBLISHED_SECONDS: Final = 12.3
"""For 100 slices on a V100, network and contours alone (Kalapos et al. 2023)."""
_COLUMNS: Final = "seconds .2f, slices_per_second .1f, images_sent, images_lost, results, late"


def measure(
    slices: int,
    *,
    connections: int = 1,
    config: str = "mapping",
    engine: str = "auto",
    moving: float | None = None,
) -> dict[str, Any]:
    """Stream the slices twice to one server process: cold, then warm.

    Args:
        slices: half of them MOLLI.
        connections: clients at a time.
        config: of the sessions.
        engine: runs the network.
        moving: share of the hearts that move; the slices are then streamed to a second server as well, which
            does not correct motion. None for hearts at rest and one server.

    Returns:
        ``cold`` and ``warm`` values, and those of the process; with ``moving`` also ``uncorrected``, the warm
        values of the second server, and ``ratio``, of the warm times with and without correction.
    """
    header, stream = make_stream(slices, moving=moving or 0.0)
    shares = [[image for each in stream[i::connections] for image in each] for i in range(connections)]
    start = time.perf_counter()
    with started_server(["--engine", engine]) as server:
        listening = time.perf_counter() - start
        runs = {name: _run(server.address, header, shares, config) for name in ("cold", "warm")}
        used = usage(server.process.pid)
    compared: dict[str, Any] = {}
    if moving is not None:
        uncorrected = _without_correction(engine, header, shares, config)
        ratio = runs["warm"]["seconds"] / uncorrected["seconds"]
        compared = {"uncorrected": uncorrected, "moving": moving, "ratio": ratio}
    return {
        "engine": engine,
        "engine_used": server.engine,
        "slices": slices,
        "connections": connections,
        "config": config,
        "start_s": listening,
        "peak_memory_mib": float("nan") if used is None else used["peak_mb"] / 1.048576,
        **runs,
        **compared,
    }


def _without_correction(engine: str, header: str, shares: list[list[Image]], config: str) -> dict[str, Any]:
    """Return the warm values of a server that does not correct motion."""
    with TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text('[mapping]\nmotion_correction = "off"\n', encoding="utf-8")
        with started_server(["--engine", engine, "--settings", str(settings)]) as server:
            _run(server.address, header, shares, config)
            return _run(server.address, header, shares, config)


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
    tally, stages = ClientTally(), defaultdict[str, list[float]](list)
    for share, result in zip(shares, exchanges, strict=True):
        tally.count(share, result.images)
        for record, _ in records(result.images):
            for name, value in record["times_ms"].items():
                stages[name].append(value)
    return {
        "seconds": seconds,
        "images_sent": tally.sent,
        "images_lost": tally.lost,
        "results": tally.results,
        "without_contour": tally.results - tally.contours,
        "late": tally.late,
        "stages_ms": {name: percentiles(values) for name, values in stages.items()},
    }


def show(results: dict[str, Any], json_file: Path | None) -> None:
    """Write the values and print the tables."""
    write_results(json_file, results)
    slices = results["slices"]
    runs: dict[str, Any] = {
        name: {**results[name], "slices_per_second": slices / results[name]["seconds"]}
        for name in ("cold", "warm", "uncorrected")
        if name in results
    }
    engine = results["engine_used"]
    title = f"{slices} slices over a loopback socket, first byte to last result, engine {engine}"
    print_columns(title, runs, _COLUMNS)
    print_values("Stages of a slice, warm, ms", "stage", results["warm"]["stages_ms"], PERCENTILES)
    if "ratio" in results:
        share = f"{100.0 * results['moving']:.0f} % of the hearts move"
        print_lines(f"{share}: {results['ratio']:.2f} times as long with motion correction as without, warm")
    start, peak = results["start_s"], results["peak_memory_mib"]
    print_lines(
        f"server: listening after {start:.1f} s, peak memory {peak:.0f} MiB",
        f"published: {PUBLISHED_SECONDS} s for 100 slices on a V100, network and contours alone",
    )
