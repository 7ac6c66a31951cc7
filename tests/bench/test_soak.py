"""Soak on a small scale, against a live server."""

import json

import pytest

from bench import soak
from bench.watched import Measurement


@pytest.mark.slow
def test_a_short_soak(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "_QUIET_S", 0.5)
    measurements = [Measurement.simulate(1, 96, post_contrast=post) for post in (False, True)]
    assert [each.slices for each in measurements] == [2, 3]
    figures = soak.measure(12, measurements=measurements, samples=4)
    assert figures["tally"]["lost"] == 0
    assert figures["tally"]["problems"] == []
    assert figures["tally"]["results"] == figures["tally"]["expected"] >= 12
    assert figures["published"] > 0
    assert figures["code"] == 0
    assert figures["engine_used"] not in ("", "auto")
    slices = [each["slices"] for each in figures["samples"]]
    assert slices == sorted(slices)
    assert slices[-1] == figures["tally"]["results"]
    assert all(each["held"]["megabytes"] > 50 for each in figures["samples"])
    assert all(each["held"]["threads"] > 1 for each in figures["samples"])
    soak.show(figures, tmp_path / "s.json", tmp_path / "s.png")
    assert "images lost" in capsys.readouterr().out
    assert json.loads((tmp_path / "s.json").read_text())["slices"] == 12
    assert (tmp_path / "s.png").stat().st_size > 0


def test_growth_and_loss_are_failures(tmp_path):
    held = {"megabytes": 100.0, "threads": 5, "descriptors": 9}
    point = {"seconds": 1.0, "slices": 2, "held": held, "latency_s": {}}
    counts = {"lost": 0, "sent": 11, "expected": 2, "results": 2, "contours": 2, "late": 0, "disordered": 0}
    good = {
        "slices": 2,
        "engine": "auto",
        "engine_used": "openvino-f32",
        "samples": [point, point],
        "settled": point,
        "end": point,
        "idle": {"before": held, "after": held},
        "tally": {**counts, "problems": []},
        "broken_off": 0,
        "published": 2,
        "tracebacks": 0,
        "code": 0,
        "grown": [],
    }

    def holds(**changed):
        return soak.show({**good, **changed}, None, None)

    assert holds()
    assert not holds(grown=["threads"])
    assert not holds(code=-6)
    assert not holds(published=0)
    assert not holds(tracebacks=1)
    assert not holds(samples=[point])
    assert not holds(tally={**good["tally"], "lost": 1})
    assert not holds(tally={**good["tally"], "results": 1, "late": 1})
