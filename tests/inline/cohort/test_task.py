import json

import pytest

from inline import process, read_mrd
from inline.cohort.discover import discover
from inline.cohort.store import Store, failure_of
from inline.emit.record import record
from inline.replay.results import read_record


class Raising:
    name = "raising"

    def infer(self, images):
        raise RuntimeError("no memory")


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
    expected = [read_record(record(process(series, study=study, pipeline=ring()))) for series in study]
    for each in expected:
        assert each.pop("times_ms")
    assert document["slices"] == json.loads(json.dumps(expected))
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
    from inline.pipeline import Pipeline

    outcome, document = run(discover(examinations).examinations[0], Pipeline(Raising()))
    assert outcome.failure == "RuntimeError: no memory; RuntimeError: no memory"
    assert [each["flags"] for each in document["slices"]] == [["processing-error"]] * 2


def test_a_folder_that_cannot_be_written_is_an_outcome(examinations, task, ring):
    outcome = task.run(discover(examinations).examinations[0], ring())
    assert "could not be written" in outcome.failure
