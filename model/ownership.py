"""Owner and mode of cached files: code is loaded only from files that no other user can write."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def objection(path: Path) -> str:
    """Return why a file or folder is not trusted; empty if it is.

    Its owner must be this user or root, and no other user may write to it. A symbolic link is not trusted.

    Raises:
        OSError: it does not exist.
    """
    return objection_to(path.lstat())


def objection_to(status: os.stat_result, user: int | None = None) -> str:
    """Return the same for the status of a file, and for another user than that of the process."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "is neither a file nor a folder"
    if status.st_uid not in (0, os.geteuid() if user is None else user):
        return f"belongs to another user (number {status.st_uid})"
    if status.st_mode & _OTHERS_WRITE:
        return f"can be written by other users (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def make_private(folder: Path) -> None:
    """Make a folder that only this user can write to, or withdraw the write permission of others.

    Raises:
        OSError: it cannot be made, or belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{folder} {objection_to(status)}; give another folder as MYOSTREAM_CACHE")
    if status.st_mode & _OTHERS_WRITE:
        folder.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)
