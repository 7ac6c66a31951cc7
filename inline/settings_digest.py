"""Digest of the settings that the values of a result depend on, and of the files that these name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Final

from inline.contouring.confidence import FILE
from inline.settings import Settings
from model.weights import DEFAULT

_WITHOUT_EFFECT: Final = {"server", "emit", "log", "monitor", "dicom", "workers", "budget_ms", "weights"}
"""Settings that change no value; the weights have a digest of their own."""


def settings_digest(settings: Settings, without: Collection[str] = ()) -> str:
    """Return the SHA-256 of every setting that changes a value, as 64 hexadecimal digits.

    Reference ranges and the confidence beside the weights count by their content, wherever their files lie.
    The file of haematocrits does not count: it holds those of other studies too.

    Args:
        settings: of the program.
        without: further settings to leave out, such as an engine that is stated apart.

    Raises:
        OSError: the file of reference ranges or that of the confidence cannot be read.
    """
    counted = settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT.union(without))
    del counted["ecv"]["haematocrits"]
    confidence = (settings.weights or DEFAULT) / FILE
    files = {"confidence": confidence if confidence.exists() else None, "reference": settings.reference.file}
    for name, file in files.items():
        if file is not None:
            counted[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()
