"""``myostream process``: table, records and exit codes for files of several kinds."""

import importlib
import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.pipeline import Pipeline
from inline.replay.simulate import simulate_examination, to_images, write_examination

sys.path.append(str(Path(__file__).parents[1] / "dicom"))
writer = importlib.import_module("writer")
sys.path.pop()


@pytest.fixture(autouse=True)
def quick(monkeypatch, ring_engine):
    monkeypatch.setattr("inline.engine_selection.build_pipeline", lambda settings: Pipeline(ring_engine))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of DICOM images and the MRD file of the same examination."""
    folder = tmp_path_factory.mktemp("process")
    slices = simulate_examination(1, seed=5, size=96)
    (folder / "dicom").mkdir()
    writer.classic(folder / "dicom", to_images(slices), "philips")
    write_examination(folder / "one.h5", slices)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["process", *map(str, arguments)], env={"COLUMNS": "100"})


def records(folder):
    return [json.loads(file.read_text()) for file in sorted(folder.glob("slice-*.json"))]


def test_dicom_and_mrd_give_the_same_values(files, tmp_path):
    made = run(files / "dicom", files / "one.h5", "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    assert made.output.count("Myocardium by slice") == 2
    assert made.output.count("11 images; 2 results") == 2
    by_dicom, by_mrd = (records(tmp_path / "out" / name) for name in ("001", "002"))
    assert len(by_dicom) == len(by_mrd) == 2
    for ours, theirs in zip(by_dicom, by_mrd, strict=True):
        assert ours["quantity"] == theirs["quantity"]
        for name in ("median", "q1", "q3", "mean", "sd"):
            assert ours["regions"][0][name] == pytest.approx(theirs["regions"][0][name], abs=0.1)
        np.testing.assert_allclose(
            ours["contours"]["epi"]["patient_mm"], theirs["contours"]["epi"]["patient_mm"], atol=0.02
        )
    about = json.loads((tmp_path / "out" / "001" / "examination.json").read_text())
    assert about["source"] == str(files / "dicom")
    for file in (tmp_path / "out").rglob("*.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert writer.PATIENT not in file.read_text()
    assert writer.PATIENT not in made.output


def test_a_damaged_file_is_named_and_the_rest_is_written(files, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00zzzz")
    made = run(files / "dicom", broken, "-o", tmp_path / "out")
    assert made.exit_code == 1
    assert f"{broken} is damaged" in made.output.replace("\n", "")
    assert "1 file or image could not be read" in made.stderr
    assert len(records(tmp_path / "out" / "001")) == 2


def test_times_of_an_array_on_the_command_line(tmp_path):
    times = [100.0, 180.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0, 3700.0]
    images = np.stack([np.full((96, 96), abs(500.0 - 950.0 * np.exp(-time / 800.0))) for time in times])
    np.save(tmp_path / "a.npy", images + np.arange(96) % 2)
    made = run(tmp_path / "a.npy", "--ti", ",".join(map(str, times)), "--spacing", "1.5")
    assert made.exit_code == 0, made.output
    assert "720" in made.output
    assert "no-orientation" in made.output


@pytest.mark.parametrize(
    "wrong", [["--ti", "a,b"], ["--te", "-1,2"], ["--spacing", "1,2,3"], ["--spacing", "0"]]
)
def test_wrong_usage(files, wrong):
    assert run(files / "one.h5", *wrong).exit_code == 2


def test_no_result(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 96, 96)))
    made = run(tmp_path / "a.npy", "--ti", "100,200,300", "--spacing", "1.5")
    assert made.exit_code == 3
    assert "too few for a T1 map" in made.output.replace("\n", "")


def test_a_missing_extra_is_named_before_the_work(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)  # its import fails as that of a missing package
    monkeypatch.setattr("inline.engine_selection.build_pipeline", lambda settings: pytest.fail("work began"))
    made = run(files / "dicom", "--dicom", tmp_path / "out")
    assert made.exit_code == 1
    assert "highdicom is not installed; it comes with myostream[dicom]" in made.output


def test_nothing_at_a_path(tmp_path):
    made = run(tmp_path / "nowhere")
    assert made.exit_code == 1
    assert "there is no file or folder" in made.stderr
