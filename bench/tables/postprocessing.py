"""Table 8: effect of each step of the contour search where masks have defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.tables.agreement import Segmented
from bench.tables.defects import with_defects
from bench.tables.outlines import Outline, hausdorff, smooth_outline
from bench.tables.output import Table
from inline.contouring import contours as product
from inline.contouring.contours import ContourSteps, rasterise
from inline.data.results import Contours
from model.frame import FRAME_MM
from model.polygons import outward
from model.training.data import labels_in_frame

STEPS: Final = ("dominant_points", "not_elongated", "largest", "close_c_shape", "spline")
"""In the order of the product."""


@dataclass(frozen=True, slots=True)
class Masked:
    """Class probabilities in the network's frame, and their true contours.

    Attributes:
        probabilities: background, LV cavity, myocardium, ``(3, 224, 224)``; 0 and 1 for a hard mask.
        truth: contours in pixels of the frame (1.5 mm).
    """

    probabilities: NDArray[np.float32]
    truth: Contours


@dataclass(frozen=True, slots=True)
class StepResult:
    """Hausdorff distance of each slice after a step, mm; NaN where no outline is left."""

    step: str
    hausdorff_mm: NDArray[np.float64]
    without_contour: int


def stages() -> list[tuple[str, ContourSteps]]:
    """Return names and steps, from the bare outlines of the masks to all steps."""
    steps = ContourSteps(**dict.fromkeys(STEPS, False))
    found = [("outlines of the masks", steps)]
    for step in STEPS:
        steps = replace(steps, **{step: True})
        found.append((step.replace("_", " "), steps))
    return found


def by_step(slices: Sequence[Masked]) -> list[StepResult]:
    """Return the Hausdorff distances, averaged over both contours, after each further step.

    Every part that a step leaves counts, so that a speck costs its distance until a step drops it.
    ``without_contour`` is the number of slices on which the product, with these steps, finds no contour.
    """
    return [
        StepResult(
            name,
            np.array([_distance(each, steps) for each in slices]),
            sum(product.find_contours(each.probabilities, steps).contours is None for each in slices),
        )
        for name, steps in stages()
    ]


def table_8(slices: Sequence[Segmented], seed: int = 8) -> Table:
    """Return the effect of each step on masks with added defects, and on the network's own."""
    random = np.random.default_rng(seed)
    defective, own = [], []
    for each in slices:
        labels = labels_in_frame(each.slice.labels, each.frame())
        if not (labels == 1).any():
            continue
        truth = Contours(endo=smooth_outline(labels == 1), epi=smooth_outline(labels > 0))
        drawn = rasterise(truth, labels.shape)
        defective.append(Masked(hard(with_defects(drawn, random)), truth))
        own.append(Masked(each.probabilities, truth))
    sets = {"masks with defects": by_step(defective), "the network's masks": by_step(own)}
    values: dict[str, dict[str, Any]] = {name: {} for name in sets}
    rows = {step: [step if not number else f"+ {step}"] for number, (step, _) in enumerate(stages())}
    counted = []
    for name, results in sets.items():
        complete = ~np.isnan([result.hausdorff_mm for result in results]).any(axis=0)
        counted.append(f"{int(complete.sum())} {name}")
        for result in results:
            mean = float(result.hausdorff_mm[complete].mean()) if complete.any() else None
            values[name][result.step] = {"hausdorff": mean, "without_contour": result.without_contour}
            rows[result.step] += ["-" if mean is None else f"{mean:.2f}", str(result.without_contour)]
    columns = ("step", *(f"{name}: {value}" for name in sets for value in ("Hausdorff mm", "no contour")))
    notes = (
        "Mean Hausdorff distance of both contours from the first reader's, smoothed; every part that a step "
        f"leaves counts; slices with an outline after every step ({', '.join(counted)}).",
        "No contour: slices on which the product's acceptance rules leave none with these steps.",
        "Defects: specks, streaks and spurs added, gaps of the wall and sectors (C shapes) removed, each "
        "with probability one half, at least one.",
    )
    title = "post-processing, step by step"
    return Table("8", title, columns, tuple(tuple(cells) for cells in rows.values()), notes, values)


def hard(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return labels ``(rows, columns)`` as probabilities ``(3, rows, columns)``."""
    return np.stack([labels == value for value in range(3)]).astype(np.float32)


def _distance(slice_: Masked, steps: ContourSteps) -> float:
    """Return the mean over both contours, mm."""
    finer, corner = product._finer(slice_.probabilities)
    if finer is None:
        return float("nan")
    winner = finer.argmax(axis=0)
    apart = []
    for mask, truth in ((winner == 1, slice_.truth.endo), (winner > 0, slice_.truth.epi)):
        outlines = [
            (outward(outline, 0.5) + 0.5) / product._FINER - 0.5 + corner
            for outline in _outlines(mask.astype(np.uint8), steps)
        ]
        apart.append(hausdorff(outlines, truth, (FRAME_MM, FRAME_MM)) if outlines else float("nan"))
    return float(np.mean(apart))


def _outlines(mask: NDArray[np.uint8], steps: ContourSteps) -> list[Outline]:
    """Return every outline that the steps leave, where the product takes one."""
    outlines = product.trace_outlines(mask, dominant_points=steps.dominant_points)
    if steps.not_elongated:
        outlines = product.drop_elongated(outlines)
    if steps.largest and outlines:
        outlines = [product.largest(outlines)]
    if steps.close_c_shape:
        outlines = [product.close_c_shape(outline) for outline in outlines]
    if steps.spline:
        spacing = product.KNOT_SPACING * product._FINER
        outlines = [product.spline(outline, knot_spacing=spacing) for outline in outlines]
    return outlines
