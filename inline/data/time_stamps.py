"""Acquisition time stamps of MRD: ticks of 2.5 ms since midnight; 0 states no time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

TICKS: Final = 400
"""Per second."""
DAY: Final = 86_400 * TICKS


def apart(one: int, other: int) -> int:
    """Return the ticks between two time stamps, across midnight where they are more than half a day apart."""
    ticks = abs(one - other)
    return abs(DAY - ticks) if DAY // 2 < ticks < DAY + DAY // 2 else ticks


def past_midnight(stamps: Sequence[int]) -> list[int]:
    """Return the time stamps of one examination or file, those after midnight a day later.

    They lie before the only gap of more than half a day: an examination takes less. Stamps larger than those
    of one day count from elsewhere, or go on past midnight, as those of DICOM: they and those beside them
    stay.
    """
    known = sorted({stamp for stamp in stamps if stamp})
    gap, evening = max(((later - before, later) for before, later in pairwise(known)), default=(0, 0))
    if gap <= DAY // 2 or known[-1] >= DAY:
        return list(stamps)
    return [stamp + DAY if 0 < stamp < evening else stamp for stamp in stamps]


def unwrapped(stamps: Sequence[int]) -> list[int]:
    """Return the time stamps of one examination on one axis, so that they are in the order of acquisition.

    As :func:`past_midnight`. A stamp of 0 becomes the latest of those before it, so that the order of arrival
    decides.

    Args:
        stamps: in the order of arrival.
    """
    moments = past_midnight(stamps)
    return [
        moment or latest_so_far
        for moment, latest_so_far in zip(moments, accumulate(moments, max), strict=True)
    ]
