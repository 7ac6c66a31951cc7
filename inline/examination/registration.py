"""Registration of a post-contrast map onto the native one.

The contours give the movement of the heart between both breath-holds: the shift of its centre and, where both
maps have trusted insertion points, its rotation. The edges of the heart in both maps then correct the shift.
The map is sampled once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from inline.data.examination import Registration
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, Insertions, SliceResult
from model.polygons import centroid, ring_labels

FloatArray = NDArray[np.float64]

_MOST_DEGREES: Final = 20.0
"""Largest rotation between two breath-holds that is used."""
_AGREE_DEGREES: Final = 15.0
"""Largest difference of the rotations that both insertion points show."""
_MOST_REFINED_MM: Final = 3.0
"""Largest shift by which the images correct the contours, whose centres are right to 1 or 2 mm."""
_LEAST_GAIN: Final = 0.05
"""Rise of the correlation from which the shift of the images is used."""
_MARGIN_MM: Final = 8.0
"""Width of the surroundings of the heart that are compared with the other map."""
_EDGES_MM: Final = 3.0
"""Distance from the heart within which edges count: organs further off stay where they are when it moves.
Strong edges of nearer ones may still pull the shift."""
_SMOOTH_MM: Final = 1.5
"""Standard deviation of the smoothing before edges are taken."""
_ECC_FILTER: Final = 5
"""Width of OpenCV's own smoothing of edges, pixels: its default."""
_FEWEST: Final = 8
"""Least rows and columns of that surrounding within the image."""
_LONGEST_MS: Final = 2000.0
"""Longest T1 whose edges count: above it lies noise of air and lung."""


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
    refined = _refine(native, post, to_post)
    if refined is not None:
        to_post = to_post.after(Affine(np.eye(2), refined / spacing))
        source += ", refined by the images"
    contours = Contours(*map(to_post.inverse(), (post.contours.endo, post.contours.epi)))
    shift = back(to_post(centre[None] / spacing))[0] - centre
    rows, columns = native.map.values_ms.shape
    walls = [ring_labels(each.endo, each.epi, (rows, columns)) == 2 for each in (native.contours, contours)]
    overlap = 2.0 * float((walls[0] & walls[1]).sum()) / max(float(walls[0].sum() + walls[1].sum()), 1.0)
    # The result states the movement of the post-contrast heart onto the native one; no movement is 0, not -0.
    x, y = (0.0 - shift).tolist()
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


def _refine(native: SliceResult, post: SliceResult, to_post: Affine) -> FloatArray | None:
    """Return a further shift of native points by the edges of both maps, mm; None where it does not help.

    Contrast agent changes the order of T1 (blood becomes darker than the wall), but not where its edges lie.
    """
    assert native.contours is not None
    assert native.map is not None
    assert post.map is not None
    width, height = native.geometry.spacing
    low = np.floor(native.contours.epi.min(axis=0) - _MARGIN_MM / np.array([width, height])).astype(int)
    high = np.ceil(native.contours.epi.max(axis=0) + _MARGIN_MM / np.array([width, height])).astype(int) + 1
    rows, columns = native.map.values_ms.shape
    low, high = np.maximum(low, 0), np.minimum(high, (columns, rows))
    shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    if min(shape) < _FEWEST:
        return None
    outside = ring_labels(native.contours.endo - low, native.contours.epi - low, shape) == 0
    near = distance_transform_edt(outside, sampling=(height, width)) <= _EDGES_MM
    fixed = _edges(native.map.values_ms[low[1] : high[1], low[0] : high[0]], native.geometry.spacing)
    values = post.map.values_ms

    def shifted(by: FloatArray) -> NDArray[np.float32]:
        part = Affine(np.eye(2), low + by)
        return _edges(sample(values, to_post.after(part), shape, 0.0), native.geometry.spacing)

    moving = shifted(np.zeros(2))
    if not (fixed.any() and moving.any()):
        return None
    warp = np.eye(2, 3, dtype=np.float32)
    ends = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, found = cv2.findTransformECC(
            fixed, moving, warp, cv2.MOTION_TRANSLATION, ends, near.astype(np.uint8), _ECC_FILTER
        )
    except cv2.error:  # it does not converge
        return None
    pixels = np.asarray(found, dtype=np.float64)[:, 2]
    in_mm: FloatArray = pixels * (width, height)
    if np.hypot(*in_mm) > _MOST_REFINED_MM:
        return None
    before, after = (float(np.corrcoef(fixed[near], each[near])[0, 1]) for each in (moving, shifted(pixels)))
    return in_mm if after - before >= _LEAST_GAIN else None


def _edges(values_ms: NDArray[np.floating], spacing: tuple[float, float]) -> NDArray[np.float32]:
    """Return the size of the gradient of the logarithm of T1, smoothed, float32 ``(rows, columns)``."""
    clipped = np.clip(values_ms, 50.0, _LONGEST_MS).astype(np.float32)
    width, height = spacing
    smooth = cv2.GaussianBlur(np.log(clipped), (0, 0), sigmaX=_SMOOTH_MM / width, sigmaY=_SMOOTH_MM / height)
    down, right = np.gradient(smooth, height, width)
    edges: NDArray[np.float32] = np.hypot(down, right).astype(np.float32)
    return edges
