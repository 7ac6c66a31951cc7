"""Haematocrits of a cohort (setting ``ecv.haematocrits``) as a part of what its results depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from inline.cohort.discover import ExaminationPath
from inline.data.errors import CohortError
from inline.examination.haematocrits import Haematocrits
from inline.mrd.header import Identities, identity


def with_lines(
    examinations: Sequence[ExaminationPath], haematocrits: Haematocrits | None
) -> tuple[ExaminationPath, ...]:
    """Return examinations whose digest of the source also depends on what the file states on each.

    An examination is then processed anew where its line has changed; where only its images can tell which
    line is its own, where the file has.

    Raises:
        CohortError: an examination is not the only one with its name, which has a line.
    """
    if haematocrits is None:
        return tuple(examinations)
    for each in examinations:
        if not each.alone and _is_listed(each.name, haematocrits):
            raise CohortError(
                f"several studies are in {each.name}, which has one line in ecv.haematocrits; name them by "
                "study_uid"
            )
    return tuple(
        replace(
            each, source=hashlib.sha256(f"{each.source} {_stated(each, haematocrits)}".encode()).hexdigest()
        )
        for each in examinations
    )


def _is_listed(name: str, haematocrits: Haematocrits) -> bool:
    """Return whether the file has lines by a name, and nothing else in them tells patients apart."""
    columns = haematocrits.columns
    if "examination" not in columns or not {"study_uid", "accession_number", "patient_id"}.isdisjoint(
        columns
    ):
        return False
    place, own = columns.index("examination"), identity("examination", name)
    return any(key[place] == own for key in haematocrits.lines)


def _stated(examination: ExaminationPath, haematocrits: Haematocrits) -> str:
    """Return what the file states on an examination, or its digest where that is not known here."""
    if haematocrits.columns == ("examination",):
        return repr(haematocrits.of(_stating("examination", examination.name)))
    if haematocrits.columns == ("study_uid",) and examination.study:
        return repr(haematocrits.of(_stating("study_uid", examination.study)))
    return haematocrits.digest


def _stating(name: str, text: str) -> Identities:
    return {name: frozenset({identity(name, text)})}
