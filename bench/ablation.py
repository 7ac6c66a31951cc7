"""Effect of labels, points and start weights: ``python -m bench.ablation --data FOLDER --start FOLDER``.

Short trainings on the same synthetic slices. Each differs from the default in one thing. Each is scored on
real maps, by the default contour convention and with contours at the borders of the wall. The start weights
without further training stand for the earlier generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer
from scipy import ndimage
from torch import Tensor

from bench.tables.agreement import AT_BORDERS
from bench.values import write_results
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.contouring.convention import draw
from inline.contouring.segment import segment
from inline.settings import ContourSettings
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.evaluation.cases import LabelledSlice, read_slices
from model.evaluation.evaluate import SATURATED, compare, summarise
from model.frame import FRAME_MM
from model.host import computes_bfloat16
from model.synthesis.contrast import MOSTLY_MAPS
from model.training.ring import Ring, StepSlices
from model.training.split import seen_in_training, seen_note
from model.training.timed import CPU, Learner, start_network
from model.unet import UNet


@dataclass(frozen=True, slots=True)
class Variant:
    """Training of the ablation.

    Attributes:
        inside: labels inside the wall, as the earlier generator drew them; else at its borders.
        insertions: the network learns the insertion points too.
        start: from trained weights; else from random ones.
    """

    inside: bool = False
    insertions: bool = True
    start: bool = True


VARIANTS: Final = {
    "labels at the borders (default)": Variant(),
    "labels inside the wall": Variant(inside=True),
    "without insertion points": Variant(insertions=False),
    "from random weights": Variant(start=False),
}
UNTRAINED: Final = "the start, untrained"
_PLAN: Final = replace(CPU, batch=8, learning_rate=3e-4)
_SETTLING: Final = 12
"""Batches of whole frames from which random weights take the statistics of batch normalisation."""
_COLUMNS: Final = "t2 .3f, t2_myocardium .3f, t2_borders .3f, t1 .3f, t1_myocardium .3f, t1_borders .3f"
"""``borders``: contours at the borders of the wall, in place of the default convention."""


def drawn_inside(labels: Tensor) -> Tensor:
    """Return labels at the borders ``(n, rows, columns)`` as the earlier generator drew them.

    1 mm and a tenth of the wall inside either border, at most 0.3 of the wall: pixels that are at least nine
    tenths myocardium, less the usual offset of readers.
    """
    drawn = np.zeros(labels.shape, np.int64)
    for out, each in zip(drawn, labels.numpy(), strict=True):
        to_epi, to_endo = (
            FRAME_MM * (ndimage.distance_transform_edt(mask) - 0.5) for mask in (each > 0, each != 1)
        )
        rim = np.minimum(1.0 + 0.1 * (to_epi + to_endo), 0.3 * (to_epi + to_endo))
        out[(each == 2) & (to_epi > rim)] = 2
        out[(each == 1) | ((each == 2) & (to_endo <= rim))] = 1
    return torch.from_numpy(drawn)


def train_variant(variant: Variant, start: Path, batches: Sequence[StepSlices]) -> UNet:
    """Return the mean of the weights after a step on each batch."""
    torch.manual_seed(1)
    network = start_network(start if variant.start else None, insertions=variant.insertions)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(network, _PLAN if variant.start else replace(_PLAN, settling=_SETTLING))
    for number, batch in enumerate(batches):
        slices = replace(batch, labels=drawn_inside(batch.labels)) if variant.inside else batch
        learner.learn(slices, number / len(batches))
    learner.settle(torch.Generator().manual_seed(1))
    return learner.kept.eval()


def judge(engine: Engine, real: dict[str, list[LabelledSlice]]) -> dict[str, float]:
    """Return mean Dice on real maps that are not saturated, by the default convention and at the borders."""
    dice: dict[str, float] = {}
    for kind, slices in real.items():
        usable = [each for each in slices if each.saturated_share() < SATURATED]
        found = [segment(each.network_image, each.spacing, engine) for each in usable]
        for suffix, offsets in (("", ContourSettings().offsets), ("_borders", AT_BORDERS)):
            summary = summarise(
                [
                    compare(slice_, draw(borders, slice_.spacing, offsets).labels)
                    for slice_, borders in zip(usable, found, strict=True)
                ]
            )
            dice[f"{kind}{suffix}"] = summary["dice"]
            dice[f"{kind}_myocardium{suffix}"] = summary["dice_myocardium"]
    return dice


def main(
    data: Annotated[Path, typer.Option("--data", help="Labelled slices (docs/data.md).")],
    start: Annotated[Path, typer.Option("--start", help="Folder of weights to start from.")],
    steps: Annotated[int, typer.Option(min=1, help=f"Steps of {_PLAN.batch} slices each.")] = 200,
    json_file: JsonFile = None,
) -> None:
    """Train each variant briefly and print its mean Dice on real maps."""
    real = {kind: read_slices(data, kind) for kind in ("t2", "t1")}
    made = steps * _PLAN.batch // 2
    ring = Ring(made, _PLAN.size, torch.Generator().manual_seed(1))
    while ring.made < made:
        ring.make(min(_PLAN.chunk, made - ring.made), MOSTLY_MAPS)
    batches = [ring.draw(_PLAN.batch) for _ in range(steps)]
    variants = {UNTRAINED: judge(TorchEngine(start_network(start)), real)}
    for name, variant in VARIANTS.items():
        variants[name] = judge(TorchEngine(train_variant(variant, start, batches)), real)
        typer.echo(f"{name}: T2 {variants[name]['t2']:.3f}, T1 {variants[name]['t1']:.3f}")
    settings = {"steps": steps, "made": made, "bfloat16": computes_bfloat16()}
    write_results(json_file, {**settings, "variants": variants})
    title = f"{steps} steps of {_PLAN.batch} slices each: mean Dice on real maps"
    print_values(title, "training", variants, _COLUMNS)
    seen = seen_in_training((each.case for slices in real.values() for each in slices), start)
    print_lines(*seen_note(seen))


if __name__ == "__main__":
    with report_errors():
        typer.run(main)
