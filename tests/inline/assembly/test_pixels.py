import cv2
import numpy as np
import pytest

from inline.assembly.pixels import has_sign, map_unit, scaled_one_by_one, values
from inline.data.series import Quantity
from inline.elements.scale import Scale
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from model.synthesis.contrast_agent import ContrastAgent
from model.synthesis.examination import simulate_slice


def image(value, dtype):
    return Image.from_pixels(np.full((1, 1, 8, 8), value, dtype), ImageHeader())


@pytest.mark.parametrize(
    ("value", "dtype", "scale", "signed", "expected"),
    [
        (-300, np.int16, None, False, 300.0),
        (-300, np.int16, None, True, -300.0),
        (3796, np.uint16, Scale(1.0, -4096.0), True, -300.0),
        (3796, np.uint16, Scale(1.0, -4096.0), False, 300.0),
        (150, np.uint16, Scale(2.0, 0.0), False, 300.0),
        (3 - 4j, np.complex64, None, False, 5.0),
        (1e300, np.float64, None, False, np.inf),
    ],
)
def test_values_are_scaled_before_they_become_magnitudes(value, dtype, scale, signed, expected):
    assert values(image(value, dtype), scale, signed=signed)[0, 0] == expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["molli", "t2prep"])
def test_images_scaled_to_their_own_histogram_are_told_from_others(seed, kind):
    images = getattr(simulate_slice(seed, size=128), kind)
    assert not scaled_one_by_one(images)
    each = np.percentile(images, 99, axis=(1, 2), keepdims=True)
    assert scaled_one_by_one(np.clip(np.round(images * 2048.0 / each), 0, 4095).astype(np.float32))


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_images_of_one_scale_that_are_clipped_at_a_limit_are_not_scaled_one_by_one(share):
    """The limit makes their 99th percentiles equal. A script may clip each at its own percentile, too."""
    images = simulate_slice(1, size=128).t2prep
    limit = share * np.percentile(images[-1], 99)
    assert not scaled_one_by_one(np.minimum(images, limit))
    each = np.percentile(images, 98, axis=(1, 2), keepdims=True)
    assert scaled_one_by_one(np.round(np.minimum(images / each, 1.0) * 255.0).astype(np.float32))


@pytest.mark.parametrize(("around", "is_scaled"), [(0.4, False), (0.6, True)])
def test_the_brightest_pixel_is_tissue_where_those_around_it_are_half_as_bright(around, is_scaled):
    """Images that were divided by their largest value have that in common; a spike may be a marker."""
    images = simulate_slice(1, size=128).molli.copy()
    peak = 1.05 * images.max()
    images[:, :3, :3] = around * peak
    images[:, 1, 1] = peak
    assert scaled_one_by_one(images) is is_scaled


@pytest.mark.parametrize(("first", "is_scaled"), [(97.2, True), (96.4, False)])
def test_shares_of_clipped_pixels_that_differ_little_are_those_of_percentiles(first, is_scaled):
    """Of the first image, 1.35 times as many pixels are clipped as of another, or twice as many."""
    images = simulate_slice(1, size=128).t2prep
    shares = [first] + [98.0] * (len(images) - 1)
    each = np.array([np.percentile(one, share) for one, share in zip(images, shares, strict=True)])
    clipped = np.minimum(images / each[:, None, None], 1.0) * 255.0
    assert scaled_one_by_one(clipped.astype(np.float32)) is is_scaled


@pytest.mark.parametrize("measure", [np.mean, np.std, np.max])
@pytest.mark.parametrize("kind", ["molli", "t2prep"])
def test_images_divided_by_a_measure_of_each_are_told_from_others(kind, measure):
    images = getattr(simulate_slice(1, size=128), kind)
    each = np.array([measure(one) for one in images])[:, None, None]
    assert scaled_one_by_one(np.round(images * (3000.0 if measure is np.max else 500.0) / each))


def automatic(images):
    """Gadgetron's AutoScaleGadget, without its rounding."""
    each = np.nanpercentile(images, 99, axis=(1, 2), keepdims=True)
    return np.clip(images * (2048.0 / each), 0, 4095).astype(np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["molli", "t2prep"])
def test_a_pixel_that_is_not_finite_hides_no_scale(kind, value):
    images = getattr(simulate_slice(1, size=128), kind)
    scaled = automatic(images)
    for made in (images, scaled):
        made[0, 5, 5] = value
    assert not scaled_one_by_one(images)
    assert scaled_one_by_one(scaled)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["molli", "t2prep"])
def test_images_with_air_masked_by_nan(seed, kind):
    made = simulate_slice(seed, size=128)
    images = getattr(made, kind)
    masked = np.where(made.t1_ms > np.median(made.t1_ms), images, np.float32(np.nan))
    assert np.isnan(masked).mean() > 0.4
    assert not scaled_one_by_one(masked)
    assert scaled_one_by_one(automatic(masked))


def test_few_finite_pixels_are_not_compared():
    """A corner of air, whose noise is equally bright in all images."""
    noise = np.abs(np.random.default_rng(1).standard_normal((2, 8, 128, 128))).max(axis=0)
    air = np.full((8, 128, 128), np.nan, np.float32)
    air[:, :32, :32] = noise[:, :32, :32]
    assert not scaled_one_by_one(air)
    assert not scaled_one_by_one(np.full((8, 128, 128), np.nan, np.float32))


@pytest.mark.parametrize("kind", ["molli", "t2prep"])
@pytest.mark.parametrize("share", [1.05, 3.0, 1e6])
def test_one_constant_pixel_is_no_scale(kind, share):
    """A marker in the corner, or the spike of an offset in the middle."""
    images = getattr(simulate_slice(1, size=128), kind).copy()
    images[:, 0, 0] = share * images.max()
    assert not scaled_one_by_one(images)


def test_clipped_images_are_not_called_scaled():
    images = simulate_slice(1, size=128).molli.copy()
    images[:, 60:63, 60:63] = 4095.0
    assert not scaled_one_by_one(images)


def test_empty_and_infinite_images_are_not_called_scaled():
    assert not scaled_one_by_one(np.zeros((8, 16, 16), np.float32))
    assert not scaled_one_by_one(np.full((8, 16, 16), np.inf, np.float32))
    largest = np.float32(3e38) * np.linspace(0.1, 1.0, 8, dtype=np.float32)
    assert not scaled_one_by_one(np.broadcast_to(largest[:, None, None], (8, 16, 16)))


@pytest.mark.parametrize("agent", [None, ContrastAgent(blood_t1_ms=350.0, haematocrit=0.42, ecv=0.27)])
def test_signed_images_are_told_from_magnitudes(agent):
    made = simulate_slice(2, size=128, agent=agent)
    magnitudes = made.molli
    for value in (-1.0, -4095.0, -np.inf, np.nan):
        magnitudes[3, 5, 5] = value
        assert not has_sign(magnitudes)
    blurred = np.stack([cv2.resize(each, (192, 192), interpolation=cv2.INTER_CUBIC) for each in made.molli])
    assert (blurred < 0.0).any()
    assert not has_sign(blurred)
    # A perfect inversion, and the same inverted as a whole.
    recovered = 1.0 - 2.0 * np.exp(-made.inversion_times_ms[:, None, None] / made.t1_ms)
    assert has_sign((1000.0 * recovered).astype(np.float32))
    assert has_sign((-1000.0 * recovered).astype(np.float32))
    assert not has_sign(np.zeros((8, 16, 16), np.float32))


@pytest.mark.parametrize(
    ("median", "quantity", "unit"),
    [
        (950.0, Quantity.T1, "ms"),
        (0.95, Quantity.T1, "s"),
        (9500.0, Quantity.T1, "0.1 ms"),
        (950_000.0, Quantity.T1, "µs"),
        (48.0, Quantity.T2, "ms"),
        (480.0, Quantity.T2, "0.1 ms"),
        (0.048, Quantity.T2, "s"),
        (0.0, Quantity.T1, "ms"),
        (1e12, Quantity.T1, "ms"),
        (np.nan, Quantity.T2, "ms"),
    ],
)
def test_units_of_maps(median, quantity, unit):
    assert map_unit(np.full((32, 32), median, np.float32), quantity)[0] == unit
