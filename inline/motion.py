"""Motion correction of a slice: choice of the series, and the findings that a result states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Ready
from inline.data.flags import Finding, Flag
from inline.data.results import SliceMotion
from inline.data.series import MappingSeries, MapSeries, Quantity, Series
from model.motion.correction import MotionCorrection, correct_motion
from model.motion.signal_models import MolliModel, T2PrepModel
from model.motion.state import MotionState
from model.relaxometry.parametric_map import ParametricMap


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


def _gain_findings(found: MotionCorrection, series: MappingSeries) -> tuple[Finding, ...]:
    """Return the finding of an image with another gain than the others; none without one."""
    if found.odd_gain is None:
        return ()
    image, gain = found.odd_gain
    # Three T2-prep images show that one differs, and not which.
    which = (
        "One of the images"
        if series.quantity is Quantity.T2
        else f"The image of {series.times_ms[image]:g} ms"
    )
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
