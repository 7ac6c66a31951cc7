import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inline.data.geometry import SliceGeometry


def geometry(turned=(0.0, 0.0, 0.0), spacing=(1.5, 2.0), shape=(100, 80), position=(10.0, -20.0, 30.0)):
    row, column, _ = Rotation.from_euler("xyz", turned).as_matrix().T
    return SliceGeometry(position, tuple(row), tuple(column), spacing, shape)


def test_the_position_lies_on_pixel_n_half():
    assert geometry().to_patient(np.array([[40.0, 50.0]]))[0] == pytest.approx([10.0, -20.0, 30.0])


def test_pixels_step_along_their_directions_by_their_spacing():
    corner, right, below = geometry().to_patient(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    assert corner == pytest.approx([10.0 - 40 * 1.5, -20.0 - 50 * 2.0, 30.0])
    assert right - corner == pytest.approx([1.5, 0.0, 0.0])
    assert below - corner == pytest.approx([0.0, 2.0, 0.0])


@given(st.tuples(*[st.floats(-3, 3)] * 3), st.lists(st.tuples(*[st.floats(-200, 400)] * 2), min_size=1))
def test_points_lie_in_the_plane_as_far_apart_as_their_pixels(turned, points):
    plane = geometry(turned)
    there = plane.to_patient(np.array(points))
    apart = np.linalg.norm((np.array(points) - points[0]) * plane.spacing, axis=1)
    assert np.linalg.norm(there - there[0], axis=1) == pytest.approx(apart, abs=1e-9)
    assert (there - plane.position) @ plane.normal == pytest.approx(np.zeros(len(points)), abs=1e-9)


def test_the_normal_is_of_unit_length_where_the_directions_are_rounded():
    rounded = SliceGeometry((0.0, 0.0, 0.0), (0.7, 0.7, 0.0), (0.0, 0.0, -1.0), (1.5, 1.5), (8, 8))
    assert rounded.normal == pytest.approx([-(0.5**0.5), 0.5**0.5, 0.0])


@given(st.tuples(*[st.floats(-3, 3)] * 3))
def test_the_normal_is_the_third_axis_and_cannot_be_changed(turned):
    normal = geometry(turned).normal
    assert normal == pytest.approx(Rotation.from_euler("xyz", turned).as_matrix()[:, 2], abs=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        normal += 1.0
