"""Metadata of an image, from any place in which senders put it (``docs/series.md`` gives the sources)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inline.assembly import dicom_json, minihead
from inline.assembly.dicom_json import DicomPlane
from inline.assembly.enhancement import stated_enhancement
from inline.assembly.pixels import Scale
from inline.assembly.recognition import Recognised, recognise
from inline.assembly.times import Stated, listed
from inline.data.errors import ProtocolError
from inline.data.results import RESULT_ATTRIBUTE
from inline.data.series import Enhancement, Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import Meta
from inline.mrd.text import number

_DESCRIPTIONS: Final = ("SequenceDescription", "SeriesDescription")
_ADDITIONS: Final = (
    "GADGETRON_SeqDescription",
    "SequenceDescriptionAdditional",
    "SeriesDescriptionAdditional",
)
_COMMENTS: Final = ("ImageComments", "ImageComment", "GADGETRON_ImageComment")
_ROLES: Final = ("GADGETRON_DataRole", "DataRole")
_HISTORY: Final = ("ImageProcessingHistory", "GADGETRON_ImageProcessingHistory")
_IMAGE_TYPES: Final = ("ImageType", "DicomImageType", "ImageTypeValue3", "ImageTypeValue4")
_TIMES: Final = {
    Quantity.T1: ("GADGETRON_TI", "InversionTime", "TI"),
    Quantity.T2: ("T2PrepDuration", "T2PrepTime", "GADGETRON_T2Prep"),
}
_AGENT: Final = "ContrastBolusAgent"
_GADGETRON: Final = ("GADGETRON_ScaleRatio", "GADGETRON_ScaleOffset")
_RESCALE: Final = (
    ("RescaleSlope", dicom_json.RESCALE_SLOPE),
    ("RescaleIntercept", dicom_json.RESCALE_INTERCEPT),
)
_LARGEST: Final = 1e7
_LONGEST_SLOPE: Final = 32
_LONGEST_DESCRIPTION: Final = 1024
"""Characters of a description that are kept: results bear it for hours."""
_LONGEST_COMMENT: Final = 10_240
"""Characters of a comment that are read: as many as DICOM's LT has."""
# Possessive, so that no text takes longer than its length.
_COMMENT_TIME: Final = {
    Quantity.T1: re.compile(r"\bTI\s*+[=:]?+\s*+([0-9][0-9.,]*+)", re.IGNORECASE),
    Quantity.T2: re.compile(
        r"T2\s*+prep[a-z]*+\.?+\s*+(?:duration|time)?+\s*+[=:]?+\s*+([0-9][0-9.,]*+)", re.IGNORECASE
    ),
}


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """Metadata of one image that mapping needs.

    Attributes:
        description: of the series, from the image or else from the header, with what a chain added.
        recognised: kind of the image by its names.
        times: inversion time (T1) and preparation time (T2) that the image itself states, readable or not.
        scale: of its pixels; None where not stated.
        rescale: DICOM's rescale beside a Gadgetron scale, which is used; else None.
        unusable_scale: attribute of a scale that is no number, or a factor of 0, and its text; empty without.
        plane: pixel size and position by DICOM; None without a DICOM header.
        unusable_spacing: PixelSpacing of DICOM that is no pixel size, as it is stated; or empty.
        name: description of the series that the image itself states, or empty.
        signed: the pixels have a sign (phase-sensitive images).
        readable: the attributes could be read.
        enhancement: native or post-contrast, where the sender states it.
        enhancement_source: where it does, or empty.
    """

    description: str
    recognised: Recognised
    times: dict[Quantity, Stated]
    scale: Scale | None = None
    rescale: Scale | None = None
    unusable_scale: tuple[str, ...] = ()
    plane: DicomPlane | None = None
    unusable_spacing: str = ""
    name: str = ""
    signed: bool = False
    readable: bool = True
    enhancement: Enhancement | None = None
    enhancement_source: str = ""


def read_metadata(image: Image, header: MeasurementHeader) -> ImageMetadata | str:
    """Return the metadata of an image, or the reason why it makes no map.

    Usable are single 2D images of one channel: magnitudes, complex or signed real values, or a map.
    """
    columns, rows, partitions = image.header.matrix_size
    if image.header.channels != 1 or partitions != 1 or columns < 8 or rows < 8:
        return "not a 2D image of one channel"
    if image.header.image_type in (ImageType.PHASE, ImageType.IMAGINARY, ImageType.RGB):
        return "phase, imaginary or colour image"
    readable = True
    try:
        meta = image.meta()
    except ProtocolError:
        meta, readable = {}, False
    if RESULT_ATTRIBUTE in meta:
        return "earlier result of myostream"
    dicom, head = dicom_json.parse(_first(meta, "DicomJson")), minihead.decode(_first(meta, "IceMiniHead"))
    own = (
        *_all(meta, _DESCRIPTIONS),
        *(value for name in _DESCRIPTIONS for value in minihead.values(head, name)[:1]),
        *dicom_json.values(dicom, dicom_json.SERIES_DESCRIPTION)[:1],
    )
    protocols = dicom_json.values(dicom, dicom_json.PROTOCOL_NAME)[:1]
    additions = _all(meta, _ADDITIONS)
    measurement = [text for text in (header.series_description, header.protocol_name) if text]
    comments = (
        *_all(meta, _COMMENTS),
        *(value for name in _COMMENTS[:2] for value in minihead.values(head, name)[:1]),
        *dicom_json.values(dicom, dicom_json.IMAGE_COMMENTS),
    )
    found = {quantity: _time(meta, dicom, head, comments, quantity) for quantity in Quantity}
    times = {quantity: time for quantity, time in found.items() if time is not None}
    recognised = recognise(
        own=own,
        protocols=protocols,
        types=(
            *_all(meta, _IMAGE_TYPES),
            *dicom_json.values(dicom, dicom_json.IMAGE_TYPE),
            *(value for name in _IMAGE_TYPES for value in minihead.values(head, name)),
        ),
        roles=_all(meta, _ROLES),
        additions=additions,
        measurement=measurement,
        history=_all(meta, _HISTORY),
        timed=bool(times),
        listed=any(listed(header, quantity, named=True) for quantity in Quantity),
    )
    if isinstance(recognised, str):
        return recognised
    own += protocols
    agents = (
        *_all(meta, (_AGENT,)),
        *dicom_json.values(dicom, dicom_json.CONTRAST_AGENT),
        *minihead.values(head, _AGENT)[:1],
    )
    enhancement, stated_by = stated_enhancement((*own, *measurement), agents)
    scale, rescale, unusable_scale = _scale(meta, dicom)
    plane = dicom_json.plane(dicom)
    spacing = " x ".join(dicom_json.values(dicom, dicom_json.PIXEL_SPACING)) if plane is None else ""
    return ImageMetadata(
        description=(next(iter((*own, *measurement)), "") + "".join(additions))[:_LONGEST_DESCRIPTION],
        recognised=recognised,
        times=times,
        scale=scale,
        rescale=rescale,
        unusable_scale=unusable_scale,
        plane=plane,
        unusable_spacing=spacing[:_LONGEST_SLOPE],
        name=next(iter(own), "")[:_LONGEST_COMMENT],
        signed=image.header.image_type == ImageType.REAL,
        readable=readable,
        enhancement=enhancement,
        enhancement_source=stated_by,
    )


def _time(
    meta: Meta, dicom: dicom_json.Elements, head: str, comments: Sequence[str], quantity: Quantity
) -> Stated | None:
    """Return the first readable time, else the first that is stated, else None."""
    places = _all(meta, _TIMES[quantity], empty=True)
    if quantity is Quantity.T1:
        places += minihead.values(head, "TI")[:1]
        places += dicom_json.values(dicom, dicom_json.INVERSION_TIME)[:1]
        several = dicom_json.values(dicom, dicom_json.INVERSION_TIMES)
        places += several if len(several) == 1 else ()
    for comment in comments:
        if found := _COMMENT_TIME[quantity].search(comment[:_LONGEST_COMMENT]):
            places += (found[1],)
    stated = [Stated.read(text) for text in places]
    # Some senders write 0 for "no inversion time".
    usable = [time for time in stated if time.number or (time.number == 0 and quantity is Quantity.T2)]
    return next(iter((*usable, *stated)), None)


def _scale(meta: Meta, dicom: dicom_json.Elements) -> tuple[Scale | None, Scale | None, tuple[str, ...]]:
    """Return Gadgetron's scale (pixel = value x ratio + offset), else DICOM's rescale, else None.

    With Gadgetron's comes the rescale that is stated beside it, or None. Where the scale cannot be used, its
    attribute and text come in its place.
    """
    own, unusable = _linear([(name, _first(meta, name)) for name in _GADGETRON])
    stated = [
        (name, _first(meta, name) or next(iter(dicom_json.values(dicom, tag)), "")) for name, tag in _RESCALE
    ]
    rescale, unusable_rescale = _linear(stated)
    if own is not None:
        ratio, offset = own.slope, own.intercept
        return Scale(1.0 / ratio, (0.0 - offset) / ratio), rescale if stated[0][1] else None, ()
    unusable = unusable or unusable_rescale
    return None if unusable else rescale, None, unusable


def _linear(stated: Sequence[tuple[str, str]]) -> tuple[Scale | None, tuple[str, ...]]:
    """Return what the attributes of a factor and an offset state; None where neither is stated.

    An attribute that is no number, or a factor of 0, comes back with its text: values would be wrong.
    """
    factor, offset = (number(text, _LARGEST) for _, text in stated)
    for (name, text), usable in zip(stated, (bool(factor), offset is not None), strict=True):
        if text and not usable:
            return None, (name, text[:_LONGEST_SLOPE])
    return (Scale(factor or 1.0, offset or 0.0) if factor or offset is not None else None), ()


def _all(meta: Meta, names: Sequence[str], *, empty: bool = False) -> tuple[str, ...]:
    """Return the values of these attributes, stripped; empty ones only with ``empty``."""
    return tuple(value.strip() for name in names for value in meta.get(name, ()) if empty or value.strip())


def _first(meta: Meta, name: str) -> str:
    return next(iter(_all(meta, (name,))), "")
