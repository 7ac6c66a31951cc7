"""The network and its contours on fresh synthetic slices, by level and by pathology."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from inline.contouring.segment import contour_slice
from model.engines.base import Engine
from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import Outcome, evaluate, summarise
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.output import write_json
from model.relaxometry.fits import PRODUCT_FITS
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.synthesis.pathology import Pathology

SEED: Final = 2_000_000_000
"""Far from the seeds of any training."""
_BATCH: Final = 8
MIXES: Final = {
    "t1": Mix(
        t1_map=0.66, t1_map_post=0.34, t2_map=0.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
    "t2": Mix(
        t1_map=0.0, t1_map_post=0.0, t2_map=1.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
}
_NATIVE_T1: Final = replace(MIXES["t1"], t1_map=1.0, t1_map_post=0.0)
_COLUMNS: Final = (
    ("slices", "slices", "{:.0f}"),
    ("Dice", "dice", "{:.3f}"),
    ("cavity", "dice_cavity", "{:.3f}"),
    ("myocardium", "dice_myocardium", "{:.3f}"),
    ("Hausdorff mm", "hausdorff", "{:.2f}"),
    ("surface mm", "surface", "{:.2f}"),
    ("no contour", "without_contour", "{:.0f}"),
)


def make_slices(
    count: int, kind: str, seed: int = SEED, *, maps: bool = False
) -> Iterator[tuple[LabelledSlice, str]]:
    """Synthetic slices of one kind of map and the pathology of each; the same for a seed.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        seed: of the generator.
        maps: native maps in ms; else pictures as the network is shown them, a third of T1 post-contrast.
    """
    mix = _NATIVE_T1 if maps and kind == "t1" else MIXES[kind]
    generator = torch.Generator().manual_seed(seed + (kind == "t2"))
    made = 0
    while made < count:
        batch = make_batch(_BATCH, FRAME_PIXELS, generator, mix, fits=PRODUCT_FITS)
        for i in range(min(_BATCH, count - made)):
            level = ("basal", "mid", "apical")[min(int(batch.level[i] * 3), 2)]
            labels = batch.labels[i].numpy().astype(np.uint8)
            slice_ = LabelledSlice(
                name=f"synthetic-{made}",
                case=f"synthetic-{made}",
                kind=kind,
                image=(batch.pictures if maps else batch.images)[i].numpy(),
                weighted=np.empty((0, *labels.shape), np.float32),
                spacing=(FRAME_MM, FRAME_MM),
                readers={"truth": labels},
                level=level,
                in_ms=maps,
            )
            made += 1
            yield slice_, Pathology(int(batch.pathology[i])).name.lower()


def run(count: int, kind: str, engine: Engine, json_file: Path | None = None) -> dict[str, Any]:
    """Evaluate, print the table, write the figures; returns the summaries by group."""
    frame = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
    outcomes: list[Outcome] = []
    pathologies: list[str] = []
    for slice_, pathology in make_slices(count, kind):
        # The pictures are prepared already.
        found, _ = evaluate([slice_], lambda image, _: contour_slice(engine.infer(image[None])[0], frame)[0])
        outcomes += found
        pathologies.append(pathology)
    pairs = list(zip(outcomes, pathologies, strict=True))
    summaries = {"all": summarise(outcomes)}
    for level in ("basal", "mid", "apical"):
        summaries[level] = summarise([outcome for outcome, _ in pairs if outcome.level == level])
    for name in (each.name.lower() for each in Pathology):
        summaries[name] = summarise([outcome for outcome, pathology in pairs if pathology == name])
    table = Table(title=f"Synthetic {kind} maps, seed {SEED}")
    table.add_column("")
    for label, _, _ in _COLUMNS:
        table.add_column(label, justify="right")
    for name, summary in summaries.items():
        table.add_row(
            "healthy" if name == "none" else name,
            *(form.format(summary[key]) if key in summary else "-" for _, key, form in _COLUMNS),
        )
    Console().print(table)
    if json_file is not None:
        content = {"machine": describe_machine(), "engine": engine.name, "map": kind, "summaries": summaries}
        write_json(json_file, content)
    return summaries
