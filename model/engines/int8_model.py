"""Int8 model for OpenVINO with the report of its gate: made on this host, or distributed beside the weights.

Its weights lie in parts that any git host takes. It is used only if it belongs to the weights, is intact and
has passed its gate.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.engines.engine_cache import EngineCache, UnusableModelError
from model.engines.gate_report import of_host_or_weights, read_report, write_report
from model.host import VNNI, cpu_flags
from model.weights import PART_BYTES

FOLDER: Final = "int8"
"""Folder beside the weights."""
_GRAPH: Final = "model.xml"


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

    Where the model of this host missed its gate, none is used.

    Args:
        weights: folder of weights.
        cache: of this host; None for the user's.

    Raises:
        UnusableModelError: neither can be used.
    """
    lacking = "" if VNNI & cpu_flags() else "a CPU with VNNI, where sums are exact"
    return of_host_or_weights(weights, FOLDER, read_int8, cache, lacking)


def write_int8(folder: Path, weights: Path, graph: bytes, constants: bytes, report: dict[str, Any]) -> None:
    """Write a model that was made from ``weights``, and the report of its gate, into an empty folder."""
    (folder / _GRAPH).write_bytes(graph)
    starts = range(0, len(constants), PART_BYTES)
    for number, start in enumerate(starts, 1):
        part = folder / f"model-{number:02d}-of-{len(starts):02d}.bin"
        part.write_bytes(constants[start : start + PART_BYTES])
    write_report(folder, weights, report, model=_digest(graph, constants))


def read_int8(folder: Path, weights: Path) -> Int8Model:
    """Return the model in a folder that :func:`write_int8` wrote.

    Raises:
        UnusableModelError: there is none, or it is not usable with these weights.
    """
    content = read_report(folder, weights, "model")
    try:
        graph = (folder / _GRAPH).read_bytes()
        constants = b"".join(part.read_bytes() for part in sorted(folder.glob("model-*.bin")))
    except OSError as error:
        raise UnusableModelError(f"the one in {folder} cannot be read ({error})") from error
    if content["model"] != _digest(graph, constants):
        raise UnusableModelError(f"the one in {folder} is damaged; copy or make it again")
    return Int8Model(graph, constants, content["report"])


def _digest(graph: bytes, constants: bytes) -> str:
    digest = hashlib.sha256(graph)
    digest.update(constants)
    return digest.hexdigest()
