import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version

import pytest

from model.engines.engine_cache import EngineKey, EngineStore, NotPassedError, processor, weights_digest

KEY = EngineKey("abc", "int8", "a processor", "torch 2.13, openvino 2026.4")


def write(file):
    file.write_text("<xml/>")
    file.with_suffix(".bin").write_bytes(b"weights")


@pytest.fixture
def store(tmp_path):
    return EngineStore(tmp_path)


def never(_):
    pytest.fail("made twice")


def read(file):
    return file.read_text()


def test_an_entry_is_made_once(store):
    assert store.load(KEY, write, read) == "<xml/>"
    assert store.load(KEY, never, read) == "<xml/>"


@pytest.mark.parametrize("field", ["weights", "precision", "device", "versions", "file"])
def test_another_key_is_another_entry(store, field):
    store.build(KEY, write)
    assert store.find(replace(KEY, **{field: "other"})) is None


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "key.json"])
@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b"x"), lambda f: f.unlink()])
def test_a_damaged_entry_is_made_anew_and_never_loaded(store, name, damage):
    file = store.build(KEY, write).parent / name
    damage(file)
    assert store.find(KEY) is None
    assert store.load(KEY, write, read) == "<xml/>"
    assert store.load(KEY, never, read) == "<xml/>"


def test_a_foreign_entry_in_the_place_of_ours_is_not_loaded(store):
    ours, foreign = store.build(KEY, write).parent, store.build(replace(KEY, weights="x"), write).parent
    for file in foreign.iterdir():
        (ours / file.name).write_bytes(file.read_bytes())
    assert store.find(KEY) is None


def test_an_intact_entry_that_cannot_be_read_is_made_anew_once(store):
    store.build(KEY, lambda file: file.write_text("of another driver"))

    def picky(file):
        if file.read_text() != "<xml/>":
            raise RuntimeError("does not load")
        return file

    assert store.load(KEY, write, picky) == store.find(KEY)
    store.build(KEY, lambda file: file.write_text("of another driver"))
    with pytest.raises(RuntimeError, match="does not load"):
        store.load(KEY, lambda file: file.write_text("no better"), picky)


def test_a_model_of_one_file_under_another_name(store):
    key = replace(KEY, file="model.pt2", device="a GPU, compute capability 9.0")
    store.load(key, lambda file: file.write_bytes(b"engine"), lambda file: None)
    assert store.find(key).name == "model.pt2"
    (store.entry(key) / "model.pt2").write_bytes(b"engine of another")
    assert store.find(key) is None


def test_the_key_names_what_is_installed(tmp_path):
    key = EngineKey.of(tmp_path, "f16", device="a GPU", packages=("torch", "no-such-package"))
    assert key.versions == f"torch {version('torch')}"
    assert key.device == "a GPU"
    assert EngineKey.of(tmp_path, "int8").device == processor()


def test_a_failed_build_leaves_nothing_behind(store):
    def fail(file):
        file.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.build(KEY, fail)
    assert store.find(KEY) is None
    assert list(store.folder.iterdir()) == []


def test_the_digest_follows_the_weights(tmp_path):
    (tmp_path / "unet-01-of-01.safetensors").write_bytes(b"one")
    one = weights_digest(tmp_path)
    (tmp_path / "unet-01-of-01.safetensors").write_bytes(b"two")
    assert weights_digest(tmp_path) != one


def test_only_what_passed_its_gate_is_found_as_such(store):
    def reason():
        with pytest.raises(NotPassedError) as caught:
            store.passed(KEY)
        return str(caught.value)

    assert "none is kept" in reason()
    model = store.build(KEY, write)
    assert "not put before" in reason()
    store.save_report(KEY, {"passed": False, "reasons": ["mean Dice 0.5"]})
    assert "missed its gate: mean Dice 0.5" in reason()
    store.save_report(KEY, {"passed": True})
    assert store.passed(KEY) == model
    # A report about what lay there before says nothing about what lies there now.
    report = (model.parent / "gate.json").read_text()
    store.build(KEY, lambda file: (write(file), file.write_text("<other/>")))
    (model.parent / "gate.json").write_text(report)
    assert "not put before" in reason()
    model.write_text("")
    assert "damaged" in reason()


def test_another_process_that_was_quicker_is_used(store):
    """It finishes its entry while we make ours."""

    def write_while_another_finishes(file):
        write(file)
        store.build(KEY, lambda other: (write(other), other.write_text("of the other")))

    assert store.load(KEY, write_while_another_finishes, read) == "of the other"
    assert [each.name for each in store.folder.iterdir()] == [store.entry(KEY).name]


def test_processes_that_start_at_once_share_an_entry(tmp_path):
    """With nothing there, with a damaged entry, and with one that none of them can read."""
    program = (
        "import sys, time, pathlib\n"
        "from model.engines.engine_cache import EngineKey, EngineStore\n"
        "key = EngineKey('abc', 'int8', 'a processor', 'torch 2.13')\n"
        "def read(file):\n"
        "    text = file.read_text()\n"
        "    if text != 'network':\n"
        "        raise RuntimeError('of another driver')\n"
        "    return text\n"
        "time.sleep(max(float(sys.argv[2]) - time.time(), 0.0))\n"
        "for number in range(60):\n"
        "    store = EngineStore(pathlib.Path(sys.argv[1]) / str(number))\n"
        "    store.load(key, lambda file: file.write_text('network'), read)\n"
    )
    key = EngineKey("abc", "int8", "a processor", "torch 2.13")
    for number in range(20, 60):
        store = EngineStore(tmp_path / str(number))
        model = store.build(key, lambda file: file.write_text("other"))
        if number < 40:
            model.write_text("damaged")
    # Enough time for both to import what they need.
    command = [sys.executable, "-c", program, str(tmp_path), str(time.time() + 5)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [each.communicate(timeout=120)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], errors
    for number in range(60):
        store = EngineStore(tmp_path / str(number))
        assert store.find(key).read_text() == "network"
        assert len(list(store.folder.iterdir())) == 1


@pytest.mark.parametrize("what", ["folder", "entry", "model.xml", "model.bin", "key.json"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_can_write_is_not_used(store, what, mode):
    model = store.build(KEY, write)
    path = {"folder": store.folder, "entry": model.parent}.get(what, model.parent / what)
    path.chmod(mode)
    assert store.find(KEY) is None
    with pytest.raises(NotPassedError, match=f"can be written by other users \\(mode 0{mode:o}\\)"):
        store.passed(KEY)
    assert store.load(KEY, write, read) == "<xml/>"
    assert store.load(KEY, never, read) == "<xml/>"


@pytest.mark.parametrize("what", ["folder", "entry", "model.bin"])
def test_what_belongs_to_another_user_is_not_used(store, what, monkeypatch):
    model = store.build(KEY, write)
    path = {"folder": store.folder, "entry": model.parent}.get(what, model.parent / what)
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert store.find(KEY) is None
    with pytest.raises(NotPassedError, match="belongs to another user"):
        store.passed(KEY)


def test_a_link_in_an_entry_is_not_followed(store, tmp_path):
    model = store.build(KEY, write)
    shutil.move(model, tmp_path / "elsewhere.xml")
    model.symlink_to(tmp_path / "elsewhere.xml")
    assert store.find(KEY) is None


def test_a_report_that_others_can_write_is_none(store):
    store.build(KEY, write)
    report = store.save_report(KEY, {"passed": True})
    assert store.find_report(KEY) == {"passed": True}
    report.chmod(0o666)
    assert store.find_report(KEY) is None
    with pytest.raises(NotPassedError):
        store.passed(KEY)


def test_entries_are_private_whatever_the_users_mask(store):
    before = os.umask(0)
    try:
        model = store.build(KEY, write)
        store.save_report(KEY, {"passed": True})
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in model.parent.iterdir()} == {0o600}
    assert model.parent.stat().st_mode & 0o777 == 0o700
    assert store.passed(KEY) == model


def test_a_folder_of_another_user_is_not_built_in(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    store = EngineStore(tmp_path)
    store.folder.mkdir()
    os.chown(store.folder, 65534, -1)
    with pytest.raises(OSError, match=r"belongs to another user .* MYOSTREAM_CACHE"):
        store.load(KEY, write, read)


def test_leftovers_of_killed_processes_are_swept(store):
    store.build(KEY, write)
    hour = time.time() - 3700
    for name, age in (("old", hour), ("young", time.time()), ("at work", hour)):
        folder = store.folder / f".making-{name}"
        folder.mkdir()
        (folder / "model.xml").write_text("half")
        os.utime(folder / "model.xml", (age, age))
        os.utime(folder, (age, age))
    os.utime(store.folder / ".making-at work" / "model.xml")
    assert store.load(KEY, never, read) == "<xml/>"
    left = {each.name for each in store.folder.iterdir()}
    assert left == {store.entry(KEY).name, ".making-young", ".making-at work"}


def test_a_file_in_the_place_of_an_entry_is_replaced(store):
    store.folder.mkdir()
    store.entry(KEY).write_text("no folder")
    assert store.find(KEY) is None
    assert store.load(KEY, write, read) == "<xml/>"
