"""The fit recovers a known relation of signals and Dice; degradation does what its name says."""

import json
from typing import get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from calibration import cli, confidence
from calibration.confidence import (
    Sample,
    Scores,
    calibrate,
    fit,
    review_threshold,
    score_folder,
    score_samples,
)
from calibration.degradation import Degradation, degrade
from inline.contouring.confidence import FILE, SIGNALS, Calibration, load_calibration
from inline.data.errors import MyostreamError
from inline.data.results import ContourOffsets
from inline.pipeline import Pipeline
from inline.settings import Settings
from model.evaluation.cases import CaseError
from model.evaluation.metrics import dice

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


@settings(max_examples=30)
@given(kind=st.sampled_from(list(Degradation)), severity=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_degraded_map_is_still_a_map(kind, severity, seed):
    image, labels = heart_map()
    degraded, truth = degrade(image, labels, kind, severity, np.random.default_rng(seed))
    assert degraded.shape == truth.shape == (SIZE, SIZE)
    assert degraded.dtype == np.float32
    assert truth.dtype == np.uint8
    assert np.isfinite(degraded).all()
    assert degraded.min() >= 0.0
    assert set(np.unique(truth)) <= {0, 1, 2}


def test_degradation_does_what_its_name_says():
    image, labels = heart_map()
    random = np.random.default_rng(3)

    def degraded(kind, severity):
        return degrade(image, labels, kind, severity, random)

    assert np.array_equal(degraded(Degradation.NONE, 1.0)[0], image)
    small, large = (degraded(kind, 1.0)[1] for kind in (Degradation.SMALL, Degradation.LARGE))
    assert (small > 0).sum() == pytest.approx(0.35**2 * (labels > 0).sum(), rel=0.05)
    assert (large > 0).sum() == pytest.approx(2.4**2 * (labels > 0).sum(), rel=0.05)
    cut, left = degraded(Degradation.CROPPED, 0.5)
    assert (left > 0).sum() == pytest.approx(0.55 * (labels > 0).sum(), rel=0.05)
    assert (cut[(labels > 0) & (left == 0)] == 0).all()
    gone, truth = degraded(Degradation.ABSENT, 0.5)
    assert not truth.any()
    assert not ((gone > 950) & (gone < 1550)).any()
    opposite, _ = degraded(Degradation.CONTRAST, 1.0)
    assert np.median(opposite[labels == 2]) > np.median(opposite[labels == 1])
    noise = [np.std(degraded(Degradation.NOISE, severity)[0] - image) for severity in (0.1, 0.9)]
    assert noise[1] > 3 * noise[0]
    holes, _ = degraded(Degradation.HOLES, 1.0)
    assert (holes[20:-20, 20:-20] == 0).mean() == pytest.approx(0.6, abs=0.15)


def test_two_simulated_readers_agree_as_well_as_experts():
    """Kalapos et al. 2023: experts reach a Dice of 0.908 among themselves. The walls are 6 to 8 mm thick."""
    random = np.random.default_rng(2)
    scores = []
    for inner, outer in [(22, 27), (17, 22), (11, 15)] * 10:
        sample = Sample(np.zeros((SIZE, SIZE), np.float32), ring(inner, outer), Degradation.NONE, 0)
        one, other, *_ = confidence._readings(sample, ContourOffsets(1.5, 1.5), random)
        scores.append(dice(one, other))
    assert np.mean(scores) == pytest.approx(0.908, abs=0.02)


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


def least_error(scores):
    """Least sum of absolute errors of a rising sequence, as a linear programme."""
    n = len(scores)
    one, rise = np.eye(n), np.eye(n - 1, n) - np.eye(n - 1, n, 1)
    limits = np.block([[one, -one], [-one, -one], [rise, np.zeros((n - 1, n))]])
    bounds = np.concatenate([scores, -scores, np.zeros(n - 1)])
    cost = np.repeat([0.0, 1.0], n)
    return linprog(cost, limits, bounds, bounds=[(None, None)] * n + [(0, None)] * n).fun


@pytest.mark.parametrize("seed", range(8))
def test_the_curve_has_the_least_absolute_error_of_all_that_rise(seed):
    random = np.random.default_rng(seed)
    sums = np.sort(random.normal(size=25))
    scores = np.clip(0.5 + 0.2 * sums + 0.3 * random.standard_normal(25), 0.0, 1.0)
    steps = confidence._medians(sums, scores)
    assert all(np.diff([*steps.values()]) > 0)
    # Each step is that of the next slices whose mean sum it has.
    error, done = 0.0, 0
    for at, dice_ in steps.items():
        ends = range(done + 1, len(sums) + 1)
        end = next(end for end in ends if sums[done:end].mean() == pytest.approx(at, abs=1e-12))
        error, done = error + np.abs(scores[done:end] - dice_).sum(), end
    assert done == len(sums)
    assert error == pytest.approx(least_error(scores))


def test_signals_that_say_nothing_give_the_mean():
    random = np.random.default_rng(6)
    scores = random.uniform(0.0, 1.0, 400)
    made = fit(random.standard_normal((400, 3)), scores, np.arange(400) // 4, "w")
    expected = made.expected_dice(random.standard_normal((400, 3)))
    assert expected.mean() == pytest.approx(scores.mean(), abs=0.05)
    assert np.abs(expected - scores.mean()).mean() < 0.12


def test_a_fitted_calibration_survives_its_file():
    random = np.random.default_rng(8)
    found = random.standard_normal((100, len(SIGNALS)))
    scores = np.clip(0.5 + 0.3 * found[:, 0], 0.0, 1.0)
    made = fit(found, scores, np.arange(100) // 4, "w")
    assert Calibration.from_json(made.to_json()) == made


def made_up_scores(hearts):
    """Dice that follows from the first signal, evenly distributed from 0.5 to 1."""
    dice_of = np.linspace(0.5, 1.0, 4 * hearts)
    found = np.stack([np.log(dice_of / (1.001 - dice_of)), np.zeros(len(dice_of))], axis=1)
    heart = np.random.default_rng(2).permutation(len(dice_of)) // 4
    return Scores(found, dice_of, (Degradation.NONE,) * len(dice_of), heart, 0)


def test_the_threshold_flags_a_fifth_of_the_good_slices():
    """Good ones lie between 0.8 and 1; a fifth of them lie below 0.84."""
    assert review_threshold(made_up_scores(100)) == pytest.approx(0.84, abs=0.015)


def test_there_is_no_threshold_for_too_few_hearts():
    assert review_threshold(made_up_scores(9)) is None


def test_too_few_hearts_are_an_error():
    with pytest.raises(MyostreamError, match="more slices"):
        fit(np.zeros((8, 2)), np.ones(8), np.arange(8) // 4, "w")


class Reader:
    """Finds the labels that an image shows, displaced and uncertain by its first pixel.

    The labels are the ranks of the grey levels where the image is normalised.
    """

    name = "reader"

    def infer(self, images):
        outputs = []
        for image in images:
            if image.min() < 0.0:
                image = np.unique(image, return_inverse=True)[1].reshape(image.shape)
            error = float(image[0, 0])
            labels = np.zeros_like(image, int) if error > 0.9 else np.round(image).astype(int)
            one = np.stack([np.roll(labels, round(20 * error), axis=1) == k for k in range(3)])
            uncertain = min(0.9 * error, 0.45)
            outputs.append((1 - uncertain) * one + uncertain / 3)
        return np.array(outputs, np.float32)


def made_up_samples(hearts, seed):
    random = np.random.default_rng(seed)
    for heart in range(hearts):
        samples = []
        for variant in range(confidence.VARIANTS):
            centre = (random.uniform(70, 150), random.uniform(70, 150))
            labels = ring(15 + random.integers(8), 28, centre)
            image = labels.astype(np.float32)
            image[0, 0] = random.uniform() if variant else 0.0
            kind = Degradation.NOISE if variant else Degradation.NONE
            samples.append(Sample(image, labels, kind, heart))
        yield samples


def test_scores_are_those_of_readers_who_differ_as_experts_do():
    """Perfect contours agree with a reader better than two readers with each other (0.908), but not fully."""
    scores = score_samples(
        Reader(), made_up_samples(6, 1), ContourOffsets(1.5, 1.5), np.random.default_rng(1)
    )
    intact = np.array([kind is Degradation.NONE for kind in scores.degradation])
    assert (scores.dice[intact] > 0.9).all()
    assert 0.93 < scores.dice[intact].mean() < 0.985
    assert scores.dice[~intact].min() < 0.7
    assert scores.signals.shape == (len(scores.dice), len(SIGNALS))
    assert len(scores.dice) + scores.without_contours == 6 * confidence.VARIANTS


@pytest.fixture
def weights(monkeypatch, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "unet-01-of-01.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(confidence, "build_pipeline", lambda settings: Pipeline(Reader()))
    monkeypatch.setattr(confidence, "make_samples", made_up_samples)
    return folder


def test_the_command_writes_a_calibration_that_beats_the_mean(weights, tmp_path):
    files = {"json_file": tmp_path / "all.json", "plot": tmp_path / "plot.png"}
    content = calibrate(Settings(weights=weights), 60, **files)
    made, source = load_calibration(weights)
    assert made is not None
    assert source.startswith("calibrated for weights")
    held_out = content["held_out"]
    assert held_out["mean_absolute_error"] < 0.5 * held_out["mean_absolute_error_of_the_mean"]
    assert held_out["auc"] > 0.95
    assert content["by_degradation"]["none"]["dice"] > content["by_degradation"]["noise"]["dice"]
    assert json.loads(files["json_file"].read_text()) == json.loads(json.dumps(content))
    assert files["plot"].read_bytes().startswith(b"\x89PNG")


def test_real_maps_are_reported_and_not_fitted(weights, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    labels = ring()
    for number in (1, 2):
        for kind in ("t1", "t2"):
            file = data / f"patient-{kind}-slice-{number}.npz"
            np.savez(
                file,
                **{
                    f"{kind}_ms": (50.0 * labels).astype(np.float32),
                    "label": labels,
                    "pixel_spacing_mm": 1.5,
                },
            )
    calibrate(Settings(weights=weights), 28)
    before = (weights / FILE).read_bytes()
    parts = {"train": ["patient-t1"], "validation": [], "test": []}
    (weights.parent / "split.json").write_text(json.dumps(parts))
    content = calibrate(Settings(weights=weights), 28, data=data)
    assert content["real"]["seen_in_training"] == {"cases": 2, "missing": 0, "train": 1, "validation": 0}
    assert (weights / FILE).read_bytes() == before
    assert content["real"]["slices"] == 4
    assert content["real"]["first_readers"] == {"reader": 4}
    with pytest.raises(CaseError):
        score_folder(Reader(), load_calibration(weights)[0], weights, ContourOffsets(1.5, 1.5))


def test_the_least_number_of_slices_leaves_enough_hearts_for_the_fit():
    def for_the_fit(slices):
        hearts = slices // confidence.VARIANTS
        return hearts - hearts // confidence._HELD_OUT

    least = get_type_hints(cli.confidence, include_extras=True)["slices"].__metadata__[0].min
    assert for_the_fit(least) == confidence._FOLDS > for_the_fit(least - 1)
