"""Direction and width of the septum, from which angles in a slice count.

Sources are the insertion points of the right ventricle, the orientation of the slice in the patient, and the
user.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.slice_level import in_short_axis
from inline.data.geometry import SliceGeometry
from inline.data.results import AngularReference, Contours, Insertions

FloatArray = NDArray[np.float64]

RIGHT_ANTERIOR: Final = np.array([-1.0, -1.0, 0.0]) / math.sqrt(2.0)
"""Direction from the left to the right ventricle in patient coordinates (LPS): the usual septum."""
_UPPER_FRONT: Final = np.array([0.0, -0.5, 1.0])
"""Side of the anterior wall, where the plane leaves two choices."""
MID_SEPTUM: Final = "mid-septum"
"""Name of the region in the middle of the septum."""


def slice_reference(
    geometry: SliceGeometry,
    insertions: Insertions,
    contours: Contours | None,
    stated: float | None = None,
) -> tuple[AngularReference | None, str]:
    """Return the reference of a slice from the best source, and the objection to its insertion points.

    In this order: the user's statement; the insertion points; a usual heart. A slice outside the short axis
    of a usual heart, as of a mirrored heart, has the first two alone.

    Args:
        geometry: of the image.
        insertions: in pixels of the map.
        contours: likewise; None where there are none.
        stated: direction of the middle of the septum, as of :func:`angular_reference`.
    """
    if stated is not None or contours is None:
        return angular_reference(geometry, stated), ""
    return insertion_reference(insertions, contours, geometry)


def angular_reference(
    geometry: SliceGeometry, septum_degrees: float | None = None
) -> AngularReference | None:
    """Return the reference from the slice's orientation in the patient, or from the user.

    Args:
        geometry: of the image.
        septum_degrees: direction of the middle of the septum as the user sees it, degrees anticlockwise from
            the right of the image; None to take it from the geometry.

    Returns:
        None where neither is available: the slice does not lie in the short axis of a usual heart, or its
            directions are not known.
    """
    if septum_degrees is None:
        if not geometry.oriented or not in_short_axis(geometry):
            return None
        septum = _in_plane(RIGHT_ANTERIOR, geometry)
        source = "usual heart (image geometry, right-anterior of the patient taken for the septum)"
    else:
        angle = math.radians(-septum_degrees)
        septum = np.array([math.cos(angle), math.sin(angle)])
        source = f"user (septum at {septum_degrees:g} degrees)"
    return AngularReference(
        math.atan2(septum[1], septum[0]), _turn(septum, geometry), source, aspect=_aspect(geometry)
    )


def _in_plane(direction: FloatArray, geometry: SliceGeometry) -> FloatArray:
    """Return a direction of the patient ``(3,)`` in the image, ``(x, y)``."""
    return np.array([direction @ geometry.row_direction, direction @ geometry.column_direction])


def _turn(septum: FloatArray, geometry: SliceGeometry) -> int:
    """Return the turn of a reference whose septum lies in a direction of the image ``(x, y)``.

    Of the two directions across it, the anterior wall's points up and to the front.
    """
    anterior = float(np.array([-septum[1], septum[0]]) @ _in_plane(_UPPER_FRONT, geometry))
    return -1 if anterior < -1e-6 else 1


def _aspect(geometry: SliceGeometry) -> float:
    width, height = geometry.spacing
    return height / width


def insertion_reference(
    insertions: Insertions, contours: Contours, geometry: SliceGeometry
) -> tuple[AngularReference | None, str]:
    """Return the reference from the insertion points, or else that of a usual heart, and an objection.

    The attachment of the right ventricle separates the septum from the anterior and the inferior wall, and
    segments are of equal angle (Cerqueira et al. 2002). The middle of the septum is the bisector of both
    points: an error of one point turns the segments by half of that error. Their order around the centre also
    shows whether the image is mirrored.

    Args:
        insertions: in pixels of the map.
        contours: likewise.
        geometry: of the image.

    Returns:
        The reference, None without either; the objection is empty unless the network output has heat maps
            whose points are not used.
    """
    usual, aspect = angular_reference(geometry), _aspect(geometry)
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
        if _allowed(reference, usual, geometry):
            return reference, ""
        objection = "they contradict the image directions"
    return usual, objection


def _allowed(reference: AngularReference, usual: AngularReference | None, geometry: SliceGeometry) -> bool:
    """Return whether the image directions allow the reference from the insertion points.

    A heart that is not usual, as a mirrored one, has its anterior wall up and to the front all the same.
    """
    if usual is not None:
        return reference.agrees(usual)
    septum = np.array([math.cos(reference.septum), math.sin(reference.septum)])
    return not geometry.oriented or reference.turn == _turn(septum, geometry)


def angles_from_septum(points: FloatArray, centre: FloatArray, reference: AngularReference) -> FloatArray:
    """Return the angle around the centre from mid-septum towards the anterior wall, degrees, 0 to 360."""
    offset = (points - centre) * (1.0, reference.aspect)
    angle = np.arctan2(offset[:, 1], offset[:, 0]) - reference.septum
    degrees: FloatArray = np.degrees(reference.turn * angle) % 360.0
    return degrees


def angle_between(anterior: FloatArray, inferior: FloatArray, centre: FloatArray) -> float:
    """Return the angle from the inferior to the anterior insertion point around a centre, degrees.

    From -180 to 180, the shorter way around; above 0 where it turns x towards y (clockwise on screen).
    """
    first, last = anterior - centre, inferior - centre
    turned = math.atan2(first[1], first[0]) - math.atan2(last[1], last[0])
    return math.degrees(math.remainder(turned, math.tau))
