"""The rasteriser against analytic areas and against the point tests of matplotlib and OpenCV."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from scipy import ndimage

from model.polygons import (
    area,
    contains,
    distances,
    hausdorff,
    inside,
    outward,
    parallel,
    perimeter,
    resample,
    ring_labels,
    signed_area,
)
from tests.shapes import circle

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


@settings(max_examples=60)
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


@settings(max_examples=60)
@given(CORNERS)
def test_inside_agrees_with_matplotlib(points):
    outline, shape = np.array(points), (30, 25)
    expected = Polygon(np.vstack([outline, outline[:1]])).contains_points(centres(shape)).reshape(shape)
    sure = clear_of(outline, shape)
    assert np.array_equal(inside(outline, shape)[sure], expected[sure])


@settings(max_examples=60)
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


@settings(max_examples=60)
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


@settings(max_examples=60)
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
    drawn = circle(10.0, 0.0)
    for outline in (drawn, drawn[::-1]):
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


def crossings(outline):
    """Pairs of edges of a closed polygon, other than neighbours, that cross each other."""
    a, b = outline, np.roll(outline, -1, axis=0)

    def side(p, q, r):
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
            - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    i, j = np.triu_indices(len(a), 2)
    apart = (side(a[i], b[i], a[j]) * side(a[i], b[i], b[j]) < 0) & (
        side(a[j], b[j], a[i]) * side(a[j], b[j], b[i]) < 0
    )
    return int(apart.sum())


def wavy(size, waves, points=96):
    """A star shape: a circle whose radius swings; a wave is (number around, share of it, phase)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = size * (1.0 + sum(share * np.cos(number * angle + phase) for number, share, phase in waves))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


WAVES = st.lists(
    st.tuples(st.integers(1, 6), st.floats(-0.12, 0.12), st.floats(0.0, 6.3)), min_size=0, max_size=4
)
DISTANCES = st.floats(-5.0, 5.0).filter(lambda distance: abs(distance) > 0.01)


@pytest.mark.parametrize("radius", [6.0, 15.0, 40.0])
@pytest.mark.parametrize("distance", [-4.0, -1.5, 1.5, 4.0])
def test_the_parallel_curve_of_a_circle_is_a_circle(radius, distance):
    made = parallel(ellipse(3.0, -2.0, radius, radius, 96), distance)
    assert made.shape == (96, 2)
    assert np.abs(np.hypot(made[:, 0] - 3.0, made[:, 1] + 2.0) - radius - distance).max() < 0.03


@pytest.mark.parametrize("distance", [-4.0, -1.5, 1.5, 4.0])
def test_the_parallel_curve_of_an_ellipse_lies_on_its_normals(distance):
    """Curvature radii of 30 x 20 mm: 13.3 to 45 mm."""
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    normal = np.stack([20 * np.cos(angle), 30 * np.sin(angle)], axis=1)
    exact = np.stack([30 * np.cos(angle), 20 * np.sin(angle)], axis=1)
    exact += distance * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    assert hausdorff(parallel(ellipse(0, 0, 30, 20, 96), distance), exact) < 0.1


def c_shape(width=6.0, radius=18.0, opening=1.0):
    """A band along an arc, with round ends: the gap between them is ``opening`` radians."""
    angle = np.linspace(opening / 2, 2 * np.pi - opening / 2, 80)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    turn = np.linspace(0, np.pi, 14)[1:-1]
    end = angle[-1]
    cap = radius * arc[-1] + width / 2 * np.stack([np.cos(end + turn), np.sin(end + turn)], axis=1)
    other = cap[::-1] * (1, -1)
    return np.vstack([(radius + width / 2) * arc, cap, (radius - width / 2) * arc[::-1], other])


def test_a_c_loses_its_tips_evenly_and_closes_where_it_is_drawn_wider():
    band = c_shape()
    narrow = parallel(band, -1.5)
    assert np.abs(distances(narrow, band) - 1.5).max() < 0.1
    assert area(narrow) == pytest.approx(area(c_shape(width=3.0)), rel=0.01)
    wide = parallel(band, 1.5)
    assert area(wide) == pytest.approx(area(c_shape(width=9.0)), rel=0.01)
    # Its ends are 17 mm apart less the band: from 6 mm on they meet, and the hole is filled.
    closed = parallel(c_shape(opening=0.6), 4.0)
    assert np.hypot(*closed.T).min() > 18.0
    assert crossings(narrow) == crossings(wide) == crossings(closed) == 0


def test_naive_normals_would_cross_where_the_parallel_curve_does_not():
    shape = wavy(22.0, [(5, 0.2, 0.0)])
    assert crossings(outward(shape, 5.0)) > 0
    assert crossings(parallel(shape, 5.0)) == 0


@settings(max_examples=50)
@given(st.floats(8.0, 40.0), WAVES, DISTANCES)
def test_a_parallel_curve_encloses_what_lies_within_the_distance(size, waves, distance):
    shape = wavy(size, waves, points=200)
    step = 0.8
    grid = int(2 * (np.abs(shape).max() + 8.0) / step)
    offset = grid / 2
    points = (centres((grid, grid)) - offset) * step
    beyond = np.where(inside(shape / step + offset, (grid, grid)).ravel(), -1, 1) * distances(points, shape)
    region = (beyond <= distance).reshape(grid, grid)
    if not region.any():
        return
    parts, number = ndimage.label(region)
    sizes = np.bincount(parts.ravel())[1:]
    if number > 1 and np.sort(sizes)[-2] > 0.7 * sizes.max():
        return  # two parts of about one size: either may be the largest
    expected = ndimage.binary_fill_holes(parts == sizes.argmax() + 1)
    made = parallel(shape, distance)
    assert made.shape == shape.shape
    assert crossings(made) == 0
    assert signed_area(made) > 0
    wrong = (inside(made / step + offset, (grid, grid)) != expected).ravel()
    # Only beside its kinks, where a chord between two of its points cuts them short, is it further off.
    further = np.abs(beyond - distance)[wrong]
    assert (further > 0.1).sum() * step**2 <= 8.0  # of up to 12 kinks
    assert further.max(initial=0.0) < 1.0
    assert distances(made, shape).min() > abs(distance) - 0.1


@settings(max_examples=40)
@given(CORNERS)
def test_points_and_pixels_lie_inside_by_one_rule(points):
    outline, shape = np.array(points), (30, 25)
    assert np.array_equal(contains(outline, centres(shape)).reshape(shape), inside(outline, shape))


def test_nothing_left_inside_is_an_error_and_no_distance_the_outline_itself():
    disc = ellipse(0, 0, 4, 4, 96)
    assert parallel(disc, 0.0) is disc
    with pytest.raises(ValueError, match="nothing is left inside"):
        parallel(disc, -4.5)


def test_the_parallel_curve_keeps_sense_and_first_point():
    shape = wavy(20.0, [(3, 0.2, 1.0)])
    for outline in (shape, shape[::-1], np.roll(shape, 40, axis=0)):
        for distance in (-4.0, 0.2, 4.0):
            made = parallel(outline, distance)
            assert np.sign(signed_area(made)) == np.sign(signed_area(outline))
            assert np.linalg.norm(made[0] - outline[0]) < abs(distance) + 1.0
