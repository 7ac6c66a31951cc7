"""A segmentation against readers, slice by slice, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.evaluation.cases import LabelledSlice
from model.evaluation.displacement import best_shift
from model.evaluation.metrics import Agreement, Labels, agreement

Segment = Callable[[NDArray[np.float32], tuple[float, float]], Labels]
"""From an image ``(rows, columns)`` and its pixel size (x, y) in mm to labels of the same shape."""

SATURATED: Final = 0.05
"""Share of the myocardium at the top grey level from which a display window counts as saturated."""
_ERRORS: Final = 3.0
_FEWEST: Final = 5
"""Standard errors, and slices, from which on an offset is taken for systematic."""


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
        spread: half the width of the middle 68 % of the image in the myocardium found; NaN without one. What
            is not myocardium widens it, whoever drew it.
        reader_spread: the same in the reader's.
        offset: from the centre of the reader's heart, cavity and myocardium, to the one found, (x, y), mm;
            NaN without one.
    """

    name: str
    level: str
    contour: bool
    saturated: bool
    agreement: Agreement
    median: float
    reader_median: float
    spread: float
    reader_spread: float
    offset: tuple[float, float]


def evaluate(slices: Sequence[LabelledSlice], segment: Segment) -> tuple[list[Outcome], list[Labels]]:
    """Outcome and labels of each slice."""
    labelled = [segment(each.image, each.spacing) for each in slices]
    return [compare(each, labels) for each, labels in zip(slices, labelled, strict=True)], labelled


def compare(slice_: LabelledSlice, labels: Labels) -> Outcome:
    """Labels of one slice, ``(rows, columns)``, against its first reader's."""
    ours, readers = slice_.image[labels == 2], slice_.image[slice_.labels == 2]
    apart = (_centre(labels) - _centre(slice_.labels)) * np.array(slice_.spacing)
    return Outcome(
        name=slice_.name,
        level=slice_.level,
        contour=len(ours) > 0,
        saturated=slice_.saturated_share() >= SATURATED,
        agreement=agreement(labels, slice_.labels, slice_.spacing),
        median=_median(ours),
        reader_median=_median(readers),
        spread=_spread(ours),
        reader_spread=_spread(readers),
        offset=(float(apart[0]), float(apart[1])),
    )


def systematic_offset(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    """Mean offset (x, y), mm, where it is more than chance makes it: beyond three standard errors.

    All slices alike is not how a network fails: then contours were drawn on other images, or images and
    contours were resampled by different conventions.
    """
    offsets = np.array([each.offset for each in outcomes if each.contour]).reshape(-1, 2)
    if len(offsets) < _FEWEST:
        return None
    mean, error = offsets.mean(axis=0), offsets.std(axis=0, ddof=1) / np.sqrt(len(offsets))
    return (float(mean[0]), float(mean[1])) if (np.abs(mean) > _ERRORS * error).any() else None


def image_shift(slices: Sequence[LabelledSlice]) -> tuple[float, float]:
    """How the reader's labels would have to move for the images to fit them best, mean (x, y), mm.

    NaN where no slice says it. No network has a part in it.
    """
    asked = np.array(
        [np.multiply(best_shift(each.image, each.labels), each.spacing) for each in slices]
    ).reshape(-1, 2)
    asked = asked[np.isfinite(asked).all(axis=1)]
    x, y = asked.mean(axis=0) if len(asked) else (np.nan, np.nan)
    return float(x), float(y)


def without_offset(
    slices: Sequence[LabelledSlice], labelled: Sequence[Labels], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Outcomes once the mean offset of all other slices was taken out of each slice's labels."""
    there = [each.contour for each in outcomes]
    offsets = np.array([each.offset for each in outcomes])
    moved = []
    for number, (slice_, labels) in enumerate(zip(slices, labelled, strict=True)):
        others = np.array([found and other != number for other, found in enumerate(there)])
        x, y = offsets[others].mean(axis=0) / np.array(slice_.spacing) if others.any() else (0.0, 0.0)
        moved.append(compare(slice_, moved_by(labels, -x, -y)))
    return moved


def readers_moved(slices: Sequence[LabelledSlice], shift: tuple[float, float]) -> list[Outcome]:
    """Each reader's own labels, moved by ``shift`` (x, y), mm, against where they were.

    Where the images ask for that shift, it is what contours that lie right reach, and no more can be had from
    following the image.
    """
    return [compare(each, moved_by(each.labels, *np.divide(shift, each.spacing))) for each in slices]


def moved_by(labels: Labels, x: float, y: float) -> Labels:
    """Labels moved right and down by parts of a pixel; smoothed first, since steps of pixels would stay."""

    def region(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        smooth = ndimage.gaussian_filter(mask.astype(np.float64), 1.0)
        there: NDArray[np.bool_] = ndimage.shift(smooth, (y, x), order=1) > 0.5
        return there

    return np.where(region(labels == 1), 1, np.where(region(labels > 0), 2, 0)).astype(np.uint8)


def _centre(labels: Labels) -> NDArray[np.float64]:
    """Centre (x, y) of cavity and myocardium together, pixels; NaN where there is neither."""
    rows, columns = np.nonzero(labels)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else np.full(2, np.nan)


def _median(values: NDArray[np.float32]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _spread(values: NDArray[np.float32]) -> float:
    return float(np.diff(np.quantile(values, (0.16, 0.84)))[0] / 2) if len(values) else float("nan")


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
        for name in ("spread", "reader_spread"):
            summary[name] = float(np.mean([getattr(each, name) for each in with_contour]))
        offsets = np.array([each.offset for each in with_contour])
        summary["offset_x"], summary["offset_y"] = (float(mean) for mean in offsets.mean(axis=0))
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
        if isinstance(value, tuple):
            return [clean(each) for each in value]
        if isinstance(value, dict):
            return {name: clean(each) for name, each in value.items()}
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return [clean(asdict(each)) for each in outcomes]
