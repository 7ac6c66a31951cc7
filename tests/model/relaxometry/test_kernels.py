"""The compiled loops beside the same fits in torch, and their arithmetic beside numpy's."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from numba import njit

from bench.simulated_pixels import molli_pixels, t2_pixels
from model.relaxometry import in_torch, kernels, molli, t2prep

T1 = (molli.fit_molli, in_torch.molli_on_device)
T2 = (t2prep.fit_t2prep, in_torch.t2prep_on_device)


def _both(fits, signal, times):
    """Fields of both fits, as tensors."""
    compiled, on_device = fits
    ours, theirs = compiled(signal, times), on_device(torch.from_numpy(signal), torch.from_numpy(times))
    names = [each.name for each in fields(ours)]
    return [torch.from_numpy(getattr(ours, name)) for name in names], [getattr(theirs, n) for n in names]


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 511, 513, 5000])
def test_every_field_of_t1_is_that_of_torch(pixels: int) -> None:
    made = molli_pixels(pixels, 8, seed=pixels)
    for ours, theirs in zip(*_both(T1, made.signal, made.times_ms), strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("pixels", [1, 63, 64, 65, 511, 513, 5000])
def test_every_field_of_t2_is_that_of_torch(pixels: int) -> None:
    made = t2_pixels(pixels, seed=pixels)
    for ours, theirs in zip(*_both(T2, made.signal, made.times_ms), strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=2e-3)


def test_air_has_the_same_optimum_where_it_has_one() -> None:
    noise = np.abs(np.random.default_rng(0).normal(size=(8, 20_000))).astype(np.float32)
    ours, theirs = _both(T1, noise, np.linspace(100.0, 4000.0, 8))
    # A curve that is over before the second image fits as well whatever its T1*.
    decided = (theirs[1] < theirs[0]) & ~theirs[-1]
    alike = (ours[0] - theirs[0]).abs() <= 1e-3 * theirs[0] + 0.5
    assert decided.float().mean() > 0.3
    assert alike[decided].float().mean() > 0.999
    assert (ours[-1] == theirs[-1]).float().mean() > 0.99


def test_a_pixel_does_not_depend_on_its_neighbours() -> None:
    made = molli_pixels(700, 8, seed=1)
    whole, _ = _both(T1, made.signal, made.times_ms)
    damaged = made.signal.copy()
    damaged[:, ::2] = np.nan
    other, _ = _both(T1, damaged, made.times_ms)
    assert other[-1][::2].all()
    for a, b in zip(whole, other, strict=True):
        assert torch.equal(a[1::2], b[1::2])


def test_the_exponential_is_numpys() -> None:
    @njit
    def exponentials(x, out):
        for i in range(len(x)):
            out[i] = kernels._exp(x[i])

    x = np.linspace(-86.0, 2.0, 100_001, dtype=np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(np.float64)), rtol=2.5e-7)
    exponentials(np.float32([-1e30, -200.0, -0.0]), out)
    assert out[0] < 1e-37
    assert out[1] < 1e-37
    assert out[2] == 1.0
