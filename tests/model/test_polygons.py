"""The rasteriser against analytic areas and against the point tests of matplotlib and OpenCV."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from model.polygons import area, distances, hausdorff, inside, outward, perimeter, resample, ring_labels

CORNERS = st.lists(st.tuples(st.floats(-5, 35), st.floats(-5, 35)), min_size=3, max_size=12)


def ellipse(x, y, a, b, points=720):
    """A polygon of the ellipse's own area: its corners lie a little outside."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    grown = np.sqrt((2 * np.pi / points) / np.sin(2 * np.pi / points))
    return np.stack([x + grown * a * np.cos(angle), y + grown * b * np.sin(angle)], axis=1)


def centres(shape):
    rows, columns = np.indices(shape)
    return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)


def clear_of(outline, shape):
    """Pixels whose centres lie on no edge, rounding included."""
    return (distances(centres(shape), outline) > 1e-6).reshape(shape)


@settings(max_examples=60, deadline=None)
@given(CORNERS)
@example([(0.0, 0.0), (0.0, 1.0), (1.0, 2.2250738585e-313)])  # an edge that is all but level
def test_inside_agrees_with_opencv_pixel_by_pixel(points):
    outline = np.array(points)
    mask = inside(outline, (30, 30))
    polygon = outline.astype(np.float32).reshape(-1, 1, 2)
    for row, column in np.ndindex(30, 30):
        distance = cv2.pointPolygonTest(polygon, (float(column), float(row)), True)
        if abs(distance) > 1e-3:
            assert mask[row, column] == (distance > 0)


@settings(max_examples=60, deadline=None)
@given(CORNERS)
def test_inside_agrees_with_matplotlib(points):
    outline, shape = np.array(points), (30, 25)
    expected = Polygon(np.vstack([outline, outline[:1]])).contains_points(centres(shape)).reshape(shape)
    sure = clear_of(outline, shape)
    assert np.array_equal(inside(outline, shape)[sure], expected[sure])


@settings(max_examples=60, deadline=None)
@given(st.floats(30, 50), st.floats(30, 50), st.floats(6, 25), st.floats(6, 25))
def test_an_ellipse_holds_the_pixels_whose_centres_it_encloses(x, y, a, b):
    mask = inside(ellipse(x, y, a, b), (80, 80))
    rows, columns = np.indices((80, 80))
    rho = np.hypot((columns - x) / a, (rows - y) / b)
    sure = np.abs(rho - 1.0) > 1e-3
    assert np.array_equal(mask[sure], (rho < 1.0)[sure])


def test_areas_are_right_on_average_and_not_half_a_pixel_too_large():
    random = np.random.default_rng(1)
    ratios = []
    for x, y, a, b in random.uniform((38, 38, 8, 8), (42, 42, 25, 25), (200, 4)):
        ratios.append(inside(ellipse(x, y, a, b), (80, 80)).sum() / (np.pi * a * b))
    assert abs(np.mean(ratios) - 1.0) < 0.003  # half a pixel all round would make it 1.07
    assert max(np.abs(np.array(ratios) - 1.0)) < 0.07


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 20), min_size=2, max_size=4, unique=True),
    st.lists(st.integers(0, 20), min_size=2, max_size=4, unique=True),
)
def test_rectangles_side_by_side_share_no_pixel_and_miss_none(xs, ys):
    """Their edges run through pixel centres."""
    xs, ys = sorted(xs), sorted(ys)
    count = np.zeros((22, 22), int)
    for left, right in pairwise(xs):
        for top, bottom in pairwise(ys):
            count += inside(
                np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float), (22, 22)
            )
    expected = np.zeros((22, 22), int)
    expected[ys[0] : ys[-1], xs[0] : xs[-1]] = 1
    assert np.array_equal(count, expected)


@settings(max_examples=60, deadline=None)
@given(CORNERS, st.integers(0, 11), st.integers(-4, 4), st.integers(-4, 4))
def test_first_corner_direction_and_whole_pixels_make_no_difference(points, first, right, down):
    outline, shape = np.array(points), (40, 40)
    mask, sure = inside(outline, shape), clear_of(outline, shape)
    for same in (np.roll(outline, first, axis=0), outline[::-1]):
        assert np.array_equal(inside(same, shape)[sure], mask[sure])
    moved = np.roll(inside(outline + np.array([right, down]), shape), (-down, -right), axis=(0, 1))
    sure[:4], sure[-4:], sure[:, :4], sure[:, -4:] = False, False, False, False
    assert np.array_equal(moved[sure], mask[sure])


def test_a_pixel_is_labelled_by_its_centre():
    endo = np.array([(3.5, 2.5), (5.5, 2.5), (5.5, 4.5), (3.5, 4.5)])
    epi = np.array([(1.5, 0.5), (7.5, 0.5), (7.5, 6.5), (1.5, 6.5)])
    expected = np.zeros((8, 9), np.uint8)
    expected[1:7, 2:8] = 2
    expected[3:5, 4:6] = 1
    labels = ring_labels(endo, epi, (8, 9))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected)


def test_a_cavity_counts_only_within_the_heart():
    square = np.array([(0.5, 0.5), (4.5, 0.5), (4.5, 4.5), (0.5, 4.5)])
    labels = ring_labels(square + 2.0, square, (10, 10))
    assert (labels == 1).sum() == 4
    assert (labels == 2).sum() == 12
    assert not labels[5:].any()


@pytest.mark.parametrize("shift", [(300.0, 300.0), (-60.0, 0.0), (0.0, -60.0), (10.0, 300.0)])
def test_no_pixels_lie_inside_a_polygon_beyond_the_image(shift):
    assert not inside(ellipse(20, 20, 15, 10) + shift, (50, 50)).any()


def test_a_polygon_around_the_whole_image_holds_all_of_it():
    assert inside(ellipse(20, 20, 300, 200), (40, 50)).all()


def test_moving_outwards_grows_a_polygon_whichever_way_it_turns():
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 10
    for outline in (circle, circle[::-1]):
        assert np.allclose(np.hypot(*outward(outline, 0.5).T), 10.5, atol=0.01)


def test_distance_of_two_squares():
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    dented = np.array([[0.0, 0], [5, 4], [10, 0], [10, 10], [0, 10]])
    assert hausdorff(square, square) == 0.0
    assert hausdorff(square, dented) == pytest.approx(4.0)
    assert hausdorff(square, square + np.array([3.0, 0.0])) == pytest.approx(3.0)


def test_length_area_and_even_points_are_those_of_a_rectangle():
    corners = np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 5.0], [1.0, 5.0]])
    assert (perimeter(corners), area(corners), area(corners[::-1])) == (24.0, 32.0, 32.0)
    even = resample(corners, 12)
    assert np.allclose(np.linalg.norm(np.roll(even, -1, axis=0) - even, axis=1), 2.0)
    assert np.array_equal(even[0], corners[0])
