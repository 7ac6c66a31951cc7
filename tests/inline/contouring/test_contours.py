from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from inline.contouring import contours
from inline.contouring.contours import ContourSteps, find_contours, rasterise
from inline.data.flags import Flag
from inline.data.results import Contours
from model.polygons import area, hausdorff

SIZE = 224


def disc(x, y, radius, size=SIZE):
    """Share of each pixel that a disc covers, to about 1 %."""
    grid = (np.arange(size * 10) + 0.5) / 10 - 0.5
    fine = (grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2 <= radius**2
    return fine.reshape(size, 10, size, 10).mean(axis=(1, 3)).astype(np.float32)


def ring(x=100.3, y=120.7, inner=15.2, outer=22.4):
    cavity, heart = disc(x, y, inner), disc(x, y, outer)
    return np.stack([1 - heart, cavity, heart - cavity])


def radii(points, x=100.3, y=120.7):
    return np.hypot(points[:, 0] - x, points[:, 1] - y)


def test_contours_lie_on_the_borders_of_a_ring_to_a_tenth_of_a_pixel():
    found = find_contours(ring())
    assert found.flags == ()
    for points, radius in ((found.contours.endo, 15.2), (found.contours.epi, 22.4)):
        assert points.shape == (contours.POINTS, 2)
        assert abs(radii(points).mean() - radius) < 0.1
        assert np.abs(radii(points) - radius).max() < 0.35
        assert np.abs(points.mean(axis=0) - (100.3, 120.7)).max() < 0.1


def test_a_binary_mask_is_not_shrunk_by_half_a_pixel():
    hard = (ring() > 0.5).astype(np.float32)
    found = find_contours(hard).contours
    assert abs(np.sqrt(area(found.endo) / np.pi) - 15.2) < 0.15


def test_smaller_parts_and_elongated_parts_are_left_out():
    probabilities = ring()
    for extra in (disc(30, 30, 6),):
        probabilities[2] += extra
        probabilities[0] -= extra
    probabilities[:, 200:206, 20:200] = np.array([0, 1, 0])[:, None, None]
    found = find_contours(probabilities)
    assert found.flags == ()
    assert abs(radii(found.contours.endo).mean() - 15.2) < 0.1
    kept_long = find_contours(probabilities, ContourSteps(not_elongated=False))
    assert kept_long.contours is None  # the band is larger than the heart and has no wall


def test_a_c_shape_is_closed_by_its_hull_and_only_then():
    c = np.zeros((100, 100), np.uint8)
    cv2.circle(c, (50, 50), 30, 1, -1)
    cv2.circle(c, (50, 50), 20, 0, -1)
    c[40:60, 50:] = 0
    (outline,) = contours.trace_outlines(c, dominant_points=True)
    assert area(contours.close_c_shape(outline)) > 1.8 * area(outline)
    inside_disc = (disc(50, 50, 20, 100) > 0.5).astype(np.uint8)
    (round_,) = contours.trace_outlines(inside_disc, dominant_points=True)
    assert contours.close_c_shape(round_) is round_


@pytest.mark.parametrize(
    ("ruin", "flag"),
    [
        (lambda p: np.stack([np.ones_like(p[0]), 0 * p[1], 0 * p[2]]), Flag.NO_CAVITY),
        (lambda p: np.stack([p[0] + p[1], 0 * p[1], p[2]]), Flag.NO_CAVITY),
        (lambda p: np.stack([p[0] + p[2], p[1], 0 * p[2]]), Flag.NO_MYOCARDIUM),
        (lambda p: ring(inner=1.2, outer=2.4), Flag.TOO_SMALL),
    ],
)
def test_what_is_no_ventricle_has_a_reason_and_no_contour(ruin, flag):
    found = find_contours(ruin(ring()))
    assert found.contours is None
    assert flag in found.flags


@pytest.mark.parametrize(("inner", "outer"), [(2.0, 5.5), (2.4, 4.85)])
def test_contours_of_a_small_cavity_or_heart_are_flagged(inner, outer):
    """12 and 79 pixels of the frame, 27 and 178 mm2."""
    found = find_contours(ring(inner=inner, outer=outer))
    assert found.flags == (Flag.TOO_SMALL,)
    assert found.contours is not None
    assert area(found.contours.epi) == pytest.approx(np.pi * outer**2, rel=0.1)


def test_a_small_heart_above_both_areas_is_not_flagged():
    found = find_contours(ring(inner=2.3, outer=5.15))
    assert found.flags == ()
    assert area(found.contours.endo) < 18.0
    assert area(found.contours.epi) < 83.0


@pytest.mark.parametrize(("ratio", "flags"), [(2.8, ()), (3.2, (Flag.ELONGATED,))])
def test_an_outline_more_than_three_times_as_long_as_wide_is_elongated(ratio, flags):
    mask = np.zeros((SIZE, SIZE), np.float32)
    cv2.ellipse(mask, (110, 120), (round(16 * ratio), 16), 30, 0, 360, 1.0, -1)
    heart = cv2.dilate(mask, np.ones((15, 15), np.uint8))
    assert find_contours(np.stack([1 - heart, mask, heart - mask])).flags == flags


@pytest.mark.parametrize(("outer", "flags"), [(46.0, (Flag.NO_MYOCARDIUM,)), (46.6, ())])
def test_a_wall_of_less_than_four_hundredths_of_the_heart_is_none(outer, flags):
    hard = (ring(inner=45.0, outer=outer) > 0.5).astype(np.float32)
    assert find_contours(hard).flags == flags


@pytest.mark.parametrize(("depth", "closed"), [(24, False), (40, True)])
def test_a_notch_is_closed_from_fifteen_hundredths_of_the_hull_on(depth, closed):
    """The notches take 9 and 16 % of the hull."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(mask, (110, 110), 40, 1, -1)
    cv2.ellipse(mask, (150, 110), (depth, 12), 0, 0, 360, 0, -1)
    (outline,) = contours.trace_outlines(mask, dominant_points=True)
    assert (contours.close_c_shape(outline) is not outline) == closed


def test_a_cavity_outside_the_myocardium_is_not_nested():
    wall, cavity = disc(60, 60, 20), disc(150, 150, 15)
    found = find_contours(np.stack([1 - wall - cavity, cavity, wall]))
    assert found.contours is None
    assert found.flags == (Flag.NOT_NESTED,)


@pytest.mark.parametrize(("wall", "flags"), [(7, (Flag.NOT_NESTED,)), (9, ())])
def test_at_most_three_hundredths_of_the_cavity_may_lie_outside_the_heart(wall, flags):
    """The hull closes the cavity's notch, but not the heart's narrower one: 4.5 and 2.4 % lie in that."""
    cavity = np.zeros((SIZE, SIZE), np.uint8)
    cv2.circle(cavity, (110, 110), 40, 1, -1)
    cv2.ellipse(cavity, (150, 110), (40, 12), 0, 0, 360, 0, -1)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wall + 1, 2 * wall + 1))
    heart = cv2.dilate(cavity, around)
    found = find_contours(np.stack([1 - heart, cavity, heart - cavity]).astype(np.float32))
    assert found.flags == flags


@pytest.mark.parametrize(("inner", "outer"), [(1.4, 3.3), (2.4, 3.8), (3.0, 4.2)])
def test_the_smoothing_leaves_the_wall_of_a_small_heart(inner, outer):
    """Radii of cavity and heart in pixels of 1.5 mm."""
    grid = np.arange(SIZE)
    rho = np.hypot(grid[None] - 100.3, grid[:, None] - 120.7)
    truth = np.where(rho < inner, 1, np.where(rho < outer, 2, 0))
    found = find_contours(np.eye(3, dtype=np.float32)[truth].transpose(2, 0, 1))
    assert found.contours is not None
    labels = rasterise(found.contours, (SIZE, SIZE))
    for value in (1, 2):
        ours, true = labels == value, truth == value
        assert 2 * (ours & true).sum() / (ours.sum() + true.sum()) > 0.98


def test_every_step_can_be_left_out():
    for name in ("dominant_points", "not_elongated", "largest", "close_c_shape", "spline"):
        found = find_contours(ring(), replace(ContourSteps(), **{name: False}))
        assert found.contours is not None
        assert abs(np.sqrt(area(found.contours.epi) / np.pi) - 22.4) < 0.2, name


@settings(max_examples=40)
@given(st.floats(40, 180), st.floats(40, 180), st.floats(5, 20), st.floats(3, 15), st.floats(0.7, 1.4))
def test_rasterised_contours_are_the_labels_again(x, y, inner, wall, stretch):
    grid = np.arange(SIZE)
    rho = np.hypot((grid[None] - x) * stretch, grid[:, None] - y)
    soft = expit(4 * (inner + wall - rho))
    cavity = expit(4 * (inner - rho))
    probabilities = np.stack([1 - soft, cavity, soft - cavity]).astype(np.float32)
    found = find_contours(probabilities)
    assert found.contours is not None
    labels, truth = rasterise(found.contours, (SIZE, SIZE)), probabilities.argmax(0)
    for value in (1, 2):
        dice = (
            2
            * ((labels == value) & (truth == value)).sum()
            / ((labels == value).sum() + (truth == value).sum())
        )
        assert dice > 0.9  # a wall of three pixels has mostly border pixels


def test_no_pixels_lie_inside_a_contour_beyond_the_image():
    far = Contours(
        np.array([[300.0, 300], [310, 300], [300, 310]]), np.array([[-9.0, -9], [-5, -9], [-5, -4]])
    )
    assert not rasterise(far, (50, 50)).any()


@pytest.mark.parametrize("seed", range(6))
def test_contours_hardly_move_when_the_probabilities_hardly_do(seed):
    """An engine in another precision must not move a contour by more than it moves the border."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((96, 96))
    angle = np.arctan2(rows - 47.3, columns - 48.1)
    rho = np.hypot(columns - 48.1, rows - 47.3) * (1 + 0.08 * np.cos(2 * angle) + 0.04 * np.cos(5 * angle))
    scores = np.stack([rho - 27.0, 18.0 - rho, 4.5 - np.abs(rho - 22.5)])

    def found(noise):
        moved = scores + noise * random.normal(size=scores.shape)
        shares = np.exp(moved) / np.exp(moved).sum(axis=0)
        contours = find_contours(shares.astype(np.float32)).contours
        assert contours is not None
        return contours

    exact, other = found(0.0), found(0.02)
    for a, b in ((exact.endo, other.endo), (exact.epi, other.epi)):
        assert hausdorff(a, b) < 0.2
