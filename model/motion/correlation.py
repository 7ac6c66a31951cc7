"""Shifts of images of one contrast by normalised cross-correlation: where the heart of one lies in the next.

The steps of a registration end at the nearest minimum of the misfit. Two parameters describe much of three
images, and tissue at rest around a heart that slides holds it back, so that this may be a wrong one.
Correlation compares every shift within reach, and follows no signal model.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.motion.lattice import CELL, PIXEL_MM, Lattice

Floats = NDArray[np.float32]

_ALIKE: Final = 0.3
"""Smallest correlation at which a place counts as found: noise and spikes have less."""
_MIDDLE_MM: Final = 45.0
"""Radius around the middle of an image that is sought in the next one: a left ventricle and more."""
_REACH: Final = 8
"""Working pixels along each axis within which it is sought: 24 mm."""
_INNER_MM: Final = 55.0
"""Distance from the middle within which the first displacements are those of the middle."""
_OUTER_MM: Final = 115.0
"""Distance from which they are 0."""


def shifts_between(
    images: Floats, inside: NDArray[np.bool_], reach: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return where the pixels of a region lie in the next image, in pixels (x, y), ``(n - 1, 2)``.

    Args:
        images: ``(n, rows, columns)``, finite, of one contrast, ascending in time.
        inside: the region, ``(rows, columns)``; not empty.
        reach: largest shift along each axis, pixels.

    Returns:
        From each image to the next, and from the next to the image; 0 where nothing alike is found.
    """
    rows, columns = (slice(each.min(), each.max() + 1) for each in inside.nonzero())
    wider = tuple(slice(each.start, each.stop + 2 * reach) for each in (rows, columns))
    mask = inside[rows, columns].astype(np.float32)
    fields = [np.pad(each, reach, mode="edge")[wider] for each in images]
    parts = [np.ascontiguousarray(each[rows, columns]) for each in images]

    def place(part: Floats, field: Floats) -> NDArray[np.intp]:
        found = np.nan_to_num(cv2.matchTemplate(field, part, cv2.TM_CCOEFF_NORMED, mask=mask), posinf=0.0)
        best = np.argwhere(found == found.max())[0]
        return np.flip(best) - reach if found.max() >= _ALIKE else np.zeros(2, np.intp)

    pairs = range(len(images) - 1)
    return (
        np.array([place(parts[i], fields[i + 1]) for i in pairs]),
        np.array([place(parts[i + 1], fields[i]) for i in pairs]),
    )


def first_displacements(images: Floats, lattice: Lattice) -> Floats:
    """Return displacements that bring the middle of all images to one place, as of a registration.

    Args:
        images: of one contrast on the working grid, ``(n, rows, columns)``, finite, ascending in time.
        lattice: of the displacements.

    Returns:
        Working pixels at the nodes, ``(n, rows, columns, 2)``.
    """
    forth, back = shifts_between(images, lattice.middle(_MIDDLE_MM), _REACH)
    places = np.concatenate([np.zeros((1, 2)), np.cumsum(0.5 * (forth - back), axis=0)])
    y, x = ((np.arange(count) - (count - 1) / 2) * CELL * PIXEL_MM for count in lattice.nodes)
    away = np.clip((np.hypot(y[:, None], x) - _INNER_MM) / (_OUTER_MM - _INNER_MM), 0.0, 1.0)
    share = 0.5 + 0.5 * np.cos(np.pi * away)
    shifts = (places - places.mean(axis=0))[:, None, None]
    return np.asarray(shifts * share[..., None], np.float32)
