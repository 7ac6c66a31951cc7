"""Fast engine with a re-evaluation in float32 of slices of which its output is uncertain.

Int8 rounding moves a contour by a tenth of a pixel where the class boundary is sharp, and by many pixels
where it is wide. Uncertainty of the class boundary shows in the output itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.architecture import CLASSES
from model.engines.base import Engine


class ReevaluatingEngine:
    """Itself an engine, under the name of the fast one."""

    def __init__(self, fast: Engine, exact: Engine, threshold: float) -> None:
        """Combine two engines.

        Args:
            fast: computes every slice.
            exact: computes those again whose :func:`uncertainty` is above the threshold.
            threshold: of the uncertainty.
        """
        self._fast, self._exact, self._threshold = fast, exact, threshold
        self.name = fast.name

    @property
    def parts(self) -> tuple[Engine, Engine]:
        """The fast engine and the exact one."""
        return self._fast, self._exact

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`."""
        output = self._fast.infer(images)
        # NaN is not above the threshold: an engine that returns NaN is to be replaced, not supported.
        again = np.flatnonzero(uncertainty(output) > self._threshold)
        if len(again):
            output[again] = self._exact.infer(images[again])
        return output


def uncertainty(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the uncertainty of the class boundary of every slice, about its width in pixels, ``(n,)``.

    It is the probability outside the most likely class, summed over pixels, by the length of the boundary,
    which is taken as the square root of the heart's area. A boundary that is sharp everywhere gives some 0.5.

    Args:
        output: of an engine, ``(n, 3 + k, rows, columns)``; heat maps are left out of account.
    """
    probabilities = output[:, :CLASSES]
    others = (1.0 - probabilities.max(axis=1)).sum(axis=(1, 2), dtype=np.float64)
    heart = (probabilities[:, 0] < 0.5).sum(axis=(1, 2))
    ratio: NDArray[np.float64] = others / np.sqrt(heart + 20.0)
    return ratio
