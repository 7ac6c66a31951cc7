"""The comparison of engines says what runs, what does not and why; with engines that are there at once."""

from types import SimpleNamespace

import numpy as np
import pytest

from bench import engines
from inline.settings import Settings
from model.engines.self_test import Reference
from tests.shapes import RingEngine


class Timed:
    """Takes a known time of a clock that stands still else, and notes its turn."""

    def __init__(self, name, seconds, clock, turns):
        self.name = name
        self._seconds, self._clock, self._turns = seconds, clock, turns

    def infer(self, images):
        self._turns.append(self.name)
        self._clock.now += self._seconds


def test_each_engine_has_its_turn_and_its_time(monkeypatch):
    clock, turns = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(engines, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    made = {name: Timed(name, s, clock, turns) for name, s in (("slow", 0.02), ("quick", 0.001))}
    times = engines.in_turns(made, [np.zeros((1, 224, 224), np.float32)], 5)
    assert times["slow"] == pytest.approx([20.0] * 5)
    assert times["quick"] == pytest.approx([1.0] * 5)
    assert turns == ["slow", "quick"] * 6  # the first of each prepares


def test_figures_of_what_runs_and_reasons_of_what_does_not(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MYOSTREAM_CACHE", str(tmp_path))
    monkeypatch.setattr(engines, "weights_of", lambda settings: (None, tmp_path))
    monkeypatch.setattr(engines, "preferred", lambda: ("openvino-int8", "openvino-f32", "torch"))
    slice_ = SimpleNamespace(image=np.zeros((224, 224), np.float32))
    monkeypatch.setattr(engines, "make_slices", lambda count, kind: [(slice_, "none")] * count)
    monkeypatch.setattr(engines, "_memory_mib", lambda name, settings: 300.0)

    images = np.zeros((2, 224, 224), np.float32)
    reference = Reference(images, RingEngine(name="torch").infer(images))
    monkeypatch.setattr(engines, "reference_of", lambda network, weights: reference)

    def load(name, network, weights):
        if name in ("openvino-f32", "torch"):
            return RingEngine(name=name)
        if name == "openvino-bf16":
            wrong = RingEngine(name=name)
            wrong.infer = lambda images: np.roll(reference.output, 9, axis=3)
            return wrong
        raise RuntimeError(f"no {name} here")

    monkeypatch.setattr(engines, "load_engine", load)
    figures = engines.measure(Settings(), 3)
    assert set(figures["engines"]) == {"openvino-f32", "torch"}
    assert figures["chosen"] == "openvino-f32"
    row = figures["engines"]["openvino-f32"]
    assert row["dice_with_f32"] == pytest.approx(1.0)
    assert row["largest_difference"] == 0.0
    assert row["p50"] <= row["p99"]
    assert figures["missing"]["tensorrt"] == "no tensorrt here"
    assert "output differs from float32" in figures["missing"]["openvino-bf16"]
    engines.show(figures, tmp_path / "figures.json")
    text = capsys.readouterr().out
    assert "cuda: not available: no cuda here" in text
    assert "in use: openvino-f32, the first available of openvino-int8 > openvino-f32 > torch" in text
    assert (tmp_path / "figures.json").exists()
