import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.engines.openvino_engine import OpenVinoEngine, Precision
from model.engines.openvino_graph import build_model
from model.engines.torch_engine import TorchEngine
from model.weights import tensors_of


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def converted(network_with_insertions):
    return build_model(tensors_of(network_with_insertions))


@pytest.fixture(scope="module")
def reference(network_with_insertions, images):
    return TorchEngine(network_with_insertions).infer(images)


@pytest.fixture(scope="module")
def engine(converted):
    return OpenVinoEngine(converted, Precision.F32)


def test_float32_agrees_with_torch_slice_by_slice(engine, images, reference):
    output = engine.infer(images)
    assert output.shape == reference.shape == (3, 5, 224, 224)
    assert output.dtype == np.float32
    assert np.abs(output - reference).max() < 1e-3
    assert np.allclose(output[:, :3].sum(axis=1), 1.0, atol=1e-4)
    assert reference[:, 3:].std() > 0.01  # heat maps
    assert np.abs(engine.infer(images[2:])[0] - output[2]).max() < 1e-4
    assert engine.infer(images[:0]).shape == (0, 5, 224, 224)


def test_class_probabilities_are_those_of_the_network_without_heat_maps(network, images, reference):
    assert np.abs(TorchEngine(network).infer(images[:1]) - reference[:1, :3]).max() < 1e-6


def test_bfloat16_is_close_and_does_not_change_a_later_float32(converted, images, reference):
    output = OpenVinoEngine(converted, Precision.BF16).infer(images[:1])
    assert np.abs(output - reference[:1]).mean() < 0.02
    output = OpenVinoEngine(converted, Precision.F32).infer(images[:1])
    assert np.abs(output - reference[:1]).max() < 1e-3


_REPLACED = """
import gc, os, signal, threading
import numpy as np, openvino
from openvino import opset13 as ops
from model.engines.fallback import FallbackEngine
from model.engines.openvino_engine import OpenVinoEngine, Precision

image = ops.parameter([1, 1, 4, 4], np.float32)
model = openvino.Model(ops.relu(image), [image])
make = lambda: OpenVinoEngine(model, Precision.F32)
engine = FallbackEngine([("first", make), ("second", make)])

def replace():
    engine.give_up(engine.current, "hangs")
    gc.collect()

thread = threading.Thread(target=replace)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
print(engine.replacements)
"""


def test_a_process_whose_engine_was_replaced_in_a_thread_handles_signals():
    done = subprocess.run([sys.executable, "-c", _REPLACED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "handled\n1\n"), done.stderr


def test_threads_do_not_disturb_each_other(engine, images):
    alone = [engine.infer(image[None]) for image in images]
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda image: engine.infer(image[None]), [*images, *images]))
    assert all(np.array_equal(a, b) for a, b in zip([*alone, *alone], outputs, strict=True))


def test_nothing_reports_its_use_over_the_network():
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("stub")
