"""The product beside reference implementations, stage by stage, in one run."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any, Final

import ismrmrd
import numpy as np

from bench import fits
from bench.reference import published
from bench.values import median_ms, write_results
from inline.contouring.segment import contour_slice, network_input
from inline.data.series import Quantity
from inline.engine_selection import build_pipeline
from inline.mrd.protocol import Decoder, encode
from inline.replay.simulate import simulate_examination, to_images
from inline.settings import load_settings
from inline.terminal.tables import print_values
from model.frame import Frame
from model.relaxometry.molli import molli_map
from model.relaxometry.t2prep import t2_map
from model.weights import load_network

_OPTIMUM_PIXELS: Final = 1000
"""Simulated pixels whose optimum is compared with scipy's."""
_TIMED_PIXELS: Final = 400
"""Pixels on which the reference fit is timed; the time of the whole map follows by proportion."""


def measure(engine: str = "auto", repeats: int = 15) -> dict[str, Any]:
    """Return the time of each stage, ms a slice: first the reference's, then the product's, in one process.

    ``all stages`` are fit, network and contours: those that the reference has.
    """
    (heart,) = simulate_examination(1, seed=4, size=256)
    running = build_pipeline(load_settings(engine=engine)).engine
    network = load_network()
    stages: dict[str, dict[str, float]] = {}
    generator = np.random.default_rng(1)
    for name, fit, images, times in (
        ("T1", molli_map, heart.molli, heart.inversion_times_ms),
        ("T2", t2_map, heart.t2prep, heart.preparation_times_ms),
    ):
        tissue = np.argwhere(images.max(axis=0) > 0.1 * images.max())
        rows, columns = tissue[generator.choice(len(tissue), _TIMED_PIXELS)].T
        sample = images[:, rows, columns][:, None]
        share = images[0].size / _TIMED_PIXELS
        stages[f"{name} fit, 256 x 256"] = {
            "reference_ms": share * median_ms(partial(published.fit_map, sample, times, t1=name == "T1"), 1),
            "myostream_ms": median_ms(partial(fit, images, times), repeats),
        }
    fitted = t2_map(heart.t2prep, heart.preparation_times_ms)
    frame = Frame((256, 256), (heart.pixel_mm, heart.pixel_mm))
    image = network_input(fitted, Quantity.T2, frame)
    classes, probabilities = published.segment(network, image), running.infer(image[None])[0]
    ours = to_images([heart])[0]
    data = encode(ours)
    theirs = _read_by_ismrmrd(data)
    for name, times_of, reference, product in (
        ("network", 1, lambda: published.segment(network, image), lambda: running.infer(image[None])),
        ("contours", 1, lambda: published.contours(classes), lambda: contour_slice(probabilities, frame)),
        (
            "read an image (ismrmrd)",
            10,
            lambda: _read_by_ismrmrd(data),
            lambda: list(Decoder().receive(data)),
        ),
        ("write an image (ismrmrd)", 10, lambda: _write_by_ismrmrd(theirs), lambda: encode(ours)),
    ):
        stages[name] = {
            "reference_ms": median_ms(reference, repeats * times_of),
            "myostream_ms": median_ms(product, repeats * times_of),
        }
    for name in ("T1", "T2"):
        parts = [stages[f"{name} fit, 256 x 256"], stages["network"], stages["contours"]]
        stages[f"{name} slice, all stages"] = {key: sum(part[key] for part in parts) for key in parts[0]}
    for stage in stages.values():
        stage["ratio"] = stage["reference_ms"] / stage["myostream_ms"]
    return {
        "engine": running.name,
        "stages": stages,
        "fits": fits.compare(_OPTIMUM_PIXELS),
    }


def _read_by_ismrmrd(data: bytes) -> Any:
    return ismrmrd.Image.deserialize_from(io.BytesIO(data[2:]).read)


def _write_by_ismrmrd(image: Any) -> bytes:
    out = io.BytesIO()
    image.serialize_into(out.write)
    return out.getvalue()


def show(results: dict[str, Any], json_file: Path | None) -> None:
    """Write the values and print the tables."""
    write_results(json_file, results)
    title = f"Reference implementations and myostream ({results['engine']}), ms a slice"
    print_values(title, "stage", results["stages"], "reference_ms .2f, myostream_ms .2f, ratio .1f")
    fits.show(results["fits"])
