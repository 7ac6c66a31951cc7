"""Studies of a spool: list them, and remove one of them with everything that belongs to it."""

import json
import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ParametricMapStorage
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.dicom.node.received import Received
from inline.dicom.node.spool import Spool, inspect, move_results
from inline.dicom.node.store import SpoolError, SpoolStore
from inline.dicom.node.studies import forget_study, list_studies

ROOT = "1.2.826.0.1.3680043.8.498"
STUDIES = [f"{ROOT}.{number}" for number in (7, 71, 8)]
"""One begins as another one does."""


class Clock:
    now = 1e6

    def __call__(self):
        return self.now


def instance(uid, study, patient):
    """A DICOM file without pixels."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ParametricMapStorage, uid
    made.StudyInstanceUID, made.PatientID = study, patient
    made.SpecificCharacterSet = "ISO_IR 192"
    made.save_as(file := BytesIO(), enforce_file_format=True)
    return file.getvalue()


def opened(folder, clock):
    return closing(Spool(folder, 1 << 30, 0, 3600.0, clock=clock))


def receive(spool, study, series, name, patient="4711"):
    uid = f"{study}.{series}.{name}"
    data = instance(uid, study, patient)
    spool.received.receive(Received(uid, f"{ROOT}.99.{series}", study), data)


def process(spool, clock, study, names, destinations, patient="4711"):
    """Process what is complete into results of a study."""
    clock.now += 10.0
    made = [(uid := f"{study}.5.{name}", instance(uid, study, patient)) for name in names]
    batch = spool.received.take(5.0)
    spool.finish(batch, made, destinations, batch.files.values())


def filled(folder, clock, *studies):
    """For each study one kept and one waiting series, and results for pacs, and for pacs and archive."""
    for place, study in enumerate(studies):
        with opened(folder, clock) as spool:
            receive(spool, study, f"{place + 1}1", 1, f"P{place}")
            receive(spool, study, f"{place + 1}1", 2, f"P{place}")
            process(spool, clock, study, [1, 2], ["pacs"], f"P{place}")
    for place, study in enumerate(studies):
        with opened(folder, clock) as spool:
            receive(spool, study, f"{place + 1}2", 3, f"P{place}")


def content(folder):
    """Study and bytes of all files, and the studies and files that rows name."""
    held = {file.name: file.read_bytes() for file in folder.glob("*.dcm*")}
    return {name: (str(dcmread(BytesIO(data)).StudyInstanceUID), data) for name, data in held.items()}


def rows(folder):
    """All rows of each table of the database."""
    with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
        return {
            table: set(database.execute(f"SELECT * FROM {table}"))
            for table in ("series", "object", "result", "delivery")
        }


def holders(folder, uid):
    """Files that hold a UID, followed by none of its characters, as bytes."""
    found = []
    for file in folder.iterdir():
        text = file.read_bytes().replace(b"\0", b" ")
        if any(not text[place + len(uid) :][:1].isdigit() for place in places(text, uid.encode())):
            found.append(file.name)
    return found


def places(text, uid):
    place = text.find(uid)
    while place >= 0:
        yield place
        place = text.find(uid, place + 1)


@pytest.fixture
def queue(tmp_path):
    def run(*arguments):
        made = CliRunner().invoke(
            app, ["dicom-queue", *arguments, "--spool", str(tmp_path / "spool")], env={"COLUMNS": "300"}
        )
        return made.exit_code, made.output

    return run


def test_a_study_is_forgotten_and_no_byte_of_its_uid_stays(tmp_path, queue):
    folder = tmp_path / "spool"
    filled(folder, Clock(), *STUDIES)
    before = content(folder)
    assert {study for study, _ in before.values()} == set(STUDIES)
    code, shown = queue("--forget", STUDIES[0])
    assert code == 0, shown
    assert f"study {STUDIES[0]} forgotten: 3 received objects, 2 results" in shown
    assert content(folder) == {name: kept for name, kept in before.items() if kept[0] != STUDIES[0]}
    assert holders(folder, STUDIES[0]) == []
    assert holders(folder, STUDIES[1])
    assert inspect(folder).bytes == sum(len(data) for _, data in content(folder).values())
    assert inspect(folder).deliveries == {"pacs": 4}


def test_a_study_that_is_not_there_is_refused_and_nothing_is_removed(tmp_path, queue):
    folder = tmp_path / "spool"
    filled(folder, Clock(), *STUDIES[:2])
    before, records = content(folder), rows(folder)
    for other in (STUDIES[2], "", "%", "' OR 1=1 --", ROOT, f"{STUDIES[0]} ", "unknown"):
        code, shown = queue("--forget", other)
        assert code == 1, other
        assert "no study" in shown
        assert "--list" in shown
    assert (content(folder), rows(folder)) == (before, records)
    assert not (tmp_path / "other").exists()
    with pytest.raises(SpoolError, match="no spool"):
        forget_study(tmp_path / "other", STUDIES[0])
    assert not (tmp_path / "other").exists()


def test_beside_a_node_nothing_is_forgotten(tmp_path, queue):
    folder, clock = tmp_path / "spool", Clock()
    filled(folder, clock, STUDIES[0])
    with opened(folder, clock):
        before = content(folder)
        code, shown = queue("--forget", STUDIES[0])
        assert code == 1
        assert "a node uses the spool" in shown
        assert "stop it before a study is forgotten" in shown
        assert content(folder) == before


def test_a_run_that_is_interrupted_is_ended_by_the_next_one(tmp_path, monkeypatch):
    """Rows are removed before files: whatever comes next, another run or a node, removes these."""
    folder, clock = tmp_path / "spool", Clock()
    filled(folder, clock, *STUDIES[:2])
    with monkeypatch.context() as patched:
        patched.setattr(SpoolStore, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            forget_study(folder, STUDIES[0])
    with pytest.raises(SpoolError, match="no study"):
        forget_study(folder, STUDIES[0])
    assert {study for study, _ in content(folder).values()} == {STUDIES[1]}
    assert holders(folder, STUDIES[0]) == []


def test_a_run_that_is_interrupted_before_its_end_changes_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    filled(folder, Clock(), *STUDIES[:2])
    before, records = content(folder), rows(folder)
    monkeypatch.setattr("inline.dicom.node.studies._delete", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        forget_study(folder, STUDIES[0])
    assert (content(folder), rows(folder)) == (before, records)


def test_files_that_cannot_be_removed_are_stated(tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    filled(folder, Clock(), STUDIES[0])
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(SpoolError, match="5 files of the study could not be removed"):
        forget_study(folder, STUDIES[0])


def test_rows_whose_files_were_removed_by_hand_go_too(tmp_path, queue):
    folder = tmp_path / "spool"
    filled(folder, Clock(), *STUDIES[:2])
    for name, (study, _) in content(folder).items():
        if study == STUDIES[0]:
            (folder / name).unlink()
    shown = queue("--list")[1]
    assert f"study {STUDIES[0]}\n" in shown
    assert "pacs: 2 objects (2 without a file) to deliver" in shown
    code, shown = queue("--forget", STUDIES[0])
    assert code == 0, shown
    assert "pacs: 2 objects to deliver" in shown
    assert {study for study, _ in content(folder).values()} == {STUDIES[1]}


def test_the_list_states_what_waits_where_since_when(tmp_path, queue):
    folder, clock = tmp_path / "spool", Clock()
    assert queue("--list")[0] == 1
    with opened(folder, clock):
        pass
    assert queue("--list") == (0, "no study in the spool\n")
    filled(folder, clock, *STUDIES[:2])
    move_results(folder, "pacs", "archive")
    code, text = queue("--list")
    assert code == 0, text
    shown = json.loads(queue("--list", "--json")[1])
    assert [(each["uid"], each["patient_id"]) for each in shown] == [
        (STUDIES[0], "P0"), (STUDIES[1], "P1")
    ]  # fmt: skip
    (first, second) = shown[0]["series"]
    assert (first["uid"], first["state"], first["objects"]) == (f"{ROOT}.99.11", "kept", 2)
    assert (second["uid"], second["state"], second["objects"]) == (f"{ROOT}.99.12", "to process", 1)
    (waiting,) = shown[0]["results"]
    assert (waiting["destination"], waiting["objects"], waiting["missing"]) == ("archive", 2, 0)
    assert f"study {STUDIES[0]}, patient P0\n  series {ROOT}.99.11: 2 objects, kept, last one 1970" in text
    assert f"  archive: 2 objects to deliver since {waiting['since']}\n" in text
    assert queue("--json")[0] == 1


@pytest.mark.parametrize(
    "other", [["--retry"], ["--move", "pacs", "archive"], ["--drop", "pacs"], ["--forget", STUDIES[0]]]
)
def test_the_list_changes_nothing(tmp_path, queue, other):
    folder = tmp_path / "spool"
    filled(folder, Clock(), STUDIES[0])
    before = rows(folder)
    code, shown = queue("--list", *other)
    assert code == 1
    assert f"--list changes nothing; give {other[0]} in a command of its own" in shown
    assert rows(folder) == before


def test_a_patient_id_cannot_control_a_terminal(tmp_path, queue):
    folder, clock = tmp_path / "spool", Clock()
    with opened(folder, clock) as spool:
        receive(spool, STUDIES[0], 1, 1, "47\x1b[2J11")
    shown = queue("--list")[1]
    assert "\x1b" not in shown
    assert "patient 47" in shown


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.sampled_from(STUDIES), st.integers(1, 4), st.integers(1, 3)),
        st.tuples(
            st.just("process"),
            st.sampled_from(STUDIES),
            st.sets(st.integers(1, 3)),
            st.sampled_from([("pacs",), ("archive",), ("pacs", "archive")]),
        ),
        st.tuples(st.just("deliver"), st.sampled_from(["pacs", "archive"])),
        st.tuples(st.just("lose")),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(ACTS, st.sampled_from(STUDIES))
def test_of_other_studies_nothing_is_removed(acts, study):
    """Whatever came, was processed, delivered or lost before, and where two studies share a series UID."""
    clock = Clock()
    with TemporaryDirectory() as made:
        folder = Path(made) / "spool"
        with opened(folder, clock) as spool:
            for act, *of in acts:
                if act == "receive":
                    receive(spool, *of)
                elif act == "process" and inspect(folder).series:
                    process(spool, clock, of[0], of[1], of[2])
                elif act == "deliver":
                    for each in spool.results.due(*of, 1):
                        spool.results.delivered(each, *of)
                elif act == "lose":
                    for file in sorted(folder.glob("*.dcm"))[:1]:
                        file.unlink()
        before, records = content(folder), rows(folder)
        try:
            forget_study(folder, study)
        except SpoolError:
            assert study not in {of for of, _ in before.values()}
        assert content(folder) == {name: kept for name, kept in before.items() if kept[0] != study}
        assert holders(folder, study) == []
        # The UID of an object, here, begins with that of its study.
        after = rows(folder)
        for table, key in (("object", 0), ("result", 0), ("delivery", 0)):
            others = {row for row in records[table] if not str(row[key]).startswith(f"{study}.")}
            assert after[table] == others
        assert {row[0] for row in after["series"]} == {row[1] for row in after["object"]}


def test_a_spool_of_the_version_before_knows_the_studies_of_its_results(tmp_path):
    folder, clock = tmp_path / "spool", Clock()
    filled(folder, clock, *STUDIES[:2])
    lost = next(name for name, (study, _) in content(folder).items() if result_of(folder, name) and
                study == STUDIES[1])  # fmt: skip
    (folder / lost).unlink()
    to_format_2(folder)
    assert [(each.uid, len(each.series), [of.objects for of in each.results])
            for each in list_studies(folder)] == [
        (STUDIES[0], 2, [2]), (STUDIES[1], 2, [1]), ("unknown", 0, [1])
    ]  # fmt: skip
    assert forget_study(folder, "unknown").results == 1
    assert forget_study(folder, STUDIES[0]).results == 2
    assert holders(folder, STUDIES[0]) == []
    assert inspect(folder).deliveries == {"pacs": 1}


@pytest.mark.parametrize("study", STUDIES[:2])
def test_a_spool_of_the_version_before_knows_the_studies_of_a_series_that_two_share(tmp_path, study):
    folder, clock = tmp_path / "spool", Clock()
    with opened(folder, clock) as spool:
        for place, each in enumerate(STUDIES[:2]):
            receive(spool, each, 1, 1 + place, f"P{place}")
        receive(spool, STUDIES[0], 1, 3, "P0")
    (folder / file_of(folder, f"{STUDIES[0]}.1.3")).write_bytes(b"damaged")
    before = {uid: file_of(folder, uid) for uid in (f"{STUDIES[0]}.1.1", f"{STUDIES[1]}.1.2")}
    to_format_2(folder)
    forget_study(folder, study)
    assert {uid for uid, name in before.items() if (folder / name).exists()} == {
        uid for uid in before if not uid.startswith(f"{study}.")
    }
    assert file_of(folder, f"{STUDIES[0]}.1.3") is None or study == STUDIES[1]


def to_format_2(folder):
    with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
        for table, column in (("object", "study"), ("result", "study"), ("result", "made")):
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("PRAGMA user_version = 2")
        database.commit()


def file_of(folder, uid):
    with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
        found = database.execute("SELECT file FROM object WHERE uid = ?", (uid,)).fetchone()
    return found and found[0]


def result_of(folder, name):
    with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
        return database.execute("SELECT uid FROM result WHERE file = ?", (name,)).fetchone()


def test_a_spool_that_an_earlier_version_has_open_is_not_converted(tmp_path):
    """Its node could no longer write to it."""
    folder, clock = tmp_path / "spool", Clock()
    filled(folder, clock, STUDIES[0])
    with opened(folder, clock):
        with closing(sqlite3.connect(folder / "spool.sqlite")) as database:
            database.execute("PRAGMA user_version = 2")
        with pytest.raises(SpoolError, match="stop it before its queue is converted to this version"):
            inspect(folder)
