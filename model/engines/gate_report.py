"""Reports of gates: an engine that is faster than float32 is used only where its report says that it passed.

A report lies in the cache of the host that it was made on, or beside the weights for others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from model.engines.engine_cache import EngineCache, EngineKey, UnusableModelError
from model.host import computes_bfloat16
from model.weights import weights_digest

FILE: Final = "gate.json"

T = TypeVar("T")


class MissedGateError(UnusableModelError):
    """The engine was compared with float32 for these weights, and missed its gate."""


def write_report(folder: Path, weights: Path, report: dict[str, Any], **others: str) -> None:
    """Write the report of an engine of ``weights`` into a folder, with other texts by name."""
    content = {"weights": weights_digest(weights), **others, "report": report}
    (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_report(folder: Path, weights: Path, *others: str) -> dict[str, Any]:
    """Return the content of a file of :func:`write_report` for these weights, whose engine passed its gate.

    Raises:
        MissedGateError: the engine missed its gate.
        UnusableModelError: there is none, it lacks one of the ``others``, or it belongs to other weights.
    """
    try:
        content: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        made_from, report, _ = content["weights"], content["report"], [content[name] for name in others]
        reasons = "; ".join(report["reasons"])
    except FileNotFoundError as error:
        raise UnusableModelError(f"none lies in {folder}") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnusableModelError(f"the one in {folder} cannot be read ({error})") from error
    if made_from != weights_digest(weights):
        raise UnusableModelError(f"the one in {folder} belongs to other weights")
    if report.get("passed") is not True:
        raise MissedGateError(f"the one in {folder} missed its gate: {reasons}")
    return content


def of_host_or_weights(
    weights: Path, precision: str, read: Callable[[Path, Path], T], cache: EngineCache | None, lacking: str
) -> T:
    """Return what was made on this host, or else what lies beside the weights.

    A gate that was missed on this host decides: what passed elsewhere is then not used.

    Args:
        weights: folder of weights.
        precision: ``int8``, ``bf16``: of the key in the cache, and name of the folder beside the weights.
        read: returns the content of such a folder for these weights.
        cache: of this host; None for the user's.
        lacking: what the one beside the weights needs and this CPU lacks; empty for nothing.

    Raises:
        UnusableModelError: neither can be used.
    """
    try:
        return read((cache or EngineCache()).find(EngineKey.of(weights, precision)), weights)
    except MissedGateError as error:
        raise MissedGateError(f"{error} (to repeat it: myostream calibrate precision)") from error
    except (UnusableModelError, OSError) as error:  # such as no home folder for a cache
        reason = str(error)
    try:
        if lacking and (weights / precision).exists():
            raise UnusableModelError(f"the one beside the weights needs {lacking}")
        return read(weights / precision, weights)
    except UnusableModelError as error:
        raise UnusableModelError(f"{reason}; {error} (run: myostream calibrate precision)") from error


def bf16_report(weights: Path, cache: EngineCache | None = None) -> dict[str, Any]:
    """Return the gate's report on bfloat16 with these weights.

    Raises:
        UnusableModelError: the CPU does not compute in bfloat16, or no report says that it passed.
    """
    if not computes_bfloat16():
        raise UnusableModelError("this CPU does not compute in bfloat16")
    report: dict[str, Any] = of_host_or_weights(weights, "bf16", read_report, cache, "")["report"]
    return report
