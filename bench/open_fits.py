"""The fits of an open package, pixel by pixel, beside which ours are timed: ``qmri`` (extra ``bench``)."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def installed() -> bool:
    """Whether the package is there."""
    return find_spec("qmri") is not None


def t1(signal: Array, times_ms: Array) -> Array:
    """T1 of magnitudes ``(times, pixels)``, ms: its inversion recovery, all polarities, Look-Locker here."""
    from qmri.relaxometry import t1 as relaxometry

    order = np.argsort(times_ms)
    seconds = times_ms[order] / 1000.0
    with np.errstate(all="ignore"):  # some of its steps overflow on the way
        found = relaxometry.fit_ir(signal[order].T, seconds, np.inf, model="classical")
    # Its model is S0 (1 - 2 a exp(-t/T1*)): B/A of the correction is 2 a.
    corrected: Array = 1000.0 * found.t1 * (2.0 * found.inversion_efficiency - 1.0)
    return corrected


def t2(signal: Array, times_ms: Array) -> Array:
    """T2 of magnitudes ``(times, pixels)``, ms: its mono-exponential without an offset, all echoes."""
    from qmri.relaxometry import t2 as relaxometry

    with np.errstate(all="ignore"):
        found = relaxometry.fit(signal.T, times_ms / 1000.0, model="reduced", skip_echoes=0)
    values: Array = 1000.0 * found.t2
    return values
