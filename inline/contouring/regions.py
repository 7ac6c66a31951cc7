"""Values of T1 or T2 in the myocardium: the whole ring, the septum, mid-septum, the AHA segments.

Segments after Cerqueira et al. 2002 (Circulation 105:539). The inset leaves out both rims of the wall, where
blood and fat share the pixels; it is a share of the wall's thickness at each place. Every pixel counts by the
share of it between the contours, so that values change continuously with them: counted whole, a single pixel
that changes sides moves the median T1 of a small apical slice by 3 ms. Between two angles, where both sides
are wall, a pixel belongs to the side of its centre.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inline.contouring.aha_segments import FOUR, SIX, segment_names, segments
from inline.contouring.plausibility import Pixels, poorly_fitted
from inline.contouring.septum import MID_SEPTUM, angles_from_septum
from inline.data.flags import Finding, Flag
from inline.data.results import AngularReference, Contours, RegionValues, SliceLevel
from model.polygons import distances, inside
from model.relaxometry.parametric_map import ParametricMap

FloatArray = NDArray[np.float64]

NO_VALUE: Final = "No value of"
"""Beginning of the note on parts of a ring without a value."""
_MID_ANGLE: Final = 0.5
"""Share of the septum's angle that is mid-septum: both ends, at the insertion points, are left out."""
_MID_INSET: Final = 0.25
"""Share of the wall's thickness left out of mid-septum at either border: its middle half remains. The
consensus asks for a region in the septum that keeps clear of blood (Messroghli et al. 2017, J Cardiovasc Magn
Reson 19:75)."""
_MOST_LOST: Final = 0.4
"""Share of a part of the ring that :func:`inline.contouring.plausibility.poorly_fitted` finds, above which
the part has no value. Chosen: of one tissue with noise of magnitudes, native and post-contrast T1 by MOLLI
and T2 of 45 ms at 0, 25 and 55 ms have at most 0.05 at an SNR of 12, 0.2 at 8, 0.5 to 0.7 at 3, and 0.9
without signal. T2 of 120 ms at 10, 20 to 90 ms has 0.1 at 16."""
_SMALLEST_AREA: Final = 1.0
"""Area in pixels below which a region has no value: the rims of pixels that belong to its neighbours."""
_LEAST_SHARE: Final = 0.1
"""Likewise as a share of its usual area: what masks or a gap of the wall leave of it is no sample of it."""


class RegionShares(NamedTuple):
    """Pixels of one region.

    Attributes:
        name: of the region.
        rows, columns: of each pixel, ``(n,)``.
        shares: of each pixel in the region, above 0 to 1, ``(n,)``.
        usual: area of a region of its angle in a wall of even thickness, all of it usable, pixels.
    """

    name: str
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shares: FloatArray
    usual: float

    @property
    def area(self) -> float:
        """Area, pixels."""
        return float(self.shares.sum())


class WallDepths(NamedTuple):
    """Pixels in and around a wall.

    Attributes:
        rows, columns: of each pixel, ``(n,)``.
        from_endo: distance outwards from the endocardial contour, negative in the cavity, pixels ``(n,)``.
        from_epi: distance inwards from the epicardial contour, negative outside, pixels ``(n,)``.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    from_endo: FloatArray
    from_epi: FloatArray


class WeightedStatistics(NamedTuple):
    """Median, quartiles, mean and standard deviation of the pixels of a region, in their unit."""

    median: float
    q1: float
    q3: float
    mean: float
    sd: float


def measure(
    parametric: ParametricMap,
    contours: Contours,
    level: SliceLevel | None,
    reference: AngularReference | None,
    *,
    inset: float = 0.1,
) -> tuple[RegionValues, ...]:
    """Return the values of each region; without a reference, of the whole ring alone.

    A part of the ring that is mostly noise, or of which too little is left, has none, see :func:`sample_of`.

    Args:
        parametric: the map; pixels where its fit failed are left out.
        contours: in pixels of the map.
        level: see :func:`region_shares`, likewise ``reference`` and ``inset``.
        reference: where the septum lies.
        inset: share of the wall's thickness left out at either border, 0 to below 0.5.
    """
    rows, columns = parametric.values_ms.shape
    shape = (rows, columns)
    regions = region_shares(contours, shape, level, reference, usable=np.ones(shape, bool), inset=inset)
    valid, lost = ~parametric.failed, poorly_fitted(parametric)
    return tuple(_values(sample_of(each, valid, lost), each.name, parametric.values_ms) for each in regions)


def sample_of(region: RegionShares, valid: NDArray[np.bool_], lost: NDArray[np.bool_]) -> RegionShares | None:
    """Return the valid pixels of a region; None where they are too few for a value, or too many are lost.

    The ring has a value from one pixel on: :func:`inline.contouring.plausibility.poor_fit` marks it.

    Args:
        region: all its pixels.
        valid: pixels with a value, ``(rows, columns)``.
        lost: pixels without a value or with a poor fit, ``(rows, columns)``.
    """
    own = valid[region.rows, region.columns]
    sample = region._replace(rows=region.rows[own], columns=region.columns[own], shares=region.shares[own])
    if sample.area < _SMALLEST_AREA:
        return None
    if region.name == "global":
        return sample
    poor = float(region.shares @ lost[region.rows, region.columns])
    too_few = sample.area < _LEAST_SHARE * region.usual
    return None if too_few or poor > _MOST_LOST * region.area else sample


def sixths(labels: NDArray[np.uint8], contours: Contours, reference: AngularReference) -> dict[str, Pixels]:
    """Return the pixels of twelve sixths of the wall by name, whatever its level.

    They lie at every 30 degrees, since lost signal keeps to no segment. Every second one is a segment of six.

    Args:
        labels: 0 background, 1 cavity, 2 myocardium, ``(rows, columns)``.
        contours, reference: as of :func:`measure`.
    """
    rows, columns = (labels == 2).nonzero()
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    from_septum = angles_from_septum(points, contours.endo.mean(axis=0), reference)
    found: dict[str, Pixels] = {}
    for first, name in enumerate(SIX):
        following = SIX[(first + 1) % len(SIX)]
        for turn, called in ((0.0, name), (30.0, f"{name}/{following}")):
            own = segments((from_septum + turn) % 360.0, len(SIX)) == first
            found[called] = rows[own], columns[own]
    return found


def without_values(regions: Sequence[RegionValues]) -> tuple[Finding, ...]:
    """Return the finding of parts of a ring with values that have none themselves; none without such."""
    names = [each.name for each in regions if each.median is None]
    if not names or regions[0].median is None:
        return ()
    return (
        (
            Flag.POOR_FIT,
            f"{NO_VALUE} {', '.join(names)}: hardly any wall lies there, or too many pixels of it have no "
            "value or a poor fit. Check the contours, and map and images for masks, noise and lost signal, "
            "as beside an implant.",
        ),
    )


def region_shares(
    contours: Contours,
    shape: tuple[int, int],
    level: SliceLevel | None,
    reference: AngularReference | None,
    *,
    usable: NDArray[np.bool_],
    inset: float,
) -> Iterator[RegionShares]:
    """Yield the pixels of each region: ``global``, ``septum``, ``mid-septum`` and the AHA segments.

    Args:
        contours: in pixels of the map.
        shape: of the map, ``(rows, columns)``.
        level: decides between six segments and four; None or unknown: no segments, and a septum whose angle
            is not known is the 90 degrees that are septal at every level.
        reference: where the septum lies; without, the whole ring alone. ``mid-septum`` needs its angle.
        usable: pixels that count, ``(rows, columns)``.
        inset: share of the wall's thickness left out at either border, 0 to below 0.5; of ``mid-septum`` at
            least a quarter.
    """
    if not 0.0 <= inset < 0.5:
        raise ValueError(f"an inset of {inset} leaves no wall; it must be at least 0 and below 0.5")

    depths = wall_depths(contours, shape)

    def wall(left_out: float) -> RegionShares:
        shares = wall_shares(depths, left_out)
        kept = (shares > 0.0) & usable[depths.rows, depths.columns]
        return RegionShares(
            "global", depths.rows[kept], depths.columns[kept], shares[kept], float(shares.sum())
        )

    def part(name: str, of: RegionShares, own: NDArray[np.bool_], degrees: float) -> RegionShares:
        usual = of.usual * degrees / 360.0
        return RegionShares(name, of.rows[own], of.columns[own], of.shares[own], usual)

    def angles(of: RegionShares) -> FloatArray:
        assert reference is not None
        points = np.stack([of.columns, of.rows], axis=1).astype(np.float64)
        return angles_from_septum(points, contours.endo.mean(axis=0), reference)

    ring = wall(inset)
    yield ring
    if reference is None:
        return
    from_septum = angles(ring)
    names = SIX if level in (SliceLevel.BASAL, SliceLevel.MID) else FOUR
    segment = segments(from_septum, len(names))
    degrees = 360.0 / len(names)
    if reference.width is None:
        septal = [i for i, name in enumerate(names) if "sept" in name]
        yield part("septum", ring, np.isin(segment, septal), degrees * len(septal))
    else:
        width = reference.width
        yield part("septum", ring, np.minimum(from_septum, 360.0 - from_septum) <= width / 2.0, width)
        middle, width = wall(max(inset, _MID_INSET)), _MID_ANGLE * width
        from_middle = angles(middle)
        within = np.minimum(from_middle, 360.0 - from_middle) <= width / 2.0
        yield part(MID_SEPTUM, middle, within, width)
    for i, name in enumerate(segment_names(level)):
        yield part(name, ring, segment == i, degrees)


def wall_depths(contours: Contours, shape: tuple[int, int]) -> WallDepths:
    """Return the pixels of an image ``(rows, columns)`` in and around the wall, with their depth in it.

    Args:
        contours: in pixels of the image.
        shape: of the image.
    """
    in_endo, in_epi = inside(contours.endo, shape), inside(contours.epi, shape)
    around = np.ones((3, 3), np.uint8)
    candidates = cv2.dilate(in_epi.view(np.uint8), around) > cv2.erode(in_endo.view(np.uint8), around)
    rows, columns = candidates.nonzero()
    centres = np.stack([columns, rows], axis=1).astype(np.float64)
    return WallDepths(
        rows,
        columns,
        np.where(in_endo[rows, columns], -1.0, 1.0) * distances(centres, contours.endo),
        np.where(in_epi[rows, columns], 1.0, -1.0) * distances(centres, contours.epi),
    )


def wall_shares(depths: WallDepths, inset: float) -> FloatArray:
    """Return the share of each pixel that lies in the wall, 0 to 1, ``(n,)``.

    A border counts as straight within a pixel and as level with one of its sides.

    Args:
        depths: of the pixels.
        inset: share of the wall's thickness left out at either border.
    """
    left_out = inset * (depths.from_endo + depths.from_epi)
    outside_inner = np.clip(0.5 + depths.from_endo - left_out, 0.0, 1.0)
    inside_outer = np.clip(0.5 + depths.from_epi - left_out, 0.0, 1.0)
    return np.maximum(outside_inner + inside_outer - 1.0, 0.0)


def weighted_quantiles(values: FloatArray, weights: FloatArray, at: Sequence[float]) -> FloatArray:
    """Return weighted quantiles of values ``(n,)``, linear between the middles of their weights.

    With equal weights these are Hazen's (Hyndman and Fan 1996, definition 5); the median is the usual one.
    """
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    middles = np.cumsum(weights) - 0.5 * weights
    quantiles: FloatArray = np.interp(np.asarray(at) * weights.sum(), middles, values)
    return quantiles


def weighted_statistics(values: FloatArray, weights: FloatArray) -> WeightedStatistics:
    """Return the statistics of values ``(n,)`` by weights ``(n,)`` whose sum is above 0."""
    q1, median, q3 = weighted_quantiles(values, weights, (0.25, 0.5, 0.75)).tolist()
    mean = float(np.average(values, weights=weights))
    sd = math.sqrt(np.average((values - mean) ** 2, weights=weights))
    return WeightedStatistics(median, q1, q3, mean, sd)


def _values(sample: RegionShares | None, name: str, values_ms: NDArray[np.float32]) -> RegionValues:
    """Return the values of a region's sample of a map ``(rows, columns)``."""
    if sample is None:
        return RegionValues(name, None, None, None, None, None, 0)
    values = values_ms[sample.rows, sample.columns].astype(np.float64)
    return RegionValues(name, *weighted_statistics(values, sample.shares), round(sample.area))
