"""Motion correction against known motion: simulated breathing, and an analytic phantom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.motion import MovingSeries, wall_median
from model.motion.correction import correct_motion
from model.motion.signal_models import MolliModel, T2PrepModel
from model.motion.state import MotionState
from model.synthesis.contrast_agent import ContrastAgent
from model.synthesis.examination import simulate_slice

from .phantom import T1_TIMES, T2_TIMES, molli, molli_with_fat, simulated, t2prep, tissues

SPACING = (1.5, 1.5)
REST = [(0.0, 0.0)] * 8


def corrected(images, times, model=None, spacing=SPACING):
    model = model or MolliModel()
    return correct_motion(images, times, spacing, model, model.map(images, times))


def at_heart(found, spacing=SPACING):
    """Displacement that corrects each image in the wall of the phantom, less the mean, mm ``(n, 2)``."""
    displaced = found.displaced()
    y, x = np.indices(displaced.shape[1:3])
    radius = np.hypot((x - x.mean()) * spacing[0], (y - y.mean()) * spacing[1])
    wall = displaced[:, (radius > 20.0) & (radius < 36.0)]
    middle = np.median(wall, axis=1) * spacing
    return middle - middle.mean(axis=0)


@pytest.mark.parametrize("quantity", ["T1", "T2"])
@pytest.mark.parametrize("seed", [41, 42, 43])
def test_images_at_rest_keep_their_map(seed, quantity):
    series = simulated(seed, quantity)
    given_map = series.fit()
    copy = given_map.values_ms.copy()
    found = series.correct(given_map)
    assert found.state is MotionState.STILL
    assert found.parametric is given_map
    assert np.array_equal(copy, given_map.values_ms)
    assert found.displaced() is None
    assert (found.residual_mm, found.r_squared_after) == (None, None)


def test_noise_of_t1_images_at_rest_is_no_motion():
    """One of them was flagged as moved."""
    states = [
        MovingSeries.of(simulate_slice(seed, size=160, level=0.4, snr=20.0), "T1")
        for seed in range(995000, 995008)
    ]
    assert [each.correct(each.fit()).state for each in states] == [MotionState.STILL] * 8


@pytest.mark.parametrize("seed", [42, 44])
def test_images_near_the_null_of_the_wall_are_no_motion(seed):
    """Magnitudes of both sides of 0 share pixels there: half of such slices were flagged."""
    agent = ContrastAgent(blood_t1_ms=330.0, haematocrit=0.42, ecv=0.27)
    made = simulate_slice(seed, size=160, scheme="4(1)3(1)2", level=0.4, usual=True, agent=agent)
    series = MovingSeries.of(made, "T1")
    given_map = series.fit()
    found = series.correct(given_map)
    assert found.state is MotionState.STILL
    assert found.parametric is given_map


@pytest.mark.parametrize(("seed", "kind"), [(302, "elastic"), (302, "rigid"), (305, "rigid")])
def test_breathing_of_3_mm_in_five_images_is_seen(seed, kind):
    """Restored polarities and the prior of the weights made it look like 0.3 to 0.4 mm."""
    made = simulate_slice(
        seed, size=160, scheme="5", level=0.15 + 0.7 * (seed % 7) / 6, usual=True, motion_mm=3.0, motion=kind
    )
    series = MovingSeries.of(made, "T1")
    assert series.correct(series.fit()).state is not MotionState.STILL


@pytest.mark.parametrize("seed", [41, 44, 47])
def test_fat_off_resonance_is_no_motion(seed):
    """As at 1.5 T. It made the gains of the early images 1.2 to 1.4, and slices at rest `motion-left`."""
    images, times = molli_with_fat(seed, fat_hz=-220.0)
    assert corrected(images, times).state is MotionState.STILL


@pytest.mark.parametrize("seed", [0, 1])
def test_a_chest_without_texture_at_rest_counts_as_still(seed):
    # Sharp borders, body and lung of one T1 each: the first step takes them for a shift of 1.6 mm.
    y, x = (np.indices((192, 192)) - 96) * 1.6
    t1, scale = np.full(x.shape, 600.0), np.full(x.shape, 20.0)
    radius = np.hypot(x - 5, y - 5)
    for inside, tissue_ms, signal in (
        ((x / 150) ** 2 + (y / 110) ** 2 < 1, 900.0, 600.0),
        (((x - 75) / 55) ** 2 + (y / 75) ** 2 < 1, 900.0, 60.0),
        (((x + 95) / 40) ** 2 + ((y + 10) / 65) ** 2 < 1, 900.0, 60.0),
        (((x + 28) / 26) ** 2 + ((y - 2) / 38) ** 2 < 1, 1600.0, 1000.0),
        (radius < 33.5, 1000.0, 750.0),
        (radius < 24, 1600.0, 1000.0),
    ):
        t1[inside], scale[inside] = tissue_ms, signal
    times = np.array([110.0, 190.0, 1010.0, 1110.0, 1910.0, 2010.0, 2910.0, 3810.0])
    rng = np.random.default_rng(seed)
    signed = scale * (1.0 - 1.9 * np.exp(-times[:, None, None] * 0.9 / t1))
    images = np.hypot(signed + rng.normal(0, 8, signed.shape), rng.normal(0, 8, signed.shape)).astype(
        np.float32
    )
    found = corrected(images, times, spacing=(1.6, 1.6))
    assert found.r_squared_before > 0.995
    assert found.state is MotionState.STILL


@pytest.mark.parametrize("quantity", ["T1", "T2"])
@pytest.mark.parametrize(("motion_mm", "kind"), [(6.0, "rigid"), (10.0, "elastic"), (15.0, "rigid")])
def test_known_breathing_is_corrected(quantity, motion_mm, kind):
    left, bias, before = [], [], []
    for seed in (41, 42):
        series, still = simulated(seed, quantity, motion_mm, kind), simulated(seed, quantity).fit()
        found = series.correct(series.fit())
        assert found.state is MotionState.CORRECTED
        assert found.r_squared_after > found.r_squared_before
        remaining, labels = series.remaining(found.displaced())
        left.append(np.median(remaining[:, labels > 0]))
        uncorrected, at = series.remaining(None)
        before.append(np.median(uncorrected[:, at > 0]))
        bias.append(abs(wall_median(found.parametric, labels) - wall_median(still, series.labels)))
    assert np.median(before) > 1.0
    assert np.median(left) <= 0.5
    assert np.median(bias) <= (5.0 if quantity == "T1" else 1.0)


def jump(moved, x_mm, y_mm):
    """Shifts of eight images of which one jumps, and the same less their mean."""
    shifts = np.zeros((8, 2))
    shifts[moved] = x_mm, y_mm
    return shifts, shifts - shifts.mean(axis=0)


@pytest.mark.parametrize("moved", [0, 2, 7])
@pytest.mark.parametrize("signed", [True, False])
def test_a_jump_of_one_image_is_found_whatever_its_contrast(moved, signed):
    shifts, truth = jump(moved, 3.0, -4.0)
    images = molli(shifts)
    found = corrected(images if signed else np.abs(images), T1_TIMES, MolliModel(signed=signed))
    assert found.state is MotionState.CORRECTED
    assert np.abs(at_heart(found) - truth).max() < 1.0


@pytest.mark.parametrize("moved", [0, 3, 6])
def test_a_large_jump_is_corrected_or_flagged(moved):
    shifts, truth = jump(moved, 9.0, -12.0)
    found = corrected(np.abs(molli(shifts)), T1_TIMES)
    assert found.state is not MotionState.STILL
    if found.state is MotionState.CORRECTED and not found.residual_stays:
        assert np.abs(at_heart(found) - truth).max() < 1.5


def test_an_inverted_signed_series_is_corrected_alike():
    images = molli([(0.0, 1.5 * number) for number in range(8)])
    plain, inverted = (corrected(sign * images, T1_TIMES, MolliModel(signed=True)) for sign in (1, -1))
    assert plain.state is inverted.state is MotionState.CORRECTED
    assert np.abs(at_heart(plain) - at_heart(inverted)).max() < 0.1


def test_three_t2prep_images_are_corrected():
    shifts = [(0.0, 0.0), (4.0, 8.0), (0.0, 2.0)]
    found = corrected(t2prep(shifts), T2_TIMES, T2PrepModel())
    assert found.state is MotionState.CORRECTED
    assert np.abs(at_heart(found) - (np.array(shifts) - np.mean(shifts, axis=0))).max() < 1.0


@pytest.mark.parametrize(
    ("times", "motion_mm"), [((0.0, 30.0, 60.0), 8.0), ((0.0, 20.0, 40.0, 60.0, 80.0), 12.0)]
)
def test_t2_motion_that_is_almost_removed_after_the_last_stage_is_not_flagged(times, motion_mm):
    given = {"preparation_times_ms": times, "motion_mm": motion_mm, "motion": "rigid"}
    made = simulate_slice(770_001, size=192, level=4 / 15, usual=True, snr=25.0, **given)
    series = MovingSeries.of(made, "T2")
    found = series.correct(series.fit())
    left, labels = series.remaining(found.displaced())
    assert np.median(left[:, labels > 0]) * 1.5 < 0.5
    assert found.state is MotionState.CORRECTED
    assert not found.residual_stays


@pytest.mark.parametrize(
    ("moved", "shift"),
    [
        (0, (8.0, 0.0)),
        (0, (14.0, 0.0)),
        (0, (0.0, 12.0)),
        (1, (6.0, 0.0)),
        (1, (0.0, -14.0)),
        (2, (10.0, 0.0)),
    ],
)
def test_t2_of_a_heart_that_slides_beside_static_tissue_is_that_at_rest(moved, shift):
    """The search ended at wrong displacements that describe three images as well: T2 was up to 35 % short."""
    shifts = np.zeros((3, 2))
    shifts[moved] = shift
    found = corrected(t2prep(shifts), T2_TIMES, T2PrepModel())
    assert found.state is MotionState.CORRECTED
    wall = tissues((128, 128), SPACING, shifts.mean(axis=0))[1] > 0.99
    assert np.median(found.parametric.values_ms[wall]) == pytest.approx(48.0, rel=0.02)


def test_rectangular_images_with_oblong_pixels_are_corrected():
    shape, spacing = (110, 180), (1.3, 2.0)
    shifts = [(1.0 * number, -1.5 * number) for number in range(8)]
    found = corrected(np.abs(molli(shifts, shape, spacing)), T1_TIMES, spacing=spacing)
    assert found.state is MotionState.CORRECTED
    assert found.parametric.values_ms.shape == shape
    assert np.abs(at_heart(found, spacing) - (np.array(shifts) - np.mean(shifts, axis=0))).max() < 1.0


def test_what_lies_outside_the_lattice_stays_as_it_is():
    images = np.abs(molli([(0.0, 1.5 * number) for number in range(8)], (200, 200)))
    given_map = MolliModel().map(images, T1_TIMES)
    found = correct_motion(images, T1_TIMES, SPACING, MolliModel(), given_map)
    assert found.state is MotionState.CORRECTED
    displaced = found.displaced()
    assert not displaced[:, :20].any()
    assert not displaced[:, :, -20:].any()
    assert np.array_equal(found.parametric.values_ms[:20], given_map.values_ms[:20])
    assert not np.array_equal(found.parametric.values_ms, given_map.values_ms)


def test_a_corrupted_image_does_no_harm():
    images = np.abs(molli(REST))
    images[3] = np.random.default_rng(2).uniform(0.0, 600.0, images[3].shape)
    given_map = MolliModel().map(images, T1_TIMES)
    found = correct_motion(images, T1_TIMES, SPACING, MolliModel(), given_map)
    if found.state is MotionState.CORRECTED:
        assert found.r_squared_after > found.r_squared_before
    else:
        assert found.parametric is given_map
    assert (found.state is MotionState.LEFT) == bool(found.reason)


def test_motion_that_no_model_explains_is_left_with_a_reason():
    """Each image shows another place: no displacement makes them one recovery."""
    rng = np.random.default_rng(3)
    images = np.stack([np.roll(np.abs(molli(REST))[i], rng.integers(30, 60, 2), (0, 1)) for i in range(8)])
    given_map = MolliModel().map(images, T1_TIMES)
    found = correct_motion(images, T1_TIMES, SPACING, MolliModel(), given_map)
    assert found.state is MotionState.LEFT
    assert found.parametric is given_map
    assert found.reason


def test_pixels_without_numbers_do_not_spoil_the_others():
    images = np.abs(molli([(0.0, 1.5 * number) for number in range(8)]))
    images[4, 60:64, 60:64] = np.nan
    images[5, :3] = np.inf
    found = corrected(images, T1_TIMES)
    assert found.state is MotionState.CORRECTED
    assert np.isfinite(found.parametric.values_ms).all()
    assert found.parametric.failed[60:64, 60:64].any()


def test_a_pixel_without_a_number_costs_the_corrected_map_no_other():
    """Cubic convolution takes 16 pixels: each of these cost the map as many."""
    images = np.abs(molli(jump(5, 3.3, -4.1)[0]))
    whole = corrected(images, T1_TIMES)
    holes = images.copy()
    holes[3, 56:72:4, 60:68:4] = np.nan
    holes[3, 58, 62] = np.inf
    found = corrected(holes, T1_TIMES)
    assert whole.state is found.state is MotionState.CORRECTED
    lost = found.parametric.failed & ~whole.parametric.failed
    assert 1 <= lost[52:72, 56:70].sum() <= 9 + 2  # a place may be the nearest of two pixels
    assert lost.sum() <= 9 + 2 + 5  # air where a fit is at the limit of its acceptance
    there = np.zeros_like(lost)
    there[48:80, 48:80] = True
    kept = there & ~found.parametric.failed & ~whole.parametric.failed
    change = np.abs(found.parametric.values_ms - whole.parametric.values_ms)[kept]
    assert change.max() < 5.0


@pytest.mark.parametrize("value", [60_000.0, 1e9, 9e29])
@pytest.mark.parametrize("image", [-1, slice(None)], ids=["spike", "marker"])
def test_a_bright_pixel_does_not_spoil_the_displacements(value, image):
    """Between the heart and the edge of the working grid, 60 mm from the middle."""
    series, still = simulated(41, "T1", 8.0, "rigid"), simulated(41, "T1").fit()
    series.images[image, 135, 96] = value
    found = series.correct(series.fit())
    assert found.state is MotionState.CORRECTED
    remaining, labels = series.remaining(found.displaced())
    assert np.median(remaining[:, labels > 0]) <= 0.5
    assert abs(wall_median(found.parametric, labels) - wall_median(still, series.labels)) <= 5.0


@pytest.mark.parametrize("image", [2, 7])
def test_an_image_without_numbers_is_no_motion(image):
    """It was reported as moved by 20 mm."""
    images = np.abs(molli([(0.0, 0.0)] * 8))
    images[image] = np.nan
    assert corrected(images, T1_TIMES) is None


@pytest.mark.parametrize(
    ("images", "times", "model"),
    [
        (np.zeros((8, 128, 128), np.float32), T1_TIMES, MolliModel()),
        (np.full((8, 128, 128), np.nan, np.float32), T1_TIMES, MolliModel()),
        (t2prep([(0.0, 0.0), (0.0, 9.0), (0.0, 0.0)])[:2], T2_TIMES[:2], T2PrepModel()),
        (np.ones((8, 40, 128), np.float32), T1_TIMES, MolliModel()),
        (np.ones((33, 64, 64), np.float32), np.linspace(100.0, 4000.0, 33), MolliModel()),
    ],
    ids=["zero", "nan", "two images", "small", "many"],
)
def test_series_that_show_no_motion_are_not_examined(images, times, model):
    assert correct_motion(images, times, SPACING, model, model.map(images, times)) is None


@given(
    arrays.arrays(np.float32, (4, 30, 30), elements=st.floats(width=32)),
    st.integers(0, 99),
    st.sampled_from([0.0, 1.0, 1e3, 1e36]),
    st.booleans(),
)
@settings(max_examples=10)
def test_no_image_raises(few, seed, size, signed):
    """Few values of any kind, over noise of any size."""
    with np.errstate(over="ignore", invalid="ignore"):
        images = few + np.random.default_rng(seed).uniform(-1.0, 1.0, few.shape).astype(
            np.float32
        ) * np.float32(size)
    times = np.array([100.0, 900.0, 1700.0, 2500.0])
    for model, chosen in ((MolliModel(signed), 4), (T2PrepModel(), 3)):
        some, some_times = images[:chosen], times[:chosen]
        given_map = model.map(some, some_times)
        found = correct_motion(some, some_times, (3.0, 3.0), model, given_map)
        assert found is None or found.parametric is given_map or found.state is MotionState.CORRECTED
