"""Counts of one connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counts of a connection, and how it ended.

    Attributes:
        images: number that came.
        returned: number that was sent back.
        withheld: number that does not go back by the setting ``emit.originals``.
        slices: number that was complete.
        results: number of results, errors included.
        errors: number of results that state an error.
        late: number of results that missed their budget.
        skipped: number of messages that were neither sent back nor worked on.
        closed: the peer ended the stream with a close message.
        refused: the peer took nothing more before the end.
        failed: the server did not send everything although the peer was there: an error, or its shutdown.
        error: why the stream broke off, or empty.
    """

    images: int = 0
    returned: int = 0
    withheld: int = 0
    slices: int = 0
    results: int = 0
    errors: int = 0
    late: int = 0
    skipped: int = 0
    closed: bool = False
    refused: bool = False
    failed: bool = False
    error: str = ""

    @property
    def in_transit(self) -> int:
        """Images that came and have not gone back; after the end, those that never will."""
        # Read before the images: other threads count up meanwhile, and no image goes before it comes.
        gone = self.returned + self.withheld
        return self.images - gone

    @property
    def lost(self) -> int:
        """Images of a connection that has ended that were lost here and not by a peer that left."""
        return 0 if self.refused and not self.failed else self.in_transit
