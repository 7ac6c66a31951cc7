"""The fit finds what is known of made-up signals; spoilt slices are spoilt as they say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from calibration import confidence, confidence_report
from calibration.confidence import Sample, by_failure, fit, hearts_of, judge, with_flip
from calibration.failures import Failure, spoil
from inline.contouring.confidence import FILE, SIGNALS, Calibration, load_calibration
from inline.data.errors import MyostreamError
from inline.pipeline import Pipeline
from inline.settings import Settings

SIZE = 224


def ring(inner=20, outer=28, centre=(111.5, 111.5)):
    y, x = np.mgrid[:SIZE, :SIZE]
    radius = np.hypot(x - centre[0], y - centre[1])
    return np.where(radius < inner, 1, np.where(radius < outer, 2, 0)).astype(np.uint8)


def heart_map():
    """A body of muscle with a ring in it, 0 outside the body."""
    labels = ring()
    body = np.zeros((SIZE, SIZE), np.float32)
    body[20:-20, 20:-20] = 900.0
    return np.where(labels == 1, 1500.0, np.where(labels == 2, 1000.0, body)).astype(np.float32), labels


@settings(max_examples=60, deadline=None)
@given(failure=st.sampled_from(list(Failure)), severity=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_spoilt_map_is_still_a_map(failure, severity, seed):
    picture, labels = heart_map()
    spoilt, truth = spoil(picture, labels, failure, severity, np.random.default_rng(seed))
    assert spoilt.shape == truth.shape == (SIZE, SIZE)
    assert spoilt.dtype == np.float32
    assert truth.dtype == np.uint8
    assert np.isfinite(spoilt).all()
    assert spoilt.min() >= 0.0
    assert set(np.unique(truth)) <= {0, 1, 2}


def test_what_is_done_is_what_is_said():
    picture, labels = heart_map()
    random = np.random.default_rng(3)

    def spoilt(failure, severity):
        return spoil(picture, labels, failure, severity, random)

    assert np.array_equal(spoilt(Failure.NONE, 1.0)[0], picture)
    small, large = (spoilt(failure, 1.0)[1] for failure in (Failure.SMALL, Failure.LARGE))
    assert (small > 0).sum() == pytest.approx(0.35**2 * (labels > 0).sum(), rel=0.05)
    assert (large > 0).sum() == pytest.approx(2.4**2 * (labels > 0).sum(), rel=0.05)
    cut, left = spoilt(Failure.CROPPED, 0.5)
    assert (left > 0).sum() == pytest.approx(0.55 * (labels > 0).sum(), rel=0.05)
    assert (cut[(labels > 0) & (left == 0)] == 0).all()
    gone, truth = spoilt(Failure.ABSENT, 0.5)
    assert not truth.any()
    assert not ((gone > 950) & (gone < 1550)).any()
    opposite, _ = spoilt(Failure.CONTRAST, 1.0)
    assert np.median(opposite[labels == 2]) > np.median(opposite[labels == 1])
    noise = [np.std(spoilt(Failure.NOISE, severity)[0] - picture) for severity in (0.1, 0.9)]
    assert noise[1] > 3 * noise[0]
    assert (spoilt(Failure.HOLES, 1.0)[0][20:-20, 20:-20] == 0).mean() == pytest.approx(0.6, abs=0.15)
    with pytest.raises(ValueError, match="without a heart"):
        spoil(picture, np.zeros_like(labels), Failure.NOISE, 0.5, random)


def test_the_fit_finds_the_dice_that_made_up_signals_stand_for():
    """Dice is a steep curve of the first signal; the second says nothing."""
    random = np.random.default_rng(5)
    found = random.standard_normal((600, 2))
    truth = 1.0 / (1.0 + np.exp(-2.0 * found[:, 0] - 0.5))
    scores = np.clip(truth + 0.05 * random.standard_normal(600), 0.0, 1.0)
    made = fit(found[:400], scores[:400], np.arange(400) // 4, "w")
    expected = made.expected_dice(found[400:])
    assert np.abs(expected - truth[400:]).mean() < 0.03
    assert abs(made.factors[1]) < 0.1 * made.factors[0]
    assert made.weights == "w"


def test_signals_that_say_nothing_give_the_mean():
    random = np.random.default_rng(6)
    scores = random.uniform(0.0, 1.0, 400)
    made = fit(random.standard_normal((400, 3)), scores, np.arange(400) // 4, "w")
    expected = made.expected_dice(random.standard_normal((400, 3)))
    assert expected.mean() == pytest.approx(scores.mean(), abs=0.05)
    assert np.abs(expected - scores.mean()).mean() < 0.12


def test_the_stored_curve_is_scikit_learns():
    random = np.random.default_rng(7)
    x = random.standard_normal(200)
    y = np.clip(0.5 + 0.3 * x + 0.2 * random.standard_normal(200), 0, 1)
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    n = len(SIGNALS)
    made = Calibration(
        weights="w",
        centre=(0.0,) * n,
        scale=(1.0,) * n,
        factors=(1.0, *(0.0,) * (n - 1)),
        offset=0.0,
        scores=tuple(map(float, curve.X_thresholds_)),
        dice=tuple(map(float, curve.y_thresholds_)),
    )
    again = Calibration.from_json(made.to_json())
    found = np.zeros((500, n))
    found[:, 0] = np.linspace(-2.9, 2.9, 500)
    assert again.expected_dice(found) == pytest.approx(curve.predict(found[:, 0]), abs=1e-6)


def test_a_fitted_calibration_survives_its_file():
    random = np.random.default_rng(8)
    found = random.standard_normal((100, len(SIGNALS)))
    scores = np.clip(0.5 + 0.3 * found[:, 0], 0.0, 1.0)
    made = fit(found, scores, np.arange(100) // 4, "w")
    assert Calibration.from_json(made.to_json()) == made


def test_too_few_hearts_are_an_error():
    with pytest.raises(ValueError, match="more slices"):
        fit(np.zeros((8, 2)), np.ones(8), np.arange(8) // 4, "w")


def test_no_heart_is_in_both_sets():
    (learn, seed), (rest, other) = hearts_of(600)
    assert (learn + rest) * confidence.VARIANTS == 600
    assert learn == 2 * rest
    assert seed != other


class Reader:
    """Sees the truth in a picture of labels, less exactly where the picture says so."""

    name = "reader"

    def infer(self, images):
        answers = []
        for image in images:
            blind = float(image[0, 0])
            labels = np.round(image).astype(int)
            if blind > 0.9:
                labels = np.zeros_like(labels)
            shifted = np.roll(labels, round(20 * blind), axis=1)
            one = np.stack([(shifted == k).astype(np.float32) for k in range(3)])
            doubt = min(0.9 * blind, 0.45)
            answers.append((1 - doubt) * one + doubt / 3)
        return np.array(answers, np.float32)


def made_up_samples(hearts, seed):
    random = np.random.default_rng(seed)
    for heart in range(hearts):
        samples = []
        for variant in range(confidence.VARIANTS):
            centre = (random.uniform(70, 150), random.uniform(70, 150))
            labels = ring(15 + random.integers(8), 28, centre)
            image = labels.astype(np.float32)
            image[0, 0] = severity = 0.0 if variant == 0 else random.uniform()
            failure = Failure.NOISE if variant else Failure.NONE
            samples.append(Sample(image, labels, failure, severity, heart))
        yield samples


def test_judging_compares_with_the_truth_and_with_the_mirrored_image():
    judged = judge(Reader(), made_up_samples(6, 1), flip=True)
    sound = np.array([failure is Failure.NONE for failure in judged.failure])
    assert (judged.dice[sound] > 0.97).all()
    assert judged.dice[~sound].min() < 0.7
    assert len(judged.dice) + judged.without_contours == 6 * confidence.VARIANTS
    # The reader shifts to the right in both: twice the shift apart, the less alike the more it shifts.
    assert (judged.flipped[sound] > 0.97).all()
    assert (judged.flipped[~sound] <= judged.dice[~sound] + 0.02).all()
    assert with_flip(judged).shape == (len(judged.dice), len(SIGNALS) + 1)
    table = by_failure(judged, judged.dice)
    assert table["none"][0] == sound.sum()
    assert table["noise"][1] == pytest.approx(judged.dice[~sound].mean())
    with pytest.raises(ValueError, match="not asked"):
        with_flip(judge(Reader(), made_up_samples(1, 1)))


@pytest.fixture
def reading(monkeypatch, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "unet-01-of-01.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(confidence_report, "build_pipeline", lambda settings: Pipeline(Reader()))
    monkeypatch.setattr(confidence_report, "make_samples", made_up_samples)
    return Settings(weights=folder)


def test_the_command_leaves_a_calibration_beside_the_weights(reading, tmp_path):
    files = {"json_file": tmp_path / "all.json", "plots": tmp_path / "plots"}
    content = confidence_report.run(reading, 100, flip=True, **files)
    made, source = load_calibration(reading.weights)
    assert made is not None
    assert source.startswith("calibrated for weights")
    held_out = content["held_out"]
    assert held_out["mean_absolute_error"] < 0.5 * held_out["mean_absolute_error_of_the_mean"]
    assert held_out["retention"][-1]["dice"] > held_out["mean_dice"]
    assert json.loads(files["json_file"].read_text()) == json.loads(json.dumps(content))
    assert (tmp_path / "plots" / "retention.png").exists()
    assert content["with_flip"]["slices"] == held_out["slices"]


def test_real_maps_are_a_check_and_change_nothing(reading, tmp_path):
    confidence_report.run(reading, 60)
    before = (reading.weights / FILE).read_bytes()
    data = tmp_path / "data"
    data.mkdir()
    labels = ring()
    for number in (1, 2):
        np.savez(
            data / f"patient-A-slice-{number}.npz",
            t2_ms=(50.0 * labels).astype(np.float32),
            label=labels,
            pixel_spacing_mm=1.5,
        )
    content = confidence_report.run(reading, 60, data=data)
    assert (reading.weights / FILE).read_bytes() == before
    assert [each["kind"] for each in content["real"]["slices"]] == ["t2", "t2"]
    with pytest.raises(MyostreamError, match="no labelled maps"):
        confidence_report.run(reading, 60, data=tmp_path / "weights")
