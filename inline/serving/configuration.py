"""Configurations that a client can ask for by name."""

from enum import StrEnum
from typing import Final

OPENRECON: Final = "openrecon"
"""Name that the host of OpenRecon sends whatever program it starts; it stands for ``mapping``."""


class Configuration(StrEnum):
    """Processing of the images of a connection: maps and contours, or none."""

    MAPPING = "mapping"
    PASSTHROUGH = "passthrough"
