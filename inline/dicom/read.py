"""Reader of DICOM: examinations, whose images become series as those of a stream do."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from inline.assembly.assembled import Assembled, Ready
from inline.assembly.assembler import SeriesAssembler
from inline.assembly.examination import AcquiredExamination
from inline.assembly.group import SHORTEST
from inline.assembly.recognition import ImageKind, Recognised
from inline.data.errors import DicomError, MyostreamError
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.data.series import Quantity, SeriesIdentity
from inline.dicom.find import Found, find, read_measurement, read_pixels
from inline.dicom.frame import Frame
from inline.dicom.missing import SliceAcquisition, lacking, shorter
from inline.dicom.order import Counted, number_series, number_slices, on_one_day, with_counters
from inline.elements.vendors import echo_times_note
from inline.mrd.header import Identities, MeasurementHeader, StudyKey, identity, merged
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

MEMORY_BYTES: Final = 1 << 30
"""Bytes of the open images of an examination, and of its series that wait for their motion-corrected twin."""
_TORN: Final = (
    "The images of the series state several frames of reference (Frame of Reference UID), or some none, as "
    "where an anonymiser replaces UIDs image by image: one was taken for all."
)


@dataclass(frozen=True, slots=True)
class DicomFiles:
    """DICOM files whose headers are read. Their pixels are read examination by examination.

    Attributes:
        problems: a sentence for each file and folder that cannot be read.
        unread: the files among them.
        skipped: number of files that are no MR images by what they are.
    """

    problems: tuple[str, ...]
    unread: frozenset[Path]
    skipped: Mapping[str, int]
    _frames: tuple[Frame, ...] = field(repr=False)
    _settings: AssemblySettings
    _broken: Collection[str]
    _alive: Callable[[], None] = field(repr=False)

    def studies(self) -> set[StudyKey]:
        """Return study UID and patient ID of all images."""
        stated = {(each.study, each.of_study.patient_id) for each in self._frames}
        made = (MeasurementHeader(study_uid=uid, patient_id=identity("patient_id", of)) for uid, of in stated)
        return {each.study_key for each in made}

    def examinations(self) -> Iterator[AcquiredExamination]:
        """Yield the examinations, one at a time: the images of one study and patient in one frame of
        reference.

        Images without a study UID are taken together by their folder.
        """
        frames = _with_patients(self._frames)
        patients = Counter(study for study, _ in {(each.study, each.patient) for each in frames})
        by_study = groupby(sorted(frames, key=_study), key=_study)
        dated = [frame for _, members in by_study for frame in _in_one_frame(on_one_day(list(members)))]
        ordered = sorted(dated, key=_examination)
        for _, group in groupby(ordered, key=_examination):
            members = list(group)
            made = _assemble(members, self._settings, self._broken, self._alive)
            yield replace(made, shared_study=patients[members[0].study] > 1)


def open_dicom(
    paths: Iterable[Path],
    settings: AssemblySettings | None = None,
    broken: Collection[str] = (),
    alive: Callable[[], None] = lambda: None,
) -> DicomFiles:
    """Read the headers of all DICOM images at some paths: files, folders, DICOMDIR.

    Args:
        paths: where to look.
        settings: how images become series; None for the defaults.
        broken: Series Instance UIDs whose sending was broken off.
        alive: is called before each file and each image.

    Raises:
        DicomError: there is no file at a path.
        ImportError: pydicom is not installed.
    """
    found: Found = find(paths, alive)
    return DicomFiles(
        tuple(found.problems),
        frozenset(found.unread),
        dict(found.skipped),
        tuple(found.frames),
        settings or AssemblySettings(),
        broken,
        alive,
    )


def _with_patients(frames: Collection[Frame]) -> list[Frame]:
    """Return frames; those that state no patient get the only one that others state with their study UID."""
    patients = dict[str, set[str]]()
    for frame in frames:
        if frame.study and frame.patient:
            patients.setdefault(frame.study, set()).add(frame.patient)
    only = {study: patient for study, (patient, *others) in patients.items() if not others}
    return [replace(each, patient=each.patient or only.get(each.study, "")) for each in frames]


def _study(frame: Frame) -> tuple[str, str]:
    # Two patients may have one study UID by mistake: their slices are no pair for ECV.
    return frame.study or str(frame.file.parent), frame.patient


def _in_one_frame(frames: Sequence[Frame]) -> Iterator[Frame]:
    """Yield the frames of a study, the images of each series UID in one frame of reference.

    A series has one (PS3.3, C.7.4.1.1.1), but anonymisers replace or remove it image by image. What may be
    another acquisition, which an archive joined, stays in its own: scanner-made maps, frames of reference
    with the images of a whole T2 series in the study, and as many images without one as a series has.
    """
    fewest = min(SHORTEST.values())
    in_study = Counter(frame.reference for frame in frames if frame.reference)
    whole = {reference for reference, number in in_study.items() if number >= fewest}
    by_series = dict[str, Counter[str]]()
    for frame in frames:
        if frame.series and frame.kind is not ImageKind.MAP:
            by_series.setdefault(frame.series, Counter())[frame.reference] += 1
    only = {series: _only_reference(counts, whole) for series, counts in by_series.items()}
    for frame in frames:
        one = "" if frame.kind is ImageKind.MAP else only.get(frame.series, "")
        if not one or frame.reference == one or frame.reference in whole:
            yield frame
            continue
        counts = by_series[frame.series]
        enough = fewest if frame.quantity is None else SHORTEST[frame.quantity]
        apart = not frame.reference and min(counts[""], counts[one]) >= enough
        yield frame if apart else replace(frame, reference=one, other_reference=True)


def _only_reference(counts: Counter[str], whole: Collection[str]) -> str:
    """Return the frame of reference of a series from those of its images; empty where there are several."""
    stated = [reference for reference in counts if reference]
    candidates = [reference for reference in stated if reference in whole] or stated
    if not candidates or (len(candidates) > 1 and candidates[0] in whole):
        return ""
    return max(candidates, key=lambda reference: (counts[reference], reference))


def _examination(frame: Frame) -> tuple[str, str, str]:
    study, patient = _study(frame)
    return study, frame.reference, patient


def _assemble(
    frames: list[Frame], settings: AssemblySettings, broken: Collection[str], alive: Callable[[], None]
) -> AcquiredExamination:
    """Return the series of one examination."""
    header = read_measurement(frames[0])
    memory = MemoryBudget(MEMORY_BYTES, MEMORY_BYTES, 1).connection()
    assembler = SeriesAssembler(header, settings, memory)
    found: list[Assembled] = []
    read = _Read()
    series_of = number_series(frames)
    slices = number_slices(series_of.values())
    for number, members in series_of.items():
        by_slice: dict[int, list[Frame]] = {}
        for counted in with_counters(members, number, slices):
            by_slice.setdefault(counted.header.slice, []).append(counted.frame)
            alive()
            try:
                found += assembler.add(read.image(counted), 0.0)
            except MyostreamError as error:
                read.lost += 1
                read.problems.setdefault(counted.frame.file, error.message)
                read.of(number, counted.header.slice).lacks.append("an image could not be read")
        for slice_, lacks in lacking(by_slice, broken=members[0].series in broken).items():
            read.of(number, slice_).lacks += lacks
        found += assembler.complete()
    found += assembler.finish()
    shortened = shorter(read.acquired())
    for each, lack in shortened.items():
        read.of(each.series, each.slice_).shorter[each.quantity, each.corrected] = lack
    series = tuple(read.noted(each) for each in found)
    account = assembler.account()
    return AcquiredExamination(
        name=str(_common(each.file for each in frames)),
        series=series,
        images=account.images + read.lost,
        unused=account.unused,
        problems=tuple(read.problems.values()),
        unread=frozenset(read.problems),
        files={each.identity: tuple(read.at(each.identity).files) for each in series},
        header=header,
        identities=_identities(frames),
    )


def _identities(frames: Sequence[Frame]) -> Identities:
    """Return the identities of a study by all of its images, which may state several accession numbers."""
    stated = {("study_uid", frame.study) for frame in frames}
    stated |= {each for frame in frames for each in frame.of_study._asdict().items()}
    digests = ((name, identity(name, text)) for name, text in stated)
    return merged(*({name: frozenset({each})} for name, each in digests if each))


@dataclass(slots=True)
class _Slice:
    """One slice of a DICOM series.

    Attributes:
        files: with images that may be mapping images, in order.
        lacks: what it lacks.
        assumed: notes on its times, by quantity.
        copied: an image of it was read from a copy of its file.
        torn: an image states another frame of reference than its series, or none.
        coloured: the pixels of an image are numbers of colours.
        counters: ``set`` of each image by its type, time and pixels.
        maps: content and number of each scanner-made map, by quantity and time stamp.
        shorter: what it lacks beside others of their name, by quantity and whether they are motion-corrected.
    """

    files: dict[Path, None] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)
    assumed: dict[Quantity, str] = field(default_factory=dict)
    copied: bool = False
    torn: bool = False
    coloured: bool = False
    counters: dict[tuple[object, ...], int] = field(default_factory=dict)
    maps: dict[tuple[Quantity | None, int], tuple[object, int]] = field(default_factory=dict)
    shorter: dict[tuple[Quantity, bool], str] = field(default_factory=dict)


@dataclass(slots=True)
class _Read:
    """Files, problems and assumptions of an examination, by slice.

    Attributes:
        slices: by number of the series and of the slice.
        problems: a sentence for each file with images that could not be read.
        lost: number of these images.
        times: ``set`` and time, ms, of the weighted images in the order of acquisition.
    """

    slices: dict[tuple[int, int], _Slice] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    lost: int = 0
    times: dict[SliceAcquisition, list[tuple[int, float]]] = field(default_factory=dict)

    def of(self, series: int, slice_: int) -> _Slice:
        return self.slices.setdefault((series, slice_), _Slice())

    def at(self, identity: SeriesIdentity) -> _Slice:
        return self.of(identity.series_index, identity.slice_index)

    def acquired(self) -> dict[SliceAcquisition, list[float]]:
        """Return the times of each slice, ms; several acquisitions of one are left out."""
        return {
            each: [ms for _, ms in counted]
            for each, counted in self.times.items()
            if all(before < after for (before, _), (after, _) in pairwise(counted))
        }

    def image(self, counted: Counted) -> Image:
        """Return the image of a frame, with its pixels where the assembly may use them.

        Raises:
            DicomError: the pixels cannot be read.
        """
        frame, header, time = counted.frame, counted.header, counted.time
        if not counted.may_be_mapping:
            return frame.image(header, time)
        own = self.of(header.image_series_index, header.slice)
        if time is not None and time.place.named_only:
            own.assumed[time.place.quantity] = echo_times_note(time.place.name)
        read, pixels = _pixels(frame)
        own.copied |= read is not frame
        own.torn |= frame.other_reference
        own.coloured |= read.coloured
        frame = replace(frame, scale=read.scale, weighted_scale=read.weighted_scale)
        # A copy under another UID has the counters of the first: the assembly leaves it out.
        stated = None if time is None else time.ms
        content = (header.image_type, stated, pixels.shape, crc32(pixels.tobytes()))
        if content not in own.counters and time is not None and isinstance(frame.recognised, Recognised):
            kind = time.place.quantity, frame.recognised.corrected
            acquired = SliceAcquisition(header.image_series_index, header.slice, *kind, frame.name)
            self.times.setdefault(acquired, []).append((header.set, time.ms))
        header = replace(header, set=own.counters.setdefault(content, header.set))
        if frame.kind is ImageKind.MAP:
            # Results of a slice are distinguished by time, and Philips gives all maps of a series the same.
            number = frame.index + 1 if frame.number is None else frame.number
            stamp, made = header.acquisition_time_stamp, (content, number)
            while own.maps.setdefault((frame.quantity, stamp), made)[0] != content:
                stamp += 1
            header = replace(header, acquisition_time_stamp=stamp)
        image = frame.image(header, time, pixels)
        own.files[frame.file] = None
        return image

    def noted(self, series: Assembled) -> Assembled:
        """Return a series with what its slice lacks and what was assumed; a map stands for itself."""
        own = self.at(series.identity)
        if own.copied:
            note = "An image of the slice was read from a copy: the pixels of its first file cannot be read."
            series = replace(series, notes=(*series.notes, note))
        if own.torn:
            series = replace(series, notes=(*series.notes, _TORN))
        if isinstance(series, Ready) and series.images == 1:
            maps = {
                stamp: each for (quantity, stamp), each in own.maps.items() if quantity is series.quantity
            }
            if len(maps) > 1 and (made := maps.get(series.identity.time_stamp)):
                note = (
                    f"The series holds several {series.quantity} maps of this slice: this is image {made[1]}."
                )
                series = replace(series, notes=(*series.notes, note))
            return _with_colours(series) if own.coloured else series
        lacks = [*own.lacks, *filter(None, [own.shorter.get((series.quantity, series.motion_corrected))])]
        notes = [own.assumed[series.quantity]] if series.quantity in own.assumed else []
        notes += [f"Images are missing: {lack}." for lack in dict.fromkeys(lacks)]
        flags = (*series.flags, *([Flag.MISSING_IMAGES] if lacks else []))
        return replace(series, flags=tuple(dict.fromkeys(flags)), notes=(*series.notes, *notes))


def _with_colours(series: Ready) -> Ready:
    """Return a map that is flagged: its pixels are colours."""
    note = (
        "The pixels of the map are numbers of colours (PALETTE COLOR), and no real-world values are stated: "
        "they were taken for its values. Export the map without colours."
    )
    flags = tuple(dict.fromkeys((*series.flags, Flag.SCALED_IMAGES)))
    return replace(series, flags=flags, notes=(*series.notes, note))


def _pixels(frame: Frame) -> tuple[Frame, Any]:
    """Return a frame and its stored pixels; where its own file is damaged, a copy and those of that.

    Raises:
        DicomError: they can be read in none of the files.
    """
    try:
        return frame, read_pixels(frame)
    except DicomError:
        for copy in frame.copies:
            with suppress(DicomError):
                return copy, read_pixels(copy)
        raise


def _common(files: Iterable[Path]) -> Path:
    """Return the lowest folder above all of some files; of one file, that file."""
    distinct = list(dict.fromkeys(files))
    if len(distinct) == 1:
        return distinct[0]
    return Path(os.path.commonpath([file.parent for file in distinct]))
