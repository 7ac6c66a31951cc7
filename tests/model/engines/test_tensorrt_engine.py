"""TensorRT through torch_tensorrt, on a GPU."""

import sys

import pytest
import torch

from model.engines import tensorrt_engine
from model.engines.engine_cache import EngineCache
from model.engines.self_test import Reference, run_self_test
from model.engines.tensorrt_engine import TensorRtEngine
from model.weights import DEFAULT, load_network, load_weights


def test_a_missing_package_is_reported(monkeypatch, cpu_for_gpu, network, tmp_path):
    monkeypatch.setattr(tensorrt_engine, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(RuntimeError, match="torch_tensorrt is missing"):
        TensorRtEngine(network, DEFAULT, EngineCache(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
def test_tensorrt_agrees_with_float32_compiled_and_loaded(tmp_path):
    pytest.importorskip("torch_tensorrt", reason="the extra tensorrt is not installed")
    network = load_network()
    reference = Reference.of(load_weights())
    for _ in range(2):
        run_self_test(TensorRtEngine(network, DEFAULT, EngineCache(tmp_path)), reference)
