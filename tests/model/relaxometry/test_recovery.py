import numpy as np
import pytest

from model.relaxometry.molli import molli_map
from model.relaxometry.recovery import check_recovery
from model.synthesis.examination import simulate_slice

TIMES = np.array([100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0])
SATURATION = np.array([100.0, 170, 250, 330, 400, 480, 550, 600, 600, 600, 10_000])


def tissue(t1=(300.0, 600.0, 950.0, 1550.0), size=24):
    return np.repeat(np.repeat(np.array(t1).reshape(2, 2), size, axis=0), size, axis=1)


def images(times, ratio, t1=None, noise=0.0):
    t1 = tissue() if t1 is None else t1
    apparent = t1 / (ratio - 1.0) if ratio > 1.4 else t1
    signal = 1000.0 * (1.0 - ratio * np.exp(-times[:, None, None] / apparent))
    return (signal + noise * np.random.default_rng(1).standard_normal(signal.shape)).astype(np.float32)


@pytest.mark.parametrize("efficiency", [0.95, 0.995, 1.0, 1.02, 1.087])
@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_saturation_recovery_is_told(efficiency, noise):
    found = check_recovery(np.abs(images(SATURATION, efficiency, noise=noise)), SATURATION)
    assert found.saturation
    assert check_recovery(
        np.abs(images(SATURATION[:-1], efficiency, noise=noise)), SATURATION[:-1]
    ).saturation


@pytest.mark.parametrize("ratio", [1.6, 1.9, 2.1])
@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("signed", [False, True])
def test_inversion_recovery_is_not_called_saturation(ratio, share, signed):
    made = images(TIMES, ratio, tissue() * share, noise=10.0)
    found = check_recovery(made if signed else np.abs(made), TIMES, signed=signed)
    assert not found.saturation
    assert found.off is None


@pytest.mark.parametrize("seed", range(4))
def test_simulated_examinations_pass(seed):
    made = simulate_slice(seed, size=128)
    order = np.argsort(made.inversion_times_ms)
    found = check_recovery(made.molli[order], made.inversion_times_ms[order])
    assert not found.saturation
    assert found.off is None


def spike(made):
    made[-1, 5, 5] = 60_000.0


def burned_in(made):
    made[:, 0, :3] = 4095.0


def infinite(made):
    made[-1, 5, 5] = np.inf


def not_a_number(made):
    made[0, 5, 5] = np.nan


SINGLE = [spike, burned_in, infinite, not_a_number]


@pytest.mark.parametrize("change", SINGLE)
def test_single_pixels_hide_no_saturation(change):
    made = np.abs(images(SATURATION, 1.0, noise=10.0))
    change(made)
    assert check_recovery(made, SATURATION).saturation


@pytest.mark.parametrize("change", SINGLE)
@pytest.mark.parametrize("motion_mm", [0.0, 8.0])
def test_single_pixels_are_no_other_scale(change, motion_mm):
    made = simulate_slice(3, size=128, motion_mm=motion_mm)
    order = np.argsort(made.inversion_times_ms)
    stack = made.molli[order]
    change(stack)
    found = check_recovery(stack, made.inversion_times_ms[order])
    assert found.off is None
    assert not found.saturation


@pytest.mark.parametrize("change", SINGLE)
def test_single_pixels_hide_no_other_scale(change):
    made = np.abs(images(TIMES, 1.9))
    made[4] *= 0.75
    change(made)
    assert check_recovery(made, TIMES).off == 4


@pytest.mark.parametrize("number", [4, 6, 7])
@pytest.mark.parametrize("factor", [0.5, 0.75])
def test_an_image_of_another_scale_is_named(number, factor):
    made = np.abs(images(TIMES, 1.9))
    made[number] *= factor
    assert check_recovery(made, TIMES).off == number


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 7.0])
def test_images_without_signal_or_contrast_show_nothing(value):
    found = check_recovery(np.full((8, 16, 16), value, np.float32), TIMES)
    assert not found.saturation


def test_a_phase_sensitive_image_of_the_other_sign_is_reported():
    made = images(TIMES, 1.9)
    assert check_recovery(made, TIMES, signed=True).off is None
    made[0] *= -1.0
    assert check_recovery(made, TIMES, signed=True).off in (0, 1)  # the fit follows the early images


def test_phase_sensitive_images_are_fitted_with_their_sign():
    made = images(TIMES, 1.9)
    for signed in (made, -made):  # some senders invert all of it
        fitted = molli_map(signed, TIMES, signed=True)
        assert np.allclose(fitted.values_ms, tissue(), rtol=1e-3)
    assert np.allclose(molli_map(np.abs(made), TIMES).values_ms, tissue(), rtol=1e-3)


def test_the_sign_decides_where_magnitudes_leave_a_choice():
    times = np.array([300.0, 600.0, 900.0, 1200.0])
    t1 = tissue((950.0, 1200.0, 1550.0, 1900.0))
    made = images(times, 1.9, t1)
    assert np.allclose(molli_map(made, times, signed=True).values_ms, t1, rtol=5e-3)


def test_times_that_show_no_recovery_are_no_error():
    stack = np.abs(images(TIMES, 1.9))
    assert not check_recovery(stack, TIMES + 1e6).saturation
