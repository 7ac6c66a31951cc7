"""Reason codes of a slice."""

from enum import StrEnum
from typing import Final


class Flag(StrEnum):
    """Reason code of a slice; every output carries them."""

    MISSING_IMAGES = "missing-images"
    DUPLICATE_IMAGES = "duplicate-images"
    EARLY_CLOSE = "early-close"
    NON_FINITE_PIXELS = "non-finite-pixels"
    NO_ORIENTATION = "no-orientation"
    CONTRADICTORY_GEOMETRY = "contradictory-geometry"
    UNREADABLE_TIMES = "unreadable-times"
    UNREADABLE_ATTRIBUTES = "unreadable-attributes"
    CONVERTED_UNIT = "converted-unit"
    SCALED_IMAGES = "scaled-images"
    NOISY_IMAGES = "noisy-images"
    CLIPPED_IMAGES = "clipped-images"
    SHMOLLI = "shmolli"
    SATURATION_RECOVERY = "saturation-recovery"
    MOVED = "moved"
    CORRECTED = "corrected"
    MOTION_LEFT = "motion-left"
    THIN_WALL = "thin-wall"
    POOR_FIT = "poor-fit"
    IMPLAUSIBLE_VALUES = "implausible-values"
    NO_VALUES = "no-values"
    EMPTY_MAP = "empty-map"
    NO_CAVITY = "no-cavity"
    NO_MYOCARDIUM = "no-myocardium"
    ELONGATED = "elongated"
    NOT_NESTED = "not-nested"
    TOO_SMALL = "too-small"
    CUT_OFF = "cut-off"
    REVIEW = "review"
    LATE = "late"
    PROCESSING_ERROR = "processing-error"
    NO_POST_CONTRAST = "no-post-contrast"
    NO_NATIVE = "no-native"
    SLICES_DO_NOT_MATCH = "slices-do-not-match"
    NO_HAEMATOCRIT = "no-haematocrit"
    SYNTHETIC_HAEMATOCRIT = "synthetic-haematocrit"
    NO_BLOOD = "no-blood"
    IMPLAUSIBLE_BLOOD = "implausible-blood"
    MASKED_VALUES = "masked-values"
    NOT_REGISTERED = "not-registered"


UNUSABLE: Final = frozenset(
    (
        Flag.REVIEW,
        Flag.POOR_FIT,
        Flag.IMPLAUSIBLE_VALUES,
        Flag.MISSING_IMAGES,
        Flag.DUPLICATE_IMAGES,
        Flag.EARLY_CLOSE,
        Flag.UNREADABLE_TIMES,
        Flag.UNREADABLE_ATTRIBUTES,
        Flag.SCALED_IMAGES,
        Flag.CLIPPED_IMAGES,
        Flag.NOISY_IMAGES,
        Flag.MOTION_LEFT,
        Flag.THIN_WALL,
        Flag.TOO_SMALL,
        Flag.CUT_OFF,
        Flag.IMPLAUSIBLE_BLOOD,
        Flag.NOT_REGISTERED,
        Flag.SLICES_DO_NOT_MATCH,
        Flag.SYNTHETIC_HAEMATOCRIT,
    )
)
"""Flags of slices whose values may be wrong: not usable in a cohort, not used for reference ranges.

The others leave the values right (a time in another unit), leave them out, or mark a way of evaluation
(``shmolli``). Of a contradictory geometry, DICOM's pixel size is used, the right one by experience.
"""

Finding = tuple[Flag, str]
"""Reason code and its sentence for the user; empty where the sentence of another code explains it too."""
