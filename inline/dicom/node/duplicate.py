"""Comparison of two objects with one SOP Instance UID: the same image again, or another one."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels

from inline.dicom.frame import pixel_bytes
from inline.dicom.write.source import PIXELS
from inline.mrd.image_header import MOST_PIXEL_BYTES

_LAYOUT: Final = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""Attributes that stored pixels are decoded with, beside their number."""


def may_replace(earlier: Path, data: bytes) -> bool:
    """Return whether an object may replace an earlier one with its UID, so that no image is lost.

    It may where both are identical, or where patient and pixels are the same: it then comes in another
    transfer syntax, or with a corrected header. So it may where the earlier one or its pixels cannot be read.

    One frame of each is decoded at a time, and none where the stored pixels are the same bytes.

    Args:
        earlier: DICOM file.
        data: DICOM file, as bytes.
    """
    try:
        kept = earlier.read_bytes()
    except FileNotFoundError:
        return True
    if kept == data:
        return True
    second = dcmread(BytesIO(data))
    try:
        first = dcmread(BytesIO(kept))
    except Exception:  # of damaged files pydicom raises many kinds
        return True
    if "Rows" not in first:
        return True
    if (first.get("PatientID") or "") != (second.get("PatientID") or ""):
        return False
    if _size(first) != _size(second):
        return next(_frames(first), None) is None
    if _stored(first) == _stored(second):
        return True
    frames = _frames(second)
    for before in _frames(first):
        if before is None:
            return True
        after = next(frames, None)
        if after is None or not np.array_equal(before, after):
            return False
    return next(frames, None) is None


def _size(image: Dataset) -> tuple[object, ...]:
    return image.get("NumberOfFrames") or 1, image.get("Rows"), image.get("Columns")


def _stored(image: Dataset) -> tuple[object, ...]:
    """Return the pixels of an image as they are stored, with all that their values depend on."""
    return image.file_meta.TransferSyntaxUID, *map(image.get, (*PIXELS, *_LAYOUT))


def _frames(image: Dataset) -> Iterator[NDArray[np.generic] | None]:
    """Yield the frames of an image; None from the first one that is unreadable or too large on."""
    if pixel_bytes(image) > MOST_PIXEL_BYTES:
        yield None
        return
    try:
        yield from iter_pixels(image)
    except Exception:  # of damaged pixels pydicom raises many kinds
        yield None
