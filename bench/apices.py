"""``myostream evaluate --apices``: small synthetic apices through the whole pipeline, by their size.

Contours at the borders of the wall are compared with the labels. Values are those of the result; their truth
is the same measurement with contours traced from the labels, so that their difference is the error of the
contours alone. A second table gives the error of these true contours: blood and fat share the pixels of a
wall of 3 mm, so that no contour gives its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bench.values import write_results
from calibration.reliability import POOR
from inline.assembly.assembled import Ready
from inline.contouring.contours import rasterise
from inline.contouring.convention import move
from inline.contouring.regions import measure
from inline.contouring.segment import contour_slice
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import ContourOffsets, Contours, RegionValues, SliceResult
from inline.data.series import MapSeries, Quantity, SeriesIdentity
from inline.fit import make_map
from inline.pipeline import Pipeline, SliceProgress
from inline.terminal.tables import print_values
from model.evaluation.cases import LabelledSlice
from model.evaluation.metrics import Labels, dice_by_class
from model.evaluation.outlines import smooth_outline
from model.evaluation.synthetic import SEED, diameter_mm, make_slices
from model.frame import FRAME_MM
from model.synthesis.anatomy import make_anatomy
from model.synthesis.apex import draw_small_apices
from model.synthesis.randomness import Draw
from model.synthesis.tissues import RELAXATION, Tissue

_BANDS_MM: Final = (15.0, 20.0)
_NAMES: Final = ("below 15 mm", "15 to 20 mm", "from 20 mm on")
_BATCH: Final = 8
_SIZE: Final = 128
"""Slices made at once, and their rows and columns, for the table of true contours."""
_ERRORS: Final = "slices, median +.1f, absolute .1f, p90 .1f"
_COLUMNS: Final = (
    "slices, found, too_small, dice .3f, dice_cavity .3f, dice_myocardium .3f, flagged, poor, "
    "poor_not_flagged, error_not_flagged .1f, largest_not_flagged .1f, points, points_found, points_false"
)


@dataclass(frozen=True, slots=True)
class Apex:
    """Outcome of one small apex.

    Attributes:
        diameter_mm: of the disc that has the area of the heart.
        found: there are contours.
        dice_cavity: at the borders of the wall; 0 without contours.
        dice_myocardium: likewise.
        error_ms: median of the ring less that with true contours; NaN without one of them.
        flags: of the result; no slice of this benchmark has an orientation, which is not counted.
        confidence: of the result; None without a calibration.
        there: number of insertion points of the right ventricle in the slice.
        points: number of those found.
    """

    diameter_mm: float
    found: bool
    dice_cavity: float
    dice_myocardium: float
    error_ms: float
    flags: tuple[str, ...]
    confidence: float | None
    there: int
    points: int

    @property
    def dice(self) -> float:
        """Mean of cavity and myocardium."""
        return (self.dice_cavity + self.dice_myocardium) / 2


def evaluate_apices(
    count: int, kind: str, running: Pipeline, json_file: Path | None = None
) -> dict[str, dict[str, float]]:
    """Process small apices and print the table; return the summaries by size.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        running: whose contours, values and flags are evaluated.
        json_file: for the summaries and every slice.
    """
    slices = make_slices(count, kind, maps=True, apices=1.0)
    outcomes = [_process(slice_, running) for slice_, _ in slices if (slice_.labels == 1).any()]
    groups = {name: [each for each in outcomes if _band(each.diameter_mm) == name] for name in _NAMES}
    summaries = {name: _summary(group) for name, group in {**groups, "all": outcomes}.items() if group}
    true_contours = partial_volume(count, kind, running.offsets)
    about = {"engine": running.engine.name, "map": kind, "summaries": summaries}
    slices_found = [asdict(each) for each in outcomes]
    write_results(json_file, {**about, "true_contours": true_contours, "slices": slices_found})
    title = f"{len(outcomes)} small synthetic apices, {kind} maps, seed {SEED}; errors in ms"
    print_values(title, "across", summaries, _COLUMNS)
    title = "True contours on maps without noise: error of the ring's median by size and flag thin-wall, ms"
    print_values(title, "across", true_contours, _ERRORS)
    return summaries


def _process(slice_: LabelledSlice, running: Pipeline) -> Apex:
    rows, columns = slice_.image.shape
    series = _series(slice_.image, Quantity[slice_.kind.upper()])
    progress = SliceProgress(Ready.of(series))
    stages = running.stages(progress)
    output = running.engine.infer(np.asarray(next(stages))[None])[0]
    result = stages.send(output)
    assert isinstance(result, SliceResult)
    assert progress.prepared is not None
    borders = contour_slice(output, progress.prepared.frame).contours
    labels = np.zeros_like(slice_.labels) if borders is None else rasterise(borders, (rows, columns))
    cavity, wall = dice_by_class(labels, slice_.labels)
    truth = move(_traced(slice_.labels), slice_.spacing, running.offsets)[0]
    median = _median(measure(make_map(series), truth, None, None))
    points = (result.insertions.anterior, result.insertions.inferior)
    return Apex(
        diameter_mm=diameter_mm(slice_.labels),
        found=result.contours is not None,
        dice_cavity=cavity,
        dice_myocardium=wall,
        error_ms=_median(result.regions) - median,
        flags=tuple(flag.value for flag in result.flags if flag is not Flag.NO_ORIENTATION),
        confidence=result.confidence,
        there=0 if slice_.insertions is None else int(np.isfinite(slice_.insertions).all(axis=1).sum()),
        points=sum(point is not None for point in points),
    )


def partial_volume(count: int, kind: str, offsets: ContourOffsets) -> dict[str, dict[str, float]]:
    """Return the error of the ring's median with true contours, by size of the apex.

    The maps hold the mean of the tissues that share a pixel, in health, without noise. Hearts that the edge
    of the image cuts are left out.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        offsets: contour convention.
    """
    generator = torch.Generator().manual_seed(SEED)
    tissue = torch.tensor([getattr(RELAXATION[each], kind) for each in Tissue])
    errors: dict[str, list[tuple[float, bool]]] = {name: [] for name in _NAMES}
    for _ in range(0, count, _BATCH):
        draw = Draw(_BATCH, generator)
        anatomy = make_anatomy(draw, _SIZE, _SIZE, FRAME_MM, apices=draw_small_apices(draw.aside(), 1.0))
        maps = torch.einsum("t,nthw->nhw", tissue, anatomy.fractions).numpy()
        for image, labels in zip(maps, anatomy.labels.numpy().astype(np.uint8), strict=True):
            heart = labels > 0
            if not (labels == 1).any() or heart[[0, -1]].any() or heart[:, [0, -1]].any():
                continue
            contours, applied = move(_traced(labels), (FRAME_MM, FRAME_MM), offsets)
            median = _median(measure(make_map(_series(image, Quantity[kind.upper()])), contours, None, None))
            thin = any(made < 0.5 * wanted for made, wanted in zip(applied, offsets, strict=True))
            errors[_band(diameter_mm(labels))].append((median - float(tissue[Tissue.MYOCARDIUM]), thin))
    summaries = {}
    for name, found in errors.items():
        for of, flagged in (("thin wall", True), ("others", False)):
            if group := [error for error, thin in found if thin is flagged]:
                summaries[f"{name}, {of}"] = {
                    "slices": len(group),
                    "median": float(np.median(group)),
                    "absolute": float(np.median(np.abs(group))),
                    "p90": float(np.quantile(np.abs(group), 0.9)),
                }
    return summaries


def _series(values_ms: NDArray[np.float32], quantity: Quantity) -> MapSeries:
    """Return a map of the frame as a scanner's own."""
    rows, columns = values_ms.shape
    geometry = SliceGeometry.unoriented((FRAME_MM, FRAME_MM), (rows, columns))
    return MapSeries(quantity, values_ms, geometry, SeriesIdentity(0, 0))


def _traced(labels: Labels) -> Contours:
    """Return the contours of true labels, traced without the product's contour search."""
    return Contours(smooth_outline(labels == 1), smooth_outline(labels > 0))


def _band(across_mm: float) -> str:
    return _NAMES[int(np.digitize(across_mm, _BANDS_MM))]


def _median(regions: Sequence[RegionValues]) -> float:
    """Return the median of the whole ring, ms; NaN without one."""
    return regions[0].median if regions and regions[0].median is not None else math.nan


def _summary(apices: Sequence[Apex]) -> dict[str, float]:
    """Return the figures of a group; a slice counts as flagged with any flag, those without contours too."""
    unflagged = [each for each in apices if not each.flags]
    errors = [abs(each.error_ms) for each in unflagged if math.isfinite(each.error_ms)]
    summary: dict[str, float] = {
        "slices": len(apices),
        "found": sum(each.found for each in apices),
        "too_small": sum(Flag.TOO_SMALL.value in each.flags for each in apices),
        "flagged": sum(bool(each.flags) for each in apices),
        "poor": sum(each.dice < POOR for each in apices),
        "poor_not_flagged": sum(each.dice < POOR for each in unflagged),
        "points": sum(each.there for each in apices),
        "points_found": sum(min(each.points, each.there) for each in apices),
        "points_false": sum(max(each.points - each.there, 0) for each in apices),
    }
    for name in ("dice", "dice_cavity", "dice_myocardium"):
        summary[name] = float(np.mean([getattr(each, name) for each in apices]))
    if errors:
        summary |= {"error_not_flagged": float(np.median(errors)), "largest_not_flagged": max(errors)}
    return summary
