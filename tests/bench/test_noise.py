import numpy as np

from bench import noise


def test_error_and_estimate_have_one_sign_where_noise_is_high():
    rows = noise.measure()
    assert rows["T1 1400 ms, 5(3)3"]["error_7"] < rows["T1 1400 ms, 5(3)3"]["estimate_7"] < -1.2
    assert rows["T2 45 ms, 3 images"]["error_10"] > 1.2
    assert all(abs(row["error_30"]) < 1.0 for row in rows.values())


def test_noise_of_a_signal_of_zero_is_rayleigh():
    images = noise.noisy(np.zeros(2), 10.0, np.random.default_rng(0))
    assert np.isclose(images.mean(), 0.1 * np.sqrt(np.pi / 2.0), rtol=0.02)
