"""Store of a cohort: one JSON file an examination, one table as Parquet and CSV, one list of failures.

All files have mode 0600 and are written beside their place and renamed. The name of an examination's file
depends on the examination alone: a second run of a task replaces the file of the first with the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from inline.cohort.discover import ExaminationPath
from inline.cohort.provenance import CohortProvenance
from inline.cohort.table import open_table
from inline.data.errors import CohortError
from inline.data.flags import Flag
from inline.emit.record import Record
from inline.settings import Settings
from model.output import check_folder, write_json

SCHEMA: Final = "myostream.examination/1.2"
"""Version of an examination's file; the minor version counts additions of fields."""
Document = dict[str, Any]
"""Content of an examination's file."""
_FIELDS: Final = {"engine", "error", "problems", "unused", "slices", "ecv"}
"""Fields of a document that follow its heading."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Examination that is not complete, or a folder or file that discovery could not read.

    Attributes:
        examination: its name; empty for a folder or file, which the reason names.
        study: study UID of DICOM images, or empty.
        file: its file in the folder ``examinations``, with what there is of its results; or empty.
        reason: one or more sentences.
    """

    examination: str
    study: str
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class CohortSummary:
    """Counts of a cohort.

    Attributes:
        examinations: in all.
        without_series: of these, complete ones that hold no mapping series.
        slices: results.
        without_values: of these, those without values.
        ecv: slice positions with ECV or a partition coefficient.
        unused: number of images that are part of no result, by the reason.
        engines: number of results by the engine that made them.
        failures: what is not complete.
    """

    examinations: int
    without_series: int
    slices: int
    without_values: int
    ecv: int
    unused: dict[str, int]
    engines: dict[str, int]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """Folder of results. Holds no state: every worker makes its own.

    Attributes:
        folder: of all files.
    """

    folder: Path

    @property
    def table(self) -> Path:
        """Parquet table: one row a region of each slice, and of each ECV."""
        return self.folder / "values.parquet"

    @property
    def spreadsheet(self) -> Path:
        """The same table as CSV."""
        return self.folder / "values.csv"

    @property
    def failures(self) -> Path:
        """JSON list of what is not complete (:class:`Failure`)."""
        return self.folder / "failures.json"

    @property
    def _run(self) -> Path:
        """JSON object: root, program, settings and weights of the last run."""
        return self.folder / "run.json"

    def begin(self, root: Path, provenance: CohortProvenance, settings: Settings) -> None:
        """Make the folders, check that they can be written, and state what the run depends on.

        Raises:
            OutputError: they cannot be written.
            CohortError: they hold the results of another root.
        """
        check_folder(self.folder)
        check_folder(self.folder / "examinations")
        stated = _read_json(self._run)
        earlier = stated.get("root") if isinstance(stated, dict) else None
        if earlier not in (None, str(root)):
            raise CohortError(
                f"{self.folder} holds the results of {earlier}; give another folder for those of {root}, or "
                f"delete {self._run} where the examinations have only moved"
            )
        content = {"root": str(root), **asdict(provenance), "values": settings.model_dump(mode="json")}
        write_json(self._run, content, private=True)

    def file(self, examination: ExaminationPath) -> Path:
        """Return the file of an examination."""
        return self.folder / "examinations" / f"{examination.key}.json"

    def write(self, examination: ExaminationPath, content: Document) -> None:
        """Write the file of an examination.

        Raises:
            OutputError: it cannot be written.
        """
        write_json(self.file(examination), content, private=True)

    def read(self, examination: ExaminationPath) -> Document | None:
        """Return the content of an examination's file; None without one that can be read."""
        content = _read_json(self.file(examination))
        whole = isinstance(content, dict) and content.get("schema") == SCHEMA and content.keys() >= _FIELDS
        return content if whole else None

    def done(self, examination: ExaminationPath, provenance: CohortProvenance) -> bool:
        """Return whether an examination is complete: of the same files, program, settings and weights."""
        stored = self.read(examination)
        if stored is None:
            return False
        # What is not complete is tried again: memory, disk or a file may be better now.
        return _origin(stored) == heading(examination, provenance) and not failure_of(stored)

    def finish(
        self,
        examinations: Sequence[ExaminationPath],
        provenance: CohortProvenance,
        problems: Sequence[str] = (),
        reasons: Mapping[str, str] | None = None,
    ) -> CohortSummary:
        """Write the table and the list of failures from the examinations' files.

        Args:
            examinations: of the cohort, in the order of the table.
            provenance: of this run; the file of an examination with another one counts as missing.
            problems: a sentence for each folder or file that discovery could not read.
            reasons: why an examination is not complete, by its key: of this run, in which a file may not have
                been written.

        Raises:
            OutputError: a file cannot be written.
            ImportError: pyarrow is not installed.
        """
        failures = [Failure("", "", "", each) for each in problems]
        engines, unused = Counter[str](), Counter[str]()
        slices = without_values = without_series = ecv = 0
        with open_table(self.table, self.spreadsheet) as table:
            for examination in examinations:
                stored = self.read(examination)
                reason = (reasons or {}).get(examination.key, "")
                if stored is None or _origin(stored) != heading(examination, provenance):
                    stored = document(examination, provenance, error=reason or "no result was stored")
                file, found = self.file(examination).name, stored["slices"]
                if reason := reason or failure_of(stored):
                    failures.append(Failure(examination.name, examination.study, file, reason))
                engines[stored["engine"]] += len(found)
                unused.update(stored["unused"])
                slices += len(found)
                without_values += sum(not _has(each, "median") for each in found)
                without_series += not found and not stored["error"]
                ecv += sum(_has(each, "partition_coefficient") for each in stored["ecv"])
                table.add(stored, file)
        write_json(self.failures, [asdict(each) for each in failures], private=True)
        made_by = {name: number for name, number in sorted(engines.items()) if number}
        return CohortSummary(
            examinations=len(examinations),
            without_series=without_series,
            slices=slices,
            without_values=without_values,
            ecv=ecv,
            unused=dict(unused.most_common()),
            engines=made_by,
            failures=tuple(failures),
        )


def heading(examination: ExaminationPath, provenance: CohortProvenance) -> Document:
    """Return the first fields of a document: which examination, and what its results depend on."""
    return {
        "schema": SCHEMA,
        "examination": examination.name,
        "study": examination.study,
        "source": examination.source,
        **asdict(provenance),
    }


def document(examination: ExaminationPath, provenance: CohortProvenance, **found: Any) -> Document:
    """Return the document of an examination.

    Args:
        examination: that was processed.
        provenance: of its results.
        found: fields after the heading; an examination without result has an ``error`` alone.
    """
    return {
        **heading(examination, provenance),
        "engine": "",
        "error": "",
        "problems": [],
        "notes": [],
        "images": 0,
        "unused": {},
        "slices": [],
        "ecv": [],
        **found,
    }


def failure_of(content: Document) -> str:
    """Return why an examination is not complete; empty for a complete one.

    A slice without contours, or of a series that cannot be fitted, is complete: its flags and its error are
    findings about its images. A slice whose processing raised an error is not.
    """
    if content["error"]:
        return str(content["error"])
    results = (*content["slices"], *content["ecv"])
    raised = [each["error"] for each in results if Flag.PROCESSING_ERROR in each["flags"]]
    return "; ".join(map(str, (*content["problems"], *raised)))


def _origin(content: Document) -> Document:
    names = ("schema", "examination", "study", "source", "version", "settings", "weights")
    return {name: content.get(name) for name in names}


def _has(record: Record, value: str) -> bool:
    """Return whether a region has a value: contours may hold no pixel with one."""
    return any(each[value] is not None for each in record["regions"])


def _read_json(file: Path) -> Any:
    """Return the content of a JSON file; None without one that can be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
