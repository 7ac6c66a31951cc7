"""Limits of files of images, checked before the pixels are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inline.data.errors import SourceError
from inline.mrd.image_header import MOST_PIXEL_BYTES

MOST_FILE_BYTES: Final = 1 << 30
"""Of the decoded images of a file: compressed, they may be a thousandth of it."""


def check_size(file: Path, shape: Sequence[int], pixel_bytes: int) -> None:
    """Refuse a file with images that are larger than is read.

    Args:
        file: that the images are of.
        shape: of all images, rows and columns of one last.
        pixel_bytes: of a pixel.

    Raises:
        SourceError: an image, or all of them, are too large.
    """
    image, all_ = (math.prod(sizes) * pixel_bytes for sizes in (shape[-2:], shape))
    if image > MOST_PIXEL_BYTES:
        raise SourceError(f"{file} has images of {image} bytes; at most {MOST_PIXEL_BYTES} are read")
    if all_ > MOST_FILE_BYTES:
        raise SourceError(f"{file} has {all_} bytes of images; at most {MOST_FILE_BYTES} are read")


def check_regular(file: Path) -> None:
    """Refuse a pipe or a device in the place of a file: reading it may never end.

    Raises:
        SourceError: the path is one. A path to nothing is left to the reader.
        OSError: the path cannot be followed.
    """
    if file.exists() and not file.is_file():
        raise SourceError(f"{file} is no file that can be read")
