"""Rates among which the search for the optimum of a fit starts (:mod:`model.relaxometry.exponential`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RateGrid:
    """Grid of rates, 1/ms, ascending and even in the logarithm, float32 ``(rates,)``."""

    rates: NDArray[np.float32]

    @classmethod
    def between(cls, longest_ms: float, shortest_ms: float, count: int) -> Self:
        """Return the rates of decay times from ``longest_ms`` down to ``shortest_ms``."""
        rates = np.logspace(-math.log10(longest_ms), -math.log10(shortest_ms), count)
        return cls(rates.astype(np.float32))

    @property
    def log_rates(self) -> NDArray[np.float32]:
        """Natural logarithm of the rates ``(rates,)``."""
        logarithms: NDArray[np.float32] = np.log(self.rates)
        return logarithms

    def directions(self, times_ms: NDArray[np.floating[Any]], *, offset: bool) -> NDArray[np.float32]:
        """Return unit vectors along the exponentials of the grid, ``(rates, times)``.

        Args:
            times_ms: ``(times,)``.
            offset: the model has an offset: each vector is less its mean.
        """
        times = times_ms.astype(np.float64)
        # From the first time on: a factor is no matter for a direction, and late times alone leave nothing.
        decay = np.exp(-self.rates[:, None].astype(np.float64) * (times - times.min()))
        if offset:
            decay -= decay.mean(axis=1, keepdims=True)
        decay /= np.maximum(np.linalg.norm(decay, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        unit: NDArray[np.float32] = decay.astype(np.float32)
        return unit
