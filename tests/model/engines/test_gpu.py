"""Transfer of slices, with the CPU in place of a GPU; the engine itself where there is a GPU."""

import gc
import weakref
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model import host
from model.engines import cuda_engine, gpu
from model.engines.cuda_engine import CudaEngine, batch_size
from model.engines.probabilities import output_of_scores
from model.engines.self_test import Reference, run_self_test
from model.engines.torch_engine import TorchEngine
from model.weights import tensors_of

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")


class Echo(gpu.GpuEngine):
    """Returns the image, its negative and zero."""

    name = "echo"

    def __init__(self):
        super().__init__(torch.device("cpu"), 3)
        self.batches = []

    def _compute(self, images):
        self.batches.append(len(images))
        return torch.cat([images, -images, 0 * images], dim=1)


@pytest.mark.parametrize(("count", "batches"), [(1, [1]), (32, [32]), (70, [32, 32, 6]), (0, [])])
def test_slices_keep_their_order_and_large_batches_are_split(cpu_for_gpu, count, batches):
    engine = Echo()
    images = np.random.default_rng(1).normal(size=(count, 224, 224)).astype(np.float32)
    output = engine.infer(images)
    assert engine.batches == batches
    assert output.shape == (count, 3, 224, 224)
    assert np.array_equal(output, np.stack([images, -images, 0 * images], axis=1))


def test_the_output_belongs_to_the_caller(cpu_for_gpu):
    engine = Echo()
    first = engine.infer(np.ones((1, 224, 224), np.float32))
    engine.infer(np.zeros((1, 224, 224), np.float32))
    assert first[0, 0].min() == 1.0


def test_a_batch_goes_into_the_next_recorded_size():
    assert [batch_size(count) for count in (1, 2, 3, 5, 8, 9, 17, 32)] == [1, 2, 4, 8, 8, 16, 32, 32]


def test_the_error_says_why_there_is_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(host, "_GPU_FILES", (str(tmp_path / "none"),))
    with pytest.raises(RuntimeError, match="no NVIDIA GPU here"):
        gpu.require_gpu()
    assert not host.gpu_present()
    monkeypatch.setattr(host, "_GPU_FILES", (str(tmp_path / "none"), str(tmp_path)))
    assert host.gpu_present()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RuntimeError, match="build without CUDA"):
        gpu.require_gpu()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(RuntimeError, match="driver may be too old"):
        gpu.require_gpu()


class Graph:
    """CUDA graph for the CPU, as far as memory goes: it knows what it was recorded with and keeps none of it.

    A real one holds addresses. Once their memory is free it is used for something else, and a replay computes
    with that: here the output becomes NaN, as was seen on a GPU.
    """

    recording = None

    def record(self, module, arguments, output):
        self._recorded = [weakref.ref(each) for each in (module, *module.parameters(), *arguments, output)]

    def replay(self):
        module, *_, images, output = (reference() for reference in self._recorded)
        gone = any(reference() is None for reference in self._recorded)
        if output is not None:
            output.fill_(np.nan) if gone else output.copy_(module.computed(images))


class Pixelwise(torch.nn.Module):
    """In place of the network: output of a pixel from that pixel."""

    def __init__(self, network):
        super().__init__()
        self.factors = torch.nn.Parameter(torch.linspace(-1.0, 1.0, network.channels))

    def forward(self, images):
        output = self.computed(images)
        if Graph.recording is not None:
            Graph.recording.record(self, (images,), output)
        return output

    def computed(self, images):
        return output_of_scores(images * self.factors.view(1, -1, 1, 1))


@pytest.fixture
def graphs_on_cpu(cpu_for_gpu, monkeypatch):
    @contextmanager
    def recorded(graph, **_):
        Graph.recording = graph
        yield
        Graph.recording = None

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recorded)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(cuda_engine, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(cuda_engine, "HalfProbabilities", Pixelwise)


@pytest.mark.parametrize("channels", [3, 5])
def test_the_cuda_engine_keeps_all_that_its_graphs_read(graphs_on_cpu, channels):
    """A structural test: the fault itself, weights whose memory is used again, needs a GPU to show."""
    network = SimpleNamespace(channels=channels)
    engine = CudaEngine(network)
    gc.collect()
    images = np.random.default_rng(1).normal(size=(40, 224, 224)).astype(np.float32)
    expected = Pixelwise(network).computed(torch.from_numpy(images)[:, None]).detach().numpy()
    for count in (1, 2, 3, 8, 11, 32, 40):
        assert np.array_equal(engine.infer(images[:count]), expected[:count])


@needs_gpu
def test_cuda_agrees_with_float32(network):
    engine = CudaEngine(network)
    self_test = run_self_test(engine, Reference.of(tensors_of(network)))
    # Other memory is used meanwhile: all that the engine does not keep would be overwritten.
    gc.collect()
    torch.cuda.empty_cache()
    others = [torch.randn(size, device="cuda") for size in [1 << 12, 1 << 16, 1 << 20, 1 << 24] * 20]
    self_test.repeat()
    del others
    images = np.random.default_rng(1).normal(size=(37, 224, 224)).astype(np.float32)
    together = engine.infer(images)
    assert together.shape == (37, 3, 224, 224)
    assert np.abs(together[-1] - engine.infer(images[-1:])[0]).max() < 0.02
    assert np.abs(together[:2] - TorchEngine(network).infer(images[:2])).mean() < 1e-3
