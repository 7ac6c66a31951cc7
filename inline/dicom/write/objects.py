"""All DICOM objects of the slices of a series, and of an examination."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from typing import Final, NamedTuple

from pydicom import Dataset, dcmread, dcmwrite

from inline.assembly.examination import AcquiredExamination
from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.results import SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.dicom.write.capture import capture
from inline.dicom.write.ecv import EcvSource, ecv_capture, ecv_map, ecv_report
from inline.dicom.write.output import DicomSource
from inline.dicom.write.parametric_map import parametric_map
from inline.dicom.write.provenance import Provenance
from inline.dicom.write.report import report
from inline.dicom.write.segmentation import segmentation
from inline.dicom.write.source import DicomWriteError, SourceImages
from inline.emit.overlay import draw
from inline.settings import DicomOutput

_SCALE: Final = 3
"""Enlargement of the overlay in a capture."""


class Written(NamedTuple):
    """Objects of the slices of a series, and a sentence for each slice that none could be written of."""

    objects: list[Dataset]
    problems: list[str]


def write_objects(sources: Sequence[DicomSource], outputs: Collection[DicomOutput]) -> Written:
    """Return the objects of the slices of one series: maps, segmentations, captures, one report.

    What a slice has no content for (no map, no contours) is left out; the report states why.

    Args:
        sources: slices of one series.
        outputs: kinds to write.
    """
    objects: list[Dataset] = []
    problems: list[str] = []
    segmentations: dict[str, Dataset] = {}
    placed: list[DicomSource] = []
    for source in sources:
        try:
            source.images.check_place(source.result.geometry)
        except DicomWriteError as error:
            problems.append(f"{source.name} is not written: {error}")
            continue
        placed.append(source)
        result = source.result
        if result.map is None:
            continue
        if "map" in outputs:
            objects.append(parametric_map(source))
        if "segmentation" in outputs and result.contours is not None:
            segmentations[source.key] = segmentation(source)
        if "capture" in outputs:
            review = Flag.REVIEW in result.flags
            figure = draw(result.map.values_ms, result.quantity, result.contours, _SCALE, review=review)
            objects.append(capture(figure, source, title=f"{result.quantity} contours (myostream)"))
    objects += segmentations.values()
    if placed and "report" in outputs:
        objects.append(report(placed, segmentations))
    return Written(objects, problems)


def write_examination(
    examination: AcquiredExamination,
    results: Sequence[SliceResult],
    provenance: Provenance,
    outputs: Collection[DicomOutput],
    ecv: Sequence[EcvResult] = (),
    *,
    known: Collection[SeriesIdentity] = (),
) -> Written:
    """Return the objects of an examination, in the order of its source series, and then those of ECV.

    Args:
        examination: read from DICOM files.
        results: of its series, in their order.
        provenance: of the results.
        outputs: kinds to write.
        ecv: of its slice positions.
        known: slices whose objects were written before: they are sources of ECV alone.

    Raises:
        OSError: a file of the examination cannot be read.
    """
    sources, problems = dicom_sources(examination, results, provenance)
    by_series: dict[str, list[DicomSource]] = {}
    for source in sources:
        if source.result.identity in known:
            continue
        by_series.setdefault(str(source.images.first.SeriesInstanceUID), []).append(source)
    objects: list[Dataset] = []
    for members in by_series.values():
        written = write_objects(members, outputs)
        objects += written.objects
        problems += written.problems
    written = write_ecv(ecv, sources, outputs)
    return Written([*objects, *written.objects], [*problems, *written.problems])


def dicom_sources(
    examination: AcquiredExamination, results: Sequence[SliceResult], provenance: Provenance
) -> tuple[list[DicomSource], list[str]]:
    """Return the results of an examination with their source images, and a sentence for each without.

    Args:
        examination: read from DICOM files.
        results: of its series, in their order.
        provenance: of the results.

    Raises:
        OSError: a file of the examination cannot be read.
    """
    sources: list[DicomSource] = []
    keys: set[tuple[str, str]] = set()
    problems: list[str] = []
    for series, result in zip(examination.series, results, strict=True):
        files = examination.files.get(series.identity, ())
        datasets = [dcmread(file, stop_before_pixels=True) for file in files]
        try:
            source = DicomSource(result, SourceImages.of(datasets, result.geometry), provenance)
            key = (str(source.images.first.SeriesInstanceUID), source.key)
            if key in keys:
                raise DicomWriteError("another result of the same images and time would be replaced by it")
        except DicomWriteError as error:
            identity = series.identity
            name = f"series {identity.series_index} slice {identity.slice_index} {series.quantity}"
            problems.append(f"{name} is not written: {error}")
        else:
            keys.add(key)
            sources.append(source)
    return sources, problems


def write_ecv(
    results: Sequence[EcvResult], sources: Sequence[DicomSource], outputs: Collection[DicomOutput]
) -> Written:
    """Return map and capture of each ECV, and a report of those of each native series.

    What has no map (no partner, no blood) is in the report with its reason.

    Args:
        results: of slice positions.
        sources: T1 slices of the study, and any others.
        outputs: kinds to write.
    """
    known: dict[SeriesIdentity | None, DicomSource] = {
        each.result.identity: each for each in sources if each.result.quantity is Quantity.T1
    }
    objects: list[Dataset] = []
    problems: list[str] = []
    placed: dict[str, list[EcvSource]] = {}
    for result in results:
        native, post = known.get(result.native), known.get(result.post)
        name = f"ECV of series {result.native.series_index} slice {result.native.slice_index}"
        if native is None or (post is None and result.post is not None):
            problems.append(f"{name} is not written: its source images are not known")
            continue
        try:
            native.images.check_place(result.geometry)
        except DicomWriteError as error:
            problems.append(f"{name} is not written: {error}")
            continue
        source = EcvSource(result, native, post)
        placed.setdefault(str(native.images.first.SeriesInstanceUID), []).append(source)
        if result.partition is None:
            continue
        if "map" in outputs:
            objects.append(ecv_map(source))
        if "capture" in outputs:
            objects.append(ecv_capture(source, _SCALE))
    if "report" in outputs:
        objects += map(ecv_report, placed.values())
    return Written(objects, problems)


def encoded(dataset: Dataset) -> bytes:
    """Return an object as a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
