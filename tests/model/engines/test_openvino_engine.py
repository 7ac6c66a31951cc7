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


def test_bfloat16_is_close(converted, images, reference):
    output = OpenVinoEngine(converted, Precision.BF16).infer(images[:1])
    assert np.abs(output - reference[:1]).mean() < 0.02


def test_threads_do_not_disturb_each_other(engine, images):
    alone = [engine.infer(image[None]) for image in images]
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda image: engine.infer(image[None]), [*images, *images]))
    assert all(np.array_equal(a, b) for a, b in zip([*alone, *alone], outputs, strict=True))


def test_nothing_reports_its_use_over_the_network():
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("stub")
