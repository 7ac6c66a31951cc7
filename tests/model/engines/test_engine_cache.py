import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version

import pytest

from model import host
from model.engines.engine_cache import EngineCache, EngineKey, UnusableModelError

KEY = EngineKey("abc", "int8", "a CPU", "torch 2.13, openvino 2026.4")


def write(folder):
    (folder / "model.xml").write_text("<xml/>")
    (folder / "model.bin").write_bytes(b"weights")


def read(folder):
    return (folder / "model.xml").read_text()


def never(_):
    pytest.fail("made twice")


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path)


def reason(cache, key=KEY):
    """Why an entry is not used."""
    with pytest.raises(UnusableModelError) as caught:
        cache.find(key)
    return str(caught.value)


def entries(cache):
    return [each.name for each in cache.folder.iterdir() if not each.name.endswith(".lock")]


def test_an_entry_is_made_once(cache):
    assert reason(cache) == "none was made on this host"
    assert cache.load(KEY, write, read) == "<xml/>"
    assert cache.load(KEY, never, read) == "<xml/>"
    assert entries(cache) == [KEY.name]


@pytest.mark.parametrize("field", ["weights", "precision", "device", "versions", "revision"])
def test_another_key_is_another_entry(cache, field):
    cache.build(KEY, write)
    assert "none" in reason(cache, replace(KEY, **{field: "other"}))


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "key.json"])
@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b"x"), lambda f: f.unlink()])
def test_a_damaged_entry_is_made_anew_and_never_loaded(cache, name, damage):
    damage(cache.build(KEY, write) / name)
    assert "damaged" in reason(cache) or "cannot be read" in reason(cache)
    assert cache.load(KEY, write, read) == "<xml/>"
    assert cache.load(KEY, never, read) == "<xml/>"


def test_an_entry_of_another_key_in_its_place_is_not_loaded(cache):
    ours, other = cache.build(KEY, write), cache.build(replace(KEY, weights="x"), write)
    for file in other.iterdir():
        (ours / file.name).write_bytes(file.read_bytes())
    assert "another key" in reason(cache)


def test_an_intact_entry_that_does_not_load_is_made_anew_once(cache, caplog):
    def other(folder):
        (folder / "model.xml").write_text("of another driver")

    def driver(folder):
        if read(folder) != "<xml/>":
            raise RuntimeError("does not load")
        return folder

    cache.build(KEY, other)
    assert cache.load(KEY, write, driver) == cache.find(KEY)
    assert "does not load" in caplog.text
    cache.build(KEY, other)
    with pytest.raises(RuntimeError, match="does not load"):
        cache.load(KEY, other, driver)


def test_the_key_lists_the_packages_that_are_installed(tmp_path):
    key = EngineKey.of(tmp_path, "f16", device="a GPU", packages=("torch", "no-such-package"))
    assert key.versions == f"torch {version('torch')}"
    assert key.device == "a GPU"


def test_the_key_of_a_cpu_holds_the_flags_of_int8_and_bfloat16(tmp_path, monkeypatch):
    """A virtual machine may mask flags that the CPU of the same name has elsewhere."""

    def device(flags):
        monkeypatch.setattr(host, "_cpuinfo", {"model name": "a CPU", "flags": flags}.get)
        return EngineKey.of(tmp_path, "int8").device

    assert device("fpu sse2 avx512_vnni avx512_bf16 amx_int8") == "a CPU amx_int8 avx512_bf16 avx512_vnni"
    assert device("fpu sse2 avx2") == "a CPU"


def test_a_failed_build_keeps_the_earlier_entry(cache):
    def fail(folder):
        (folder / "model.xml").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.build(KEY, fail)
    assert entries(cache) == []
    cache.build(KEY, write)
    with pytest.raises(OSError, match="disk full"):
        cache.build(KEY, fail)
    assert read(cache.find(KEY)) == "<xml/>"


def test_a_process_that_was_killed_leaves_nothing_that_is_used(cache):
    """It had written a part of an entry."""
    left = cache.folder / f".making-{KEY.name}"
    left.mkdir(parents=True)
    write(left)
    (left / "more").write_text("half")
    assert "none" in reason(cache)
    assert sorted(each.name for each in cache.build(KEY, write).iterdir()) == [
        "key.json",
        "model.bin",
        "model.xml",
    ]
    assert entries(cache) == [KEY.name]


def test_old_leftovers_of_other_keys_are_swept(cache):
    old, fresh = (cache.folder / f".making-{name}" for name in ("int8-old", "int8-fresh"))
    for folder in (old, fresh):
        folder.mkdir(parents=True, mode=0o700)
        (folder / "model.bin").write_bytes(b"x")
    os.utime(old, (0, 0))
    cache.folder.chmod(0o700)
    cache.load(KEY, write, read)
    assert not old.exists()
    assert fresh.exists()


def test_an_entry_that_is_needed_twice_at_once_is_made_once(tmp_path):
    """With nothing there, with a damaged entry, and with one that does not load.

    Two threads, each with a descriptor of its own, exclude each other by the same lock as two processes.
    """
    made, start = [], threading.Barrier(2)

    def write_slowly(folder):
        time.sleep(0.01)
        write(folder)
        made.append(folder.parent.parent.name)

    def load(folder):
        if read(folder) != "<xml/>":
            raise RuntimeError("of another driver")

    def load_all(_):
        start.wait(timeout=20)
        for number in range(30):
            EngineCache(tmp_path / str(number)).load(KEY, write_slowly, load)

    for number in range(10, 30):
        entry = EngineCache(tmp_path / str(number)).build(
            KEY, lambda folder: (folder / "model.xml").write_text("other")
        )
        if number < 20:
            (entry / "model.xml").write_text("damaged")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load_all, range(2)))
    assert sorted(made, key=int) == [str(number) for number in range(30)]
    for number in range(30):
        cache = EngineCache(tmp_path / str(number))
        assert read(cache.find(KEY)) == "<xml/>"
        assert entries(cache) == [KEY.name]


@pytest.mark.parametrize("what", ["folder", "entry", "model.xml", "key.json"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_what_others_can_write_is_not_used(cache, what, mode):
    entry = cache.build(KEY, write)
    {"folder": cache.folder, "entry": entry}.get(what, entry / what).chmod(mode)
    assert f"can be written by other users (mode 0{mode:o})" in reason(cache)
    assert cache.load(KEY, write, read) == "<xml/>"
    assert cache.load(KEY, never, read) == "<xml/>"


@pytest.mark.parametrize("what", ["folder", "entry", "model.bin"])
def test_what_belongs_to_another_user_is_not_used(cache, what, monkeypatch):
    entry = cache.build(KEY, write)
    if os.geteuid() == 0:
        os.chown({"folder": cache.folder, "entry": entry}.get(what, entry / what), 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert "belongs to another user" in reason(cache)


def test_a_link_in_an_entry_is_not_followed(cache, tmp_path):
    model = cache.build(KEY, write) / "model.xml"
    shutil.move(model, tmp_path / "elsewhere.xml")
    model.symlink_to(tmp_path / "elsewhere.xml")
    assert "neither a file nor a folder" in reason(cache)


def test_entries_are_private_whatever_the_users_mask(cache):
    before = os.umask(0)
    try:
        entry = cache.build(KEY, write)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in entry.iterdir()} == {0o600}
    assert entry.stat().st_mode & 0o777 == cache.folder.stat().st_mode & 0o777 == 0o700
    assert cache.find(KEY) == entry


def test_a_folder_of_another_user_is_not_built_in(cache):
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    cache.folder.mkdir()
    os.chown(cache.folder, 65534, -1)
    with pytest.raises(OSError, match=r"belongs to another user .* MYOSTREAM_CACHE"):
        cache.load(KEY, write, read)


@pytest.mark.parametrize("link", [True, False])
def test_a_file_or_link_in_the_place_of_an_entry_is_replaced(cache, tmp_path, link):
    cache.folder.mkdir()
    if link:
        (tmp_path / "elsewhere").mkdir()
        write(tmp_path / "elsewhere")
        cache.entry(KEY).symlink_to(tmp_path / "elsewhere")
    else:
        cache.entry(KEY).write_text("no folder")
    assert reason(cache)
    assert cache.load(KEY, write, read) == "<xml/>"
    assert not link or len(list((tmp_path / "elsewhere").iterdir())) == 2
