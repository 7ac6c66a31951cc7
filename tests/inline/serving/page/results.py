"""Results as the page gets them: one with every text of a sender, and measured slices."""

from dataclasses import replace

import numpy as np

from inline.contouring.septum import slice_reference
from inline.data.client_text import foreign, message
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, SliceLevel, SliceResult
from inline.data.series import Quantity, SeriesIdentity, SlicePlace
from inline.pipeline import Pipeline
from inline.serving.observers import FinalLevels
from inline.serving.summary import FinalLevel
from model.relaxometry.parametric_map import ParametricMap
from tests.inline.examination.phantom import t1_slice

NAME = "Mustermann"
GEOMETRY = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), (3, 4))


def result(**values):
    made = {
        "identity": SeriesIdentity(1, 2, f"T1 {NAME}", 77),
        "quantity": Quantity.T1,
        "geometry": GEOMETRY,
        "map": ParametricMap.of_values(np.full((3, 4), 1234.56, np.float32)),
        "scanner_made": False,
        "labels": np.zeros((3, 4), np.uint8),
        "contours": Contours(
            np.array([[1.0, 1.0], [2.0, 1.0], [1.5, 2.0]]), np.array([[0.0, 0.0], [3.0, 0.0]])
        ),
        "flags": (Flag.REVIEW, Flag.MISSING_IMAGES),
        "notes": (message("the series {} is short", foreign(NAME)),),
        "error": foreign(f"broken by {NAME}"),
    }
    return SliceResult(**{**made, **values})


def measured(post=False, **values):
    """A slice with segments, and the pipeline that measures it at other levels."""
    pipeline = Pipeline(None)
    made = t1_slice(post=post, field_strength=1.5, **values)
    septum, _ = slice_reference(made.geometry, made.insertions, made.contours)
    made = replace(made, septum=septum)
    return pipeline, pipeline.at_level(made, SliceLevel.MID, "position")


def final(pipeline, result, level, session="a", study=1):
    place = SlicePlace(result.identity, result.quantity, None, result.geometry, session)
    return FinalLevels(study, (FinalLevel(place, level, "position 1 of 3"),), pipeline.at_level)


def repeated(result, series, *, along=0.0, **values):
    """The same slice acquired again, some mm along its normal."""
    moved = np.asarray(result.geometry.position) + along * result.geometry.normal
    geometry = replace(result.geometry, position=tuple(moved))
    identity = SeriesIdentity(series, result.identity.slice_index, "", 1000 * series)
    return replace(result, geometry=geometry, identity=identity, **values)
