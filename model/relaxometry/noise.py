"""Bias of a fit by the noise of magnitude images, as a parametric bootstrap of the fitted signal.

Noise of magnitudes is Rician: near the null of the recovery, and late in the decay, it raises the signal
(Gudbjartsson and Patz 1995, Magn Reson Med 34:910). How much that changes T1 or T2 depends on where the
images lie beside the null. So the fit itself is run on draws of the signal with the noise of its residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.relaxometry.molli import fit_molli
from model.relaxometry.t2prep import fit_t2prep

Floats = NDArray[np.floating[Any]]

_DRAWS: Final = 512
"""Draws of the bootstrap; another seed changes the bias by some 0.2 % at an SNR of 10."""
_MOST_PIXELS: Final = 512
_UNEVEN: Final = 2.2
"""Spread of the residuals of one image, beside the median of the others, from which it is odd. At rest it is
at most 1.9 in 96 simulated rings of four MOLLI schemes; where one image of a small heart moves by 25 mm, 2.4
and more."""
_LEAST: Final = 0.03
"""Smallest such spread that counts, as a share of the recovered signal. Without noise the misfit of a scheme
varies over a ring by up to 2.7 %: 4(1)3(1)2 and ShMOLLI at 107 beats a minute. Simulated motion that makes T1
wrong by 4 % and more gives 3.4 % and more."""
_FEWEST: Final = 7
"""Images from which one can be odd: with fewer the fit follows single images."""
_SMALLEST: Final = 1e-6
CLEAN: Final = 40.0
"""SNR from which no bias is computed: it is below 0.5 % for T1 of 350 to 1600 ms and T2 of 35 to 80 ms."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of the images over a region, and what it does to the fit.

    Attributes:
        snr: fully recovered signal (A of T1, C of T2) over the standard deviation of the noise in a channel.
        bias: estimated error of the median T1 or T2, as a share of it; 0 where not computed. Of T1 it is
            0.4 to 1 times the error, since the draws begin from a fit that has the error already.
        odd_image: number of the T1 image whose residuals vary over the region much more than those of the
            others, as where it shows other tissue there; None without one.
    """

    snr: float
    bias: float
    odd_image: int | None = None


def molli_noise(
    images: NDArray[np.float32],
    times_ms: NDArray[np.float64],
    *,
    signed: bool = False,
    clean: float = CLEAN,
) -> Noise | None:
    """Return the noise of the images ``(n, pixels)`` of a region of a MOLLI series.

    Args:
        images: any pixels of one tissue; some 500 of them are used.
        times_ms: inversion times, ascending, ms ``(n,)``.
        signed: the images have their sign: their noise has mean 0, and no bias.
        clean: SNR from which no bias is computed.

    Returns:
        None with fewer than five images, of which three parameters leave too little to see noise in, or
        where the fit fails in most pixels.
    """
    if len(images) < 5:
        return None
    images = _some(images)
    fit = fit_molli(images, times_ms, signed=signed)
    fitted = ~fit.failed
    if fitted.mean() <= 0.5:
        return None
    a, b, apparent = (each[fitted] for each in (fit.a, fit.b, fit.apparent))
    negative = np.arange(len(images))[:, None] < fit.negative[fitted]
    restored = np.where(negative, -images[:, fitted], images[:, fitted])
    residuals = restored / a - (1.0 - b / a * np.exp(-times_ms[:, None] / apparent))
    sigma = _standard_deviation(residuals, parameters=3)
    odd = _odd_image(residuals)
    if odd is not None or signed or sigma * clean <= 1.0:
        return Noise(1.0 / max(sigma, _SMALLEST), 0.0, odd)
    signal = 1.0 - float(np.median(b / a)) * np.exp(-times_ms / float(np.median(apparent)))
    magnitude, channel = _draws(signal, sigma)
    biased, fair = fit_molli(magnitude, times_ms), fit_molli(channel, times_ms, signed=True)
    return _noise(sigma, biased.t1[~biased.failed], fair.t1[~fair.failed])


def t2prep_noise(
    images: NDArray[np.float32], times_ms: NDArray[np.float64], *, clean: float = CLEAN
) -> Noise | None:
    """Return the noise of the magnitudes ``(n, pixels)`` of a region of T2-prepared images.

    Args:
        images: as of :func:`molli_noise`.
        times_ms: preparation times, ms ``(n,)``.
        clean: as of :func:`molli_noise`.

    Returns:
        None with fewer than three images, or where the fit fails in most pixels.
    """
    if len(images) < 3:
        return None
    images = _some(images)
    fit = fit_t2prep(images, times_ms)
    fitted = ~fit.failed
    if fitted.mean() <= 0.5:
        return None
    c, t2 = fit.c[fitted], fit.t2[fitted]
    sigma = _standard_deviation(images[:, fitted] / c - np.exp(-times_ms[:, None] / t2), parameters=2)
    if sigma * clean <= 1.0:
        return _noise(sigma)
    magnitude, channel = _draws(np.exp(-times_ms / float(np.median(t2))), sigma)
    biased, fair = fit_t2prep(magnitude, times_ms), fit_t2prep(channel, times_ms)
    return _noise(sigma, biased.t2[~biased.failed], fair.t2[~fair.failed])


def _some(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return at most some 500 of the pixels, evenly taken."""
    return images[:, :: max(images.shape[1] // _MOST_PIXELS, 1)]


def _standard_deviation(residuals: Floats, *, parameters: int) -> float:
    """Return the standard deviation of the noise from the residuals ``(n, pixels)`` of a fit.

    The median over the region of each image is removed first: what all pixels have in common is not noise but
    a signal that the model does not describe. The median over pixels leaves out borders and vessels.
    """
    own = residuals - np.median(residuals, axis=1, keepdims=True)
    free = len(residuals) - parameters
    # Median of chi squared: Wilson and Hilferty 1931.
    usual = free * (1.0 - 2.0 / (9.0 * free)) ** 3
    return float(np.sqrt(np.median(np.square(own).sum(axis=0)) / usual))


def _odd_image(residuals: Floats) -> int | None:
    """Return the number of the image whose residuals ``(n, pixels)`` vary most, if it is odd."""
    own = np.abs(residuals - np.median(residuals, axis=1, keepdims=True))
    spread = np.median(own, axis=1)
    most = int(spread.argmax())
    usual = max(_UNEVEN * float(np.median(np.delete(spread, most))), _LEAST)
    return most if len(spread) >= _FEWEST and spread[most] > usual else None


def _draws(clean: Floats, sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return magnitudes with Rician noise and the channel along the signal alone, ``(n, draws)`` each.

    Both have the same noise along the signal, so that their difference is the bias and not the draw.
    """
    along, across = sigma * np.random.default_rng(0).standard_normal((2, len(clean), _DRAWS), np.float32)
    channel = clean[:, None] + along
    return np.hypot(channel, across).astype(np.float32), channel.astype(np.float32)


def _noise(sigma: float, biased: Floats | None = None, fair: Floats | None = None) -> Noise | None:
    """Return the noise of a standard deviation relative to the signal; None where no draw can be fitted."""
    snr = 1.0 / max(sigma, _SMALLEST)
    if biased is None or fair is None:
        return Noise(snr, 0.0)
    if not (len(biased) and len(fair)):
        return None
    return Noise(snr, float(np.median(biased) / np.median(fair)) - 1.0)
