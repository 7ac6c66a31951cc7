"""Values of the slices of a series as structured report, TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    ReferencedSegmentationFrame,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inline.dicom.write import codes as concepts
from inline.dicom.write.output import DicomSource, OutputSource, common, described, in_zone_of
from inline.dicom.write.provenance import MANUFACTURER, MODEL, derived_uid
from inline.dicom.write.segmentation import MYOCARDIUM_SEGMENT
from inline.dicom.write.source import SourceImages
from inline.emit.record import slice_record

_GLOBAL: Final = "global"
_Group = MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations


def report(sources: Sequence[DicomSource], segmentations: Mapping[str, Dataset] | None = None) -> Dataset:
    """Return the values of slices as structured report; its numbers are those of their records.

    Each region is a measurement group with its anatomy and source images. The first group of a slice also has
    confidence, level, flags and notes; it is there without contours too. A value that the record does not
    have is left out, as is any other group without a median.

    Args:
        sources: slices, at least one, all of one study.
        segmentations: Segmentation of a slice by :attr:`DicomSource.key`, which the global values refer to.
    """
    stored = segmentations or {}
    evidence = [each.images.reference() for each in sources]
    evidence += [other for each in sources for other in each.images.others()]
    groups = [group for each in sources for group in _groups(each, stored.get(each.key))]
    return document("report", sources, groups, [*evidence, *stored.values()])


def document(
    kind: str, sources: Sequence[OutputSource], groups: Sequence[_Group], evidence: Sequence[Dataset]
) -> Dataset:
    """Return measurement groups as structured report.

    Args:
        kind: of :data:`~inline.dicom.write.output.KINDS`.
        sources: slices, at least one.
        groups: of all slices.
        evidence: objects that the groups refer to, each once or more often.
    """
    provenance = sources[0].provenance
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", provenance.version, provenance.weights),
        name=MODEL,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
        serial_number=provenance.weights,
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=concepts.CARDIAC_MRI,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    made = ComprehensiveSR(
        evidence=distinct(evidence),
        content=content[0],
        is_complete=True,
        is_verified=False,
        coding_schemes=[concepts.private_scheme()],
        series_description=f"{described(sources)} values (myostream)",
        **common(kind, *sources),
    )
    return in_zone_of(made, sources[0].images.first)


def _groups(source: DicomSource, segmentation: Dataset | None) -> Iterator[_Group]:
    """Yield the measurement groups of a slice; the first one has what concerns the whole slice."""
    values = slice_record(source.result)
    for place, region in enumerate(reported(values, "median")):
        measurements = list(_measurements(region, source))
        if not place and values["confidence"] is not None:
            measurements.append(Measurement(concepts.CONFIDENCE, values["confidence"], concepts.NO_UNIT))
        group = _group(source, region["name"], measurements, segmentation)
        yield with_texts(group, texts(values)) if not place else group


def reported(values: Mapping[str, Any], needed: str) -> list[dict[str, Any]]:
    """Return the regions of a record that have a value, and always the first one or the slice.

    3D Slicer's table has the columns of its first group: rows with fewer measurements are shifted in it.
    """
    regions: list[dict[str, Any]] = values["regions"] or [{"name": "slice"}]
    return [regions[0], *(each for each in regions[1:] if each[needed] is not None)]


def _group(
    source: DicomSource, region: str, measurements: list[Measurement], segmentation: Dataset | None
) -> _Group:
    common_parts: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=derived_uid("tracking", source.place, region), identifier=f"{source.name} {region}"
        ),
        "algorithm_id": algorithm(source),
        "finding_sites": [FindingSite(concepts.finding_site(region))],
        "measurements": measurements or None,
    }
    images = source.images
    if region == _GLOBAL and segmentation is not None:
        return PlanarROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=_referenced_segment(segmentation, images), **common_parts
        )
    return MeasurementsAndQualitativeEvaluations(
        source_images=source_images(images),
        **common_parts,
    )


def source_images(images: SourceImages) -> list[SourceImageForMeasurementGroup]:
    """Return the references of a measurement group to the images of a slice."""
    return [
        SourceImageForMeasurementGroup(each.SOPClassUID, each.SOPInstanceUID, images.frames_of(each))
        for each in images.datasets
    ]


def with_texts(group: _Group, items: Iterable[tuple[Code, str]]) -> _Group:
    """Return a measurement group after these texts are added to it."""
    for concept, text in items:
        group[0].ContentSequence.append(TextContentItem(concept, text, RelationshipTypeValues.CONTAINS))
    return group


def _referenced_segment(segmentation: Dataset, images: SourceImages) -> ReferencedSegmentationFrame:
    """Return the reference to the myocardium of a Segmentation.

    It names the segment alone: frame and segment number exclude each other (PS3.3 table 10-3).
    """
    first = images.first
    made = ReferencedSegmentationFrame(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        frame_number=1,
        segment_number=MYOCARDIUM_SEGMENT,
        source_image=SourceImageForSegmentation(
            first.SOPClassUID, first.SOPInstanceUID, images.frames_of(first)
        ),
    )
    del made[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    return made


def _measurements(region: Mapping[str, Any], source: DicomSource) -> Iterator[Measurement]:
    """Yield size, statistics and z-score of a region; none where the record has no value.

    What may be missing comes last, since 3D Slicer's table shifts what follows it.
    """
    quantity = concepts.QUANTITIES[source.result.quantity]
    if "pixels" in region:
        yield Measurement(concepts.PIXELS, region["pixels"], concepts.PIXEL_UNIT)
    for name, modifier in concepts.STATISTICS.items():
        if region.get(name) is not None:
            yield Measurement(quantity, region[name], concepts.UNITS["ms"], derivation=modifier)
    if region.get("z_score") is not None:
        yield Measurement(codes.DCM.ZScoreOfMeasurement, region["z_score"], concepts.NO_UNIT)


def algorithm(source: DicomSource) -> AlgorithmIdentification:
    """Return program, engine, weights, settings and contour convention of a slice."""
    parameters = [f"{name}={value}" for name, value in source.provenance.parameters.items()]
    if (offsets := source.result.offsets) is not None:
        parameters += [f"endo_offset_mm={offsets.endo_mm:g}", f"epi_offset_mm={offsets.epi_mm:g}"]
    return AlgorithmIdentification(
        name="myostream",
        version=source.provenance.version,
        parameters=parameters,
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def texts(values: Mapping[str, Any]) -> Iterator[tuple[Code, str]]:
    """Yield what concerns a whole slice as texts with their concepts: level, contrast state, notes and so on.

    Args:
        values: record of a slice or of ECV.
    """
    if values["level"]:
        yield concepts.LEVEL, values["level"]
    if values.get("enhancement"):
        yield concepts.ENHANCEMENT, f"{values['enhancement']} ({values['enhancement_source']})"
    if values["reference"]:
        yield concepts.REFERENCE, values["reference"]
    if values.get("scanner_made_map"):
        yield concepts.ORIGIN, "made by the scanner"
    if values.get("motion_corrected"):
        yield concepts.ORIGIN, "images corrected for motion by the scanner"
    if values.get("t1_scale", 1.0) != 1.0:
        yield concepts.ORIGIN, f"T1 multiplied by {values['t1_scale']:g}"
    if values["error"]:
        yield concepts.ERROR, values["error"]
    yield from ((concepts.FLAG, flag) for flag in values["flags"])
    yield from ((codes.DCM.Comment, note) for note in values["notes"])


def distinct(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return each object once: slices of one enhanced object share it."""
    return list({str(each.SOPInstanceUID): each for each in datasets}.values())
