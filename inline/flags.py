"""Reason codes: what was unusual about a slice."""

from enum import StrEnum


class Flag(StrEnum):
    """Everything that can be unusual about a slice: reason codes that every output carries."""

    MISSING_IMAGES = "missing-images"
    DUPLICATE_IMAGES = "duplicate-images"
    EARLY_CLOSE = "early-close"
    NON_FINITE_PIXELS = "non-finite-pixels"
    NO_ORIENTATION = "no-orientation"
    POOR_FIT = "poor-fit"
    NO_CAVITY = "no-cavity"
    NO_MYOCARDIUM = "no-myocardium"
    ELONGATED = "elongated"
    NOT_NESTED = "not-nested"
    TOO_SMALL = "too-small"
    REVIEW = "review"
    LATE = "late"
    PROCESSING_ERROR = "processing-error"
