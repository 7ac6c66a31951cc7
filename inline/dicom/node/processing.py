"""Processing of complete series: from received files to the objects of their results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset, dcmread

from inline.assembly.examination import AcquiredExamination
from inline.data.examination import EcvResult
from inline.data.results import SliceResult
from inline.dicom.read import open_dicom
from inline.dicom.write.objects import encoded, write_examination
from inline.dicom.write.provenance import Provenance
from inline.examination.examine import examine
from inline.mrd.header import MeasurementHeader
from inline.pipeline import Pipeline, SliceContext
from inline.serving.studies import Studies
from inline.serving.summary import slice_name
from inline.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Objects of a batch of series, and what became of its images.

    Attributes:
        objects: SOP Instance UID and file of each.
        slices: number of slices with a result.
        unused: number of images that are part of no series.
        problems: number of images and slices that could not be read or written.
    """

    objects: tuple[tuple[str, bytes], ...]
    slices: int
    unused: int
    problems: int


class Processor:
    """Pipeline of the node with the studies that it has seen; used by one thread."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        """Take the pipeline of these settings.

        Raises:
            OSError: the weights cannot be read.
        """
        self._pipeline, self._settings = pipeline, settings
        self._provenance = Provenance.of(settings, pipeline.engine.name)
        self._studies = Studies()

    def process(self, files: Sequence[Path]) -> Outcome:
        """Return the objects of the series that these files hold. A file that cannot be read is counted.

        Raises:
            OSError: files of the spool cannot be read.
        """
        opened = open_dicom(files, self._settings.assembly)
        # Another engine follows one that fails.
        provenance = replace(self._provenance, engine=self._pipeline.engine.name)
        objects: list[tuple[str, bytes]] = []
        slices = unused = 0
        problems = len(opened.problems)
        for examination in opened.examinations():
            results = self._results(examination)
            # A partner may still come: only pairs are written.
            ecv = [each for each in self._ecv(results) if each.post is not None]
            written = write_examination(examination, results, provenance, self._settings.dicom.outputs, ecv)
            objects += [(str(each.SOPInstanceUID), encoded(each)) for each in written.objects]
            slices += len(results)
            unused += sum(examination.unused.values())
            problems += len(examination.problems) + len(written.problems)
            for problem in written.problems:
                _log.error("%s", problem)
        return Outcome(tuple(objects), slices, unused + sum(opened.skipped.values()), problems)

    def _ecv(self, results: Sequence[SliceResult]) -> tuple[EcvResult, ...]:
        settings = self._settings
        return examine(results, settings.ecv, settings.regions, self._pipeline.ranges).ecv

    def _results(self, examination: AcquiredExamination) -> list[SliceResult]:
        """Return the result of each series of an examination, in their order.

        Levels come from the positions of all slices of the study, those of earlier batches included.
        """
        study = self._studies.of(_measurement(examination))
        places = [each.slice_place(examination.name) for each in examination.series]
        for place in places:
            study.add(place)
        results = []
        for each, place in zip(examination.series, places, strict=True):
            others = tuple(other for other in study.slices if other is not place)
            result = self._pipeline.process(each, SliceContext(study=(*others, place)))
            _log.info("%s: flags=%s", slice_name(each.identity, each.quantity), ",".join(result.flags) or "-")
            results.append(result)
        return results


def _measurement(examination: AcquiredExamination) -> MeasurementHeader:
    """Return the UIDs of study and frame of reference, from the first file that made a series."""
    file = next((file for files in examination.files.values() for file in files), None)
    names = ["StudyInstanceUID", "FrameOfReferenceUID"]
    dataset = Dataset() if file is None else dcmread(file, stop_before_pixels=True, specific_tags=[*names])
    study, reference = (str(dataset.get(name) or "") for name in names)
    return MeasurementHeader(study_uid=study, frame_of_reference_uid=reference)
