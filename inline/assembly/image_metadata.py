"""Metadata of an image, from any place in which senders put it (``docs/series.md`` gives the sources)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from inline.assembly import dicom_json, minihead
from inline.assembly.dicom_json import DicomPlane, Frames, JsonHeader
from inline.assembly.enhancement import stated_enhancement
from inline.assembly.geometry import Directions, stated_directions
from inline.assembly.recognition import EARLIER, ImageKind, Recognised, joined, recognise
from inline.assembly.times import Stated, in_ms, listed
from inline.data.client_text import foreign, message
from inline.data.errors import ProtocolError
from inline.data.plural import counted
from inline.data.results import RESULT_ATTRIBUTE
from inline.data.series import Enhancement, Quantity
from inline.elements.scale import Scale, ScaleError, map_scale, weighted_scale
from inline.elements.vendors import ECHO_TIMES, LONGEST_COMMENT, PLACES, times
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
TIME_NAMES: Final = {Quantity.T1: "InversionTime", Quantity.T2: "T2PrepDuration"}
"""Attributes by which images that are made of files state their time."""
_HEAD_TIME: Final = "IceMiniHead"
_JSON_TIME: Final = "InversionTime of DicomJson"
_COMMENTED: Final = "comment"
TIME_PLACES: Final = {
    quantity: (
        *names,
        *((_HEAD_TIME, _JSON_TIME) if quantity is Quantity.T1 else ()),
        _COMMENTED,
        *(place.name for place in PLACES if place.quantity is quantity),
    )
    for quantity, names in _TIMES.items()
}
"""Places of times, in the order of precedence."""
_SATURATION_TIME: Final = "GADGETRON_TS"
_AGENT: Final = "ContrastBolusAgent"
_GADGETRON: Final = ("GADGETRON_ScaleRatio", "GADGETRON_ScaleOffset")
_RESCALE: Final = ("RescaleSlope", "RescaleIntercept")
_LARGEST: Final = 1e7
_LONGEST_SLOPE: Final = 32
_LONGEST_DESCRIPTION: Final = 1024
"""Characters of a description that are kept: results bear it for hours."""
# Possessive, so that no text takes longer than its length.
_COMMENT_TIME: Final = {
    Quantity.T1: re.compile(r"\bTI(?:eff)?+\s*+[=:]?+\s*+([0-9][0-9.,]*+)", re.IGNORECASE),
    Quantity.T2: re.compile(
        r"T2\s*+prep[a-z]*+\.?+\s*+(?:duration|time)?+\s*+[=:]?+\s*+([0-9][0-9.,]*+)", re.IGNORECASE
    ),
}
"""Times in comments that may lack a unit; those of DICOM images have one (:mod:`inline.elements.vendors`)."""


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """Metadata of one image that mapping needs.

    Attributes:
        description: of the series, from the image or else from the header, with what a chain added.
        recognised: kind of the image by its names.
        times: inversion time (T1) and preparation time (T2) that the image itself states, readable or not.
        places: the readable ones by place (:data:`TIME_PLACES`); echo times among them.
        scale: of its pixels; None where not stated.
        rescale: DICOM's rescale beside a Gadgetron scale, which is used; else None.
        unusable_scale: why a scale that is stated cannot be used, or empty.
        plane: pixel size and position by DICOM; None without a DICOM header.
        unusable_spacing: PixelSpacing of DICOM that is no pixel size, as it is stated; or empty.
        directions: of the pixels by ``ImageRowDir`` and ``ImageColumnDir``; None where not stated.
        name: description of the series that the image itself states, or empty.
        signed: the pixels have a sign (phase-sensitive images).
        lossy: the pixels were compressed with loss.
        unreadable: why the attributes cannot be read, or empty.
        frames: of an enhanced DICOM image, where it is not known which of them the image is; else None.
        enhancement: native or post-contrast, where the sender states it.
        enhancement_source: where it does, or empty.
    """

    description: str
    recognised: Recognised
    times: dict[Quantity, Stated]
    places: dict[Quantity, dict[str, Stated]] = field(default_factory=dict)
    scale: Scale | None = None
    rescale: Scale | None = None
    unusable_scale: str = ""
    plane: DicomPlane | None = None
    unusable_spacing: str = ""
    directions: Directions | None = None
    name: str = ""
    signed: bool = False
    lossy: bool = False
    unreadable: str = ""
    frames: Frames | None = None
    enhancement: Enhancement | None = None
    enhancement_source: str = ""


def read_metadata(image: Image, header: MeasurementHeader) -> ImageMetadata | str:
    """Return the metadata of an image, or the reason why it makes no map.

    Usable are single 2D images of one channel: magnitudes, complex or signed real values, or a map.
    """
    columns, rows, partitions = image.header.matrix_size
    if image.header.image_type == ImageType.RGB:
        return f"colour image of {columns} x {rows} pixels: send the images in grey"
    if image.header.channels != 1 or partitions != 1 or columns < 8 or rows < 8:
        channels = counted(image.header.channels, "channel")
        return (
            f"{columns} x {rows} x {partitions} pixels in {channels}: send each slice as an image of one "
            "channel, with the coils combined, of at least 8 x 8 pixels"
        )
    if image.header.image_type in (ImageType.PHASE, ImageType.IMAGINARY):
        return "phase or imaginary image"
    unreadable = ""
    try:
        meta = image.meta()
    except ProtocolError as error:
        meta, unreadable = {}, str(error)
    if RESULT_ATTRIBUTE in meta:
        return EARLIER
    dicom = dicom_json.parse(_first(meta, "DicomJson"), image.header)
    head = minihead.decode(_first(meta, "IceMiniHead"))
    own = (
        *filter(None, (joined(_all(meta, (name,))) for name in _DESCRIPTIONS)),
        *(value for name in _DESCRIPTIONS for value in minihead.values(head, name)[:1]),
        *dicom.texts("SeriesDescription")[:1],
    )
    protocols = dicom.texts("ProtocolName")[:1]
    additions = _all(meta, _ADDITIONS)
    measurement = [text for text in (header.series_description, header.protocol_name) if text]
    comments = (
        *_all(meta, _COMMENTS),
        *(value for name in _COMMENTS[:2] for value in minihead.values(head, name)[:1]),
        *dicom.texts("ImageComments"),
    )
    by_dicom = times(dicom)
    found = {quantity: _times(meta, dicom, head, comments, by_dicom, quantity) for quantity in Quantity}
    own_times = {quantity: time for quantity, (time, _) in found.items() if time is not None}
    timed = {quantity: bool(in_ms([own_times.get(quantity)], quantity).known) for quantity in Quantity}
    lists = {quantity for quantity in Quantity if listed(header, quantity, named=True)}
    recognised = recognise(
        own=own,
        protocols=protocols,
        types=(
            *_all(meta, _IMAGE_TYPES),
            *dicom.texts("ImageType"),
            *(value for name in _IMAGE_TYPES for value in minihead.values(head, name)),
        ),
        roles=_all(meta, _ROLES),
        additions=additions,
        measurement=measurement,
        history=_all(meta, _HISTORY),
        timed=bool(own_times),
        listed=bool(lists),
        # Some senders state an inversion time of 0 where there is no inversion.
        inverted=Quantity.T1 in lists or (timed[Quantity.T1] and not timed[Quantity.T2]),
    )
    if isinstance(recognised, str):
        return recognised
    saturation_ms = number(_first(meta, _SATURATION_TIME) or "0", _LARGEST)
    saturated = saturation_ms is None or saturation_ms > 0.0
    if saturated and recognised.quantity is not Quantity.T2:
        recognised = replace(recognised, saturation=True)
    agents = (
        *_all(meta, (_AGENT,)),
        *dicom.texts("ContrastBolusAgent"),
        *minihead.values(head, _AGENT)[:1],
    )
    # A chain may append a word as "post processed", which contradicts one before it in the joined text.
    described = (*own, *_all(meta, _DESCRIPTIONS), *protocols, *measurement)
    enhancement, stated_by = stated_enhancement(described, agents)
    own += protocols
    perhaps = recognised.kind is ImageKind.PERHAPS_MAP and not own_times
    as_map = recognised.kind is ImageKind.MAP or perhaps
    scale, rescale, unusable_scale = _scale(meta, dicom, as_map=as_map)
    plane = dicom_json.plane(dicom)
    spacing = " x ".join(dicom.texts("PixelSpacing")) if plane is None else ""
    return ImageMetadata(
        description=joined((next(iter((*own, *measurement)), ""), *additions))[:_LONGEST_DESCRIPTION],
        recognised=recognised,
        times=own_times,
        places={quantity: _without_echoes(places, recognised) for quantity, (_, places) in found.items()},
        scale=scale,
        rescale=rescale,
        unusable_scale=unusable_scale,
        plane=plane,
        unusable_spacing=spacing[:_LONGEST_SLOPE],
        directions=stated_directions(meta),
        name=next(iter(own), "")[:LONGEST_COMMENT],
        signed=image.header.image_type == ImageType.REAL,
        lossy=dicom.text("LossyImageCompression") == "01",
        unreadable=unreadable,
        frames=dicom.frames,
        enhancement=enhancement,
        enhancement_source=stated_by,
    )


def _times(
    meta: Meta,
    header: JsonHeader,
    head: str,
    comments: Sequence[str],
    found: Sequence[float | None],
    quantity: Quantity,
) -> tuple[Stated | None, dict[str, Stated]]:
    """Return the first usable time of an image, else the first that is stated; and the usable ones by place.

    Echo times are among the latter alone.

    Args:
        meta: attributes.
        header: of DICOM.
        head: of Siemens.
        comments: on the image.
        found: times at :data:`inline.elements.vendors.PLACES`.
        quantity: T1 or T2.
    """
    texts = [(name, text) for name in _TIMES[quantity] for text in _all(meta, (name,), empty=True)]
    if quantity is Quantity.T1:
        texts += [(_HEAD_TIME, text) for text in minihead.values(head, "TI")[:1]]
        texts += [(_JSON_TIME, text) for text in [header.text("InversionTime")] if text]
    for comment in comments:
        if match := _COMMENT_TIME[quantity].search(comment[:LONGEST_COMMENT]):
            texts.append((_COMMENTED, match[1]))
    stated = [(name, Stated.read(text)) for name, text in texts]
    by_dicom = [
        (place, Stated(f"{ms:g}", ms))
        for place, ms in zip(PLACES, found, strict=True)
        if place.quantity is quantity and ms is not None
    ]
    stated += [(place.name, time) for place, time in by_dicom if not place.named_only]
    # Some senders write 0 for "no inversion time".
    usable = [
        (name, time) for name, time in stated if time.number or (time.number == 0 and quantity is Quantity.T2)
    ]
    first = next((time for _, time in (*usable, *stated)), None)
    usable += [(place.name, time) for place, time in by_dicom if place.named_only]
    by_place: dict[str, Stated] = {}
    for name, time in usable:
        by_place.setdefault(name, time)
    return first, by_place


def _without_echoes(places: dict[str, Stated], recognised: Recognised) -> dict[str, Stated]:
    """Return the times without echo times, except of weighted images: a map states that of its series."""
    weighted = recognised.kind is ImageKind.WEIGHTED
    return {place: time for place, time in places.items() if weighted or place not in ECHO_TIMES}


def _scale(meta: Meta, header: JsonHeader, *, as_map: bool) -> tuple[Scale | None, Scale | None, str]:
    """Return Gadgetron's scale (pixel = value x ratio + offset), else a rescale, else DICOM's; None without.

    With Gadgetron's comes the rescale that is stated beside it, or None. Where the scale cannot be used, the
    reason comes in its place.
    """
    own, unusable = _linear([(name, _first(meta, name)) for name in _GADGETRON])
    slope, intercept = (_first(meta, name) or header.text(name) for name in _RESCALE)
    rescale, unusable_rescale = _linear(list(zip(_RESCALE, (slope, intercept), strict=True)))
    if own is not None:
        ratio, offset = own.slope, own.intercept
        return Scale(1.0 / ratio, (0.0 - offset) / ratio), rescale if slope else None, ""
    if (unusable := unusable or unusable_rescale) or any(_first(meta, name) for name in _RESCALE):
        return None if unusable else rescale, None, unusable
    if header.frames and header.frames.unscaled:
        return None, None, "It is not known which frame of DicomJson the image is, and which scale it has"
    try:
        return (map_scale if as_map else weighted_scale)(header), None, ""
    except ScaleError as problem:
        reason = str(problem)
        return None, None, reason[0].upper() + reason[1:]


def _linear(stated: Sequence[tuple[str, str]]) -> tuple[Scale | None, str]:
    """Return what the attributes of a factor and an offset state; None where neither is stated.

    An attribute that is no number, or a factor of 0, comes back as a reason: values would be wrong.
    """
    factor, offset = (number(text, _LARGEST) for _, text in stated)
    usable = ((bool(factor), ", or 0"), (offset is not None, ""))
    for (name, text), (is_usable, zero) in zip(stated, usable, strict=True):
        if text and not is_usable:
            shown = foreign(text[:_LONGEST_SLOPE])
            return None, message("{} {} of the images is no number{}", name, shown, zero)
    return (Scale(factor or 1.0, offset or 0.0) if factor or offset is not None else None), ""


def _all(meta: Meta, names: Sequence[str], *, empty: bool = False) -> tuple[str, ...]:
    """Return the values of these attributes, stripped; empty ones only with ``empty``."""
    return tuple(value.strip() for name in names for value in meta.get(name, ()) if empty or value.strip())


def _first(meta: Meta, name: str) -> str:
    return next(iter(_all(meta, (name,))), "")
