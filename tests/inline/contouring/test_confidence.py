"""Signals against geometry and probabilities that are known; the calibration's file; what outputs say."""

import io
import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from inline.assembly.assembler import SeriesAssembler
from inline.contouring.confidence import (
    FILE,
    LARGEST,
    SIGNALS,
    Assessment,
    Calibration,
    Reviewer,
    load_calibration,
    signals,
)
from inline.contouring.contours import find_contours
from inline.contouring.explanation import NO_CONTOURS, NOT_FINITE
from inline.data.flags import Flag
from inline.data.results import Contours
from inline.emit import mrd
from inline.emit.overlay import REVIEW_COLOUR
from inline.emit.record import slice_record
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.settings import AssemblySettings, Settings, load_settings
from inline.terminal.results import results_table
from model.weights import weights_digest
from tests.shapes import Nothing, circle

SIZE = 224


def ring_output(inner=20.0, outer=28.0, centre=(111.5, 111.5), blur=0.0):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - centre[0], y - centre[1])
    cavity, heart = (radius < inner).astype(np.float32), (radius < outer).astype(np.float32)
    if blur:
        cavity, heart = (cv2.GaussianBlur(each, (0, 0), blur) for each in (cavity, heart))
    return np.stack([1 - heart, cavity, heart - cavity])


def ring_image(inner=20.0, outer=28.0):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - 111.5, y - 111.5)
    return np.where(radius < inner, 2.0, np.where(radius < outer, 1.0, 0.0)).astype(np.float32)


def found_in(probabilities, contours, image=None):
    return dict(
        zip(SIGNALS, signals(probabilities, ring_image() if image is None else image, contours), strict=True)
    )


RING = Contours(endo=circle(20.0, 111.5), epi=circle(28.0, 111.5))


def test_signals_of_a_clean_ring():
    found = found_in(ring_output(), RING)
    assert found["soft_dice_cavity"] == pytest.approx(math.log(99.0), abs=0.3)  # the largest logit
    assert found["entropy"] == pytest.approx(0.0, abs=1e-6)
    assert found["cavity_share"] == pytest.approx(abs((20 / 28) ** 2 - 0.5), abs=1e-3)
    assert found["off_centre"] == pytest.approx(0.0, abs=1e-6)
    assert found["without_fit"] == 0.0


def test_signals_of_equal_probabilities():
    thirds = np.full((3, SIZE, SIZE), 1 / 3, np.float32)
    found = found_in(thirds, RING)
    assert found["entropy"] == pytest.approx(1.0, abs=1e-5)
    # Window of 2 (28 + 10) + 1 pixels: 2 (n / 3) / (77 * 77 / 3 + n) with n pixels in the cavity.
    n = math.pi * 20.0**2
    dice = 2 * n / 3 / (77**2 / 3 + n)
    assert found["soft_dice_cavity"] == pytest.approx(math.log(dice / (1 - dice)), abs=0.05)


def test_soft_dice_of_half_probabilities():
    half = 0.5 * ring_output()
    half[0] += 0.5
    # 2 * (n / 2) / (n / 2 + n) = 2 / 3, in logits log 2.
    assert found_in(half, RING)["soft_dice_cavity"] == pytest.approx(math.log(2.0), abs=0.02)
    assert found_in(half, RING)["soft_dice_myocardium"] == pytest.approx(math.log(2.0), abs=0.05)


def test_displacement_and_missing_fits_are_shares_of_the_heart():
    moved = Contours(endo=circle(12.0, centre=(115.5, 111.5)), epi=circle(24.0, 111.5))
    image = ring_image()
    image[:, :112] = -1.0  # half of the heart
    found = found_in(ring_output(12, 24), moved, image)
    assert found["off_centre"] == pytest.approx(4.0 / 24.0, rel=1e-2)
    assert found["without_fit"] == pytest.approx(0.5, abs=0.03)


def with_points(points, peak=1.0):
    """Output of a ring with the heat of insertion points (x, y)."""
    y, x = np.mgrid[:SIZE, :SIZE]
    heat = [peak * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8.0) for px, py in points]
    return np.concatenate([ring_output(), np.array(heat, np.float32)])


def test_insertion_points_lie_on_the_epicardial_contour_or_away_from_it():
    on = found_in(with_points([(111.5 - 28.0, 111.5), (111.5, 111.5 + 28.0)], 0.8), RING)
    assert on["insertion_distance"] == pytest.approx(0.0, abs=0.02)
    assert on["insertion_heat"] == pytest.approx(0.8, abs=0.05)
    off = found_in(with_points([(111.5 - 28.0, 111.5), (111.5, 111.5 + 42.0)]), RING)
    assert off["insertion_distance"] == pytest.approx(0.5, abs=0.02)
    far = found_in(with_points([(111.5 - 28.0, 111.5), (10.0, 10.0)]), RING)
    assert far["insertion_distance"] == found_in(ring_output(), RING)["insertion_distance"] == 1.5
    assert found_in(ring_output(), RING)["insertion_heat"] == 0.0


def test_the_border_contrast_is_the_slope_over_the_spread_of_the_wall():
    """A slope of a tenth per pixel everywhere; in the wall noise of a known spread."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - 111.5, y - 111.5)
    ramp = (-0.1 * radius).astype(np.float32)
    plain = found_in(ring_output(), RING, ramp)["border_contrast"]
    # Radii of a wall from 20 to 28 pixels: the middle 68 % of the area.
    spread = 0.1 * (np.sqrt(400 + 0.84 * 384) - np.sqrt(400 + 0.16 * 384)) / 2.0
    assert plain == pytest.approx(0.1 / spread, rel=0.05)
    noisy = ramp + np.where((radius > 23) & (radius < 28), random.normal(0.0, 1.0, ramp.shape), 0.0)
    assert found_in(ring_output(), RING, noisy.astype(np.float32))["border_contrast"] < 0.6 * plain


def test_the_diameter_is_that_of_the_heart_in_millimetres():
    assert math.exp(found_in(ring_output(), RING)["diameter"]) == pytest.approx(2 * 28 * 1.5, rel=1e-3)


def test_wide_boundaries_raise_the_entropy_and_lower_the_soft_dice():
    clear, wide = (found_in(ring_output(blur=blur), RING) for blur in (0.5, 4.0))
    assert wide["entropy"] > 2 * clear["entropy"]
    assert wide["soft_dice_myocardium"] < clear["soft_dice_myocardium"]


@settings(max_examples=10)
@given(x=st.integers(-60, 60), y=st.integers(-60, 60))
def test_signals_do_not_depend_on_the_position(x, y):
    probabilities = ring_output(centre=(111.5 + x, 111.5 + y), blur=1.0)
    moved = np.roll(ring_image(), (y, x), axis=(0, 1))
    here = signals(probabilities, moved, find_contours(probabilities).contours)
    middle = ring_output(blur=1.0)
    assert np.allclose(here, signals(middle, ring_image(), find_contours(middle).contours), atol=0.02)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 8.0))
def test_signals_are_finite_wherever_there_are_contours(seed, scale):
    random = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(random.standard_normal((SIZE, SIZE, 3)), (0, 0), 8.0).transpose(2, 0, 1)
    logits[1:] += 2.0 * cv2.GaussianBlur(ring_output()[1:].transpose(1, 2, 0), (0, 0), 3.0).transpose(2, 0, 1)
    shares = np.exp(20.0 * scale * logits)
    probabilities = (shares / shares.sum(axis=0)).astype(np.float32)
    contours = find_contours(probabilities).contours
    if contours is not None:
        grey = random.standard_normal((SIZE, SIZE)).astype(np.float32)
        assert np.isfinite(signals(probabilities, grey, contours)).all()


def test_signals_are_finite_for_contours_beyond_the_frame():
    outside = Contours(endo=circle(20.0, (-100.0, 300.0)), epi=circle(28.0, (-100.0, 300.0)))
    assert np.isfinite(signals(ring_output(), ring_image(), outside)).all()


def made(weights="w", scores=(-1.0, 1.0), dice=(0.2, 0.9), first=1.0):
    n = len(SIGNALS)
    return Calibration(
        weights=weights,
        centre=(0.0,) * n,
        scale=(2.0,) * n,
        factors=(first, *(0.0,) * (n - 1)),
        offset=0.25,
        scores=scores,
        dice=dice,
    )


def test_the_expected_dice_is_on_the_line_between_knots():
    found = np.zeros((4, len(SIGNALS)))
    found[:, 0] = [0.0, -0.5, 100.0, -100.0]
    assert made().score(found).tolist() == [0.25, 0.0, LARGEST + 0.25, 0.25 - LARGEST]
    assert made().expected_dice(found) == pytest.approx([0.2 + 0.7 * 1.25 / 2, 0.55, 0.9, 0.2])


def test_a_calibration_survives_its_file():
    assert Calibration.from_json(made().to_json(note="for readers")) == made()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 0}, "other signals"),
        ({"signals": ["entropy"]}, "other signals"),
        ({"factors": [1.0]}, "cannot be used"),
        ({"scale": [0.0] * len(SIGNALS)}, "cannot be used"),
        ({"offset": float("nan")}, "cannot be used"),
        ({"scores": [1.0, 1.0]}, "cannot be used"),
        ({"dice": [0.9, 0.2]}, "cannot be used"),
        ({"dice": [0.2, 1.2]}, "cannot be used"),
        ({"weights": 1, "scores": None}, "no calibration"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(change, said):
    content = {**json.loads(made().to_json()), **change}
    with pytest.raises(ValueError, match=said):
        Calibration.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.from_json("[]")


@pytest.fixture
def weights(tmp_path):
    (tmp_path / "unet-01-of-01.safetensors").write_bytes(b"some weights")
    return tmp_path


def test_a_calibration_for_other_weights_is_not_used(weights):
    assert load_calibration(weights) == (None, "none (not calibrated)")
    (weights / FILE).write_text(made(weights_digest(weights)).to_json())
    found, source = load_calibration(weights)
    assert found == made(weights_digest(weights))
    assert weights_digest(weights)[:12] in source
    (weights / "unet-01-of-01.safetensors").write_bytes(b"better weights")
    assert load_calibration(weights) == (None, "none (calibrated for other weights)")
    (weights / FILE).write_text("{")
    found, source = load_calibration(weights)
    assert found is None
    assert "cannot be used" in source


def test_the_reviewer_is_that_of_the_settings(weights):
    (weights / FILE).write_text(made(weights_digest(weights)).to_json())
    reviewer = Reviewer.of(Settings(weights=weights, review_below=0.6))
    assert reviewer.review_below == 0.6
    contours = Contours(endo=circle(20.0, 111.5), epi=circle(28.0, 111.5))
    assert reviewer.assess(ring_output(), ring_image(), contours).confidence == pytest.approx(0.9)
    assert reviewer.assess(ring_output(), ring_image(), None).confidence == 0.0
    assert Reviewer().assess(ring_output(), ring_image(), contours).confidence is None


def test_probabilities_without_numbers_are_for_review():
    output = ring_output()
    output[:, 112, :] = np.nan
    contours = Contours(endo=circle(20.0, 111.5), epi=circle(28.0, 111.5))
    found = Reviewer(made(), "", 0.5).assess(output, ring_image(), contours)
    assert found == Assessment(0.0, True, NOT_FINITE)


@pytest.fixture
def assembled(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header), AssemblySettings(motion="both"))
    return next(ready for image in images for ready in assembler.add(image, 0.0))


@pytest.mark.parametrize(("threshold", "flagged"), [(0.5, False), (0.95, True)])
def test_a_slice_below_the_threshold_is_flagged_in_every_output(assembled, ring_engine, threshold, flagged):
    reviewer = Reviewer(made(), "calibrated for weights w", threshold)
    result = Pipeline(ring_engine, reviewer=reviewer).process(assembled)
    assert result.confidence == pytest.approx(0.9)
    assert (Flag.REVIEW in result.flags) == flagged
    plain = slice_record(result)
    assert plain["confidence"] == pytest.approx(0.9)
    assert plain["confidence_source"] == "calibrated for weights w"
    assert ("review" in plain["flags"]) == flagged
    assert ("is below 0.95" in plain["confidence_reason"]) == flagged
    assert plain["confidence_reason"] == result.confidence_reason
    assert (result.confidence_reason in result.notes) == flagged
    images = mrd.images(result, assembled.template)
    meta = images[0].meta()
    assert float(meta["MYOSTREAM_CONFIDENCE"][0]) == pytest.approx(0.9)
    assert ("review" in meta.get("MYOSTREAM_FLAGS", ())) == flagged
    assert all(("review" in image.meta()["ImageComments"][0]) == flagged for image in images)
    overlay = images[2].pixels[:, 0]
    assert (overlay[:, 0, 0].tolist() == list(REVIEW_COLOUR)) == flagged
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(results_table([plain]))
    text = console.export_text()
    assert "0.90" in text
    assert ("review" in text) == flagged


def test_without_a_calibration_nothing_is_claimed(assembled, ring_engine):
    result = Pipeline(ring_engine).process(assembled)
    assert result.confidence is None
    assert Flag.REVIEW not in result.flags
    plain = slice_record(result)
    assert plain["confidence"] is None
    assert plain["confidence_source"] == "none (not calibrated)"
    assert "MYOSTREAM_CONFIDENCE" not in mrd.images(result, assembled.template)[0].meta()


def test_a_slice_without_contours_is_for_review(assembled):
    result = Pipeline(Nothing(), reviewer=Reviewer(made(), "", 0.5)).process(assembled)
    assert result.confidence == 0.0
    assert Flag.REVIEW in result.flags
    assert result.confidence_reason == NO_CONTOURS


def test_the_threshold_is_a_setting(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("review_below = 0.65\n")
    assert load_settings(file).review_below == 0.65


def test_flags_have_room_in_a_narrow_terminal(assembled, ring_engine):
    plain = slice_record(Pipeline(ring_engine, reviewer=Reviewer(made(), "", 0.95)).process(assembled))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table([plain], {("T1", 0): 1042.3}))
    assert "review" in console.export_text()
