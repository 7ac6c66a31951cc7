"""Training within a given time, by a clock that the test moves."""

import json

import pytest
import torch

from model.training import timed
from model.training.timed import Plan, TimedTraining, train_within
from model.unet import UNet
from model.weights import load_network, save_weights

TINY = Plan(size=64, chunk=2, batch=2, capacity=8, first=2, steps=1, learning_rate=1e-4, mean=0.9, settling=1)


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
    assert kept["training"]["plan"]["size"] == 64
    assert kept["log"][0]["steps"] == 1
    first = load_network(tmp_path / "start").state_dict()
    moved = [
        (first[name] - value).abs().max() for name, value in network.state_dict().items() if name in first
    ]
    assert max(moved) > 0


def test_too_little_time_is_reported(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(timed, "time", Clock())
    with pytest.raises(ValueError, match="too short"):
        train_within(TimedTraining(tmp_path, 0.1, None, "cpu", plan=TINY), lambda _: None)


def test_a_gpu_that_is_not_there_is_reported(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU"):
        train_within(TimedTraining(tmp_path, 1.0, None, "gpu", plan=TINY), lambda _: None)


def test_a_trial_finds_what_a_perfect_network_would(monkeypatch) -> None:
    """A network that knows labels and points scores nearly 1 and misses by less than a pixel."""
    made = []
    original = timed.make_batch

    def remember(*arguments, **options):
        made.append(original(*arguments, **options))
        return made[-1]

    class Knowing(torch.nn.Module):
        def forward(self, images):
            batch = made[-1]
            classes = 20.0 * torch.nn.functional.one_hot(batch.labels, 3).movedim(-1, 1).float()
            heat = timed.heat_maps(batch.insertions, *images.shape[-2:])
            return torch.cat([classes, torch.logit(heat, 1e-4)], dim=1)

    monkeypatch.setattr(timed, "make_batch", remember)
    tried = timed.try_on(Knowing(), 8, "t2", torch.device("cpu"), 4)
    assert tried["dice"] == 1.0
    assert tried["found"] == 1.0
    assert tried["median_mm"] < 0.5
    assert tried["without"] == 0.0
