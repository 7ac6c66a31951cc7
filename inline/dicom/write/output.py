"""Attributes that every output of a slice has: UIDs, numbers, equipment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from pydicom import Dataset

from inline.data.examination import EcvResult
from inline.data.results import SliceResult
from inline.data.time_stamps import DAY
from inline.dicom.write.provenance import MANUFACTURER, MODEL, Provenance, derived_uid
from inline.dicom.write.source import UTF8, SourceImages

_FIRST_NUMBER: Final = 5000
"""Outputs of series n have the numbers from ``5000 + 10 n`` on, as results of a stream have by default."""
KINDS: Final = {
    "map": 1,
    "segmentation": 2,
    "report": 3,
    "capture": 4,
    "ECV map": 5,
    "ECV report": 6,
    "ECV capture": 7,
}
"""Kinds of outputs, and what each adds to the number of its series."""
_REPORTS: Final = ("report", "ECV report")
_ALONE: Final = ("map", "segmentation", "ECV map")
"""Kinds of which each object is a series: OHIF shows one of a series of several."""
_RESULTS: Final = 1_000
"""Instance numbers of each result of a slice, quantity and source series."""
_TIMES: Final = (
    ("InstanceCreationDate", "InstanceCreationTime"),
    ("ContentDate", "ContentTime"),
    ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
)
"""Dates and times at which an output was made."""
_OFFSET: Final = re.compile(r"[+-]\d\d[0-5]\d")
"""Form of TimezoneOffsetFromUTC."""
_OFFSETS: Final = range(-1200, 1401)
"""Values that it may have (PS3.5 table 6.2-1, DT)."""


class OutputSource(Protocol):
    """Slice with what the shared attributes of its outputs follow from."""

    @property
    def images(self) -> SourceImages:
        """Images in whose place the outputs lie."""
        ...

    @property
    def slices(self) -> tuple[DicomSource, ...]:
        """Slices that the outputs follow from."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Program, weights and settings."""
        ...

    @property
    def quantity(self) -> str:
        """Name of the quantity."""
        ...

    @property
    def described(self) -> str:
        """Name of the quantity with the contrast state, where that is known."""
        ...

    @property
    def part(self) -> str:
        """Slice, and which of its results, as series descriptions state it."""
        ...

    @property
    def instance_number(self) -> int:
        """Number of the outputs in their series, from 1."""
        ...

    @property
    def key(self) -> str:
        """Text that identifies source images and quantity."""
        ...

    @property
    def statements(self) -> str:
        """Text of those statements of a report that other images of the study may change."""
        ...


@dataclass(frozen=True, slots=True)
class DicomSource:
    """Result of a slice with the images that it comes from and its origin.

    Attributes:
        result: of the slice.
        images: that it was made from.
        provenance: program, weights and settings.
        ordinal: number of the result, from 0, among those of its slice and quantity in the source series: of
            repeated acquisitions, then of the scanner's map beside the images.
        repetition: likewise, but among those of images or among the scanner's maps alone.
        by_index: texts name the source series by its index, since another one of the study has its number.
    """

    result: SliceResult
    images: SourceImages
    provenance: Provenance
    ordinal: int = 0
    repetition: int = 0
    by_index: bool = False

    @property
    def slices(self) -> tuple[DicomSource, ...]:
        """This slice alone."""
        return (self,)

    @property
    def quantity(self) -> str:
        """Name of the quantity."""
        return self.result.quantity.value

    @property
    def described(self) -> str:
        """Name of the quantity with the contrast state, where that is known."""
        return " ".join(filter(None, (self.quantity, self.result.enhancement)))

    @property
    def slice_index(self) -> int:
        """Number of the slice, from 0."""
        return self.result.identity.slice_index

    @property
    def series_uid(self) -> str:
        """UID of the source series."""
        return str(self.images.first.SeriesInstanceUID)

    @property
    def instance_number(self) -> int:
        """Number of the outputs in their series, from 1."""
        return instance_number(self.slice_index, self.ordinal)

    @property
    def series_name(self) -> str:
        """Number that the source series states; where it has none of its own, its index."""
        number = 0 if self.by_index else number_of(self.images.first)
        return str(number) if number else f"index {self.result.identity.series_index}"

    @property
    def part(self) -> str:
        """Slice, and which of its results, as series descriptions state it."""
        return part(self.slice_index, self.ordinal)

    @property
    def name(self) -> str:
        """Name of the result; nothing of the patient is in it."""
        return f"series {self.series_name} {self.part} {self.quantity}"

    @property
    def log_name(self) -> str:
        """Name of the result in messages, which name a series by its index."""
        return f"series {self.result.identity.series_index} {self.part} {self.quantity}"

    @property
    def key(self) -> str:
        """Text that identifies a result within its study.

        Source images alone do not: an object may hold images for T1 and for T2, and a series the scanner's
        map beside the images, or a slice twice.
        """
        result = self.result
        origin = "map" if result.scanner_made else "images"
        # After midnight the stamp depends on whether images of the evening were read with these.
        time_of_day = result.identity.time_stamp % DAY
        return f"{result.quantity} {origin} {time_of_day} {self.images.key}"

    @property
    def statements(self) -> str:
        """Text of those statements of a report that other images of the study may change.

        Number, level and segments follow from the other slices of the study, flags and notes from images
        that are missing beside others.
        """
        result = self.result
        sources = result.angular_reference, result.reference, result.enhancement_source
        return stated(self.name, self.described, result.level, *sources, result=result)

    @property
    def place(self) -> str:
        """Text that identifies place, quantity and result within the study, whatever the settings.

        The scanner's map has one of its own, whether its images have come or not.
        """
        position = " ".join(f"{each:.1f}" for each in self.images.plane().position)
        place = f"{self.series_uid}|{position}|{self.quantity}" + ("|map" if self.result.scanner_made else "")
        return f"{place}|{self.repetition}" if self.repetition else place


def part(slice_index: int, ordinal: int) -> str:
    """Return the name of a slice, with the number of its result where that is not the first."""
    return f"slice {slice_index}" + (f" result {ordinal + 1}" if ordinal else "")


def instance_number(slice_index: int, ordinal: int) -> int:
    """Return the instance number of the outputs of a result of a slice; each from 0."""
    return _RESULTS * ordinal + slice_index + 1


def common(kind: str, *sources: OutputSource) -> dict[str, Any]:
    """Return the arguments of highdicom's constructors that all outputs share.

    The UIDs follow from the source images, the kind, the numbers of slice and result, and what the values
    depend on: a rerun replaces its objects. That of a report also follows from its statements.

    Args:
        kind: of :data:`KINDS`.
        sources: slices that the object holds.
    """
    first = sources[0]
    settings_key = first.provenance.key
    series = str(first.images.first.SeriesInstanceUID)
    keys = [f"{each.key} {each.statements if kind in _REPORTS else each.part}" for each in sources]
    own = keys if kind in _ALONE else (described(sources), series)
    return {
        "series_instance_uid": derived_uid(f"{kind} series", *own, settings_key),
        "series_number": _FIRST_NUMBER + 10 * number_of(first.images.first) + KINDS[kind],
        "sop_instance_uid": derived_uid(kind, *sorted(keys), settings_key),
        "instance_number": min(each.instance_number for each in sources),
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL,
        "software_versions": first.provenance.version,
        "device_serial_number": first.provenance.weights,
        "specific_character_set": UTF8,
    }


def described(sources: Sequence[OutputSource]) -> str:
    """Return the name of the quantity of slices, with the contrast state where all have one."""
    names = {each.described for each in sources} - {""}
    return names.pop() if len(names) == 1 else sources[0].quantity


def stated(*parts: object, result: SliceResult | EcvResult) -> str:
    """Return the text of what the report of a slice states: some parts; error, flags, notes and regions."""
    regions = [each.name for each in result.regions]
    return repr((*map(str, parts), result.error, [*map(str, result.flags)], list(result.notes), regions))


def finished(dataset: Dataset, source: Dataset) -> Dataset:
    """Return an image output with its body part, and with deterministic UIDs of its dimensions.

    Args:
        dataset: of the output.
        source: first source image; see :func:`in_zone_of`.
    """
    # The heart is not paired: the standard then requires no laterality.
    dataset.BodyPartExamined = "HEART"
    for shared in dataset.get("SharedFunctionalGroupsSequence", ()):
        # highdicom states 1 mm for a single plane, by which readers would compute volumes.
        shared.PixelMeasuresSequence[0].pop("SpacingBetweenSlices", None)
    if "DimensionOrganizationSequence" in dataset:
        uid = derived_uid("dimensions", str(dataset.SOPInstanceUID))
        dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
        for index in dataset.DimensionIndexSequence:
            index.DimensionOrganizationUID = uid
    return in_zone_of(dataset, source)


def in_zone_of(dataset: Dataset, source: Dataset) -> Dataset:
    """Return an output with the time of its making in the time zone that its source image states.

    A stated zone holds for all times of an object (PS3.3 C.12.1.1.8), which here include those copied from
    the image. Without one, the time of the making stays in the time zone of the host.
    """
    stated = str(source.get("TimezoneOffsetFromUTC") or "").strip()
    if not _OFFSET.fullmatch(stated) or int(stated) not in _OFFSETS:
        return dataset
    now = datetime.now(datetime.strptime(stated, "%z").tzinfo)
    for date, time in _TIMES:
        if date in dataset:
            setattr(dataset, date, f"{now:%Y%m%d}")
            setattr(dataset, time, f"{now:%H%M%S.%f}")
    # The last item is the program that made the output; one before it may be the scanner.
    dataset.ContributingEquipmentSequence[-1].ContributionDateTime = f"{now:%Y%m%d%H%M%S.%f%z}"
    dataset.TimezoneOffsetFromUTC = f"{now:%z}"
    return dataset


def number_of(dataset: Dataset) -> int:
    """Return the number of a source series; 0 where it has none that fits."""
    try:
        number = int(dataset.get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        return 0
    return number if 0 <= number <= 100_000_000 else 0
