"""DICOM images that a slice was made from: what its outputs copy from them and refer to."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage
from pydicom.valuerep import DA, TM, PersonName

from inline.data.geometry import FloatArray, SliceGeometry
from model.errors import MyostreamError

UTF8: Final = "ISO_IR 192"
_IMAGES: Final = {
    MRImageStorage: "MR image",
    EnhancedMRImageStorage: "enhanced MR image",
    LegacyConvertedEnhancedMRImageStorage: "legacy converted enhanced MR image",
}
_NEEDED: Final = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
UID_FORM: Final = re.compile(r"[0-9.]{1,64}")
"""Form of a UID (PS3.5 9.1) as senders keep to it: components may begin with zeros."""
PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_EMPTY_ALLOWED: Final = {
    "PatientID": "",
    "PatientName": "",
    "PatientBirthDate": r"\d{8}",
    "PatientSex": "[MFO]",
    "AccessionNumber": "",
    "StudyID": "",
    "StudyDate": r"\d{8}",
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
    "ReferringPhysicianName": "",
}
"""Attributes of type 2 and the form of those that highdicom refuses in another one."""
_DECIMAL: Final = r"(?=.{1,16}$) *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *"
_STATED: Final = {
    "PatientAge": r"\d{3}[DWMY]",
    "PatientSize": _DECIMAL,
    "PatientWeight": _DECIMAL,
    "PatientBodyMassIndex": _DECIMAL,
}
"""Form of attributes that are copied where they are stated."""
_CALENDAR: Final = {"PatientBirthDate": DA, "StudyDate": DA, "StudyTime": TM}
"""Those that highdicom refuses where the day or time does not exist: 00000000, 19500230, 256199."""
_TEXTS: Final = ("PN", "LO", "SH", "LT", "ST", "UT")
_ESCAPE: Final = re.compile(r"\x1b[ -/]+[0-~]")
"""Escape sequence of ISO 2022. pydicom 3.0 decodes ISO 2022 IR 58 and leaves its escapes in the text."""
_CLOSE_MM: Final = 0.1
"""Distance within which the slice and its source lie at the same place: MRD headers hold float32."""


class DicomWriteError(MyostreamError):
    """A result cannot be written as DICOM: its source images lack something that the standard requires."""


@dataclass(frozen=True, slots=True)
class SourceImages:
    """Images of one slice as the scanner sent them; pixel data are not needed.

    Attributes:
        datasets: one per object, all of one study.
        frames: frame numbers from 1 of the slice in an enhanced object, by SOP Instance UID.
    """

    datasets: tuple[Dataset, ...]
    frames: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what every output needs.

        Raises:
            DicomWriteError: there is no dataset, or one lacks what the standard requires.
        """
        if not self.datasets:
            raise DicomWriteError(
                "the images did not come as DICOM, and other images have no patient, study and series to "
                "refer to: DICOM results can be written for slices that were read from DICOM alone"
            )
        for each in self.datasets:
            if each.get("SOPClassUID") not in _IMAGES:
                raise DicomWriteError(f"a source image is none of {', '.join(_IMAGES.values())}")
            missing = [name for name in _NEEDED if not UID_FORM.fullmatch(str(each.get(name) or ""))]
            if missing:
                raise DicomWriteError(
                    f"a source image has no UID as {', '.join(missing)}; results cannot refer to it: let the "
                    "sender state it"
                )
        if len({each.StudyInstanceUID for each in self.datasets}) > 1:
            raise DicomWriteError("the source images of a slice belong to several studies; send them apart")

    @classmethod
    def of(cls, datasets: Sequence[Dataset], geometry: SliceGeometry) -> SourceImages:
        """Return the images of a slice from its objects, of enhanced ones the frames that lie in its plane.

        An image in the plane of the slice comes first: positions may differ by breathing or rounding.

        Args:
            datasets: objects of the slice; enhanced ones may hold other slices too.
            geometry: of the slice.

        Raises:
            DicomWriteError: see :class:`SourceImages`; or no frame of an object lies in the plane.
        """
        frames: dict[str, tuple[int, ...]] = {}
        for each in datasets:
            if "PerFrameFunctionalGroupsSequence" not in each:
                continue
            numbers = range(1, len(each.PerFrameFunctionalGroupsSequence) + 1)
            there = tuple(number for number in numbers if _apart_mm(each, number, geometry) <= _CLOSE_MM)
            if not there:
                raise DicomWriteError("no frame of an enhanced source image lies in the plane of the slice")
            frames[str(each.get("SOPInstanceUID"))] = there
        # Stable: False, in the plane, comes first.
        ordered = sorted(
            datasets,
            key=lambda each: (
                str(each.get("SOPInstanceUID")) not in frames and _apart_mm(each, None, geometry) > _CLOSE_MM
            ),
        )
        return cls(tuple(ordered), frames)

    @property
    def first(self) -> Dataset:
        """First image, whose plane is that of the slice."""
        return self.datasets[0]

    @property
    def key(self) -> str:
        """Text that identifies the images and frames, in no order."""
        return " ".join(sorted(f"{each.SOPInstanceUID}:{self.frames_of(each)}" for each in self.datasets))

    def frames_of(self, dataset: Dataset) -> list[int] | None:
        """Return the frame numbers of an enhanced object; None for an object of a single frame."""
        numbers = self.frames.get(str(dataset.SOPInstanceUID))
        return list(numbers) if numbers else None

    def plane(self) -> SourcePlane:
        """Return the plane of the first image.

        Raises:
            DicomWriteError: the image does not state it.
        """
        frames = self.frames_of(self.first)
        try:
            return SourcePlane.of(self.first, frames[0] if frames else None)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise DicomWriteError(
                "the first source image has no usable position, orientation or pixel spacing; segmentations "
                "and maps cannot be placed on it"
            ) from error

    def check_place(self, geometry: SliceGeometry) -> None:
        """Check that pixels of a result lie on those of the source images.

        Raises:
            DicomWriteError: they do not; an output would be shown at a wrong place.
        """
        plane = self.plane()
        if plane.shape != geometry.shape:
            raise DicomWriteError(
                f"the result has {geometry.shape} rows and columns, its source images {plane.shape}"
            )
        apart = plane.apart_mm(geometry)
        if not apart <= _CLOSE_MM:
            raise DicomWriteError(
                f"the result lies {apart:.2f} mm beside its source images; it is not written at a wrong place"
            )

    def others(self) -> list[Dataset]:
        """Return the images after the first one as highdicom takes them, for references alone."""
        return [self._with_plane(each) for each in self.datasets[1:]]

    def reference(self) -> Dataset:
        """Return the first image as highdicom takes it: decoded, with every attribute of type 2.

        A date, time, sex, age, size or weight in a form unknown to the standard, a date or time that does not
        exist, and several names where one is allowed are left empty.
        """
        made = self._with_plane(self.first)
        made.decode()
        made.SpecificCharacterSet = UTF8
        for each in made:
            if each.VR in _TEXTS and isinstance(each.value, str | PersonName):
                each.value = _ESCAPE.sub("", str(each.value))
        for name, form in _EMPTY_ALLOWED.items():
            value = str(made.get(name) or "")
            several = name in made and made[name].VR == "PN" and made[name].VM > 1
            if several or not value or (form and not re.fullmatch(form, value)) or not _exists(name, value):
                setattr(made, name, "")
        for name, form in _STATED.items():
            if name in made and not re.fullmatch(form, str(made[name].value)):
                setattr(made, name, "")
        return made

    def _with_plane(self, dataset: Dataset) -> Dataset:
        """Return a copy without pixel data; an enhanced one states its plane where highdicom reads it.

        That is: orientation and pixel size, those of the slice, for all frames; the position in each frame.
        """
        made = copy.deepcopy(dataset)
        for name in PIXELS:
            if name in made:
                del made[name]
        if "SliceThickness" not in made:
            made.SliceThickness = None  # of type 2: highdicom requires it, empty or not
        if "PerFrameFunctionalGroupsSequence" in made:
            shared, plane = next(iter(_shared(made)), Dataset()), self.plane()
            shared.PlaneOrientationSequence = plane.orientation_sequence
            shared.PixelMeasuresSequence = plane.measures_sequence
            made.SharedFunctionalGroupsSequence = [shared]
            if "PlanePositionSequence" in shared:
                for each in made.PerFrameFunctionalGroupsSequence:
                    each.setdefault("PlanePositionSequence", shared.PlanePositionSequence)
        return made


@dataclass(frozen=True, slots=True)
class SourcePlane:
    """Plane of a source image, as its DICOM attributes state it.

    Attributes:
        position: patient coordinates of the centre of the first pixel, mm.
        orientation: unit vectors along a row and along a column of pixels.
        spacing: distance between rows and between columns, mm.
        thickness: mm; None where not stated.
        shape: ``(rows, columns)``.
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    thickness: float | None
    shape: tuple[int, int]

    @classmethod
    def of(cls, dataset: Dataset, frame: int | None) -> SourcePlane:
        """Return the plane of an image, or of one frame (from 1) of an enhanced one.

        Raises:
            AttributeError, IndexError, TypeError, ValueError: it is not stated, or not as numbers.
        """
        groups = _groups(dataset, frame)
        measures = _item(groups, "PixelMeasuresSequence")
        thickness = measures.get("SliceThickness")
        return cls(
            _numbers(_item(groups, "PlanePositionSequence").ImagePositionPatient, 3),
            _numbers(_item(groups, "PlaneOrientationSequence").ImageOrientationPatient, 6),
            _numbers(measures.PixelSpacing, 2),
            None if thickness is None else float(thickness),
            (int(dataset.Rows), int(dataset.Columns)),
        )

    def to_patient(self, points: FloatArray) -> FloatArray:
        """Return patient coordinates ``(n, 3)`` in mm of pixel coordinates ``(n, 2)``, (x, y)."""
        basis = np.reshape(self.orientation, (2, 3))
        patient: FloatArray = np.asarray(self.position) + points * (self.spacing[1], self.spacing[0]) @ basis
        return patient

    def apart_mm(self, geometry: SliceGeometry) -> float:
        """Return the largest distance along an axis between the corners of this plane and of a slice, mm.

        Where neither states a position but zeros, directions and pixel sizes alone count.
        """
        rows, columns = geometry.shape
        corners = np.array([[0, 0], [columns - 1, 0], [0, rows - 1]], np.float64)
        apart = geometry.to_patient(corners) - self.to_patient(corners)
        if not geometry.placed and not any(self.position):
            apart -= apart[0]
        return float(np.abs(apart).max())

    @property
    def position_sequence(self) -> PlanePositionSequence:
        """Position as functional group."""
        return PlanePositionSequence("PATIENT", self.position)

    @property
    def orientation_sequence(self) -> PlaneOrientationSequence:
        """Orientation as functional group."""
        return PlaneOrientationSequence("PATIENT", self.orientation)

    @property
    def measures_sequence(self) -> PixelMeasuresSequence:
        """Pixel size as functional group."""
        return PixelMeasuresSequence(self.spacing, self.thickness)


def _apart_mm(dataset: Dataset, frame: int | None, geometry: SliceGeometry) -> float:
    """Return the distance of an image or frame from a slice, mm; infinite where it states no plane."""
    try:
        return SourcePlane.of(dataset, frame).apart_mm(geometry)
    except (AttributeError, IndexError, TypeError, ValueError):
        return math.inf


def _groups(dataset: Dataset, frame: int | None) -> Sequence[Dataset]:
    """Return the places of an image's functional groups, the nearest one first."""
    if frame is None:
        return (dataset,)
    return (dataset.PerFrameFunctionalGroupsSequence[frame - 1], *_shared(dataset))


def _shared(dataset: Dataset) -> Sequence[Dataset]:
    """Return the item with the functional groups of all frames; none where each frame states its own."""
    items: Sequence[Dataset] = dataset.get("SharedFunctionalGroupsSequence") or ()
    return items[:1]


def _exists(name: str, value: str) -> bool:
    """Return whether a date or time is one of the calendar or the clock; True for any other attribute."""
    if name not in _CALENDAR:
        return True
    try:
        _CALENDAR[name](value)
    except ValueError:
        return False
    return True


def _item(groups: Sequence[Dataset], name: str) -> Dataset:
    """Return a functional group; the image itself where it has none."""
    for each in groups:
        if name in each:
            item: Dataset = each[name].value[0]
            return item
    return groups[0]


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    found = tuple(float(each) for each in values)
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{count} finite numbers are needed")
    return found
