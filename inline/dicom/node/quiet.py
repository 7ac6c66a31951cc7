"""Silence of the libraries below the node, whose messages quote what senders wrote."""

from __future__ import annotations

import logging
import warnings
from typing import Final

from pydicom import config

_LIBRARIES: Final = ("highdicom", "pydicom", "pynetdicom")


def silence_libraries() -> None:
    """Keep log messages and warnings of the libraries out of the log of this process.

    They quote names of patients (a name without its components) and values of elements. What matters of them
    is logged by the node.
    """
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    warnings.simplefilter("ignore")
    # A value that the standard does not allow must not keep an object from being read.
    config.settings.reading_validation_mode = config.IGNORE
