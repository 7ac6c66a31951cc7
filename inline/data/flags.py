"""Reason codes for everything unusual about a slice."""

from enum import StrEnum


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
    SATURATION_RECOVERY = "saturation-recovery"
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
    REVIEW = "review"
    LATE = "late"
    PROCESSING_ERROR = "processing-error"
