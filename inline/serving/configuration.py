"""Configurations that a client can ask for by name."""

from enum import StrEnum


class Configuration(StrEnum):
    """Processing of the images of a connection: maps and contours, or none."""

    MAPPING = "mapping"
    PASSTHROUGH = "passthrough"
