"""Cost by matrix size, images of a series, slices of a batch, and connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench import throughput
from bench.values import draw_curves, median_ms, write_results
from inline.contouring.segment import contour_slice, network_input
from inline.data.series import Quantity
from inline.engine_selection import build_pipeline
from inline.mrd.protocol import Decoder, encode
from inline.replay.simulate import MOLLI_SERIES, to_images
from inline.settings import load_settings
from inline.terminal.tables import print_values
from model.engines.base import Engine
from model.frame import FRAME_PIXELS, Frame
from model.relaxometry.molli import molli_map
from model.relaxometry.t2prep import t2_map
from model.synthesis.examination import SimulatedSlice, simulate_slice

SIZES: Final = (128, 192, 256, 384)
BATCHES: Final = (1, 2, 4, 8)
CONNECTIONS: Final = (1, 2, 4)
MOLLI_SCHEMES: Final = ("5(3)3", "4(1)3(1)2", "5(3)3(3)3")
T2_PREPARATIONS: Final = (3, 5, 8)
_LONGEST_PREPARATION_MS: Final = 70.0

Series = list[dict[str, Any]]
"""Values of the varied quantity (``value``) with the times at each."""


def measure(slices: int, engine: str = "auto", repeats: int = 7) -> dict[str, Any]:
    """Return all four series.

    Args:
        slices: sent to a server for each number of connections.
        engine: of the product.
        repeats: of everything that is timed in this process.
    """
    running = build_pipeline(load_settings(engine=engine)).engine
    return {
        "engine": running.name,
        "matrix": by_matrix(SIZES, running, repeats),
        "images": by_images(repeats),
        "batch": by_batch(BATCHES, running, repeats),
        "connections": by_connections(CONNECTIONS, slices, engine),
        "slices": slices,
    }


def by_matrix(sizes: Sequence[int], engine: Engine, repeats: int) -> Series:
    """Return the stages of a MOLLI slice of 8 images, ms, by rows and columns."""
    hearts = {size: simulate_slice(5, size=size, usual=True) for size in sizes}
    return [{"value": size, **_stages(heart, engine, repeats)} for size, heart in hearts.items()]


def by_images(repeats: int, size: int = 256) -> Series:
    """Return the time of the fit of a map, ms, by the images of its series."""
    fits: list[tuple[str, int, Callable[[], object]]] = []
    for scheme in MOLLI_SCHEMES:
        heart = simulate_slice(5, size=size, scheme=scheme, usual=True)
        fit = partial(molli_map, heart.molli, heart.inversion_times_ms)
        fits.append(("T1", len(heart.molli), fit))
    for count in T2_PREPARATIONS:
        times = tuple(np.linspace(0.0, _LONGEST_PREPARATION_MS, count).tolist())
        heart = simulate_slice(5, size=size, preparation_times_ms=times, usual=True)
        fits.append(("T2", count, partial(t2_map, heart.t2prep, heart.preparation_times_ms)))
    return [
        {"value": images, "quantity": quantity, "fit": median_ms(fit, repeats)}
        for quantity, images, fit in fits
    ]


def by_batch(batches: Sequence[int], engine: Engine, repeats: int) -> Series:
    """Return the time of the network, ms a slice, by the slices of a batch."""
    random = np.random.default_rng(1)
    images = random.normal(size=(max(batches), FRAME_PIXELS, FRAME_PIXELS)).astype(np.float32)
    return [
        {"value": batch, "network": median_ms(partial(engine.infer, images[:batch]), repeats) / batch}
        for batch in batches
    ]


def by_connections(connections: Sequence[int], slices: int, engine: str) -> Series:
    """Return the time of a warm server, ms a slice, by clients at a time that share the slices."""
    runs = {count: throughput.measure(slices, connections=count, engine=engine) for count in connections}
    return [
        {
            "value": count,
            "whole": run["warm"]["seconds"] * 1000.0 / slices,
            "images_lost": run["warm"]["images_lost"],
            "peak_memory_mib": run["peak_memory_mib"],
        }
        for count, run in runs.items()
    ]


def exponent(series: Series, key: str) -> float:
    """Return the exponent of the value by which the cost grows, by least squares of the logarithms."""
    values = np.log([each["value"] for each in series])
    costs = np.log([each[key] for each in series])
    return float(np.polyfit(values, costs, 1)[0])


def _stages(heart: SimulatedSlice, engine: Engine, repeats: int) -> dict[str, float]:
    images = [image for image in to_images([heart]) if image.header.image_series_index == MOLLI_SERIES]
    fitted = molli_map(heart.molli, heart.inversion_times_ms)
    rows, columns = heart.labels.shape
    frame = Frame((rows, columns), (heart.pixel_mm, heart.pixel_mm))
    prepared = network_input(fitted, Quantity.T1, frame)
    probabilities = engine.infer(prepared[None])[0]
    stages = {
        "stream": median_ms(lambda: [list(Decoder().receive(encode(image))) for image in images], repeats),
        "fit": median_ms(partial(molli_map, heart.molli, heart.inversion_times_ms), repeats),
        "prepare": median_ms(partial(network_input, fitted, Quantity.T1, frame), repeats),
        "network": median_ms(partial(engine.infer, prepared[None]), repeats),
        "contours": median_ms(partial(contour_slice, probabilities, frame), repeats),
    }
    return {**stages, "whole": sum(stages.values())}


def show(results: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Write the values, draw them, print the tables."""
    write_results(json_file, results)
    matrix = results["matrix"]
    stages = [name for name in matrix[0] if name != "value"]
    panels = [
        ("rows and columns", {name: _curve(matrix, name) for name in stages}),
        (
            "images of a series (fit of 256 x 256 pixels)",
            {
                quantity: _curve([each for each in results["images"] if each["quantity"] == quantity], "fit")
                for quantity in ("T1", "T2")
            },
        ),
        ("slices in a batch", {"network": _curve(results["batch"], "network")}),
        ("connections", {"whole stream": _curve(results["connections"], "whole")}),
    ]
    draw_curves(plot, [(label, "ms a slice", curves) for label, curves in panels], 2)
    sides = {f"{each['value']} x {each['value']}": each for each in matrix}
    exponents = {name: exponent(matrix, name) for name in stages}
    title = f"A MOLLI slice of 8 images, engine {results['engine']}, ms"
    print_values(
        title,
        "matrix",
        {**sides, "exponent of the side": exponents},
        ", ".join(f"{name} .1f" for name in stages),
    )
    for title, name, key in (
        ("Fit of 256 x 256 pixels, ms", "images", "fit"),
        ("Network, ms a slice", "batch", "network"),
        (f"{results['slices']} slices to a warm server, ms a slice", "connections", "whole"),
    ):
        rows = {f"{each.get('quantity', '')} {each['value']}".strip(): each for each in results[name]}
        print_values(title, name, rows, f"{key} .1f")


def _curve(series: Series, key: str) -> tuple[list[float], list[float]]:
    return [each["value"] for each in series], [each[key] for each in series]
