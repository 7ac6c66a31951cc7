"""Scale of the pixels of a DICOM frame: rescale, Philips' floating point values, real-world values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from inline.data.client_text import foreign, message
from inline.data.errors import MyostreamError
from inline.elements.header import DicomHeader, as_number

_UNITS_MS: Final = {"ms": 1.0, "s": 1000.0, "us": 0.001}
"""Size of UCUM units of time, ms."""
_RESCALE_MS: Final = {"s": 1000.0, "sec": 1000.0}
"""Size of a unit of RescaleType, ms. US means unspecified (PS3.3, C.11.1.1.2), and is no microsecond."""
_RATE: Final = re.compile(r"1?/[mu]?s|[mu]?s-1|[mk]?Hz", re.IGNORECASE)
"""Units of R1 and R2, the reciprocals of T1 and T2."""


class ScaleError(MyostreamError):
    """The values of an image cannot be had from its pixels; the message does not name the image."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Value of a pixel: ``slope`` times what is stored, plus ``intercept``."""

    slope: float = 1.0
    intercept: float = 0.0


def weighted_scale(header: DicomHeader) -> Scale | None:
    """Return the scale of a weighted image; None where none is stated.

    Philips rescales each image for its display; comparable between images are only the floating point
    values: (stored x RS + RI) / (RS x SS), with the rescale slope RS, the intercept RI and the private scale
    slope SS, (2005,xx0E) of the creator Philips MR Imaging DD 001 (Chenevert et al. 2014, Transl Oncol 7:65;
    dcm2niix, Philips/README.md).
    """
    rescale = _rescale(header)
    philips = as_number(header.private(0x2005, "Philips MR Imaging DD 001", 0x0E))
    if not philips or philips < 0.0:
        return rescale
    slope, intercept = (rescale.slope, rescale.intercept) if rescale else (1.0, 0.0)
    return Scale(1.0 / philips, intercept / (slope * philips))


def map_scale(header: DicomHeader) -> Scale | None:
    """Return the scale of a map, in ms where its unit is stated; None where none is stated.

    A real-world value mapping in a unit of time wins over the rescale (DICOM PS3.3, C.7.6.16.2.11).

    Raises:
        ScaleError: the values in a unit of time are those of a table, or have several scales; or the only
            units are those of rates.
    """
    found, stated = dict[tuple[str, str], Scale](), [header.text("RescaleType")]
    for item in header.items("RealWorldValueMappingSequence"):
        units = item.get("MeasurementUnitsCodeSequence")
        unit = str(units[0].get("CodeValue", "")).strip() if units else ""
        if (size := _UNITS_MS.get(unit)) is None:
            stated.append(unit)
            continue
        if item.get("RealWorldValueLUTData"):
            raise ScaleError("its real-world values are a table (RealWorldValueLUTData), which is not read")
        if slope := as_number(item.get("RealWorldValueSlope")):
            scale = Scale(slope * size, (as_number(item.get("RealWorldValueIntercept")) or 0.0) * size)
            found[f"{scale.slope:.6g}", f"{scale.intercept:.6g}"] = scale
    if len(found) > 1:
        raise ScaleError("its real-world values have several slopes or intercepts, which is not read")
    if found:
        return next(iter(found.values()))
    if rate := next(filter(_RATE.fullmatch, stated), ""):
        raise ScaleError(f"its values are rates ({rate}), which are not read; export the map in ms")
    rescale = _rescale(header)
    size = _RESCALE_MS.get(header.text("RescaleType"), 1.0)
    return Scale(rescale.slope * size, rescale.intercept * size) if rescale else None


def _rescale(header: DicomHeader) -> Scale | None:
    """Return the rescale; None where none is stated.

    Raises:
        ScaleError: one of both is stated and is no number, or a slope of 0, or a table stands in their place:
            values would be wrong.
    """
    if header.items("ModalityLUTSequence"):
        raise ScaleError("its values are a table (ModalityLUTSequence), which is not read")
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if not slope and (stated := header.text("RescaleSlope")):
        raise ScaleError(message("RescaleSlope {} is no number, or 0", foreign(stated, repr(stated[:32]))))
    if intercept is None and (stated := header.text("RescaleIntercept")):
        raise ScaleError(message("RescaleIntercept {} is no number", foreign(stated, repr(stated[:32]))))
    return Scale(slope or 1.0, intercept or 0.0) if slope or intercept is not None else None
