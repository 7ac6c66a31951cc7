"""Table 8: what each step of the contour search is worth where masks have defects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.tables.agreement import Segmented
from bench.tables.defects import spoil
from bench.tables.outlines import Outline, hausdorff, smooth_outline
from bench.tables.output import Table
from inline.contouring import contours as product
from inline.contouring.contours import ContourSteps, rasterise
from inline.data.results import Contours
from model.frame import FRAME_MM
from model.polygons import outward
from model.training.data import labels_in_frame

STEPS: Final = ("dominant_points", "not_elongated", "largest", "close_c_shape", "spline")
"""In the order in which the product takes them."""
NOTHING: Final = ContourSteps(
    dominant_points=False, not_elongated=False, largest=False, close_c_shape=False, spline=False
)


@dataclass(frozen=True, slots=True)
class Masked:
    """Class probabilities in the network's frame, and the contours that they ought to give.

    Attributes:
        probabilities: background, LV cavity, myocardium, ``(3, 224, 224)``; hard masks have 0 and 1 alone.
        truth: contours in pixels of the frame (1.5 mm).
    """

    probabilities: NDArray[np.float32]
    truth: Contours


@dataclass(frozen=True, slots=True)
class StepFigure:
    """After a step: Hausdorff distance of each slice, mm; NaN where no outline is left."""

    step: str
    hausdorff_mm: NDArray[np.float64]
    without_contour: int


def stages() -> list[tuple[str, ContourSteps]]:
    """Names and steps, from the bare outlines of the masks to all steps."""
    taken = NOTHING
    found = [("outlines of the masks", taken)]
    for step in STEPS:
        taken = replace(taken, **{step: True})
        found.append((step.replace("_", " "), taken))
    return found


def figures(slices: Sequence[Masked]) -> list[StepFigure]:
    """Mean Hausdorff distance of both contours after each further step.

    Every part that a step leaves counts, so that a speck costs its distance until a step drops it.
    ``without_contour`` is how many slices the product, with these steps, gives no contour for.
    """
    found = []
    for name, steps in stages():
        distances = [_distance(each, steps) for each in slices]
        none = sum(product.find_contours(each.probabilities, steps).contours is None for each in slices)
        found.append(StepFigure(name, np.array(distances), none))
    return found


def table_8(slices: Sequence[Segmented], seed: int = 8) -> Table:
    """Each step on masks spoilt on purpose, and on the network's own."""
    random = np.random.default_rng(seed)
    spoilt, own = [], []
    for each in slices:
        labels = labels_in_frame(each.slice.labels, each.frame())
        if not (labels == 1).any():
            continue
        truth = Contours(endo=smooth_outline(labels == 1), epi=smooth_outline(labels > 0))
        drawn = rasterise(truth, labels.shape)
        spoilt.append(Masked(hard(spoil(drawn, random)), truth))
        own.append(Masked(each.probabilities, truth))
    sets = {"masks with defects": figures(spoilt), "the network's masks": figures(own)}
    rows: list[tuple[str, ...]] = []
    values: dict[str, dict[str, Any]] = {}
    whole = {
        name: ~np.isnan([each.hausdorff_mm for each in found]).any(axis=0) for name, found in sets.items()
    }
    for number, (step, _) in enumerate(stages()):
        cells = []
        for name, found in sets.items():
            figure = found[number]
            there = figure.hausdorff_mm[whole[name]]
            mean = float(there.mean()) if len(there) else float("nan")
            cells += [f"{mean:.2f}" if len(there) else "-", str(figure.without_contour)]
            values.setdefault(name, {})[step] = {
                "hausdorff": mean if len(there) else None,
                "without_contour": figure.without_contour,
            }
        rows.append((step if not number else f"+ {step}", *cells))
    columns = ("step", *(f"{name}: {what}" for name in sets for what in ("Hausdorff mm", "no contour")))
    counted = ", ".join(f"{int(there.sum())} {name}" for name, there in whole.items())
    notes = (
        "Mean Hausdorff distance of both contours from the first reader's, smoothed; every part that a step "
        f"leaves counts; slices with an outline after every step ({counted}).",
        "No contour: slices for which the product's acceptance rules leave none with these steps.",
        "Defects: specks, streaks and spurs added, gaps of the wall and sectors (C shapes) taken away, "
        "each as likely as not, one at least.",
    )
    return Table("8", "post-processing, step by step", columns, tuple(rows), notes, values)


def hard(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Labels ``(rows, columns)`` as probabilities ``(3, rows, columns)``."""
    return np.stack([labels == value for value in range(3)]).astype(np.float32)


def _distance(slice_: Masked, steps: ContourSteps) -> float:
    """Mean over both contours, mm."""
    winner, corner = _winner(slice_.probabilities)
    if winner is None:
        return float("nan")
    apart = []
    for mask, truth in ((winner == 1, slice_.truth.endo), (winner > 0, slice_.truth.epi)):
        parts = [_placed(each, corner) for each in _outlines(mask.astype(np.uint8), steps)]
        apart.append(hausdorff(parts, truth, (FRAME_MM, FRAME_MM)) if parts else float("nan"))
    return float(np.mean(apart))


def _outlines(mask: NDArray[np.uint8], steps: ContourSteps) -> list[Outline]:
    """Every outline that the steps leave, where the product would take one."""
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


def _winner(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.intp] | None, NDArray[np.float64]]:
    """Classes on the product's finer grid, and its corner."""
    finer, corner = product._finer(probabilities)
    return (None if finer is None else finer.argmax(axis=0)), corner


def _placed(outline: Outline, corner: NDArray[np.float64]) -> Outline:
    """An outline of the finer grid in pixels of the probabilities."""
    return (outward(outline, 0.5) + 0.5) / product._FINER - 0.5 + corner
