"""Processes that have loaded nothing: for the memory of one engine alone, and for work on all cores."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

_STDERR: Final = 2


def fresh_processes(workers: int | None = None) -> ProcessPoolExecutor:
    """Return a pool of processes that are started, not forked.

    Args:
        workers: None for as many as there are cores.
    """
    import_nothing_from_current_folder()
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def import_nothing_from_current_folder() -> None:
    """Keep new processes from importing files of the current folder in place of modules of the same name.

    Until a started process has taken over the path of this one, it looks into the current folder. This is
    Python's -P, which libraries hand on to processes by the environment alone.
    """
    os.environ["PYTHONSAFEPATH"] = "1"


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End this process with code 1 where the block takes longer, even in C code that never returns.

    Its stack is written to standard error first. A process has one such time: that of the last block begun.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
