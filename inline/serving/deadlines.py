"""Patience with a peer: the longest silence and the least rate."""

from __future__ import annotations

from dataclasses import dataclass

from inline.data.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Patience:
    """Time that a peer may take for a message.

    A message of ``n`` bytes must be complete within ``stalled_s + n / least_rate``. Only bytes that have come
    count, not those announced: a large announcement gives no more time.

    Attributes:
        stalled_s: longest time without progress, s.
        least_rate: bytes per second.
    """

    stalled_s: float
    least_rate: float

    def exhausted(self, seconds: float, moved: int) -> bool:
        """Return whether so few bytes in this time are too few."""
        return seconds > self.stalled_s + max(moved, 0) / self.least_rate

    def check_rest(self, waited: float, silent: float, received: int) -> None:
        """Check the rest of a message that is under way.

        Args:
            waited: time spent waiting for its bytes, s.
            silent: time since the last byte, s.
            received: number of its bytes that have come.

        Raises:
            ProtocolError: it takes too long.
        """
        if silent > self.stalled_s:
            raise ProtocolError(f"the rest of a message did not come within {self.stalled_s:g} s")
        if self.exhausted(waited, received):
            raise ProtocolError(
                f"{received} bytes of a message came in {waited:.0f} s; it must come with at least "
                f"{self.least_rate:g} bytes/s after {self.stalled_s:g} s"
            )

    def check_taken(self, waited: float, still: float, taken: int) -> None:
        """Check the pace at which a peer takes a message.

        Args:
            waited: time since the start of sending, s.
            still: time since the peer took anything, s.
            taken: number of bytes that the peer took.

        Raises:
            TimeoutError: it takes too long.
        """
        if still > self.stalled_s:
            raise TimeoutError(f"it took nothing for {self.stalled_s:g} s")
        if self.exhausted(waited, taken):
            raise TimeoutError(
                f"it took {taken} bytes in {waited:.0f} s; it must take at least {self.least_rate:g} bytes/s "
                f"after {self.stalled_s:g} s"
            )
