"""Eight bits in the graph: what torch computes, what an ONNX file says, what another runtime makes of it."""

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from calibration.precision import quantise_for_tensorrt
from calibration.slices import calibration_batches
from model.engines.eight_bits import EightBitConv, in_eight_bits
from model.engines.self_test import trial_images
from model.engines.torch_engine import TorchEngine
from model.weights import load_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def quantised():
    """In float32 between the convolutions: half precision is slow on a CPU."""
    return quantise_for_tensorrt(load_network(), calibration_batches(4), CPU, half=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("onnxscript", reason="the extra ahead-of-time is not installed")
    from model.engines.onnx_export import export_module

    def export(module):
        file = tmp_path_factory.mktemp("onnx") / "model.onnx"
        export_module(module, file)
        return file

    return export


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported(quantise_for_tensorrt(load_network(), calibration_batches(1), CPU))


def test_a_convolution_is_that_of_whole_numbers():
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    images = torch.randn(2, 4, 9, 9)
    largest = float(images.abs().max())
    step = largest / 127.0
    channels = plain.weight.detach().abs().amax(dim=(1, 2, 3)) / 127.0
    # In integers, as the hardware does it, scaled afterwards.
    inputs = torch.round(images / step).long()
    weights = torch.round(plain.weight.detach() / channels.view(-1, 1, 1, 1)).long()
    sums = nn.functional.conv2d(inputs.double(), weights.double(), stride=2, padding=1)
    expected = sums * step * channels.view(-1, 1, 1) + plain.bias.detach().view(-1, 1, 1)
    found = EightBitConv(plain, largest)(images)
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    assert (found - plain(images)).abs().max() < 0.1


def test_inputs_beyond_the_range_are_clipped():
    one = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(one.weight)
    values = torch.tensor([[[[0.2, 1.0, 5.0, -9.0]]]])
    found = EightBitConv(one, 1.0)(values).flatten()
    torch.testing.assert_close(found, torch.tensor([25 / 127, 1.0, 1.0, -128 / 127]), rtol=1e-5, atol=1e-6)


def test_only_stated_convolutions_are_replaced():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 1)), nn.Conv2d(2, 3, 1))
    in_eight_bits(module, {"1.0": 2.0})
    assert [type(each) for each in (module[0], module[1][0], module[2])] == [
        nn.Conv2d,
        EightBitConv,
        nn.Conv2d,
    ]


def test_the_shipped_network_stays_near_float32(quantised):
    images = trial_images()
    with torch.inference_mode():
        found = quantised(torch.from_numpy(images)[:, None]).numpy()
    apart = np.abs(found - TorchEngine(load_network()).infer(images))
    assert 1e-7 < apart.mean() < 1e-3
    kinds = [type(each) for each in quantised.modules()]
    assert kinds.count(EightBitConv) == 60
    assert kinds.count(nn.Conv2d) == 2


def test_the_file_has_signed_bytes_around_every_convolution(onnx_file):
    onnx = pytest.importorskip("onnx", reason="the extra ahead-of-time is not installed")
    graph = onnx.load(onnx_file).graph
    made = {output: node for node in graph.node for output in node.output}
    constants = {each.name: each for each in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    rounded = [
        node
        for node in convolutions
        if all(name in made and made[name].op_type == "DequantizeLinear" for name in node.input[:2])
    ]
    assert (len(convolutions), len(rounded)) == (62, 60)
    for node in rounded:
        assert constants[made[node.input[1]].input[0]].data_type == onnx.TensorProto.INT8
        quantize = made[made[node.input[0]].input[0]]
        zero = onnx.numpy_helper.to_array(constants[quantize.input[2]])
        assert (zero.dtype, int(zero)) == (np.int8, 0)


def test_another_runtime_computes_the_same(quantised, exported):
    # Without OpenVINO's own way to eight bits, which rounds otherwise.
    options = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": False}
    compiled = openvino.Core().compile_model(exported(quantised), "CPU", options)
    images = trial_images()
    with torch.inference_mode():
        expected = quantised(torch.from_numpy(images)[:, None]).numpy()
    assert np.abs(compiled([images[:, None]])[0] - expected).mean() < 1e-4


def test_tensorrt_builds_an_engine_of_eight_bits(onnx_file, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="the extra ahead-of-time is not installed")
    from model.engines.onnx_export import export_onnx
    from model.engines.tensorrt_builder import build_engine

    export_onnx(load_network(), tmp_path / "half.onnx")
    ours, half = build_engine(onnx_file, ["8.9"]), build_engine(tmp_path / "half.onnx", ["8.9"])
    # Weights of one byte in place of two are what it mostly consists of.
    assert len(ours) < 0.75 * len(half)
