"""Insertion points from heat maps of hearts whose points are known, turned and mirrored."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inline.contouring.insertion import LEAST_CONFIDENCE, find_insertions
from inline.data.results import Contours, Insertions
from model.frame import FRAME_PIXELS, Frame
from model.insertion import heat_maps
from tests.shapes import circle

FRAME = Frame((FRAME_PIXELS, FRAME_PIXELS), (1.5, 1.5))
CENTRE = np.array([100.0, 120.0])
EPI = 24.0
"""Radius of the epicardial contour, pixels of 1.5 mm."""


RING = Contours(circle(0.7 * EPI, CENTRE), circle(EPI, CENTRE))


def places(mid, width, turn, radius=EPI):
    """Anterior and inferior point (x, y) of a septum ``width`` degrees wide around a direction."""
    angles = np.radians([mid + turn * width / 2.0, mid - turn * width / 2.0])
    return CENTRE + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def heat(points, *, peak=1.0):
    maps = heat_maps(torch.from_numpy(points[None]), FRAME_PIXELS, FRAME_PIXELS)[0]
    return (peak * maps).numpy().astype(np.float32)


def found(insertions):
    return np.array([[point.x, point.y] for point in (insertions.anterior, insertions.inferior)])


@given(st.floats(-180.0, 180.0), st.floats(65.0, 165.0), st.sampled_from([-1, 1]))
def test_points_are_found_where_they_are(mid, width, turn):
    truth = places(mid, width, turn)
    insertions = find_insertions(heat(truth), RING, FRAME)
    assert np.abs(found(insertions) - truth).max() < 0.1
    assert insertions.objection == ""
    assert min(insertions.anterior.confidence, insertions.inferior.confidence) > 0.9


def test_points_are_in_pixels_of_the_image():
    """An image of 112 x 448 pixels of 3 x 0.75 mm covers the same field as the frame."""
    truth = places(180.0, 120.0, 1)
    insertions = find_insertions(heat(truth), RING, Frame((448, 112), (3.0, 0.75)))
    in_mm = (found(insertions) - (55.5, 223.5)) * (3.0, 0.75)
    assert np.abs(in_mm - (truth - (FRAME_PIXELS - 1) / 2) * 1.5).max() < 0.15


@pytest.mark.parametrize("which", [0, 1])
def test_too_little_heat_is_no_point(which):
    maps = heat(places(180.0, 120.0, 1))
    maps[which] *= LEAST_CONFIDENCE - 0.01
    insertions = find_insertions(maps, RING, FRAME)
    assert [insertions.anterior is None, insertions.inferior is None] == [which == 0, which == 1]
    assert insertions.objection == "not found"
    maps[which] = np.nan
    assert find_insertions(maps, RING, FRAME).objection == "not found"


@pytest.mark.parametrize(
    ("points", "objection"),
    [
        (places(180.0, 120.0, 1, EPI + 3.0), ""),
        (places(180.0, 120.0, 1, EPI + 5.0), "not at the epicardial contour"),
        (places(180.0, 120.0, 1, EPI - 5.0), "not at the epicardial contour"),
        (places(180.0, 50.0, 1), "not at the angle of a septum"),
        (places(180.0, 178.0, 1), "not at the angle of a septum"),
    ],
)
def test_points_that_bound_no_septum_are_found_but_objected_to(points, objection):
    insertions = find_insertions(heat(points), RING, FRAME)
    assert np.abs(found(insertions) - points).max() < 0.1
    assert insertions.objection == objection


def test_points_without_contours_are_found():
    truth = places(0.0, 120.0, -1)
    assert np.abs(found(find_insertions(heat(truth), None, FRAME)) - truth).max() < 0.1


def test_weights_without_heat_maps_find_none_and_object_to_nothing():
    nothing = np.zeros((0, FRAME_PIXELS, FRAME_PIXELS), np.float32)
    assert find_insertions(nothing, RING, FRAME) == Insertions()


def test_heat_beyond_the_image_is_no_point():
    """The frame is larger than an image of 60 x 60 pixels; its rim is empty."""
    insertions = find_insertions(
        heat(np.array([[20.0, 112.0], [112.0, 112.0]])), None, Frame((60, 60), (1.5, 1.5))
    )
    assert insertions.anterior is None
    assert insertions.inferior is not None
    assert insertions.objection == "not found"
