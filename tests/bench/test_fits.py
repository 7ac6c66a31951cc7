import numpy as np
import pytest

from bench import fits
from bench.reference import qmri_fits
from bench.simulated_pixels import molli_times


@pytest.mark.skipif(not qmri_fits.INSTALLED, reason="qmri is not installed (extra bench)")
def test_the_open_package_finds_noiseless_values():
    t1 = np.array([500.0, 1000.0, 1500.0])
    times = molli_times(8)
    ratio = 1.9
    signal = np.abs(1 - ratio * np.exp(-times[:, None] * (ratio - 1) / t1))
    assert np.allclose(qmri_fits.t1(signal, times), t1, atol=0.5)
    t2 = np.array([45.0, 60.0, 120.0])
    echoes = np.array([0.0, 25.0, 55.0])
    assert np.allclose(qmri_fits.t2(np.exp(-echoes[:, None] / t2), echoes), t2, atol=0.01)


def test_a_fit_is_timed_and_compared_with_the_optimum(monkeypatch, capsys):
    monkeypatch.setattr(fits, "SIDE", 16)
    monkeypatch.setattr(fits, "CASES", {"T2, 3 images": fits.CASES["T2, 3 images"]})
    monkeypatch.setattr(qmri_fits, "INSTALLED", False)
    results = fits.compare(20)
    case = results["T2, 3 images"]
    assert case["pixels"] == 20
    assert case["largest_ms"] < 0.5
    assert case["ratio"] == pytest.approx(case["curve_fit_ms_per_pixel"] * 256 / case["map_ms"])
    fits.show(results)
    assert "T2, 3 images" in capsys.readouterr().out
