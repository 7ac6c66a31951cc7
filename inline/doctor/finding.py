"""Finding of a check of the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Weight of a finding."""

    GOOD = "good"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding about one part.

    Attributes:
        part: of the host or of the installation.
        verdict: a problem keeps myostream from its work, a warning does not.
        text: what was found.
        advice: what to do; empty where nothing is to be done.
    """

    part: str
    verdict: Verdict
    text: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]


def guarded(part: str, check: Check) -> Iterator[Finding]:
    """Yield the findings of a check; an error of the check is a problem of its part."""
    try:
        yield from check()
    except Exception as error:
        yield Finding(part, Verdict.PROBLEM, f"could not be examined: {type(error).__name__}: {error}")


def good(part: str, text: str) -> Finding:
    """Return a good finding."""
    return Finding(part, Verdict.GOOD, text)


def warning(part: str, text: str, advice: str = "") -> Finding:
    """Return a warning."""
    return Finding(part, Verdict.WARNING, text, advice)


def problem(part: str, text: str, advice: str) -> Finding:
    """Return a problem."""
    return Finding(part, Verdict.PROBLEM, text, advice)
