"""Choice of the received series to process next: complete ones of one study together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from inline.dicom.node.store import DENIED

ATTEMPTS: Final = 4
"""Times that a series is processed before it is given up, until ``dicom-queue --retry``."""
HELD_S: Final = 60.0
"""Longest time that an object may take to be stored, s; and see ``_HELD``."""
_HELD: Final = 12
"""A complete series waits for others of its study for at most this multiple of the idle time after its last
object, and :data:`HELD_S` beyond the idle time."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Series that is not processed yet.

    Attributes:
        uid: Series Instance UID.
        study: Study Instance UID.
        attempts: number of times that processing it began.
        last: time of its last object, s.
        whole: it has as many objects as it states.
        error: why the last attempt failed; empty where it did not, or the node ended.
    """

    uid: str
    study: str
    attempts: int
    last: float
    whole: bool
    error: str

    @property
    def alone(self) -> bool:
        """Whether it is processed alone: it failed, or the node ended twice, perhaps because of it."""
        return self.attempts > 0 and (self.error != "" or self.attempts >= ATTEMPTS - 2)

    def is_complete(self, now: float, idle_s: float, unheard: Collection[str]) -> bool:
        """Return whether all of its objects are there, as far as the node can know.

        A last object far ahead is that of a clock that was put back.
        """
        return self.whole or (abs(now - self.last) >= idle_s and self.uid not in unheard)

    def is_held_too_long(self, now: float, idle_s: float) -> bool:
        """Return whether it has waited long enough for others of its study; one to try again holds none."""
        longest_s = min(_HELD * idle_s, idle_s + HELD_S)
        return not self.attempts and self.error != DENIED and abs(now - self.last) >= longest_s


def together(
    waiting: Sequence[Waiting], now: float, idle_s: float, unheard: Collection[str] = ()
) -> list[Waiting]:
    """Return the series to process next, those of one study; none where none is complete.

    Slices of one examination are often series of their own, and each needs the others for its level: a
    complete series waits while others of its study come, but not for ever. A series that could not be
    processed is taken alone the next time: it must not hold up others. Where the node ended instead, its
    series are taken together again, and then each alone: one of them may end it each time.

    Args:
        waiting: series in the order in which they are processed.
        now: s, of the clock of ``Waiting.last``.
        idle_s: time without objects after which a series is complete.
        unheard: Series Instance UIDs whose silence does not show that they are complete.
    """
    complete, coming = list[Waiting](), set[str]()
    for each in waiting:
        if each.is_complete(now, idle_s, unheard):
            complete.append(each)
        else:
            coming.add(each.study)
    coming -= {each.study for each in complete if each.is_held_too_long(now, idle_s)}
    ready = [each for each in complete if each.attempts or each.study not in coming]
    if not ready or ready[0].alone:
        return ready[:1]
    return [each for each in ready if each.study == ready[0].study and not each.alone]
