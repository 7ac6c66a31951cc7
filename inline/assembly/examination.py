"""Acquired examination: all series of one study in one frame of reference, from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inline.assembly.assembled import Assembled
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.series import SeriesIdentity
from inline.mrd.header import Identities, MeasurementHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings


@dataclass(frozen=True, slots=True, eq=False)
class AcquiredExamination:
    """Series of one examination.

    Attributes:
        name: path that it was read from.
        series: one for each slice and acquisition, complete or with the error that prevents one.
        images: number of its images.
        unused: number of images that are part of no series by the reason.
        notes: a sentence for each thing that was converted or left out.
        problems: a sentence for each file with images that could not be read.
        unread: these files; empty where the source has one file alone.
        files: that the images of a slice were read from; empty where the source has one file alone.
        header: of the measurement, as far as the source states it.
        identities: of the study, by all of its images.
        shared_study: its study UID is that of another patient too.
    """

    name: str
    series: tuple[Assembled, ...]
    images: int = 0
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unread: frozenset[Path] = frozenset()
    files: Mapping[SeriesIdentity, tuple[Path, ...]] = field(default_factory=dict)
    header: MeasurementHeader = field(default_factory=MeasurementHeader)
    identities: Identities = field(default_factory=dict)
    shared_study: bool = False


def of_images(
    name: str,
    images: Iterable[Image],
    header: MeasurementHeader,
    settings: AssemblySettings,
    notes: Iterable[str] = (),
) -> AcquiredExamination:
    """Return the examination of images in the order of their acquisition.

    Args:
        name: path that they were read from.
        images: of one measurement.
        header: of the measurement.
        settings: how images become series.
        notes: of the reader.
    """
    assembler = SeriesAssembler(header, settings)
    found = [each for image in images for each in assembler.add(image, 0.0)]
    found += assembler.finish()
    for identity, note in assembler.lacking:
        found = [_lacking(each, note) if each.identity is identity else each for each in found]
    account = assembler.account()
    return AcquiredExamination(
        name,
        tuple(found),
        account.images,
        account.unused,
        tuple(notes),
        header=header,
        identities=header.identities,
    )


def _lacking(complete: Assembled, note: str) -> Assembled:
    """Return a slice whose images are not all of its series."""
    flags = tuple(dict.fromkeys((*complete.flags, Flag.MISSING_IMAGES)))
    return replace(complete, flags=flags, notes=(*complete.notes, note))
