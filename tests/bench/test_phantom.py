import numpy as np
import pytest

from bench.phantom import difference, find_vials, measure


def test_vials_of_a_made_phantom(tmp_path):
    """Three discs of known T1 in noise; the fit must find them again."""
    rng = np.random.default_rng(1)
    times = np.array([100.0, 200, 1100, 1300, 2100, 3100, 4100])
    t1 = rng.uniform(0, 3000, (96, 96)).astype(np.float32)
    y, x = np.mgrid[:96, :96]
    truth = {}
    for number, (column, value) in enumerate(((20, 600.0), (48, 1000.0), (76, 1500.0))):
        disc = np.hypot(y - 48, x - column) < 10
        t1[disc] = value
        truth[number] = value
    apparent = t1 / 0.9
    images = np.abs(1.0 - 1.9 * np.exp(-times[:, None, None] / apparent)).astype(np.float32)
    np.savez(tmp_path / "p.npz", images=images, inversion_times_ms=times, reference_t1_ms=t1)
    vials = measure(tmp_path / "p.npz")
    assert [vial["reference_ms"] for vial in vials] == [600.0, 1000.0, 1500.0]
    assert all(abs(difference(vial)) < 1e-3 for vial in vials)
    assert find_vials(t1).max() == 3
    assert find_vials(rng.uniform(0, 3000, (96, 96)).astype(np.float32)).max() == 0
    assert vials[0]["fitted"] == pytest.approx(vials[0]["pixels"])
