"""Interface of every engine."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Runs the network on a batch of prepared images.

    Network output, float32 ``(n, 3 + k, 224, 224)``: first the class probabilities of background, LV cavity
    and myocardium, which sum to one in every pixel; then k heat maps from 0 to 1, each with one spot about an
    insertion point of the right ventricle, the anterior one first. k is 2, or 0 for weights without them.
    """

    @property
    def name(self) -> str:
        """Name in settings and messages."""
        ...

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network output ``(n, 3 + k, 224, 224)`` of prepared images ``(n, 224, 224)``."""
        ...
