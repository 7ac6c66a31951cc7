"""Task of a cohort: one examination from its path to its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inline import process, read_mrd
from inline.assembly.assembled import Assembled
from inline.cohort.discover import ExaminationPath
from inline.cohort.provenance import Provenance
from inline.cohort.store import Document, Store, failed, failure_of, heading
from inline.data.errors import MyostreamError
from inline.emit.record import record
from inline.pipeline import Pipeline
from inline.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a task, small enough for any number of them.

    Attributes:
        key: of the examination.
        slices: number of results.
        failure: why the examination is not complete; empty for a complete one.
    """

    key: str
    slices: int
    failure: str


@dataclass(frozen=True, slots=True)
class Task:
    """What every task of a run has in common.

    Attributes:
        settings: of the program.
        provenance: of the results.
        out: folder of results.
    """

    settings: Settings
    provenance: Provenance
    out: Path

    def run(self, examination: ExaminationPath, pipeline: Pipeline) -> Outcome:
        """Process an examination, write its file and return the outcome. Raises no ``Exception``.

        The file depends on the images, the settings, the weights and the engine alone: it holds no times.
        """
        try:
            document = self._process(examination, pipeline)
        except MyostreamError as error:
            document = failed(examination, self.provenance, str(error))
        except Exception as error:  # one examination must not end the run
            document = failed(examination, self.provenance, f"{type(error).__name__}: {error}")
        failure = failure_of(document)
        try:
            Store(self.out).write(examination, document)
        except MyostreamError as error:
            failure = str(error)
        return Outcome(examination.key, len(document["slices"]), failure)

    def _process(self, examination: ExaminationPath, pipeline: Pipeline) -> Document:
        studies, problems = _read(examination, self.settings)
        slices = [_slice(series, study, pipeline) for study in studies for series in study]
        return {
            **heading(examination, self.provenance),
            "engine": pipeline.engine.name,
            "error": "",
            "problems": problems,
            "slices": slices,
        }


def _read(examination: ExaminationPath, settings: Settings) -> tuple[list[Sequence[Assembled]], list[str]]:
    """Return the series of an examination by frame of reference, and what could not be read."""
    assert examination.file is not None
    return [read_mrd(examination.file, settings=settings)], []


def _slice(series: Assembled, study: Sequence[Assembled], pipeline: Pipeline) -> dict[str, Any]:
    """Return the record of a slice without its times, which differ from run to run."""
    found = record(process(series, study=study, pipeline=pipeline))
    del found["times_ms"]
    return found
