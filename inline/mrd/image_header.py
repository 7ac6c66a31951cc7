"""Fixed header of an MRD image (ISMRMRD image header, version 1, 198 bytes, little-endian)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, Final, Self

import numpy as np

MOST_PIXEL_BYTES: Final = 256 * 2**20
"""Of the decoded pixels of an image that is read, from whatever source."""


class ImageType(IntEnum):
    """Kind of the pixels."""

    UNKNOWN = 0
    MAGNITUDE = 1
    PHASE = 2
    REAL = 3
    IMAGINARY = 4
    COMPLEX = 5
    RGB = 6


DATA_TYPES: Final[dict[int, np.dtype[np.generic]]] = {
    1: np.dtype("<u2"),
    2: np.dtype("<i2"),
    3: np.dtype("<u4"),
    4: np.dtype("<i4"),
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    7: np.dtype("<c8"),
    8: np.dtype("<c16"),
}
"""Pixel type by the header's ``data_type``. The ``ismrmrd`` package of Python takes 4 for eight bytes; the
C and C++ libraries, and so scanners and Gadgetron, take it for four."""

_LAYOUT: Final = struct.Struct("<HHQI3H3fH3f3f3f3f3f6HI3IHHH8i8fI")
IMAGE_HEADER_BYTES: Final = _LAYOUT.size

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageHeader:
    """All fields, named as the standard names them; lengths in mm, time stamps in ticks of 2.5 ms.

    A header that was unpacked keeps its bytes: as a Python number, a signalling NaN becomes a quiet one. Two
    headers are equal where their bytes are.
    """

    version: int = 1
    data_type: int = 5
    flags: int = 0
    measurement_uid: int = 0
    matrix_size: tuple[int, int, int] = (0, 0, 1)
    field_of_view: Triple = (0.0, 0.0, 0.0)
    channels: int = 1
    position: Triple = (0.0, 0.0, 0.0)
    read_dir: Triple = (1.0, 0.0, 0.0)
    phase_dir: Triple = (0.0, 1.0, 0.0)
    slice_dir: Triple = (0.0, 0.0, 1.0)
    patient_table_position: Triple = (0.0, 0.0, 0.0)
    average: int = 0
    slice: int = 0
    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0
    acquisition_time_stamp: int = 0
    physiology_time_stamp: tuple[int, int, int] = (0, 0, 0)
    image_type: int = ImageType.MAGNITUDE
    image_index: int = 0
    image_series_index: int = 0
    user_int: tuple[int, ...] = (0,) * 8
    user_float: tuple[float, ...] = (0.0,) * 8
    attribute_string_len: int = 0
    _packed: bytes = field(default=b"", init=False, repr=False)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read a header from its 198 bytes."""
        values = iter(_LAYOUT.unpack(data))
        arguments: dict[str, Any] = {}
        for name, count in _COUNTS:
            arguments[name] = next(values) if count == 1 else tuple(next(values) for _ in range(count))
        header = cls(**arguments)
        object.__setattr__(header, "_packed", bytes(data))
        return header

    def pack(self) -> bytes:
        """Return the 198 bytes of this header."""
        if self._packed:
            return self._packed
        flat: list[int | float] = []
        for name, count in _COUNTS:
            value = getattr(self, name)
            flat.extend((value,) if count == 1 else value)
        return _LAYOUT.pack(*flat)

    def __eq__(self, other: object) -> bool:
        return self.pack() == other.pack() if isinstance(other, ImageHeader) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.pack())

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the pixels: ``(channels, z, y, x)``."""
        columns, rows, partitions = self.matrix_size
        return self.channels, partitions, rows, columns

    @property
    def pixels(self) -> int:
        """Number of pixel values in the image."""
        return math.prod(self.shape)


_COUNTS: Final = tuple(
    (each.name, len(each.default) if isinstance(each.default, tuple) else 1)
    for each in fields(ImageHeader)
    if each.init
)
"""Name and number of values of each field, in the order of the bytes."""
