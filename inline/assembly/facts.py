"""What an image says about itself, wherever its sender put it (``docs/series.md`` gives the sources)."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inline.errors import ProtocolError, SeriesError
from inline.geometry import SliceGeometry
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import Meta
from inline.results import RESULT_ATTRIBUTE
from inline.series import Quantity

_DESCRIPTIONS: Final = ("SequenceDescription", "GADGETRON_SeqDescription", "SeriesDescription")
_COMMENTS: Final = ("ImageComments", "ImageComment", "GADGETRON_ImageComment")
_ROLES: Final = ("GADGETRON_DataRole", "DataRole")
_IMAGE_TYPES: Final = ("ImageType", "DicomImageType", "ImageTypeValue3", "ImageTypeValue4")
_TIMES: Final = {
    Quantity.T1: ("GADGETRON_TI", "InversionTime", "TI"),
    Quantity.T2: ("T2PrepDuration", "T2PrepTime", "GADGETRON_T2Prep"),
}
_COMMENT_TIME: Final = {
    Quantity.T1: re.compile(r"\bTI\s*[=:]?\s*([0-9.]+)", re.IGNORECASE),
    Quantity.T2: re.compile(r"T2\s*prep\w*\.?\s*(?:duration|time)?\s*[=:]?\s*([0-9.]+)", re.IGNORECASE),
}
_NAMED: Final = {
    Quantity.T1: re.compile(r"molli|look.?locker|t1[\s_-]*map", re.IGNORECASE),
    Quantity.T2: re.compile(r"t2[\s_-]*(prep|map)", re.IGNORECASE),
}
_MAP_SUFFIX: Final = re.compile(r"[\s_-](T[12])\s*$")
_MAP_WORDS: Final = re.compile(r"\b(T[12])[\s_-]*map\b", re.IGNORECASE)
_ROLE_NAMES: Final = {"T1": Quantity.T1, "T2": Quantity.T2, "T1MAP": Quantity.T1, "T2MAP": Quantity.T2}
_INVERSION_TIME_TAG: Final = "00180082"
_DESCRIPTION_TAG: Final = "0008103E"
_SLOPE_TAG: Final = "00281053"
_INTERCEPT_TAG: Final = "00281052"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What matters for mapping in one image.

    Attributes:
        description: of the series, from the image or else from the header.
        made: quantity of a map that the scanner made; None for any other image.
        named: quantity that the description names; None where it names none.
        times_ms: inversion time (T1) and preparation time (T2) that the image itself states.
        slope: a map's pixel times this, plus ``intercept``, is its value in ms; None where not stated.
        intercept: see ``slope``.
    """

    description: str
    made: Quantity | None
    named: Quantity | None
    times_ms: dict[Quantity, float]
    slope: float | None = None
    intercept: float = 0.0


def read_facts(image: Image, header: MeasurementHeader) -> ImageFacts | None:
    """What an image says, or None for one that cannot be of use.

    Of use are single 2D images of one channel that hold magnitudes (or complex values, or a map). Attributes
    that cannot be read count as absent.
    """
    columns, rows, partitions = image.header.matrix_size
    if image.header.channels != 1 or partitions != 1 or columns < 8 or rows < 8:
        return None
    if image.header.image_type in (ImageType.PHASE, ImageType.IMAGINARY, ImageType.RGB):
        return None
    try:
        meta = image.meta()
    except ProtocolError:
        meta = {}
    if RESULT_ATTRIBUTE in meta:
        return None  # a result of an earlier run, in a file that is replayed
    dicom = _dicom(meta)
    description = (
        _first(meta, _DESCRIPTIONS)
        or _dicom_text(dicom, _DESCRIPTION_TAG)
        or header.series_description
        or header.protocol_name
    )
    times = {}
    for quantity in Quantity:
        time = _own_time(meta, dicom, quantity)
        if time is not None:
            times[quantity] = time
    timed = bool(times) or any(header_times(header, quantity, named=True) for quantity in Quantity)
    made = _made(meta, description, timed=timed)
    if made is None and image.header.image_type == ImageType.REAL:
        return None
    slope, intercept = _scale(meta, dicom)
    named = next((quantity for quantity in Quantity if _NAMED[quantity].search(description)), None)
    return ImageFacts(description, made, named, times, slope, intercept)


def read_geometry(header: ImageHeader) -> tuple[SliceGeometry, bool]:
    """Geometry of an image, and whether its directions are usable ones.

    Where they are not, the image's own axes stand in for the patient's.

    Raises:
        SeriesError: the field of view does not give a pixel size.
    """
    columns, rows, _ = header.matrix_size
    width, height, thickness = header.field_of_view
    spacing = (width / columns, height / rows)
    if not all(math.isfinite(size) and 0.05 <= size <= 20.0 for size in spacing):
        raise SeriesError(
            f"a field of view of {width:g} x {height:g} mm over {columns} x {rows} pixels gives no pixel "
            "size; set field_of_view in the image headers"
        )
    row, column = np.array(header.read_dir), np.array(header.phase_dir)
    lengths = np.linalg.norm([row, column], axis=1)
    oriented = bool(
        np.isfinite(lengths).all() and (np.abs(lengths - 1.0) < 0.02).all() and abs(row @ column) < 0.02
    )
    if not oriented:
        row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    along = np.array(header.slice_dir)
    perpendicular = oriented and abs(abs(float(along @ np.cross(row, column))) - 1.0) < 0.02
    position = header.position if all(map(math.isfinite, header.position)) else (0.0, 0.0, 0.0)
    geometry = SliceGeometry(
        position=position,
        row_direction=(float(row[0]), float(row[1]), float(row[2])),
        column_direction=(float(column[0]), float(column[1]), float(column[2])),
        spacing=spacing,
        shape=(rows, columns),
        thickness=thickness if math.isfinite(thickness) and thickness > 0 else 8.0,
        slice_direction=header.slice_dir if perpendicular else None,
    )
    return geometry, oriented


def header_times(header: MeasurementHeader, quantity: Quantity, *, named: bool) -> tuple[float, ...]:
    """Times that the measurement's header lists for the images of one series, ms; empty where it does not.

    Args:
        header: of the measurement.
        quantity: T1: ``sequenceParameters/TI``, four or more. T2: the user parameters ``T2PrepDuration_0``,
            ``_1`` ..., else ``sequenceParameters/TE``, three or more, where the series is named T2 mapping.
        named: the series' description names this quantity.
    """
    if quantity is Quantity.T1:
        times = header.inversion_times_ms
        if len(times) < 4:
            return ()
        # No MOLLI series ends before 20 ms: such times are seconds.
        return tuple(time * 1000.0 for time in times) if max(times) < 20.0 else times
    numbered: list[float] = []
    while (text := header.parameters.get(f"T2PrepDuration_{len(numbered)}")) is not None:
        time = _number(text)
        if time is None:
            break
        numbered.append(time)
    if len(numbered) >= 2:
        return tuple(numbered)
    return header.echo_times_ms if named and len(header.echo_times_ms) >= 3 else ()


def _made(meta: Meta, description: str, *, timed: bool) -> Quantity | None:
    """Which quantity a scanner-made map shows; standard-deviation and R2 maps are none.

    "T1 map" in a description names the protocol as often as the map; it counts where no times are known.
    """
    roles = {value.strip().upper() for name in _ROLES for value in meta.get(name, ())}
    for role in roles:
        if role in _ROLE_NAMES:
            return _ROLE_NAMES[role]
    if any(role.endswith("SD") for role in roles):
        return None
    for name in _IMAGE_TYPES:
        for value in meta.get(name, ()):
            for part in re.split(r"[\\/,]", value):
                token = re.sub(r"[\s_-]", "", part).upper()
                if token in _ROLE_NAMES:
                    return _ROLE_NAMES[token]
    if suffix := _MAP_SUFFIX.search(description):
        return Quantity(suffix[1])
    if not timed and (words := _MAP_WORDS.search(description)):
        return Quantity(words[1].upper())
    return None


def _own_time(meta: Meta, dicom: dict[str, Any], quantity: Quantity) -> float | None:
    for name in _TIMES[quantity]:
        for value in meta.get(name, ()):
            time = _number(value)
            if time is not None:
                return time
    if quantity is Quantity.T1:
        time = _number(_dicom_text(dicom, _INVERSION_TIME_TAG))
        if time is not None:
            return time
    for name in _COMMENTS:
        for value in meta.get(name, ()):
            if found := _COMMENT_TIME[quantity].search(value):
                return _number(found[1])
    return None


def _scale(meta: Meta, dicom: dict[str, Any]) -> tuple[float | None, float]:
    """Slope and intercept from pixel to ms: Gadgetron's ratio and offset, or DICOM's rescale."""
    ratio = _number(_first(meta, ("GADGETRON_ScaleRatio",)))
    if ratio:
        offset = _number(_first(meta, ("GADGETRON_ScaleOffset",))) or 0.0
        return 1.0 / ratio, -offset / ratio
    slope = _number(_first(meta, ("RescaleSlope",)) or _dicom_text(dicom, _SLOPE_TAG))
    if slope:
        intercept = _number(_first(meta, ("RescaleIntercept",)) or _dicom_text(dicom, _INTERCEPT_TAG)) or 0.0
        return slope, intercept
    return None, 0.0


def _first(meta: Meta, names: Sequence[str]) -> str:
    for name in names:
        for value in meta.get(name, ()):
            if value.strip():
                return value.strip()
    return ""


def _dicom(meta: Meta) -> dict[str, Any]:
    """The DICOM header that ``dicom2mrd`` of python-ismrmrd-server keeps as JSON, or nothing."""
    encoded = _first(meta, ("DicomJson",))
    if not encoded:
        return {}
    try:
        content = json.loads(base64.b64decode(encoded))
    except (binascii.Error, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _dicom_text(dicom: dict[str, Any], tag: str) -> str:
    element = dicom.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= abs(value) < 1e7 else None
