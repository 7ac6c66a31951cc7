"""Map of a slice as Parametric Map: 32-bit floats in its unit (PS3.3 A.75)."""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code

from inline.dicom.write.codes import HEART, NO_UNIT, QUANTITIES, UNITS
from inline.dicom.write.output import DicomSource, OutputSource, common, finished
from inline.emit.overlay import WINDOW_MS


def parametric_map(source: DicomSource) -> Dataset:
    """Return the map of a slice as Parametric Map, in the place of its source images.

    A stored value is a relaxation time in ms; 0 where the fit failed.

    Args:
        source: slice with a map, which lies on its source images.
    """
    result = source.result
    assert result.map is not None
    return placed_map(
        "map",
        source,
        result.map.values_ms,
        code=QUANTITIES[result.quantity],
        unit=UNITS["ms"],
        window=WINDOW_MS[result.quantity],
        others=source.images.others(),
        title=f"{source.described} scanner's map" if result.scanner_made else f"{source.described} map",
    )


def placed_map(
    kind: str,
    source: OutputSource,
    values: NDArray[np.float32],
    *,
    code: Code,
    unit: Code,
    window: tuple[float, float],
    others: list[Dataset],
    title: str,
) -> Dataset:
    """Return values as Parametric Map in the place of their source images.

    Args:
        kind: of :data:`~inline.dicom.write.output.KINDS`.
        source: slice.
        values: float32 ``(rows, columns)``, 0 without a value.
        code: of the quantity.
        unit: of the values.
        window: darkest and brightest value.
        others: further source images.
        title: of series and content.
    """
    images, quantity = source.images, source.quantity
    plane, values = images.plane(), np.ascontiguousarray(values, np.float32)
    low, high = window
    described = f"{quantity} in {unit.value}" if unit.value != NO_UNIT.value else quantity
    mapping = RealWorldValueMapping(
        lut_label=quantity[:16],
        lut_explanation=f"{described}, 0 without a value",
        unit=unit,
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=code,
    )
    made = ParametricMap(
        source_images=[images.reference()],
        further_source_images=others or None,
        pixel_array=values[None],
        plane_positions=[plane.position_sequence],
        plane_orientation=plane.orientation_sequence,
        pixel_measures=plane.measures_sequence,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation((low + high) / 2, high - low)],
        contains_recognizable_visual_features=False,
        content_label=f"{quantity.upper()}_MAP".replace(" ", "_")[:16],
        content_description=title if described == quantity else f"{title} in {unit.value}",
        series_description=f"{title}, {source.part} (myostream)",
        **common(kind, source),
    )
    # Optional in the standard; dcmqi and 3D Slicer's reader, which uses it, do not read a map without it.
    anatomy = Dataset()
    anatomy.FrameLaterality, anatomy.AnatomicRegionSequence = "U", [CodedConcept.from_code(HEART)]
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    return finished(made, source.images.first)
