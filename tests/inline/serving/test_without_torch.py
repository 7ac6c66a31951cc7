"""Inference needs no torch: a server without it gives the same results, and one with it does not load it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inline.contouring.confidence import Reviewer
from inline.engine_selection import make_engine
from inline.mrd.messages import Image
from inline.replay.client import exchange
from inline.replay.local_server import started_server
from inline.replay.replies import records
from inline.settings import load_settings
from model.host import VNNI, cpu_flags

ENGINES = [
    "openvino-f32",
    pytest.param(
        "openvino-int8",
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(not VNNI & cpu_flags(), reason="the CPU has no VNNI"),
        ],
    ),
]


def results(address, examination):
    """Records without times, and the maps' pixels, of an examination that is sent to a server."""
    _, header, images = examination
    received = []
    exchange(address, header, images, received=received.append)
    found = records(message for message in received if isinstance(message, Image))
    return [({**record, "times_ms": None}, bytes(image.data)) for record, image in found]


@pytest.fixture
def without_torch(monkeypatch, hiding):
    monkeypatch.setenv("PYTHONPATH", hiding("torch")["PYTHONPATH"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_without_torch_gives_the_same_results(engine, examination, serving, without_torch):
    settings = load_settings(engine=engine)
    with serving(make_engine(settings), reviewer=Reviewer.of(settings)) as server:
        expected = results(server.address, examination)
    assert len(expected) == 4
    assert all(record["contours"] and record["regions"][0]["median"] for record, _ in expected)
    with started_server(["--engine", engine, "--budget-ms", "60000"]) as server:
        found = results(server.address, examination)
        assert server.engine == engine
    assert found == expected


@pytest.mark.slow
def test_float32_gives_the_values_of_torch(examination, serving):
    values = {}
    for name in ("openvino-f32", "torch"):
        with serving(make_engine(load_settings(engine=name))) as server:
            found = [record for record, _ in results(server.address, examination)]
        medians = (region["median"] for record in found for region in record["regions"])
        values[name] = [median for median in medians if median is not None]
    assert len(values["torch"]) > 8
    assert values["openvino-f32"] == pytest.approx(values["torch"], abs=0.1)


def test_a_server_does_not_load_torch_that_is_installed(examination):
    with started_server(["--budget-ms", "60000"]) as server:
        assert len(results(server.address, examination)) == 4
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "openvino" in loaded
    assert "libtorch" not in loaded


@pytest.mark.slow
def test_an_engine_that_needs_torch_is_replaced_and_the_log_names_torch(without_torch):
    with started_server(["--engine", "torch"]) as server:
        assert "torch is not installed: pip install" in server.log_text()
