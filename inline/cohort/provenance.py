"""Provenance of results: what they depend on beside the images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

from inline.contouring.confidence import FILE as CONFIDENCE
from inline.data.version import software_version
from inline.settings import Settings
from model.weights import DEFAULT, weights_digest

_WITHOUT_EFFECT: Final = {"server", "emit", "log", "monitor", "dicom", "workers", "budget_ms", "weights"}
"""Settings that no result of a cohort depends on; the weights count by their content."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Program, settings and weights of a result.

    Attributes:
        version: of the program.
        settings: SHA-256 of all settings that a result depends on.
        weights: SHA-256 of the weights of the network and of its confidence.
    """

    version: str
    settings: str
    weights: str

    @classmethod
    def of(cls, settings: Settings) -> Provenance:
        """Return that of the results made here with some settings.

        Raises:
            OSError: the weights or the reference ranges cannot be read.
        """
        counted = settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
        if settings.reference.file is not None:
            # By content, as weights: ranges that changed give other z-scores.
            counted["reference"] = _sha256(settings.reference.file.read_bytes())
        return cls(
            version=software_version(),
            settings=_sha256(json.dumps(counted, sort_keys=True).encode()),
            weights=_weights(settings),
        )


def _weights(settings: Settings) -> str:
    folder = settings.weights or DEFAULT
    confidence = folder / CONFIDENCE
    fitted = confidence.read_bytes() if confidence.exists() else b""
    return _sha256(f"{weights_digest(folder)} {_sha256(fitted)}".encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
