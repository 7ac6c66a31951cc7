"""How long one slice takes at a scanner's pace."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from bench.machine import describe_machine
from bench.stream import make_stream, percentiles
from inline.launch import started_server
from inline.mrd.messages import Close, ConfigFile, Header, Image
from inline.mrd.protocol import Decoder, encode

_IMAGES_BACK: Final = 3
"""Map, labels and overlay."""


def measure(slices: int, interval_ms: float, engine: str = "auto") -> dict[str, Any]:
    """Send a slice every ``interval_ms`` and time each, ms, from its last byte to its results' last byte."""
    header, stream = make_stream(min(slices, 200))
    paces = []
    with started_server(["--engine", engine]) as server:
        for pace in (interval_ms, interval_ms / 10.0):
            took = _session(server.address, header, stream, slices, pace / 1000.0)
            paces.append({"interval_ms": pace, "latency_ms": percentiles(took), "all_ms": took})
    return {"machine": describe_machine(), "engine": engine, "slices": slices, "paces": paces}


def _session(
    address: tuple[str, int], header: str, stream: list[list[Image]], slices: int, interval: float
) -> list[float]:
    """Latency of each slice, ms; a slice is complete with the last of its result images."""
    took: list[float] = []
    with socket.create_connection(address, timeout=120) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        arrived = threading.Semaphore(0)
        finished: list[float] = []

        def read() -> None:
            decoder, results = Decoder(), 0
            while not decoder.closed:
                data = connection.recv(1 << 20)
                if not data:
                    return
                for message in decoder.receive(data):
                    if isinstance(message, Image) and b"MYOSTREAM" in message.attributes:
                        results += 1
                        if results % _IMAGES_BACK == 0:
                            finished.append(time.perf_counter())
                            arrived.release()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        due = time.perf_counter()
        for number in range(slices):
            due = max(due + interval, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
            connection.sendall(b"".join(encode(image) for image in stream[number % len(stream)]))
            last_byte = time.perf_counter()
            if not arrived.acquire(timeout=60):
                raise TimeoutError(f"slice {number} had no result within a minute")
            took.append((finished[-1] - last_byte) * 1000.0)
        connection.sendall(encode(Close()))
        reader.join(timeout=30)
    return took


def show(figures: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Print the figures, write them, draw the histogram."""
    console = Console()
    for pace in figures["paces"]:
        values = pace["latency_ms"]
        console.print(
            f"a slice every {pace['interval_ms']:.0f} ms: p50 {values['p50']:.1f}, p95 {values['p95']:.1f}, "
            f"p99 {values['p99']:.1f}, max {values['max']:.1f} ms; p99 / p50 "
            f"{values['p99'] / values['p50']:.2f}"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if plot is not None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 4))
        for pace in figures["paces"]:
            label = f"every {pace['interval_ms']:.0f} ms"
            axes.hist(np.array(pace["all_ms"]), bins=60, alpha=0.6, label=label)
        axes.set_xlabel("last byte of a slice to last byte of its results, ms")
        axes.set_ylabel("slices")
        axes.legend()
        figure.tight_layout()
        figure.savefig(plot, dpi=120)
        plt.close(figure)
