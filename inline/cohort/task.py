"""Task of a cohort: one examination from its path to its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inline.assembly.examination import AcquiredExamination
from inline.cohort.discover import ExaminationPath, study_files
from inline.cohort.haematocrits import with_lines
from inline.cohort.provenance import CohortProvenance
from inline.cohort.store import Document, Store, document, failure_of
from inline.data.errors import MyostreamError
from inline.dicom.read import open_dicom
from inline.emit.record import Record
from inline.examination.haematocrits import Haematocrits, haematocrits_now
from inline.offline.mrd import read_mrd
from inline.offline.process import process_examinations
from inline.pipeline import Pipeline
from inline.settings import AssemblySettings, Settings


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """Outcome of a task, small enough for any number of them.

    Attributes:
        key: of the examination.
        slices: number of results.
        failure: why the examination is not complete; empty for a complete one.
        source: digest of its files and of its haematocrit, as the worker has used them; else empty.
    """

    key: str
    slices: int
    failure: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class CohortTask:
    """Common part of all tasks of a run.

    Attributes:
        settings: of the program.
        provenance: of the results.
        out: folder of results.
    """

    settings: Settings
    provenance: CohortProvenance
    out: Path

    def run(self, examination: ExaminationPath, pipeline: Pipeline) -> TaskOutcome:
        """Process an examination, write its file and return the outcome. Raises no ``Exception``.

        The file depends on the images, the settings, the weights, the engine and the haematocrit alone: it
        holds no times.

        Args:
            examination: whose source is that of its images alone.
            pipeline: of the worker.
        """
        try:
            # Read once: the file of the site may change at any time, and the source states what was used.
            haematocrits = haematocrits_now(self.settings.ecv.haematocrits)
            (examination,) = with_lines([examination], haematocrits)
            made = self._process(examination, pipeline, haematocrits)
        except MyostreamError as error:
            made = document(examination, self.provenance, error=str(error))
        except Exception as error:  # one examination must not end the run
            made = document(examination, self.provenance, error=f"{type(error).__name__}: {error}")
        failure = failure_of(made)
        try:
            Store(self.out).write(examination, made)
        except MyostreamError as error:
            failure = str(error)
        return TaskOutcome(examination.key, len(made["slices"]), failure, examination.source)

    def _process(
        self, examination: ExaminationPath, pipeline: Pipeline, haematocrits: Haematocrits | None
    ) -> Document:
        parts, problems, unused = _read(examination, self.settings.assembly)
        if haematocrits is not None and haematocrits.unusable:  # T1 and T2 do not depend on it
            problems.append(f"ecv.haematocrits cannot be used: {haematocrits.unusable}")
        slices, ecv, notes, images, count = list[Record](), list[Record](), list[str](), 0, 0
        for processed in process_examinations(parts, pipeline, self.settings, examination.name, haematocrits):
            part, count = processed.examination, processed.number
            slices += (_of_part(count, each) for each in processed.records)
            ecv += (_of_part(count, each) for each in processed.ecv_records)
            problems += part.problems
            notes += part.notes
            images += part.images
            unused.update(part.unused)
        if count > 1:
            under = "under one study UID" if examination.study else "in one folder, without a study UID"
            notes.append(f"images of {count} patients or frames of reference {under}: parts 1 to {count}")
        return document(
            examination,
            self.provenance,
            engine=pipeline.engine.name,
            problems=problems,
            notes=notes,
            images=images,
            unused=dict(unused),
            slices=slices,
            ecv=ecv,
        )


def _read(
    examination: ExaminationPath, settings: AssemblySettings
) -> tuple[Iterator[AcquiredExamination], list[str], Counter[str]]:
    """Return the series by frame of reference, what cannot be read, and the number of other DICOM objects."""
    if examination.file is not None:
        return iter([read_mrd(examination.file, settings)]), [], Counter()
    opened = open_dicom(study_files(examination), settings)
    return opened.examinations(), list(opened.problems), Counter(opened.skipped)


def _of_part(number: int, record: Record) -> Record:
    """Return a record with its part of the examination, without its times, which differ from run to run."""
    return {"part": number, **{name: value for name, value in record.items() if name != "times_ms"}}
