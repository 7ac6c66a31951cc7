"""Dictionary of bounded length."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(dict[K, V]):
    """Dictionary that forgets the first of its keys where there are too many."""

    def __init__(self, most: int) -> None:
        """Begin empty.

        Args:
            most: keys that are kept.
        """
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        """Set a value; that of a key that is there keeps its place."""
        super().__setitem__(key, value)
        if len(self) > self._most:
            del self[next(iter(self))]
