"""Contours by a convention: at their distances, nested, with a wall between them, whatever the ring."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.contouring.convention import KEPT, draw, move, thinnest
from inline.contouring.segment import Segmentation
from inline.data.results import ContourOffsets, Contours
from model.polygons import area, contains, distances, ring_labels

ANGLE = np.linspace(0, 2 * np.pi, 96, endpoint=False)
AROUND = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
SHAPE = (256, 240)
CENTRE = np.array([118.0, 131.0])


def ring(inner, outer, spacing=(1.0, 1.0)):
    """Contours in pixels from radii in mm, one for all angles or one for each."""
    made = (CENTRE + np.reshape(radius, (-1, 1)) * AROUND / spacing for radius in (inner, outer))
    return Contours(*made)


def found(contours):
    return Segmentation(ring_labels(contours.endo, contours.epi, SHAPE), contours, ())


def radii(points, spacing=(1.0, 1.0)):
    return np.hypot(*((points - CENTRE) * spacing).T)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.9, 2.1)])
@pytest.mark.parametrize("offsets", [(1.5, 1.5), (-2.0, 1.0), (3.0, -2.0), (0.0, 1.5), (1.5, 0.0)])
def test_contours_lie_at_their_distances_in_mm(spacing, offsets):
    moved, applied = move(ring(18.0, 28.0, spacing), spacing, ContourOffsets(*offsets))
    assert applied == offsets
    assert np.abs(radii(moved.endo, spacing) - 18.0 - offsets[0]).max() < 0.05
    assert np.abs(radii(moved.epi, spacing) - 28.0 + offsets[1]).max() < 0.05


def test_no_offsets_leave_every_bit():
    before = found(ring(18.0, 28.0))
    drawn = draw(before, (1.3, 0.7), ContourOffsets(0.0, 0.0))
    assert drawn.labels is before.labels
    assert drawn.contours is before.contours
    assert (drawn.offsets, drawn.note) == ((0.0, 0.0), "")


def test_one_offset_leaves_every_bit_of_the_other_contour():
    before = ring(18.0, 28.0)
    moved, _ = move(before, (1.3, 0.7), ContourOffsets(0.0, 2.0))
    assert moved.endo is before.endo


def test_labels_are_those_of_the_drawn_contours():
    drawn = draw(found(ring(18.0, 28.0)), (1.0, 1.0), ContourOffsets(2.0, 1.0))
    assert np.array_equal(drawn.labels, ring_labels(drawn.contours.endo, drawn.contours.epi, SHAPE))
    assert (drawn.labels == 1).sum() == pytest.approx(np.pi * 20.0**2, rel=0.02)
    assert (drawn.labels > 0).sum() == pytest.approx(np.pi * 27.0**2, rel=0.02)


def test_a_thin_wall_keeps_its_share_and_both_offsets_shrink_alike():
    outer = 20.0 + 6.0 - 4.0 * np.exp(-((ANGLE - np.pi) ** 2))  # 6 mm of wall, 2 mm at its thinnest
    drawn = draw(found(ring(20.0, outer)), (1.0, 1.0), ContourOffsets(1.0, 2.0))
    assert drawn.offsets.epi_mm == pytest.approx(2.0 * drawn.offsets.endo_mm)
    assert sum(drawn.offsets) == pytest.approx((1.0 - KEPT) * 2.0, abs=0.05)
    assert thinnest(drawn.contours) == pytest.approx(KEPT * 2.0, abs=0.1)
    assert "0.44 and 0.89 mm" in drawn.note
    assert draw(found(ring(20.0, 24.6)), (1.0, 1.0), ContourOffsets(1.5, 1.5)).note == ""


def test_borders_that_cross_stay_where_they_are_and_it_is_stated():
    crossed = ring(20.0, 24.0 + 6.0 * np.cos(ANGLE))
    drawn = draw(found(crossed), (1.0, 1.0), ContourOffsets(1.5, 1.5))
    assert drawn.offsets == (0.0, 0.0)
    assert drawn.contours.epi is crossed.epi
    assert "0.00 and 0.00 mm" in drawn.note


def inlet_ring(gap):
    """A ring whose two borders follow a narrow inlet, ``gap`` mm apart."""
    inner = 34.0 - 26.0 * np.exp(-(((ANGLE - np.pi) / 0.1) ** 2))
    return ring(inner, inner + gap)


@pytest.mark.parametrize("offsets", [(3.0, -0.3), (0.0, 5.0), (-2.0, 5.0)])
@pytest.mark.parametrize("gap", [0.05, 0.3])
def test_walls_far_below_a_pixel_stay_nested(gap, offsets):
    before = inlet_ring(gap)
    assert contains(before.epi, before.endo).all()
    drawn = draw(found(before), (1.0, 1.0), ContourOffsets(*offsets))
    assert contains(drawn.contours.epi, drawn.contours.endo).all()
    assert not contains(drawn.contours.endo, drawn.contours.epi).any()
    assert drawn.note


def test_borders_that_cross_and_would_move_in_one_direction_stay_too():
    crossed = ring(20.0, 24.0 + 6.0 * np.cos(ANGLE))
    drawn = draw(found(crossed), (1.0, 1.0), ContourOffsets(5.0, -5.0))
    assert drawn.offsets == (0.0, 0.0)
    assert "0.00 and 0.00 mm" in drawn.note


@pytest.mark.parametrize("offsets", [(-5.0, 5.0), (5.0, -5.0), (-3.0, 5.0), (4.0, -1.0)])
def test_a_ring_that_moves_as_a_whole_keeps_its_share_of_the_wall(offsets):
    """Offsets of opposite sign left the ring its thickness, but put it into blood or fat alone."""
    moved, applied = move(ring(20.0, 23.0), (1.0, 1.0), ContourOffsets(*offsets))
    inner, outer = max(radii(moved.endo).max(), 20.0), min(radii(moved.epi).min(), 23.0)
    assert outer - inner == pytest.approx(KEPT * 3.0, abs=0.1)
    assert applied.endo_mm / applied.epi_mm == pytest.approx(offsets[0] / offsets[1])


def test_a_small_cavity_keeps_three_quarters_of_its_radius():
    drawn = draw(found(ring(4.0, 14.0)), (1.0, 1.0), ContourOffsets(-5.0, 1.0))
    assert area(drawn.contours.endo) == pytest.approx(np.pi * 3.0**2, rel=0.02)
    assert drawn.offsets == pytest.approx((-1.0, 0.2), abs=0.01)


def test_a_slice_without_contours_has_no_offsets():
    empty = Segmentation(np.zeros(SHAPE, np.uint8), None, ())
    assert draw(empty, (1.0, 1.0), ContourOffsets(1.5, 1.5)) == (empty.labels, None, None, "", ())


def edge_crossings(outline):
    a, b = outline, np.roll(outline, -1, axis=0)
    i, j = np.triu_indices(len(a), 2)

    def side(p, q, r):
        one, other = q - p, r - p
        return np.sign(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])

    first = side(a[i], b[i], a[j]) * side(a[i], b[i], b[j])
    second = side(a[j], b[j], a[i]) * side(a[j], b[j], b[i])
    return int(((first < 0) & (second < 0)).sum())


SWINGS = st.lists(
    st.tuples(st.integers(1, 5), st.floats(-0.12, 0.12), st.floats(0.0, 6.3)), min_size=0, max_size=3
)
OFFSET = st.floats(-5.0, 5.0)


@settings(max_examples=80)
@given(st.floats(5.0, 35.0), SWINGS, st.floats(0.5, 25.0), SWINGS, OFFSET, OFFSET, st.floats(0.9, 2.1))
def test_the_ring_is_never_empty_crossed_or_thinner_than_its_share(
    size, swings, thickness, thicker, endo_mm, epi_mm, across
):
    def swing(waves):
        return 1.0 + sum(share * np.cos(number * ANGLE + phase) for number, share, phase in waves)

    inner = size * swing(swings)
    spacing = (across, 1.4)
    borders = ring(inner, inner + thickness * swing(thicker), spacing)
    before = thinnest(borders.in_mm(spacing))
    moved, applied = move(borders, spacing, ContourOffsets(endo_mm, epi_mm))
    in_mm = moved.in_mm(spacing)
    for contour, original, offset in (
        (in_mm.endo, borders.in_mm(spacing).endo, applied.endo_mm),
        (in_mm.epi, borders.in_mm(spacing).epi, applied.epi_mm),
    ):
        assert contour.shape == (96, 2)
        assert np.isfinite(contour).all()
        assert edge_crossings(contour) == 0
        assert area(contour) > 0.0
        assert distances(contour, original).min() > abs(offset) - 0.1
    assert contains(in_mm.epi, in_mm.endo).all()
    # A chord of a curve of 96 points may lie a little nearer than its ends.
    assert thinnest(in_mm) >= KEPT * before - 0.1
