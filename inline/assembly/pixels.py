"""Pixel values of mapping images: stated scales, signs, units of maps, images scaled one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.data.series import TISSUE_MS, Quantity
from inline.elements.scale import Scale
from inline.mrd.image_header import ImageType
from inline.mrd.messages import Image
from model.relaxometry.brightness import FAR, bright

UNITS: Final = {1.0: "ms", 1000.0: "s", 0.1: "0.1 ms", 0.001: "µs"}
"""Units of maps by their size, ms, in the order in which they are tried."""
_LARGEST_LABEL: Final = 8
_ALIKE: Final = 0.05
"""Spread of the 99th percentiles of images that were each scaled by its own: bins of a histogram."""
_EQUAL: Final = 0.005
"""Spread of means, standard deviations or maxima that images were each scaled by: rounding."""
_FEWEST: Final = 0.1
"""Share of pixels that are finite in all images below which these are not compared: a corner of air, whose
noise is equally bright in each."""
_LIMITED: Final = 1.5
"""Ratio of the largest to the smallest share of clipped pixels from which one limit clipped all images: where
each is clipped at its own percentile, the shares are equal."""
_LIKE_ITS_NEIGHBOURS: Final = 0.5
"""Median around the brightest pixel, as a share of it, from which it is tissue and no spike."""

_HALF: Final = 1 << 14
"""Half of the range of positive numbers of 16 bits."""
_NEGATIVE: Final = 0.1
"""Size of a negative value, as a share of bright tissue, above which it shows a sign: interpolation of
magnitudes leaves smaller ones at borders."""
_SIGNED: Final = 0.01
"""Share of the pixels of an image, without those of 0, that show a sign in signed images. At the shortest
inversion times all muscle does; where fewer do, a fit that restores the polarity is right too."""


def values(image: Image, scale: Scale | None, *, signed: bool) -> NDArray[np.float32]:
    """Return the values of a 2D image ``(rows, columns)``: scaled, and as magnitudes unless ``signed``.

    Complex pixels become magnitudes before they are scaled.
    """
    pixels = image.pixels[0, 0]
    # An out-of-range double becomes infinite, which is flagged further on.
    with np.errstate(over="ignore", invalid="ignore"):
        real: NDArray[np.float32] = (np.abs(pixels) if np.iscomplexobj(pixels) else pixels).astype(np.float32)
        if scale is not None and scale != Scale():
            real = real * np.float32(scale.slope) + np.float32(scale.intercept)
        return real if signed else np.absolute(real)


def wrapped(images: Sequence[Image]) -> bool:
    """Return whether unsigned magnitudes above 32,767 were sent as signed numbers of 16 bits.

    One image then has values from both ends; signed images have each at other inversion times.
    """
    stored = [each.pixels for each in images if each.header.image_type != ImageType.REAL]
    signed = [each for each in stored if each.dtype == np.int16]
    return any(each.min() < -_HALF and each.max() > _HALF for each in signed)


def has_sign(images: NDArray[np.float32]) -> bool:
    """Return whether images ``(n, rows, columns)`` have a sign: some senders call magnitudes REAL."""
    finite = np.where(np.isfinite(images), images, np.float32(0.0))
    magnitudes = np.abs(finite[finite != 0.0])
    if not magnitudes.size:
        return False
    negative = (finite < -_NEGATIVE * bright(magnitudes)).sum(axis=(1, 2))
    return bool((negative > _SIGNED * (finite != 0.0).sum(axis=(1, 2))).any())


def scaled_one_by_one(images: NDArray[np.float32]) -> bool:
    """Return whether each image ``(n, rows, columns)`` seems to have been scaled for itself.

    Contrast changes from image to image, and with it the brightest tissue, the mean and the spread. Whatever
    scales each image by its own histogram removes that: Gadgetron's AutoScaleGadget (99 % of the pixels
    below a fixed value), or scripts that divide by the largest value, the mean or the standard deviation.
    """
    finite = np.isfinite(images).all(axis=0)
    if len(images) < 3 or finite.mean() < _FEWEST:
        return False
    every, few = (each.reshape(len(images), -1) for each in (images, images[:, ::2, ::2]))
    if not finite.all():  # Scanners mask air by NaN.
        every = few = every[:, finite.ravel()]
    brightest = np.array([bright(each, 0.99) for each in np.abs(few)])
    every = np.abs(every, dtype=np.float64)
    largest = every.max(axis=1)
    # Pixels of all images that are clipped have one value too; scaled to its largest, an image has one such.
    at_largest = every >= largest[:, None] * (1.0 - _EQUAL)
    one_each = bool((at_largest.sum(axis=1) <= 2).all())
    limited = bool((brightest >= largest * (1.0 - _EQUAL)).all()) and _limited(every, at_largest)
    every = np.minimum(every, FAR * brightest[:, None])
    measures = [(every.mean(axis=1), _EQUAL), (every.std(axis=1), _EQUAL)]
    measures += [] if limited else [(brightest, _ALIKE)]
    if any(_alike(*each) for each in measures):
        return True
    return one_each and _alike(largest, _EQUAL) and not any(map(_is_spike, np.where(finite, images, 0.0)))


def _limited(images: NDArray[np.floating[Any]], at_largest: NDArray[np.bool_]) -> bool:
    """Return whether one limit clipped all images ``(n, pixels)``, and not each its own percentile.

    The pixels with the largest value of one image then are more than those of another, in which they differ:
    they are of several tissues.

    Args:
        images: magnitudes.
        at_largest: the pixels have the largest value of their image.
    """
    shares = at_largest.sum(axis=1)
    most, fewest = shares.argmax(), shares.argmin()
    low, high = np.quantile(images[fewest, at_largest[most]], (0.05, 0.95))
    limit = images.max(axis=1)
    return bool(
        _alike(limit, _EQUAL) and shares[most] > _LIMITED * shares[fewest] and high - low > _ALIKE * high
    )


def _alike(measure: NDArray[np.floating[Any]], share: float) -> bool:
    """Return whether a measure of each image spreads by less than a share of its mean."""
    return bool(measure.min() > 0 and np.ptp(measure) < share * measure.mean())


def _is_spike(image: NDArray[np.floating[Any]]) -> bool:
    """Return whether the brightest pixel ``(rows, columns)`` is a spike or a marker, and no tissue."""
    row, column = np.unravel_index(np.abs(image).argmax(), image.shape)
    around = np.abs(image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2])
    return bool(np.median(around) < _LIKE_ITS_NEIGHBOURS * around.max())


def are_labels(image: Image) -> bool:
    """Return whether the pixels are those of a mask or of labels: small whole numbers alone."""
    return bool(np.isin(image.pixels, np.arange(_LARGEST_LABEL + 1)).all())


def map_unit(values: NDArray[np.float32], quantity: Quantity) -> tuple[str, float]:
    """Return the unit in which a map's values are plausible, and its size in ms.

    The median of the positive values in the middle of the image decides; ``ms`` where that is plausible, or
    where no other unit makes it so.
    """
    rows, columns = values.shape
    middle = values[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    found = middle[np.isfinite(middle) & (middle > 0)]
    if not len(found):
        return "ms", 1.0
    median = float(np.median(found))
    low, high = TISSUE_MS[quantity]
    for size, unit in UNITS.items():
        if low <= median * size <= high:
            return unit, size
    return "ms", 1.0
