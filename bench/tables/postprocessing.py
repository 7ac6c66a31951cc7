"""Table 8: effect of each step of the contour search where masks have defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.tables.agreement import AT_BORDERS, Segmented
from bench.tables.defects import with_defects
from bench.tables.outlines import hausdorff
from bench.tables.output import Table
from inline.contouring.contours import (
    ContourSteps,
    find_contours,
    finer_masks,
    outlines_left,
    rasterise,
)
from inline.data.results import ContourOffsets, Contours
from model.evaluation.outlines import smooth_outline
from model.frame import FRAME_MM
from model.training.data import labels_in_frame

STEPS: Final = ("dominant_points", "not_elongated", "largest", "close_c_shape", "spline")
"""In the order of the product."""


Masked = tuple[NDArray[np.float32], Contours]
"""Class probabilities in the network's frame (background, LV cavity, myocardium, ``(3, 224, 224)``; 0 and 1
for a hard mask), and their true contours in pixels of the frame (1.5 mm)."""


class StepResult(NamedTuple):
    """Result of some steps.

    Attributes:
        hausdorff_mm: distance of each slice, averaged over both contours; NaN where no outline is left. Every
            part that a step leaves counts, so that a speck costs its distance until a step drops it.
        without_contour: number of slices on which the product, with these steps, finds no contour.
    """

    hausdorff_mm: NDArray[np.float64]
    without_contour: int


def stages() -> dict[str, ContourSteps]:
    """Return the steps by name, from the bare outlines of the masks to all steps."""
    steps = ContourSteps(**dict.fromkeys(STEPS, False))
    found = {"outlines of the masks": steps}
    for step in STEPS:
        steps = replace(steps, **{step: True})
        found[step.replace("_", " ")] = steps
    return found


def by_step(slices: Sequence[Masked]) -> dict[str, StepResult]:
    """Return the result after each further step."""
    return {
        name: StepResult(
            np.array([_distance(*each, steps) for each in slices]),
            sum(find_contours(found, steps).contours is None for found, _ in slices),
        )
        for name, steps in stages().items()
    }


def table_8(slices: Sequence[Segmented], offsets: ContourOffsets) -> Table:
    """Return the effect of each step on masks with added defects, and on the network's own.

    The outlines of the network's masks lie at the borders of the wall by every step: a convention is applied
    to two contours, which only the last steps leave.
    """
    random = np.random.default_rng(8)
    defective, own = list[Masked](), list[Masked]()
    for each in slices:
        labels = labels_in_frame(each.slice.labels, each.frame())
        if (labels == 1).any():
            truth = Contours(endo=smooth_outline(labels == 1), epi=smooth_outline(labels > 0))
            defective.append((hard(with_defects(rasterise(truth, labels.shape), random)), truth))
            own.append((each.probabilities, truth))
    values: dict[str, dict[str, Any]] = {}
    counted = []
    for name, masks in (("masks with defects", defective), ("the network's masks", own)):
        results = by_step(masks)
        complete = ~np.isnan([result.hausdorff_mm for result in results.values()]).any(axis=0)
        counted.append(f"{int(complete.sum())} {name}")
        values[name] = {
            step: {
                "hausdorff": float(apart[complete].mean()) if complete.any() else None,
                "without_contour": without_contour,
            }
            for step, (apart, without_contour) in results.items()
        }
    # A space in a key would begin its format.
    named = {name.replace(" ", "_"): found for name, found in values.items()}
    rows = {
        step if not number else f"+ {step}": {name: found[step] for name, found in named.items()}
        for number, step in enumerate(stages())
    }
    keys = ", ".join(f"{name}/hausdorff .2f, {name}/without_contour" for name in named)
    notes: tuple[str, ...] = (
        "Hausdorff distance of both contours from the first reader's, smoothed, mean, mm; every part that a "
        f"step leaves counts; slices with an outline after every step ({', '.join(counted)}).",
        "Without contour: slices on which the product's acceptance rules leave none with these steps.",
        "Defects: specks, streaks and spurs added, gaps of the wall and sectors (C shapes) removed, each "
        "with probability one half, at least one.",
    )
    if offsets != AT_BORDERS:
        notes += (
            "The network's masks end at the borders of the wall. The convention of the readers, "
            f"{offsets.endo_mm:g} and {offsets.epi_mm:g} mm (endo, epi) into it, is part of the distance.",
        )
    table = Table("8", "post-processing, step by step", notes=notes, values=values)
    return table.filled("step", rows, keys)


def hard(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return labels ``(rows, columns)`` as probabilities ``(3, rows, columns)``."""
    return np.stack([labels == value for value in range(3)]).astype(np.float32)


def _distance(probabilities: NDArray[np.float32], contours: Contours, steps: ContourSteps) -> float:
    """Return the mean over both contours, mm."""
    masks, corner = finer_masks(probabilities)
    if masks is None:
        return float("nan")
    apart = []
    for mask, truth in zip(masks, (contours.endo, contours.epi), strict=True):
        outlines = outlines_left(mask, corner, steps)
        apart.append(hausdorff(outlines, truth, (FRAME_MM, FRAME_MM)) if outlines else float("nan"))
    return float(np.mean(apart))
