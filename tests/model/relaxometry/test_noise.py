"""Estimate of noise and of its bias beside simulated pixels of known truth."""

import numpy as np
import pytest

from model.relaxometry.molli import fit_molli
from model.relaxometry.noise import molli_noise, t2prep_noise
from model.relaxometry.t2prep import fit_t2prep

TI = np.array([100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0])
TE = np.array([0.0, 25.0, 55.0])
RATIO = 2.0


def recovery(t1):
    return 1.0 - RATIO * np.exp(-TI * (RATIO - 1.0) / t1)


def magnitudes(clean, snr, pixels=6000, seed=3):
    along, across = np.random.default_rng(seed).normal(size=(2, len(clean), pixels)) / snr
    return np.float32(700.0) * np.hypot(clean[:, None] + along, across).astype(np.float32)


def channel(clean, snr, pixels=6000, seed=3):
    noise = np.random.default_rng(seed).normal(size=(len(clean), pixels)) / snr
    return np.float32(700.0) * (clean[:, None] + noise).astype(np.float32)


@pytest.mark.parametrize("snr", [8.0, 12.0, 25.0, 60.0])
def test_the_snr_is_that_of_the_simulation(snr):
    assert molli_noise(magnitudes(recovery(1000.0), snr)[:, :600], TI).snr == pytest.approx(snr, rel=0.12)
    assert t2prep_noise(magnitudes(np.exp(-TE / 45.0), snr)[:, :600], TE).snr == pytest.approx(snr, rel=0.12)


@pytest.mark.parametrize(("t1", "snr"), [(450.0, 10.0), (1000.0, 25.0), (1200.0, 10.0), (1400.0, 12.0)])
def test_the_bias_of_t1_is_that_of_the_fit(t1, snr):
    images = magnitudes(recovery(t1), snr)
    fit = fit_molli(images, TI)
    error = float(np.median(fit.t1[~fit.failed])) / t1 - 1.0
    found = molli_noise(images[:, :600], TI).bias
    assert found == pytest.approx(error, abs=max(0.005, 0.5 * abs(error)))
    assert abs(error) < 0.01 or np.sign(found) == np.sign(error)


@pytest.mark.parametrize("snr", [7.0, 12.0, 20.0])
def test_the_bias_of_t2_is_that_of_the_fit(snr):
    images = magnitudes(np.exp(-TE / 45.0), snr)
    fit = fit_t2prep(images, TE)
    error = float(np.median(fit.t2[~fit.failed])) / 45.0 - 1.0
    assert t2prep_noise(images[:, :600], TE).bias == pytest.approx(error, abs=0.02)


def test_what_the_model_does_not_describe_in_all_pixels_is_not_noise():
    images = magnitudes(recovery(1000.0), 60.0)[:, :600]
    images[3] *= np.float32(1.15)
    assert molli_noise(images, TI).snr > 40.0


def test_too_few_images_and_pixels_without_a_fit_have_no_estimate():
    images = magnitudes(recovery(1000.0), 20.0)[:, :600]
    assert molli_noise(images[:4], TI[:4]) is None
    assert molli_noise(np.zeros_like(images), TI) is None
    assert t2prep_noise(images[:2], TE[:2]) is None
    assert t2prep_noise(np.full_like(images[:3], np.nan), TE) is None


def test_five_t1_images_and_three_t2_images_are_enough_for_an_estimate():
    images = magnitudes(recovery(1000.0), 25.0)[:, :600]
    assert molli_noise(images[[0, 1, 2, 4, 6]], TI[[0, 1, 2, 4, 6]]).snr == pytest.approx(25.0, rel=0.12)
    images = magnitudes(np.exp(-TE / 45.0), 25.0)[:, :600]
    assert t2prep_noise(images, TE).snr == pytest.approx(25.0, rel=0.12)


@pytest.mark.parametrize(
    ("estimate", "clean", "times"),
    [(molli_noise, recovery(1000.0), TI), (t2prep_noise, np.exp(-TE / 45.0), TE)],
)
def test_a_region_most_of_which_has_no_fit_has_no_estimate(estimate, clean, times):
    images = magnitudes(clean, 25.0)[:, :600]
    images[:, :200] = np.nan
    assert estimate(images, times).snr == pytest.approx(25.0, rel=0.12)
    images[:, :400] = np.nan
    assert estimate(images, times) is None


def test_images_without_noise_have_no_bias():
    assert molli_noise(magnitudes(recovery(1000.0), 1e9)[:, :600], TI).bias == 0.0


@pytest.mark.parametrize("kind", ["magnitude", "signed", "inverted"])
@pytest.mark.parametrize("image", [1, 2, 4])
def test_an_image_that_shows_other_tissue_is_odd(image, kind):
    """A heart that moved by more than its wall: half of the ring shows blood, whose T1 is longer."""
    received = magnitudes if kind == "magnitude" else channel
    sign, signed = np.float32(-1.0 if kind == "inverted" else 1.0), kind != "magnitude"
    images = sign * received(recovery(1000.0), 50.0)[:, :600]
    assert molli_noise(images, TI, signed=signed).odd_image is None
    images[image, ::2] = sign * received(1.3 * recovery(1600.0), 50.0)[image, :300]
    assert molli_noise(images, TI, signed=signed).odd_image == image


@pytest.mark.parametrize("snr", [8.0, 20.0])
def test_the_noise_of_signed_images_has_no_bias(snr):
    found = molli_noise(channel(recovery(1400.0), snr)[:, :600], TI, signed=True)
    assert found.snr == pytest.approx(snr, rel=0.12)
    assert (found.bias, found.odd_image) == (0.0, None)


def test_a_misfit_of_the_scheme_without_noise_is_not_odd():
    """4(1)3(1)2 at 107 beats a minute: the fourth image varies by 2.3 % over the ring, the others by 1 %."""
    images = magnitudes(recovery(1000.0), 300.0)[:, :600]
    images[3] += 700.0 * np.random.default_rng(5).normal(0.0, 0.034, 600).astype(np.float32)
    assert molli_noise(images, TI).odd_image is None
    images[3] += 700.0 * np.random.default_rng(6).normal(0.0, 0.1, 600).astype(np.float32)
    assert molli_noise(images, TI).odd_image == 3


def test_an_image_that_varies_by_more_than_any_scheme_does_is_odd():
    """The fourth image by 3.4 % over the ring, the others by 2 % and less."""
    images = magnitudes(recovery(1000.0), 300.0)[:, :600]
    images[3] += 700.0 * np.random.default_rng(5).normal(0.0, 0.08, 600).astype(np.float32)
    assert molli_noise(images, TI).odd_image == 3
