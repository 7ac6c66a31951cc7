"""Files and folders of an earlier run beside the outputs: they look like results of this run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from inline.data.plural import counted

_SHOWN: Final = 3
"""Names that are stated."""


def files_left_over(folder: Path, written: Collection[str]) -> str:
    """Return the end of a line that states which files of an earlier run a folder holds; empty without any.

    Args:
        folder: of one examination.
        written: names of the files of this run, which replaced those of the same names.
    """
    suffixes = {Path(name).suffix for name in written}
    others = [each.name for each in folder.iterdir() if each.suffix in suffixes and each.name not in written]
    return f"; {_listed(others, 'file')}" if others else ""


def folders_left_over(folder: Path, examinations: int) -> str:
    """Return a sentence on the folders of further examinations of an earlier run; empty without any.

    Args:
        folder: of all examinations.
        examinations: number of them in this run.
    """
    numbers = [each.name for each in folder.iterdir() if each.is_dir() and each.name.isdecimal()]
    others = [name for name in numbers if int(name) > examinations]
    return f"{folder}: {_listed(others, 'folder')}" if others else ""


def _listed(names: Collection[str], kind: str) -> str:
    first = sorted(names)[:_SHOWN]
    shown = ", ".join([*first, *(["..."] if len(names) > _SHOWN else [])])
    return f"{counted(len(names), kind)} of an earlier run left there: {shown}"
