"""Values of T1 or T2 in the myocardium: the whole ring, the septum, the AHA segments.

Segments after Cerqueira et al. 2002 (Circulation 105:539). A pixel's place across the wall is its distance
from the endocardial contour in units of the wall's thickness there, 0 to 1; the inset leaves out both rims,
where blood and fat share the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contours import rasterise
from inline.geometry import SliceGeometry
from inline.mapping.parametric_map import ParametricMap
from inline.results import Contours, RegionValues, SliceLevel

FloatArray = NDArray[np.float64]

_RIGHT_ANTERIOR: Final = np.array([-1.0, -1.0, 0.0]) / math.sqrt(2.0)
"""From the left ventricle to the right one in patient coordinates (LPS): where the septum usually is."""
_UPPER_FRONT: Final = np.array([0.0, -0.5, 1.0])
"""The anterior wall's side, where the plane leaves the choice between two."""
_SHORTEST: Final = 0.35
"""Length of the projection of right-anterior on the slice below which it tells nothing."""
_SIX: Final = ("anterior", "anteroseptal", "inferoseptal", "inferior", "inferolateral", "anterolateral")
_FOUR: Final = ("anterior", "septal", "inferior", "lateral")
_FIRST: Final = {SliceLevel.BASAL: 1, SliceLevel.MID: 7, SliceLevel.APICAL: 13}


@dataclass(frozen=True, slots=True)
class AngularReference:
    """Where the septum lies around the ventricle, in the image.

    Attributes:
        septum: direction from the centre of the cavity to the middle of the septum, radians from +x to +y.
        turn: +1 where going from the septum to the anterior wall turns x towards y (clockwise on screen),
            else -1.
        source: how this is known, for the result.
    """

    septum: float
    turn: int
    source: str


def angular_reference(
    geometry: SliceGeometry, septum_degrees: float | None = None
) -> AngularReference | None:
    """The reference from the slice's orientation in the patient, or from the user.

    Args:
        geometry: of the image.
        septum_degrees: direction of the middle of the septum as the user sees it, degrees anticlockwise from
            the right of the image; None to take it from the geometry.

    Returns:
        None where neither is to be had (the slice faces right-anterior: no short axis of a usual heart).
    """
    row, column = np.asarray(geometry.row_direction), np.asarray(geometry.column_direction)
    normal = geometry.normal

    def in_plane(direction: FloatArray) -> FloatArray:
        return np.array([direction @ row, direction @ column])

    septum = in_plane(_RIGHT_ANTERIOR)
    if septum_degrees is None:
        if float(np.linalg.norm(septum)) < _SHORTEST:
            return None
        source = "image geometry (right-anterior of the patient taken for the septum)"
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
    return AngularReference(math.atan2(septum[1], septum[0]), turn, source)


def measure(
    parametric: ParametricMap,
    contours: Contours,
    level: SliceLevel | None,
    reference: AngularReference | None,
    *,
    inset: float = 0.1,
) -> tuple[RegionValues, ...]:
    """Values of each region; without a reference or a level, of the whole ring alone.

    Args:
        parametric: the map; pixels where its fit failed are left out.
        contours: in pixels of the map.
        level: decides between six segments and four.
        reference: where the septum lies.
        inset: share of the wall's thickness left out at either border, 0 to below 0.5.
    """
    if not 0.0 <= inset < 0.5:
        raise ValueError(f"an inset of {inset} leaves no wall; it must be at least 0 and below 0.5")
    wall = rasterise(contours, parametric.values_ms.shape) == 2
    rows, columns = np.nonzero(wall & ~parametric.failed)
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    depth = wall_depth(points, contours)
    kept = (depth >= inset) & (depth <= 1.0 - inset)
    points, values = points[kept], parametric.values_ms[rows[kept], columns[kept]].astype(np.float64)

    regions = [_values("global", values)]
    if reference is None or level is None:
        return tuple(regions)
    from_septum = angles_from_septum(points, contours.endo.mean(axis=0), reference)
    names = _FOUR if level is SliceLevel.APICAL else _SIX
    segment = segments(from_septum, len(names))
    septal = np.isin(segment, [i for i, name in enumerate(names) if "sept" in name])
    regions.append(_values("septum", values[septal]))
    for i, name in enumerate(names):
        regions.append(_values(f"AHA {_FIRST[level] + i} {level.value} {name}", values[segment == i]))
    return tuple(regions)


def wall_depth(points: FloatArray, contours: Contours) -> FloatArray:
    """Place of points ``(n, 2)`` across the wall: 0 on the endocardial contour, 1 on the epicardial one."""
    from_endo, from_epi = distances(points, contours.endo), distances(points, contours.epi)
    return from_endo / np.maximum(from_endo + from_epi, 1e-12)


def distances(points: FloatArray, outline: FloatArray) -> FloatArray:
    """Shortest distance of each point ``(n, 2)`` to a closed polygon, ``(n,)``."""
    # x and y apart: arrays of points x edges x 2 would take twice the time.
    (x0, y0), (dx, dy) = outline.T, (np.roll(outline, -1, axis=0) - outline).T
    x, y = points[:, :1] - x0, points[:, 1:] - y0
    along = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, 1e-24), 0.0, 1.0)
    x -= along * dx
    y -= along * dy
    shortest: FloatArray = np.sqrt((x * x + y * y).min(axis=1, initial=np.inf))
    return shortest


def angles_from_septum(points: FloatArray, centre: FloatArray, reference: AngularReference) -> FloatArray:
    """Angle around the centre from the middle of the septum towards the anterior wall, degrees, 0 to 360."""
    offset = points - centre
    angle = np.arctan2(offset[:, 1], offset[:, 0]) - reference.septum
    degrees: FloatArray = np.degrees(reference.turn * angle) % 360.0
    return degrees


def segments(from_septum: FloatArray, number: int) -> NDArray[np.intp]:
    """Index into the names of six or four segments for each angle from the septum, degrees.

    With six, the middle of the septum is the border between anteroseptal and inferoseptal; with four it is
    the middle of the septal segment. Numbers run from anterior over septal to inferior and lateral.
    """
    width = 360.0 / number
    towards_inferior = (360.0 - from_septum) % 360.0
    if number == 6:
        return ((towards_inferior // width).astype(np.intp) + 2) % 6
    return (((towards_inferior + width / 2) // width).astype(np.intp) + 1) % 4


def _values(name: str, values: FloatArray) -> RegionValues:
    if not len(values):
        nothing = float("nan")
        return RegionValues(name, nothing, nothing, nothing, nothing, nothing, 0)
    q1, median, q3 = np.percentile(values, [25.0, 50.0, 75.0])
    return RegionValues(
        name, float(median), float(q1), float(q3), float(values.mean()), float(values.std()), len(values)
    )
