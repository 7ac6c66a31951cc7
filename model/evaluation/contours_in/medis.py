"""Medis QMass contour files (``.con``).

After the public readers of chfc-cmi/cmr-cine-sscrofa (code/con_to_tsv.sh, tsv_to_png.py) and of the
``CONreaderVM`` class in public repositories. A section ``[XYCONTOUR]`` has the line ``slice frame mode
weight``, the number of points, and a line ``x y`` for each. Mode 0 is the endocardial and 1 the epicardial
contour of the left ventricle. ``Image_resolution=752x800`` states columns and rows. The public readers draw
the points as they are: whole numbers are pixel centres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.evaluation.contours_in.outlines import MapImage, Outlines, checked, shown
from model.evaluation.errors import CaseError

_LARGEST: Final = 1 << 27
_SECTION: Final = re.compile(r"\[\s*XYCONTOUR\s*\]")
_RESOLUTION: Final = re.compile(r"Image_resolution\s*=\s*(\d{1,6})\s*x\s*(\d{1,6})")
_ENDO, _EPI = 0, 1

Place = tuple[int, int]
"""Slice and frame, as the file numbers them."""


@dataclass(frozen=True, slots=True)
class MedisFile:
    """Contours of the left ventricle in a file.

    Attributes:
        outlines: by slice and frame, where both contours are drawn.
        places: slices and frames where either is drawn.
        resolution: columns and rows of the images, or None.
    """

    outlines: dict[Place, Outlines]
    places: tuple[Place, ...]
    resolution: tuple[int, int] | None


def read_medis(path: Path) -> MedisFile:
    """Return the contours of a file.

    Raises:
        CaseError: it cannot be read, is damaged, or has two different contours of one border on a slice.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise CaseError(f"{path} is larger than {_LARGEST} bytes; a contour file is smaller")
        lines = iter(path.read_text(encoding="latin-1").splitlines())
    except OSError as error:
        raise CaseError(f"{path} cannot be read: {error}") from error
    drawn: dict[Place, dict[int, list[tuple[float, float]]]] = {}
    resolution = None
    for line in lines:
        if found := _RESOLUTION.search(line):
            resolution = (int(found[1]), int(found[2]))
        elif _SECTION.search(line):
            place, mode, points = _contour(lines, path)
            if mode not in (_ENDO, _EPI) or not points:
                continue
            if drawn.setdefault(place, {}).setdefault(mode, points) != points:
                raise CaseError(
                    f"{path} has two different contours of mode {mode} on slice {place[0]} frame {place[1]}: "
                    "keep one"
                )
    both = {
        place: checked(path, modes[_ENDO], modes[_EPI])
        for place, modes in sorted(drawn.items())
        if _ENDO in modes and _EPI in modes
    }
    if not both:
        raise CaseError(
            f"{path} has no slice with an endocardial (mode 0) and an epicardial contour (mode 1) of the LV"
        )
    return MedisFile(both, tuple(sorted(drawn)), resolution)


def medis_outlines(path: Path, image: MapImage) -> Outlines:
    """Return the contours of the one slice of a file.

    Raises:
        CaseError: it has several slices or frames, is of another image size, or cannot be read.
    """
    file = read_medis(path)
    if len(file.places) > 1:
        places = shown(f"slice {slice_} frame {frame}" for slice_, frame in file.places)
        raise CaseError(
            f"{path} has contours of {places}; which is {image.file.name} it does not say: keep one"
        )
    rows, columns = image.shape
    if file.resolution not in (None, (columns, rows)):
        raise CaseError(
            f"{path} is of images of {file.resolution}, the map has {columns} columns, {rows} rows"
        )
    return next(iter(file.outlines.values()))


def _contour(lines: Iterator[str], path: Path) -> tuple[Place, int, list[tuple[float, float]]]:
    try:
        slice_, frame, mode = (int(part) for part in next(lines).split()[:3])
        count = int(next(lines))
        points = []
        for _ in range(count):
            x, y = next(lines).split()[:2]
            points.append((float(x), float(y)))
    except (StopIteration, ValueError) as error:
        raise CaseError(f"{path}: a section [XYCONTOUR] is damaged, or ends too soon") from error
    return (slice_, frame), mode, points
