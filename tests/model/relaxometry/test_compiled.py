"""The cache of compiled kernels, with a small kernel of its own."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from model.relaxometry import kernels
from model.relaxometry.compiled import KernelCache, kept


def double(x: float) -> float:
    return x * 2.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("MYOSTREAM_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def compiled() -> bool:
    """Whether a new start compiles the kernel anew; its result is right in any case."""
    kernel = kept({"nogil": True})(double)
    assert kernel(np.float32(21.0)) == 42.0
    return sum(kernel.stats.cache_misses.values()) == 1


def the_file(folder: Path) -> Path:
    (file,) = folder.glob("*.kernel")
    return file


class Code:
    """A pickle that runs code when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["PROOF"],)


def test_a_kernel_is_compiled_once(folder: Path) -> None:
    assert compiled()
    assert not compiled()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert the_file(folder).stat().st_mode & 0o777 == 0o600


def test_the_fits_are_kept_like_this() -> None:
    for kernel in (kernels.fit_molli, kernels.fit_t2prep):
        assert isinstance(kernel._cache, KernelCache)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: bytes(len(content)),
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    ],
)
def test_a_broken_file_is_set_aside(damage, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert compiled()
    file = the_file(folder)
    file.write_bytes(damage(file.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert compiled()
    assert "is set aside and made anew: it is damaged" in caplog.text
    assert file.with_suffix(".bad").exists()
    assert not compiled()


def test_the_file_of_another_kernel_is_not_used(folder: Path) -> None:
    assert compiled()
    file = the_file(folder)
    content = file.read_bytes()
    file.unlink()
    kept({})(lambda x: x * 3.0)(np.float32(1.0))
    other = the_file(folder)
    other.rename(file)
    assert file.read_bytes() != content
    assert compiled()


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("change", ["mode", "owner"])
def test_what_another_user_can_have_written_runs_no_code(
    what: str, change: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROOF", str(tmp_path / "proof"))
    assert compiled()
    file = the_file(folder)
    digested = file.read_bytes()[:32]
    file.write_bytes(digested + pickle.dumps(Code()))
    assert compiled()  # the digest is wrong
    path = folder if what == "folder" else the_file(folder)
    if change == "mode":
        path.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(path, 65534, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr("model.relaxometry.compiled.hmac.compare_digest", lambda *_: True)
    the_file(folder).write_bytes(bytes(32) + pickle.dumps(Code()))
    assert compiled()
    assert not (tmp_path / "proof").exists()


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    assert compiled()
    file = the_file(folder)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert compiled()


def test_where_nothing_can_be_kept_each_start_compiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MYOSTREAM_CACHE", "/proc/nowhere")
    assert compiled()
    assert compiled()
    assert "cannot be kept" in caplog.text


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("MYOSTREAM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    # As Python does where neither the environment nor the system's users name a home.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert compiled()
    assert "cannot be kept" in caplog.text


def test_the_folder_may_be_stated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "stated"))
    assert compiled()
    assert not compiled()
    assert the_file(tmp_path / "stated" / "myostream")
