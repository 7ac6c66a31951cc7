"""Frames: the single images of DICOM files, with what the assembly needs to know of them.

A frame becomes an MRD image, so that DICOM goes through the same assembly as a stream: recognition by names,
times, motion-corrected twins, geometry and flags have one implementation. Names, comments, pixel size and
position travel in the attribute ``DicomJson``, as converters write it; time and scale in attributes of
their own. Nothing of the patient is among them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.assembly import dicom_json
from inline.assembly.dicom_json import Elements, JsonHeader
from inline.assembly.image_metadata import TIME_NAMES
from inline.assembly.recognition import WEIGHTINGS, ImageKind, Recognised, recognise
from inline.data.errors import DicomError
from inline.data.series import Quantity
from inline.elements.header import FrameHeader
from inline.elements.scale import Scale, map_scale, weighted_scale
from inline.elements.vendors import STANDARD, Time, comments, timed, times
from inline.mrd.header import identifier
from inline.mrd.image_header import MOST_PIXEL_BYTES, ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue, format_meta
from inline.mrd.text import number

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ENHANCED: Final = "1.2.840.10008.5.1.4.1.1.4.1"
"""SOP class of enhanced MR images."""
_MOST_FRAMES: Final = 16_384
_UNCOMPRESSED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes of uncompressed pixels in files that are read."""
_LEAST_BYTES: Final = 8
"""Of a compressed frame, which is an item of its own (PS3.5 A.4)."""
_LOSSY: Final = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes with loss: JPEG Baseline and Extended, JPEG-LS Near-Lossless."""
_FURTHEST_MM: Final = 1e5
_ACQUIRED: Final = (
    ("", "FrameAcquisitionDateTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("", "AcquisitionDateTime"),
    ("ContentDate", "ContentTime"),
)
"""Attributes of date and time of acquisition, in the order of precedence; a DateTime holds both."""
_POSITIONS: Final = ("TemporalPositionIndex", "TemporalPositionIdentifier")
"""Numbers of repetitions of enhanced and of classic images."""
_ACQUISITIONS: Final = ("FrameAcquisitionNumber", "AcquisitionNumber")
"""Numbers of acquisitions: vendors count them by series, inversion or image."""
_TIME: Final = re.compile(r"(\d\d)(\d\d)(?:(\d\d(?:\.\d+)?))?")
_NAMES: Final = ("SeriesDescription", "ProtocolName")
_COMPONENTS: Final = {
    "M": ImageType.MAGNITUDE,
    "MAGNITUDE": ImageType.MAGNITUDE,
    "P": ImageType.PHASE,
    "PHASE": ImageType.PHASE,
    "PHASE MAP": ImageType.PHASE,
    "R": ImageType.REAL,
    "REAL": ImageType.REAL,
    "I": ImageType.IMAGINARY,
    "IMAGINARY": ImageType.IMAGINARY,
}
"""ImageType (value 3 and on, M_SE and alike by their first part) and ComplexImageComponent (0008,9208)."""
_GE_COMPONENTS: Final = (ImageType.MAGNITUDE, ImageType.PHASE, ImageType.REAL, ImageType.IMAGINARY)
"""GE's (0043,xx2F) of the creator GEMS_PARM_01 (dcm2niix, GE/README.md)."""
_WIDER: Final = {
    np.dtype(np.uint8): np.uint16,
    np.dtype(bool): np.uint16,
    np.dtype(np.int8): np.int32,
    np.dtype(np.int16): np.int32,
}
"""Types that MRD does not have, and next ones that hold their values. Signed numbers of 16 bits may be
magnitudes that a sender of MRD has wrapped; DICOM states the sign (PixelRepresentation)."""


class OfStudy(NamedTuple):
    """Statements of an image that identify its study, as it has them; each may be empty."""

    patient_id: str
    accession_number: str
    study_date: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a DICOM file, without its pixels.

    Attributes:
        file: that holds it.
        index: of the frame in the file, from 0.
        instance: SOP instance UID of the file.
        study: study instance UID, or empty.
        of_study: what else identifies the study.
        reference: frame of reference UID, or empty; in an examination, that of its series.
        patient: patient ID; where it is a placeholder and the name is none, the name in one form.
        series: series instance UID, or empty.
        series_number: or None.
        number: instance number of a file with one frame; None where not stated, or with several.
        repetition: temporal position and number of the acquisition, each None where not stated.
        stated: number of objects of the series (0020,1209), or None.
        concatenation: UID of the concatenation that its file is a part of, or empty, and the number of these
            parts, as far as stated.
        moment: time of acquisition, seconds of the day, or of the first day of an examination
            (:func:`inline.dicom.order.on_one_day`); NaN where not stated.
        day: number of that day, by its date; None where not stated.
        place: MRD header with size, directions, position, field of view and image type.
        location: SliceLocation, mm; NaN where not stated.
        in_stack: InStackPositionNumber; 0 where not stated.
        elements: names, image type, comments and plane as ``DicomJson`` holds them.
        recognised: kind by names and image type; else the reason why it makes no map.
        weighting: its image type where that states the weighting, as that of enhanced MR does; or empty.
        times: as :func:`inline.elements.vendors.times` returns them.
        scale: of the pixels, or None; without a time, of a map where the names may be those of one.
        weighted_scale: of the pixels with a time, or None. Of no mapping image, no scale is read.
        coloured: its pixels are numbers of colours, which nothing says to be values.
        unreadable_time: time of a weighted image that is stated and no number, as it is stated; or empty.
        cut_off: the file is shorter than the pixels up to this frame.
        copies: the same image in further files; their scales are their own.
        other_reference: the images of its series state several frames of reference, or some none.
    """

    file: Path
    index: int
    instance: str
    study: str
    of_study: OfStudy = field(repr=False)
    reference: str
    patient: str = field(repr=False)
    series: str
    series_number: int | None
    number: int | None
    repetition: tuple[int | None, int | None]
    stated: int | None
    concatenation: tuple[str, int]
    moment: float
    day: int | None
    place: ImageHeader
    location: float
    in_stack: int
    elements: Elements
    recognised: Recognised | str
    weighting: str
    times: tuple[float | None, ...]
    scale: Scale | None
    weighted_scale: Scale | None
    coloured: bool
    unreadable_time: str = ""
    cut_off: bool = False
    copies: tuple[Frame, ...] = ()
    other_reference: bool = False

    @property
    def quantity(self) -> Quantity | None:
        """Quantity that its names state; None for any other image."""
        return None if isinstance(self.recognised, str) else self.recognised.quantity

    @property
    def kind(self) -> ImageKind | None:
        """Kind of image that its names and types state; None for one that is not used."""
        return None if isinstance(self.recognised, str) else self.recognised.kind

    @property
    def name(self) -> str:
        """Series description, else protocol name."""
        header = JsonHeader.of(self.elements)
        return next((text for name in _NAMES for text in header.texts(name)), "")

    def copies_in(self, files: Iterable[Sequence[Frame]]) -> Iterator[Frame]:
        """Yield the same image in further files with its instance UID.

        Other images have this UID too, by mistake: times, place and names are compared.

        Args:
            files: frames of each file.
        """
        for frames_ in files:
            if self.index < len(frames_) and frames_[self.index]._stated == self._stated:
                yield frames_[self.index]

    @property
    def _stated(self) -> str:
        """Text that copies of one image have in common. As text, two NaN are the same."""
        return repr(
            (self.times, self.moment, self.number, self.place, self.location, self.in_stack, self.recognised)
        )

    def image(self, header: ImageHeader, time: Time | None, pixels: Any = None) -> Image:
        """Return the frame as an MRD image.

        Args:
            header: :attr:`place` with its counters.
            time: that it was acquired at.
            pixels: ``(rows, columns)``; None leaves the pixels out.

        Raises:
            DicomError: MRD has no such pixels.
        """
        meta: dict[str, MetaValue] = {"DicomJson": json.dumps(self.elements)}
        if time is not None:
            meta[TIME_NAMES[time.place.quantity]] = f"{time.ms:.10g}"
        elif self.unreadable_time and self.quantity is not None:
            # Messages show it. MRD allows a decimal comma, DICOM does not: it is not read as a number.
            meta[TIME_NAMES[self.quantity]] = f"{self.unreadable_time} (no number)"
        scale = self.scale if time is None else self.weighted_scale
        if scale is not None:
            meta["RescaleSlope"] = repr(scale.slope)
            meta["RescaleIntercept"] = repr(scale.intercept)
        if pixels is None:
            attributes = format_meta(meta)
            return Image(replace(header, attribute_string_len=len(attributes)), attributes, b"")
        if pixels.dtype in _WIDER:
            pixels = pixels.astype(_WIDER[pixels.dtype])
        columns, rows, _ = header.matrix_size
        if pixels.shape != (rows, columns):
            raise DicomError(
                f"{self.file}: its pixels are {pixels.shape}, its header states {rows} rows of {columns}"
            )
        return Image.from_pixels(pixels[None, None], header, meta)


def frames(image: Dataset, file: Path) -> Iterator[Frame]:
    """Yield the frames of a DICOM image, read without its pixels.

    Raises:
        DicomError: the number of frames, or the size of the image, is none or above a limit, or the pixels do
            not end at the lowest bit. Number above the limit and bits count for mapping images alone.
    """
    count = _integer(image.get("NumberOfFrames")) or 1
    columns, rows = (_integer(image.get(name)) or 0 for name in ("Columns", "Rows"))
    if count < 1:
        raise DicomError(f"{file}: it states {count} frames")
    if not (1 <= columns <= 65_535 and 1 <= rows <= 65_535):
        raise DicomError(f"{file}: it states {rows} rows of {columns} pixels, which is no image")
    if (size := pixel_bytes(image)) > MOST_PIXEL_BYTES:
        raise DicomError(
            f"{file}: its images have {size} bytes of pixels each; at most {MOST_PIXEL_BYTES} are read"
        )
    least = size if image.file_meta.get("TransferSyntaxUID") in _UNCOMPRESSED else _LEAST_BYTES
    held = file.stat().st_size // least
    stored, high = (_integer(image.get(name)) for name in ("BitsStored", "HighBit"))
    shifted = stored is not None and high is not None and high != stored - 1
    if (
        1 < count <= _MOST_FRAMES
        and (groups := image.get("PerFrameFunctionalGroupsSequence"))
        and len(groups) < count
    ):
        raise DicomError(f"{file}: it has {count} frames and {len(groups)} functional groups of frames")
    for index, header in enumerate(FrameHeader.of_frames(image, min(count, _MOST_FRAMES))):
        frame = _frame(header, file, index, (columns, rows), alone=count == 1)
        frame = replace(frame, cut_off=index >= held)
        mapping = _may_be_mapping(frame.recognised, frame.times)
        if mapping and count > _MOST_FRAMES:
            raise DicomError(f"{file}: it states {count} frames; at most {_MOST_FRAMES} are read")
        if mapping and shifted:
            raise DicomError(
                f"{file}: its pixels are {stored} bits up to bit {high} (HighBit), which are not read"
            )
        yield frame


def pixel_bytes(image: Dataset) -> int:
    """Return the bytes of the pixels of one frame, decoded; 0 where no size is stated."""
    rows, columns, samples = (
        _integer(image.get(name)) or 0 for name in ("Rows", "Columns", "SamplesPerPixel")
    )
    bits = _integer(image.get("BitsAllocated")) or 0
    return rows * columns * max(samples, 1) * max(bits // 8, 1)


def _may_be_mapping(recognised: Recognised | str, stated: Sequence[float | None]) -> bool:
    """Return whether a frame may be a mapping image; the pixels of others, and their scale, are not used."""
    return isinstance(recognised, Recognised) and (recognised.quantity is not None or timed(stated))


def _frame(header: FrameHeader, file: Path, index: int, size: tuple[int, int], *, alone: bool) -> Frame:
    stated = times(header)
    moment, day = _acquired(header)
    elements = _elements(header)
    own_type = header.text("FrameType") or header.text("ImageType")
    described, protocol = ([text] if (text := header.text(name)) else [] for name in _NAMES)
    recognised = recognise(
        own=described,
        protocols=protocol,
        types=JsonHeader.of(elements).texts("ImageType"),
        timed=timed(stated),
        listed=False,
        inverted=timed(stated, (Quantity.T1,)),
    )
    kind = recognised.kind if isinstance(recognised, Recognised) else None
    used = _may_be_mapping(recognised, stated)
    weighted = weighted_scale(header) if used and kind is not ImageKind.MAP else None
    return Frame(
        file=file,
        index=index,
        instance=header.text("SOPInstanceUID"),
        study=header.text("StudyInstanceUID"),
        of_study=OfStudy(*map(header.text, ("PatientID", "AccessionNumber", "StudyDate"))),
        reference=header.text("FrameOfReferenceUID"),
        patient=_patient(header),
        series=header.text("SeriesInstanceUID"),
        series_number=_integer(header.value("SeriesNumber")),
        number=_integer(header.value("InstanceNumber")) if alone else None,
        repetition=(_first(header, *_POSITIONS), _first(header, *_ACQUISITIONS)),
        stated=_integer(header.value("NumberOfSeriesRelatedInstances")),
        concatenation=(header.text("ConcatenationUID"), _parts(header)),
        moment=moment,
        day=day,
        place=_place(header, size),
        location=_or_nan(header.number("SliceLocation")),
        in_stack=_in_stack(header),
        elements=elements,
        recognised=recognised,
        weighting=own_type if _states_weighting(header, own_type) else "",
        times=stated,
        scale=map_scale(header) if used and kind is not ImageKind.WEIGHTED else weighted,
        weighted_scale=weighted,
        coloured=_coloured(header),
        unreadable_time=_unreadable_time(header, recognised),
    )


def _parts(header: FrameHeader) -> int:
    """Return the number of objects of a concatenation; without it, the number of this one."""
    stated = (_integer(header.value(f"InConcatenation{name}")) for name in ("TotalNumber", "Number"))
    return max((number or 0 for number in stated), default=0)


def _coloured(header: FrameHeader) -> bool:
    """Return whether pixels are numbers of colours, without a real-world value mapping."""
    palette = header.text("PhotometricInterpretation").upper() == "PALETTE COLOR"
    return palette and not header.items("RealWorldValueMappingSequence")


def _unreadable_time(header: FrameHeader, recognised: Recognised | str) -> str:
    """Return the stated time of a weighted image that is no number, as 100,0; empty without one.

    An image with an echo time alone may be a map, as may one whose time an anonymiser made a word.
    """
    if isinstance(recognised, str) or recognised.kind is ImageKind.MAP or recognised.quantity is None:
        return ""
    if recognised.quantity is Quantity.T2 and recognised.kind is not ImageKind.WEIGHTED:
        return ""
    stated = (header.text(name) for name in STANDARD[recognised.quantity])
    unreadable = (text for text in stated if number(text.partition("\\")[0], math.inf) is None)
    return next((text for text in unreadable if re.search(r"\d", text)), "")


def _patient(header: FrameHeader) -> str:
    stated = header.text("PatientID")
    # Else all patients of a folder without UIDs would be one; ANON001 and ANON002 are two.
    return stated if identifier(stated) else identifier(str(header.value("PatientName") or "")) or stated


def _elements(header: FrameHeader) -> Elements:
    """Return the attributes that the assembly reads, as DICOM JSON."""
    return dicom_json.elements(
        {
            **{name: [header.text(name)] for name in _NAMES},
            "ImageComments": [comments(header)],
            "ContrastBolusAgent": [_contrast_agent(header)],
            "ImageType": [part for name in ("ImageType", "FrameType") for part in _image_type(header, name)],
            "PixelSpacing": _lengths(header, "PixelSpacing", 2) or header.text("PixelSpacing").split("\\"),
            "ImageOrientationPatient": _lengths(header, "ImageOrientationPatient", 6) or (),
            "ImagePositionPatient": _first_pixel(header) or (),
            "LossyImageCompression": ["01" if _is_lossy(header) else ""],
        }
    )


def _is_lossy(header: FrameHeader) -> bool:
    """Return whether the pixels were compressed with loss, now or before; JPEG 2000 alone shows neither."""
    return header.text("LossyImageCompression") == "01" or header.transfer_syntax in _LOSSY


def _contrast_agent(header: FrameHeader) -> str:
    """Return the contrast agent; enhanced MR states it as a code alone (DICOM PS3.3, C.7.6.4b)."""
    coded = header.items("ContrastBolusAgentSequence")[:1]
    return header.text("ContrastBolusAgent") or "".join(str(item.get("CodeMeaning") or "") for item in coded)


def _image_type(header: FrameHeader, name: str) -> list[str]:
    """Return the values of an image type; of enhanced MR without a value 3 that is the weighting (T1, T2)."""
    stated = header.text(name)
    parts = stated.split("\\")
    return parts[:2] + parts[3:] if _states_weighting(header, stated) else parts


def _states_weighting(header: FrameHeader, image_type: str) -> bool:
    third = image_type.split("\\")[2:3]
    return header.text("SOPClassUID") == _ENHANCED and bool(third) and third[0].strip() in WEIGHTINGS


def _place(header: FrameHeader, size: tuple[int, int]) -> ImageHeader:
    """Return the MRD header of a frame, whose position is that of pixel N/2."""
    columns, rows = size
    spacing = _lengths(header, "PixelSpacing", 2) or (0.0, 0.0)
    cosines = _lengths(header, "ImageOrientationPatient", 6) or (0.0,) * 6
    first = _first_pixel(header) or (math.nan,) * 3
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    middle = np.array(first) + row * columns / 2 * spacing[1] + column * rows / 2 * spacing[0]
    (thickness,) = _lengths(header, "SliceThickness", 1) or (0.0,)
    return ImageHeader(
        matrix_size=(columns, rows, 1),
        field_of_view=(columns * spacing[1], rows * spacing[0], thickness),
        position=_triple(middle),
        read_dir=_triple(row),
        phase_dir=_triple(column),
        slice_dir=_triple(np.cross(row, column)),
        patient_table_position=(math.nan,) * 3,
        image_type=_component(header),
    )


def _first_pixel(header: FrameHeader) -> tuple[float, ...] | None:
    """Return the position of the first pixel, mm, None where not stated.

    Zeros that slice location or place in the stack contradict are those of an anonymiser: with them all
    slices would lie in one plane.
    """
    found = _lengths(header, "ImagePositionPatient", 3)
    elsewhere = bool(header.number("SliceLocation")) or _in_stack(header) > 1
    return None if found is not None and not any(found) and elsewhere else found


def _in_stack(header: FrameHeader) -> int:
    return _integer(header.value("InStackPositionNumber")) or 0


def _lengths(header: FrameHeader, name: str, count: int) -> tuple[float, ...] | None:
    """Return lengths in mm, or cosines; None where one is larger than any in a scanner."""
    found = header.numbers(name, count)
    return found if found is not None and max(map(abs, found)) <= _FURTHEST_MM else None


def _component(header: FrameHeader) -> ImageType:
    """Return whether the pixels are magnitudes, phases, real or imaginary parts."""
    if (_integer(header.value("SamplesPerPixel")) or 1) != 1:
        return ImageType.RGB
    complex_part = _COMPONENTS.get(header.text("ComplexImageComponent").upper())
    if complex_part is not None:
        return complex_part
    for part in header.text("ImageType").upper().split("\\")[2:]:
        if (found := _COMPONENTS.get(part) or _COMPONENTS.get(part.partition("_")[0])) is not None:
            return found
    ge = _integer(header.private(0x0043, "GEMS_PARM_01", 0x2F))
    return _GE_COMPONENTS[ge] if ge is not None and 0 <= ge < len(_GE_COMPONENTS) else ImageType.MAGNITUDE


def _acquired(header: FrameHeader) -> tuple[float, int | None]:
    """Return the time of acquisition, seconds of the day or NaN, and the number of that day or None."""
    day, clock = "", ""
    for of_day, of_time in _ACQUIRED:
        stated = header.text(of_time)
        day, clock = (header.text(of_day), stated) if of_day else (stated[:8], stated[8:])
        if clock:
            break
    found = _TIME.match(clock)
    if found is None:
        return math.nan, None
    moment = int(found[1]) * 3600.0 + int(found[2]) * 60.0 + float(found[3] or 0.0)
    try:
        return moment, date.fromisoformat(day).toordinal()
    except ValueError:
        return moment, None


def _first(header: FrameHeader, *names: str) -> int | None:
    """Return the first integer of some attributes."""
    return next((found for name in names if (found := _integer(header.value(name))) is not None), None)


def _integer(value: Any) -> int | None:
    try:
        return None if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = map(float, vector)
    return x, y, z


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
