"""Contribution of each part of the generator: ``python -m bench.ablation --data FOLDER``.

Short trainings that differ in the parts of the generator alone, each evaluated on real and on synthetic maps.
They train a small U-Net, which learns in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.tables.trainings import computes_bfloat16, train_briefly
from bench.values import print_values, write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.contouring.segment import contour_slice, segment
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.evaluation.cases import LabelledSlice, read_slices
from model.evaluation.evaluate import evaluate, summarise
from model.evaluation.synthetic import make_slices
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.original_unet import OriginalUNet
from model.synthesis.generator import Parts

VARIANTS: Final = {
    "anatomy alone": Parts(physics=False, acquisition=False, randomisation=False),
    "+ physics": Parts(acquisition=False, randomisation=False),
    "+ acquisition": Parts(randomisation=False),
    "+ randomisation (default)": Parts(),
}
_FRAME: Final = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))


def main(
    data: Annotated[Path, typer.Option("--data", help="Labelled slices (docs/data.md).")],
    steps: Annotated[int, typer.Option(min=1)] = 600,
    synthetic: Annotated[int, typer.Option(help="Synthetic slices of each kind.")] = 100,
    json_file: JsonFile = None,
) -> None:
    """Train each variant briefly and print its mean Dice."""
    real = {kind: read_slices(data, kind) for kind in ("t2", "t1")}
    made = {kind: [slice_ for slice_, _ in make_slices(synthetic, kind)] for kind in ("t2", "t1")}
    variants: dict[str, dict[str, float]] = {}
    for name, parts in VARIANTS.items():
        # The original U-Net with a quarter of its channels: 1.9 million parameters.
        network = train_briefly(partial(OriginalUNet, (16, 32, 64, 128, 256)), steps, parts=parts)
        variants[name] = _dice(TorchEngine(network), real, made)
    title = f"Parts of the generator, {steps} steps of 8 slices each: mean Dice (real T1: not saturated)"
    print_values(title, "generator", variants, "real_t2 .3f, real_t1 .3f, synthetic_t2 .3f, synthetic_t1 .3f")
    settings = {"steps": steps, "synthetic": synthetic, "bfloat16": computes_bfloat16()}
    write_results(json_file, {**settings, "variants": variants})


def _dice(
    engine: Engine, real: Mapping[str, list[LabelledSlice]], made: Mapping[str, list[LabelledSlice]]
) -> dict[str, float]:
    """Return the mean Dice on real maps that are not saturated and on synthetic network inputs, by kind."""
    found = {}
    for kind in real:
        outcomes, _ = evaluate(real[kind], lambda image, spacing: segment(image, spacing, engine).labels)
        found[f"real_{kind}"] = summarise([each for each in outcomes if not each.saturated])["dice"]
        outcomes, _ = evaluate(
            made[kind], lambda image, _: contour_slice(engine.infer(image[None])[0], _FRAME).labels
        )
        found[f"synthetic_{kind}"] = summarise(outcomes)["dice"]
    return found


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
