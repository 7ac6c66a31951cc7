"""Haematocrits of studies from a file of the site (setting ``ecv.haematocrits``).

The file is CSV with a line of names: ``haematocrit``, and the columns that identify a study, all of which
must agree with what its images state: ``study_uid``, ``accession_number``, or ``patient_id`` with
``study_date`` (a patient's haematocrit of another day is another value), and ``examination`` in a cohort.
Identities are kept as keyed digests (:func:`inline.mrd.header.identity`), and no message quotes a cell but a
haematocrit.
"""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from inline.data.errors import ConfigurationError
from inline.mrd.header import identity
from model.relaxometry.ecv import check_haematocrit

_log = logging.getLogger(__name__)

_VALUE: Final = "haematocrit"
_COLUMNS: Final = (_VALUE, "study_uid", "accession_number", "patient_id", "study_date", "examination")
_SUFFICIENT: Final = ({"study_uid"}, {"accession_number"}, {"patient_id", "study_date"}, {"examination"})
_MOST_LOGGED: Final = 10
_FILE: Final = "The file of ecv.haematocrits"
_NO_NUMBER: Final = (
    "no number that one has; give a number with a decimal point and no sign of percent, such as 0.42 for 42 %"
)
_SHARED: Final = "its study UID came with several patients or frames of reference; add a column patient_id"

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


@dataclass(frozen=True, slots=True)
class Haematocrits:
    """Content of a file.

    Attributes:
        columns: that identify a study.
        lines: by the identity of their study.
        problems: a sentence for each line that cannot be used.
        digest: SHA-256 of the file.
    """

    columns: tuple[str, ...]
    lines: Mapping[Key, _Line]
    problems: tuple[str, ...]
    digest: str

    def key(self, identities: Mapping[str, bytes]) -> Key | None:
        """Return the key of a study; None where it does not state all columns."""
        found = tuple(identities[each] for each in self.columns if each in identities)
        return found if len(found) == len(self.columns) else None

    def of(self, identities: Mapping[str, bytes], *, shared: bool = False) -> OfStudy:
        """Return what the file states on a study.

        Args:
            identities: of the study (:attr:`inline.mrd.header.MeasurementHeader.identities`).
            shared: its study UID is that of another patient too.
        """
        if (key := self.key(identities)) is None:
            names = " and ".join(each for each in self.columns if each not in identities)
            return OfStudy(note=f"{_FILE} has no line for this study: the images state no {names}.")
        if (line := self.lines.get(key)) is None:
            return OfStudy(note=f"{_FILE} has no line for this study.")
        problem = _SHARED if shared and "patient_id" not in self.columns else line.problem
        if problem:
            return OfStudy(note=f"{_FILE} is not used, line {line.number}: {problem}.", refused=True)
        return OfStudy(line.value)


class HaematocritFile:
    """File that is read anew for each study, since a line may be added at any time; safe between threads."""

    def __init__(self, file: Path | None, *, logged: bool = True) -> None:
        """Take a file, which need not be there yet; None for none. ``logged``: what is wrong with it."""
        self._file, self._logged = file, logged
        self._read: tuple[str, Haematocrits | str] | None = None

    def of(self, identities: Mapping[str, bytes], *, shared: bool = False) -> OfStudy | None:
        """Return what the file states now on a study, as :meth:`Haematocrits.of`; None without a file."""
        found = self._now()
        if isinstance(found, str):
            return OfStudy(note=f"{_FILE} cannot be used: {found}.", refused=True)
        return None if found is None else found.of(identities, shared=shared)

    def announce(self) -> None:
        """Log what is wrong with the file now, for programs that run on without it."""
        self._now()

    def _now(self) -> Haematocrits | str | None:
        """Return the content, or why it cannot be used; log what is wrong with it where it is new."""
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


def checked_haematocrits(file: Path | None) -> Haematocrits | None:
    """Return the content of a file as it is now; None without a file. Lines that cannot be used are logged.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    if file is None:
        return None
    found = _parsed(_content(file))
    if isinstance(found, str):
        raise ConfigurationError(f"{file} (setting ecv.haematocrits) cannot be used: {found}")
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
    lines, problems = dict[Key, _Line](), list[str]()
    for number, stated in enumerate(text, 2):
        if not stated.strip(f" \t\n{delimiter}"):
            continue
        cells = _cells(stated, delimiter)
        if len(cells) != len(names):
            problems.append(f"line {number}: it has not {len(names)} cells")
            continue
        by_name = dict(zip(names, cells, strict=True))
        key = tuple(identity(each, by_name[each]) for each in columns)
        line = _line(number, by_name[_VALUE], whole=stated.endswith("\n"))
        if b"" in key:
            names_lacking = " and ".join(each for each, found in zip(columns, key, strict=True) if not found)
            problems.append(f"line {number}: it states no {names_lacking}")
        elif line is not None:
            line = _with_earlier(line, lines.get(key))
            lines[key] = line
            problems += [f"line {number}: {line.problem}"] if line.problem else []
    return Haematocrits(columns, lines, tuple(problems), sha256(content).hexdigest())


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


def _line(number: int, cell: str, *, whole: bool) -> _Line | None:
    """Return a line by the cell of its haematocrit; None where that is empty, as not known yet."""
    if not whole:
        return _Line(number, None, "it has no line end, so it may be half-written; end it with a line end")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if abs(value) > 100.0:  # not quoted: it may be the number of a patient, in the wrong column
        return _Line(number, None, f"its haematocrit is {_NO_NUMBER}")
    try:
        return _Line(number, check_haematocrit(value))
    except ValueError as error:
        return _Line(number, None, str(error))


def _with_earlier(line: _Line, earlier: _Line | None) -> _Line:
    """Return a line of a study that has an earlier one too: without a value where they differ."""
    if earlier is None or line.problem or line == _Line(line.number, earlier.value):
        return line
    problem = earlier.problem or f"line {earlier.number} states another haematocrit of its study"
    return _Line(line.number, None, problem)


def _content(file: Path) -> bytes | str:
    """Return the bytes of a file, or why it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        return error.strerror or type(error).__name__


def _parsed(content: bytes | str) -> Haematocrits | str:
    """Return the content of a file, or why it cannot be used; a text is why it cannot be read."""
    try:
        return read_haematocrits(content) if isinstance(content, bytes) else content
    except ConfigurationError as error:
        return error.message


def _report(read: Haematocrits | str) -> None:
    """Log what is wrong with a file, once for each content."""
    if isinstance(read, str):
        _log.error("ecv.haematocrits cannot be used: %s", read)
        return
    for problem in read.problems[:_MOST_LOGGED]:
        _log.warning("ecv.haematocrits, %s", problem)
    if (rest := len(read.problems) - _MOST_LOGGED) > 0:
        _log.warning("ecv.haematocrits: %d further lines cannot be used", rest)
