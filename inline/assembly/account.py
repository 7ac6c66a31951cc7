"""Account of the images of a connection, with the reasons why images made no map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Reasons why images made no map.
SENT_TWICE: Final = "sent twice"
MEMORY: Final = "memory limit of the connection reached"
SCOUT: Final = "inversion times of a TI scout: none is a heartbeat after the one before"
UNNAMED: Final = "named by the header alone beside images with times: a map needs a description of its own"
TOO_FEW: Final = "too few to be a mapping series"
ALONE: Final = "alone and without a time, named as mapping: a map needs an image type that names it (T1 MAP)"
AMBIGUOUS: Final = "with the counters of another image of its series"
SUPERSEDED: Final = "not motion-corrected; the motion-corrected images of the slice were used"
_OTHER: Final = "for further reasons"
_REASONS: Final = 64
"""Number of reasons that are distinguished: some quote the sender."""


@dataclass(frozen=True, slots=True)
class Account:
    """Account of the images of a connection so far.

    Attributes:
        images: that came.
        used: that are part of a series which was complete, or whose error was reported.
        series: number of those series.
        unused: number of the other images by the reason why they made no map.
    """

    images: int
    used: int
    series: int
    unused: Mapping[str, int]

    def __add__(self, other: Account) -> Account:
        """Return the account of the images of both."""
        unused = Counter(self.unused)
        for reason, images in other.unused.items():
            count_unused(unused, reason, images)
        sums = (self.images + other.images, self.used + other.used, self.series + other.series)
        return Account(*sums, dict(unused))


def count_unused(unused: Counter[str], reason: str, images: int = 1) -> None:
    """Count images by the reason why they made no map."""
    unused[reason if reason in unused or len(unused) < _REASONS else _OTHER] += images
