"""Results of files as DICOM objects: ``myostream process --dicom``."""

import stat

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.dicom.write.parametric_map import parametric_map
from inline.pipeline import Pipeline
from inline.replay.simulate import simulate_examination, write_examination
from model.engines.fallback import FallbackEngine
from tests.shapes import RingEngine

from ..dicom import scanner


@pytest.fixture(autouse=True)
def quick(monkeypatch, ring_engine):
    monkeypatch.setattr("inline.engine_selection.build_pipeline", lambda settings: Pipeline(ring_engine))


def run(*arguments):
    return CliRunner().invoke(app, ["process", *map(str, arguments)], env={"COLUMNS": "100"})


def test_objects_are_written_and_replaced_by_a_rerun(tmp_path):
    (tmp_path / "in").mkdir()
    for number, each in enumerate(scanner.classic(scanner.examination(1, size=96)[1])):
        each.save_as(tmp_path / "in" / f"{number}.dcm", enforce_file_format=True)
    for _ in range(2):
        made = run(tmp_path / "in", "--dicom", tmp_path / "out")
        assert made.exit_code == 0, made.output
        assert "DICOM objects: 8 in" in made.output
        files = sorted((tmp_path / "out" / "001").iterdir())
        objects = [dcmread(file) for file in files]
        assert [file.stem for file in files] == [each.SOPInstanceUID for each in objects]
        assert sorted(each.Modality for each in objects) == ["OT"] * 4 + ["SEG"] * 2 + ["SR"] * 2
        assert {each.StudyInstanceUID for each in objects} == {scanner.STUDY}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_study_that_cannot_be_written_keeps_no_other_from_it(tmp_path, monkeypatch):
    def refusing(source):
        if source.images.first.StudyInstanceUID == "1.2.3.1":
            raise ValueError("invalid attribute of an image")
        return parametric_map(source)

    monkeypatch.setattr("inline.dicom.write.objects.parametric_map", refusing)
    (tmp_path / "in").mkdir()
    images = scanner.examination(1, size=96)[1]
    for study in ("1.2.3.1", "1.2.3.2"):
        for number, each in enumerate(scanner.series_of(scanner.classic(images, study), 1)):
            each.FrameOfReferenceUID = f"{study}.1"
            each.save_as(tmp_path / "in" / f"{study}-{number}.dcm", enforce_file_format=True)
    made = run(tmp_path / "in", "--dicom", tmp_path / "out")
    assert made.exit_code == 1
    assert "T1 is not written: no DICOM object can be made" in " ".join(made.output.split())
    assert "Traceback" not in made.output
    files = sorted((tmp_path / "out" / "002").iterdir())
    assert {dcmread(file).StudyInstanceUID for file in files} == {"1.2.3.2"}
    assert len(files) == 4


def test_images_of_a_stream_give_an_error_message_and_their_other_outputs(tmp_path):
    write_examination(tmp_path / "one.h5", simulate_examination(1, seed=5, size=96))
    made = run(tmp_path / "one.h5", "--dicom", tmp_path / "out", "-o", tmp_path / "json")
    assert made.exit_code == 1
    assert "did not come as DICOM" in " ".join(made.output.split())
    assert len(list((tmp_path / "json" / "001").glob("slice-*.json"))) == 2
    assert not list((tmp_path / "out").iterdir())


class Named(RingEngine):
    """Engine of a name that fails after some slices."""

    def __init__(self, name, slices=100):
        super().__init__()
        self.name, self._left = name, slices

    def infer(self, images):
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("no memory")
        return super().infer(images)


def test_objects_and_reports_state_the_engine_that_follows_one_that_fails(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for study in ("1.2.3.1", "1.2.3.2"):
        for number, each in enumerate(scanner.classic(scanner.examination(1, size=96)[1], study)):
            each.FrameOfReferenceUID = f"{study}.1"
            each.save_as(tmp_path / "in" / f"{study}-{number}.dcm", enforce_file_format=True)
    stated = []
    monkeypatch.setattr(
        "inline.offline.report_output.write_report",
        lambda file, content: stated.append(dict(content.provenance)["Network"].rpartition(", ")[2]),
    )

    def objects(engine, out):
        monkeypatch.setattr("inline.engine_selection.build_pipeline", lambda settings: Pipeline(engine))
        made = run(tmp_path / "in", "--dicom", tmp_path / out, "--report", tmp_path / "page.png")
        assert made.exit_code == 0, made.output
        return [
            {file.name: file.read_bytes() for file in (tmp_path / out / number).iterdir()}
            for number in ("001", "002")
        ]

    # Each examination has two slices.
    fallback = FallbackEngine([("first", lambda: Named("first", 2)), ("second", lambda: Named("second"))])
    before, after = objects(fallback, "both")
    assert stated == ["first", "second"]
    assert [b"engine=first" in each for each in before.values()].count(True) == 4
    assert not any(b"engine=first" in each for each in after.values())
    # The objects are those of a run with the second engine alone.
    assert after.keys() == objects(Named("second"), "alone")[1].keys()
