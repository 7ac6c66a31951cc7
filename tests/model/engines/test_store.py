from dataclasses import replace

import pytest

from model.engines.store import EngineKey, EngineStore, weights_digest

KEY = EngineKey("abc", "int8", "a processor", "2.13", "2026.4", "3.4")


def write(file):
    file.write_text("<xml/>")
    file.with_suffix(".bin").write_bytes(b"weights")


@pytest.fixture
def store(tmp_path):
    return EngineStore(tmp_path)


def test_an_entry_is_made_once(store):
    made = store.find_or_build(KEY, write)
    assert made.read_text() == "<xml/>"
    assert store.find_or_build(KEY, lambda _: pytest.fail("made twice")) == made


@pytest.mark.parametrize("field", ["weights", "precision", "processor", "torch", "openvino", "nncf"])
def test_another_key_is_another_entry(store, field):
    store.build(KEY, write)
    assert store.find(replace(KEY, **{field: "other"})) is None


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "key.json"])
@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b"x"), lambda f: f.unlink()])
def test_a_damaged_entry_is_made_anew_and_never_loaded(store, name, damage):
    file = store.build(KEY, write).parent / name
    damage(file)
    assert store.find(KEY) is None
    assert store.find_or_build(KEY, write).read_text() == "<xml/>"


def test_a_foreign_entry_in_the_place_of_ours_is_not_loaded(store):
    ours, foreign = store.build(KEY, write).parent, store.build(replace(KEY, weights="x"), write).parent
    for file in foreign.iterdir():
        (ours / file.name).write_bytes(file.read_bytes())
    assert store.find(KEY) is None


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
    store.build(KEY, write)
    assert store.find_passed(KEY) is None
    store.save_report(KEY, {"passed": False})
    assert store.find_passed(KEY) is None
    store.save_report(KEY, {"passed": True})
    assert store.find_passed(KEY) == store.find(KEY)
    # A report about what lay there before says nothing about what lies there now.
    model = store.find(KEY)
    report = (model.parent / "gate.json").read_text()
    store.build(KEY, lambda file: (write(file), file.write_text("<other/>")))
    (model.parent / "gate.json").write_text(report)
    assert store.find_passed(KEY) is None
