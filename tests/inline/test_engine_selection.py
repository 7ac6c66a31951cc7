"""Choice of the engine, its replacement where it fails, and a stream that loses nothing by it."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from inline import engine_selection as engines
from inline.assembly.assembler import SeriesAssembler
from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.engine_selection import make_engine, preferred, weights_of
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.serving.scheduler import Scheduler
from inline.settings import AssemblySettings, load_settings
from model.engines import gate_report
from model.engines.engine_cache import EngineCache, EngineKey
from model.engines.fallback import FallbackEngine
from model.engines.int8_model import write_int8
from model.engines.openvino_engine import serialise
from model.engines.openvino_graph import build_model
from model.relaxometry.compiled import kernel_folder
from model.unet import UNet
from model.weights import save_weights, tensors_of
from tests.shapes import Constant

KERNELS = kernel_folder()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("weights")
    network = UNet()
    with torch.no_grad():  # scores of random weights are far apart, and bfloat16 moves them by more than one
        network.head.weight.mul_(0.03)
    save_weights(network, folder)
    file = folder / "s.toml"
    file.write_text(f'weights = "{folder}"\n')
    return file


@pytest.fixture(scope="module")
def loaded(weights):
    """Tensors of the weights, their folder, and the network's output in float32."""
    tensors, folder = weights_of(load_settings(weights))
    return tensors, folder, engines.reference_of(tensors, folder)


@pytest.fixture(scope="module")
def openvino_f32(loaded):
    return engines.load_engine("openvino-f32", *loaded[:2])


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path, request):
    """Without GPU and bfloat16, nothing compiled before; weights are read and computed with once for all."""
    monkeypatch.setenv("MYOSTREAM_CACHE", str(tmp_path / "cache"))
    # Fits are not what is tested here: they need not be compiled again.
    monkeypatch.setattr("model.relaxometry.compiled.kernel_folder", lambda: KERNELS)
    monkeypatch.setattr(engines, "gpu_present", lambda: False)
    bfloat16(monkeypatch, False)
    if "weights" in request.fixturenames:
        *read, reference = request.getfixturevalue("loaded")
        monkeypatch.setattr(engines, "weights_of", lambda settings: read)
        monkeypatch.setattr(engines, "reference_of", lambda tensors, folder: reference)


def bfloat16(monkeypatch, there):
    for module in (engines, gate_report):
        monkeypatch.setattr(module, "computes_bfloat16", lambda: there)


@pytest.fixture
def compiled(monkeypatch, openvino_f32):
    """The engine of OpenVINO in float32 is compiled once for all tests that take this fixture."""
    load = engines.load_engine
    monkeypatch.setattr(
        engines,
        "load_engine",
        lambda name, *others: openvino_f32 if name == "openvino-f32" else load(name, *others),
    )


@pytest.fixture(scope="module")
def converted(loaded):
    """The network in float32, converted; it stands for an int8 model and takes less time to make."""
    return serialise(build_model(loaded[0]))


def store_int8(folder, graph, constants):
    """Keep a model as one that was made on this host and has passed its gate."""
    report = {"passed": True, "reasons": []}
    return EngineCache().build(
        EngineKey.of(folder, "int8"), lambda entry: write_int8(entry, folder, graph, constants, report)
    )


@pytest.fixture
def int8(weights, converted):
    return store_int8(weights.parent, *converted)


def test_auto_takes_openvino_and_falls_back_to_torch(weights, monkeypatch):
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    reason = f"none was made on this host; none lies in {weights.parent / 'int8'}"
    assert f"openvino-int8: {reason} (run: myostream calibrate precision)" in engine.failures
    monkeypatch.setattr(
        "model.engines.openvino_engine._CORE", SimpleNamespace(compile_model=fail("no processor"))
    )
    engine = make_engine(load_settings(weights))
    assert engine.name == "torch"
    assert any("openvino-f32: no processor" in failure for failure in engine.failures)


def test_int8_is_used_once_it_has_passed(weights, int8):
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-int8"
    assert engine.failures == ()


def test_where_there_is_a_gpu_its_engines_come_first(weights, compiled, monkeypatch):
    assert preferred() == ("openvino-int8", "openvino-f32", "torch")
    monkeypatch.setattr(engines, "gpu_present", lambda: True)
    assert preferred()[:2] == ("tensorrt", "cuda")
    monkeypatch.setattr("model.engines.tensorrt_engine.require_gpu", fail("torch is a build without CUDA"))
    monkeypatch.setattr("model.engines.cuda_engine.require_gpu", fail("torch is a build without CUDA"))
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    assert engine.failures[:2] == (
        "tensorrt: torch is a build without CUDA",
        "cuda: torch is a build without CUDA",
    )


def fail(reason):
    def raise_it(*_):
        raise RuntimeError(reason)

    return raise_it


def test_an_engine_that_is_wrong_from_the_start_is_not_used(weights, compiled, monkeypatch):
    """Any of them: on the GPU or on the CPU, compiled or torch itself."""
    monkeypatch.setattr(engines, "gpu_present", lambda: True)
    load = engines.load_engine
    right = ["openvino-f32"]
    monkeypatch.setattr(
        engines, "load_engine", lambda name, *others: load(name, *others) if name in right else Constant(name)
    )
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    assert [failure.partition(":")[0] for failure in engine.failures] == [
        "tensorrt",
        "cuda",
        "openvino-int8",
    ]
    assert all("output differs from float32" in failure for failure in engine.failures)
    right.clear()
    with pytest.raises(ConfigurationError, match="torch: output differs from float32"):
        make_engine(load_settings(weights))


def test_a_model_of_another_network_in_the_cache_is_not_used(weights, compiled):
    """Another network with a gate's report beside it, which anyone who can write the folder can put there."""
    torch.manual_seed(2)
    store_int8(weights.parent, *serialise(build_model(tensors_of(UNet()))))
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    assert "openvino-int8: output differs from float32" in engine.failures[0]


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
    with pytest.raises(ConfigurationError, match=r"cannot be used: .* not finite"):
        make_engine(load_settings(file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "passed", "name", "reason"),
    [
        (True, True, "openvino-bf16", None),
        (True, False, "openvino-int8", "missed its gate: mean Dice 0.5"),
        (True, None, "openvino-int8", "none was made on this host"),
        (False, True, "openvino-int8", None),
    ],
)
def test_bfloat16_comes_first_where_the_cpu_has_it_and_it_has_passed(
    weights, int8, monkeypatch, there, passed, name, reason
):
    bfloat16(monkeypatch, there)
    report = {"passed": passed, "reasons": [] if passed else ["mean Dice 0.5"]}
    if passed is not None:
        EngineCache().build(
            EngineKey.of(weights.parent, "bf16"),
            lambda entry: gate_report.write_report(entry, weights.parent, report),
        )
    engine = make_engine(load_settings(weights))
    assert engine.name == name
    assert [reason in failure for failure in engine.failures] == ([True] if reason else [])
    assert engines.gate_report(name, weights.parent)["passed"] is True
    asked = make_engine(load_settings(weights, engine="openvino-bf16"))
    assert asked.name == name
    assert there or asked.failures == ("openvino-bf16: this CPU does not compute in bfloat16",)


@pytest.mark.parametrize("name", ["torch"])
def test_the_one_that_was_asked_for_comes_first(weights, name):
    images = np.zeros((1, 224, 224), np.float32)
    engine = make_engine(load_settings(weights, engine=name))
    assert engine.name == name
    assert engine.infer(images).shape == (1, 3, 224, 224)


@pytest.mark.parametrize("name", ["openvino-int8", "openvino-f32"])
def test_an_inference_takes_the_threads_that_it_is_given(weights, int8, name):
    engine = make_engine(load_settings(weights, engine=name), threads=1)
    assert engine.name == name
    (network,) = engine.current.parts
    assert network._compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_weights_that_are_not_there_are_an_error(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(f'weights = "{tmp_path}"\n')
    with pytest.raises(ConfigurationError, match="no weights"):
        make_engine(load_settings(file))


# What the stream makes of it. Engines that hang, and a budget of 1 ms: test_scheduler.py.


class Faulty:
    """Raises or returns NaN until the fault is cleared."""

    name = "faulty"

    def __init__(self, engine, fault):
        self._engine, self.fault = engine, fault

    def infer(self, images):
        if self.fault == "raises":
            raise RuntimeError("out of memory")
        output = self._engine.infer(images)
        return np.full_like(output, np.nan) if self.fault == "nan" else output


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header), AssemblySettings(motion="both"))
    return [ready for image in images for ready in assembler.add(image, time.monotonic())]


def results(engine, slices):
    """The slices' results in their order, each once."""
    came, all_came = [], threading.Event()

    def done(result, *, latecomer):
        assert not latecomer
        came.append(result)
        if len(came) == len(slices):
            all_came.set()

    scheduler = Scheduler(Pipeline(engine), 2, 60000.0)
    for each in slices:
        scheduler.submit(replace(each, arrived=time.monotonic()), done)
    assert all_came.wait(60)
    scheduler.close()
    assert scheduler.misses == 0
    order = [each.identity for each in slices]
    return sorted(came, key=lambda result: order.index(result.identity))


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_an_engine_that_fails_costs_no_slice_where_another_follows(slices, ring_engine, fault):
    engine = FallbackEngine([("faulty", lambda: Faulty(ring_engine, fault)), ("ring", lambda: ring_engine)])
    came = results(engine, slices)
    assert len(came) == 4
    assert all(result.contours is not None and result.error == "" for result in came)
    assert engine.name == "ring"


@pytest.mark.parametrize(("fault", "reason"), [("raises", "out of memory"), ("nan", "not finite")])
def test_the_last_engine_failing_is_flagged_and_the_next_slice_is_normal(slices, ring_engine, fault, reason):
    faulty = Faulty(ring_engine, fault)
    engine = FallbackEngine([("faulty", lambda: faulty)])
    failed = results(engine, slices[:2])
    assert all(Flag.PROCESSING_ERROR in result.flags for result in failed)
    assert all(result.map is not None and result.contours is None for result in failed)
    assert all(reason in result.error for result in failed)
    faulty.fault = ""
    (normal,) = results(engine, slices[2:3])
    assert normal.contours is not None
    assert normal.flags == ()


@pytest.mark.parametrize(
    "name", ["model.xml", *(pytest.param(each, marks=pytest.mark.slow) for each in ("key.json", "gate.json"))]
)
def test_a_corrupt_cache_costs_the_engine_and_no_slice(weights, int8, compiled, slices, name):
    (int8 / name).write_bytes(b"\x00" * 100)
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    assert "openvino-int8" in engine.failures[0]
    assert all(result.map is not None and result.error == "" for result in results(engine, slices[:1]))


def test_a_file_that_is_whole_but_no_model_costs_the_engine(weights, compiled):
    store_int8(weights.parent, b"<no model/>", b"")
    engine = make_engine(load_settings(weights))
    assert engine.name == "openvino-f32"
    assert "openvino-int8" in engine.failures[0]
