from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.data.results import Contours, Insertions
from inline.examination.registration import Affine, register, sample
from tests.inline.examination.phantom import CENTRE, EPI, SPACING, t1_slice

NATIVE = t1_slice(noise=0.03)
SHIFT = st.floats(-6.0, 6.0)


@settings(max_examples=15)
@given(SHIFT, SHIFT, st.floats(-15.0, 15.0))
def test_shift_and_rotation_of_the_heart_are_found(x, y, turn):
    found = register(NATIVE, t1_slice(post=True, noise=0.03, shift=(x, y), turn=turn))
    # A point at the septum, off the centre: 20 pixels.
    angle = np.radians(180.0)
    native = np.array(CENTRE) + 20.0 * np.array([np.cos(angle), np.sin(angle)])
    turned = angle + np.radians(turn)
    there = np.array(CENTRE) + (x, y) + 20.0 * np.array([np.cos(turned), np.sin(turned)])
    assert found.to_post(native[None])[0] == pytest.approx(there, abs=0.2)
    assert found.movement.x_mm == pytest.approx(-x * SPACING[0], abs=0.3)
    assert found.movement.y_mm == pytest.approx(-y * SPACING[1], abs=0.3)
    assert found.movement.rotation_degrees == pytest.approx(-turn, abs=0.1)
    assert found.overlap > 0.95


@pytest.mark.parametrize("error", [(1.0, 0.5), (-1.2, 0.8), (0.0, -1.5)])
def test_the_images_correct_contours_that_are_off(error):
    found = register(NATIVE, t1_slice(post=True, noise=0.03, shift=(2.0, -1.0), contour_error=error))
    assert found.movement.source.endswith("refined by the images")
    assert (found.movement.x_mm, found.movement.y_mm) == pytest.approx((-3.0, 1.5), abs=0.35)


def test_organs_that_the_heart_moves_past_do_not_pull_it():
    """What surrounds the heart stays where it is, with stronger edges than the heart."""
    post = t1_slice(post=True, noise=0.03, shift=(1.0, -1.0))
    native, moved = (each.map.values_ms.copy() for each in (NATIVE, post))
    y, x = np.mgrid[: moved.shape[0], : moved.shape[1]]
    around = np.hypot(x - CENTRE[0], y - CENTRE[1]) > EPI + 6.0
    native[around] = moved[around] = 100.0
    shown = [replace(a, map=replace(a.map, values_ms=b)) for a, b in ((NATIVE, native), (post, moved))]
    found = register(*shown)
    assert (found.movement.x_mm, found.movement.y_mm) == pytest.approx((-1.5, 1.5), abs=0.1)
    assert found.overlap > 0.95


def test_without_trusted_points_there_is_no_rotation():
    post = t1_slice(post=True, turn=10.0)
    for points in (Insertions(), replace(post.insertions, objection="not at the angle of a septum")):
        found = register(NATIVE, replace(post, insertions=points))
        assert found.movement.rotation_degrees == 0.0
        assert found.movement.source.startswith("contours")
        assert "insertion" not in found.movement.source


def test_a_rotation_that_no_breath_hold_makes_is_not_believed():
    assert register(NATIVE, t1_slice(post=True, turn=40.0)).movement.rotation_degrees == 0.0


def test_the_geometry_of_both_images_is_used():
    """The post-contrast image has smaller pixels and another place in the plane."""
    post = t1_slice(post=True)
    geometry, size = post.geometry, 1.25
    by = np.array([9.0, -4.5])  # mm in the plane
    axes = np.array([geometry.row_direction, geometry.column_direction])
    finer = replace(
        geometry,
        spacing=(size, size),
        shape=(200, 190),
        position=tuple((np.array(geometry.position) + by @ axes).tolist()),
    )
    # Pixels of the finer image as pixels of the other, from where both state their position.
    to_coarse = Affine(
        np.eye(2) * size / 1.5, np.array([60.0, 64.0]) + (by - size * np.array([95.0, 100.0])) / 1.5
    )
    values = sample(post.map.values_ms, to_coarse, (200, 190), 0.0).astype(np.float32)
    nothing = np.zeros((200, 190), np.float32)
    made = replace(post.map, values_ms=values, sd_ms=nothing, r_squared=nothing, failed=values == 0.0)
    back = to_coarse.inverse()
    contours = replace(post.contours, endo=back(post.contours.endo), epi=back(post.contours.epi))
    moved = replace(post, geometry=finer, map=made, contours=contours, insertions=Insertions())
    found = register(replace(NATIVE, insertions=Insertions()), moved)
    assert found.to_post(np.array([CENTRE]))[0] == pytest.approx(back(np.array([CENTRE]))[0], abs=0.05)
    assert (found.movement.x_mm, found.movement.y_mm) == pytest.approx((0.0, 0.0), abs=0.05)


def test_images_without_orientation_are_taken_pixel_by_pixel():
    post = t1_slice(post=True, shift=(3.0, 1.0))
    elsewhere = replace(post, geometry=replace(post.geometry, position=(99.0, 0.0, 0.0), oriented=False))
    native = replace(NATIVE, geometry=replace(NATIVE.geometry, oriented=False))
    found = register(native, elsewhere)
    assert (found.movement.x_mm, found.movement.y_mm) == pytest.approx((-4.5, -1.5), abs=0.3)


def test_a_constant_map_is_registered_by_its_contours():
    post = t1_slice(post=True, shift=(2.0, 0.0))
    flat = replace(post, map=replace(post.map, values_ms=np.full_like(post.map.values_ms, 400.0)))
    assert register(NATIVE, flat).movement.x_mm == pytest.approx(-3.0)


def test_contours_beyond_the_image_are_registered_by_themselves():
    post = t1_slice(post=True)
    far = [
        replace(each, contours=Contours(each.contours.endo + 500, each.contours.epi + 500))
        for each in (NATIVE, post)
    ]
    assert register(*far).movement.x_mm == pytest.approx(0.0)


def test_a_map_that_does_not_move_stays_bit_exact():
    image = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    same = sample(image, Affine(np.eye(2), np.zeros(2)), (30, 40), 0.0)
    assert np.array_equal(same.astype(np.float32), image)
    half = sample(image, Affine(np.eye(2), np.array([0.5, 0.0])), (30, 40), -1.0)
    assert half[:, :-1] == pytest.approx((image[:, :-1] + image[:, 1:]) / 2.0, abs=1e-6)
    assert (half[:, -1] < image[:, -1]).all()
