"""Header of one frame: the same attributes of classic and of enhanced MR images.

An enhanced image states what differs from frame to frame in per-frame functional groups, the rest in shared
ones (DICOM PS3.3, C.7.6.16). Each group is a sequence of one item. A frame's value is the first of: its own
groups, the shared groups, the image itself; then vendors' private sequences, whose geometry is not that of
the standard attributes (Philips (2005,140F) differs by half a pixel: dcm2niix, Philips/README.md).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ITEM: Final = b"\xfe\xff\x00\xe0"
"""Tag of an item of a sequence, (FFFE,E000)."""
_FLOATS: Final = {4: "<f", 8: "<d"}
"""Layout of a private number that came without its type, by its number of bytes."""
_TEXT: Final = re.compile(rb"[ \0]*+([+-]?+(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+)[ \0]*+")
"""Number as text, padded. The same bytes as a float are below 0.0003 (four) or 1e-31 (eight), since the last
one, with the exponent, is at most that of "9": no time is so small, and of scales that small hardly one in
thousands consists of such bytes."""
_NO_NUMBER: Final = 1e300
"""Philips writes the largest double for a value that is not stated."""


class DicomHeader:
    """Attributes of one image, as a data set or as JSON."""

    __slots__ = ()

    def value(self, name: str) -> Any:
        """Return the first value of an attribute that is not empty; None where there is none."""
        raise NotImplementedError

    def text(self, name: str) -> str:
        """Return an attribute as text, several values with backslashes between them."""
        found = self.value(name)
        if found is None:
            return ""
        return str(found).strip() if isinstance(found, str) else "\\".join(map(str, _listed(found))).strip()

    def number(self, name: str) -> float | None:
        """Return the first number of an attribute; None where there is no finite one."""
        numbers = self.numbers(name)
        return numbers[0] if numbers else None

    def numbers(self, name: str, count: int | None = None) -> tuple[float, ...] | None:
        """Return the numbers of an attribute; None where one is not finite, or there are not ``count``."""
        found = [as_number(each) for each in _listed(self.value(name))]
        numbers = tuple(each for each in found if each is not None)
        usable = bool(numbers) if count is None else len(numbers) == count
        return numbers if usable and (count is None or len(found) == count) else None

    def private(self, group: int, creator: str, element: int) -> Any:
        """Return a private element of a block, found by its creator; None where there is none."""
        raise NotImplementedError

    def items(self, name: str) -> Sequence[Any]:
        """Return the items of the first sequence of this name that has any."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FrameHeader(DicomHeader):
    """Attributes of one frame.

    Attributes:
        layers: data sets that may state an attribute, in the order of precedence.
        groups: data sets that hold the sequences: functional groups of the frame, shared ones, the image.
    """

    layers: tuple[Dataset, ...]
    groups: tuple[Dataset, ...]

    @classmethod
    def of(cls, image: Dataset) -> FrameHeader:
        """Return the header of the first frame."""
        return next(cls.of_frames(image, 1))

    @classmethod
    def of_frames(cls, image: Dataset, count: int) -> Iterator[FrameHeader]:
        """Yield the headers of the first frames; what they have in common is parsed once."""
        shared = tuple((image.get("SharedFunctionalGroupsSequence") or ())[:1])
        standard = [item for group in shared for item in _items(group, private=False)]
        private = [item for group in (*shared, image) for item in _items(group, private=True)]
        groups = image.get("PerFrameFunctionalGroupsSequence") or ()
        for frame in range(count):
            own = tuple(groups[frame : frame + 1] or groups[-1:])
            own_standard = [item for group in own for item in _items(group, private=False)]
            own_private = [item for group in own for item in _items(group, private=True)]
            yield cls((*own_standard, *standard, image, *own_private, *private), (*own, *shared, image))

    def value(self, name: str) -> Any:
        """Return the first value of an attribute that is not empty; None where there is none."""
        from pydicom.datadict import tag_for_keyword

        tag = tag_for_keyword(name)
        assert tag is not None, name
        for layer in self.layers:
            # By tag, for speed: an enhanced image takes a hundred thousand look-ups, most without result.
            if tag in layer and (found := layer[tag].value) is not None and found != "":
                return found
        return None

    def private(self, group: int, creator: str, element: int) -> Any:
        """Return a private element of a block, found by its creator; None where there is none."""
        for layer in self.layers:
            for tag in layer.keys():  # noqa: SIM118 - a data set yields its elements
                if tag.group == group and 0x10 <= tag.element <= 0xFF and str(layer[tag].value) == creator:
                    found = layer.get((group, (tag.element << 8) | element))
                    if found is not None:
                        return found.value
        return None

    def items(self, name: str) -> list[Dataset]:
        """Return the items of the first sequence of this name that has any."""
        return next((list(items) for group in self.groups if (items := group.get(name))), [])

    @property
    def transfer_syntax(self) -> str:
        """UID of the encoding of the file; empty where not stated."""
        return str(getattr(self.groups[-1], "file_meta", {}).get("TransferSyntaxUID", ""))


def as_number(value: Any) -> float | None:
    """Return a value as a number: of any type, or of bytes whose type was lost; None where it is none."""
    if isinstance(value, bytes):
        if text := _TEXT.fullmatch(value):
            value = text[1]
        elif not value.isspace() and (layout := _FLOATS.get(len(value))):
            (value,) = struct.unpack(layout, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < _NO_NUMBER else None


def _items(group: Dataset, *, private: bool) -> Iterator[Dataset]:
    """Yield the first item of each sequence of a functional group."""
    if not private:
        yield group
    for element in group:
        if element.tag.is_private is private:
            items = element.value if element.VR == "SQ" else _untyped_items(element.value)
            if items:
                yield items[0]


def _untyped_items(value: Any) -> tuple[Dataset, ...]:
    """Return the items of a private sequence that lost its type; none where a value holds no sequence.

    Private sequences of stated length have no type in implicit VR. Where they are stored in explicit VR
    without it (UN), their items stay in implicit VR (DICOM PS3.5, 6.2.2).
    """
    from pydicom.values import convert_SQ

    if not (isinstance(value, bytes) and value.startswith(_ITEM)):
        return ()
    with suppress(Exception):  # of damaged items pydicom raises many kinds
        return tuple(convert_SQ(value, is_implicit_VR=True, is_little_endian=True))
    return ()


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else [value]
