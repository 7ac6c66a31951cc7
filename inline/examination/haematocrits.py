"""Haematocrits of studies from a file of the site (setting ``ecv.haematocrits``).

The file is CSV with a line of names: ``haematocrit``, and the columns that identify a study, all of which
must agree with what its images state: ``study_uid``, ``accession_number``, or ``patient_id`` with
``study_date`` (a patient's haematocrit of another day is another value), and ``examination`` in a cohort.
Identities are kept as keyed digests (:func:`inline.mrd.header.identity`), and no message quotes a cell.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from stat import S_ISREG
from typing import Final

from inline.data.errors import ConfigurationError
from inline.mrd.header import Identities, identity
from model.relaxometry.ecv import HAEMATOCRIT, check_haematocrit

_log = logging.getLogger(__name__)

_VALUE: Final = "haematocrit"
_COLUMNS: Final = (_VALUE, "study_uid", "accession_number", "patient_id", "study_date", "examination")
_SUFFICIENT: Final = ({"study_uid"}, {"accession_number"}, {"patient_id", "study_date"}, {"examination"})
_MOST_LOGGED: Final = 10
_MOST_BYTES: Final = 16 << 20
_FILE: Final = "file of ecv.haematocrits"
_NO_NUMBER: Final = (
    "its haematocrit is no number from {:g} to {:g}; give a fraction with a decimal point and no sign of "
    "percent, such as 0.42 for 42 %"
).format(*HAEMATOCRIT)
_HALF_WRITTEN: Final = "it has no line end, so it may be half-written; end it with a line end"
_OF_NONE: Final = "{}; it may be of this study, which has no other line"
_SHARED: Final = "its study UID came with several patients; add a column patient_id"

Key = tuple[bytes, ...]
"""Digests of the identity of a study, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class OfStudy:
    """Statement of the file on one study.

    Attributes:
        value: its haematocrit, or None.
        note: reason why there is none, or empty.
        refused: file or line cannot be used, so that the haematocrit of all patients must not stand in.
    """

    value: float | None = None
    note: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """Value of a line, or why it has none that can be used."""

    number: int
    value: float | None
    problem: str = ""

    def refused(self, why: str = "{}") -> OfStudy:
        """Return that the line cannot be used; ``why`` for its problem."""
        note = f"Line {self.number} of the {_FILE} is not used: {why.format(self.problem)}."
        return OfStudy(note=note, refused=True)


@dataclass(frozen=True, slots=True)
class Haematocrits:
    """Content of a file.

    Attributes:
        columns: that identify a study.
        lines: by the identity of their study.
        problems: a sentence for each line that cannot be used.
        digest: SHA-256 of the file.
        of_any: first line that cannot be used and may be of any study; None for none.
        unusable: why the file as a whole cannot be used; else empty.
    """

    columns: tuple[str, ...]
    lines: Mapping[Key, _Line]
    problems: tuple[str, ...]
    digest: str
    of_any: _Line | None = None
    unusable: str = ""

    def of(self, identities: Identities, *, shared: bool = False) -> OfStudy:
        """Return what the file states on a study.

        Args:
            identities: of the study; its lines are those that agree with one of each column.
            shared: its study UID is that of another patient too.
        """
        if self.unusable:
            return OfStudy(note=f"The {_FILE} cannot be used: {self.unusable}.", refused=True)
        if lacking := [each for each in self.columns if not identities.get(each)]:
            return _without_line(f": the images state no {' and '.join(lacking)}")
        keys = product(*(identities[each] for each in self.columns))
        found = sorted(filter(None, map(self.lines.get, keys)), key=lambda each: each.number)
        if not found:
            return self.of_any.refused(_OF_NONE) if self.of_any else _without_line()
        if shared and "patient_id" not in self.columns:
            return found[0].refused(_SHARED)
        line = found[0]
        for each in found[1:]:
            line = _with_earlier(each, line)
        return line.refused() if line.problem else OfStudy(line.value)


def _without_line(why: str = "") -> OfStudy:
    return OfStudy(note=f"The {_FILE} has no line for this study{why}.")


class HaematocritFile:
    """File that is read anew for each study, since a line may be added at any time; safe between threads."""

    def __init__(self, file: Path | None, *, logged: bool = True) -> None:
        """Take a file, which need not be there yet; None for none. ``logged``: what is wrong with it."""
        self._file, self._logged = file, logged
        self._read: tuple[str, Haematocrits] | None = None

    def of(self, identities: Identities, *, shared: bool = False) -> OfStudy | None:
        """Return what the file states now on a study, as :meth:`Haematocrits.of`; None without a file."""
        found = self._now()
        return None if found is None else found.of(identities, shared=shared)

    def announce(self) -> None:
        """Log what is wrong with the file now, for programs that run on without it."""
        self._now()

    def _now(self) -> Haematocrits | None:
        """Return the content; log what is wrong with it where it is new."""
        if self._file is None:
            return None
        content = _content(self._file)
        earlier, state = self._read, content if isinstance(content, str) else sha256(content).hexdigest()
        # By content, since a change within one tick of the clock leaves size and time as they are.
        if earlier is None or earlier[0] != state:
            earlier = self._read = state, _parsed(content)
            if self._logged:
                _report(earlier[1])
        return earlier[1]


def haematocrits_now(file: Path | None) -> Haematocrits | None:
    """Return the content of a file as it is now, also of one that cannot be used; None without a file."""
    return None if file is None else _parsed(_content(file))


def checked_haematocrits(file: Path | None) -> Haematocrits | None:
    """Return the content of a file as it is now, and log its lines that cannot be used; None without a file.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    found = haematocrits_now(file)
    if found is not None and found.unusable:
        raise ConfigurationError(f"{file} (setting ecv.haematocrits) cannot be used: {found.unusable}")
    if found is not None:
        _report(found)
    return found


def read_haematocrits(content: bytes) -> Haematocrits:
    """Return the content of a file. A line that cannot be used takes the value of its own study alone.

    Raises:
        ConfigurationError: it is no UTF-8, or its first line does not name the columns.
    """
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline=None)
    except UnicodeDecodeError as error:
        raise ConfigurationError("it is not UTF-8; save it as CSV UTF-8") from error
    heading = text.readline()
    # Excel writes semicolons where the decimal sign is a comma.
    delimiter = ";" if ";" in heading else ","
    names = [each.lower() for each in _cells(heading, delimiter)]
    columns = tuple(each for each in names if each != _VALUE)
    _check_columns(names)
    lines, unusable, of_any = dict[Key, _Line](), set[_Line](), list[_Line]()
    for number, stated in enumerate(text, 2):
        if not stated.strip(f" \t\n{delimiter}"):
            continue
        cells = _cells(stated, delimiter)
        if len(cells) != len(names):
            of_any.append(_Line(number, None, f"it must have {len(names)} cells"))
            continue
        by_name = dict(zip(names, cells, strict=True))
        key = tuple(identity(each, by_name[each]) for each in columns)
        if b"" in key:
            lacking = " and ".join(each for each, found in zip(columns, key, strict=True) if not found)
            of_any.append(_Line(number, None, f"it states no {lacking}"))
        elif not stated.endswith("\n"):  # its identity may be cut off too
            lines[key] = _Line(number, None, _HALF_WRITTEN)
            of_any.append(lines[key])
        elif by_name[_VALUE]:  # else it is not known yet
            lines[key] = line = _with_earlier(_line(number, by_name[_VALUE]), lines.get(key))
            unusable |= {line} if line.problem else set()
    problems = sorted(unusable.union(of_any), key=lambda each: each.number)
    texts = tuple(f"line {each.number}: {each.problem}" for each in problems)
    return Haematocrits(columns, lines, texts, sha256(content).hexdigest(), of_any[0] if of_any else None)


def _check_columns(names: list[str]) -> None:
    for number, name in enumerate(names, 1):
        if name not in _COLUMNS:  # not quoted: without a line of names it is a patient's
            raise ConfigurationError(
                f"its first line must name the columns, and column {number} is none of {', '.join(_COLUMNS)}"
            )
    if (
        _VALUE not in names
        or len(set(names)) < len(names)
        or not any(map(set(names).issuperset, _SUFFICIENT))
    ):
        raise ConfigurationError(
            "its columns must be haematocrit, once, and study_uid, accession_number, patient_id with "
            "study_date, or examination"
        )


def _cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; none where its quotation marks are broken, as in a half-written file."""
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
    except (ValueError, csv.Error):
        return []
    return [each.strip() for each in cells]


def _line(number: int, cell: str) -> _Line:
    """Return a line by the cell of its haematocrit, which may be the number of a patient."""
    try:
        return _Line(number, check_haematocrit(float(cell)))
    except ValueError:
        return _Line(number, None, _NO_NUMBER)


def _with_earlier(line: _Line, earlier: _Line | None) -> _Line:
    """Return a line of a study with an earlier one: one that cannot be used where they differ."""
    if earlier is None or line.problem or line.value == earlier.value:
        return line
    if earlier.problem:
        return earlier
    return _Line(line.number, None, f"line {earlier.number} states another haematocrit of its study")


def _content(file: Path) -> bytes | str:
    """Return the bytes of a file, or why it cannot be read."""
    try:
        if not S_ISREG(file.stat().st_mode):  # opening a pipe may wait for ever
            return "it is no file"
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        return error.strerror or type(error).__name__
    return content if len(content) <= _MOST_BYTES else f"it is larger than {_MOST_BYTES >> 20} MiB"


def _parsed(content: bytes | str) -> Haematocrits:
    """Return the content of a file; a text is why it cannot be read."""
    try:
        if isinstance(content, bytes):
            return read_haematocrits(content)
        why = content
    except ConfigurationError as error:
        why = error.message
    return Haematocrits((), {}, (), "", unusable=why)


def _report(read: Haematocrits) -> None:
    """Log what is wrong with a file, once for each content."""
    if read.unusable:
        _log.error("ecv.haematocrits cannot be used: %s", read.unusable)
        return
    for problem in read.problems[:_MOST_LOGGED]:
        _log.warning("ecv.haematocrits, %s", problem)
    if (rest := len(read.problems) - _MOST_LOGGED) > 0:
        _log.warning("ecv.haematocrits: %d further lines cannot be used", rest)
