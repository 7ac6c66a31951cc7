"""Fits of the open package ``qmri`` (extra ``bench``), pixel by pixel."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INSTALLED: Final = find_spec("qmri") is not None


def t1(signal: Array, times_ms: Array) -> Array:
    """Return T1 of magnitudes ``(times, pixels)``, ms: all polarities, Look-Locker corrected."""
    from qmri.relaxometry import t1 as relaxometry

    order = np.argsort(times_ms)
    with np.errstate(all="ignore"):  # intermediate steps overflow
        found = relaxometry.fit_ir(signal[order].T, times_ms[order] / 1000.0, np.inf, model="classical")
    # Its model is S0 (1 - 2 a exp(-t/T1*)): B/A of the correction is 2 a.
    corrected: Array = 1000.0 * found.t1 * (2.0 * found.inversion_efficiency - 1.0)
    return corrected


def t2(signal: Array, times_ms: Array) -> Array:
    """Return T2 of magnitudes ``(times, pixels)``, ms: mono-exponential without an offset, all echoes."""
    from qmri.relaxometry import t2 as relaxometry

    with np.errstate(all="ignore"):
        values: Array = (
            1000.0 * relaxometry.fit(signal.T, times_ms / 1000.0, model="reduced", skip_echoes=0).t2
        )
    return values
