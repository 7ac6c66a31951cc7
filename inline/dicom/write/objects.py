"""All DICOM objects of the slices of a series, and of an examination."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from traceback import format_tb
from typing import Final, NamedTuple, TypeVar

from pydicom import Dataset, dcmread, dcmwrite

from inline.assembly.examination import AcquiredExamination
from inline.data.client_text import message
from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.results import SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.dicom.find import quiet, reason
from inline.dicom.write.capture import capture
from inline.dicom.write.ecv import EcvSource, ecv_capture, ecv_map, ecv_report
from inline.dicom.write.output import DicomSource, number_of
from inline.dicom.write.parametric_map import parametric_map
from inline.dicom.write.provenance import Provenance
from inline.dicom.write.report import report
from inline.dicom.write.segmentation import segmentation
from inline.dicom.write.source import DicomWriteError, SourceImages
from inline.emit.overlay import draw
from inline.settings import DicomOutput
from model.relaxometry.parametric_map import ParametricMap

_log = logging.getLogger(__name__)

_Source = TypeVar("_Source", DicomSource, EcvSource)
_Made = TypeVar("_Made")

_SCALE: Final = 3
"""Enlargement of the overlay in a capture."""


class Written(NamedTuple):
    """Objects of the slices of a series, and a sentence for each slice that none could be written of.

    Attributes:
        objects: of all slices.
        problems: a sentence for each object or slice that could not be written.
        given: slices that an object was written of.
        failed: slices of ``problems``, except those of ECV.
    """

    objects: list[Dataset]
    problems: list[str]
    given: frozenset[SeriesIdentity] = frozenset()
    failed: frozenset[SeriesIdentity] = frozenset()


def write_objects(sources: Sequence[DicomSource], outputs: Collection[DicomOutput]) -> Written:
    """Return the objects of the slices of one series: maps, segmentations, captures, one report.

    What a slice has no content for (no map, no contours) is left out; the report states why. An object that
    highdicom refuses is a problem, and the others are written.

    Args:
        sources: slices of one series.
        outputs: kinds to write.
    """
    objects: list[Dataset] = []
    problems: list[str] = []
    segmentations: dict[str, Dataset] = {}
    placed: list[DicomSource] = []
    given: list[DicomSource] = []
    for source in sources:
        made = _attempt(source.log_name, partial(_slice_objects, source, outputs, problems), problems)
        if made is None:
            continue
        placed.append(source)
        if made:
            given.append(source)
        if "segmentation" in made:
            segmentations[source.key] = made.pop("segmentation")
        objects += made.values()
    objects += segmentations.values()
    if placed and "report" in outputs:
        make = partial(report, segmentations=segmentations)
        reports, placed = _reports(make, placed, problems)
        objects += reports
        given += placed
    failed = {each.result.identity for each in sources} - {each.result.identity for each in placed}
    return Written(objects, problems, frozenset(each.result.identity for each in given), frozenset(failed))


def _slice_objects(
    source: DicomSource, outputs: Collection[DicomOutput], problems: list[str]
) -> dict[str, Dataset]:
    """Return map, segmentation and capture of a slice; errors as of :func:`_made`.

    Raises:
        DicomWriteError: the slice does not lie on its source images.
    """
    result = source.result
    if result.map is None:
        return {}
    source.images.check_place(result.geometry)
    makers: dict[str, Callable[[], Dataset]] = {
        "map": partial(parametric_map, source),
        "segmentation": partial(segmentation, source),
        "capture": partial(_capture, source, result.map),
    }
    if result.contours is None:
        del makers["segmentation"]
    return _made(source.log_name, {kind: makers[kind] for kind in makers if kind in outputs}, problems)


def _capture(source: DicomSource, made: ParametricMap) -> Dataset:
    result = source.result
    review = Flag.REVIEW in result.flags
    figure = draw(made.values_ms, result.quantity, result.contours, _SCALE, review=review)
    return capture(figure, source, title=f"{source.described} contours (myostream)")


def _made(name: str, makers: Mapping[str, Callable[[], Dataset]], problems: list[str]) -> dict[str, Dataset]:
    """Return the objects of a slice by kind; one that cannot be made is a problem, and the others are made.

    Raises:
        Exception: of highdicom and pydicom, of any kind, where none can be made.
    """
    made: dict[str, Dataset] = {}
    errors: dict[str, Exception] = {}
    for kind, make in makers.items():
        try:
            made[kind] = make()
        except Exception as error:  # of any kind, as in _attempt
            errors[kind] = error
    if errors and not made:
        raise next(iter(errors.values()))
    problems += [_unwritten(f"the {kind} of {name}", error) for kind, error in errors.items()]
    return made


def _reports(
    make: Callable[[Sequence[_Source]], Dataset], sources: Sequence[_Source], problems: list[str]
) -> tuple[list[Dataset], list[_Source]]:
    """Return the report of slices, and these; where one of them prevents it, that of each of the others."""
    try:
        return [make(sources)], list(sources)
    except Exception:  # of any kind, as in _attempt, which reports it
        alone = [
            _attempt(f"the report of {each.log_name}", partial(make, [each]), problems) for each in sources
        ]
        made = [(one, each) for one, each in zip(alone, sources, strict=True) if one is not None]
        return [one for one, _ in made], [each for _, each in made]


def _attempt(name: str, make: Callable[[], _Made], problems: list[str]) -> _Made | None:
    """Return what a function makes; where it raises an error, None, and a problem is added."""
    try:
        return make()
    except Exception as error:  # of source images that break the standard highdicom raises many kinds
        problems.append(_unwritten(name, error))
        return None


def _unwritten(name: str, error: Exception) -> str:
    """Return the sentence on what could not be written; messages of highdicom may quote the images."""
    if isinstance(error, DicomWriteError):
        return f"{name} is not written: {error}"
    # Without the message, which may quote the images.
    _log.debug("%s is not written:\n%s", name, "".join(format_tb(error.__traceback__)))
    return message(
        "{} is not written: no DICOM object can be made with its source images ({}: {})",
        name,
        type(error).__name__,
        reason(error),
    )


@quiet()
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
    sources, refused = dicom_sources(examination, results, provenance)
    by_series: dict[str, list[DicomSource]] = {}
    for source in sources:
        if source.result.identity in known:
            continue
        by_series.setdefault(source.series_uid, []).append(source)
    parts = [write_objects(members, outputs) for members in by_series.values()]
    parts.append(write_ecv(ecv, sources, outputs))
    return Written(
        [each for part in parts for each in part.objects],
        [*refused.values(), *(each for part in parts for each in part.problems)],
        frozenset().union(*(part.given for part in parts)),
        frozenset(refused).union(*(part.failed for part in parts)),
    )


def dicom_sources(
    examination: AcquiredExamination, results: Sequence[SliceResult], provenance: Provenance
) -> tuple[list[DicomSource], dict[SeriesIdentity, str]]:
    """Return the results of an examination with their source images, and a sentence for each slice without.

    Args:
        examination: read from DICOM files.
        results: of its series, in their order.
        provenance: of the results.

    Raises:
        OSError: a file of the examination cannot be read.
    """
    sources: list[DicomSource] = []
    keys: set[tuple[str, str]] = set()
    problems: dict[SeriesIdentity, str] = {}
    for series, result in zip(examination.series, results, strict=True):
        files = examination.files.get(series.identity, ())
        datasets = [dcmread(file, stop_before_pixels=True) for file in files]
        try:
            source = DicomSource(result, SourceImages.of(datasets, result.geometry), provenance)
            key = (source.series_uid, source.key)
            if key in keys:
                raise DicomWriteError("another result of the same images and time would be replaced by it")
        except Exception as error:  # of any kind, as in _attempt
            problems[series.identity] = _unwritten(f"{series.identity.name} {series.quantity}", error)
        else:
            keys.add(key)
            sources.append(source)
    return _counted(sources), problems


def _counted(sources: Sequence[DicomSource]) -> list[DicomSource]:
    """Return results with what tells them and their series from others of the study: numbers and names."""
    order = [(each.result.scanner_made, each.result.identity.time_stamp) for each in sources]
    places = [(each.series_uid, each.slice_index, each.quantity) for each in sources]
    alike = [(*place, made) for place, (made, _) in zip(places, order, strict=True)]
    series = {each.series_uid: number_of(each.images.first) for each in sources}
    with_number = Counter(series.values())
    return [
        replace(each, ordinal=ordinal, repetition=own, by_index=with_number[series[each.series_uid]] > 1)
        for each, ordinal, own in zip(sources, _ordinals(places, order), _ordinals(alike, order), strict=True)
    ]


def _ordinals(keys: Sequence[Hashable], order: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the number of each key, from 0, among those equal to it, in an order."""
    counts: Counter[Hashable] = Counter()
    made = [0] * len(keys)
    for index in sorted(range(len(keys)), key=order.__getitem__):
        made[index] = counts[keys[index]]
        counts[keys[index]] += 1
    return made


def write_ecv(
    results: Sequence[EcvResult], sources: Sequence[DicomSource], outputs: Collection[DicomOutput]
) -> Written:
    """Return map and capture of each ECV, and a report of those of each native series.

    What has no map (no partner, no blood) is in the report with its reason. What highdicom refuses is a
    problem, as in :func:`write_objects`.

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
    found: list[EcvSource] = []
    for result in results:
        native, post = known.get(result.native), known.get(result.post)
        if native is None or (post is None and result.post is not None):
            problems.append(f"ECV of {result.native.name} is not written: its source images are not known")
        else:
            found.append(EcvSource(result, native, post))
    placed: dict[str, list[EcvSource]] = {}
    pairs = [(*(one.series_uid for one in each.slices), each.slice_index) for each in found]
    ordinals = _ordinals(pairs, [tuple(one.ordinal for one in each.slices) for each in found])
    for each, ordinal in zip(found, ordinals, strict=True):
        source = replace(each, ordinal=ordinal)
        made = _attempt(source.log_name, partial(_ecv_objects, source, outputs, problems), problems)
        if made is not None:
            placed.setdefault(source.native.series_uid, []).append(source)
            objects += made.values()
    if "report" in outputs:
        for members in placed.values():
            objects += _reports(ecv_report, members, problems)[0]
    return Written(objects, problems)


def _ecv_objects(
    source: EcvSource, outputs: Collection[DicomOutput], problems: list[str]
) -> dict[str, Dataset]:
    """Return map and capture of an ECV; errors as of :func:`_slice_objects`."""
    if source.result.partition is None:
        return {}
    source.images.check_place(source.result.geometry)
    makers = {"map": partial(ecv_map, source), "capture": partial(ecv_capture, source, _SCALE)}
    return _made(source.log_name, {kind: makers[kind] for kind in makers if kind in outputs}, problems)


@quiet()
def encoded(dataset: Dataset) -> bytes:
    """Return an object as a DICOM file."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
