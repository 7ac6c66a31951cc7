"""Loading and running a plan, with a stand-in for TensorRT's runtime that uses its addresses as it would."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from calibration import build
from model.engines import tensorrt_int8_engine
from model.engines.engine_cache import EngineStore, NotPassedError
from model.engines.reevaluation import SecondLook
from model.engines.tensorrt_int8_engine import PlanEngine, load
from model.engines.torch_engine import TorchEngine
from model.weights import DEFAULT, load_network

PIXELS = 224 * 224


def memory(address, count):
    return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (count,))


class Context:
    """Answers shares of 1, 2 and 3 exp(image)."""

    def __init__(self):
        self.counts, self._addresses, self.fails = [], {}, False

    def set_tensor_address(self, name, address):
        self._addresses[name] = address

    def set_input_shape(self, name, shape):
        assert (name, shape[1:]) == ("images", (1, 224, 224))
        self.counts.append(shape[0])

    def execute_async_v3(self, stream):
        count = self.counts[-1]
        images = memory(self._addresses["images"], count * PIXELS).reshape(count, PIXELS)
        answers = memory(self._addresses["probabilities"], count * 3 * PIXELS).reshape(count, 3, PIXELS)
        answers[:] = expected(images)
        return not self.fails


def expected(images):
    weights = np.stack([np.ones_like(images), np.full_like(images, 2.0), 3.0 * np.exp(images)], axis=1)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture
def context(monkeypatch, cpu_for_gpu):
    context = Context()

    def deserialize(plan):
        return SimpleNamespace(create_execution_context=lambda: context) if plan == b"plan" else None

    runtime = SimpleNamespace(deserialize_cuda_engine=deserialize)
    logger = SimpleNamespace(errors=["wrong GPU"])
    monkeypatch.setattr(tensorrt_int8_engine, "_runtime", lambda: (logger, runtime))
    monkeypatch.setattr(tensorrt_int8_engine, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(tensorrt_int8_engine, "describe_gpu", lambda device: "one GPU")
    monkeypatch.setattr(torch.cuda.Stream, "cuda_stream", 0, raising=False)
    return context


def test_a_plan_runs_in_batches_of_at_most_32(context, tmp_path):
    (tmp_path / "model.plan").write_bytes(b"plan")
    images = np.random.default_rng(1).normal(size=(40, 224, 224)).astype(np.float32)
    found = PlanEngine(tmp_path / "model.plan").infer(images)
    assert context.counts == [32, 8]
    np.testing.assert_allclose(found, expected(images.reshape(40, -1)).reshape(40, 3, 224, 224), rtol=1e-6)


def test_a_plan_of_another_gpu_is_refused(context, tmp_path):
    (tmp_path / "model.plan").write_bytes(b"another")
    with pytest.raises(RuntimeError, match="does not take the plan: wrong GPU"):
        PlanEngine(tmp_path / "model.plan")


def test_a_failure_is_raised_for_the_next_engine_to_take_over(context, tmp_path):
    (tmp_path / "model.plan").write_bytes(b"plan")
    engine = PlanEngine(tmp_path / "model.plan")
    context.fails = True
    with pytest.raises(RuntimeError, match="TensorRT failed"):
        engine.infer(np.zeros((1, 224, 224), np.float32))


class Rounded:
    """What stands for the plan: the network itself, or one that knows nothing."""

    name = "tensorrt-int8"

    def __init__(self, network, ruined):
        self._engine, self._ruined = TorchEngine(network), ruined

    def infer(self, images):
        answers = self._engine.infer(images)
        return np.full_like(answers, 1 / 3) if self._ruined else answers


@pytest.mark.parametrize("ruined", [False, True])
def test_it_is_used_once_it_was_calibrated_here_and_passed(context, monkeypatch, tmp_path, ruined):
    pytest.importorskip("onnxscript", reason="the extra ahead-of-time is not installed")
    builder = pytest.importorskip("model.engines.tensorrt_builder", reason="TensorRT is not installed")
    network, store = load_network(), EngineStore(tmp_path)
    made = []
    if ruined:  # once is enough
        monkeypatch.setattr(build, "export_module", lambda module, file: file.write_bytes(b""))

    def build_engine(onnx):
        made.append(onnx.stat().st_size)
        return b"plan"

    monkeypatch.setattr(builder, "build_engine", build_engine)
    monkeypatch.setattr(build, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(build, "_DOUBT_SLICES", 2)
    monkeypatch.setattr(tensorrt_int8_engine, "PlanEngine", lambda plan: Rounded(network, ruined))
    for module in (build, tensorrt_int8_engine):
        monkeypatch.setattr(module, "CudaEngine", TorchEngine)
    with pytest.raises(NotPassedError, match="none is kept"):
        load(DEFAULT, network, store)
    report = build.build_tensorrt_int8(DEFAULT, 4, calibration_slices=1, store=store)
    assert report.engine == "tensorrt-int8"
    assert report.passed != ruined
    if ruined:
        with pytest.raises(NotPassedError, match="missed its gate"):
            load(DEFAULT, network, store)
        return
    # Weights of one byte; the two convolutions in half precision are small.
    parameters = sum(each.numel() for each in network.parameters())
    assert parameters < made[0] < 1.2 * parameters
    engine = load(DEFAULT, network, store)
    assert isinstance(engine, SecondLook)
    assert engine.name == "tensorrt-int8"
    assert engine.infer(np.zeros((3, 224, 224), np.float32)).shape == (3, 3, 224, 224)


def test_its_eight_bits_can_be_judged_without_a_gpu(monkeypatch):
    monkeypatch.setattr(build, "_DOUBT_SLICES", 4)
    report = build.simulate_tensorrt_int8(DEFAULT, 6, calibration_slices=4)
    assert report.engine == "tensorrt-int8, simulated"
    assert report.dice > 0.97
    assert report.probability > 0.0  # it does round


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
def test_tensorrt_in_eight_bits_passes_its_gate(tmp_path):
    pytest.importorskip("model.engines.tensorrt_builder", reason="TensorRT is not installed")
    report = build.build_tensorrt_int8(DEFAULT, 100, store=EngineStore(tmp_path))
    assert report.passed, report.reasons
    assert load(DEFAULT, load_network(), EngineStore(tmp_path)).name == "tensorrt-int8"
