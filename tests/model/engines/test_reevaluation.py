"""Float32 looks again where eight bits are in doubt, and nowhere else."""

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from model.engines.openvino_engine import save, write_doubt
from model.engines.reevaluation import SecondLook, doubts


def heart(radius, softness, centre=(50.0, 60.0)):
    """Probabilities of a heart whose borders are ``softness`` pixels wide."""
    y, x = np.mgrid[:128, :128]
    rho = np.hypot(x - centre[0], y - centre[1])
    inside, cavity = (1.0 / (1.0 + np.exp((rho - r) / softness)) for r in (radius, 0.6 * radius))
    return np.stack([1 - inside, cavity, inside - cavity]).astype(np.float32)


class Fixed:
    def __init__(self, name, answers):
        self.name, self._answers, self.asked = name, answers, []

    def infer(self, images):
        self.asked.append(len(images))
        return np.stack([self._answers[int(image[0, 0])] for image in images])


def test_doubt_grows_with_the_width_of_the_borders_and_not_with_the_heart():
    sharp, soft = heart(25.0, 0.2), heart(25.0, 1.5)
    small, nothing = heart(12.0, 0.2), np.zeros_like(sharp)
    nothing[0] = 1.0
    of_sharp, of_soft, of_small, of_nothing = doubts(np.stack([sharp, soft, small, nothing]))
    assert of_soft > 4 * of_sharp
    assert of_small == pytest.approx(of_sharp, rel=0.2)
    assert of_nothing == 0.0


def test_only_slices_in_doubt_are_looked_at_again():
    sharp, soft, right = heart(25.0, 0.2), heart(25.0, 3.0), heart(20.0, 0.2)
    fast, exact = Fixed("int8", [sharp, soft, sharp, soft]), Fixed("f32", [None, right, None, right])
    engine = SecondLook(fast, exact, float(doubts(soft[None])[0]) - 0.01)
    answer = engine.infer(np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 8, 8), np.float32))
    for got, expected in zip(answer, (sharp, right, sharp, right), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert (fast.asked, exact.asked) == ([4], [2])
    assert engine.name == "int8"


def test_nonsense_goes_on_to_whoever_replaces_engines():
    broken = np.full((3, 8, 8), np.nan, np.float32)
    exact = Fixed("f32", [])
    answer = SecondLook(Fixed("int8", [broken]), exact, 0.5).infer(np.zeros((1, 8, 8), np.float32))
    assert np.isnan(answer).all()
    assert exact.asked == []


def test_a_model_keeps_its_doubt_on_disk(tmp_path):
    image = ops.parameter([1, 4], np.float32)
    model = openvino.Model(ops.add(image, np.ones((1, 4), np.float32)), [image])
    write_doubt(model, 1.25)
    save(model, tmp_path / "model.xml")
    read = openvino.Core().read_model(tmp_path / "model.xml")
    assert float(read.get_rt_info(["myostream", "doubt"]).astype(str)) == 1.25
