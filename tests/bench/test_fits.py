import numpy as np
import pytest

from bench import open_fits
from bench.fits import table
from bench.simulated_pixels import molli_times


@pytest.mark.skipif(not open_fits.installed(), reason="qmri is not installed (extra bench)")
def test_the_open_package_finds_noiseless_values():
    t1 = np.array([500.0, 1000.0, 1500.0])
    times = molli_times(8)
    ratio = 1.9
    signal = np.abs(1 - ratio * np.exp(-times[:, None] * (ratio - 1) / t1))
    assert np.allclose(open_fits.t1(signal, times), t1, atol=0.5)
    t2 = np.array([45.0, 60.0, 120.0])
    echoes = np.array([0.0, 25.0, 55.0])
    assert np.allclose(open_fits.t2(np.exp(-echoes[:, None] / t2), echoes), t2, atol=0.01)


def test_the_table_says_where_the_open_package_is_missing():
    case = {"map_ms": 1.0, "curve_fit_ms_per_pixel": 0.1, "ratio": 9.0}
    case |= {"within_0.5_ms": 1.0, "largest_ms": 0.0}
    assert list(table({"T2": case}).columns[-1].cells) == ["-"]
