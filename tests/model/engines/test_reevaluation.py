"""Slices of which the fast engine is uncertain are computed again in float32, and no others."""

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from model.engines import openvino_engine
from model.engines.openvino_engine import int8_engine, serialise, set_threshold
from model.engines.reevaluation import ReevaluatingEngine, uncertainty


def heart(radius, width, centre=(50.0, 60.0)):
    """Probabilities of a heart whose boundaries are ``width`` pixels wide."""
    y, x = np.mgrid[:128, :128]
    rho = np.hypot(x - centre[0], y - centre[1])
    inside, cavity = (1.0 / (1.0 + np.exp((rho - r) / width)) for r in (radius, 0.6 * radius))
    return np.stack([1 - inside, cavity, inside - cavity]).astype(np.float32)


class Fixed:
    def __init__(self, name, outputs):
        self.name, self._outputs, self.batches = name, outputs, []

    def infer(self, images):
        self.batches.append(len(images))
        return np.stack([self._outputs[int(image[0, 0])] for image in images])


def test_uncertainty_grows_with_the_width_of_the_boundary_and_not_with_the_heart():
    sharp, wide, small = heart(25.0, 0.2), heart(25.0, 1.5), heart(12.0, 0.2)
    nothing = np.zeros_like(sharp)
    nothing[0] = 1.0
    of_sharp, of_wide, of_small, of_nothing = uncertainty(np.stack([sharp, wide, small, nothing]))
    assert of_wide > 4 * of_sharp
    assert of_small == pytest.approx(of_sharp, rel=0.2)
    assert of_nothing == 0.0


def test_heat_maps_are_left_out_of_account():
    with_heat = np.concatenate([heart(25.0, 0.7), np.full((2, 128, 128), 0.9, np.float32)])
    assert uncertainty(with_heat[None])[0] == uncertainty(with_heat[None, :3])[0]


def test_only_uncertain_slices_are_computed_again():
    sharp, wide, right = heart(25.0, 0.2), heart(25.0, 3.0), heart(20.0, 0.2)
    fast, exact = Fixed("int8", [sharp, wide, sharp, wide]), Fixed("f32", [None, right, None, right])
    engine = ReevaluatingEngine(fast, exact, float(uncertainty(wide[None])[0]) - 0.01)
    output = engine.infer(np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 8, 8), np.float32))
    np.testing.assert_array_equal(output, [sharp, right, sharp, right])
    assert (fast.batches, exact.batches) == ([4], [2])
    assert engine.name == "int8"


def test_nan_is_returned_to_the_caller():
    exact = Fixed("f32", [])
    engine = ReevaluatingEngine(Fixed("int8", [np.full((3, 8, 8), np.nan, np.float32)]), exact, 0.5)
    assert np.isnan(engine.infer(np.zeros((1, 8, 8), np.float32))).all()
    assert exact.batches == []


def test_the_threshold_is_stored_in_the_model(monkeypatch):
    monkeypatch.setattr(openvino_engine, "build_model", lambda tensors: tensors)
    image = ops.parameter([1, 4], np.float32)
    model = openvino.Model(ops.add(image, np.ones((1, 4), np.float32)), [image])
    assert isinstance(int8_engine(*serialise(model), model), openvino_engine.OpenVinoEngine)
    set_threshold(model, 1.25)
    engine = int8_engine(*serialise(model), model)
    assert isinstance(engine, ReevaluatingEngine)
    assert engine._threshold == 1.25
