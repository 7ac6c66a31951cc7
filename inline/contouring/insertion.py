"""Insertion points of the right ventricle from the network's heat maps.

A point is found if the highest heat of its map is high enough. Both points give the septum if they lie at the
epicardial contour and the angle between them is that of a septum;
:attr:`~inline.data.results.Insertions.objection` states the reason if they do not.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.septum import angle_between
from inline.data.results import Contours, InsertionPoint, Insertions
from model.frame import FRAME_MM, Frame
from model.insertion import locate
from model.polygons import distances

FloatArray = NDArray[np.float64]

LEAST_CONFIDENCE: Final = 0.4
"""Least heat of a point that is found.

Measured on 300 synthetic slices. At 0.4, 98 % of the points are found, with a median error of 1.4 mm. 4 % of
the points have an error above 6 mm, mostly along the epicardium; a seventh of these is not found. Of points
that do not exist, 1 in 24 is found. At 0.5, 95 % are found, with 1.3 mm; two fifths of those with a large
error are not found, and no point that does not exist is found.
"""
_FARTHEST_MM: Final = 6.0
"""Largest distance of a point from the epicardial contour; for true points it was below 2.5 mm in 95 %."""
_SEPTUM_DEGREES: Final = (60.0, 175.0)
"""Smallest and largest angle of a septum. Measured: 79 to 176 degrees; at 180 its side would be undefined."""


def find_insertions(heat: NDArray[np.float32], contours: Contours | None, frame: Frame) -> Insertions:
    """Return the insertion points in pixels of the image.

    Args:
        heat: heat maps in the frame, anterior and inferior, ``(k, 224, 224)``; k is 2 or 0.
        contours: in pixels of the frame; None where there are none.
        frame: position of the image.
    """
    if not len(heat):
        return Insertions()
    places, heats = locate(heat)
    anterior, inferior = (
        InsertionPoint(x, y, value) if LEAST_CONFIDENCE <= value <= 1.0 and _within(x, y, frame) else None
        for (x, y), value in zip(frame.to_image_points(places).tolist(), heats.tolist(), strict=True)
    )
    objection = "not found" if anterior is None or inferior is None else _objection(places, contours)
    return Insertions(anterior, inferior, objection)


def _within(x: float, y: float, frame: Frame) -> bool:
    """Return whether a point in pixels of the image lies in it, not in what the frame adds around."""
    rows, columns = frame.shape
    return -0.5 <= x <= columns - 0.5 and -0.5 <= y <= rows - 0.5


def _objection(places: FloatArray, contours: Contours | None) -> str:
    """Return the reason why points ``(2, 2)``, pixels of the frame, do not give the septum; else empty."""
    if contours is None:
        return ""
    if FRAME_MM * distances(places, contours.epi).max() > _FARTHEST_MM:
        return "not at the epicardial contour"
    (smallest, largest), (anterior, inferior) = _SEPTUM_DEGREES, places
    if not smallest <= abs(angle_between(anterior, inferior, contours.endo.mean(axis=0))) <= largest:
        return "not at the angle of a septum"
    return ""
