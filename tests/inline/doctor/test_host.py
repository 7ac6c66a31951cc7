"""Checks of the host, against hosts that are made up."""

import os
from types import SimpleNamespace

import pytest

from inline.doctor import host
from inline.doctor.finding import Verdict
from inline.settings import Settings, load_settings
from model.host import cache_folder

GB = 1_000_000_000


def only(findings):
    (found,) = findings
    return found


@pytest.mark.parametrize(
    ("available", "verdict"),
    [(4 * GB, Verdict.GOOD), (int(1.5 * GB), Verdict.WARNING), (GB // 2, Verdict.PROBLEM)],
)
def test_memory(available, verdict, monkeypatch):
    monkeypatch.setattr(host, "available_bytes", lambda: available)
    found = only(host.memory(Settings()))
    assert found.verdict is verdict
    assert bool(found.advice) == (verdict is not Verdict.GOOD)
    assert found.text.startswith(f"{available / GB:.1f} GB available")


def test_the_memory_of_a_server_follows_its_settings(monkeypatch):
    monkeypatch.setattr(host, "available_bytes", lambda: 8 * GB)
    values = {"server": {"memory_bytes": 2 * GB}, "workers": 4}
    assert only(host.memory(load_settings(**values))).text.endswith("takes 0.8 GB idle and up to 3.4 GB")
    found = only(host.memory(load_settings(**values, monitor={"page_port": 9101})))
    assert found.text.endswith("takes 0.8 GB idle and up to 3.6 GB")


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [
        ("max", "5", 2048 * 1024),
        ("1000000", "400000", 600_000),
        ("1000", "5000", 0),
        (None, None, 2048 * 1024),
    ],
)
def test_the_control_group_limits_the_memory(limit, used, expected, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n")
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 0\n")
    assert host.available_bytes(tmp_path / "meminfo", tmp_path) == expected


def test_files_in_the_page_cache_of_a_control_group_are_available_memory(tmp_path):
    """memory.current counts them; the kernel gives up inactive ones when memory is needed."""
    (tmp_path / "meminfo").write_text("MemAvailable:    2048 kB\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text(
        "anon 200000\nfile 700000\ninactive_file 600000\nactive_file 100000\n"
    )
    assert host.available_bytes(tmp_path / "meminfo", tmp_path) == 700_000


@pytest.mark.parametrize(
    ("now", "synchronised", "verdict"),
    [(1.9e9, True, Verdict.GOOD), (1.9e9, False, Verdict.WARNING), (1.0, True, Verdict.PROBLEM)],
)
def test_the_clock(now, synchronised, verdict):
    assert only(host.clock(now, synchronised=synchronised)).verdict is verdict


def test_the_clock_of_this_host_can_be_asked():
    assert only(host.clock()).part == "clock"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MYOSTREAM_CACHE", str(folder))
    return folder


def test_a_cache_that_is_there_or_can_be_made_is_good(cache):
    assert "is made at the first start" in only(host.cache()).text
    (cache / "engines").mkdir(parents=True, mode=0o700)
    cache.chmod(0o700)
    assert only(host.cache()).verdict is Verdict.GOOD


def test_a_cache_that_others_can_write_is_not_used(cache):
    (cache / "kernels").mkdir(parents=True)
    cache.chmod(0o700)
    (cache / "kernels").chmod(0o777)
    found = only(host.cache())
    assert found.verdict is Verdict.WARNING
    assert "kernels can be written by other users (mode 0777)" in found.text


def test_a_cache_on_a_full_disk_and_one_that_cannot_be_written(cache, monkeypatch):
    cache.mkdir(mode=0o700)
    monkeypatch.setattr(host.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert "0.0 GB left" in only(host.cache()).text
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "each start compiles" in only(host.cache()).text


@pytest.mark.parametrize("stated", ["", "~/cache"])
def test_a_user_without_a_home_compiles_at_each_start(stated, monkeypatch):
    monkeypatch.setenv("MYOSTREAM_CACHE", stated)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # As Python does where neither the environment nor the system's users name a home.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    found = only(host.cache())
    assert found.verdict is Verdict.WARNING
    assert found.text.startswith("each start compiles")
    assert f"{found.text} {found.advice}".count("as MYOSTREAM_CACHE") == 1


@pytest.mark.parametrize(("stated", "folder"), [("~/cache", "home/cache"), ("cache", "here/cache")])
def test_the_folder_may_lie_in_the_home_or_in_the_current_folder(stated, folder, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MYOSTREAM_CACHE", stated)
    assert cache_folder() == tmp_path / folder
