"""Map of a slice as Parametric Map: 32-bit floats in ms (PS3.3 A.75)."""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import Dataset

from inline.dicom.write.codes import QUANTITIES, UNITS
from inline.dicom.write.output import DicomSource, common, finished
from inline.dicom.write.source import DicomWriteError
from inline.emit.overlay import WINDOW_MS


def parametric_map(source: DicomSource) -> Dataset:
    """Return the map of a slice as Parametric Map, in the place of its source images.

    A stored value is a relaxation time in ms; 0 where the fit failed.

    Raises:
        DicomWriteError: the slice has no map, or does not lie on its source images.
    """
    result, images = source.result, source.images
    if result.map is None:
        raise DicomWriteError(f"{source.name} has no map: {result.error or 'it was not fitted'}")
    images.check_place(result.geometry)
    plane, quantity = images.plane(), result.quantity
    values = np.ascontiguousarray(result.map.values_ms, np.float32)
    low, high = WINDOW_MS[quantity]
    mapping = RealWorldValueMapping(
        lut_label=quantity.value,
        lut_explanation=f"{quantity} in ms, 0 without a value",
        unit=UNITS["ms"],
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=QUANTITIES[quantity],
    )
    made = ParametricMap(
        source_images=[images.reference()],
        further_source_images=images.others() or None,
        pixel_array=values[None],
        plane_positions=[plane.position_sequence],
        plane_orientation=plane.orientation_sequence,
        pixel_measures=plane.measures_sequence,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation((low + high) / 2, high - low)],
        contains_recognizable_visual_features=False,
        content_label=f"{quantity}_MAP",
        content_description=f"{quantity} map in ms",
        series_description=f"{quantity} map (myostream)",
        **common("map", source),
    )
    return finished(made)
