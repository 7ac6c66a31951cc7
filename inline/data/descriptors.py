"""Standard input, output and error of a program that was started with some of them closed."""

from __future__ import annotations

import os
from typing import Final

# Reading ends at once, the log goes nowhere; results that have no place to go remain an error (EBADF).
_MODES: Final = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)


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
