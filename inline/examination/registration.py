"""Registration of a post-contrast map onto the native one.

The contours give the movement of the heart between both breath-holds: the shift of its centre and, where both
maps have trusted insertion points, its rotation. The map is sampled once. Edges of the images do not correct
the shift: those of organs beside the heart pull it off by up to 3 mm where the heart moved past them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from inline.data.examination import Registration
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, Insertions, SliceResult
from model.polygons import centroid, ring_labels

FloatArray = NDArray[np.float64]

_MOST_DEGREES: Final = 20.0
"""Largest rotation between two breath-holds that is used."""
_AGREE_DEGREES: Final = 15.0
"""Largest difference of the rotations that both insertion points show."""


@dataclass(frozen=True, slots=True)
class Affine:
    """Map of points ``(n, 2)``, x and y: ``points @ matrix.T + shift``."""

    matrix: FloatArray
    shift: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Return the image of points."""
        moved: FloatArray = points @ self.matrix.T + self.shift
        return moved

    def after(self, first: Affine) -> Affine:
        """Return the map that applies ``first`` and then this one."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.shift + self.shift)

    def inverse(self) -> Affine:
        """Return the map back."""
        back = np.linalg.inv(self.matrix).astype(np.float64)
        return Affine(back, -back @ self.shift)


@dataclass(frozen=True, slots=True)
class Registered:
    """Place of a native map's pixels in the post-contrast map.

    Attributes:
        to_post: from pixels of the native map to pixels of the post-contrast map.
        contours: of the post-contrast map, moved, in pixels of the native map.
        overlap: Dice coefficient of both walls after the movement.
        movement: for the result.
    """

    to_post: Affine
    contours: Contours
    overlap: float
    movement: Registration


def register(native: SliceResult, post: SliceResult) -> Registered:
    """Return the registration of two slices of one position; both have contours and a map."""
    assert native.contours is not None
    assert post.contours is not None
    assert native.map is not None
    assert post.map is not None
    spacing = np.asarray(native.geometry.spacing)
    to_mm = Affine(np.diag(spacing).astype(np.float64), np.zeros(2))
    grid = _by_geometry(native, post)
    # From here, points are mm in the plane of the native image.
    heart = to_mm(native.contours.epi)
    back = to_mm.after(grid.inverse())
    moved = back(post.contours.epi)
    centre, there = centroid(heart), centroid(moved)
    degrees, source = 0.0, "contours"
    turned = _rotation(_relative(native.insertions, to_mm, centre), _relative(post.insertions, back, there))
    if turned is not None:
        degrees, source = turned, "contours and insertion points"
    motion = _rigid(math.radians(degrees), centre, there - centre)
    to_post = grid.after(to_mm.inverse()).after(motion).after(to_mm)
    contours = Contours(*map(to_post.inverse(), (post.contours.endo, post.contours.epi)))
    rows, columns = native.map.values_ms.shape
    walls = [ring_labels(each.endo, each.epi, (rows, columns)) == 2 for each in (native.contours, contours)]
    overlap = 2.0 * float((walls[0] & walls[1]).sum()) / max(float(walls[0].sum() + walls[1].sum()), 1.0)
    # The result states the movement of the post-contrast heart onto the native one; no rotation is 0, not -0.
    x, y = (centre - there).tolist()
    return Registered(to_post, contours, overlap, Registration(x, y, 0.0 - degrees, source))


def sample(
    image: NDArray[np.generic], to_image: Affine, shape: tuple[int, int], outside: float
) -> FloatArray:
    """Return an image on another grid ``(rows, columns)``, linear between its pixels.

    Args:
        image: ``(rows, columns)`` of its own.
        to_image: from pixels of the grid to pixels of the image.
        shape: of the grid.
        outside: value beyond the image.
    """
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    points = to_image(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
    # Within rounding, pixels that fall on pixels are not mixed with their neighbours.
    near = np.round(points)
    points = np.where(np.abs(points - near) < 1e-6, near, points)
    values: FloatArray = map_coordinates(
        image.astype(np.float64), points[:, ::-1].T, order=1, mode="constant", cval=outside
    )
    return values.reshape(shape)


def _by_geometry(native: SliceResult, post: SliceResult) -> Affine:
    """Return the map from pixels of the native image to those of the post-contrast image at one place."""
    if not native.geometry.oriented:  # nor is the other, and both have the same pixels
        return Affine(np.eye(2), np.zeros(2))
    a, b = native.geometry, post.geometry
    basis, other = (np.array([each.row_direction, each.column_direction]) for each in (a, b))
    matrix = (other @ basis.T) * np.asarray(a.spacing) / np.asarray(b.spacing)[:, None]
    between = other @ (np.asarray(a.position) - b.position) / b.spacing
    return Affine(matrix, between + _middle(b) - matrix @ _middle(a))


def _middle(geometry: SliceGeometry) -> FloatArray:
    """Return the pixel (x, y) at the position that a header states: the centre of the image."""
    rows, columns = geometry.shape
    return np.array([columns / 2, rows / 2])


def _rigid(angle: float, about: FloatArray, shift: FloatArray) -> Affine:
    """Return the rotation by an angle, radians from +x to +y, about a point ``(2,)``, and then the shift."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return Affine(turn, about - turn @ about + shift)


def _relative(insertions: Insertions, to_mm: Affine, centre: FloatArray) -> FloatArray | None:
    """Return both insertion points from the centre, mm; None where they are not trusted."""
    if insertions.anterior is None or insertions.inferior is None or insertions.objection:
        return None
    points = np.array([[each.x, each.y] for each in (insertions.anterior, insertions.inferior)])
    return to_mm(points) - centre


def _rotation(native: FloatArray | None, post: FloatArray | None) -> float | None:
    """Return the rotation from the native points to the others, degrees; None where they do not show one."""
    if native is None or post is None:
        return None
    turns = [
        math.degrees(math.remainder(math.atan2(q[1], q[0]) - math.atan2(p[1], p[0]), math.tau))
        for p, q in zip(native, post, strict=True)
    ]
    mean = sum(turns) / 2.0
    return mean if abs(turns[0] - turns[1]) <= _AGREE_DEGREES and abs(mean) <= _MOST_DEGREES else None
