"""``myostream process``: table, records and exit codes for files of several kinds."""

import importlib
import json
import os
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.cli.options import PREPARING
from inline.mrd.files import write_images
from inline.pipeline import Pipeline
from inline.reference import ReferenceRanges
from inline.replay.simulate import header_xml, simulate_examination, to_images, write_examination
from tests.inline import contrast_phantom as phantom
from tests.shapes import RingEngine

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
    assert made.stderr.splitlines() == [PREPARING]
    assert made.output.count("Myocardium by slice") == 2
    assert made.output.count("11 images; 2 results") == 2
    assert "of one study" not in made.output
    assert made.output.count("Level unknown: ") == 2
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


def test_what_an_earlier_run_left_is_stated(files, tmp_path):
    out, objects = tmp_path / "out", tmp_path / "objects"
    first = run(files / "dicom", files / "one.h5", "-o", out, "--dicom", objects)
    assert "earlier run" not in first.output
    (out / "001" / "slice-07-T1-series-9.json").write_text("{}")
    (out / "001" / "slice-08\nforged\x1b[31m.json").write_text("{}")
    (objects / "001" / "2.25.1.dcm").write_text("")
    second = " ".join(run(files / "dicom", "-o", out, "--dicom", objects).output.split())
    left = "2 files of an earlier run left there: slice-07-T1-series-9.json, slice-08\\nforged\\x1b[31m.json"
    assert left in second
    assert "1 file of an earlier run left there: 2.25.1.dcm" in second
    assert "1 folder of an earlier run left there: 002" in second
    assert len(records(out / "001")) == 4


def test_a_damaged_file_is_named_and_the_rest_is_written(files, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00zzzz")
    made = run(files / "dicom", broken, "-o", tmp_path / "out")
    assert made.exit_code == 1
    assert f"{broken} is damaged" in made.output.replace("\n", "")
    assert "1 file or image could not be read" in made.stderr
    assert len(records(tmp_path / "out" / "001")) == 2


def test_an_output_folder_whose_name_is_no_utf8_is_named_with_escapes(files, tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    made = run(files / "dicom", "-o", folder, "--report", tmp_path / os.fsdecode(b"\xfc.png"))
    assert made.exit_code == 0, made.output
    assert f"Results: 2 in {tmp_path}/M\\udcfcller/001" in made.output.replace("\n", "")
    assert len(records(folder / "001")) == 2


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


def test_files_and_folders_that_cannot_be_read_are_named_for_what_they_are(files, tmp_path):
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.mrd").write_text("no HDF5")
    made = run(tmp_path / "empty.h5", tmp_path / "text.mrd")
    assert made.exit_code == 1
    assert " ".join(made.output.split()).count("is not a readable HDF5 file") == 2
    assert "2 files or images could not be read" in made.stderr
    folder = run(tmp_path)
    assert folder.exit_code == 1
    assert "MRD files and arrays are given by name" in folder.stderr


@pytest.mark.parametrize("lost", [5000, 5001])  # pixels of two bytes
def test_a_dicom_file_that_is_cut_off_is_called_so(lost, files, tmp_path):
    whole = sorted((files / "dicom").iterdir())[0]
    (tmp_path / "cut.dcm").write_bytes(whole.read_bytes()[:-lost])
    made = run(tmp_path / "cut.dcm")
    assert made.exit_code == 1
    assert "its pixels cannot be read: the file is cut off" in " ".join(made.output.split())


def test_nothing_at_a_path(tmp_path):
    made = run(tmp_path / "nowhere")
    assert made.exit_code == 1
    assert "there is no file or folder" in made.stderr


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory):
    """An MRD file of two native slices, of which the first also has post-contrast T1 of known ECV."""
    file = tmp_path_factory.mktemp("enhanced") / "both.h5"
    images = phantom.native_and_post(2, 1)
    write_images(file, header_xml(simulate_examination(1, seed=5, size=96)), images)
    return file


def ecv_files(folder):
    return {file.name: json.loads(file.read_text()) for file in sorted(folder.glob("*-ECV-*.json"))}


def test_ecv_is_printed_and_written_as_published(enhanced, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "inline.engine_selection.build_pipeline",
        lambda settings: Pipeline(RingEngine(), ranges=ReferenceRanges.load(settings.reference.file)),
    )
    (tmp_path / "ranges.toml").write_text(
        '[[range]]\nquantity = "ECV"\nregion = "global"\nfield_strength = 1.5\nmean = 26.0\nsd = 2.0\n'
        'n = 30\nsource = "site"\n'
    )
    (tmp_path / "s.toml").write_text(f'[reference]\nfile = "{tmp_path / "ranges.toml"}"\n')
    made = run(enhanced, "-o", tmp_path / "out", "--haematocrit", "0.42", "--settings", tmp_path / "s.toml")
    assert made.exit_code == 0, made.output
    assert made.output.count("Extracellular volume") == 1
    assert f"{phantom.ECV:.1f} [" in made.output
    assert "is not used" not in made.output
    assert re.search(r"Note: ECV 1 \w+ \(1\): no post-contrast slice lies within 3 mm", made.output)
    found = ecv_files(tmp_path / "out" / "001")
    assert list(found) == ["slice-00-ECV-series-1.json", "slice-01-ECV-series-1.json"]
    first, second = found.values()
    ring = first["regions"][0]
    assert ring["median"] == pytest.approx(phantom.ECV, abs=0.01)
    assert ring["partition_coefficient"] == pytest.approx(phantom.PARTITION, abs=1e-4)
    assert ring["z_score"] == pytest.approx((phantom.ECV - 26.0) / 2.0, abs=0.02)
    assert (first["schema"], first["haematocrit"], first["haematocrit_source"]) == (
        "myostream.ecv/1.0",
        0.42,
        "given",
    )
    assert (second["regions"], second["flags"]) == ([], ["slices-do-not-match"])


def test_a_haematocrit_without_post_contrast_t1_is_not_used(files):
    made = run(files / "one.h5", "--haematocrit", "0.42")
    assert made.exit_code == 0, made.output
    assert (
        " ".join(made.output.split()).count("Note: The haematocrit 0.42 is not used: no native and post") == 1
    )
    assert "is not used" not in run(files / "one.h5").output


def test_a_haematocrit_is_of_one_examination(enhanced, files, tmp_path):
    made = run(enhanced, files / "one.h5", "--haematocrit", "0.42", "-o", tmp_path / "out")
    assert made.exit_code == 1
    assert "is of one patient" in " ".join(made.stderr.split())
    assert not list((tmp_path / "out").rglob("*.json"))
    for name in ("native.npz", "post.npz"):
        times_ms = [100.0, 180.0, 1000.0, 2000.0]
        ones = np.ones((4, 96, 96), np.float32)
        np.savez(tmp_path / name, images=ones, inversion_times_ms=times_ms, pixel_spacing_mm=1.5)
    made = run(tmp_path / "native.npz", tmp_path / "post.npz", "--haematocrit", "0.42")
    assert made.exit_code == 1
    assert "myostream.ecv in Python takes two results" in " ".join(made.stderr.split())
    wrong = run(enhanced, "--haematocrit", "42")
    assert wrong.exit_code == 1
    assert "give 0.42 for 42 %" in " ".join(wrong.stderr.split())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["native first", "post-contrast first"])
def test_two_files_of_one_study_are_one_examination(tmp_path, order):
    header = header_xml(simulate_examination(1, seed=5, size=96)).replace(
        "</studyInformation>", "<studyInstanceUID>1.2.3.4</studyInstanceUID></studyInformation>"
    )
    images = phantom.native_and_post(1, 1)
    files = [tmp_path / name for name in ("native.h5", "post.h5")]
    for file, index in zip(files, (1, 3), strict=True):
        series = [image for image in images if image.header.image_series_index == index]
        write_images(file, header, series)
    made = run(*(files[each] for each in order), "--haematocrit", "0.42", "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    (found,) = ecv_files(tmp_path / "out" / "002").values()
    assert found["regions"][0]["median"] == pytest.approx(phantom.ECV, abs=0.01)
    assert made.output.count(f"{phantom.ECV:.1f} [") == 1
    assert f"{files[order[1]].name}(ofonestudywith1)" in "".join(made.output.split())  # lines are wrapped
    other = tmp_path / "other.h5"
    write_images(other, header.replace("1.2.3.4", "1.2.3.5"), images)
    assert run(files[0], other, "--haematocrit", "0.42").exit_code == 1


def test_each_study_has_the_haematocrit_of_its_line_unless_the_option_states_one(tmp_path):
    header = (
        "<ismrmrdHeader><subjectInformation><patientID>A17</patientID></subjectInformation><studyInformation>"
        "<studyDate>2026-01-{0:02}</studyDate><studyInstanceUID>1.2.{0}</studyInstanceUID></studyInformation>"
        "</ismrmrdHeader>"
    )
    files = [tmp_path / f"{day}.h5" for day in (1, 2)]
    for day, file in enumerate(files, 1):
        write_images(file, header.format(day), phantom.native_and_post(1, 1))
    (tmp_path / "site.toml").write_text('[ecv]\nhaematocrits = "h.csv"\n')
    (tmp_path / "h.csv").write_text("patient_id,study_date,haematocrit\nA17,20260102,0.42\n")

    def found(*arguments):
        made = run(*arguments, "-o", tmp_path / "out", "--settings", tmp_path / "site.toml")
        assert made.exit_code == 0, made.output
        ecv = [each for name in sorted((tmp_path / "out").glob("00*")) for each in ecv_files(name).values()]
        return [(each["haematocrit"], each["haematocrit_source"]) for each in ecv], made.output

    values, output = found(*files)
    assert values == [(None, None), (0.42, "file")]
    assert "has no line for this study" in " ".join(output.split())
    assert found(files[1], "--haematocrit", "0.4")[0][0] == (0.4, "given")
    for content, why in (("study_uid;Hct\n", "column 2 is none of"), (None, "No such file or directory")):
        (tmp_path / "h.csv").unlink() if content is None else (tmp_path / "h.csv").write_text(content)
        made = run(files[1], "--settings", tmp_path / "site.toml")
        assert made.exit_code == 1
        assert "h.csv (setting ecv.haematocrits) cannot be used" in " ".join(made.stderr.split())
        assert why in " ".join(made.stderr.split())


def test_files_of_two_patients_under_one_study_uid_have_no_line(tmp_path):
    files = [tmp_path / f"{patient}.h5" for patient in ("A", "B", "none")]
    for file, patient in zip(files, ("A17", "B22", ""), strict=True):
        header = (
            f"<ismrmrdHeader><subjectInformation><patientID>{patient}</patientID></subjectInformation>"
            "<studyInformation><studyInstanceUID>1.2.3</studyInstanceUID></studyInformation></ismrmrdHeader>"
        )
        write_images(file, header, phantom.native_and_post(1, 1))
    (tmp_path / "site.toml").write_text('[ecv]\nhaematocrits = "h.csv"\n')
    (tmp_path / "h.csv").write_text("study_uid,haematocrit\n1.2.3,0.42\n")

    def found(*files):
        made = run(*files, "-o", tmp_path / "out", "--settings", tmp_path / "site.toml")
        assert made.exit_code == 0, made.output
        values = [
            ecv_files(tmp_path / "out" / f"{number:03}").values() for number in range(1, len(files) + 1)
        ]
        return [each["haematocrit"] for ecv in values for each in ecv]

    assert set(found(*files)) == {None}
    assert found(files[0], files[2])[0] == 0.42


@pytest.mark.parametrize(
    ("patients", "frames", "one"),
    [
        (("A17", "B22"), ("1.2.3", "1.2.3"), False),
        (("A17", ""), ("1.2.3", "1.2.3"), True),
        (("A17", "A17"), ("1.2.3", ""), True),
        (("A17", "A17"), ("1.2.3", "1.2.4"), False),
    ],
)
def test_files_of_one_study_uid_are_of_one_patient_and_frame_of_reference(tmp_path, patients, frames, one):
    """A frame of reference or patientID that one file alone states does not part them."""
    images, files = phantom.native_and_post(1, 1), []
    for index, patient, frame in zip((1, 3), patients, frames, strict=True):
        files.append(tmp_path / f"{index}.h5")
        header = (
            f"<ismrmrdHeader><subjectInformation><patientID>{patient}</patientID></subjectInformation>"
            "<studyInformation><studyInstanceUID>1.2.3.4</studyInstanceUID></studyInformation>"
            f"<measurementInformation><frameOfReferenceUID>{frame}</frameOfReferenceUID>"
            "</measurementInformation></ismrmrdHeader>"
        )
        write_images(files[-1], header, [each for each in images if each.header.image_series_index == index])
    assert run(*files, "-o", tmp_path / "out").exit_code == 0
    (found,) = ecv_files(tmp_path / "out" / "002").values()
    assert bool(found["regions"]) == one
    assert (run(*files, "--haematocrit", "0.42").exit_code == 0) == one


def test_a_slice_with_an_error_is_no_result(tmp_path):
    images = [
        replace(each, header=replace(each.header, field_of_view=(0.0, 0.0, 0.0)))
        for each in phantom.molli(phantom.NATIVE, 1, name="T1map_MOLLI")
    ]
    write_images(tmp_path / "none.h5", "", images)
    made = run(tmp_path / "none.h5")
    assert made.exit_code == 3
    assert "8 images; 0 results, 1 error" in made.output


def test_without_haematocrit_there_is_the_partition_coefficient_alone(enhanced, tmp_path):
    made = run(enhanced, "-o", tmp_path / "out")
    assert made.exit_code == 0, made.output
    first = ecv_files(tmp_path / "out" / "001")["slice-00-ECV-series-1.json"]
    assert first["regions"][0]["median"] is None
    assert first["regions"][0]["partition_coefficient"] == pytest.approx(phantom.PARTITION, abs=1e-4)
    assert "no-haematocrit" in first["flags"]


def test_reports_are_of_one_examination_each(enhanced, files, tmp_path):
    pytest.importorskip("cmcrameri")
    (tmp_path / "folder").mkdir()
    file = tmp_path / "page.png"
    made = run(enhanced, files / "one.h5", "--report", file, "--report", tmp_path / "folder")
    assert made.exit_code == 0, made.output
    names = ["folder/001/report.pdf", "folder/001/report.png", "folder/002/report.pdf"]
    names += ["folder/002/report.png", "page-002.png", "page.png"]
    written = [each for each in sorted(tmp_path.rglob("*")) if each.is_file()]
    assert [str(each.relative_to(tmp_path)) for each in written] == names
    assert {stat.S_IMODE(each.stat().st_mode) for each in written} == {0o600}
    assert file.read_bytes() == (tmp_path / "folder" / "001" / "report.png").read_bytes()
    assert run(enhanced, "--report", tmp_path / "page.txt").exit_code == 1
