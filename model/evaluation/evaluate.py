"""Segmentation against readers: outcome of each slice, summaries, systematic offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.evaluation.cases import LabelledSlice
from model.evaluation.label_shift import estimate_shift
from model.evaluation.metrics import Agreement, Labels, agreement

Segment = Callable[[NDArray[np.float32], tuple[float, float]], Labels]
"""From an image ``(rows, columns)`` and its pixel size (x, y) in mm to labels of the same shape."""

SATURATED: Final = 0.05
"""Share of the myocardium at the top grey level from which a display window counts as saturated."""
SAME_HEART: Final = 0.5
"""IoU below which network and reader are taken to show different hearts."""
_ERRORS: Final = 3.0
_FEWEST: Final = 5
"""Standard errors, and slices, from which an offset counts as systematic."""
_OVERLAP: Final = ("dice", "dice_cavity", "dice_myocardium", "iou", "iou_cavity", "iou_myocardium")
_DISTANCES: Final = ("hausdorff", "hausdorff_endo", "hausdorff_epi", "surface", "surface_endo", "surface_epi")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One slice.

    Attributes:
        name: of the slice.
        level: of the slice, or empty.
        contour: whether a ventricle was found.
        saturated: whether the image's display window saturates in the myocardium.
        agreement: with the first reader.
        median: median of the finite values of the image in the myocardium found; NaN without any.
        reader_median: the same in the reader's.
        spread: half the width of the middle 68 % of these values. Blood or fat in the myocardium widens it.
        reader_spread: the same in the reader's.
        offset: from the centre of the reader's heart, cavity and myocardium, to the one found, (x, y), mm;
            NaN where either is empty, or their IoU is below :data:`SAME_HEART`.
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
    """Return outcome and labels of each slice."""
    labelled = [segment(each.network_image, each.spacing) for each in slices]
    return [compare(each, labels) for each, labels in zip(slices, labelled, strict=True)], labelled


def compare(slice_: LabelledSlice, labels: Labels) -> Outcome:
    """Compare labels of one slice, ``(rows, columns)``, with its first reader's."""
    ours, readers = slice_.image[labels == 2], slice_.image[slice_.labels == 2]
    apart = (_centre(labels) - _centre(slice_.labels)) * np.array(slice_.spacing)
    if not _one_heart(labels, slice_.labels):
        apart = np.full(2, np.nan)
    return Outcome(
        name=slice_.name,
        level=slice_.level,
        contour=len(ours) > 0,
        saturated=slice_.saturated_share() >= SATURATED,
        agreement=agreement(labels, slice_.labels, slice_.spacing),
        median=median_of(ours),
        reader_median=median_of(readers),
        spread=_spread(ours),
        reader_spread=_spread(readers),
        offset=(float(apart[0]), float(apart[1])),
    )


def systematic_offset(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    """Return the mean offset (x, y), mm, if it exceeds three standard errors in x or y; else None.

    An offset that all slices share is not an error of the network: the contours were drawn on other images,
    or images and contours were resampled by different conventions. Slices without contours, found or
    the reader's, and those where the network finds another heart, have no part in it.
    """
    offsets = np.array([each.offset for each in outcomes if _has_offset(each)]).reshape(-1, 2)
    if len(offsets) < _FEWEST:
        return None
    mean, error = offsets.mean(axis=0), offsets.std(axis=0, ddof=1) / np.sqrt(len(offsets))
    return (float(mean[0]), float(mean[1])) if (np.abs(mean) > _ERRORS * error).any() else None


def label_shift(slices: Sequence[LabelledSlice]) -> tuple[float, float]:
    """Return the shift (x, y), mm, that the reader's labels need by the intensities, the mean over slices.

    NaN where no slice has both classes.
    """
    shifts = np.array(
        [np.multiply(estimate_shift(each.image, each.labels), each.spacing) for each in slices]
    ).reshape(-1, 2)
    shifts = shifts[np.isfinite(shifts).all(axis=1)]
    x, y = shifts.mean(axis=0) if len(shifts) else (np.nan, np.nan)
    return float(x), float(y)


def offset_corrected(
    slices: Sequence[LabelledSlice], labelled: Sequence[Labels], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Return the outcomes with the leave-one-out mean offset removed from each slice's labels."""
    found = np.array([_has_offset(each) for each in outcomes])
    offsets = np.array([each.offset for each in outcomes])
    corrected = []
    for number, (slice_, labels) in enumerate(zip(slices, labelled, strict=True)):
        others = found & (np.arange(len(found)) != number)
        x, y = offsets[others].mean(axis=0) / np.array(slice_.spacing) if others.any() else (0.0, 0.0)
        corrected.append(compare(slice_, shift_labels(labels, -x, -y)))
    return corrected


def shifted_readers(slices: Sequence[LabelledSlice], shift: tuple[float, float]) -> list[Outcome]:
    """Compare each reader's labels, shifted by (x, y), mm, with the same labels as drawn.

    For a shift estimated from intensities, this is the upper bound of the agreement of contours that follow
    the image.
    """
    return [compare(each, shift_labels(each.labels, *np.divide(shift, each.spacing))) for each in slices]


def shift_labels(labels: Labels, x: float, y: float) -> Labels:
    """Return labels shifted right and down by parts of a pixel; smoothed first, as steps of pixels would
    stay."""

    def shifted(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        smooth = ndimage.gaussian_filter(mask.astype(np.float64), 1.0)
        region: NDArray[np.bool_] = ndimage.shift(smooth, (y, x), order=1) > 0.5
        return region

    return np.where(shifted(labels == 1), 1, np.where(shifted(labels > 0), 2, 0)).astype(np.uint8)


def _centre(labels: Labels) -> NDArray[np.float64]:
    """Return the centre (x, y) of cavity and myocardium together, pixels; NaN where there is neither."""
    rows, columns = np.nonzero(labels)
    return np.array([columns.mean(), rows.mean()]) if len(rows) else np.full(2, np.nan)


def _one_heart(found: Labels, drawn: Labels) -> bool:
    """Return whether two labellings overlap enough to be of one heart; False where either is empty."""
    both, either = ((found > 0) & (drawn > 0)).sum(), ((found > 0) | (drawn > 0)).sum()
    return bool(both > 0 and both >= SAME_HEART * either)


def _has_offset(outcome: Outcome) -> bool:
    return outcome.contour and bool(np.isfinite(outcome.offset).all())


def median_of(values: NDArray[np.float32]) -> float:
    """Return the median of the finite values; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _spread(values: NDArray[np.float32]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.diff(np.quantile(finite, (0.16, 0.84)))[0] / 2) if len(finite) else float("nan")


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return means over slices; distances, offsets and medians over those with a contour that have them.

    ``without_distances`` counts the slices with a contour where cavity or myocardium is missing in the
    reader's labels or in those found, ``without_medians`` those where the map has no finite value in one
    myocardium. ``bias`` and ``limits_low``, ``limits_high`` are the mean difference of the medians and the
    limits of agreement around it (Bland and Altman 1986, Lancet 327:307).
    """
    if not outcomes:
        return {"slices": 0}
    with_contour = [each for each in outcomes if each.contour]
    measured = [each for each in with_contour if np.isfinite(each.agreement.hausdorff)]
    valued = [each for each in with_contour if np.isfinite(each.median - each.reader_median)]
    summary: dict[str, float] = {
        "slices": len(outcomes),
        "without_contour": len(outcomes) - len(with_contour),
        "without_distances": len(with_contour) - len(measured),
        "without_medians": len(with_contour) - len(valued),
    }
    summary |= {
        name: float(np.mean([getattr(each.agreement, name) for each in outcomes])) for name in _OVERLAP
    }
    if measured:
        for name in _DISTANCES:
            summary[name] = float(np.mean([getattr(each.agreement, name) for each in measured]))
    if offsets := [each.offset for each in with_contour if _has_offset(each)]:
        summary["offset_x"], summary["offset_y"] = (float(mean) for mean in np.mean(offsets, axis=0))
    if not valued:
        return summary
    for name in ("spread", "reader_spread"):
        summary[name] = float(np.mean([getattr(each, name) for each in valued]))
    apart = np.array([each.median - each.reader_median for each in valued])
    bias, spread = float(apart.mean()), float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
    return summary | {
        "bias": bias,
        "absolute_difference": float(np.abs(apart).mean()),
        "limits_low": bias - 1.96 * spread,
        "limits_high": bias + 1.96 * spread,
    }


def left_out_note(summary: Mapping[str, float]) -> list[str]:
    """Return the sentence on slices that :func:`summarise` leaves out of some means; none without such."""
    if not summary.get("without_distances") and not summary.get("without_medians"):
        return []
    return [
        f"{summary['without_distances']} without distances, as cavity or myocardium is missing in the "
        f"reader's labels or in the contours; {summary['without_medians']} without medians, as the map has "
        "no finite value in one myocardium. The means leave these slices out."
    ]


def to_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as values of JSON; None for numbers that are not finite."""
    return [finite(asdict(each)) for each in outcomes]


def finite(value: Any) -> Any:
    """Return a value of JSON with None for numbers in it that are not finite."""
    if isinstance(value, (tuple, list)):
        return [finite(each) for each in value]
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value
