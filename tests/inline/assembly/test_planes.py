import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.assembly.geometry import Planes
from inline.mrd.image_header import ImageHeader


def header(position, read_dir=(1.0, 0.0, 0.0), phase_dir=(0.0, 1.0, 0.0)):
    return ImageHeader(position=tuple(position), read_dir=read_dir, phase_dir=phase_dir)


def test_positions_on_both_sides_of_a_rounding_border_are_one_slice():
    planes = Planes()
    assert planes.number(header((0, 0, 0.49))) == planes.number(header((0, 0, 0.51))) == 0
    assert planes.number(header((0, 0, 8.5))) == 1
    assert planes.number(header((30, -40, 0.0))) == 0  # another place in the same plane


def test_slices_of_another_direction_are_others():
    planes = Planes()
    planes.number(header((0, 0, 0)))
    assert planes.number(header((0, 0, 0), read_dir=(0.0, 0.0, 1.0))) == 1


@pytest.mark.parametrize(("degrees", "number"), [(2.0, 0), (3.0, 1)])
def test_slices_that_are_tilted_by_more_than_two_and_a_half_degrees_are_others(degrees, number):
    planes, angle = Planes(), np.radians(degrees)
    planes.number(header((0, 0, 0)))
    assert planes.number(header((0, 0, 0), phase_dir=(0.0, np.cos(angle), np.sin(angle)))) == number


def test_without_directions_the_distance_counts():
    planes = Planes()
    assert planes.number(header((0, 0, 0), read_dir=(0.0, 0.0, 0.0))) == 0
    assert planes.number(header((0, 0, 1), read_dir=(0.0, 0.0, 0.0))) == 0
    assert planes.number(header((0, 0, 8), read_dir=(0.0, 0.0, 0.0))) == 1


def test_unknown_positions_are_of_no_plane():
    assert Planes().number(header((float("nan"), 0, 0))) == -1
    assert Planes().number(header((0, 0, 0), read_dir=(float("inf"), 0, 0))) == 0


@given(st.lists(st.floats(-0.9, 0.9), min_size=1, max_size=20), st.floats(0, 6.28), st.floats(0, 3.14))
def test_jitter_within_the_tolerance_never_splits_a_slice(jitter, azimuth, tilt):
    row = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    column = np.array([-np.sin(azimuth) * np.cos(tilt), np.cos(azimuth) * np.cos(tilt), np.sin(tilt)])
    normal = np.cross(row, column)
    planes = Planes()
    assert {planes.number(header(normal * away, tuple(row), tuple(column))) for away in jitter} == {0}


def test_planes_that_came_long_ago_are_forgotten_and_their_numbers_not_given_again():
    planes = Planes()
    numbers = [planes.number(header((0, 0, 8.0 * place))) for place in range(600)]
    assert numbers == list(range(600))
    assert planes.number(header((0, 0, 8.0 * 599))) == 599
    assert planes.number(header((0, 0, 0))) == 600
