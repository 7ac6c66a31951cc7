"""Files below a folder, links followed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_below(
    folder: Path, report: Callable[[OSError], None], without: Path | None = None
) -> Iterator[Path]:
    """Yield the files and pipes below a folder, each once; names that begin with a dot are left out.

    Linked folders are followed after all others.

    Args:
        folder: to search.
        report: of folders that cannot be listed.
        without: folder that is passed over, as are links into it.
    """
    top, left_out = os.path.realpath(folder), None if without is None else os.path.realpath(without)
    seen, linked, starts = set[str](), set[str](), [folder]
    for start in starts:
        base = os.path.realpath(start)
        for place, names, files in os.walk(start, onerror=report):
            real = base + place[len(os.fspath(start)) :]
            if real in seen:
                names.clear()
                continue
            seen.add(real)
            names[:] = sorted(name for name in names if not _hidden(name) and f"{real}/{name}" != left_out)
            for path in (Path(place, name) for name in names):
                target = _target(path)
                if target and _is_followed(target, top, real) and not _within(target, left_out):
                    starts.append(path)
            for path in (Path(place, name) for name in sorted(files) if not _hidden(name)):
                target = _target(path)
                if f"{real}/{path.name}" in linked:
                    continue
                if target and os.path.exists(target):  # noqa: PTH110 - never raises
                    parent, own = os.path.split(target)
                    if target in linked or (parent in seen and not _hidden(own)) or _within(target, left_out):
                        continue
                    linked.add(target)
                yield path


def _target(path: Path) -> str:
    """Return the place that a link leads to; empty for what is none."""
    return os.path.realpath(path) if os.path.islink(path) else ""  # noqa: PTH114 - never raises


def _is_followed(target: str, top: str, place: str) -> bool:
    """Return whether a link to a folder is followed: not to what holds it or the top folder, nor below a dot.

    Args:
        target: of the link.
        top: folder that is searched.
        place: folder of the link.
    """
    hidden = any(map(_hidden, Path(os.path.relpath(target, top)).parts))
    return not (hidden or _within(top, target) or _within(place, target))


def _within(path: str, folder: str | None) -> bool:
    """Return whether a place is a folder or lies in it."""
    return folder is not None and Path(path).is_relative_to(folder)


def _hidden(name: str) -> bool:
    return name.startswith(".") and name != ".."


def unread(error: OSError, path: Path | str = "") -> str:
    """Return the sentence on a file or folder that cannot be read; by default, that of the error."""
    return f"{path or error.filename} cannot be read: {error.strerror or error}"
