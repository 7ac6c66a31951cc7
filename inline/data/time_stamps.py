"""Order of acquisitions by their MRD time stamps: past midnight, and where stamps are missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

_DAY: Final = 86_400 * 400
"""MRD ticks (2.5 ms) of a day. Time stamps of most senders count from midnight."""


def unwrapped(stamps: Sequence[int]) -> list[int]:
    """Return the time stamps of one examination on one axis, in MRD ticks.

    An examination takes less than half a day. Stamps that lie further before the latest one are those of the
    next day. A stamp of 0 states no time: it becomes the latest of those before it, so that the order of
    arrival decides.

    Args:
        stamps: in the order of arrival.
    """
    latest = max(stamps, default=0)
    # Larger stamps do not count from midnight, or go on past it, as those of DICOM examinations.
    early = latest - _DAY // 2 if latest < _DAY else 0
    moments = [stamp + _DAY if 0 < stamp < early else stamp for stamp in stamps]
    return [
        moment or latest_so_far
        for moment, latest_so_far in zip(moments, accumulate(moments, max), strict=True)
    ]
