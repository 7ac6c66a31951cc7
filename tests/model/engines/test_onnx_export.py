"""Exported network: output by a runtime that is not torch, and an engine of TensorRT-RTX for every GPU.

TensorRT-RTX builds without a GPU. That it builds proves that every layer of the network converts.
"""

import numpy as np
import openvino
import pytest
import torch

from model.engines.gpu import LARGEST_BATCH
from model.engines.probabilities import HalfProbabilities, Probabilities
from model.engines.self_test import self_test_images
from model.engines.torch_engine import TorchEngine
from model.frame import FRAME_PIXELS
from model.unet import UNet
from model.weights import load_network

pytest.importorskip("onnx", reason="the extra ahead-of-time is not installed")
pytest.importorskip("onnxscript", reason="the extra ahead-of-time is not installed")
pytestmark = pytest.mark.slow


def export_onnx(network, file, *, half):
    """Write the network as HalfProbabilities or Probabilities, for batches of 1 to 32, weights included."""
    module = HalfProbabilities(network) if half else Probabilities(network)
    example = torch.zeros(2, 1, FRAME_PIXELS, FRAME_PIXELS)  # torch.export takes a batch of 1 for fixed
    torch.onnx.export(
        module.eval(),
        (example,),
        file,
        dynamo=True,
        opset_version=21,
        external_data=False,
        input_names=["images"],
        output_names=["output"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)}},
        verbose=False,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Network and its ONNX file by precision."""
    network, folder = load_network(), tmp_path_factory.mktemp("onnx")
    for half in (False, True):
        export_onnx(network, folder / f"{half}.onnx", half=half)
    return network, {half: folder / f"{half}.onnx" for half in (False, True)}


@pytest.mark.parametrize(("half", "largest"), [(False, 1e-3), (True, 0.02)])
def test_the_exported_network_agrees_with_torch(exported, half, largest):
    network, files = exported
    compiled = openvino.Core().compile_model(files[half], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images, reference = self_test_images(), TorchEngine(network).infer(self_test_images())
    for count in (1, 2):
        output = compiled([images[:count, None]])[0]
        assert output.dtype == np.float32
        assert output.shape == (count, network.channels, FRAME_PIXELS, FRAME_PIXELS)
        assert np.abs(output - reference[:count]).max() < largest


def test_tensorrt_rtx_builds_an_engine_for_every_gpu(exported):
    trt = pytest.importorskip("tensorrt_rtx", reason="the extra ahead-of-time is not installed")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    read = parser.parse_from_file(str(exported[1][True]))
    assert read, [parser.get_error(number).desc() for number in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    shape = (1, FRAME_PIXELS, FRAME_PIXELS)
    profile.set_shape("images", (1, *shape), (1, *shape), (LARGEST_BATCH, *shape))
    config.add_optimization_profile(profile)
    targets = [value for name, value in vars(trt.ComputeCapability).items() if name.startswith("SM")]
    assert len(targets) >= 3
    config.num_compute_capabilities = len(targets)
    for number, target in enumerate(targets):
        config.set_compute_capability(target, number)
    engine = builder.build_serialized_network(network, config)
    assert engine is not None
    # It holds the convolutions' weights, two bytes each.
    assert len(bytes(engine)) > 2 * sum(p.numel() for p in UNet().parameters() if p.ndim > 1)
