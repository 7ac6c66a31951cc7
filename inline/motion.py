"""Motion correction of a slice: choice of the series, and the findings that a result states."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Ready
from inline.data.flags import Finding, Flag
from inline.data.results import SliceMotion
from inline.data.series import MappingSeries, MapSeries, Quantity, Series
from model.frame import FRAME_MM, Frame
from model.motion.correction import MotionCorrection, correct_motion, without_spikes
from model.motion.correlation import shifts_between
from model.motion.signal_models import MolliModel, T2PrepModel
from model.motion.state import MotionState
from model.relaxometry.parametric_map import ParametricMap

_REACH: Final = 10
"""Pixels of the frame along each axis within which the heart of an image is sought in the next one: 15 mm."""
_APART_MM: Final = 2.9
"""Distance between both from which motion is left. None of 400 simulated T2 slices at rest, of SNR 8 to 100,
two to nine preparation times and contours up to two pixels off, had 2.1 mm."""


class ExaminedMotion(NamedTuple):
    """Map of a slice after its images were examined for motion.

    Attributes:
        parametric: the map; of corrected images where they move and could be corrected.
        motion: of the images.
        uncorrected: map of the images as acquired, where ``parametric`` is another one.
        findings: reason codes of the motion, with their sentences.
        images: corrected images, where ``parametric`` is their map.
    """

    parametric: ParametricMap
    motion: SliceMotion
    uncorrected: ParametricMap | None
    findings: tuple[Finding, ...]
    images: NDArray[np.float32] | None = None


def may_be_corrected(assembled: Ready, findings: tuple[Finding, ...]) -> bool:
    """Return whether a slice is examined for motion: images as acquired, with one scale for all.

    Images that were scaled one by one follow no signal model. Images that the scanner has corrected, and its
    maps, are not changed.
    """
    scaled = Flag.SCALED_IMAGES in (*assembled.flags, *(flag for flag, _ in findings))
    return not (scaled or assembled.motion_corrected or isinstance(assembled.series, MapSeries))


def examine_motion(series: Series, parametric: ParametricMap) -> ExaminedMotion | None:
    """Return the map of a series after motion correction; None where motion cannot be seen.

    Args:
        series: images; a scanner's map shows no motion.
        parametric: map of the images as acquired.
    """
    if isinstance(series, MapSeries):
        return None
    model = T2PrepModel() if series.quantity is Quantity.T2 else MolliModel(signed=series.signed)
    found = correct_motion(series.images, series.times_ms, series.geometry.spacing, model, parametric)
    if found is None:
        return None
    motion = SliceMotion(
        found.state, found.r_squared_before, found.r_squared_after, float(found.shift_mm.max())
    )
    uncorrected = parametric if found.state is MotionState.CORRECTED else None
    findings = (*_gain_findings(found, series), *_findings(found, motion))
    return ExaminedMotion(found.parametric, motion, uncorrected, findings, found.images)


def misaligned(
    series: MappingSeries,
    labels: NDArray[np.uint8],
    frame: Frame,
    corrected: NDArray[np.float32] | None = None,
) -> tuple[Finding, ...]:
    """Return the finding of T2-prep images whose hearts do not lie at one place; none where they do.

    Two parameters fit much of the motion of three images, and a heart that slides beside tissue at rest may
    be drawn back by it. The contrast of T2-prep images is alike, so the left ventricle of one is sought in
    the next by correlation, and the other way round; the shorter distance counts.

    Args:
        series: images as acquired.
        labels: 0 background, 1 cavity, 2 myocardium, ``(rows, columns)``.
        frame: position of the images in the network's frame.
        corrected: the images of the map, where it is not that of the images as acquired.
    """
    inside = frame.to_frame((labels > 0).astype(np.float32)) > 0.5
    if series.quantity is not Quantity.T2 or not inside.any():
        return ()
    images = series.images if corrected is None else corrected
    # A spike would decide the correlation wherever it lies in the part that is sought.
    clipped = without_spikes(np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0))
    frames = np.stack([cv2.GaussianBlur(frame.to_frame(each), (0, 0), 1.0) for each in clipped])
    lengths = [
        np.linalg.norm(each, axis=1) for each in shifts_between(frames.astype(np.float32), inside, _REACH)
    ]
    apart = FRAME_MM * np.minimum(*lengths)
    if apart.max() < _APART_MM:
        return ()
    first = int(apart.argmax())
    times = " and ".join(f"{each:g}" for each in series.times_ms[first : first + 2])
    sentence = (
        f"The left ventricle lies {apart[first]:.0f} mm apart in the images of {times} ms: "
        "look at the images before using the values."
    )
    return ((Flag.MOTION_LEFT, sentence),)


def _gain_findings(found: MotionCorrection, series: MappingSeries) -> tuple[Finding, ...]:
    """Return the finding of an image with another gain than the others; none without one."""
    if found.odd_gain is None:
        return ()
    image, gain, certain = found.odd_gain
    # Three T2-prep images show that one differs, and not which.
    known = certain and series.quantity is Quantity.T1
    which = f"The image of {series.times_ms[image]:g} ms" if known else "One of the images"
    sentence = (
        f"{which} appears to be scaled by {gain:.2f} beside the others; the map is fitted to it as it is."
    )
    return ((Flag.SCALED_IMAGES, sentence),)


def _findings(found: MotionCorrection, motion: SliceMotion) -> tuple[Finding, ...]:
    """Return the findings of a motion correction; none where the images are still."""
    if found.state is MotionState.STILL:
        return ()
    moved = f"The images move by up to {motion.largest_shift_mm:.1f} mm"
    if found.state is MotionState.LEFT:
        sentence = f"{moved}; the map is that of the images as acquired, because {found.reason}."
        return ((Flag.MOVED, sentence), (Flag.MOTION_LEFT, ""))
    ratio = f"R2 {motion.r_squared_after:.3f}, before {motion.r_squared_before:.3f}"
    corrected = (
        (Flag.MOVED, f"{moved}; the map is that of corrected images ({ratio})."),
        (Flag.CORRECTED, ""),
    )
    if not found.residual_stays:
        return corrected
    return (*corrected, (Flag.MOTION_LEFT, f"About {found.residual_mm:.1f} mm of motion are left in them."))
