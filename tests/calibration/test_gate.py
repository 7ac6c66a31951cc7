"""The gate passes what finds the same and nothing else."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from calibration.gate import run_gate
from calibration.slices import MapSlice, calibration_batches, map_slices
from inline.data.series import Quantity
from model.engines.gate_report import bf16_report
from model.engines.int8_model import FOLDER, read_int8
from model.engines.openvino_engine import OpenVinoEngine, Precision, int8_engine
from model.engines.openvino_graph import build_model
from model.engines.torch_engine import TorchEngine
from model.host import VNNI, computes_bfloat16, cpu_flags
from model.insertion import heat_maps
from model.weights import DEFAULT, load_network, load_weights, network_of

SIZE = 224


def disc_slices(count=12):
    """Hearts in different places on maps of T1 and T2 that rise towards the outside."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    for number in range(count):
        centre = random.uniform(80, 140, 2)
        radius = np.hypot(x - centre[0], y - centre[1])
        quantity = Quantity.T1 if number % 2 else Quantity.T2
        values = (1000.0 if quantity is Quantity.T1 else 50.0) * (1.0 + 0.01 * (radius - 20))
        yield MapSlice(radius.astype(np.float32), np.maximum(values, 0).astype(np.float32), quantity)


class Discs:
    """Finds a heart in an image of distances from its centre; displaced by some pixels."""

    def __init__(self, name="discs", shift=0.0, grow=0.0, fail=False, steep=1.0):
        self.name, self._shift, self._grow, self._fail, self._steep = name, shift, grow, fail, steep

    def infer(self, images):
        outputs = []
        for radius in images:
            moved = np.roll(radius, round(self._shift), axis=1) - self._grow
            cavity, heart = expit(self._steep * (15 - moved)), expit(self._steep * (24 - moved))
            if self._fail:
                cavity, heart = 0 * cavity, 0 * heart
            outputs.append(np.stack([1 - heart, cavity, heart - cavity]))
        return np.array(outputs, np.float32)


def test_the_same_engine_passes():
    report = run_gate(Discs(), Discs("reference"), disc_slices())
    assert report.passed
    assert report.dice == 1.0
    assert report.hausdorff_p99_px == 0.0
    assert report.t1_within == report.t2_within == 1.0


@pytest.mark.parametrize(
    ("ruined", "reason"),
    [
        (Discs("shifted", shift=3), "pixels apart"),
        (Discs("grown", grow=2.0), "Dice"),
        (Discs("grown a little", grow=0.4), "median T"),
        (Discs("blind", fail=True), "Dice"),
    ],
)
def test_a_ruined_engine_fails_and_the_report_says_why(ruined, reason):
    report = run_gate(ruined, Discs("reference"), disc_slices())
    assert not report.passed
    assert any(reason in each for each in report.reasons)


@pytest.mark.parametrize("steep", [0.5, 1.5])
def test_an_engine_with_the_same_contours_and_another_confidence_fails(steep):
    report = run_gate(Discs("steep", steep=steep), Discs("reference"), disc_slices())
    assert report.dice > 0.99
    assert len(report.reasons) == 1
    assert "another confidence" in report.reasons[0]


class DiscsWithPoints(Discs):
    """Also returns heat at two points, some pixels aside or with less heat."""

    def __init__(self, name="discs", aside=0.0, peak=1.0):
        super().__init__(name)
        points = torch.tensor([[[80.0 + aside, 70.0], [80.0, 130.0]]])
        self._heat = peak * heat_maps(points, SIZE, SIZE).numpy()

    def infer(self, images):
        output = super().infer(images)
        heat = np.repeat(self._heat, len(images), axis=0)
        return np.concatenate([output, heat], axis=1).astype(np.float32)


def test_the_same_insertion_points_pass_and_weights_without_them_have_none():
    report = run_gate(DiscsWithPoints(), DiscsWithPoints("reference"), disc_slices())
    assert report.passed
    assert (report.points, report.points_lost, report.point_p95_mm) == (24, 0, 0.0)
    without = run_gate(Discs(), Discs("reference"), disc_slices())
    assert (without.points, without.points_lost, without.point_p95_mm) == (0, 0, None)
    assert report.points_invented == without.points_invented == 0


def test_an_engine_that_invents_insertion_points_fails():
    report = run_gate(DiscsWithPoints("inventive"), Discs("reference"), disc_slices())
    assert report.points_invented == 24
    assert report.reasons == ("24 insertion points that reference does not find, beside its 0: above 5%",)


@pytest.mark.parametrize(
    ("ruined", "reason"),
    [
        (DiscsWithPoints("aside", aside=2.0), "insertion points 3.00 mm apart"),
        (DiscsWithPoints("faint", peak=0.3), "24 of 24 insertion points lost"),
        (Discs("without"), "24 of 24 insertion points lost"),
    ],
)
def test_an_engine_with_other_insertion_points_fails(ruined, reason):
    report = run_gate(ruined, DiscsWithPoints("reference"), disc_slices())
    assert not report.passed
    assert len(report.reasons) == 1
    assert reason in report.reasons[0]


def test_a_reference_that_finds_nothing_proves_nothing():
    report = run_gate(Discs(fail=True), Discs("reference", fail=True), disc_slices())
    assert not report.passed
    assert "finds contours on 0 of 12" in report.reasons[0]


def test_slices_for_calibration_and_for_the_gate_are_others():
    (batch,) = calibration_batches(3)
    assert batch.shape == (3, 1, 224, 224)
    gate = list(map_slices(3))
    assert len(gate) == 3
    assert all(each.image.shape == each.values_ms.shape == (224, 224) for each in gate)
    assert not np.array_equal(batch[0, 0], gate[0].image)


def test_the_shipped_network_with_ruined_weights_does_not_pass():
    """A real engine: noise of a fifth of the spread of each kernel's values."""
    reference, ruined = load_network(), load_network()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in ruined.parameters():
            if value.ndim > 1:
                value += 0.2 * value.std() * torch.randn(value.shape, generator=generator)
    report = run_gate(TorchEngine(ruined), TorchEngine(reference), map_slices(3))
    assert report.compared >= 2
    assert not report.passed
    assert any("mean Dice" in reason for reason in report.reasons)


@pytest.mark.slow
@pytest.mark.skipif(not computes_bfloat16(), reason="the CPU does not compute in bfloat16")
def test_bfloat16_agrees_with_float32_on_slices_that_its_gate_did_not_see():
    tensors = load_weights()
    assert bf16_report(DEFAULT)["slices"] == 500
    engine = OpenVinoEngine(build_model(tensors), Precision.BF16)
    report = run_gate(engine, TorchEngine(network_of(tensors)), map_slices(24, seed=7105))
    assert report.disagreed == 0
    assert report.dice >= report.limits.dice
    assert report.hausdorff_p50_px < 0.3


@pytest.mark.slow
@pytest.mark.skipif(not VNNI & cpu_flags(), reason="the CPU has no VNNI, where int8 sums are exact")
def test_the_int8_model_beside_the_weights_agrees_with_float32_on_slices_that_its_gate_did_not_see():
    model = read_int8(DEFAULT / FOLDER, DEFAULT)
    engine = int8_engine(model.graph, model.constants, load_weights())
    report = run_gate(engine, TorchEngine(load_network()), map_slices(24, seed=7105))
    assert report.disagreed == 0
    assert report.dice >= report.limits.dice
    assert report.hausdorff_p50_px < 0.3
