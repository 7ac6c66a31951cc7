"""ECV of a slice position as Parametric Map, as Secondary Capture, and as structured report (TID 1500)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from highdicom.sr import (
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.dicom.write import codes as concepts
from inline.dicom.write.capture import capture
from inline.dicom.write.output import DicomSource, instance_number, part, stated
from inline.dicom.write.parametric_map import placed_map
from inline.dicom.write.provenance import Provenance, derived_uid
from inline.dicom.write.report import (
    algorithm,
    distinct,
    document,
    reported,
    source_images,
    texts,
    with_texts,
)
from inline.dicom.write.source import SourceImages
from inline.emit.ecv import ECV_WINDOW, PARTITION_WINDOW
from inline.emit.overlay import draw
from inline.emit.record import ecv_record

_INSTANCES: Final = 10_000
"""Instance numbers of each post-contrast series: 32 bits hold those of 65,535 series."""


@dataclass(frozen=True, slots=True)
class EcvSource:
    """ECV of a slice position with the images of both slices.

    Attributes:
        result: ECV or partition coefficient, or the error that prevents them.
        native: slice of ``result.native``, in whose place the outputs lie.
        post: slice of ``result.post``; None where that is.
        ordinal: number of the ECV, from 0, among those of its slice in both source series.
    """

    result: EcvResult
    native: DicomSource
    post: DicomSource | None
    ordinal: int = 0

    @property
    def images(self) -> SourceImages:
        """Images of the native slice."""
        return self.native.images

    @property
    def provenance(self) -> Provenance:
        """Program, weights and settings."""
        return self.native.provenance

    @property
    def quantity(self) -> str:
        """Name of the quantity."""
        return "ECV"

    @property
    def described(self) -> str:
        """Name of the quantity that there is: without haematocrit, the partition coefficient; or empty."""
        if self.result.partition is None:
            return ""
        return self.quantity if self.result.haematocrit else "Partition coefficient"

    @property
    def slice_index(self) -> int:
        """Number of the native slice, from 0."""
        return self.result.native.slice_index

    @property
    def part(self) -> str:
        """Slice, and which of its results, as series descriptions state it."""
        return part(self.slice_index, self.ordinal)

    @property
    def instance_number(self) -> int:
        """Number of the outputs in their series: two post-contrast times of a native slice have one each."""
        series = self.result.post.series_index if self.result.post else 0
        return _INSTANCES * series + instance_number(self.slice_index, self.ordinal)

    @property
    def states(self) -> str:
        """Numbers of the native and of the post-contrast source series, in words.

        As of a map it must fit into 64 characters.
        """
        return "native " + ", post-contrast ".join(each.series_name for each in self.slices)

    @property
    def name(self) -> str:
        """Name of the slice position; nothing of the patient is in it."""
        series = " and ".join(each.series_name for each in self.slices)
        return f"series {series} {self.part} ECV"

    @property
    def log_name(self) -> str:
        """Name of the slice position in messages, which name a series by its index."""
        series = " and ".join(str(each.result.identity.series_index) for each in self.slices)
        return f"series {series} {self.part} ECV"

    @property
    def key(self) -> str:
        """Text that identifies the source images of both slices, which maps were paired, and haematocrit."""
        known = self.result.haematocrit
        haematocrit = [f"{known.value:.4f} {known.source}"] if known else []
        return " ".join(["ECV", *(each.key for each in self.slices), *haematocrit])

    @property
    def statements(self) -> str:
        """Text of those statements of a report that other images of the study may change."""
        result = self.result
        return stated(self.name, result.level, result.reference, result=result)

    @property
    def slices(self) -> tuple[DicomSource, ...]:
        """Native and post-contrast slice, as far as there are."""
        return (self.native,) if self.post is None else (self.native, self.post)

    @property
    def others(self) -> list[Dataset]:
        """Source images after the first one, each once."""
        first = self.images.first.SOPInstanceUID
        found = [other for each in self.slices for other in (each.images.reference(), *each.images.others())]
        return [each for each in distinct(found) if each.SOPInstanceUID != first]


def ecv_map(source: EcvSource) -> Dataset:
    """Return the ECV of a slice position in percent as Parametric Map, in the place of the native images.

    Without haematocrit it holds the partition coefficient. 0 is no value.

    Args:
        source: with a partition coefficient; the native slice lies on its source images.
    """
    result, known = source.result, source.result.haematocrit is not None
    values = result.ecv if known else result.partition
    assert values is not None
    made = placed_map(
        "ECV map",
        source,
        values,
        code=concepts.ECV if known else concepts.PARTITION,
        unit=concepts.UNITS["%"] if known else concepts.NO_UNIT,
        window=ECV_WINDOW if known else PARTITION_WINDOW,
        others=source.others,
        title=f"{source.described} map",
    )
    made.CodingSchemeIdentificationSequence = [concepts.private_scheme()]
    made.ContentDescription = f"{source.described}{' in %' if known else ''}, {source.states}"
    return made


def ecv_capture(source: EcvSource, scale: int) -> Dataset:
    """Return the ECV of a slice position with the contours of the native slice as Secondary Capture.

    Without haematocrit it shows the partition coefficient. The frame of a slice that needs review is drawn
    where one of both does.

    Args:
        source: with a partition coefficient.
        scale: enlargement.
    """
    result, known = source.result, source.result.haematocrit is not None
    values = result.ecv if known else result.partition
    assert values is not None
    shown = ECV_WINDOW if known else PARTITION_WINDOW
    figure = draw(values, shown, result.contours, scale, review=Flag.REVIEW in result.flags)
    return capture(figure, source, title=f"{source.described} contours (myostream)", kind="ECV capture")


def ecv_report(sources: Sequence[EcvSource]) -> Dataset:
    """Return ECV by region as structured report; its numbers are those of the records.

    Each region is a measurement group with the source images of both slices. The first group of a position
    also has haematocrit, level, error, flags and notes. A value that the record does not have is left out, as
    is any other group without a partition coefficient, which is there without haematocrit too.

    Args:
        sources: slice positions, at least one.
    """
    groups = [group for each in sources for group in _groups(each)]
    evidence = [each for source in sources for each in (source.images.reference(), *source.others)]
    return document("ECV report", sources, groups, evidence)


def _groups(source: EcvSource) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    values = ecv_record(source.result)
    origin = values["haematocrit_source"]
    for place, region in enumerate(reported(values, "partition_coefficient")):
        measurements = list(_measurements(region))
        if not place and values["haematocrit"] is not None:
            measurements.append(
                Measurement(concepts.HAEMATOCRITS[origin], values["haematocrit"], concepts.NO_UNIT)
            )
        group = MeasurementsAndQualitativeEvaluations(
            source_images=[each for slice_ in source.slices for each in source_images(slice_.images)],
            tracking_identifier=TrackingIdentifier(
                uid=derived_uid("tracking", *(each.place for each in source.slices), "ECV", region["name"]),
                identifier=f"{source.name} {region['name']}",
            ),
            algorithm_id=algorithm(source.native),
            finding_sites=[FindingSite(concepts.finding_site(region["name"]))],
            measurements=measurements or None,
        )
        if not place:
            with_texts(group, [*_origin(source, values), *texts(values)])
        yield group


def _origin(source: EcvSource, values: Mapping[str, Any]) -> Iterator[tuple[Code, str]]:
    """Yield the source of the haematocrit and which slice is native as texts with their concepts."""
    if origin := values["haematocrit_source"]:
        yield concepts.HAEMATOCRIT_SOURCE, origin
    if source.post:
        yield concepts.ENHANCEMENT, f"{source.states} ({values['pairing']})"


def _measurements(region: Mapping[str, Any]) -> Iterator[Measurement]:
    """Yield size, ECV, partition coefficient and z-score of a region; none where the record has no value.

    The order is that of :mod:`inline.dicom.write.report`.
    """
    percent, statistics = (
        concepts.UNITS["%"],
        {**concepts.STATISTICS, "standard_error": concepts.STANDARD_ERROR},
    )
    values: list[tuple[str, Code, Code, Code | None]] = [
        ("pixels", concepts.PIXELS, concepts.PIXEL_UNIT, None),
        *((name, concepts.ECV, percent, modifier) for name, modifier in statistics.items()),
        ("partition_coefficient", concepts.PARTITION, concepts.NO_UNIT, concepts.STATISTICS["median"]),
        ("partition_standard_error", concepts.PARTITION, concepts.NO_UNIT, concepts.STANDARD_ERROR),
        ("z_score", codes.DCM.ZScoreOfMeasurement, concepts.NO_UNIT, None),
    ]
    for name, concept, unit, modifier in values:
        if region.get(name) is not None:
            yield Measurement(concept, region[name], unit, derivation=modifier)
