"""File descriptors of a program: standard ones that were closed at its start, and their number."""

from __future__ import annotations

import os
import resource
from typing import Final

# Reading ends at once; output and log go nowhere. For results on standard output, ``stream`` refuses that.
_MODES: Final = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
_WANTED: Final = 8192


def hold_standard_descriptors() -> None:
    """Open the null device for each of the descriptors 0, 1 and 2 that is closed.

    Otherwise the next file or connection takes its number, and receives what libraries and the log write
    to standard output and standard error.
    """
    for number, mode in enumerate(_MODES):
        try:
            os.fstat(number)
        except OSError:  # the lowest closed one is this one
            os.set_inheritable(os.open(os.devnull, mode), True)


def raise_descriptor_limit() -> None:
    """Allow this process 8192 descriptors, or as many as the system grants; many shells allow it 1024.

    Not for a program that uses select(2), which takes no number above 1023.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < granted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
