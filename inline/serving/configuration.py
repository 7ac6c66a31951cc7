"""Configurations that a client can ask for by name."""

from enum import StrEnum


class Configuration(StrEnum):
    """What is done with the images of a connection: maps and contours, or nothing."""

    MAPPING = "mapping"
    PASSTHROUGH = "passthrough"
