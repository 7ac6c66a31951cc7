"""A fast engine, and an exact one that looks again at the slices of which the fast one is in doubt.

Rounding to eight bits moves a contour by a tenth of a pixel where the network is sure, and by many where it
wavers between two answers anyway. Those slices can be told by the answer itself, and are worth the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.engines.base import Engine


class SecondLook:
    """Itself an engine, under the name of the fast one."""

    def __init__(self, fast: Engine, exact: Engine, doubt: float) -> None:
        """Put two engines together.

        Args:
            fast: answers first.
            exact: answers instead where it was in doubt.
            doubt: above which it is; see :func:`doubts`.
        """
        self._fast, self._exact, self._doubt = fast, exact, doubt
        self.name = fast.name

    @property
    def parts(self) -> tuple[Engine, Engine]:
        """The fast engine and the exact one."""
        return self._fast, self._exact

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        probabilities = self._fast.infer(images)
        # What is no number is no answer either; the engine that gave it is to be replaced, not helped.
        again = np.flatnonzero(doubts(probabilities) > self._doubt)
        if len(again):
            probabilities[again] = self._exact.infer(images[again])
        return probabilities


def doubts(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Doubt of every slice: pixels' worth of probability outside the likeliest class, per length of border.

    The root of the heart's area stands for the length. A border that is sharp everywhere gives some 0.5,
    whatever the heart's size.

    Args:
        probabilities: ``(n, 3, rows, columns)``.
    """
    beside = (1.0 - probabilities.max(axis=1)).sum(axis=(1, 2), dtype=np.float64)
    heart = (probabilities[:, 0] < 0.5).sum(axis=(1, 2))
    ratio: NDArray[np.float64] = beside / np.sqrt(heart + 20.0)
    return ratio
