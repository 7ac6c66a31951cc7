"""Processes that have loaded nothing: for the memory of one engine alone, and for work on all cores."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor


def fresh_processes(workers: int | None = None) -> ProcessPoolExecutor:
    """Return a pool of processes that are started, not forked.

    Args:
        workers: None for as many as there are cores.
    """
    # Python's -P, which a pool hands on by the environment alone: until a new process has taken over the path
    # of this one, it would import a file of the current folder in place of a module of the same name.
    os.environ["PYTHONSAFEPATH"] = "1"
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
