"""Report figure as Secondary Capture, for viewers that show nothing else (PS3.3 A.8.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from inline.dicom.write.output import OutputSource, common, finished
from inline.dicom.write.source import DicomWriteError


def capture(
    rgb: NDArray[np.uint8],
    *sources: OutputSource,
    title: str,
    kind: str = "capture",
) -> Dataset:
    """Return a figure as Secondary Capture in the study of its slices, whose source images it refers to.

    Args:
        rgb: uint8 ``(rows, columns, 3)``.
        sources: slices that the figure shows.
        title: series description, at most 64 characters.
        kind: of :data:`~inline.dicom.write.output.KINDS`.

    Raises:
        DicomWriteError: no slice, or the array is no RGB figure.
    """
    if not sources:
        raise DicomWriteError("a figure needs at least one slice, whose study it belongs to")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise DicomWriteError(f"a figure is uint8 (rows, columns, 3), not {rgb.dtype} {rgb.shape}")
    reference = sources[0].images.reference()
    made = SCImage.from_ref_dataset(
        ref_dataset=reference,
        pixel_array=np.ascontiguousarray(rgb),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=title,
        **common(kind, *sources),
    )
    made.copy_patient_and_study_information(reference)
    made.SourceImageSequence = _references(sources)
    # highdicom requires an orientation; a figure has none, which the standard states by an empty value.
    made.PatientOrientation = []
    return finished(made, reference)


def _references(sources: Sequence[OutputSource]) -> list[Dataset]:
    """Return the references to all source images, of enhanced ones to the frames of the slices."""
    found: dict[str, Dataset] = {}
    for images in (each.images for source in sources for each in source.slices):
        for dataset in images.datasets:
            item, frames = Dataset(), images.frames_of(dataset)
            item.ReferencedSOPClassUID = dataset.SOPClassUID
            item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
            if frames:
                item.ReferencedFrameNumber = frames
            found[f"{dataset.SOPInstanceUID} {frames}"] = item
    return list(found.values())
