"""Which cases are for training, validation and test: by case, fixed, and the same when cases are added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Part(StrEnum):
    """A part of the cases."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_TRAIN: Final = 0.65
_VALIDATION: Final = 0.20
"""Shares after Kalapos et al. 2023; the rest, 15 %, is for test."""


def part_of(case: str) -> Part:
    """The part of a case, from a hash of its name alone, so that no other case moves it."""
    digest = hashlib.sha256(case.encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < _TRAIN:
        return Part.TRAIN
    return Part.VALIDATION if place < _TRAIN + _VALIDATION else Part.TEST


def split(cases: Iterable[str]) -> dict[Part, list[str]]:
    """The cases of each part, in order."""
    parts: dict[Part, list[str]] = {part: [] for part in Part}
    for case in sorted(set(cases)):
        parts[part_of(case)].append(case)
    return parts
