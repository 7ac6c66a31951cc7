import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from bench import latency
from bench.latency import OUTSIDE, NoResultError, Slice, run_session, show, slowest, summary
from bench.latency import _Replies as Replies
from bench.reproduce import RESULTS
from bench.watched import make_stream
from inline.data.errors import MyostreamError
from inline.mrd.messages import Close
from inline.pipeline import Pipeline
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server
from inline.settings import load_settings
from tests.shapes import RingEngine


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


def test_slices_are_drawn_by_the_numbers_of_the_printout(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(latency, "draw_curves", lambda _, panels: drawn.extend(panels))
    measured = [*slices(500, 80, 90, 131), *slices(300, 70, 70, 70, quantity="T2")]
    measured = [replace(each, number=number) for number, each in enumerate(measured)]
    paces = [{"interval_ms": pace, **summary(measured)} for pace in (2000.0, 200.0)]
    show({"slices": 8, "engine_used": "ring", "paces": paces}, None, None)
    assert [label for label, _, _ in drawn] == ["slice, one every 2000 ms", "slice, one every 200 ms"]
    for _, _, curves in drawn:
        assert curves["latency"] == ([1, 2, 3, 5, 6, 7], [80, 90, 131, 70, 70, 70])
        assert (curves["p50"], curves["p99"]) == (75.0, pytest.approx(128.95))
    assert "slowest: slice 3 (T1), 131.0 ms" in " ".join(capsys.readouterr().out.split())


def test_the_results_in_the_repository_can_be_shown(tmp_path):
    show(json.loads((RESULTS / "latency.json").read_text()), None, tmp_path / "latency.png")
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def session(slices, engine=None, budget_ms=60_000.0, **settings):
    scheduler = Scheduler(Pipeline(engine or RingEngine()), 1, budget_ms)
    server = Server(scheduler, load_settings(server={"port": 0}, budget_ms=budget_ms, **settings))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        header, stream = make_stream(slices, size=96)
        return run_session(server.address, header, stream, 0.01)
    finally:
        server.stop()
        thread.join(timeout=30)
        scheduler.close()


def test_a_late_slice_without_a_map_ends_with_its_text():
    found = session(6, budget_ms=0.001)
    assert [(each.quantity, each.late, each.number) for each in found] == [
        (("T1", "T2")[number % 2], True, number) for number in range(6)
    ]
    assert all(each.latency_ms > 0.0 for each in found)
    assert summary(found)["late"] == 4, "all but the first of each map"


@pytest.mark.parametrize("emit", [{"overlay": False, "segmentation": False}, {"uncertainty": True}])
def test_slices_are_complete_with_any_choice_of_images(emit):
    found = session(4, emit=emit)
    assert [each.number for each in found] == [0, 1, 2, 3]
    assert not any(each.late for each in found)


def test_the_report_at_the_end_belongs_to_no_slice(monkeypatch):
    made, closed = [], []

    def replies(stream):
        made.append(Replies(stream))
        return made[0]

    def close():
        closed.append(time.perf_counter())
        return Close()

    monkeypatch.setattr(latency, "_Replies", replies)
    monkeypatch.setattr(latency, "Close", close)
    assert [each.number for each in session(2, emit={"report": True})] == [0, 1]
    assert max(made[0].ended.values()) < closed[0]


def test_what_was_measured_before_a_slice_without_a_result_is_kept(tmp_path, monkeypatch, capsys):
    class Stops(RingEngine):
        def infer(self, images):
            if stopped.wait(0.0):
                time.sleep(5.0)
            return super().infer(images)

    stopped = threading.Event()
    made = Replies.wait

    def wait(self, number):
        if number == 4:
            stopped.set()
        return made(self, number)

    monkeypatch.setattr(latency, "_LONGEST_WAIT_S", 2.5)
    monkeypatch.setattr(Replies, "wait", wait)
    with pytest.raises(NoResultError, match="slice 4 had no result") as error:
        session(6, Stops())
    assert [each.number for each in error.value.slices] == [0, 1, 2, 3]
    paces = [{"interval_ms": 10.0, **summary(error.value.slices)}]
    results = {"slices": 6, "engine_used": "ring", "paces": paces, "problem": "slice 4 had no result"}
    with pytest.raises(MyostreamError, match="ended early: slice 4 had no result"):
        show(results, tmp_path / "latency.json", None)
    assert "6 slices one by one" in " ".join(capsys.readouterr().out.split())
    assert len(json.loads((tmp_path / "latency.json").read_text())["paces"][0]["all_ms"]) == 2


def test_slices_over_a_socket(tmp_path, capsys):
    found = session(6)
    assert [each.quantity for each in found] == ["T1", "T2"] * 3
    for each in found:
        assert each.latency_ms > sum(each.stages_ms.values()) * 0.5
        assert "network" in each.stages_ms
    file = tmp_path / "latency.png"
    paces = [{"interval_ms": 10.0, **summary(found)}]
    show({"slices": 6, "engine": "auto", "engine_used": "ring", "paces": paces}, None, file)
    assert "engine ring:" in capsys.readouterr().out
    assert file.stat().st_size > 0
