import json

import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests.shapes import Constant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tables"], "--data FOLDER or --synthetic N"),
        (["tables", "--data", "nowhere"], "nowhere is not a folder"),
        (["tables", "--synthetic", "1", "--engine", "steam"], "engine: Input should be"),
    ],
)
def test_a_user_error_is_one_line(arguments, message, monkeypatch):
    if "steam" not in arguments:
        monkeypatch.setattr("inline.engine_selection.make_engine", lambda _, **_kwargs: Constant(value=0.0))
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_throughput_counts_every_image_and_result(tmp_path):
    file = tmp_path / "throughput.json"
    found = CliRunner().invoke(
        app, ["throughput", "--slices", "2", "--connections", "2", "--engine", "torch", "--json", str(file)]
    )
    assert found.exit_code == 0, found.output
    figures = json.loads(file.read_text())
    for run in ("cold", "warm"):
        # One MOLLI series of 8 images and one T2-prep series of 3.
        counts = [figures[run][name] for name in ("images_sent", "images_lost", "results")]
        assert counts == [11, 0, 2]
        assert {"fit", "network", "contours"} <= figures[run]["stages_ms"].keys()
    assert figures["peak_memory_mib"] > 100
    assert "images lost" in found.output


def test_a_missing_package_names_the_extra(monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'pingouin'", name="pingouin")

    monkeypatch.setattr("bench.peers.measure", missing)
    found = CliRunner().invoke(app, ["peers"])
    assert found.exit_code == 1
    assert "myostream[bench]" in found.stderr
