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
    FURTHEST,
    SIGNALS,
    Calibration,
    Reviewer,
    load_calibration,
    signals,
)
from inline.contouring.contours import find_contours
from inline.data.flags import Flag
from inline.data.results import Contours
from inline.emit import mrd
from inline.emit.overlay import REVIEW_COLOUR
from inline.emit.record import record
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.replay.table import results_table
from inline.settings import AssemblySettings, Settings, load_settings
from model.weights import weights_digest

SIZE = 224


def circle(radius, centre=(111.5, 111.5), points=96):
    angle = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def ring_answer(inner=20.0, outer=28.0, centre=(111.5, 111.5), blur=0.0):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - centre[0], y - centre[1])
    cavity, heart = (radius < inner).astype(np.float32), (radius < outer).astype(np.float32)
    if blur:
        cavity, heart = (cv2.GaussianBlur(each, (0, 0), blur) for each in (cavity, heart))
    return np.stack([1 - heart, cavity, heart - cavity])


def picture(inner=20.0, outer=28.0):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - 111.5, y - 111.5)
    return np.where(radius < inner, 2.0, np.where(radius < outer, 1.0, 0.0)).astype(np.float32)


def named(values):
    return dict(zip(SIGNALS, values, strict=True))


def test_a_clean_ring_shows_nothing_unusual():
    found = named(signals(ring_answer(), picture(), Contours(endo=circle(20.0), epi=circle(28.0))))
    assert found["entropy"] == pytest.approx(0.0, abs=1e-6)
    assert found["margin"] == pytest.approx(1.0)
    assert found["ring"] == 1.0
    assert found["outside"] == pytest.approx(0.0, abs=1e-6)
    assert found["thickness_spread"] == pytest.approx(0.0, abs=1e-2)
    assert found["round_endo"] == pytest.approx(1.0, abs=0.01)
    assert found["cavity_share"] == pytest.approx(abs((20 / 28) ** 2 - 0.5), abs=1e-3)
    assert found["size"] == pytest.approx(math.log(math.pi * 28.0**2 / 1000.0), abs=0.01)
    assert found["contrast"] == pytest.approx(1.0)
    assert found["dark"] == 0.0


def test_probabilities_that_know_nothing():
    """A third everywhere: entropy 1, no margin, and two thirds of the mass wherever one looks."""
    thirds = np.full((3, SIZE, SIZE), 1 / 3, np.float32)
    found = named(signals(thirds, picture(), Contours(endo=circle(20.0), epi=circle(28.0))))
    assert found["entropy"] == pytest.approx(1.0, abs=1e-5)
    assert found["margin"] == pytest.approx(0.0, abs=1e-6)
    assert found["certain_cavity"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["ring"] == 0.0
    y, x = np.mgrid[:SIZE, :SIZE]
    around = cv2.dilate((np.hypot(x - 111.5, y - 111.5) < 28).astype(np.uint8), np.ones((5, 5), np.uint8))
    assert found["outside"] == pytest.approx(1.0 - around.sum() / SIZE**2, abs=1e-4)


def test_soft_overlap_is_the_dice_of_shares():
    half = 0.5 * ring_answer()
    half[0] += 0.5
    found = named(signals(half, picture(), Contours(endo=circle(20.0), epi=circle(28.0))))
    # 2 * (n / 2) / (n / 2 + n) = 2 / 3, in logits log 2.
    assert found["soft_dice_cavity"] == pytest.approx(math.log(2.0), abs=0.02)


def test_shapes_have_the_roundness_and_thickness_of_geometry():
    ellipse = circle(1.0, centre=(0.0, 0.0), points=720) * [30.0, 20.0]
    a, b = 30.0, 20.0
    length = math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))  # Ramanujan
    moved = Contours(endo=circle(12.0, centre=(115.5, 111.5)), epi=circle(24.0))
    found = named(signals(ring_answer(12, 24), picture(), moved))
    oval = Contours(endo=circle(10.0), epi=ellipse + 111.5)
    assert named(signals(ring_answer(10, 24), picture(), oval))["round_epi"] == pytest.approx(
        4 * math.pi * (math.pi * a * b) / length**2, rel=1e-3
    )
    # Seen from the centre of the cavity, the outer circle is 24 - 4 away on one side and 24 + 4 on the other.
    assert found["off_centre"] == pytest.approx(4.0 / 24.0, rel=1e-2)
    angle = np.linspace(0, 2 * np.pi, 1000)
    wall = -4 * np.cos(angle) + np.sqrt(24.0**2 - (4 * np.sin(angle)) ** 2) - 12.0
    assert found["thickness_spread"] == pytest.approx(wall.std() / wall.mean(), rel=0.02)


def test_doubt_is_seen():
    clear, doubtful = (
        named(signals(ring_answer(blur=blur), picture(), Contours(endo=circle(20.0), epi=circle(28.0))))
        for blur in (0.5, 4.0)
    )
    assert doubtful["entropy"] > 2 * clear["entropy"]
    assert doubtful["margin"] < clear["margin"]
    assert doubtful["soft_dice_wall"] < clear["soft_dice_wall"]


def test_a_second_heart_counts_as_outside():
    two = np.maximum(ring_answer()[1:], ring_answer(10, 14, centre=(180.5, 60.5))[1:])
    both = np.concatenate([1 - two.sum(axis=0, keepdims=True), two])
    found = named(signals(both, picture(), Contours(endo=circle(20.0), epi=circle(28.0))))
    assert found["outside"] == pytest.approx(14**2 / (28**2 + 14**2), abs=0.02)


@settings(max_examples=20, deadline=None)
@given(x=st.integers(-60, 60), y=st.integers(-60, 60))
def test_the_place_in_the_frame_says_nothing(x, y):
    centre = (111.5 + x, 111.5 + y)
    answer = ring_answer(centre=centre, blur=1.0)
    moved = np.roll(picture(), (y, x), axis=(0, 1))
    here = signals(answer, moved, find_contours(answer).contours)
    middle = ring_answer(blur=1.0)
    assert np.allclose(here, signals(middle, picture(), find_contours(middle).contours), atol=0.02)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 8.0))
def test_any_answer_with_contours_has_finite_signals(seed, scale):
    random = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(random.standard_normal((SIZE, SIZE, 3)), (0, 0), 8.0).transpose(2, 0, 1)
    logits[1:] += 2.0 * cv2.GaussianBlur(ring_answer()[1:].transpose(1, 2, 0), (0, 0), 3.0).transpose(2, 0, 1)
    shares = np.exp(20.0 * scale * logits)
    answer = (shares / shares.sum(axis=0)).astype(np.float32)
    contours = find_contours(answer).contours
    if contours is not None:
        grey = random.standard_normal((SIZE, SIZE)).astype(np.float32)
        assert np.isfinite(signals(answer, grey, contours)).all()


def test_contours_beyond_the_frame_are_no_obstacle():
    outside = Contours(endo=circle(20.0, (-100.0, 300.0)), epi=circle(28.0, (-100.0, 300.0)))
    assert np.isfinite(signals(ring_answer(), picture(), outside)).all()


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
    assert made().score(found).tolist() == [0.25, 0.0, FURTHEST + 0.25, 0.25 - FURTHEST]
    assert made().expected_dice(found) == pytest.approx([0.2 + 0.7 * 1.25 / 2, 0.55, 0.9, 0.2])


def test_a_calibration_survives_its_file():
    assert Calibration.from_json(made().to_json(note="for people")) == made()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 0}, "other signals"),
        ({"signals": ["entropy"]}, "other signals"),
        ({"factors": [1.0]}, "wrong length"),
        ({"scale": [0.0] * len(SIGNALS)}, "cannot be used"),
        ({"offset": float("nan")}, "cannot be used"),
        ({"scores": [1.0, 1.0]}, "does not rise"),
        ({"dice": [0.9, 0.2]}, "does not rise"),
        ({"dice": [0.2, 1.2]}, "does not rise"),
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
    contours = Contours(endo=circle(20.0), epi=circle(28.0))
    assert reviewer.confidence(ring_answer(), picture(), contours) == pytest.approx(0.9)
    assert reviewer.confidence(ring_answer(), picture(), None) == 0.0
    assert Reviewer().confidence(ring_answer(), picture(), contours) is None


def test_probabilities_without_numbers_are_for_review():
    answer = ring_answer()
    answer[:, 112, :] = np.nan
    contours = Contours(endo=circle(20.0), epi=circle(28.0))
    assert Reviewer(made(), "", 0.5).confidence(answer, picture(), contours) == 0.0


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
    plain = record(result)
    assert plain["confidence"] == pytest.approx(0.9)
    assert plain["confidence_source"] == "calibrated for weights w"
    assert ("review" in plain["flags"]) == flagged
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
    plain = record(result)
    assert plain["confidence"] is None
    assert plain["confidence_source"] == "none (not calibrated)"
    assert "MYOSTREAM_CONFIDENCE" not in mrd.images(result, assembled.template)[0].meta()


def test_a_slice_without_contours_is_for_review(assembled):
    class Blind:
        name = "blind"

        def infer(self, images):
            answer = np.zeros((len(images), 3, SIZE, SIZE), np.float32)
            answer[:, 0] = 1.0
            return answer

    result = Pipeline(Blind(), reviewer=Reviewer(made(), "", 0.5)).process(assembled)
    assert result.confidence == 0.0
    assert Flag.REVIEW in result.flags


def test_the_threshold_is_a_setting(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("review_below = 0.65\n")
    assert load_settings(file).review_below == 0.65


def test_flags_have_room_in_a_narrow_terminal(assembled, ring_engine):
    plain = record(Pipeline(ring_engine, reviewer=Reviewer(made(), "", 0.95)).process(assembled))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(results_table([plain], {("T1", 0): 1042.3}))
    assert "review" in console.export_text()
