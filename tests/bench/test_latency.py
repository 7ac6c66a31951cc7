import threading

import numpy as np
import pytest

from bench.latency import OUTSIDE, Slice, run_session, show, slowest, summary
from bench.watched import make_stream
from inline.pipeline import Pipeline
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server
from inline.settings import load_settings


class Ring:
    """Finds the same ring everywhere."""

    name = "ring"

    def infer(self, images):
        rows, columns = np.indices((224, 224))
        rho = np.hypot(rows - 112, columns - 112)
        output = np.stack([rho >= 30, rho < 20, (rho >= 20) & (rho < 30)]).astype(np.float32)
        return np.repeat(output[None], len(images), axis=0)


def slices(*latencies, network=50.0, quantity="T1"):
    return [
        Slice(quantity, each, {"fit": 20.0, "network": network}, number=i) for i, each in enumerate(latencies)
    ]


def test_the_cause_is_the_part_with_the_largest_excess():
    found = slowest([*slices(80, 81, 82), Slice("T1", 131.0, {"fit": 20.0, "network": 100.0}, number=3)])
    assert found["slice"]["number"] == 3
    assert found["part"] == "network"
    assert found["excess_ms"]["network"] == pytest.approx(50.0)
    assert slowest([*slices(80, 81, 140, 82)])["part"] == OUTSIDE


def test_the_excess_is_over_slices_of_the_same_quantity():
    t2 = [Slice("T2", 60.0, {"fit": 2.0, "network": 50.0}, number=9)]
    assert slowest([*slices(80, 80, 81), *t2 * 5])["excess_ms"]["fit"] == 0.0


def test_first_slices_are_stated_apart():
    found = summary([*slices(500, 80, 90, 80), *slices(300, 70, 70, quantity="T2")])
    assert found["first_ms"] == {"T1": 500, "T2": 300}
    assert found["latency_ms"]["max"] == 90
    assert found["by_quantity_ms"]["T2"]["p50"] == 70
    assert found["jitter_ms"]["standard_deviation"]["T1"] == pytest.approx(np.std([80, 90, 80]))
    assert found["jitter_ms"]["between_neighbours"] == pytest.approx(np.mean([10, 10, 0]))


def test_slices_over_a_socket(tmp_path, capsys):
    settings = load_settings(server={"port": 0})
    scheduler = Scheduler(Pipeline(Ring()), 1, 60_000.0)
    server = Server(scheduler, settings)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        header, stream = make_stream(6, size=96)
        found = run_session(server.address, header, stream, 0.01)
    finally:
        server.stop()
        thread.join(timeout=30)
        scheduler.close()
    assert [each.quantity for each in found] == ["T1", "T2"] * 3
    for each in found:
        assert each.latency_ms > sum(each.stages_ms.values()) * 0.5
        assert "network" in each.stages_ms
    file = tmp_path / "latency.png"
    paces = [{"interval_ms": 10.0, **summary(found)}]
    show({"slices": 6, "engine": "auto", "engine_used": "ring", "paces": paces}, None, file)
    assert "engine ring:" in capsys.readouterr().out
    assert file.stat().st_size > 0
