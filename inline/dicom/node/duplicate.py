"""Comparison of two objects with one SOP Instance UID: the same image again, or another one."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread


def is_same_image(earlier: Path, data: bytes) -> bool:
    """Return whether an object may replace an earlier one with its UID, so that no image is lost.

    It may where both are identical, or where patient and pixels are the same: it then comes in another
    transfer syntax, or with a corrected header. So it may where the pixels of the earlier one cannot be read.

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
    first, second = dcmread(BytesIO(kept)), dcmread(BytesIO(data))
    if (first.get("PatientID") or "") != (second.get("PatientID") or ""):
        return False
    before, after = _pixels(first), _pixels(second)
    return before is None or (after is not None and np.array_equal(before, after))


def _pixels(image: Dataset) -> NDArray[np.generic] | None:
    try:
        return image.pixel_array
    except Exception:  # of damaged pixels pydicom raises many kinds
        return None
