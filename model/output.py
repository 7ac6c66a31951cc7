"""Atomic output files: written beside their place and renamed, so a file is complete or unchanged."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from model.errors import MyostreamError

_BESIDE: Final = ".myostream-"
_ABANDONED_S: Final = 86_400.0
"""Age from which no process can still be writing an unfinished output."""


class OutputError(MyostreamError):
    """A file or folder cannot be written."""


@contextmanager
def atomic_output(file: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield the name of a new file in the same folder that replaces ``file`` at the end.

    A link is followed. If the block raises, the new file is removed and an earlier ``file`` stays.

    Args:
        file: to write.
        private: mode 0600, for patient data; else the mode of an earlier ``file``, or the default.

    Raises:
        OutputError: for any ``OSError`` of the block, with the reason in one line.
    """
    target = Path(os.path.realpath(file))
    beside = target.with_name(f"{_BESIDE}{secrets.token_hex(8)}{target.suffix}")
    try:
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))
        try:
            yield beside
            if not private and target.exists():
                beside.chmod(stat.S_IMODE(target.stat().st_mode))
            to_disk(beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        kept = "; the earlier file of that name is kept" if os.path.lexists(target) else ""
        raise OutputError(f"{file} could not be written: {_reason(error)}{kept}") from error


def write_text(file: Path, text: str, *, private: bool = False) -> None:
    """Write a text as UTF-8, as :func:`atomic_output` does."""
    with atomic_output(file, private=private) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any, *, private: bool = False) -> None:
    """Write plain values as JSON, as :func:`atomic_output` does."""
    write_text(file, json.dumps(content, indent=1) + "\n", private=private)


def write_bytes(file: Path, content: bytes, *, private: bool = False) -> None:
    """Write bytes, as :func:`atomic_output` does."""
    with atomic_output(file, private=private) as beside:
        beside.write_bytes(content)


def save_figure(figure: Any, file: Path, *, private: bool = False, **options: Any) -> None:
    """Write a figure of matplotlib, as :func:`atomic_output` does; PNG where the name has no suffix."""
    drawn = BytesIO()  # on a full disk matplotlib raises errors of other kinds than OSError
    figure.savefig(drawn, format=file.suffix[1:].lower() or "png", **options)
    write_bytes(file, drawn.getvalue(), private=private)


def check_outputs(*files: Path | None, inputs: Sequence[Path | None] = ()) -> None:
    """Check before the work that files can be written after it.

    Args:
        files: to write; None is skipped.
        inputs: files that must not be overwritten; None is skipped.

    Raises:
        OutputError: the folder does not exist or cannot be written, the file cannot be replaced, or it is an
            input or another output, perhaps under another name.
    """
    taken: list[Path] = []
    for file in files:
        if file is None:
            continue
        target = Path(os.path.realpath(file))
        try:
            for other in (each for each in inputs if each is not None):
                if _same(target, other):
                    raise OutputError(
                        f"{other} would be overwritten by {file}; give another name for the output"
                    )
            if any(_same(target, other) for other in taken):
                raise OutputError(f"{file} is given for two outputs; give each a name of its own")
            if target.exists() and not target.is_file():
                what = "is a folder" if target.is_dir() else "is no regular file"
                raise OutputError(f"{file} {what}; give the name of a file to write")
            if not target.parent.is_dir():
                raise OutputError(f"there is no folder {target.parent} to write {target.name} to")
            if target.exists() and not os.access(target, os.W_OK):
                raise OutputError(f"{file} is write-protected; give another name for the output")
            _try_folder(target.parent)
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {_reason(error)}") from error
        taken.append(target)


def check_folder(folder: Path | None) -> None:
    """Make a folder for outputs and check that it can be written; None is skipped.

    Raises:
        OutputError: it is a file, or cannot be made or written.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _try_folder(folder)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f"{folder} is no folder; give the name of a folder to write to") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {_reason(error)}") from error


def abandoned(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what matches a pattern in a folder and is too old for any process to be still writing it."""
    for left in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process finished or removed it
            if left.lstat().st_mtime < time.time() - _ABANDONED_S:
                yield left


def _same(one: Path, other: Path) -> bool:
    if one == Path(os.path.realpath(other)):
        return True
    with suppress(FileNotFoundError, NotADirectoryError):
        return one.samefile(other)
    return False


def _try_folder(folder: Path) -> None:
    """Write a temporary file, which full and read-only disks refuse, and sweep what killed processes left."""
    with tempfile.TemporaryFile(dir=folder) as tried:
        tried.write(bytes(4096))
    for left in abandoned(folder, f"{_BESIDE}{'[0-9a-f]' * 16}*"):
        with suppress(OSError):  # another process was quicker, or it is another user's
            left.unlink()


def to_disk(file: Path) -> None:
    """Write a file to disk: some file systems report a full disk only then."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
