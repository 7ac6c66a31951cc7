"""Training within a given time, by a clock that the test moves."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from model.output import OutputError
from model.training import timed
from model.training.ring import StepSlices
from model.training.timed import Learner, Plan, TimedTraining, rate_at, start_network, train_within
from model.unet import UNet
from model.weights import load_network, save_weights

TINY = Plan(
    size=64, whole=0, chunk=2, batch=2, capacity=8, first=2, steps=1, learning_rate=1e-4, mean=0.9, settling=1
)


class Clock:
    """Every look takes three seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 3.0
        return self.now


def test_ends_in_time_with_weights_that_load(tmp_path, monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timed, "time", clock)
    torch.manual_seed(1)
    save_weights(UNet(), tmp_path / "start")
    training = TimedTraining(tmp_path / "run", 1.0, tmp_path / "start", "cpu", plan=TINY)
    content = train_within(training, lambda _: None)
    assert clock.now <= 60.0
    assert content["steps"] >= 2
    network = load_network(tmp_path / "run" / "weights")
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 64, 64)).shape == (1, 5, 64, 64)
    kept = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (kept["training"]["plan"]["size"], kept["training"]["apices"]) == (64, timed.SHARE)
    assert kept["log"][0]["steps"] == 1
    first = load_network(tmp_path / "start").state_dict()
    moved = [
        (first[name] - value).abs().max() for name, value in network.state_dict().items() if name in first
    ]
    assert max(moved) > 0


@pytest.mark.parametrize("name", ["checkpoints", "split.json"])
def test_the_folder_of_a_run_on_labelled_cases_is_refused_and_kept(tmp_path, name) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "training.json").write_text("{}")
    save_weights(UNet(), tmp_path / "weights")
    training = TimedTraining(tmp_path, 1.0, tmp_path / "weights", "cpu", plan=TINY)
    with pytest.raises(ValueError, match=f"holds a training on labelled cases .{name}"):
        train_within(training, lambda _: None)
    assert (tmp_path / "training.json").read_text() == "{}"


def test_some_steps_of_small_slices_take_whole_frames(tmp_path, monkeypatch) -> None:
    """What lies far from the heart is in whole frames alone."""
    monkeypatch.setattr(timed, "time", Clock())
    sizes, rates = [], []

    class Seeing(Learner):
        def __init__(self, network, plan) -> None:
            super().__init__(network, plan)
            rates.append(plan.learning_rate)

        def learn(self, slices, share):
            sizes.append(slices.images.shape[-1])
            return super().learn(slices, share)

    monkeypatch.setattr(timed, "Learner", Seeing)
    torch.manual_seed(1)
    save_weights(UNet(), tmp_path / "start")
    plan = replace(TINY, whole=2, steps=4, settling=0)
    training = TimedTraining(tmp_path / "run", 1.0, tmp_path / "start", "cpu", learning_rate=3e-5, plan=plan)
    content = train_within(training, lambda _: None)
    assert sizes[:4] == [64, 224, 64, 224]
    crops = TINY.first + TINY.chunk * (content["steps"] // 4 - 1)
    assert content["slices"] == crops + sizes.count(224)
    assert rates == [3e-5] == [content["training"]["plan"]["learning_rate"]]


def test_too_little_time_is_reported(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(timed, "time", Clock())
    with pytest.raises(ValueError, match="too short"):
        train_within(TimedTraining(tmp_path, 0.1, None, "cpu", plan=TINY), lambda _: None)


def test_a_gpu_that_is_not_there_is_reported(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU"):
        train_within(TimedTraining(tmp_path, 1.0, None, "gpu", plan=TINY), lambda _: None)


def test_a_folder_that_cannot_be_written_is_reported_before_the_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(timed, "start_network", lambda _: pytest.fail("begun"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"):
        train_within(TimedTraining(tmp_path / "file", 1.0, tmp_path, "cpu"), lambda _: None)


def test_random_weights_on_a_cpu_are_reported(tmp_path) -> None:
    with pytest.raises(ValueError, match="goes on from weights"):
        train_within(TimedTraining(tmp_path, 1.0, None, "cpu"), lambda _: None)


def test_the_rate_rises_falls_and_ends_at_nothing() -> None:
    rates = [rate_at(share, 1e-3) for share in (0.0, 0.03, 0.5, 1.0, 1.5)]
    assert rates[0] == 0.0
    assert 0.99e-3 < rates[1] <= 1e-3
    assert abs(rates[2] - 0.5e-3) < 1e-9
    assert rates[3] == rates[4] == 0.0


def test_normalisation_knows_the_whole_frames_that_the_network_is_for() -> None:
    torch.manual_seed(1)
    learner = Learner(start_network(None), TINY)
    assert learner.settle(torch.Generator().manual_seed(5)) == TINY.frames == 1
    generator = torch.Generator().manual_seed(5)
    images = timed.make_batch(1, 224, generator, timed.MOSTLY_MAPS, apices=timed.SHARE).images
    with torch.inference_mode():
        mean = learner.kept.encoder.conv1(images[:, None]).mean((0, 2, 3))
    # Scores are computed in bfloat16 where the processor does so.
    assert torch.allclose(learner.kept.encoder.bn1.running_mean, mean, atol=2e-2)


def test_without_settling_normalisation_keeps_its_statistics() -> None:
    learner = Learner(start_network(None), replace(TINY, settling=0))
    slices = timed.Ring(2, 64, torch.Generator().manual_seed(3))
    slices.make(2)
    before = learner.kept.encoder.bn1.running_mean.clone()
    learner.learn(slices.draw(2), 0.5)
    assert learner.settle(torch.Generator().manual_seed(5)) == 0
    assert torch.equal(learner.kept.encoder.bn1.running_mean, before)


def test_a_network_without_insertion_points_learns_the_classes_alone() -> None:
    learner = Learner(start_network(None, insertions=False), TINY)
    slices = timed.Ring(2, 64, torch.Generator().manual_seed(3))
    slices.make(2)
    figures = learner.learn(slices.draw(2), 0.5)
    assert figures["heat"] == 0.0
    assert figures["loss"].isfinite()


class Fixed(torch.nn.Module):
    """A network with the same scores for all images."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.scores = torch.nn.Parameter(scores)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scores.clone()


def test_half_of_the_jaccard_loss_is_by_slice() -> None:
    """A cavity of 24 pixels is found, one of a single pixel missed, and there is no myocardium.

    By slice the index is the mean of 1 and 0; over the batch, that of 24/25 and, for the myocardium, 0. The
    cross-entropy is 100 in one of 72 pixels.
    """
    labels = torch.zeros(2, 6, 6, dtype=torch.long)
    labels[0, :4] = 1
    labels[1, 0, 0] = 1
    scores = 100.0 * functional.one_hot(labels, 3).movedim(-1, 1).float()
    scores[1, :, 0, 0] = torch.tensor([100.0, 0.0, 0.0])
    learner = Learner(Fixed(scores), TINY)
    loss = learner.learn(StepSlices(torch.zeros(2, 1, 6, 6), labels, torch.full((2, 2, 2), torch.nan)), 0.0)
    assert float(loss["loss"]) == pytest.approx(0.5 * (0.52 + 0.5) + 0.5 * 100.0 / 72.0, abs=1e-4)
