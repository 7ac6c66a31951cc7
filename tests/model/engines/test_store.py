from dataclasses import replace
from importlib.metadata import version

import pytest

from model.engines.store import EngineKey, EngineStore, NotPassedError, processor, weights_digest

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
