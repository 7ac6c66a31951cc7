"""Every layer of the shipped network converts: its engine is built here, without a GPU."""

import pytest

from model.engines.onnx_export import export_onnx
from model.unet import UNet
from model.weights import load_network

pytest.importorskip("onnxscript", reason="the extra ahead-of-time is not installed")
pytest.importorskip("tensorrt_rtx", reason="the extra ahead-of-time is not installed")

from model.engines import tensorrt_builder


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(load_network(), file)
    return file


def test_an_engine_of_the_shipped_weights_is_built_for_every_gpu(onnx_file):
    engine = tensorrt_builder.build_engine(onnx_file)
    # It holds the convolutions' weights, two bytes each.
    assert len(engine) > 2 * sum(p.numel() for p in UNet().parameters() if p.ndim > 1)


def test_engines_are_built_for_stated_gpus(onnx_file):
    assert {"8.0", "8.9", "12.0"} <= set(tensorrt_builder.capabilities())
    assert tensorrt_builder.build_engine(onnx_file, ["8.9"])
    with pytest.raises(ValueError, match=r"not 1\.0"):
        tensorrt_builder.build_engine(onnx_file, ["8.9", "1.0"])


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(tensorrt_builder.ConversionError, match=r"does not read .*bad\.onnx"):
        tensorrt_builder.build_engine(tmp_path / "bad.onnx")
