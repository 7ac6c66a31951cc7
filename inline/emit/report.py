"""MRD image of a report (``docs/report.md``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.emit.mrd import UNCHANGED, common_attributes, result_image
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image

PLACE: Final = 9
"""Place in the block of ten series numbers: the last one, after those of slices and ECV."""
_PIXEL_MM: Final = 25.4 / 150
"""Size of a pixel on paper."""
_COMMENT: Final = "myostream report research only"


def report_image(pixels: NDArray[np.uint8], template: ImageHeader, series: int, number: int) -> Image:
    """Return the page of a report as an RGB image.

    Args:
        pixels: uint8 ``(rows, columns, 3)``.
        template: header of an image of the examination.
        series: number of the series.
        number: of the page in its series, from 0.
    """
    rows, columns, _ = pixels.shape
    size = (columns * _PIXEL_MM, rows * _PIXEL_MM, template.field_of_view[2])
    meta = common_attributes(None, "REPORT", _COMMENT) | UNCHANGED
    place = replace(template, field_of_view=size, slice=0)
    colours = pixels.astype(np.uint16).transpose(2, 0, 1)[:, None]
    return result_image(colours, place, series, number, "REPORT", meta, {})
