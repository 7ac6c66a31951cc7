"""Gain of single images: known whether images move or not, and not taken for motion."""

import numpy as np
import pytest

from bench.motion import MovingSeries, wall_median
from model.motion.correction import correct_motion
from model.motion.gains import image_gains, odd_gain
from model.motion.signal_models import MolliModel, T2PrepModel
from model.motion.state import MotionState

from .phantom import T1_TIMES, T2_TIMES, molli, molli_with_fat, simulated, t2prep

REST = [(0.0, 0.0)] * 8
BREATH = [(1.0 * number, -1.5 * number) for number in range(8)]


def scaled(images, image, gain):
    changed = images.copy()
    changed[image] *= np.float32(gain)
    return changed


def with_gain(series, image, gain):
    return MovingSeries(
        scaled(series.images, image, gain),
        series.times_ms,
        series.model,
        series.motion_px,
        series.labels,
        series.pixel_mm,
    )


@pytest.mark.parametrize("shifts", [REST, BREATH], ids=["rest", "breath"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("image", "gain"), [(2, 1.25), (3, 0.85), (5, 0.9), (7, 1.15), (5, 0.6), (5, 1.6)])
def test_the_gain_of_one_image_is_found_whether_it_moves_or_not(shifts, signed, image, gain):
    images = molli(shifts)
    model = MolliModel(signed=signed)
    given = images if signed else np.abs(images)
    unit = np.abs(given).max()
    at_rest, found = (
        image_gains(model, each / unit, T1_TIMES) for each in (given, scaled(given, image, gain))
    )
    assert np.median(found) == pytest.approx(1.0, abs=1e-3)
    assert odd_gain(model, at_rest, T1_TIMES) is None
    stated = odd_gain(model, found, T1_TIMES)
    assert stated.image == image
    assert stated.gain == pytest.approx(gain, rel=0.05)


@pytest.mark.parametrize("image", [0, 1, 2])
def test_three_t2prep_images_show_that_one_has_another_gain(image):
    images = t2prep([(0.0, 0.0)] * 3)
    rest, changed = (
        odd_gain(T2PrepModel(), image_gains(T2PrepModel(), each / images.max(), T2_TIMES), T2_TIMES)
        for each in (images, scaled(images, image, 0.85))
    )
    assert rest is None
    assert changed is not None


def test_gains_along_a_trend_are_not_odd():
    trend = np.exp(0.08 * np.exp(-T1_TIMES / 800.0) - 0.03)
    assert odd_gain(MolliModel(), trend, T1_TIMES) is None
    trend[3] *= 0.88
    image, gain, _ = odd_gain(MolliModel(), trend, T1_TIMES)
    assert image == 3
    assert gain == pytest.approx(0.88, abs=0.01)


def test_an_early_image_is_not_named():
    # Model errors leave gains of up to 0.3 in the images soon after an inversion.
    assert odd_gain(MolliModel(), np.array([0.8, *[1.0] * 7]), T1_TIMES) is None


def test_four_images_show_no_trend_that_one_could_leave():
    times = T1_TIMES[[0, 2, 4, 6]]
    assert odd_gain(MolliModel(), np.array([1.0, 1.0, 0.8, 1.0]), times) is None


@pytest.mark.parametrize("images", [np.zeros((8, 24, 24), np.float32), np.ones((8, 24, 24), np.float32)])
def test_images_without_a_recovery_have_the_same_gain(images):
    assert np.allclose(image_gains(MolliModel(), images, T1_TIMES), 1.0, atol=1e-6)


@pytest.mark.parametrize("quantity", ["T1", "T2"])
@pytest.mark.parametrize("seed", [41, 42])
@pytest.mark.parametrize("gain", [0.8, 0.9, 1.1, 1.25])
def test_a_still_slice_with_one_image_of_another_gain_keeps_its_map(seed, quantity, gain):
    still = simulated(seed, quantity)
    for image in range(len(still.images)):
        series = with_gain(still, image, gain)
        given_map = series.fit()
        found = series.correct(given_map)
        assert found.state is MotionState.STILL
        assert found.parametric is given_map


@pytest.mark.parametrize("image", [1, 4, 7])
def test_a_slice_that_moves_is_corrected_despite_another_gain(image):
    left = []
    for seed in (41, 42):
        series = with_gain(simulated(seed, "T1", 10.0, "rigid"), image, 0.85)
        uncorrected = series.fit()
        found = series.correct(uncorrected)
        assert found.state is MotionState.CORRECTED
        remaining, labels = series.remaining(found.displaced())
        left.append(np.median(remaining[:, labels > 0]))
        # The map holds the gain as acquired, as that of the slice at rest does.
        at_rest = with_gain(simulated(seed, "T1"), image, 0.85)
        assert abs(wall_median(found.parametric, labels) - wall_median(at_rest.fit(), at_rest.labels)) < 12.0
    assert np.median(left) <= 0.5


def test_a_correction_states_the_image_of_another_gain():
    images = scaled(np.abs(molli(BREATH)), 4, 0.85)
    found = correct_motion(images, T1_TIMES, (1.5, 1.5), MolliModel(), MolliModel().map(images, T1_TIMES))
    assert found.state is MotionState.CORRECTED
    assert found.odd_gain.image == 4
    assert found.odd_gain.gain == pytest.approx(0.85, rel=0.04)


@pytest.mark.parametrize("seed", [96, 103])
def test_fat_off_resonance_gives_no_image_another_gain(seed):
    """The image of 850 ms seemed 1.29 times as bright: the weights took the wall for wrong beside it."""
    images, times = molli_with_fat(seed, fat_hz=-220.0, heartbeat_ms=750.0)
    found = correct_motion(images, times, (1.5, 1.5), MolliModel(), MolliModel().map(images, times))
    assert found.odd_gain is None
    assert found.state is MotionState.STILL
