"""Compiling once, keeping, loading: with torch itself in the place of TensorRT, which needs a GPU."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from model.engines import tensorrt_engine
from model.engines.engine_cache import EngineStore
from model.engines.self_test import Reference, try_out
from model.engines.tensorrt_engine import TensorRtEngine
from model.weights import DEFAULT, load_network


class Small(nn.Module):
    """Three classes of a pixel, from the pixel."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        return self.norm(self.conv(images))


class Compiler:
    """The calls of torch_tensorrt that are used, leaving the program as it is; counts what it compiles."""

    Input = SimpleNamespace

    def __init__(self):
        self.compiled = []
        self.dynamo = SimpleNamespace(compile=self._compile)

    def _compile(self, program, arg_inputs, device, **options):
        assert options["require_full_compilation"]
        self.compiled.append(arg_inputs[0])
        return program

    def save(self, program, file, output_format, arg_inputs):
        torch.export.save(program, file)

    def load(self, file):
        return torch.export.load(file)


@pytest.fixture
def compiler(monkeypatch, cpu_for_gpu):
    compiler = Compiler()
    monkeypatch.setitem(sys.modules, "torch_tensorrt", compiler)
    monkeypatch.setattr(tensorrt_engine, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(tensorrt_engine, "describe_gpu", lambda device: "one GPU")
    return compiler


@pytest.fixture
def make(tmp_path):
    torch.manual_seed(1)
    network = Small().eval()
    (tmp_path / "unet-01-of-01.safetensors").write_bytes(b"weights")
    return lambda: TensorRtEngine(network, tmp_path, EngineStore(tmp_path / "cache"))


def model_file(folder):
    (file,) = folder.glob("cache/engines/tensorrt-f16-*/model.pt2")
    return file


def test_it_is_compiled_once_for_batches_of_1_to_32(compiler, make):
    images = np.random.default_rng(1).normal(size=(40, 224, 224)).astype(np.float32)
    first, second = make().infer(images), make().infer(images)
    (shapes,) = compiler.compiled
    assert (shapes.min_shape[0], shapes.max_shape[0]) == (1, 32)
    assert first.shape == (40, 3, 224, 224)
    assert np.array_equal(first, second)
    assert np.allclose(first.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"x"), lambda file: file.unlink()])
def test_a_damaged_engine_is_compiled_anew(compiler, make, tmp_path, damage):
    make()
    damage(model_file(tmp_path))
    make()
    make()
    assert len(compiler.compiled) == 2


def test_an_engine_of_another_gpu_is_not_loaded(compiler, make, monkeypatch, tmp_path):
    make()
    ours = model_file(tmp_path).parent
    monkeypatch.setattr(tensorrt_engine, "describe_gpu", lambda device: "another GPU")
    make()
    assert len(compiler.compiled) == 2
    # Not even where it lies in the place of ours.
    (theirs,) = set(ours.parent.iterdir()) - {ours}
    for file in theirs.iterdir():
        (ours / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(tensorrt_engine, "describe_gpu", lambda device: "one GPU")
    make()
    assert len(compiler.compiled) == 3


def test_other_weights_are_another_engine(compiler, make, tmp_path):
    make()
    (tmp_path / "unet-01-of-01.safetensors").write_bytes(b"better weights")
    make()
    assert len(compiler.compiled) == 2


def test_a_missing_package_is_named(compiler, make, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_tensorrt", None)
    with pytest.raises(RuntimeError, match="torch_tensorrt is missing"):
        make()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
def test_tensorrt_answers_as_float32_does(tmp_path):
    pytest.importorskip("torch_tensorrt", reason="the extra tensorrt is not installed")
    network = load_network()
    reference = Reference.of(network)
    try_out(TensorRtEngine(network, DEFAULT, EngineStore(tmp_path)), reference)
    try_out(TensorRtEngine(network, DEFAULT, EngineStore(tmp_path)), reference)
