"""The int8 model is used only if it belongs to the weights, is intact, has passed and its sums are exact."""

import json

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from model.engines import gate_report, int8_model
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


def test_a_user_without_a_home_has_the_model_beside_the_weights(weights, monkeypatch):
    for name in ("MYOSTREAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # As Python does where neither the environment nor the system's users name a home.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert find_int8(weights).report == PASSED


@pytest.mark.parametrize("flags", [{"avx512_vnni"}, {"avx2"}])
def test_the_gate_on_this_host_decides(weights, cache, monkeypatch, flags):
    monkeypatch.setattr(int8_model, "cpu_flags", lambda: frozenset(flags))

    def make(report):
        cache.build(
            EngineKey.of(weights, "int8"),
            lambda folder: write_int8(folder, weights, b"<xml/>", b"own", report),
        )

    make(PASSED | {"dice": 0.993})
    assert find_int8(weights, cache).constants == b"own"
    make({"passed": False, "reasons": ["mean Dice 0.5"], "dice": 0.5})
    with pytest.raises(UnusableModelError, match=r"missed its gate: mean Dice 0\.5"):
        find_int8(weights, cache)


@pytest.mark.parametrize(("flags", "used"), [({"avx512_vnni"}, True), ({"avx2"}, False)])
def test_a_damaged_model_of_this_host_leaves_the_one_beside_the_weights(
    weights, cache, monkeypatch, flags, used
):
    monkeypatch.setattr(int8_model, "cpu_flags", lambda: frozenset(flags))
    missed = {"passed": False, "reasons": ["mean Dice 0.5"]}
    entry = cache.build(
        EngineKey.of(weights, "int8"), lambda folder: write_int8(folder, weights, b"<xml/>", b"own", missed)
    )
    (entry / "gate.json").write_text("{}")
    if used:
        assert find_int8(weights, cache).report == PASSED
    else:
        with pytest.raises(UnusableModelError, match=r"is damaged; .* needs a CPU with VNNI"):
            find_int8(weights, cache)


def test_bfloat16_that_missed_its_gate_on_this_host_is_not_used(weights, cache, monkeypatch):
    monkeypatch.setattr(gate_report, "computes_bfloat16", lambda: True)
    (weights / "bf16").mkdir()
    gate_report.write_report(weights / "bf16", weights, PASSED)
    assert gate_report.bf16_report(weights, cache) == PASSED
    missed = {"passed": False, "reasons": ["median T2 within 0.3 ms on 98.1 % of slices"]}
    cache.build(
        EngineKey.of(weights, "bf16"), lambda folder: gate_report.write_report(folder, weights, missed)
    )
    with pytest.raises(UnusableModelError, match="missed its gate: median T2"):
        gate_report.bf16_report(weights, cache)


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
