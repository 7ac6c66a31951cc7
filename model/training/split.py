"""Which cases are for training, validation and test: by case, fixed, and the same when cases are added."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model.evaluation.errors import CaseError
from model.evaluation.names import one_spelling

if TYPE_CHECKING:
    from model.evaluation.cases import LabelledSlice


class Part(StrEnum):
    """A part of the cases."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_TRAIN: Final = 0.65
_VALIDATION: Final = 0.20
"""Shares after Kalapos et al. 2023; the rest, 15 %, is for test."""

FILE: Final = "split.json"
"""File in the folder of a run, which holds its ``weights/`` too: names of the cases of each part."""


def part_of(case: str) -> Part:
    """Return the part of a case, from a hash of its name alone, so that no other case moves it."""
    # File systems keep names as bytes; those that are no UTF-8 reach Python as surrogates.
    digest = hashlib.sha256(one_spelling(case).encode(errors="surrogateescape")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < _TRAIN:
        return Part.TRAIN
    return Part.VALIDATION if place < _TRAIN + _VALIDATION else Part.TEST


def split(cases: Iterable[str]) -> dict[Part, list[str]]:
    """Return the cases of each part, in order and in one spelling."""
    parts: dict[Part, list[str]] = {part: [] for part in Part}
    for case in sorted(set(map(one_spelling, cases))):
        parts[part_of(case)].append(case)
    return parts


def in_part(slices: Sequence[LabelledSlice], part: Part | None) -> list[LabelledSlice]:
    """Return the slices whose case is in a part; all for None.

    Raises:
        CaseError: there are none.
    """
    chosen = [each for each in slices if part is None or part_of(each.case) is part]
    if not chosen:
        raise CaseError(f"of {len({each.case for each in slices})} cases none falls to {part}")
    return chosen


def read_split(run: Path) -> dict[Part, list[str]] | None:
    """Return the cases of each part in the folder of a run; None where it has no split.

    Raises:
        CaseError: its ``split.json`` is not that of a run.
    """
    content = _json(run / FILE)
    if content is None:
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in Part):
        raise CaseError(f"{run / FILE} is not the split of a training; move it elsewhere")
    return {part: [one_spelling(str(name)) for name in content[part]] for part in Part}


def seen_in_training(cases: Iterable[str], weights: Path) -> dict[str, int] | None:
    """Return the number of cases, and of those in the parts of the runs that made the weights, by name.

    The runs are that of the weights and, where it started from the weights of another run, that one too.

    Args:
        cases: of slices that the weights are evaluated on.
        weights: ``weights/`` in the folder of a run.

    Returns:
        ``cases``, ``train`` and ``validation``, and ``missing``, the number of earlier runs that are
        gone; None where no run has a split.

    Raises:
        CaseError: as :func:`read_split`.
    """
    named = set(map(one_spelling, cases))
    runs = list(_runs(weights))
    splits = [parts for run in runs if run is not None and (parts := read_split(run)) is not None]
    if not splits:
        return None
    return {
        "cases": len(named),
        "missing": runs.count(None),
        **{
            part.value: sum(any(name in each[part] for each in splits) for name in named)
            for part in (Part.TRAIN, Part.VALIDATION)
        },
    }


def seen_note(counts: Mapping[str, int] | None) -> list[str]:
    """Return the sentence on :func:`seen_in_training`; none where there is no split."""
    if counts is None:
        return []
    missing = "The weights that the training started from are not there; their cases are not counted."
    return [
        f"{counts['train']} of {counts['cases']} cases were trained on, and {counts['validation']} chose the "
        "epoch of the weights.",
        *([missing] if counts["missing"] else []),
    ]


def earlier_starts(run: Path) -> list[str]:
    """Return the weights that a run started from, by its ``training.json``: the latest first.

    A run that starts again from its own weights states those before it as ``earlier_starts``.

    Raises:
        CaseError: the file cannot be read.
    """
    content = _json(run / "training.json")
    stated = content.get("training", content) if isinstance(content, dict) else {}
    if not isinstance(stated, dict):
        return []
    starts = [stated.get("start"), *(stated.get("earlier_starts") or [])]
    return [
        each for each in dict.fromkeys(starts) if isinstance(each, str) and each not in ("None", "random")
    ]


def own_start(run: Path, start: Path | None) -> bool:
    """Return whether a training starts from the weights in the folder of its own run."""
    return start is not None and start.resolve().parent == run.resolve()


def _runs(weights: Path) -> Iterator[Path | None]:
    """Yield the folder of the run that made the weights, and of those before it; None for a lost one."""
    passed: set[Path] = set()
    starts = [weights]
    for start in starts:
        if start is not weights and not start.is_dir():
            yield None
        elif (run := start.resolve().parent) not in passed:
            passed.add(run)
            yield run
            starts += [each for each in map(Path, earlier_starts(run)) if each not in starts]


def _json(file: Path) -> Any:
    """Return the content of a JSON file; None where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CaseError(f"{file} cannot be read: {error}") from error
