from dataclasses import replace

import numpy as np
import pytest

from inline.contouring.plausibility import (
    TISSUE_MS,
    check_values,
    check_wall,
    clipped,
    coarse,
    noisy,
    noisy_parts,
    poor_fit,
)
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import RegionValues
from inline.data.series import MappingSeries, Quantity, SeriesIdentity
from model.relaxometry.noise import molli_noise
from model.relaxometry.parametric_map import ParametricMap

SHAPE = (32, 32)


def made(values, *, sd=0.0, failed=False):
    values = np.broadcast_to(np.float32(values), SHAPE).copy()
    broken = np.broadcast_to(failed, SHAPE).copy()
    deviation = np.broadcast_to(np.float32(sd), SHAPE).copy()
    return ParametricMap(np.where(broken, np.float32(0), values), deviation, np.ones_like(values), broken)


def region(median, name="global"):
    return RegionValues(name, median, median, median, median, 0.0, 0 if median is None else 100)


def flags(*arguments, **more):
    return [flag for flag, _ in check_values(*arguments, **{"scanner_made": False, **more})]


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize(("factor", "outside"), [(0.99, True), (1.01, False)])
def test_a_median_outside_what_tissue_can_have(quantity, factor, outside):
    low, high = TISSUE_MS[quantity]
    expected = [Flag.IMPLAUSIBLE_VALUES] if outside else []
    assert flags(made(low), quantity, [region(low * factor)]) == expected
    assert flags(made(low), quantity, [region(high / factor)]) == expected


def test_limits():
    assert TISSUE_MS == {Quantity.T1: (150.0, 3000.0), Quantity.T2: (10.0, 300.0)}


def test_the_sentence_names_value_limits_and_what_to_check():
    ((_, fitted),) = check_values(made(9500), Quantity.T1, [region(9500.0)], scanner_made=False)
    assert "global 9500 ms" in fitted
    assert "150 to 3000 ms" in fitted
    assert "inversion times" in fitted
    ((_, scanner),) = check_values(made(480), Quantity.T2, [region(480.0)], scanner_made=True)
    assert "assembly.t2_map_scale" in scanner


def test_a_segment_alone_can_be_implausible():
    regions = [region(950.0), region(3500.0, "AHA 5 basal inferolateral"), region(None, "AHA 6")]
    ((flag, sentence),) = check_values(made(950), Quantity.T1, regions, scanner_made=False)
    assert flag is Flag.IMPLAUSIBLE_VALUES
    assert "AHA 5 basal inferolateral 3500 ms" in sentence
    assert "global" not in sentence


def test_a_ring_without_values():
    ((flag, sentence),) = check_values(made(950), Quantity.T1, [region(None)], scanner_made=False)
    assert flag is Flag.NO_VALUES
    assert "contours" in sentence


@pytest.mark.parametrize("regions", [[], [region(None)]])
@pytest.mark.parametrize("scanner_made", [False, True])
def test_an_empty_map(regions, scanner_made):
    nothing = made(0.0, failed=scanner_made is False)
    ((flag, sentence),) = check_values(nothing, Quantity.T2, regions, scanner_made=scanner_made)
    assert flag is Flag.EMPTY_MAP
    assert "check" in sentence
    assert ("assembly.t2_map_scale" in sentence) is scanner_made


@pytest.mark.parametrize(("value", "expected"), [(0.95, [Flag.IMPLAUSIBLE_VALUES]), (950.0, [])])
def test_without_a_contour_the_map_is_checked(value, expected):
    assert flags(made(value), Quantity.T1, []) == expected


def test_without_a_contour_pixels_of_an_unsure_fit_do_not_count():
    air = np.arange(32) < 24
    mixed = made(np.where(air, 5000.0, 950.0), sd=np.where(air, 4000.0, 10.0))
    assert flags(mixed, Quantity.T1, []) == []


@pytest.mark.parametrize(("columns", "empty"), [(1, True), (4, False)])
def test_a_map_of_which_hardly_a_pixel_is_sure_is_empty(columns, empty):
    """As the fit of a saturation recovery with noise: a few pixels have values that mean nothing."""
    sure = np.arange(32) < columns
    mixed = made(950.0, sd=np.where(sure, 10.0, 900.0))
    assert flags(mixed, Quantity.T1, []) == ([Flag.EMPTY_MAP] if empty else [])
    assert flags(mixed, Quantity.T1, [region(None)]) == ([Flag.EMPTY_MAP] if empty else [Flag.NO_VALUES])
    assert flags(mixed, Quantity.T1, [region(950.0)]) == []
    few = made(np.where(sure, 950.0, 0.0))
    assert flags(few, Quantity.T1, [], scanner_made=True) == []


@pytest.mark.parametrize(("r_squared", "poor"), [(0.2, True), (0.89, True), (0.91, False), (1.0, False)])
def test_the_median_r_squared_of_the_myocardium_decides_on_a_poor_fit(r_squared, poor):
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9], labels[9:20] = 2, 1
    everywhere = np.where(labels == 2, r_squared, 0.95).astype(np.float32)
    everywhere[4, :15] = 0.0  # a few pixels do not
    fitted = replace(made(950.0), r_squared=everywhere)
    assert poor_fit(fitted, labels) is poor
    assert not poor_fit(fitted, np.where(labels == 2, 1, 0).astype(np.uint8))


@pytest.mark.parametrize(("share", "poor"), [(0.19, False), (0.21, True)])
def test_a_fit_that_failed_in_a_fifth_of_the_myocardium_is_poor(share, poor):
    labels = np.full((10, 100), 2, np.uint8)
    failed = np.zeros((10, 100), bool)
    failed.flat[: round(share * failed.size)] = True
    ones = np.ones((10, 100), np.float32)
    assert poor_fit(ParametricMap(950.0 * ones, 0.0 * ones, ones, failed), labels) is poor
    scanner = ParametricMap.of_values(np.where(failed, np.float32(0.0), 950.0 * ones))
    assert poor_fit(scanner, labels, scanner_made=True) is poor


@pytest.mark.parametrize(
    ("quantity", "wall", "cavity", "wrong"),
    [
        (Quantity.T1, 320.0, 1050.0, True),  # fat around an apex that is taken for the cavity
        (Quantity.T1, 420.0, 750.0, True),
        (Quantity.T1, 510.0, 1500.0, False),  # iron
        (Quantity.T1, 400.0, 330.0, False),  # after contrast agent
        (Quantity.T1, 120.0, 1500.0, False),  # flagged by check_values
        (Quantity.T2, 95.0, 150.0, True),
        (Quantity.T2, 60.0, 55.0, True),
        (Quantity.T2, 50.0, 55.0, False),
        (Quantity.T2, 70.0, 180.0, False),  # oedema
    ],
)
def test_a_wall_of_fat_is_implausible(quantity, wall, cavity, wrong):
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 8:24], labels[12:20, 12:20] = 2, 1
    parametric = made(np.where(labels == 1, cavity, wall))
    found = check_wall(parametric, quantity, labels, [region(wall)])
    assert [flag for flag, _ in found] == [Flag.IMPLAUSIBLE_VALUES] * wrong
    for _, sentence in found:
        assert f"{wall:.0f} ms" in sentence
        assert f"{cavity:.0f} ms" in sentence


@pytest.mark.parametrize(
    ("quantity", "ring", "part", "cavity", "pixels", "wrong"),
    [
        (Quantity.T1, 930.0, 289.0, 1560.0, 42, True),
        (Quantity.T1, 930.0, 289.0, 906.0, 42, True),  # a lesion that is taken for the cavity
        (Quantity.T1, 930.0, 289.0, 1560.0, 19, False),  # a few pixels decide nothing
        (Quantity.T1, 930.0, 520.0, 1560.0, 42, False),
        (Quantity.T1, 520.0, 490.0, 1600.0, 42, False),  # iron
        (Quantity.T1, 430.0, 289.0, 330.0, 42, False),  # a scar after contrast agent
        (Quantity.T1, 850.0, 480.0, 720.0, 42, False),  # after little contrast agent
        (Quantity.T1, 930.0, None, 1560.0, 0, False),
        (Quantity.T2, 52.0, 105.0, 180.0, 42, True),
        (Quantity.T2, 52.0, 95.0, 180.0, 42, False),  # oedema
        (Quantity.T2, 45.0, 76.0, 75.0, 42, False),  # oedema, after contrast agent
    ],
)
def test_a_part_of_fat_is_implausible_and_named(quantity, ring, part, cavity, pixels, wrong):
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 8:24], labels[12:20, 12:20] = 2, 1
    inferolateral = replace(region(part, "AHA 11 mid inferolateral"), pixels=pixels)
    found = check_wall(
        made(np.where(labels == 1, cavity, ring)),
        quantity,
        labels,
        [region(ring), region(ring, "AHA 7 mid anterior"), inferolateral],
    )
    assert [flag for flag, _ in found] == [Flag.IMPLAUSIBLE_VALUES] * wrong
    for _, sentence in found:
        assert f"Median {quantity} of AHA 11 mid inferolateral is {part:.0f} ms beside a cavity" in sentence
        assert "AHA 7" not in sentence


def test_a_small_ring_of_fat_is_judged_and_named_alone():
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 8:24], labels[12:20, 12:20] = 2, 1
    regions = [replace(region(320.0), pixels=12), region(310.0, "AHA 13 apical anterior")]
    ((_, sentence),) = check_wall(made(np.where(labels == 1, 1500, 320)), Quantity.T1, labels, regions)
    assert "of the wall is 320 ms" in sentence
    assert "AHA" not in sentence


def test_no_wall_or_no_certain_cavity_is_no_fat():
    labels = np.ones(SHAPE, np.uint8)
    assert check_wall(made(95.0), Quantity.T2, labels, ()) == []
    assert check_wall(made(95.0), Quantity.T2, labels, [region(None)]) == []
    noise = replace(made(95.0, sd=90.0), r_squared=np.zeros(SHAPE, np.float32))
    assert check_wall(noise, Quantity.T2, labels, [region(95.0)]) == []


def heart(quantity, times_ms, relaxation_ms, gain, *, noise=10.0):
    """Wall and cavity of one relaxation time each, in 12 bits: what is brighter than 4095 is clipped."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:24, 8:24], labels[12:20, 12:20] = 2, 1
    wall, blood = (relaxation_ms[place] for place in (0, 1))
    relaxation = np.select([labels == 2, labels == 1], [wall, blood], default=40.0)
    times = np.asarray(times_ms, np.float64)
    if quantity is Quantity.T2:
        signal = np.exp(-times[:, None, None] / relaxation)
    else:
        signal = 1.0 - 1.85 * np.exp(-times[:, None, None] * 0.85 / relaxation)
    density = np.select([labels == 2, labels == 1], [1.0, 1.05], default=0.3)
    images = gain * density * signal
    images += np.random.default_rng(1).normal(0.0, noise, images.shape) if noise else 0.0
    stored = np.clip(np.rint(np.abs(images)), 0, 4095).astype(np.float32)
    geometry = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), SHAPE)
    return MappingSeries(quantity, stored, times, geometry, SeriesIdentity(1, 0)), labels


T2_TIMES, T1_TIMES = (0.0, 25.0, 55.0), (100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0)


@pytest.mark.parametrize(
    ("quantity", "gain", "parts"),
    [
        (Quantity.T2, 3000.0, ()),
        (Quantity.T2, 4050.0, ()),  # the blood alone, whose T2 is no value
        (Quantity.T2, 4300.0, ("myocardium",)),
        (Quantity.T1, 3000.0, ()),
        (Quantity.T1, 4050.0, ("blood",)),
        (Quantity.T1, 4600.0, ("myocardium", "blood")),
    ],
)
def test_clipped_pixels_of_myocardium_and_of_blood_whose_t1_counts(quantity, gain, parts):
    times, relaxation = (T2_TIMES, (46.0, 160.0)) if quantity is Quantity.T2 else (T1_TIMES, (480.0, 330.0))
    found = clipped(*heart(quantity, times, relaxation, gain))
    assert [flag for flag, _ in found] == [Flag.CLIPPED_IMAGES] * bool(parts)
    for part in ("myocardium", "blood"):
        assert any(f"of the {part} in" in sentence for _, sentence in found) is (part in parts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 60_000.0])
@pytest.mark.parametrize("place", [(0, 0), (9, 9)], ids=["air", "wall"])
@pytest.mark.parametrize("image", [0, -1])
def test_single_pixels_hide_no_clipped_images(value, place, image):
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 160.0), 4600.0)
    ((_, expected),) = clipped(series, labels)
    series.images[image, *place] = value
    ((flag, sentence),) = clipped(series, labels)
    assert flag is Flag.CLIPPED_IMAGES
    assert sentence.split(":")[0] == expected.split(":")[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_equal_pixels_are_not_clipped_beside_one_that_is_not_finite(value):
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 46.0), 3000.0, noise=0.0)
    series.images[-1, 14, 14] = value
    assert clipped(series, np.where(labels == 1, 2, 0).astype(np.uint8)) == ()


def test_images_without_finite_pixels_are_not_clipped():
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 160.0), 3000.0)
    series.images[1] = np.nan
    assert clipped(series, labels) == ()
    series.images[:] = np.inf
    assert clipped(series, labels) == ()


def test_equal_pixels_without_noise_and_black_images_are_not_clipped():
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 46.0), 3000.0, noise=0.0)
    assert (series.images[0][labels == 1] == series.images[0].max()).all()
    assert clipped(series, np.where(labels == 1, 2, 0).astype(np.uint8)) == ()
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 160.0), 3000.0)
    series.images[1] = 0.0
    assert clipped(series, labels) == ()


@pytest.mark.parametrize(
    ("quantity", "snr", "flagged"),
    [
        (Quantity.T1, 25.0, False),
        (Quantity.T1, 8.5, True),
        (Quantity.T1, 5.0, True),
        (Quantity.T2, 25.0, False),
        (Quantity.T2, 16.0, False),  # 1.5 %
        (Quantity.T2, 9.0, True),
    ],
)
def test_noise_that_changes_the_median_is_flagged(quantity, snr, flagged):
    times, relaxation = (T2_TIMES, (40.0, 160.0)) if quantity is Quantity.T2 else (T1_TIMES, (1400.0, 1700.0))
    series, labels = heart(quantity, times, relaxation, 1000.0, noise=0.0)
    along, across = np.random.default_rng(4).normal(0.0, 1000.0 / snr, (2, *series.images.shape))
    noise = replace(series, images=np.hypot(series.images + along, across).astype(np.float32))
    found = noisy(noise, labels)
    assert [flag for flag, _ in found] == [Flag.NOISY_IMAGES] * flagged
    for _, sentence in found:
        assert f"{quantity} of magnitudes" in sentence
        assert f"too {'short' if quantity is Quantity.T1 else 'long'}" in sentence
    assert noisy(replace(noise, signed=True), labels) == ()
    assert noisy(noise, np.zeros_like(labels)) == ()
    assert noisy(noise, labels, series.images) == ()  # the map is that of other images


def rician(series, snr, seed=4):
    """The series of a signal of 1000 with the noise of magnitudes."""
    along, across = np.random.default_rng(seed).normal(0.0, 1000.0 / snr, (2, *series.images.shape))
    return replace(series, images=np.hypot(series.images + along, across).astype(np.float32))


def test_much_noise_is_flagged_where_its_biases_cancel_too():
    """T1 of 700 ms: noise raises the signal near the null and after it alike."""
    clean, labels = heart(Quantity.T1, T1_TIMES, (700.0, 1700.0), 1000.0, noise=0.0)
    made = rician(clean, 6.0)
    wall = molli_noise(made.images[:, labels == 2], made.times_ms)
    assert wall.snr < 8.0
    assert abs(wall.bias) < 0.012
    ((flag, sentence),) = noisy(made, labels)
    assert flag is Flag.NOISY_IMAGES
    assert "may make T1 of magnitudes wrong by some percent" in sentence


@pytest.mark.parametrize("quantity", Quantity)
def test_a_part_near_the_noise_is_named_and_signed_images_have_none(quantity):
    times = T2_TIMES if quantity is Quantity.T2 else T1_TIMES
    clean, labels = heart(
        quantity, times, (40.0 if quantity is Quantity.T2 else 1400.0, 1700.0), 1000.0, noise=0.0
    )
    made = rician(clean, 60.0)
    made.images[:, :, :16] = rician(clean, 5.0).images[:, :, :16]
    left, right, few = np.zeros((3, *SHAPE), bool)
    left[:, :16], right[:, 16:], few[8:12, 8:12] = True, True, True
    parts = {"left": left, "right": right, "few": few}
    pixels = {name: (part & (labels == 2)).nonzero() for name, part in parts.items()}
    ((flag, sentence),) = noisy_parts(made, pixels)
    assert flag is Flag.NOISY_IMAGES
    assert "(left)" in sentence
    assert noisy_parts(replace(made, signed=True), pixels) == ()
    assert noisy_parts(made, pixels, clean.images) == ()  # the map is that of other images


@pytest.mark.parametrize("quantity", [Quantity.T1, Quantity.T2])
@pytest.mark.parametrize(("levels", "flagged"), [(6, True), (15, True), (60, False), (1000, False)])
def test_few_grey_levels_in_the_myocardium_are_flagged(quantity, levels, flagged):
    times, relaxation = (T2_TIMES, (46.0, 160.0)) if quantity is Quantity.T2 else (T1_TIMES, (1050.0, 1600.0))
    series, labels = heart(quantity, times, relaxation, levels, noise=levels / 40.0)
    found = coarse(series, labels)
    assert [flag for flag, _ in found] == [Flag.NOISY_IMAGES] * flagged
    assert all(f"{quantity} wrong" in sentence for _, sentence in found)
    # As whole numbers read with a scale and an offset.
    scaled = replace(series, images=(series.images * np.float32(0.37) + np.float32(8.1)))
    assert len(coarse(scaled, labels)) == flagged
    series.images[0, 9, 9] = 60_000.0
    assert len(coarse(series, labels)) == flagged
    assert coarse(series, np.zeros_like(labels)) == ()


def test_few_values_of_many_grey_levels_are_not_few_levels():
    """Two tissues of neighbouring whole numbers in each image: all values lie on steps of 1."""
    series, labels = heart(Quantity.T2, T2_TIMES, (46.0, 160.0), 1000.0, noise=0.0)
    series.images[:, 8:24, 16:] += 1.0
    assert len(np.unique(series.images[:, labels == 2])) == 6
    assert coarse(series, labels) == ()


def test_equal_tissue_without_noise_has_no_few_levels():
    for quantity, times in ((Quantity.T1, T1_TIMES), (Quantity.T2, T2_TIMES)):
        series, labels = heart(quantity, times, (480.0, 330.0), 3000.0, noise=0.0)
        assert coarse(series, labels) == ()
        assert coarse(replace(series, images=np.full_like(series.images, np.nan)), labels) == ()
