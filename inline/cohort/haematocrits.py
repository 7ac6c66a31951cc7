"""Haematocrits of a cohort (setting ``ecv.haematocrits``) as a part of what its results depend on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from inline.cohort.discover import ExaminationPath
from inline.data.errors import CohortError
from inline.examination.haematocrits import Haematocrits
from inline.mrd.header import identity


def with_lines(
    examinations: Sequence[ExaminationPath], haematocrits: Haematocrits | None
) -> tuple[ExaminationPath, ...]:
    """Return examinations whose digest of the source also depends on what the file states on each.

    An examination is then processed anew where its line has changed; where only its images can tell which
    line is its own, where the file has.

    Raises:
        CohortError: several examinations have a name that has a line.
    """
    if haematocrits is None:
        return tuple(examinations)
    if haematocrits.columns == ("examination",):
        names = Counter(each.name for each in examinations)
        for name, number in names.items():
            if number > 1 and haematocrits.key(_named(name)) in haematocrits.lines:
                raise CohortError(
                    f"{number} studies are in {name}, which has one line in ecv.haematocrits; name them by "
                    "study_uid"
                )
    return tuple(
        replace(
            each, source=hashlib.sha256(f"{each.source} {_stated(each, haematocrits)}".encode()).hexdigest()
        )
        for each in examinations
    )


def _stated(examination: ExaminationPath, haematocrits: Haematocrits) -> str:
    """Return what the file states on an examination, or its digest where that is not known here."""
    if haematocrits.columns == ("examination",):
        return repr(haematocrits.of(_named(examination.name)))
    if haematocrits.columns == ("study_uid",) and examination.study:
        return repr(haematocrits.of({"study_uid": identity("study_uid", examination.study)}))
    return haematocrits.digest


def _named(name: str) -> dict[str, bytes]:
    return {"examination": identity("examination", name)}
