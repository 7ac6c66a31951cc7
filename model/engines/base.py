"""Interface of every engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs the network on a batch of prepared images."""

    @property
    def name(self) -> str:
        """Name in settings and messages."""
        ...

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return class probabilities ``(n, 3, 224, 224)`` of prepared images ``(n, 224, 224)``.

        Classes are background, LV cavity, myocardium; they sum to one in every pixel.
        """
        ...
