"""Values of T1 or T2 in the myocardium: the whole ring, the septum, mid-septum, the AHA segments.

Segments after Cerqueira et al. 2002 (Circulation 105:539). The inset leaves out both rims of the wall, where
blood and fat share the pixels; it is a share of the wall's thickness at each place. Every pixel counts by the
share of it inside, so that values change continuously with a contour: counted whole, a single pixel that
changes sides moves the median T1 of a small apical slice by 3 ms.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import Field, replace
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inline.contouring.plausibility import Pixels, poorly_fitted
from inline.data.flags import Finding, Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import AngularReference, Contours, Insertions, RegionValues, SliceLevel
from model.polygons import distances, inside
from model.relaxometry.parametric_map import ParametricMap

FloatArray = NDArray[np.float64]

RIGHT_ANTERIOR: Final = np.array([-1.0, -1.0, 0.0]) / math.sqrt(2.0)
"""Direction from the left to the right ventricle in patient coordinates (LPS): the usual septum."""
_UPPER_FRONT: Final = np.array([0.0, -0.5, 1.0])
"""Side of the anterior wall, where the plane leaves two choices."""
_SHORTEST: Final = 0.35
"""Shortest usable projection of right-anterior on the slice."""
_SIX: Final = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
_FOUR: Final = ("anterior", "septal", "inferior", "lateral")
_NOT_USED: Final = (
    "Septum and segments do not follow the insertion points of the right ventricle: {}. There is no "
    "mid-septal value."
)
MID_SEPTUM: Final = "mid-septum"
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
_FIRST: Final = {SliceLevel.BASAL: 1, SliceLevel.MID: 7, SliceLevel.APICAL: 13}
_SEGMENT: Final = re.compile(r"AHA ([1-9]|1[0-6]) ([a-z]+) ([a-z]+)")


class _Named(Protocol):
    """Dataclass of the values of a region, with ``z_score``."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...


_Region = TypeVar("_Region", bound=_Named)


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


def angular_reference(
    geometry: SliceGeometry, septum_degrees: float | None = None
) -> AngularReference | None:
    """Return the reference from the slice's orientation in the patient, or from the user.

    Args:
        geometry: of the image.
        septum_degrees: direction of the middle of the septum as the user sees it, degrees anticlockwise from
            the right of the image; None to take it from the geometry.

    Returns:
        None where neither is available: the slice faces right-anterior, which is no usual short axis, or its
            directions are not known.
    """
    row, column = np.asarray(geometry.row_direction), np.asarray(geometry.column_direction)
    normal = geometry.normal

    def in_plane(direction: FloatArray) -> FloatArray:
        return np.array([direction @ row, direction @ column])

    septum = in_plane(RIGHT_ANTERIOR)
    if septum_degrees is None:
        if not geometry.oriented or float(np.linalg.norm(septum)) < _SHORTEST:
            return None
        source = "usual heart (image geometry, right-anterior of the patient taken for the septum)"
    else:
        angle = math.radians(-septum_degrees)
        septum = np.array([math.cos(angle), math.sin(angle)])
        source = f"user (septum at {septum_degrees:g} degrees)"
    # Of the two directions across the septum's, the anterior wall's points up and to the front.
    across = np.array([-septum[1], septum[0]])
    anterior = in_plane(_UPPER_FRONT)
    if not np.isfinite(normal).all() or abs(float(across @ anterior)) < 1e-6:
        turn = 1
    else:
        turn = 1 if float(across @ anterior) > 0 else -1
    aspect = geometry.spacing[1] / geometry.spacing[0]
    return AngularReference(math.atan2(septum[1], septum[0]), turn, source, aspect=aspect)


def insertion_reference(
    insertions: Insertions, contours: Contours, usual: AngularReference | None, aspect: float = 1.0
) -> tuple[AngularReference | None, str]:
    """Return the reference from the insertion points, or else that of a usual heart, and a note on it.

    The attachment of the right ventricle separates the septum from the anterior and the inferior wall, and
    segments are of equal angle (Cerqueira et al. 2002). The middle of the septum is the bisector of both
    points: an error of one point turns the segments by half of that error. Their order around the centre also
    shows whether the image is mirrored.

    Args:
        insertions: in pixels of the map.
        contours: likewise.
        usual: from the slice's orientation; None where that is not known.
        aspect: height of a pixel over its width.

    Returns:
        The reference, None without either; the note is empty unless the network output has heat maps whose
            points are not used.
    """
    anterior, inferior, objection = insertions.anterior, insertions.inferior, insertions.objection
    if anterior is not None and inferior is not None and not objection:
        square = (1.0, aspect)
        centre = contours.endo.mean(axis=0) * square
        first, last = np.array([anterior.x, anterior.y]) * square, np.array([inferior.x, inferior.y]) * square
        degrees = angle_between(first, last, centre)
        from_inferior = math.atan2(*(last - centre)[::-1])
        reference = AngularReference(
            from_inferior + math.radians(degrees / 2.0),
            1 if degrees > 0 else -1,
            "RV insertion points",
            abs(degrees),
            aspect,
        )
        if usual is None or reference.agrees(usual):
            return reference, ""
        objection = "they contradict the image directions"
    return usual, _NOT_USED.format(objection) if objection else ""


def slice_reference(
    geometry: SliceGeometry,
    insertions: Insertions,
    contours: Contours | None,
    stated: float | None = None,
) -> tuple[AngularReference | None, str]:
    """Return the reference of a slice from the best source, and a note on it.

    In this order: the user's statement; the insertion points; a usual heart.

    Args:
        geometry: of the image.
        insertions: in pixels of the map.
        contours: likewise; None where there are none.
        stated: direction of the middle of the septum, as of :func:`angular_reference`.
    """
    reference = angular_reference(geometry, stated)
    if stated is not None or contours is None:
        return reference, ""
    width, height = geometry.spacing
    return insertion_reference(insertions, contours, reference, height / width)


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
    for first, name in enumerate(_SIX):
        following = _SIX[(first + 1) % len(_SIX)]
        for turn, called in ((0.0, name), (30.0, f"{name}/{following}")):
            own = segments((from_septum + turn) % 360.0, len(_SIX)) == first
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


def segment_level(level: SliceLevel | None, flags: Collection[str]) -> SliceLevel | None:
    """Return the level at which a slice with these flags has AHA segments; None where it has none.

    The centre of a heart that is cut off is not known, nor are the angles around it.
    """
    return None if Flag.CUT_OFF in flags else level


def lacks_segments(regions: Iterable[_Named], level: SliceLevel, flags: Collection[str]) -> bool:
    """Return whether the regions of a slice with these flags have no AHA segments, which its level has.

    Without a direction of the septum there are none at any level.
    """
    names = {each.name for each in regions}
    return "septum" in names and segment_level(level, flags) in _FIRST and not any(map(segment_number, names))


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
    names = _SIX if level in (SliceLevel.BASAL, SliceLevel.MID) else _FOUR
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


def segment_names(level: SliceLevel | None) -> list[str]:
    """Return the names of the AHA segments of a level, the anterior one first; none of an unknown level."""
    if level not in _FIRST:
        return []
    names = _SIX if level in (SliceLevel.BASAL, SliceLevel.MID) else _FOUR
    return [f"AHA {_FIRST[level] + i} {level.value} {name}" for i, name in enumerate(names)]


def segment_number(name: str) -> int | None:
    """Return the number of the AHA segment of this name, 1 to 16; None of another region."""
    match = _SEGMENT.fullmatch(name)
    return int(match[1]) if match else None


def renamed(regions: Iterable[_Region], level: SliceLevel) -> tuple[_Region, ...]:
    """Return regions by their names at another level, by :func:`segment_at_level`.

    A segment of another name has no z-score, since a range holds for one segment.
    """
    named = ((each, segment_at_level(each.name, level)) for each in regions)
    return tuple(
        each if each.name == name else replace(each, name=name, z_score=None)
        for each, name in named
        if name is not None
    )


def segment_at_level(name: str, level: SliceLevel) -> str | None:
    """Return the name of the same part of the wall at another level; None where its segments are others.

    Basal and mid-ventricular slices have the same six segments. Regions that are no segments keep their name.
    """
    match = _SEGMENT.fullmatch(name)
    if match is None or match[2] == level.value:
        return name
    if {match[2], level.value} != {SliceLevel.BASAL.value, SliceLevel.MID.value}:
        return None
    number = int(match[1]) - _FIRST[SliceLevel(match[2])] + _FIRST[level]
    return f"AHA {number} {level.value} {match[3]}"


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


def angles_from_septum(points: FloatArray, centre: FloatArray, reference: AngularReference) -> FloatArray:
    """Return the angle around the centre from mid-septum towards the anterior wall, degrees, 0 to 360."""
    offset = (points - centre) * (1.0, reference.aspect)
    angle = np.arctan2(offset[:, 1], offset[:, 0]) - reference.septum
    degrees: FloatArray = np.degrees(reference.turn * angle) % 360.0
    return degrees


def segments(from_septum: FloatArray, number: int) -> NDArray[np.intp]:
    """Return the index into the names of six or four segments for each angle from the septum, degrees.

    With six, the middle of the septum is the border between anteroseptal and inferoseptal; with four it is
    the middle of the septal segment. Numbers run from anterior over septal to inferior and lateral.
    """
    width = 360.0 / number
    towards_inferior = (360.0 - from_septum) % 360.0
    if number == 6:
        return ((towards_inferior // width).astype(np.intp) + 2) % 6
    return (((towards_inferior + width / 2) // width).astype(np.intp) + 1) % 4


def angle_between(anterior: FloatArray, inferior: FloatArray, centre: FloatArray) -> float:
    """Return the angle from the inferior to the anterior insertion point around a centre, degrees.

    From -180 to 180, the shorter way around; above 0 where it turns x towards y (clockwise on screen).
    """
    first, last = anterior - centre, inferior - centre
    turned = math.atan2(first[1], first[0]) - math.atan2(last[1], last[0])
    return math.degrees(math.remainder(turned, math.tau))


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
