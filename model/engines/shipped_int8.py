"""The eight-bit network that ships: an OpenVINO model in parts beside the weights, and what its gate said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from model.engines.engine_cache import EXACT, NotPassedError, processor_flags, weights_digest
from model.weights import PART_BYTES

_FOLDER: Final = "int8"
_GRAPH: Final = "model.xml"
_REPORT: Final = "gate.json"


def pack(model: Path, weights: Path, report: dict[str, Any]) -> Path:
    """Write a model beside the weights that it was made from, in parts that any git host takes.

    Args:
        model: ``.xml`` file with its ``.bin`` beside it.
        weights: folder of weights.
        report: of the gate that it has passed.

    Returns:
        The folder of the parts; what was there is replaced.

    Raises:
        ValueError: it has not passed.
    """
    if not report["passed"]:
        raise ValueError("an engine that missed its gate does not ship")
    folder = weights / _FOLDER
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    graph, constants = model.read_bytes(), model.with_suffix(".bin").read_bytes()
    (folder / _GRAPH).write_bytes(graph)
    starts = range(0, len(constants), PART_BYTES)
    for number, start in enumerate(starts, 1):
        part = folder / f"model-{number:02d}-of-{len(starts):02d}.bin"
        part.write_bytes(constants[start : start + PART_BYTES])
    content = {"weights": weights_digest(weights), "model": _digest(graph, constants), "report": report}
    (folder / _REPORT).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return folder


def shipped_report(weights: Path) -> dict[str, Any]:
    """The gate's report on the model beside a folder of weights.

    Raises:
        NotPassedError: there is none for these weights, or the processor computes otherwise.
    """
    report: dict[str, Any] = _content(weights)["report"]
    return report


def shipped_model(weights: Path) -> tuple[bytes, bytes]:
    """Graph and constants of the OpenVINO model beside a folder of weights.

    Raises:
        NotPassedError: as :func:`shipped_report`, or its files are not those that the gate let pass.
    """
    content = _content(weights)
    folder = weights / _FOLDER
    try:
        graph = (folder / _GRAPH).read_bytes()
        constants = b"".join(part.read_bytes() for part in sorted(folder.glob("model-*.bin")))
    except OSError as error:
        raise NotPassedError(f"the one that ships cannot be read ({error})") from error
    if _digest(graph, constants) != content["model"]:
        raise NotPassedError(f"the one that ships is damaged; copy {folder} again")
    return graph, constants


def _content(weights: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((weights / _FOLDER / _REPORT).read_text(encoding="utf-8"))
        made_from, passed = content["weights"], bool(content["report"]["passed"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NotPassedError("none ships with these weights") from error
    # Asked first: the weights' digest takes time, and is of no use on another processor.
    if not EXACT & processor_flags():
        raise NotPassedError("the one that ships wants a processor with VNNI, where its sums are exact")
    if not passed or made_from != weights_digest(weights):
        raise NotPassedError("the one that ships belongs to other weights")
    return content


def _digest(graph: bytes, constants: bytes) -> str:
    digest = hashlib.sha256(graph)
    digest.update(constants)
    return digest.hexdigest()
