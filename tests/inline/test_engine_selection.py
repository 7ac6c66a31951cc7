"""Which engine is taken, what follows one that fails, and that the stream loses nothing by it."""

import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from inline import engine_selection as engines
from inline.assembly.assembler import SeriesAssembler
from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.engine_selection import load_weights, make_engine, preferred
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.serving.scheduler import Scheduler
from inline.settings import AssemblySettings, load_settings
from model.engines.engine_cache import EngineKey, EngineStore
from model.engines.fallback import EngineChain
from model.engines.openvino_engine import convert, save
from model.unet import UNet
from model.weights import save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    network = UNet()
    with torch.no_grad():  # scores of random weights are far apart, and bfloat16 moves them by more than one
        network.head.weight.mul_(0.05)
    save_weights(network, folder)
    file = folder / "s.toml"
    file.write_text(f'weights = "{folder}"\n')
    return file


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Without a GPU, nothing compiled before."""
    monkeypatch.setenv("MYOSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engines, "gpu_present", lambda: False)


@pytest.fixture(scope="module")
def converted(weights):
    """The network in float32, which stands for one of eight bits: it is there at once."""
    save(convert(load_weights(load_settings(weights))[0]), weights.parent / "model.xml")
    return weights.parent


@pytest.fixture
def int8(converted):
    """The file of an eight-bit engine that has passed its gate."""

    def write(file):
        for name in ("model.xml", "model.bin"):
            shutil.copy(converted / name, file.parent / name)

    return kept(converted, write)


def kept(folder, write):
    key, store = EngineKey.of(folder, "int8"), EngineStore()
    model = store.build(key, write)
    store.save_report(key, {"passed": True})
    return model


def test_auto_takes_openvino_and_falls_back_to_torch(weights, monkeypatch):
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    why = "none is kept for this host; none ships with these weights (run: myostream calibrate precision)"
    assert f"openvino-int8: {why}" in chain.failures
    monkeypatch.setattr("openvino.Core", lambda: (_ for _ in ()).throw(RuntimeError("no scheduler")))
    chain = make_engine(load_settings(weights))
    assert chain.name == "torch"
    assert any("openvino-f32: no scheduler" in failure for failure in chain.failures)


def test_eight_bits_once_they_passed(weights, int8):
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-int8"
    assert chain.failures == ()


def test_where_there_is_a_gpu_its_engines_come_first(weights, monkeypatch):
    assert preferred() == ("openvino-int8", "openvino-f32", "torch")
    monkeypatch.setattr(engines, "gpu_present", lambda: True)
    assert preferred()[:3] == ("tensorrt-int8", "tensorrt", "cuda")
    monkeypatch.setattr(
        "model.engines.tensorrt_int8_engine.require_gpu", fail("torch is a build without CUDA")
    )
    monkeypatch.setattr("model.engines.tensorrt_engine.require_gpu", fail("torch is a build without CUDA"))
    monkeypatch.setattr("model.engines.cuda_engine.require_gpu", fail("torch is a build without CUDA"))
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    assert chain.failures[:3] == (
        "tensorrt-int8: torch is a build without CUDA",
        "tensorrt: torch is a build without CUDA",
        "cuda: torch is a build without CUDA",
    )


def fail(reason):
    def raise_it(*_):
        raise RuntimeError(reason)

    return raise_it


class Uniform:
    """Finite output of the right shape that has nothing to do with the image."""

    def __init__(self, name):
        self.name = name

    def infer(self, images):
        return np.full((len(images), 3, 224, 224), 1 / 3, np.float32)


def test_an_engine_that_is_wrong_from_the_start_is_not_used(weights, monkeypatch):
    """Whichever it is: on the GPU or on the CPU, compiled or torch itself."""
    monkeypatch.setattr(engines, "gpu_present", lambda: True)
    load = engines.load_engine
    right = ["openvino-f32"]
    monkeypatch.setattr(
        engines, "load_engine", lambda name, *others: load(name, *others) if name in right else Uniform(name)
    )
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    assert [failure.partition(":")[0] for failure in chain.failures] == [
        "tensorrt-int8",
        "tensorrt",
        "cuda",
        "openvino-int8",
    ]
    assert all("output differs from float32" in failure for failure in chain.failures)
    right.clear()
    with pytest.raises(ConfigurationError, match="torch: output differs from float32"):
        make_engine(load_settings(weights))


def test_a_poisoned_cache_costs_the_engine(weights, converted):
    """Another network with a gate's report beside it, which anyone who can write the folder can put there."""
    torch.manual_seed(2)
    other = UNet().eval()

    def write(file):
        save(convert(other), file)

    kept(converted, write)
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    assert "openvino-int8: output differs from float32" in chain.failures[0]


def test_weights_that_give_no_numbers_are_an_error(tmp_path):
    network = UNet().eval()
    with torch.no_grad():
        network.head.bias.fill_(3e38)
        network.head.weight.mul_(0.0).add_(60000.0)
        for module in network.decoder[-1].modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(3e38)
    save_weights(network, tmp_path)
    file = tmp_path / "s.toml"
    file.write_text(f'weights = "{tmp_path}"\n')
    with pytest.raises(ConfigurationError, match=r"cannot be used: .* no numbers"):
        make_engine(load_settings(file))


def test_the_one_that_was_asked_for_comes_first(weights):
    images = np.zeros((1, 224, 224), np.float32)
    for name in ("torch", "openvino-bf16"):
        chain = make_engine(load_settings(weights, engine=name))
        assert chain.name == name
        assert chain.infer(images).shape == (1, 3, 224, 224)


def test_weights_that_are_not_there_are_an_error(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(f'weights = "{tmp_path}"\n')
    with pytest.raises(ConfigurationError, match="no weights"):
        make_engine(load_settings(file))


# What the stream makes of it. Engines that hang, and a budget of 1 ms: test_scheduler.py.


class Faulty:
    """Raises or answers NaN until told otherwise."""

    name = "faulty"

    def __init__(self, engine, fault):
        self._engine, self.fault = engine, fault

    def infer(self, images):
        if self.fault == "raises":
            raise RuntimeError("out of memory")
        answers = self._engine.infer(images)
        return np.full_like(answers, np.nan) if self.fault == "nan" else answers


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header), AssemblySettings(motion="both"))
    return [ready for image in images for ready in assembler.add(image, time.monotonic())]


def results(chain, slices):
    """The slices' results in their order, each once."""
    came, all_came = [], threading.Event()

    def done(result, *, latecomer):
        assert not latecomer
        came.append(result)
        if len(came) == len(slices):
            all_came.set()

    scheduler = Scheduler(Pipeline(chain), 2, 60000.0)
    for each in slices:
        scheduler.submit(replace(each, arrived=time.monotonic()), done)
    assert all_came.wait(60)
    scheduler.close()
    assert scheduler.misses == 0
    order = [each.identity for each in slices]
    return sorted(came, key=lambda result: order.index(result.identity))


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_an_engine_that_fails_costs_no_slice_where_another_follows(slices, ring_engine, fault):
    chain = EngineChain([("faulty", lambda: Faulty(ring_engine, fault)), ("ring", lambda: ring_engine)])
    came = results(chain, slices)
    assert len(came) == 4
    assert all(result.contours is not None and result.error == "" for result in came)
    assert chain.name == "ring"


@pytest.mark.parametrize(("fault", "reason"), [("raises", "out of memory"), ("nan", "no numbers")])
def test_the_last_engine_failing_is_flagged_and_the_next_slice_is_normal(slices, ring_engine, fault, reason):
    engine = Faulty(ring_engine, fault)
    chain = EngineChain([("faulty", lambda: engine)])
    failed = results(chain, slices[:2])
    assert all(Flag.PROCESSING_ERROR in result.flags for result in failed)
    assert all(result.map is not None and result.contours is None for result in failed)
    assert all(reason in result.error for result in failed)
    engine.fault = ""
    (normal,) = results(chain, slices[2:3])
    assert normal.contours is not None
    assert normal.flags == ()


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "key.json", "gate.json"])
def test_a_corrupt_cache_costs_the_engine_and_no_slice(weights, int8, slices, name):
    (int8.parent / name).write_bytes(b"\x00" * 100)
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    assert "openvino-int8" in chain.failures[0]
    assert all(result.map is not None and result.error == "" for result in results(chain, slices[:1]))


def test_a_file_that_is_whole_but_no_model_costs_the_engine(weights):
    kept(weights.parent, lambda file: file.write_text("<no model/>"))
    chain = make_engine(load_settings(weights))
    assert chain.name == "openvino-f32"
    assert "openvino-int8" in chain.failures[0]
