"""What each part of the generator is worth: ``python -m bench.ablation --data FOLDER``.

Short trainings, alike but for the parts of the generator, each evaluated on real maps and on synthetic ones.
They are of a small U-Net: it learns in minutes, and what is compared is what the slices teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from bench.short_training import computes_bfloat16, train_briefly
from inline.cli.errors import report_errors
from inline.cli.options import output_file
from inline.contouring.segment import contour_slice, segment
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.evaluation.cases import read_slices
from model.evaluation.evaluate import Segment, evaluate, summarise
from model.evaluation.synthetic import make_slices
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.machine import describe_machine
from model.original_unet import OriginalUNet
from model.output import write_json
from model.synthesis.generator import Parts


@dataclass(frozen=True, slots=True)
class Variant:
    """A generator with some of its parts."""

    name: str
    parts: Parts


VARIANTS: Final = (
    Variant("anatomy alone", Parts(physics=False, acquisition=False, randomisation=False)),
    Variant("+ physics", Parts(acquisition=False, randomisation=False)),
    Variant("+ acquisition", Parts(randomisation=False)),
    Variant("+ randomisation (default)", Parts()),
)


def small_unet() -> OriginalUNet:
    """The original U-Net with a quarter of its channels, 1.9 million parameters."""
    return OriginalUNet((16, 32, 64, 128, 256))


def _segmenting(engine: Engine) -> Segment:
    return lambda image, spacing: segment(image, spacing, engine)[0]


def _placing(engine: Engine) -> Segment:
    """For synthetic slices, which are prepared already."""
    frame = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
    return lambda image, _: contour_slice(engine.infer(image[None])[0], frame)[0]


def main(
    data: Annotated[Path, typer.Option("--data", help="Labelled slices (docs/data.md).")],
    steps: Annotated[int, typer.Option(min=1)] = 600,
    synthetic: Annotated[int, typer.Option(help="Synthetic slices of each kind.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", callback=output_file)] = None,
) -> None:
    """Train each variant briefly and print how well it does."""
    real = {kind: read_slices(data, kind) for kind in ("t2", "t1")}
    made = {kind: [slice_ for slice_, _ in make_slices(synthetic, kind)] for kind in ("t2", "t1")}
    report: dict[str, dict[str, float]] = {}
    table = Table(title=f"Parts of the generator, {steps} steps of 8 slices each: mean Dice")
    for column in ("generator", "real T2", "real T1 (not saturated)", "synthetic T2", "synthetic T1"):
        table.add_column(column, justify="left" if column == "generator" else "right")
    for variant in VARIANTS:
        engine = TorchEngine(train_briefly(small_unet, steps, parts=variant.parts))
        figures: dict[str, float] = {}
        for kind, slices in real.items():
            outcomes, _ = evaluate(slices, _segmenting(engine))
            good = [each for each in outcomes if not each.saturated]
            figures[f"real_{kind}"] = summarise(good)["dice"]
        for kind, slices in made.items():
            figures[f"synthetic_{kind}"] = summarise(evaluate(slices, _placing(engine))[0])["dice"]
        report[variant.name] = figures
        table.add_row(
            variant.name,
            *(f"{figures[key]:.3f}" for key in ("real_t2", "real_t1", "synthetic_t2", "synthetic_t1")),
        )
    Console().print(table)
    if json_file is not None:
        settings = {"steps": steps, "synthetic": synthetic, "bfloat16": computes_bfloat16()}
        content = {"machine": describe_machine(), **settings, "variants": report}
        write_json(json_file, content)


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
