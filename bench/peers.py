"""Ours beside the plain pipeline, stage by stage, in one run; and the codec beside ``ismrmrd``'s own."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any, Final

import ismrmrd
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import fits, plain
from bench.timing import median_ms
from inline.contouring.segment import contour_slice, network_input
from inline.data.series import Quantity
from inline.engine_selection import make_engine
from inline.mrd.protocol import Decoder, encode
from inline.replay.simulate import simulate_examination, to_images
from inline.settings import load_settings
from model.frame import Frame
from model.machine import describe_machine
from model.output import write_json
from model.relaxometry.molli import molli_map
from model.relaxometry.t2prep import t2_map
from model.weights import load_network

_COMPARED_PIXELS: Final = 1000
"""Simulated pixels whose optimum is compared with scipy's."""
_PLAIN_PIXELS: Final = 400
"""Pixels that the plain fit is timed on; the whole map follows by proportion."""


def measure(engine: str = "auto", repeats: int = 15) -> dict[str, Any]:
    """Times of each stage, ms a slice, plain and ours, alternating in one process."""
    (heart,) = simulate_examination(1, seed=4, size=256)
    ours = make_engine(load_settings(engine=engine))
    network = load_network()
    stages: dict[str, dict[str, float]] = {}
    rng = np.random.default_rng(1)
    for kind, images, times in (
        ("T1", heart.molli, heart.inversion_times_ms),
        ("T2", heart.t2prep, heart.preparation_times_ms),
    ):
        fit = molli_map if kind == "T1" else t2_map
        tissue = np.argwhere(images.max(axis=0) > 0.1 * images.max())
        rows, columns = tissue[rng.choice(len(tissue), _PLAIN_PIXELS)].T
        sample = images[:, rows, columns][:, None]
        whole = images[0].size / _PLAIN_PIXELS
        stages[f"{kind} fit, 256 x 256"] = {
            "plain_ms": whole * median_ms(partial(plain.fit_map, sample, times, t1=kind == "T1"), 1),
            "ours_ms": median_ms(partial(fit, images, times), repeats),
        }
    fitted = t2_map(heart.t2prep, heart.preparation_times_ms)
    frame = Frame((256, 256), (heart.pixel_mm, heart.pixel_mm))
    prepared = network_input(fitted, Quantity.T2, frame)
    stages["network"] = {
        "plain_ms": median_ms(lambda: plain.segment(network, prepared), repeats),
        "ours_ms": median_ms(lambda: ours.infer(prepared[None]), repeats),
    }
    classes, probabilities = plain.segment(network, prepared), ours.infer(prepared[None])[0]
    stages["contours"] = {
        "plain_ms": median_ms(lambda: plain.contours(classes), repeats),
        "ours_ms": median_ms(lambda: contour_slice(probabilities, frame), repeats),
    }
    stages["T1 slice, whole chain"] = _whole(stages, "T1")
    stages["T2 slice, whole chain"] = _whole(stages, "T2")
    stages |= _codec(to_images([heart])[0], repeats)
    for stage in stages.values():
        stage["ratio"] = stage["plain_ms"] / stage["ours_ms"]
    compared = fits.compare(_COMPARED_PIXELS)
    return {"machine": describe_machine(), "engine": ours.name, "stages": stages, "fits": compared}


def _whole(stages: dict[str, dict[str, float]], kind: str) -> dict[str, float]:
    parts = [stages[f"{kind} fit, 256 x 256"], stages["network"], stages["contours"]]
    return {name: sum(part[name] for part in parts) for name in ("plain_ms", "ours_ms")}


def _codec(image: Any, repeats: int) -> dict[str, dict[str, float]]:
    """Reading and writing one image of 256 x 256 pixels, by ``ismrmrd`` and here."""
    data = encode(image)

    def theirs_read() -> Any:
        stream = io.BytesIO(data[2:])
        return ismrmrd.Image.deserialize_from(stream.read)

    theirs = theirs_read()

    def theirs_write() -> bytes:
        out = io.BytesIO()
        theirs.serialize_into(out.write)
        return out.getvalue()

    return {
        "read an image (plain: ismrmrd)": {
            "plain_ms": median_ms(theirs_read, repeats * 10),
            "ours_ms": median_ms(lambda: list(Decoder().receive(data)), repeats * 10),
        },
        "write an image (plain: ismrmrd)": {
            "plain_ms": median_ms(theirs_write, repeats * 10),
            "ours_ms": median_ms(lambda: encode(image), repeats * 10),
        },
    }


def show(figures: dict[str, Any], json_file: Path | None) -> None:
    """Print the table and write the figures."""
    table = Table(title=f"The published pipeline done plainly, and ours ({figures['engine']}), ms a slice")
    for column in ("stage", "plain", "ours", "ratio"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in figures["stages"].items():
        table.add_row(name, f"{stage['plain_ms']:.2f}", f"{stage['ours_ms']:.2f}", f"{stage['ratio']:.1f} x")
    console = Console()
    console.print(table)
    console.print(fits.table(figures["fits"]))
    if json_file is not None:
        write_json(json_file, figures)
