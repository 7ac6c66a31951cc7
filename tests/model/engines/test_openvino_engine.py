from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.engines.openvino_engine import OpenVinoEngine, Precision, convert
from model.engines.torch_engine import TorchEngine


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(3, 224, 224)).astype(np.float32)


def test_float32_is_the_reference_again(network, images):
    ours = OpenVinoEngine(convert(network), Precision.F32).infer(images)
    assert ours.shape == (3, 3, 224, 224)
    assert ours.dtype == np.float32
    assert np.abs(ours - TorchEngine(network).infer(images)).max() < 1e-3
    assert np.allclose(ours.sum(axis=1), 1.0, atol=1e-4)


def test_a_batch_is_its_slices(network, images):
    engine = OpenVinoEngine(convert(network), Precision.F32)
    together = engine.infer(images)
    for number, image in enumerate(images):
        assert np.abs(engine.infer(image[None])[0] - together[number]).max() < 1e-4


def test_bfloat16_is_close(network, images):
    ours = OpenVinoEngine(convert(network), Precision.BF16).infer(images)
    assert np.abs(ours - TorchEngine(network).infer(images)).mean() < 0.02


def test_threads_do_not_disturb_each_other(network, images):
    engine = OpenVinoEngine(convert(network), Precision.F32)
    alone = [engine.infer(image[None]) for image in images]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            answers = list(pool.map(lambda image: engine.infer(image[None]), images))
            assert all(np.array_equal(a, b) for a, b in zip(alone, answers, strict=True))


def test_nothing_reports_its_use_over_the_network():
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("stub")
