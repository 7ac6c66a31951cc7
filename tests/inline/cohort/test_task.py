import dataclasses
import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

from inline import process, read_mrd
from inline.cohort.discover import ExaminationPath, discover
from inline.cohort.haematocrits import with_lines
from inline.cohort.provenance import CohortProvenance
from inline.cohort.store import Store, failure_of
from inline.data.errors import CohortError
from inline.emit.record import slice_record
from inline.emit.schema import read_record
from inline.examination.haematocrits import checked_haematocrits, read_haematocrits
from inline.mrd.files import write_images
from inline.pipeline import Pipeline
from inline.replay.simulate import header_xml, simulate_examination, to_images, write_examination
from tests.inline import contrast_phantom as phantom
from tests.shapes import Raising, RingEngine


@pytest.fixture
def run(task):
    Store(task.out).begin(task.out, task.provenance, task.settings)

    def run(examination, pipeline):
        outcome = task.run(examination, pipeline)
        return outcome, Store(task.out).read(examination)

    return run


def test_the_file_holds_the_records_of_the_stream_without_times(examinations, run, ring):
    examination = discover(examinations).examinations[0]
    outcome, document = run(examination, ring())
    assert (outcome.key, outcome.slices, outcome.failure) == (examination.key, 2, "")
    assert document["examination"] == "exam-2.h5"
    assert document["engine"] == "ring"
    study = read_mrd(examination.file)
    expected = [read_record(slice_record(process(series, study=study, pipeline=ring()))) for series in study]
    for each in expected:
        assert each.pop("times_ms")
    assert document["slices"] == [{"part": 1, **each} for each in json.loads(json.dumps(expected))]
    assert (document["images"], document["unused"], document["notes"]) == (11, {}, [])
    assert [each["quantity"] for each in document["slices"]] == ["T1", "T2"]
    assert all(read_record(each)["regions"] for each in document["slices"])


def test_a_second_run_replaces_the_file_by_the_same_bytes(examinations, task, run, ring):
    examination, file = discover(examinations).examinations[0], None
    contents = []
    for _ in range(2):
        run(examination, ring())
        (file,) = (task.out / "examinations").iterdir()
        contents.append(file.read_bytes())
    assert contents[0] == contents[1]
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"no HDF5"])
def test_a_damaged_file_is_an_outcome(root, run, ring, content):
    (root / "exam-2.h5").write_bytes(content)
    outcome, document = run(discover(root).examinations[0], ring())
    assert "exam-2.h5" in outcome.failure
    assert failure_of(document) == outcome.failure
    assert document["slices"] == []


def test_a_file_that_has_gone_since_it_was_found(root, run, ring):
    examination = discover(root).examinations[0]
    examination.file.unlink()
    outcome, _ = run(examination, ring())
    assert outcome.failure.startswith("there is no file")


def test_a_truncated_file_is_a_failure(root, run, ring):
    file = root / "exam-2.h5"
    file.write_bytes(file.read_bytes()[:-1000])
    outcome, document = run(discover(root).examinations[0], ring())
    assert "truncated" in outcome.failure
    assert document["error"] == outcome.failure


def test_a_network_that_fails_is_a_failure_and_keeps_the_rest(examinations, run):
    outcome, document = run(
        discover(examinations).examinations[0], Pipeline(Raising(RuntimeError("no memory")))
    )
    assert outcome.failure == "RuntimeError: no memory; RuntimeError: no memory"
    assert [each["flags"] for each in document["slices"]] == [["processing-error"]] * 2


def test_a_folder_that_cannot_be_written_is_an_outcome(examinations, task, ring):
    outcome = task.run(discover(examinations).examinations[0], ring())
    assert "could not be written" in outcome.failure


def dicom_writer():
    """Module that writes DICOM images, of the tests of their reader."""
    loader = SourceFileLoader("dicom_writer", str(Path(__file__).parent.parent / "dicom" / "writer.py"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def medians(document):
    """Of the ring: septum and segments depend on the slice count, which MRD headers state and DICOM not."""
    return {(one["quantity"], one["slice_index"]): one["regions"][0]["median"] for one in document["slices"]}


def test_a_dicom_study_gives_the_values_of_the_same_images_in_mrd(tmp_path, task, run, ring):
    pytest.importorskip("pydicom")
    writer, slices = dicom_writer(), simulate_examination(2, seed=9, size=96)
    (tmp_path / "mrd").mkdir()
    write_examination(tmp_path / "mrd" / "a.h5", slices)
    for study, seed in (("1.2.826.0.1", 9), ("1.2.826.0.2", 10)):
        images = to_images(simulate_examination(2, seed=seed, size=96))
        (tmp_path / "dicom" / study).mkdir(parents=True)
        writer.classic(tmp_path / "dicom" / study, images, "ge", study=study)
    _, expected = run(discover(tmp_path / "mrd").examinations[0], ring())  # beside run.json
    found = discover(tmp_path / "dicom").examinations
    assert len(found) == 2
    outcome, document = run(found[0], ring())
    assert outcome.failure == ""
    assert document["images"] == 22
    assert len(medians(document)) == 4
    assert medians(document) == pytest.approx(medians(expected), abs=0.1)
    written = [file.read_bytes() for file in task.out.rglob("*") if file.is_file()]
    assert len(written) == 3
    assert not any(b"Planted" in content or b"planted" in content for content in written)


def test_a_damaged_dicom_image_is_a_problem_of_its_study_alone(tmp_path, run, ring):
    pytest.importorskip("pydicom")
    images = to_images(simulate_examination(1, seed=9, size=96))
    dicom_writer().classic(tmp_path, images, "ge", study="1.2.826.0.1")
    damaged = sorted(each for each in tmp_path.rglob("*") if each.is_file())[3]
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    (examination,) = discover(tmp_path).examinations
    outcome, document = run(examination, ring())
    assert damaged.name in outcome.failure
    assert [each["quantity"] for each in document["slices"]] == ["T1", "T2"]
    assert "missing-images" in [flag for each in document["slices"] for flag in each["flags"]]


def global_rows(task, root):
    """Rows of the table with the values of the whole ring, and the document, of the only examination."""
    parquet = pytest.importorskip("pyarrow.parquet")
    store, (examination,) = Store(task.out), discover(root).examinations
    assert task.run(examination, Pipeline(RingEngine())).failure == ""
    store.finish([examination], task.provenance)
    rows = parquet.read_table(store.table, filters=[("region", "=", "global")]).to_pylist()
    return rows, store.read(examination)


@pytest.fixture
def two_hearts():
    """Wall of 1,000 ms, and 1,000 s later one of 1,200 ms, with the same numbers of series and slice."""
    other = {**phantom.NATIVE, "wall": 1200.0}
    return [
        phantom.molli(t1, 1, name="T1map_MOLLI_native", series_clock=clock)
        for clock, t1 in enumerate((phantom.NATIVE, other))
    ]


@pytest.mark.usefixtures("run")
def test_parts_tell_two_patients_of_one_study_uid_apart(tmp_path, task, two_hearts):
    pytest.importorskip("pydicom")
    for name, images in zip("ab", two_hearts, strict=True):

        def to_one_study(data, _, name=name):
            data.StudyInstanceUID, data.PatientID = "1.2.826.0.9", f"planted-{name}"

        (tmp_path / "root" / name).mkdir(parents=True)
        study = f"1.2.826.0.{ord(name)}"
        dicom_writer().classic(tmp_path / "root" / name, images, "ge", study=study, changes=to_one_study)
    rows, document = global_rows(task, tmp_path / "root")
    assert {row["part"]: round(row["median"], -1) for row in rows} == {1: 1000.0, 2: 1200.0}
    assert len(rows) == 2
    assert [each["part"] for each in document["slices"]] == [1, 2]
    (note,) = document["notes"]
    assert note == "images of 2 patients or frames of reference under one study UID: parts 1 to 2"
    assert b"planted" not in Store(task.out).table.read_bytes()


@pytest.mark.usefixtures("run")
def test_time_stamps_tell_acquisitions_of_one_series_apart(tmp_path, task, two_hearts):
    (tmp_path / "root").mkdir()
    header = header_xml(simulate_examination(1, seed=5, size=96))
    write_images(tmp_path / "root" / "twice.h5", header, [*two_hearts[0], *two_hearts[1]])
    rows, document = global_rows(task, tmp_path / "root")
    # Of the eighth image of each: images are a second apart, in ticks of 2.5 ms.
    assert {row["time_stamp"]: round(row["median"], -1) for row in rows} == {2800: 1000.0, 402800: 1200.0}
    assert [row["part"] for row in rows] == [1, 1]
    assert document["notes"] == []


def test_ecv_is_in_file_and_table_and_the_same_in_every_run(tmp_path, task):
    parquet = pytest.importorskip("pyarrow.parquet")
    root = tmp_path / "root"
    root.mkdir()
    header = header_xml(simulate_examination(1, seed=5, size=96))
    write_images(root / "both.h5", header, phantom.native_and_post(2, 1))
    settings = task.settings.model_copy(
        update={"ecv": task.settings.ecv.model_copy(update={"haematocrit": phantom.HAEMATOCRIT})}
    )
    task = dataclasses.replace(task, settings=settings, provenance=CohortProvenance.of(settings))
    store = Store(task.out)
    store.begin(root, task.provenance, settings)
    contents = []
    for _ in range(2):
        assert task.run(discover(root).examinations[0], Pipeline(RingEngine())).failure == ""
        summary = store.finish(discover(root).examinations, task.provenance)
        contents.append([file.read_bytes() for file in sorted(task.out.rglob("*")) if file.is_file()])
    assert contents[0] == contents[1]
    assert (summary.slices, summary.ecv) == (3, 1)
    whole, alone = store.read(discover(root).examinations[0])["ecv"]
    assert (whole["part"], alone["part"]) == (1, 1)
    rows = [row for row in parquet.read_table(store.table).to_pylist() if row["quantity"] == "ECV"]
    assert [row["region"] for row in rows] == [*(each["name"] for each in whole["regions"]), None]
    ring = rows[0]
    assert (ring["part"], ring["time_stamp"]) == (1, whole["native"]["time_stamp"])
    assert (ring["unit"], ring["series_index"], ring["post_series_index"], ring["slice_index"]) == (
        "%",
        1,
        3,
        0,
    )
    assert ring["median"] == pytest.approx(phantom.ECV, abs=0.01)
    assert ring["partition_coefficient"] == pytest.approx(phantom.PARTITION, abs=1e-4)
    assert (ring["haematocrit"], ring["haematocrit_source"]) == (0.42, "given")
    assert rows[-1]["error"] == alone["error"] != ""
    ms = {row["unit"] for row in parquet.read_table(store.table).to_pylist() if row["quantity"] != "ECV"}
    assert ms == {"ms"}
    natives = {
        row["enhancement"] for row in parquet.read_table(store.table).to_pylist() if row["quantity"] == "T1"
    }
    assert natives == {"native", "post-contrast"}


@pytest.mark.parametrize(
    ("names", "identity"),
    [("examination", "site/both.h5"), ("study_uid", "1.2.3"), ("accession_number", "4711")],
)
def test_an_examination_has_the_haematocrit_of_its_line_and_is_made_anew_with_it(
    tmp_path, task, names, identity
):
    root, listed = tmp_path / "root", tmp_path / "h.csv"
    (root / "site").mkdir(parents=True)
    header = (
        "<ismrmrdHeader><studyInformation><accessionNumber>4711</accessionNumber><studyInstanceUID>1.2.3"
        "</studyInstanceUID></studyInformation></ismrmrdHeader>"
    )
    write_images(root / "site" / "both.h5", header, phantom.native_and_post(1, 1))
    listed.write_text(f"{names},haematocrit\n1.2.9,0.5\n")
    settings = task.settings.model_copy(
        update={"ecv": task.settings.ecv.model_copy(update={"haematocrits": listed})}
    )
    task = dataclasses.replace(task, settings=settings, provenance=CohortProvenance.of(settings))
    store, values = Store(task.out), []
    store.begin(root, task.provenance, settings)

    def found():
        return with_lines(discover(root).examinations, checked_haematocrits(listed))[0]

    for line in (f"{identity},0.42\n", ""):
        assert not store.done(found(), task.provenance)
        assert task.run(discover(root).examinations[0], Pipeline(RingEngine())).failure == ""
        assert store.done(found(), task.provenance)
        (ecv,) = store.read(found())["ecv"]
        values.append((ecv["haematocrit"], ecv["haematocrit_source"]))
        with listed.open("a") as opened:
            opened.write(line)
    assert values == [(None, None), (0.42, "file")]
    # A line of another examination matters where the table cannot tell whose it is.
    listed.write_text(f"{listed.read_text()}1.2.8,0.5\n")
    assert store.done(found(), task.provenance) == (names == "examination")


def test_the_source_of_a_result_is_the_content_of_the_file_that_it_was_made_with(tmp_path, task):
    root, listed = tmp_path / "root", tmp_path / "h.csv"
    root.mkdir()
    header = (
        "<ismrmrdHeader><studyInformation><studyInstanceUID>1.2.3</studyInstanceUID></studyInformation>"
        "</ismrmrdHeader>"
    )
    write_images(root / "both.h5", header, phantom.native_and_post(1, 1))
    ecv = task.settings.ecv.model_copy(update={"haematocrits": listed, "haematocrit": 0.45})
    settings = task.settings.model_copy(update={"ecv": ecv})
    task = dataclasses.replace(task, settings=settings, provenance=CohortProvenance.of(settings))
    store, (images,) = Store(task.out), discover(root).examinations
    store.begin(root, task.provenance, settings)

    def made(content):
        listed.write_text(content) if content else listed.unlink()
        return task.run(images, Pipeline(RingEngine()))

    def done(content):
        listed.write_text(content)
        return store.done(with_lines([images], checked_haematocrits(listed))[0], task.provenance)

    low, high = (f"study_uid,haematocrit\n1.2.3,{value}\n" for value in (0.3, 0.5))
    assert done(low) is False
    outcome = made(high)  # the file changes between the beginning of the run and the task
    assert (outcome.failure, done(low), done(high)) == ("", False, True)
    (stored,) = store.read(images)["ecv"]
    assert stored["haematocrit"] == 0.5
    summary = store.finish([dataclasses.replace(images, source=outcome.source)], task.provenance)
    assert (summary.failures, summary.ecv) == ((), 1)
    outcome = made("")
    assert outcome.failure == "ecv.haematocrits cannot be used: No such file or directory"
    stored = store.read(images)
    assert all(each["regions"][0]["median"] for each in stored["slices"])
    assert (len(stored["slices"]), stored["ecv"][0]["haematocrit"]) == (2, None)
    assert stored["ecv"][0]["regions"][0]["partition_coefficient"] > 0
    summary = store.finish([dataclasses.replace(images, source=outcome.source)], task.provenance)
    assert (summary.slices, len(summary.failures)) == (2, 1)
    assert (done(low), done(high)) == (False, False)


def test_a_name_of_several_studies_has_no_line(tmp_path):
    of_study = [ExaminationPath("site", None, (), each, "", 1, alone=False) for each in ("1.2.3", "1.2.4")]
    for names, cells in (("examination", "site"), ("study_date,examination", "20260131,site")):
        table = read_haematocrits(f"{names},haematocrit\n{cells},0.42\n".encode())
        for some in (of_study, of_study[:1]):
            with pytest.raises(CohortError, match="several studies are in site"):
                with_lines(some, table)
    table = read_haematocrits(b"examination,haematocrit\nsite,0.42\n")
    one, other = with_lines(
        [dataclasses.replace(of_study[0], alone=True), dataclasses.replace(of_study[1], name="elsewhere")],
        table,
    )
    assert one.source != other.source


def test_ecv_that_fails_is_a_failure_and_keeps_the_slices(tmp_path, run, monkeypatch):
    def failing(*_):
        raise RuntimeError("a fault")

    monkeypatch.setattr("inline.examination.examine.ecv_of_pair", failing)
    (tmp_path / "root").mkdir()
    header = header_xml(simulate_examination(1, seed=5, size=96))
    write_images(tmp_path / "root" / "both.h5", header, phantom.native_and_post())
    outcome, document = run(discover(tmp_path / "root").examinations[0], Pipeline(RingEngine()))
    assert outcome.failure == "RuntimeError: a fault"
    assert len(document["slices"]) == 2
