"""Reader of DICOM: examinations, whose images become series as those of a stream do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np

from inline.assembly.assembled import Assembled, Ready
from inline.assembly.assembler import SeriesAssembler
from inline.assembly.examination import Examination
from inline.assembly.geometry import Planes
from inline.assembly.recognition import Kind
from inline.data.errors import MyostreamError
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.data.series import Quantity, SeriesIdentity
from inline.dicom.find import Found, find, read_pixels
from inline.dicom.frame import Frame
from inline.dicom.vendors import PLACES, choose
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader, ImageType, Triple
from inline.settings import AssemblySettings

_LARGEST_COUNTER: Final = 65_535
MEMORY_BYTES: Final = 1 << 30
"""Bytes of the open images of an examination, and of its series that wait for their motion-corrected twin."""

_Time = tuple[Quantity, float] | None


@dataclass(frozen=True, slots=True)
class DicomFiles:
    """DICOM files whose headers are read. Their pixels are read examination by examination.

    Attributes:
        problems: a sentence for each file that cannot be read.
        skipped: number of files that are no MR images by what they are.
    """

    problems: tuple[str, ...]
    skipped: Mapping[str, int]
    _frames: tuple[Frame, ...] = field(repr=False)
    _settings: AssemblySettings

    def examinations(self) -> Iterator[Examination]:
        """Yield the examinations, one at a time: the images of one study in one frame of reference.

        Images without a study UID are taken together by their folder.
        """
        ordered = sorted(self._frames, key=_examination)
        for _, members in groupby(ordered, key=_examination):
            yield _assemble(list(members), self._settings)


def open_dicom(paths: Iterable[Path], settings: AssemblySettings | None = None) -> DicomFiles:
    """Read the headers of all DICOM images at some paths: files, folders, DICOMDIR.

    Args:
        paths: where to look.
        settings: how images become series; None for the defaults.

    Raises:
        DicomError: there is no file at a path.
        ImportError: pydicom is not installed.
    """
    found: Found = find(paths)
    return DicomFiles(
        tuple(found.problems), dict(found.skipped), tuple(found.frames), settings or AssemblySettings()
    )


def _examination(frame: Frame) -> tuple[str, str]:
    return frame.study or str(frame.file.parent), frame.reference


def _assemble(frames: list[Frame], settings: AssemblySettings) -> Examination:
    """Return the series of one examination."""
    header = MeasurementHeader(study_uid=frames[0].study, frame_of_reference_uid=frames[0].reference)
    memory = MemoryBudget(MEMORY_BYTES, MEMORY_BYTES, 1).connection()
    assembler = SeriesAssembler(header, settings, memory)
    found: list[Assembled] = []
    lacking: dict[int, list[str]] = {}
    files: dict[tuple[int, int], dict[Path, None]] = {}
    problems: list[str] = []
    for number, members in _numbered(frames).items():
        lacks = _gaps(members)
        for frame, counted, time in _counted(members, number):
            try:
                image = frame.image(counted, time)
                if _may_be_mapping(frame, time) and not isinstance(frame.recognised, str):
                    image = frame.image(counted, time, read_pixels(frame))
                    files.setdefault((number, counted.slice), {})[frame.file] = None
                found += assembler.add(image, 0.0)
            except MyostreamError as error:
                problems.append(str(error))
                lacks.append("an image could not be read")
        found += assembler.complete()
        if lacks:
            lacking[number] = lacks
    found += assembler.finish()
    series = tuple(_flagged(each, lacking.get(each.identity.series_index, [])) for each in found)
    account = assembler.account()
    return Examination(
        name=str(_common(each.file for each in frames)),
        series=series,
        images=account.images + len(problems),
        unused=account.unused,
        problems=tuple(problems),
        files={each.identity: _files(each.identity, files) for each in series},
    )


def _files(
    identity: SeriesIdentity, files: Mapping[tuple[int, int], Mapping[Path, None]]
) -> tuple[Path, ...]:
    return tuple(files.get((identity.series_index, identity.slice_index), ()))


def _may_be_mapping(frame: Frame, time: _Time) -> bool:
    """Return whether the assembly may use an image: only then its pixels are read."""
    if frame.place.image_type in (ImageType.PHASE, ImageType.IMAGINARY, ImageType.RGB):
        return False
    return frame.quantity is not None or time is not None


def _numbered(frames: Sequence[Frame]) -> dict[int, list[Frame]]:
    """Return the frames of each series by a number that MRD can hold, in the order of acquisition.

    It is the series' own number, where that is between 0 and 65535 and no other series has it.
    """
    ordered = sorted(frames, key=lambda each: each.series)
    series = [list(members) for _, members in groupby(ordered, key=lambda each: each.series)]
    series.sort(key=lambda members: (members[0].series_number or 0, _earliest(members), members[0].series))
    stated = [members[0].series_number for members in series]
    own = {n for n in stated if n is not None and 0 <= n <= _LARGEST_COUNTER}
    taken: dict[int, list[Frame]] = {}
    free = iter(number for number in range(1, _LARGEST_COUNTER + 1) if number not in own)
    for members, number in zip(series, stated, strict=True):
        taken[number if number in own and number not in taken else next(free)] = members
    return taken


def _earliest(frames: Sequence[Frame]) -> float:
    return min((each.moment for each in frames if not math.isnan(each.moment)), default=0.0)


def _counted(frames: Sequence[Frame], series: int) -> Iterator[tuple[Frame, ImageHeader, _Time]]:
    """Yield the frames of a series with their counters and times, in the order of acquisition.

    Slices are counted along their normal, from the end that was acquired first. Within a slice, ``set``
    counts the images.
    """
    slices = _slices(frames)
    ends = [min((_order(f) for f, s in zip(frames, slices, strict=True) if s == end), default=())
            for end in (0, max(slices))]  # fmt: skip
    backwards = ends[1] < ends[0]
    if backwards:
        slices = [max(slices) - each for each in slices]
    ordered = sorted(zip(frames, slices, strict=True), key=lambda pair: (pair[1], _order(pair[0])))
    for place, pairs in groupby(ordered, key=lambda pair: pair[1]):
        members = [frame for frame, _ in pairs]
        times = _times(members)
        for number, (frame, time) in enumerate(zip(members, times, strict=True)):
            header = replace(
                frame.place,
                slice=min(place, _LARGEST_COUNTER),
                set=min(number, _LARGEST_COUNTER),
                image_index=min(number + 1, _LARGEST_COUNTER),
                image_series_index=series,
                slice_dir=_reversed(frame.place.slice_dir) if backwards else frame.place.slice_dir,
            )
            yield frame, header, time


def _reversed(direction: Triple) -> Triple:
    x, y, z = direction
    return -x, -y, -z


def _order(frame: Frame) -> tuple[float, int, int, str]:
    moment = 0.0 if math.isnan(frame.moment) else frame.moment
    return moment, frame.number or 0, frame.index, str(frame.file)


def _slices(frames: Sequence[Frame]) -> list[int]:
    """Return the slice of each frame of a series, counted along the normal of the first one."""
    planes = Planes()
    numbers = [planes.number(frame.place) for frame in frames]
    normal = np.array(frames[0].place.slice_dir)
    along: dict[tuple[int, float], float] = {}
    keys = []
    for frame, number in zip(frames, numbers, strict=True):
        position = np.array(frame.place.position)
        # Where no position is stated, the slice location alone distinguishes slices.
        known = number >= 0
        location = 0.0 if known or math.isnan(frame.location) else round(frame.location, 1)
        keys.append((number, location))
        along.setdefault(keys[-1], float(position @ normal) if known else location)
    order = {key: index for index, key in enumerate(sorted(along, key=lambda key: (along[key], key)))}
    return [order[key] for key in keys]


def _times(frames: Sequence[Frame]) -> list[_Time]:
    """Return quantity and time of each image of one slice, from the place that times them."""
    chosen: dict[Quantity, int] = {}
    weighted = [frame for frame in frames if frame.place.image_type is not ImageType.PHASE]
    named = {frame.quantity for frame in weighted} - {None}
    for quantity in Quantity:
        own = [each.times for each in weighted if each.quantity in (quantity, None)]
        place = choose(own, quantity, named=quantity in named)
        if place is not None:
            chosen[quantity] = place
    found: list[_Time] = []
    for frame in frames:
        kind = None if isinstance(frame.recognised, str) else frame.recognised.kind
        wanted = [frame.quantity] if frame.quantity is not None else [Quantity.T2, Quantity.T1]
        stated = [
            (quantity, time)
            for quantity in wanted
            if quantity in chosen and (time := frame.times[chosen[quantity]]) is not None
            if kind is not Kind.MAP
            if (frame.quantity is quantity and kind is Kind.WEIGHTED)
            or not PLACES[chosen[quantity]].named_only
        ]
        found.append(next(iter(stated), None))
    return found


def _gaps(frames: Sequence[Frame]) -> list[str]:
    """Return a sentence where the instance numbers of a series have gaps: images were not sent or copied."""
    numbers = [frame.number for frame in frames if frame.number is not None]
    if len(numbers) != len(frames) or len(set(numbers)) != len(numbers) or not numbers:
        return []
    gone = max(numbers) - min(numbers) + 1 - len(numbers)
    if not 0 < gone <= len(numbers):
        return []
    return [f"the instance numbers {min(numbers)} to {max(numbers)} of the series lack {gone}"]


def _flagged(series: Assembled, lacks: Sequence[str]) -> Assembled:
    """Return a series with what its DICOM series lacks; a map stands for itself."""
    alone = isinstance(series, Ready) and series.images == 1
    if not lacks or alone or Flag.MISSING_IMAGES in series.flags:
        return series
    note = f"Images are missing: {'; '.join(dict.fromkeys(lacks))}."
    return replace(series, flags=(*series.flags, Flag.MISSING_IMAGES), notes=(*series.notes, note))


def _common(files: Iterable[Path]) -> Path:
    """Return the lowest folder above all of some files; of one file, that file."""
    distinct = list(dict.fromkeys(files))
    if len(distinct) == 1:
        return distinct[0]
    shared = distinct[0].parent
    while not all(file.is_relative_to(shared) for file in distinct):
        shared = shared.parent
    return shared
