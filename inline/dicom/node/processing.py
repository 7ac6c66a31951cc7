"""Processing of complete series: from received files to the objects of their results."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from inline.assembly.assembled import Assembled
from inline.assembly.examination import AcquiredExamination
from inline.data.client_text import for_log
from inline.data.examination import EcvResult, HaematocritSource
from inline.data.results import SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.dicom.node.received import StudyBatch
from inline.dicom.node.store import SUFFIX
from inline.dicom.read import open_dicom
from inline.dicom.write.objects import encoded, write_examination
from inline.dicom.write.provenance import Provenance
from inline.examination.examine import examine
from inline.examination.haematocrits import HaematocritFile
from inline.pipeline import Pipeline, SliceContext
from inline.serving.result_line import log_result
from inline.serving.summary import slice_name
from inline.settings import Settings

_log = logging.getLogger(__name__)

_FILE: Final = re.compile(rf"^.*?{re.escape(SUFFIX)}:? ")


@dataclass(frozen=True, slots=True)
class ProcessedBatch:
    """Objects of a batch of series, and what became of its images.

    Attributes:
        objects: SOP Instance UID and file of each.
        results: of the slices.
        ecv: number of pairs of native and post-contrast slices.
        unused: number of images that are part of no series.
        problems: number of files and slices that could not be read or written.
        mapped: files with images of the slices.
        given: those of slices that an object was written of.
        lost: files that could not be read, or whose slice could not be written.
        reason: of the first problem, without text of the images; or empty.
    """

    objects: tuple[tuple[str, bytes], ...]
    results: tuple[SliceResult, ...]
    ecv: int
    unused: int
    problems: int
    mapped: frozenset[Path]
    given: frozenset[Path]
    lost: frozenset[Path]
    reason: str


class Processor:
    """Pipeline of the node; used by one thread."""

    def __init__(self, pipeline: Pipeline, settings: Settings, alive: Callable[[], None]) -> None:
        """Take the pipeline of these settings.

        Args:
            pipeline: of the settings.
            settings: of the program.
            alive: is called before each step that takes long.

        Raises:
            OSError: the weights or the reference ranges cannot be read.
        """
        self._pipeline, self._settings, self._alive = pipeline, settings, alive
        self._provenance = Provenance.of(settings, pipeline.engine.name)
        self._haematocrits = HaematocritFile(settings.ecv.haematocrits)
        self._haematocrits.announce()

    def process(self, batch: StudyBatch) -> ProcessedBatch:
        """Return the objects of the series of a batch. A file that cannot be read is counted.

        Kept series give no objects of their own. They are assembled with the new ones: levels come from the
        positions of all, and T1 slices of both are paired for ECV.

        Raises:
            OSError: files of the spool cannot be read.
        """
        new = frozenset(batch.files.values())
        opened = open_dicom([*new, *batch.kept], self._settings.assembly, batch.broken, self._alive)
        # Another engine follows one that fails.
        provenance = replace(self._provenance, engine=self._pipeline.engine.name)
        objects: list[tuple[str, bytes]] = []
        mapped: set[Path] = set()
        given: set[Path] = set()
        lost = set(opened.unread)
        made: list[SliceResult] = []
        pairs = unused = 0
        unread, unwritten = list(opened.problems), list[str]()
        for examination in opened.examinations():
            self._alive()
            fresh = {each for each, files in examination.files.items() if not new.isdisjoint(files)}
            chosen = _chosen(examination, fresh)
            results = self._results(examination, chosen)
            ecv = self._ecv(examination, results, fresh)
            written = write_examination(
                replace(examination, series=chosen),
                results,
                provenance,
                self._settings.dicom.outputs,
                ecv,
                known=[each.identity for each in chosen if each.identity not in fresh],
            )
            objects += [(str(each.SOPInstanceUID), encoded(each)) for each in written.objects]
            mapped.update(*(examination.files[each] for each in fresh))
            given.update(*(examination.files[each] for each in written.given))
            lost.update(examination.unread, *(examination.files[each] for each in written.failed))
            made += [each for each in results if each.identity in fresh]
            pairs += len(ecv)
            unused += sum(examination.unused.values())
            unread += examination.problems
            unwritten += written.problems
        foreign_text = self._settings.log.foreign_text
        for why, number in Counter(_reason(each, foreign_text=foreign_text) for each in unread).items():
            _log.warning("%d files could not be read: %s", number, why)
        for problem in unwritten:
            _log.error("%s", for_log(problem, foreign_text=foreign_text))
        unused += sum(opened.skipped.values())
        problems = [*unwritten, *unread]  # first what left a slice without a result
        first = _reason(problems[0]) if problems else ""
        return ProcessedBatch(
            tuple(objects), tuple(made), pairs, unused, len(problems),
            frozenset(mapped), frozenset(given), frozenset(lost), first,
        )  # fmt: skip

    def _ecv(
        self, examination: AcquiredExamination, results: Sequence[SliceResult], fresh: set[SeriesIdentity]
    ) -> list[EcvResult]:
        """Return the pairs that a new slice is part of. A slice without a partner may still get one."""
        settings = self._settings
        of_study = self._haematocrits.of(examination.identities, shared=examination.shared_study)
        found = examine(results, settings.ecv, settings.regions, self._pipeline.ranges, of_study=of_study).ecv
        return [
            _with_origin(each)
            for each in found
            if each.post is not None and not fresh.isdisjoint((each.native, each.post))
        ]

    def _results(self, examination: AcquiredExamination, chosen: Sequence[Assembled]) -> list[SliceResult]:
        """Return the results of some series. Levels come from the positions of all slices of the study."""
        places = {each.identity: each.slice_place(examination.name) for each in examination.series}
        results = []
        for each in chosen:
            self._alive()
            others = tuple(place for identity, place in places.items() if identity != each.identity)
            context = SliceContext(study=(*others, places[each.identity]))
            result = self._pipeline.process(each, context)
            log_result(_log, result)
            if result.error:
                name = slice_name(each.identity, each.quantity)
                error = for_log(result.error, foreign_text=self._settings.log.foreign_text)
                _log.warning("%s: no result: %s", name, error)
            results.append(result)
        return results


def _reason(problem: str, *, foreign_text: bool = False) -> str:
    """Return a problem for the log, without the file of the spool, whose name says nothing."""
    return _FILE.sub("", for_log(problem, foreign_text=foreign_text))


def _with_origin(found: EcvResult) -> EcvResult:
    """Return the result with a note where its haematocrit is that of the node, not of the patient."""
    if found.haematocrit is None or found.haematocrit.source is not HaematocritSource.GIVEN:
        return found
    note = (
        f"The haematocrit {found.haematocrit.value:g} is the setting ecv.haematocrit of this node, which "
        "holds for every patient. Without a value of this patient, ECV may be wrong."
    )
    return replace(found, notes=(*found.notes, note))


def _chosen(examination: AcquiredExamination, fresh: set[SeriesIdentity]) -> tuple[Assembled, ...]:
    """Return the new series and, if T1 is among them, the T1 of kept ones, whose partners they may be."""
    partners = any(each.identity in fresh and each.quantity is Quantity.T1 for each in examination.series)
    return tuple(
        each
        for each in examination.series
        if each.identity in fresh or (partners and each.quantity is Quantity.T1)
    )
