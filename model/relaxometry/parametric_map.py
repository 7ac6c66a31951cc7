"""Parametric map with its goodness of fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ParametricMap:
    """Map of T1 or T2 with its goodness of fit; every array ``(rows, columns)``, finite everywhere.

    Attributes:
        values_ms: T1 or T2 in ms, float32; 0 where ``failed``.
        sd_ms: standard deviation of ``values_ms`` from the fit's residuals, ms, float32
            (Kellman et al. 2013, J Cardiovasc Magn Reson 15:56); 0 where ``failed``.
        r_squared: share of the signal's variance over the times that the model explains, float32, 0 to 1.
        failed: True where no physical optimum exists (air, lung, constant or non-finite signal).
    """

    values_ms: NDArray[np.float32]
    sd_ms: NDArray[np.float32]
    r_squared: NDArray[np.float32]
    failed: NDArray[np.bool_]

    @classmethod
    def of_values(cls, values_ms: NDArray[np.float32]) -> Self:
        """Return a map that was made elsewhere; pixels that are not finite or not above 0 count as failed."""
        values = np.where(np.isfinite(values_ms), values_ms, np.float32(0.0))
        nothing = np.zeros_like(values)
        return cls(values, nothing, nothing, failed=values <= 0.0)
