"""Labels of a slice as binary Segmentation: LV cavity and myocardium (PS3.3 A.51)."""

from __future__ import annotations

from typing import Final

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes

from inline.dicom.write.codes import BLOOD, BODY_SUBSTANCE, LEFT_VENTRICLE, MYOCARDIUM, TISSUE
from inline.dicom.write.output import DicomSource, common, finished
from inline.dicom.write.provenance import MANUFACTURER, derived_uid
from inline.dicom.write.source import DicomWriteError
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR

CAVITY_SEGMENT: Final = 1
MYOCARDIUM_SEGMENT: Final = 2
"""Segment numbers; the labels of a result are the same numbers."""


def segmentation(source: DicomSource) -> Dataset:
    """Return cavity and myocardium of a slice as Segmentation on the pixels of its source images.

    Args:
        source: slice that lies on its source images.

    Raises:
        DicomWriteError: the slice has no contours.
    """
    result, images = source.result, source.images
    if result.contours is None or not result.labels.any():
        raise DicomWriteError(f"{source.log_name} has no contours: {', '.join(result.flags) or result.error}")
    plane = images.plane()
    made = Segmentation(
        source_images=[images.reference()],
        further_source_images=images.others() or None,
        pixel_array=np.stack([result.labels == number for number in (1, 2)], axis=-1)[None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=_descriptions(source),
        plane_positions=[plane.position_sequence],
        plane_orientation=plane.orientation_sequence,
        pixel_measures=plane.measures_sequence,
        omit_empty_frames=True,
        content_label="LV_MYOCARDIUM",
        content_description="LV cavity and myocardium",
        series_description=f"{source.described} LV contours, {source.part} (myostream)",
        **common("segmentation", source),
    )
    return finished(made, images.first)


def _descriptions(source: DicomSource) -> list[SegmentDescription]:
    algorithm = AlgorithmIdentificationSequence(
        name="myostream U-Net",
        family=codes.DCM.ArtificialIntelligence,
        version=source.provenance.version,
        source=MANUFACTURER,
        parameters=source.provenance.parameters,
    )
    parts = (
        (CAVITY_SEGMENT, "LV cavity", BODY_SUBSTANCE, BLOOD, LEFT_VENTRICLE, ENDO_COLOUR),
        (MYOCARDIUM_SEGMENT, "LV myocardium", TISSUE, MYOCARDIUM, LEFT_VENTRICLE, EPI_COLOUR),
    )
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=category,
            segmented_property_type=kind,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=derived_uid("tracking", source.place, label),
            tracking_id=f"{source.name} {label}",
            anatomic_regions=[region],
            display_color=CIELabColor.from_rgb(*colour),
        )
        for number, label, category, kind, region, colour in parts
    ]
