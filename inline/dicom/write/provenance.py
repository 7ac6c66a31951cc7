"""Origin of the values in an output: program, weights and settings; and the UIDs that follow from it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from inline.data.version import software_version
from inline.settings import Settings
from inline.settings_digest import settings_digest
from model.weights import DEFAULT, weights_digest

MANUFACTURER: Final = "myostream"
MODEL: Final = "myostream"
_NAMESPACE: Final = uuid.UUID("5c8f3f2a-8b0e-4f0c-9f3d-0a6f5d2e7b41")
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Provenance:
    """Program, engine, weights and settings that made a result.

    Attributes:
        version: of the program.
        engine: that ran the network.
        weights: digest of the network's weights.
        settings: digest of every setting that changes a value, and of the confidence's calibration.
    """

    version: str
    engine: str
    weights: str
    settings: str

    @classmethod
    def of(cls, settings: Settings, engine: str) -> Provenance:
        """Return the provenance of results under these settings.

        Args:
            settings: of the program.
            engine: name of the engine that runs.

        Raises:
            OSError: the weights or the reference ranges cannot be read.
        """
        return cls(
            software_version(),
            engine,
            _weights_digest(settings.weights or DEFAULT),
            settings_digest(settings, without=["engine"])[:_DIGITS],
        )

    @property
    def parameters(self) -> dict[str, str]:
        """Engine and digests by name, as the outputs state them."""
        return {"engine": self.engine, "weights": self.weights, "settings": self.settings}

    @property
    def key(self) -> str:
        """Text that identifies everything that the values depend on."""
        return " ".join((self.version, self.engine, self.weights, self.settings))


def derived_uid(kind: str, *parts: str) -> str:
    """Return the UID that always follows from these texts (PS3.5 B.2: a UUID under 2.25).

    The UUID is of version 5, named by a hash (RFC 9562, 5.5).

    Args:
        kind: of the object, series or item.
        parts: on which it depends.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join((kind, *parts))).int}"


@cache
def _weights_digest(folder: Path) -> str:
    """Return the digest of a folder of weights, which do not change after a process has loaded them."""
    return weights_digest(folder)[:_DIGITS]
