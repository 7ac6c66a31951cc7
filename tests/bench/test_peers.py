import json
from types import SimpleNamespace

from bench import fits, peers
from tests.shapes import RingEngine


def test_each_stage_has_a_reference_and_a_ratio(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(peers, "build_pipeline", lambda _: SimpleNamespace(engine=RingEngine()))
    monkeypatch.setattr(peers, "_TIMED_PIXELS", 4)
    monkeypatch.setattr(fits, "compare", lambda pixels: {"T2": {"map_ms": 1.0, "ratio": 9.0}})
    results = peers.measure(repeats=1)
    stages = results["stages"]
    for stage in stages.values():
        assert stage["ratio"] == stage["reference_ms"] / stage["myostream_ms"]
    parts = [stages[name]["myostream_ms"] for name in ("T1 fit, 256 x 256", "network", "contours")]
    assert stages["T1 slice, all stages"]["myostream_ms"] == sum(parts)
    assert {"read an image (ismrmrd)", "write an image (ismrmrd)"} < set(stages)
    peers.show(results, tmp_path / "peers.json")
    assert json.loads((tmp_path / "peers.json").read_text())["engine"] == "ring"
    assert "T1 slice, all stages" in capsys.readouterr().out
