"""Motion correction of the images of one slice: detection, registration, acceptance."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.motion.correlation import first_displacements
from model.motion.gains import OddGain, image_gains, odd_gain
from model.motion.groupwise import STAGES, GroupwiseRegistration, SearchStage, sample
from model.motion.lattice import CELL, PIXEL_MM, Lattice
from model.motion.signal_models import SignalModel
from model.motion.state import MotionState
from model.relaxometry.brightness import FAR, bright
from model.relaxometry.parametric_map import ParametricMap

Floats = NDArray[np.float32]

DETECTION: Final = SearchStage(16.0, 0.0, restored=True)
"""Stage that detects motion. It has no blur, which mixes tissues at borders: the model then fits them worse.
Gradients of magnitudes are wrong where the polarity changes: images near the null of the wall would look as
if they moved. Noise and model errors can make its step longer than ``STILL_MM`` (docs/limits.md)."""
DETECTION_OF_FEW: Final = DETECTION._replace(restored=False, prior=False)
"""Likewise of few T1 images, whose fit follows motion: polarities and B / A then hide a part of it."""
_RESTORED_FROM: Final = 7
"""Number of T1 images from which :data:`DETECTION` is taken."""
STILL_MM: Final = 0.5
"""Shift in that step up to which images count as still."""
HEART_MM: Final = 75.0
"""Radius around the middle of the image within which R2 and shifts are taken. Contours come after the
correction, and images are planned with the heart in the middle."""
_BRIGHT: Final = 0.2
"""Share of the bright signal above which a pixel counts as tissue."""
_SMALLEST_SIGNAL: Final = 1e-30
_LARGEST_SIGNAL: Final = 1e30
"""Larger values count as missing, like NaN."""
_MOST_GAPS: Final = 0.25
"""Share of tissue without a value in an image from which a series is not examined."""
_FEWEST_NODES: Final = 6
"""Nodes along each axis: a smaller field of view is not examined."""
_MOST_IMAGES: Final = 32
"""Larger series are left as they are: the time of a step grows with the square of their number."""
_FALL: Final = 0.3
"""Share of the misfit 1 - R2 that a correction must remove; images at rest lose up to 0.2 of it."""
_DESCRIBED: Final = 0.995
"""R2 from which images as acquired count as still where a correction does not improve it: borders of tissue
without texture can look like a shift of 2 mm. Breathing of 3 mm gives at most 0.993 and 3 ms in T1."""
_FITTED: Final = 0.95
"""R2 below which the search goes on where its first step sees no motion, unless an image has another gain,
which is flagged: one image of a small heart that moves by more than the wall is beyond the reach of that
step. Simulated slices at rest have at least 0.96."""
_SLIGHT_MM: Final = 1.3
"""Shift below which a T1 correction counts as that of noise, unless it removes ``_SLIGHT_FALL`` of the misfit
of the map. T1 slices at rest have up to 1.2 mm and 0.24 at an SNR of 20, breathing of 2 mm removes 0.3."""
_SLIGHT_FALL: Final = 0.25
"""Share of the misfit (1 - R2) of the map."""
_REPLACED_STAGES: Final = 2
"""Number of first stages that the first displacements of images of one contrast replace: their wide windows
bring static tissue in again. With all stages twice as many slices of simulated breathing are left wrong."""
_STEEPEST: Final = 0.75
"""Largest change of a displacement per distance that counts as motion of tissue."""
_SMALLEST_AREA: Final = 0.2
"""Smallest determinant of the Jacobian: the area that a pixel keeps; at 0 tissue is folded."""


@dataclass(frozen=True, slots=True)
class MotionCorrection:
    """Map of one slice after motion correction.

    Attributes:
        state: ``STILL``: the images do not move; ``CORRECTED``: the map is that of corrected images;
            ``LEFT``: they move, and the map is that of the images as acquired.
        parametric: the map; the given one itself unless corrected.
        shift_mm: displacement of each image from the mean position of all, upper quartile in the heart's
            region, ``(n,)``: of the images as acquired.
        r_squared_before: mean R2 of the given map over tissue in the heart's region; 0 where its fit failed.
        r_squared_after: likewise of the map of the corrected images; None where there is none.
        residual_mm: largest shift in the last step of the registration; None where still.
        registration: search that gave the displacements; None where still.
        reason: why the images were left, or empty.
        odd_gain: image with another gain than the others; None without one. The map is that of images with
            their gains as acquired.
        images: corrected images of the map, ``(n, rows, columns)``; None unless corrected.
    """

    state: MotionState
    parametric: ParametricMap
    shift_mm: NDArray[np.float64]
    r_squared_before: float
    r_squared_after: float | None = None
    residual_mm: float | None = None
    registration: GroupwiseRegistration | None = None
    reason: str = ""
    odd_gain: OddGain | None = None
    images: Floats | None = None

    def displaced(self) -> Floats | None:
        """Return the displacement that corrects each image, (x, y) in pixels, ``(n, rows, columns, 2)``.

        A corrected image shows at a pixel what the image as acquired shows at that pixel plus the
        displacement.

        Returns:
            float32; None unless corrected.
        """
        if self.state is not MotionState.CORRECTED or self.registration is None:
            return None
        lattice = self.registration.lattice
        displaced = np.zeros((len(self.shift_mm), *lattice.shape, 2), np.float32)
        displaced[:, *lattice.window] = lattice.on_window(self.registration.displacements)
        return displaced

    @property
    def residual_stays(self) -> bool:
        """True where motion is left in corrected images."""
        return self.residual_mm is not None and self.residual_mm > STILL_MM


def correct_motion(
    images: Floats,
    times_ms: NDArray[np.float64],
    spacing: tuple[float, float],
    model: SignalModel,
    parametric: ParametricMap,
) -> MotionCorrection | None:
    """Return the map of a series after motion correction.

    The images as acquired are sampled once and fitted again, within 120 mm of the middle. Images at
    rest take one step of the registration and keep the given map.

    Args:
        images: ``(n, rows, columns)``.
        times_ms: of each, ``(n,)``.
        spacing: size of a pixel, (x, y), mm.
        model: of the signal.
        parametric: map of the images as acquired.

    Returns:
        None where motion cannot be seen: too few or too many images, too small a field of view, no tissue, an
        image without values in a quarter of it.
    """
    lattice = Lattice.of((images.shape[1], images.shape[2]), spacing)
    if not model.fewest <= len(images) <= _MOST_IMAGES or min(lattice.nodes) < _FEWEST_NODES:
        return None
    # A NaN would spread by the smoothing, an infinite value by the division by the largest.
    finite = np.abs(images) < _LARGEST_SIGNAL
    reduced = lattice.reduced(without_spikes(np.where(finite, images, np.float32(0.0))))
    reduced /= max(float(np.abs(reduced).max()), _SMALLEST_SIGNAL)
    tissue = _tissue(reduced) & lattice.middle(HEART_MM)
    # An image without values would look like one that moved.
    if not tissue.any() or _gaps(lattice, finite)[tissue].mean() > _MOST_GAPS:
        return None
    registration = GroupwiseRegistration.at_rest(lattice, model, reduced, times_ms)
    # Another gain of one image would look like motion.
    merged = registration.merged
    gains = image_gains(model, merged, times_ms)
    registration.images = reduced / gains.astype(np.float32)[:, None, None]
    heart = lattice.middle(HEART_MM, nodes=True)
    before = _mean_r_squared(parametric, lattice, tissue)
    few = len(images) < _RESTORED_FROM and not model.one_contrast
    shift_mm = _shifts_mm(registration.step(DETECTION_OF_FEW if few else DETECTION), heart)
    odd = odd_gain(model, gains, times_ms)
    if odd is not None:
        # Beside fat off resonance the weights can depend on the image that they should judge.
        other = odd_gain(model, image_gains(model, merged, times_ms, prior=False), times_ms)
        odd = odd._replace(certain=other.image == odd.image) if other is not None else None
    still = MotionCorrection(MotionState.STILL, parametric, shift_mm, before, odd_gain=odd)
    seen = bool(shift_mm.max() > STILL_MM)
    if not seen and (before >= _FITTED or odd is not None):
        return still
    stages: tuple[SearchStage, ...] = STAGES
    if model.one_contrast:
        stages = STAGES[_REPLACED_STAGES:]
        registration.displacements = first_displacements(registration.images, lattice)
    for stage in stages:
        step = registration.step(stage)
        registration.displacements = registration.displacements + step
    if model.one_contrast and _shifts_mm(step, heart).max() > STILL_MM:
        # Their fewer steps may end before they have arrived.
        step = registration.step(stages[-1])
        registration.displacements = registration.displacements + step
    shift_mm = _shifts_mm(registration.displacements, heart)
    left = replace(
        still,
        state=MotionState.LEFT,
        shift_mm=shift_mm,
        residual_mm=float(_shifts_mm(step, heart).max()),
        registration=registration,
    )
    if not _smooth(registration.displacements):
        return replace(left, reason="the estimated motion is not that of tissue") if seen else still
    unimproved = replace(left, reason="the signal model does not describe the corrected images better")
    if not _misfit_falls(registration, tissue):
        return still if before >= _DESCRIBED or not seen else unimproved
    window = _corrected(images, registration)
    inside = model.map(window, times_ms)
    corrected = _with_window(parametric, lattice.window, inside)
    after = _mean_r_squared(corrected, lattice, tissue)
    if not after > before:
        return still if before >= _DESCRIBED or not seen else replace(unimproved, r_squared_after=after)
    slight = shift_mm.max() < _SLIGHT_MM and 1.0 - after > (1.0 - _SLIGHT_FALL) * (1.0 - before)
    if slight and not model.one_contrast:
        return still
    sampled = images.copy()
    sampled[:, *lattice.window] = window
    return replace(
        left, r_squared_after=after, state=MotionState.CORRECTED, parametric=corrected, images=sampled
    )


def without_spikes(images: Floats) -> Floats:
    """Return images ``(n, rows, columns)`` with values clipped that no tissue has beside the others."""
    some = np.abs(images[:, ::4, ::4])
    if not (some := some[some > 0.0]).size:
        return images
    limit = np.float32(FAR * bright(some, 0.99))
    return np.clip(images, -limit, limit)


def _corrected(images: Floats, registration: GroupwiseRegistration) -> Floats:
    """Return the images ``(n, rows, columns)`` as acquired at their displacements, by cubic convolution.

    Only the window of the lattice is returned.
    """
    lattice = registration.lattice
    rows, columns = lattice.window
    offset = np.array([columns.start, rows.start], np.float32)
    fields = lattice.on_window(registration.displacements) + offset
    return np.stack([_sampled(image, field) for image, field in zip(images, fields, strict=True)])


def _sampled(image: Floats, field: Floats) -> Floats:
    """Return an image at the displacements of a field; NaN where the nearest pixel has no value.

    For other pixels the mean of its neighbours replaces a pixel without a value: a NaN would spread over the
    16 pixels around.
    """
    finite = np.abs(image) < _LARGEST_SIGNAL
    if finite.all():
        return sample(image, field, cv2.INTER_CUBIC)
    weights = finite.astype(np.float32)
    sums = cv2.blur(np.where(finite, image, np.float32(0.0)), (3, 3))
    means = sums / np.maximum(cv2.blur(weights, (3, 3)), np.float32(_SMALLEST_SIGNAL))
    sampled = sample(np.where(finite, image, means), field, cv2.INTER_CUBIC)
    return np.where(sample(weights, field, cv2.INTER_NEAREST) > 0.0, sampled, np.float32(np.nan))


def _with_window(parametric: ParametricMap, window: tuple[slice, slice], new: ParametricMap) -> ParametricMap:
    """Return a map with the pixels of a window taken from another map."""
    joined = replace(
        parametric, **{each.name: getattr(parametric, each.name).copy() for each in fields(parametric)}
    )
    for each in fields(parametric):
        getattr(joined, each.name)[window] = getattr(new, each.name)
    return joined


def _gaps(lattice: Lattice, finite: NDArray[np.bool_]) -> Floats:
    """Return the share of each working pixel in which an image has no value, ``(rows, columns)``.

    Args:
        finite: pixels with a value, ``(n, rows, columns)``.
    """
    gaps = 1.0 - finite.min(axis=0, keepdims=True).astype(np.float32)
    reduced: Floats = lattice.reduced(gaps)[0]
    return reduced


def _tissue(images: Floats) -> NDArray[np.bool_]:
    """Return the pixels ``(rows, columns)`` with the signal of tissue in images ``(n, rows, columns)``."""
    mean = np.abs(images).mean(axis=0)
    return np.asarray(mean > max(_BRIGHT * bright(mean), _SMALLEST_SIGNAL))


def _mean_r_squared(parametric: ParametricMap, lattice: Lattice, tissue: NDArray[np.bool_]) -> float:
    """Return the mean R2 of a map over the working pixels of tissue, ``(rows, columns)``."""
    return float(lattice.reduced(parametric.r_squared[None])[0][tissue].mean())


def _shifts_mm(displacements: Floats, heart: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the shift of each image from the mean of all, mm ``(n,)``: upper quartile over ``heart``.

    Args:
        displacements: at the nodes, working pixels ``(n, rows, columns, 2)``.
        heart: nodes that count, ``(rows, columns)``.
    """
    inside = displacements[:, heart]
    apart = np.linalg.norm(inside - inside.mean(axis=0), axis=-1) * PIXEL_MM
    return np.asarray(np.quantile(apart, 0.75, axis=1), np.float64)


def _smooth(displacements: Floats) -> bool:
    """Return whether every displacement ``(n, rows, columns, 2)`` is smooth and does not fold."""
    by_row, by_column = (np.gradient(displacements, CELL, axis=axis) for axis in (1, 2))
    area = (1.0 + by_column[..., 0]) * (1.0 + by_row[..., 1]) - by_column[..., 1] * by_row[..., 0]
    steepest = max(float(np.abs(each).max()) for each in (by_row, by_column))
    return bool(steepest <= _STEEPEST and area.min() >= _SMALLEST_AREA)


def _misfit_falls(registration: GroupwiseRegistration, tissue: NDArray[np.bool_]) -> bool:
    """Return whether the displacements lower the misfit 1 - R2 over tissue by the share :data:`_FALL`.

    Interpolation lowers noise, and so the misfit. The misfit before is therefore that of images shifted
    together by half a pixel, where interpolation lowers noise most.
    """
    half = np.full_like(registration.displacements, 0.5)
    before, after = (
        registration.model.linearise(
            each.warped(each.images)[:, None, tissue], each.times_ms
        ).r_squared.mean()
        for each in (replace(registration, displacements=half), registration)
    )
    return bool(1.0 - after < (1.0 - _FALL) * (1.0 - before))
