"""The int8 model is used only if it belongs to the weights, is intact, has passed and its sums are exact."""

import json

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from model.engines import int8_model
from model.engines.engine_cache import EngineCache, EngineKey, UnusableModelError
from model.engines.int8_model import find_int8, read_int8, write_int8
from model.engines.openvino_engine import serialise

PASSED = {"passed": True, "reasons": [], "dice": 0.995}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder of weights with a small model beside them, in parts."""
    monkeypatch.setattr(int8_model, "cpu_flags", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setattr(int8_model, "PART_BYTES", 1000)
    weights = tmp_path / "weights"
    (weights / "int8").mkdir(parents=True)
    (weights / "unet-01-of-01.safetensors").write_bytes(b"weights")
    image = ops.parameter([1, 700], np.float32)
    model = openvino.Model(ops.add(image, np.arange(700, dtype=np.float32)[None]), [image])
    write_int8(weights / "int8", weights, *serialise(model), PASSED)
    return weights


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "cache")


def test_a_model_in_parts_computes_the_same(weights, cache):
    parts = sorted(file.name for file in (weights / "int8").glob("*.bin"))
    assert parts == [f"model-0{i}-of-03.bin" for i in (1, 2, 3)]
    found = find_int8(weights, cache)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(found.graph, found.constants), "CPU")
    np.testing.assert_array_equal(compiled(np.ones((1, 700), np.float32))[0][0], 1.0 + np.arange(700))
    assert found.report == PASSED


@pytest.mark.parametrize("passed", [True, False])
def test_a_model_of_this_host_is_preferred_if_it_passed(weights, cache, monkeypatch, passed):
    own = {"passed": passed, "reasons": [] if passed else ["mean Dice 0.5"], "dice": 0.5}
    cache.build(
        EngineKey.of(weights, "int8"), lambda folder: write_int8(folder, weights, b"<xml/>", b"own", own)
    )
    assert find_int8(weights, cache).report == (own if passed else PASSED)
    monkeypatch.setattr(int8_model, "cpu_flags", lambda: frozenset({"avx2"}))
    if passed:
        assert find_int8(weights, cache).constants == b"own"
    else:
        with pytest.raises(UnusableModelError, match=r"missed its gate: mean Dice 0\.5; .*VNNI"):
            find_int8(weights, cache)


def _change(name, content):
    return lambda weights: (weights / name).write_bytes(content)


def _not_passed(weights):
    file = weights / "int8" / "gate.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"report": {"passed": 1, "reasons": []}}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_change("int8/model-02-of-03.bin", b"!"), "damaged"),
        (_change("int8/model.xml", b"<xml/>"), "damaged"),
        (lambda weights: (weights / "int8" / "model-02-of-03.bin").unlink(), "damaged"),
        (lambda weights: (weights / "int8" / "model.xml").unlink(), "cannot be read"),
        (_change("unet-01-of-01.safetensors", b"others"), "belongs to other weights"),
        (_not_passed, "missed its gate"),
        (_change("int8/gate.json", b"{}"), "cannot be read"),
        (_change("int8/gate.json", b"\xff"), "cannot be read"),
    ],
)
def test_any_other_model_is_not_used(weights, change, reason):
    change(weights)
    with pytest.raises(UnusableModelError, match=reason):
        read_int8(weights / "int8", weights)
