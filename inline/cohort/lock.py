"""Lock of a cohort's folder: one run at a time writes to it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from inline.data.errors import CohortError
from model.output import check_folder

_FILE: Final = "lock"
_HELD: Final = (errno.EAGAIN, errno.EACCES)
"""Errors of a lock that another process holds; CIFS has the second one."""
_WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks, such as Lustre mounted without ``flock``."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the folder of a run for the block; yield whether its file system has locks.

    The lock is the operating system's, on NFS the server's: it ends with the process that holds it, however
    that ends. The file stays. Workers take no lock: they write for the run that holds it.

    Raises:
        CohortError: another run holds it; the message names its process and host.
        OutputError: the folder cannot be written.
    """
    check_folder(folder)
    # Exclusive locks on NFS need a file that is open for writing.
    descriptor = os.open(folder / _FILE, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        yield _taken(descriptor, folder)
    finally:
        os.close(descriptor)


def _taken(descriptor: int, folder: Path) -> bool:
    """Lock a file and state its holder in it; return False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            return False
        if error.errno not in _HELD:
            raise
        text = b""
        with suppress(OSError):  # on CIFS the lock may keep others from reading
            text = os.pread(descriptor, 256, 0)
        holder = text.decode(errors="replace").strip() or "another process"
        raise CohortError(
            f"another run writes to {folder}: {holder}; wait for its end, or give another folder"
        ) from error
    begun = datetime.now().astimezone().isoformat(timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}, since {begun}\n".encode(), 0)
    os.fsync(descriptor)  # for other hosts
    return True
