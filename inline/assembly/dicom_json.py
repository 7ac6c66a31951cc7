"""DICOM header that converters keep as JSON in an image's attribute ``DicomJson`` (DICOM PS3.18, F.2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final

import numpy as np

from inline.data.geometry import perpendicular, usable_spacing
from inline.elements.header import DicomHeader
from inline.mrd.image_header import ImageHeader
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
_FRAMES: Final = "52009230"
"""PerFrameFunctionalGroupsSequence: an item for each frame of an enhanced image."""
_PLACE: Final = "00209113"
"""PlanePositionSequence."""
_PLANE: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_SCALE: Final = frozenset(
    tag
    for name, tag in _TAGS.items()
    if name.startswith(("Rescale", "RealWorldValue", "ModalityLUT", "MeasurementUnits"))
)
_SAME_PLACE_MM: Final = 1.0
"""Distance of an image from its frame by rounding."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of an enhanced image, of which it is not known which one an image is.

    Attributes:
        count: those of the data set.
        fitting: those that lie where the image does.
        left_out: tags of the elements that these, or else all frames, do not state alike; of too many frames
            those of scales, unless the elements of all frames state one.
    """

    count: int
    fitting: int
    left_out: frozenset[str]

    @property
    def found(self) -> str:
        """Number of frames, and of those at the position of the image, if it is sought among so many."""
        if self.count > _MOST_ELEMENTS:
            return f"DicomJson holds {self.count} frames, more than the {_MOST_ELEMENTS} that are read"
        fitting = f"{self.fitting} of which lie" if self.fitting else "none of which lies"
        return f"DicomJson holds {self.count} frames, {fitting} at the position of the image"

    @property
    def note(self) -> str:
        """Sentences for the result."""
        return (
            f"{self.found}. What they state differently, such as times and scales, is not used: it is not "
            "known which one the image is. Send each image with the elements of its own frame."
        )

    @property
    def misplaced(self) -> bool:
        """True if the frames lie elsewhere than the image, at several places."""
        return not self.fitting and _TAGS["ImagePositionPatient"] in self.left_out

    @property
    def unscaled(self) -> bool:
        """True if the frames state several scales, or too many frames may."""
        return _scaled(self.left_out)


@dataclass(frozen=True, slots=True)
class JsonHeader(DicomHeader):
    """Attributes of one image in JSON.

    Attributes:
        levels: elements at the top, then those of sequences.
        frames: of an enhanced image, where it is not known which of them the image is; else None.
    """

    levels: tuple[Elements, ...]
    frames: Frames | None = None

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
            if found := _items(level.get(_TAGS[name])):
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


def parse(encoded: str, image: ImageHeader | None = None) -> JsonHeader:
    """Return the header; one without elements where the text is no JSON object, plain or in base64.

    Args:
        encoded: the text.
        image: whose header it is: of an enhanced image, elements of other frames are left out.
    """
    is_json = encoded.lstrip().startswith("{")
    with suppress(ValueError, RecursionError):
        content = json.loads(encoded if is_json else decode(base64.b64decode(encoded)))
        if isinstance(content, dict):
            frames = _items(content.get(_FRAMES))
            return JsonHeader.of(content) if image is None or len(frames) < 2 else _of(image, content, frames)
    return JsonHeader(({},))


def _of(image: ImageHeader, content: Elements, frames: Sequence[Elements]) -> JsonHeader:
    """Return the header of one image of an enhanced one.

    Converters state the whole data set with the image of each frame. That of the image is found by its
    position; of several frames that lie there, or of all if none does, what they state alike holds.
    """
    others = {tag: element for tag, element in content.items() if tag != _FRAMES}
    common = JsonHeader.of(others)
    if len(frames) > _MOST_ELEMENTS:
        left = frozenset() if _scaled(set().union(*common.levels)) else _SCALE
        return replace(common, frames=Frames(len(frames), 0, left))
    shared = elements({name: common._values(name) for name in _PLANE})
    fitting = [frame for frame in frames if _fits(JsonHeader((*JsonHeader.of(frame).levels, shared)), image)]
    left_out: set[str] = set()
    alike = reduce(lambda one, other: _alike(one, other, left_out), fitting or frames)
    if fitting and _PLACE in fitting[0]:  # Those of the others differ by rounding.
        alike = {**alike, _PLACE: fitting[0][_PLACE]}
    header = JsonHeader.of({**others, _FRAMES: {"Value": [alike]}})
    unknown = Frames(len(frames), len(fitting), frozenset(left_out)) if left_out else None
    return replace(header, frames=unknown)


def _scaled(tags: Set[str]) -> bool:
    """Return whether one of these tags is that of a scale, Philips' private slope among them."""
    private = any(tag.startswith("2005") and tag.endswith("0E") for tag in tags)
    return private or not _SCALE.isdisjoint(tags)


def _fits(frame: JsonHeader, image: ImageHeader) -> bool:
    """Return whether an image lies where a frame does.

    Its position is that of its centre, of even or odd matrices, or by ``dicom2mrd`` that of the first pixel.
    """
    first = frame.numbers("ImagePositionPatient", 3)
    if first is None:
        return False
    places = [np.array(first)]
    if (stated := plane(frame)) and stated.directions:
        size = np.array(image.matrix_size[:2])
        sides = np.array(stated.directions) * np.array(stated.spacing)[:, None]
        places += [places[0] + (size - less) / 2 @ sides for less in (0, 1)]
    with np.errstate(invalid="ignore"):
        return any(np.linalg.norm(place - image.position) <= _SAME_PLACE_MM for place in places)


def _alike(one: Elements, other: Elements, left_out: set[str]) -> dict[str, Any]:
    """Return the elements that both state alike, within sequences too; add the tags of the others."""
    alike: dict[str, Any] = {}
    for tag in {**one, **other}:
        pair = one.get(tag), other.get(tag)
        items = [_items(each) for each in pair]
        if pair[0] == pair[1]:
            alike[tag] = pair[0]
        elif items[0] and len(items[0]) == len(items[1]):
            within = set[str]()
            alike[tag] = {"Value": [_alike(a, b, within) for a, b in zip(*items, strict=True)]}
            if tag == _TAGS["MeasurementUnitsCodeSequence"] and _TAGS["CodeValue"] in within:
                within.add(tag)  # Codes of other sequences are no units.
            left_out |= within
        else:
            stated = (each for each in pair if each is not None)
            left_out.update(below for each in stated for level in _levels({tag: each}) for below in level)
    return alike


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


def _items(element: Any) -> list[Elements]:
    """Return the items of a sequence."""
    return [each for each in _values(element) if isinstance(each, dict)]


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
