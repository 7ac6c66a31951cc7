"""The engine that ships is taken only where it belongs to the weights, is intact and its sums are exact."""

import json
import shutil

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from model.engines import shipped_int8 as shipped
from model.engines.engine_cache import NotPassedError
from model.engines.shipped_int8 import pack, shipped_model, shipped_report

PASSED = {"passed": True, "dice": 0.995}


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A folder of weights with a small model beside them, in parts."""
    monkeypatch.setattr(shipped, "processor_flags", lambda: frozenset({"avx512_vnni"}))
    monkeypatch.setattr(shipped, "PART_BYTES", 1000)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "unet-01-of-01.safetensors").write_bytes(b"weights")
    image = ops.parameter([1, 700], np.float32)
    model = openvino.Model(ops.add(image, np.arange(700, dtype=np.float32)[None]), [image])
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    pack(tmp_path / "model.xml", weights, PASSED)
    return weights


def test_what_was_packed_computes_the_same(packed):
    parts = sorted(file.name for file in (packed / "int8").glob("*.bin"))
    assert parts == [f"model-0{i}-of-03.bin" for i in (1, 2, 3)]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(*shipped_model(packed)), "CPU")
    np.testing.assert_array_equal(compiled(np.ones((1, 700), np.float32))[0][0], 1.0 + np.arange(700))
    assert shipped_report(packed) == PASSED


def test_what_missed_its_gate_does_not_ship(packed, tmp_path):
    with pytest.raises(ValueError, match="does not ship"):
        pack(tmp_path / "model.xml", packed, {"passed": False})


def _damage(weights):
    part = weights / "int8" / "model-02-of-03.bin"
    part.write_bytes(part.read_bytes()[:-1] + b"!")


def _lose(weights):
    (weights / "int8" / "model-02-of-03.bin").unlink()


def _other_weights(weights):
    (weights / "unet-01-of-01.safetensors").write_bytes(b"others")


def _forge(weights):
    file = weights / "int8" / "gate.json"
    content = json.loads(file.read_text())
    content["report"]["passed"] = False
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("ruin", "reason"),
    [
        (_damage, "damaged"),
        (_lose, "damaged"),
        (_other_weights, "belongs to other weights"),
        (_forge, "belongs to other weights"),
        (lambda weights: shutil.rmtree(weights / "int8"), "none ships"),
        (lambda weights: (weights / "int8" / "gate.json").write_text("{}"), "none ships"),
    ],
)
def test_what_is_not_as_the_gate_saw_it_is_not_loaded(packed, ruin, reason):
    ruin(packed)
    with pytest.raises(NotPassedError, match=reason):
        shipped_model(packed)


def test_a_processor_whose_sums_may_overflow_does_not_run_it(packed, monkeypatch):
    monkeypatch.setattr(shipped, "processor_flags", lambda: frozenset({"avx2"}))
    with pytest.raises(NotPassedError, match="VNNI"):
        shipped_model(packed)
