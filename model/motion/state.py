"""Outcome of a motion correction, apart: results name it where no fit is loaded."""

from enum import StrEnum


class MotionState(StrEnum):
    """Outcome of a motion correction."""

    STILL = "still"
    CORRECTED = "corrected"
    LEFT = "left"
