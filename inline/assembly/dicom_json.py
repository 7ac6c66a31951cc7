"""DICOM header that converters keep as JSON in an image's attribute ``DicomJson`` (DICOM PS3.18, F.2)."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inline.mrd.text import decode

Elements = Mapping[str, Any]

IMAGE_TYPE: Final = "00080008"
SERIES_DESCRIPTION: Final = "0008103E"
INVERSION_TIME: Final = "00180082"
INVERSION_TIMES: Final = "00189079"
PROTOCOL_NAME: Final = "00181030"
IMAGE_COMMENTS: Final = "00204000"
RESCALE_INTERCEPT: Final = "00281052"
RESCALE_SLOPE: Final = "00281053"
POSITION: Final = "00200032"
ORIENTATION: Final = "00200037"
PIXEL_SPACING: Final = "00280030"
_DEEPEST: Final = 6
_MOST_ELEMENTS: Final = 4096


def parse(encoded: str) -> Elements:
    """Return the elements by tag; none where the text is no JSON object, plain or in base64."""
    is_json = encoded.lstrip().startswith("{")
    try:
        content = json.loads(encoded if is_json else decode(base64.b64decode(encoded)))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def values(elements: Elements, tag: str) -> tuple[str, ...]:
    """Return the values of an element as text, at the top or else in the first sequence that holds it."""
    for found in _found(elements, tag):
        listed = found.get("Value") if isinstance(found, dict) else None
        listed = [listed] if isinstance(listed, str | int | float) else listed
        if isinstance(listed, list) and listed:
            return tuple(str(value) for value in listed if not isinstance(value, dict | list))
    return ()


def numbers(elements: Elements, tag: str, count: int) -> tuple[float, ...] | None:
    """Return the ``count`` finite numbers of an element; None where there are not exactly so many."""
    try:
        found = tuple(float(value) for value in values(elements, tag))
    except ValueError:
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


@dataclass(frozen=True, slots=True)
class DicomPlane:
    """Pixel size and place of an image as its DICOM header states them.

    Attributes:
        spacing: pixel size ``(x, y)``, mm.
        directions: unit vectors along columns and rows of pixels, LPS; None where not stated.
        first_pixel: patient coordinates of the centre of the first pixel, mm; None where not stated.
    """

    spacing: tuple[float, float]
    directions: tuple[tuple[float, ...], tuple[float, ...]] | None
    first_pixel: tuple[float, ...] | None


def plane(elements: Elements) -> DicomPlane | None:
    """Return the image plane; None without a usable PixelSpacing."""
    spacing = numbers(elements, PIXEL_SPACING, 2)
    if spacing is None or not all(0.05 <= size <= 20.0 for size in spacing):
        return None
    cosines = numbers(elements, ORIENTATION, 6)
    directions = None
    if cosines is not None:
        row, column = np.array(cosines[:3]), np.array(cosines[3:])
        usable = (
            abs(row @ row - 1.0) < 0.02 and abs(column @ column - 1.0) < 0.02 and abs(row @ column) < 0.02
        )
        directions = (cosines[:3], cosines[3:]) if usable else None
    # DICOM states the distance between rows (y) first.
    return DicomPlane((spacing[1], spacing[0]), directions, numbers(elements, POSITION, 3))


def _found(elements: Elements, tag: str) -> Iterator[Any]:
    """Yield the elements of a tag, level by level, within bounds that no real header reaches."""
    level: list[Any] = [elements]
    seen = 0
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for each in level:
            if tag in each:
                yield each[tag]
            for element in each.values():
                seen += 1
                if seen > _MOST_ELEMENTS:
                    return
                items = element.get("Value") if isinstance(element, dict) else None
                if isinstance(items, list):
                    below += [item for item in items if isinstance(item, dict)]
        level = below
