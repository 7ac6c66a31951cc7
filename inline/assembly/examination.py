"""Examination: all series of one study in one frame of reference, from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inline.assembly.assembled import Assembled
from inline.data.series import SeriesIdentity


@dataclass(frozen=True, slots=True)
class Examination:
    """Series of one examination.

    Attributes:
        name: path that it was read from.
        series: one for each slice and acquisition, complete or with the error that prevents one.
        images: number of its images.
        unused: number of images that are part of no series by the reason.
        notes: a sentence for each thing that was converted or left out.
        problems: a sentence for each image that could not be read.
        files: that the images of a slice were read from; empty where the source has one file alone.
    """

    name: str
    series: tuple[Assembled, ...]
    images: int = 0
    unused: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    files: Mapping[SeriesIdentity, tuple[Path, ...]] = field(default_factory=dict)
