"""A segmentation against readers, slice by slice, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.cases import LabelledSlice
from model.evaluation.metrics import Agreement, Labels, agreement

Segment = Callable[[NDArray[np.float32], tuple[float, float]], Labels]
"""From an image ``(rows, columns)`` and its pixel size (x, y) in mm to labels of the same shape."""

SATURATED: Final = 0.05
"""Share of the myocardium at the top grey level from which a display window counts as saturated."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One slice.

    Attributes:
        name: of the slice.
        level: of the slice, or empty.
        contour: a ventricle was found.
        saturated: the image's display window saturates in the myocardium.
        agreement: with the first reader.
        median: median of the image in the myocardium found; NaN without one.
        reader_median: the same in the reader's.
    """

    name: str
    level: str
    contour: bool
    saturated: bool
    agreement: Agreement
    median: float
    reader_median: float


def evaluate(slices: Sequence[LabelledSlice], segment: Segment) -> tuple[list[Outcome], list[Labels]]:
    """Outcome and labels of each slice."""
    outcomes, labelled = [], []
    for each in slices:
        labels = segment(each.image, each.spacing)
        wall = labels == 2
        outcomes.append(
            Outcome(
                name=each.name,
                level=each.level,
                contour=bool(wall.any()),
                saturated=each.saturated_share() >= SATURATED,
                agreement=agreement(labels, each.labels, each.spacing),
                median=float(np.median(each.image[wall])) if wall.any() else float("nan"),
                reader_median=float(np.median(each.image[each.labels == 2])),
            )
        )
        labelled.append(labels)
    return outcomes, labelled


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over slices; distances and medians over those with a contour.

    ``bias`` and ``limits_low``, ``limits_high`` are the mean difference of the medians and the limits of
    agreement around it (Bland and Altman 1986, Lancet 327:307).
    """
    if not outcomes:
        return {"slices": 0}
    with_contour = [each for each in outcomes if each.contour]
    summary: dict[str, float] = {
        "slices": len(outcomes),
        "without_contour": len(outcomes) - len(with_contour),
    }
    for name in ("dice", "dice_cavity", "dice_myocardium", "iou", "iou_cavity", "iou_myocardium"):
        summary[name] = float(np.mean([getattr(each.agreement, name) for each in outcomes]))
    if with_contour:
        for name in (
            "hausdorff",
            "hausdorff_endo",
            "hausdorff_epi",
            "surface",
            "surface_endo",
            "surface_epi",
        ):
            summary[name] = float(np.mean([getattr(each.agreement, name) for each in with_contour]))
        apart = np.array([each.median - each.reader_median for each in with_contour])
        spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
        summary["bias"] = float(apart.mean())
        summary["absolute_difference"] = float(np.abs(apart).mean())
        summary["limits_low"] = float(apart.mean()) - 1.96 * spread
        summary["limits_high"] = float(apart.mean()) + 1.96 * spread
    return summary


def plain(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Outcomes as plain values; numbers that do not exist are None."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: clean(each) for name, each in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return [clean(asdict(each)) for each in outcomes]
