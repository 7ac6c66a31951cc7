import json

import pytest

from bench import scaling
from tests.shapes import Nothing


def test_the_exponent_of_a_power():
    series = [{"value": side, "fit": 0.3 * side**2} for side in (64, 128, 256)]
    assert scaling.exponent(series, "fit") == pytest.approx(2.0)


def test_every_series_is_measured_and_drawn(tmp_path, monkeypatch):
    served = {"warm": {"seconds": 2.0, "images_lost": 0}, "peak_memory_mib": 1.0}
    monkeypatch.setattr(scaling.throughput, "measure", lambda *_, **__: served)
    engine = Nothing()
    figures = {
        "engine": engine.name,
        "matrix": scaling.by_matrix((96, 128), engine, 1),
        "images": scaling.by_images(1, size=96),
        "batch": scaling.by_batch((1, 2), engine, 1),
        "connections": scaling.by_connections((1, 2), 40, "auto"),
        "slices": 40,
    }
    assert [each["value"] for each in figures["images"]] == [8, 9, 11, 3, 5, 8]
    assert figures["connections"][0]["whole"] == 50.0
    for each in figures["matrix"]:
        parts = ("stream", "fit", "prepare", "network", "contours")
        assert each["whole"] == pytest.approx(sum(each[name] for name in parts))
    scaling.show(figures, tmp_path / "s.json", tmp_path / "s.png")
    assert json.loads((tmp_path / "s.json").read_text())["matrix"][1]["value"] == 128
    assert (tmp_path / "s.png").stat().st_size > 0
