"""Processing of complete series: from received files to the objects of their results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite

from inline.assembly.assembled import Assembled
from inline.assembly.examination import Examination
from inline.dicom.read import open_dicom
from inline.dicom.write.objects import write_objects
from inline.dicom.write.output import DicomSource
from inline.dicom.write.provenance import Provenance
from inline.dicom.write.source import DicomWriteError, SourceImages
from inline.mrd.header import MeasurementHeader
from inline.pipeline import Pipeline, SliceContext
from inline.serving.studies import Studies
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
        self._studies = Studies()

    def process(self, files: Sequence[Path]) -> Outcome:
        """Return the objects of the series that these files hold. A file that cannot be read is counted.

        Raises:
            OSError: files of the spool cannot be read.
        """
        opened = open_dicom(files, self._settings.assembly)
        objects: list[tuple[str, bytes]] = []
        slices = unused = 0
        problems = len(opened.problems)
        for examination in opened.examinations():
            sources = list(self._results(examination))
            slices += len(examination.series)
            unused += sum(examination.unused.values())
            problems += len(examination.problems) + len(examination.series) - len(sources)
            for _, members in groupby(sources, key=_series):
                written = write_objects(list(members), self._settings.dicom.outputs)
                objects += [(str(each.SOPInstanceUID), _encoded(each)) for each in written.objects]
                problems += len(written.problems)
                for problem in written.problems:
                    _log.error("%s", problem)
        return Outcome(tuple(objects), slices, unused + sum(opened.skipped.values()), problems)

    def _results(self, examination: Examination) -> Iterator[DicomSource]:
        """Yield the result of each slice with its source images, in the order of series and slices.

        Levels come from the positions of all slices of the study, those of earlier batches included.
        """
        provenance = Provenance.of(self._settings, self._pipeline.engine.name)
        ordered = sorted(examination.series, key=_order)
        headers = [_headers(examination.files.get(each.identity, ())) for each in ordered]
        study = self._studies.of(_measurement(next((each[0] for each in headers if each), Dataset())))
        places = [each.slice_place(examination.name) for each in ordered]
        for place in places:
            study.add(place)
        for each, place, datasets in zip(ordered, places, headers, strict=True):
            known = tuple(other for other in study.slices if other is not place)
            result = self._pipeline.process(each, SliceContext(study=(*known, place)))
            name = f"series {each.identity.series_index} slice {each.identity.slice_index} ({each.quantity})"
            _log.info("%s: flags=%s", name, ",".join(result.flags) or "-")
            try:
                yield DicomSource(result, SourceImages.of(datasets, result.geometry), provenance)
            except DicomWriteError as error:
                _log.error("%s is not written: %s", name, error)


def _order(series: Assembled) -> tuple[int, int]:
    return series.identity.series_index, series.identity.slice_index


def _headers(files: Sequence[Path]) -> list[Dataset]:
    return [dcmread(file, stop_before_pixels=True) for file in files]


def _measurement(dataset: Dataset) -> MeasurementHeader:
    return MeasurementHeader(
        study_uid=str(dataset.get("StudyInstanceUID", "")),
        frame_of_reference_uid=str(dataset.get("FrameOfReferenceUID", "")),
    )


def _series(source: DicomSource) -> str:
    return str(source.images.first.SeriesInstanceUID)


def _encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
