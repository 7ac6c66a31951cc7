"""The exported network, run by a runtime that is not torch."""

import numpy as np
import openvino
import pytest

from model.engines.onnx_export import export_onnx
from model.engines.self_test import trial_images
from model.engines.torch_engine import TorchEngine
from model.weights import load_network

pytest.importorskip("onnx", reason="the extra ahead-of-time is not installed")
pytest.importorskip("onnxscript", reason="the extra ahead-of-time is not installed")


@pytest.mark.parametrize(("half", "most"), [(False, 1e-3), (True, 0.02)])
def test_the_shipped_network_answers_as_torch_does(tmp_path, half, most):
    network = load_network()
    export_onnx(network, tmp_path / "model.onnx", half=half)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(tmp_path / "model.onnx", "CPU", options)
    images, reference = trial_images(), TorchEngine(network).infer(trial_images())
    for count in (1, 2):
        answers = compiled([images[:count, None]])[0]
        assert answers.dtype == np.float32
        assert np.abs(answers - reference[:count]).max() < most
