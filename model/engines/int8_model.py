"""Int8 model for OpenVINO with the report of its gate: made on this host, or distributed beside the weights.

Its weights lie in parts that any git host takes. It is used only if it belongs to the weights, is intact and
has passed its gate.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.engines.engine_cache import EngineCache, EngineKey, UnusableModelError
from model.host import VNNI, cpu_flags
from model.weights import PART_BYTES, weights_digest

FOLDER: Final = "int8"
"""Folder beside the weights."""
_GRAPH: Final = "model.xml"
_REPORT: Final = "gate.json"


@dataclass(frozen=True, slots=True)
class Int8Model:
    """Model that has passed its gate.

    Attributes:
        graph: OpenVINO's ``.xml`` file.
        constants: OpenVINO's ``.bin`` file.
        report: of the gate.
    """

    graph: bytes
    constants: bytes
    report: dict[str, Any]


def find_int8(weights: Path, cache: EngineCache | None = None) -> Int8Model:
    """Return the model that was made on this host, or else the one beside the weights.

    Args:
        weights: folder of weights.
        cache: of this host; None for the user's.

    Raises:
        UnusableModelError: neither can be used.
    """
    try:
        return read_int8((cache or EngineCache()).find(EngineKey.of(weights, "int8")), weights)
    except UnusableModelError as error:
        reason = str(error)
    try:
        if (weights / FOLDER).exists() and not VNNI & cpu_flags():
            raise UnusableModelError("the one beside the weights needs a CPU with VNNI, where sums are exact")
        return read_int8(weights / FOLDER, weights)
    except UnusableModelError as error:
        raise UnusableModelError(f"{reason}; {error} (run: myostream calibrate precision)") from error


def write_int8(folder: Path, weights: Path, graph: bytes, constants: bytes, report: dict[str, Any]) -> None:
    """Write a model that was made from ``weights``, and the report of its gate, into an empty folder."""
    (folder / _GRAPH).write_bytes(graph)
    starts = range(0, len(constants), PART_BYTES)
    for number, start in enumerate(starts, 1):
        part = folder / f"model-{number:02d}-of-{len(starts):02d}.bin"
        part.write_bytes(constants[start : start + PART_BYTES])
    content = {"weights": weights_digest(weights), "model": _digest(graph, constants), "report": report}
    (folder / _REPORT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_int8(folder: Path, weights: Path) -> Int8Model:
    """Return the model in a folder that :func:`write_int8` wrote.

    Raises:
        UnusableModelError: there is none, or it is not usable with these weights.
    """
    try:
        content = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        made_from, digest, report = content["weights"], content["model"], content["report"]
        graph = (folder / _GRAPH).read_bytes()
        constants = b"".join(part.read_bytes() for part in sorted(folder.glob("model-*.bin")))
        reasons = "; ".join(report["reasons"])
    except FileNotFoundError as error:
        raise UnusableModelError(f"none lies in {folder}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnusableModelError(f"the one in {folder} cannot be read ({error})") from error
    if report.get("passed") is not True:
        raise UnusableModelError(f"the one in {folder} missed its gate: {reasons}")
    if made_from != weights_digest(weights):
        raise UnusableModelError(f"the one in {folder} belongs to other weights")
    if digest != _digest(graph, constants):
        raise UnusableModelError(f"the one in {folder} is damaged; copy or make it again")
    return Int8Model(graph, constants, report)


def _digest(graph: bytes, constants: bytes) -> str:
    digest = hashlib.sha256(graph)
    digest.update(constants)
    return digest.hexdigest()
