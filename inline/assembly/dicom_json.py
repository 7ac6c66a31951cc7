"""DICOM header that converters keep as JSON in an image's attribute ``DicomJson`` (DICOM PS3.18, F.2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from inline.data.geometry import perpendicular, usable_spacing
from inline.elements.header import DicomHeader
from inline.mrd.text import decode

Elements = Mapping[str, Any]

_TAGS: Final = {
    "CodeValue": "00080100",
    "ContrastBolusAgent": "00180010",
    "EchoTime": "00180081",
    "EffectiveEchoTime": "00189082",
    "FrameComments": "00209158",
    "ImageComments": "00204000",
    "ImageOrientationPatient": "00200037",
    "ImagePositionPatient": "00200032",
    "ImageType": "00080008",
    "InversionTime": "00180082",
    "InversionTimes": "00189079",
    "LossyImageCompression": "00282110",
    "MeasurementUnitsCodeSequence": "004008EA",
    "ModalityLUTSequence": "00283000",
    "PixelSpacing": "00280030",
    "ProtocolName": "00181030",
    "RealWorldValueIntercept": "00409224",
    "RealWorldValueLUTData": "00409212",
    "RealWorldValueMappingSequence": "00409096",
    "RealWorldValueSlope": "00409225",
    "RescaleIntercept": "00281052",
    "RescaleSlope": "00281053",
    "RescaleType": "00281054",
    "SeriesDescription": "0008103E",
}
"""Tags of the attributes that are read."""
_MOST_ELEMENTS: Final = 4096
"""Elements and items of sequences that are read, more than real headers have."""


@dataclass(frozen=True, slots=True)
class JsonHeader(DicomHeader):
    """Attributes of one image in JSON.

    Attributes:
        levels: elements at the top, then those of sequences.
    """

    levels: tuple[Elements, ...]

    @classmethod
    def of(cls, elements: Elements) -> JsonHeader:
        """Return the header with these elements and those of their sequences."""
        return cls(tuple(_levels(elements)))

    def value(self, name: str) -> Any:
        """Return the value of an attribute at the first level that states it: a list of several, or None."""
        found = self._values(name)
        return found[0] if len(found) == 1 else found or None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values of an attribute as text."""
        found = self._values(name)
        return tuple(str(value).strip() for value in found if not isinstance(value, bytes | dict | list))

    def private(self, group: int, creator: str, element: int) -> Any:
        """Return a private element of a block, found by its creator; None where there is none."""
        block = f"{group:04X}00"
        for level in self.levels:
            for tag in level:
                if not (tag.startswith(block) and creator in _values(level[tag])):
                    continue
                if found := _values(level.get(f"{group:04X}{tag[6:]}{element:02X}")):
                    return found[0]
        return None

    def items(self, name: str) -> Sequence[JsonHeader]:
        """Return the items of the first sequence of this name that has any."""
        for level in self.levels:
            if found := [each for each in _values(level.get(_TAGS[name])) if isinstance(each, dict)]:
                return [JsonHeader.of(each) for each in found[:_MOST_ELEMENTS]]
        return ()

    def get(self, name: str, default: Any = None) -> Any:
        """Return the items of a sequence, else the value of an attribute, as a data set does."""
        found = self.items(name) if name.endswith("Sequence") else self.value(name)
        return default if found is None else found

    def _values(self, name: str) -> list[Any]:
        """Return the values of an attribute at the first level that states one."""
        return next(filter(None, (_values(level.get(_TAGS[name])) for level in self.levels)), [])


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


def parse(encoded: str) -> JsonHeader:
    """Return the header; one without elements where the text is no JSON object, plain or in base64."""
    is_json = encoded.lstrip().startswith("{")
    try:
        content = json.loads(encoded if is_json else decode(base64.b64decode(encoded)))
    except (ValueError, RecursionError):
        content = None
    return JsonHeader.of(content if isinstance(content, dict) else {})


def elements(values: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Return the elements that state these values of attributes; empty ones are left out."""
    stated = {_TAGS[name]: [value for value in each if value != ""] for name, each in values.items()}
    return {tag: {"Value": kept} for tag, kept in stated.items() if kept}


def plane(header: DicomHeader) -> DicomPlane | None:
    """Return the image plane; None without a usable PixelSpacing."""
    spacing = header.numbers("PixelSpacing", 2)
    if spacing is None or not usable_spacing(spacing):
        return None
    cosines = header.numbers("ImageOrientationPatient", 6)
    directions = None if cosines is None else (cosines[:3], cosines[3:])
    if directions is not None and not perpendicular(*directions):
        directions = None
    # DICOM states the distance between rows (y) first.
    return DicomPlane((spacing[1], spacing[0]), directions, header.numbers("ImagePositionPatient", 3))


def _values(element: Any) -> list[Any]:
    """Return the values of an element that are not empty; bytes of one whose type was lost."""
    if not isinstance(element, dict):
        return []
    with suppress(TypeError, ValueError):
        if "InlineBinary" in element:
            return [base64.b64decode(element["InlineBinary"])]
    listed = element.get("Value")
    return [value for value in (listed if isinstance(listed, list) else [listed]) if not _is_empty(value)]


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _levels(elements: Elements) -> Iterator[Elements]:
    """Yield the elements at the top, then those of sequences, level by level."""
    level: list[Any] = [elements]
    seen = 0
    while level:
        below: list[Any] = []
        for each in level:
            seen += 1
            if seen > _MOST_ELEMENTS:
                return
            yield each
            for element in each.values():
                seen += 1
                if seen > _MOST_ELEMENTS:
                    return
                items = element.get("Value") if isinstance(element, dict) else None
                if isinstance(items, list):
                    below += [item for item in items[:_MOST_ELEMENTS] if isinstance(item, dict)]
        level = below
