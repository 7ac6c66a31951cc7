"""The fits against scipy's optimum, analytic signals and invariances."""

from __future__ import annotations

import warnings
from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import curve_fit

from bench.simulated_pixels import Pixels, molli_pixels, molli_times, scipy_t1, scipy_t2, t2_pixels
from model.relaxometry import in_torch, molli, t2prep
from model.relaxometry.molli import MolliFit, molli_map
from model.relaxometry.t2prep import T2Fit, t2_map


@pytest.fixture(params=["compiled", "torch"], scope="module", autouse=True)
def means(request):
    """Every test twice: with the loops that are used on a CPU, and as images on a GPU are fitted."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(molli, "fit_molli", for_arrays(in_torch.molli_on_device, MolliFit))
            patch.setattr(t2prep, "fit_t2prep", for_arrays(in_torch.t2prep_on_device, T2Fit))
        yield request.param


def for_arrays(fit, kind):
    def fit_arrays(images, times_ms, **options):
        found = fit(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(times_ms), **options)
        return kind(*(getattr(found, each.name).numpy() for each in fields(found)))

    return fit_arrays


@cache
def optima(images: int) -> tuple[Pixels, np.ndarray]:
    """Noisy pixels of a series of so many images (T2: 3) and scipy's optimum of each, ms."""
    pixels = t2_pixels(400, seed=5) if images == 3 else molli_pixels(16, images, seed=images)
    optimum = scipy_t2 if images == 3 else scipy_t1
    return pixels, np.array([optimum(signal, pixels.times_ms) for signal in pixels.signal.T])


@pytest.mark.parametrize("images", [3, 8, 11])
def test_every_value_is_scipys_optimum(images: int) -> None:
    pixels, theirs = optima(images)
    fit = t2_map if images == 3 else molli_map
    np.testing.assert_allclose(fit(pixels.signal[:, None], pixels.times_ms).values_ms[0], theirs, atol=0.5)


SCHEMES = {
    "5(3)3": molli_times(8),
    "4(1)3(1)2": np.array([100, 1000, 1900, 2800, 180, 1080, 1980, 260, 1160.0]),
    "3(3)5": np.array([100, 1000, 1900, 180, 1080, 1980, 2880, 3780.0]),
    "3(3)3(3)5": np.array([100, 1000, 1900, 180, 1080, 1980, 260, 1160, 2060, 2960, 3860.0]),
    # Equal times: where the signal is about 0 at them, three and more polarities fit almost equally well.
    "5(3)3, two averages": np.tile([100, 1100, 2100, 3100, 4100, 180, 1180, 2180.0], 2),
    "1000 ms three times": np.array([100, 180, 260, 1000, 1900, 2800, 3700, 4600, 1000, 1000.0]),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_noise_free_t1_is_recovered(scheme: str) -> None:
    times = SCHEMES[scheme]
    t1 = np.linspace(200.0, 2500.0, 400)  # below, two images are left with signal and two polarities fit
    ratio = 1.9
    signal = np.abs(300.0 * (1.0 - ratio * np.exp(-times[:, None] * (ratio - 1.0) / t1)))
    fit = molli_map(signal[:, None].astype(np.float32), times)
    assert not fit.failed.any()
    np.testing.assert_allclose(fit.values_ms[0], t1, rtol=2e-4)
    assert fit.r_squared.min() > 0.9999
    assert fit.sd_ms.max() < 1.0


@pytest.mark.parametrize("scheme", ["5(3)3, two averages", "1000 ms three times"])
def test_images_near_the_null_leave_every_polarity_a_candidate(scheme: str) -> None:
    """scipy's optimum over all polarities, of noisy pixels whose signal is about 0 at the repeated time."""
    times, rng = SCHEMES[scheme], np.random.default_rng(2)
    null = 1000.0 if "three" in scheme else 1100.0
    star = null * rng.uniform(0.97, 1.03, 12) / np.log(1.9)
    clean = 300.0 * (1.0 - 1.9 * np.exp(-times[:, None] / star))
    signal = np.abs(clean + rng.normal(0.0, 3.0, clean.shape)).astype(np.float32)
    theirs = np.array([scipy_t1(pixel, times) for pixel in signal.T])
    np.testing.assert_allclose(molli_map(signal[:, None], times).values_ms[0], theirs, atol=0.5)


def test_noise_free_t2_is_recovered() -> None:
    times, t2 = np.array([0.0, 25.0, 55.0]), np.linspace(10.0, 400.0, 200)
    fit = t2_map((700.0 * np.exp(-times[:, None] / t2))[:, None].astype(np.float32), times)
    assert not fit.failed.any()
    np.testing.assert_allclose(fit.values_ms[0], t2, rtol=2e-4)


def test_polarity_and_parameters_are_those_simulated() -> None:
    times = SCHEMES["5(3)3"]
    t1, ratio = 1000.0, 1.9
    clean = 300.0 * (1.0 - ratio * np.exp(-times * (ratio - 1.0) / t1))
    fit = molli.fit_molli(np.abs(clean)[:, None], times)
    assert fit.negative.item() == int((clean < 0).sum())
    assert fit.a.item() == pytest.approx(300.0, rel=1e-3)
    assert fit.b.item() == pytest.approx(570.0, rel=1e-3)
    assert fit.apparent.item() == pytest.approx(t1 / 0.9, rel=1e-3)


def test_t1_deviation_is_curve_fits() -> None:
    """Kellman's propagation of the covariance that ``curve_fit`` estimates from the residuals."""
    pixels = molli_pixels(40, 11, seed=1)
    ours = molli_map(pixels.signal[:, None], pixels.times_ms)
    order = np.argsort(pixels.times_ms)
    t = pixels.times_ms[order]
    fit = molli.fit_molli(pixels.signal, pixels.times_ms)
    for index in range(40):
        y = pixels.signal[order, index].astype(float)
        y[: int(fit.negative[index])] *= -1.0
        (a, b, star), covariance = curve_fit(
            lambda t, a, b, star: a - b * np.exp(-t / star), t, y, p0=(400.0, 760.0, 1000.0)
        )
        gradient = np.array([-star * b / a**2, star / a, b / a - 1.0])
        expected = np.sqrt(gradient @ covariance @ gradient)
        assert ours.sd_ms[0, index] == pytest.approx(expected, rel=0.01)


def test_t2_deviation_is_curve_fits() -> None:
    pixels = t2_pixels(40, seed=2)
    ours = t2_map(pixels.signal[:, None], pixels.times_ms)
    for index in range(40):
        _, covariance = curve_fit(
            lambda t, c, t2: c * np.exp(-t / t2), pixels.times_ms, pixels.signal[:, index], p0=(400.0, 80.0)
        )
        assert ours.sd_ms[0, index] == pytest.approx(np.sqrt(covariance[1, 1]), rel=0.01)


def test_t1_deviation_is_the_spread_of_repeated_noise() -> None:
    rng = np.random.default_rng(0)
    times = molli_times(8)
    clean = 1.0 - 1.9 * np.exp(-times * 0.9 / 1000.0)
    noisy = np.abs(clean[:, None] + rng.normal(scale=0.02, size=(8, 4000)))
    fit = molli_map(noisy[:, None].astype(np.float32), times)
    assert np.sqrt((fit.sd_ms**2).mean()) == pytest.approx(fit.values_ms.std(), rel=0.1)


@given(factor=st.floats(1e-3, 1e4), seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_scale_and_order_of_the_images_do_not_matter(factor: float, seed: int) -> None:
    pixels = molli_pixels(30, 8, seed)
    order = np.random.default_rng(seed).permutation(8)
    unchanged = molli_map(pixels.signal[:, None], pixels.times_ms)
    other = molli_map((np.float32(factor) * pixels.signal)[order][:, None], pixels.times_ms[order])
    np.testing.assert_allclose(unchanged.values_ms, other.values_ms, atol=0.3)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.sampled_from([4, 8]), st.integers(1, 4), st.integers(1, 4)),
        elements=st.one_of(
            st.floats(width=32),
            st.sampled_from([0.0, 1.0, float("nan"), float("inf"), 1e-30, 3e38]),
        ),
    )
)
@settings(max_examples=150)
def test_nothing_but_finite_numbers_comes_out(images: np.ndarray) -> None:
    times = np.linspace(100.0, 4000.0, len(images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fit in (molli_map(images, times), t2_map(images, times)):
            for array in (fit.values_ms, fit.sd_ms, fit.r_squared):
                assert np.isfinite(array).all()
            assert (fit.values_ms[fit.failed] == 0.0).all()
            assert (fit.values_ms[~fit.failed] > 0.0).all()
            assert fit.failed[~np.isfinite(images).all(axis=0)].all()


def test_signal_that_is_negative_in_every_image_is_restored() -> None:
    times = np.array([100.0, 180.0, 260.0, 1000.0, 1100.0, 1200.0])
    t1 = np.linspace(2500.0, 4000.0, 200)
    clean = 1.0 - 1.95 * np.exp(-times[:, None] * 0.95 / t1)
    assert (clean < 0).all()
    fit = molli.fit_molli(np.abs(clean), times)
    assert not fit.failed.any()
    assert (fit.negative == 6).all()
    np.testing.assert_allclose(fit.t1, t1, rtol=0.05)  # from less than half of the curve


def test_a_decay_that_is_over_before_the_second_image_fails() -> None:
    images = np.array([1.0, 0.0, 0.0, 0.0], np.float32)[:, None, None]
    fit = t2_map(images, np.array([100.0, 1400.0, 2700.0, 4000.0]))
    assert np.isfinite(fit.r_squared).all()
    assert fit.failed.all() or fit.values_ms.min() > 0.0


def test_pixels_without_a_decay_fail() -> None:
    flat, rising = np.full((3, 1, 1), 5.0, np.float32), np.array([1, 2, 3], np.float32)[:, None, None]
    times = np.array([0.0, 25.0, 55.0])
    assert t2_map(flat, times).failed.all()
    assert t2_map(rising, times).failed.all()
    assert t2_map(np.zeros((3, 2, 2), np.float32), times).failed.all()
    assert molli_map(np.zeros((8, 2, 2), np.float32), molli_times(8)).failed.all()


def test_too_few_images_are_refused() -> None:
    images = np.ones((3, 5), np.float32)
    for fit_molli, fit_t2prep in (
        (molli.fit_molli, t2prep.fit_t2prep),
        (
            lambda images, times: in_torch.fit_molli(torch.from_numpy(images), torch.from_numpy(times)),
            lambda images, times: in_torch.fit_t2prep(torch.from_numpy(images), torch.from_numpy(times)),
        ),
    ):
        with pytest.raises(ValueError, match="at least 4"):
            fit_molli(images, np.arange(3.0))
        with pytest.raises(ValueError, match="at least 2"):
            fit_t2prep(images, np.arange(2.0))
        with pytest.raises(ValueError, match="2 different preparation times; all have 25 ms"):
            fit_t2prep(images, np.full(3, 25.0))


def test_tensors_on_the_cpu_are_fitted_by_the_compiled_loops(means: str) -> None:
    t1, t2 = molli_pixels(20, 8, seed=3), t2_pixels(20, seed=3)
    for fit, of_tensors, pixels in (
        (molli.fit_molli, in_torch.fit_molli, t1),
        (t2prep.fit_t2prep, in_torch.fit_t2prep, t2),
    ):
        ours = of_tensors(torch.from_numpy(pixels.signal), torch.from_numpy(pixels.times_ms))
        expected = fit(pixels.signal, pixels.times_ms)
        for each in fields(ours):
            np.testing.assert_array_equal(getattr(ours, each.name).numpy(), getattr(expected, each.name))


@pytest.mark.parametrize("fit", [molli_map, t2_map])
def test_a_map_holds_no_other_memory_than_its_own(fit):
    made = fit(np.ones((5, 8, 9), np.float32), np.array([0.0, 100.0, 300.0, 900.0, 2700.0]))
    for name in ("values_ms", "sd_ms", "r_squared", "failed"):
        array = getattr(made, name)
        assert array.base is None or array.base.nbytes == array.nbytes, name
