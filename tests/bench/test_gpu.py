"""Measurement of the engines of a GPU, with engines that take no time."""

import numpy as np
import pytest
import torch

from bench import gpu
from calibration.slices import MapSlice
from inline.data.series import Quantity
from tests.shapes import Constant


def broken():
    raise RuntimeError("no compiler")


def test_latency_and_throughput_by_batch_size(monkeypatch):
    nothing = np.zeros((224, 224), np.float32)
    monkeypatch.setattr(gpu, "map_slices", lambda count: [MapSlice(nothing, nothing, Quantity.T1)] * count)
    figures = gpu.measure([(gpu.EAGER, Constant), ("other", Constant), ("broken", broken)], [1, 3], 4, gate=2)
    assert figures["missing"] == {"broken": "RuntimeError: no compiler"}
    for name in (gpu.EAGER, "other"):
        batches = figures["engines"][name]["batches"]
        assert set(batches) == {"1", "3"}
        assert batches["3"]["per_second"] == 3000.0 / batches["3"]["p50"]
    assert "gate" not in figures["engines"][gpu.EAGER]
    assert not figures["engines"]["other"]["gate"]["passed"]  # it finds no contours


def test_the_measurement_is_printed_and_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "require_gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(gpu, "describe_gpu", lambda device: "a GPU")
    monkeypatch.setattr(gpu, "contenders", lambda device: iter([(gpu.EAGER, Constant), ("other", Constant)]))
    gpu.main(tmp_path / "gpu.json", "1", 2, 0)
    printed = capsys.readouterr().out
    assert "a GPU: 2 inferences of each" in printed
    assert "of at most 1 ms a slice" in printed
    assert (tmp_path / "gpu.json").exists()


def test_without_a_gpu_there_is_an_error(monkeypatch):
    monkeypatch.setattr(gpu, "require_gpu", broken)
    with pytest.raises(RuntimeError, match="no compiler"):
        gpu.main()


def test_the_reference_comes_first_and_engines_of_the_cpu_are_left_out():
    names = [name for name, _ in gpu.contenders(torch.device("cpu"))]
    assert names[:2] == [gpu.EAGER, gpu.CompiledTorch.name]
    assert set(names[2:]) <= {"cuda", "tensorrt"}
