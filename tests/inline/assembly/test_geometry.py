from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.dicom_json import DicomPlane, JsonHeader, plane
from inline.assembly.geometry import read_geometry
from inline.data.errors import SeriesError
from inline.mrd.header import ReconSpace
from inline.mrd.image_header import ImageHeader

ROW, COLUMN = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0)


def header(**fields):
    return ImageHeader(
        **{
            "matrix_size": (192, 128, 1),
            "field_of_view": (288.0, 192.0, 8.0),
            "position": (5.0, 6.0, 7.0),
            "read_dir": ROW,
            "phase_dir": COLUMN,
            **fields,
        }
    )


def dicom(spacing=(1.5, 1.5), centre=(5.0, 6.0, 7.0)):
    first = np.array(centre) - np.array(ROW) * 96 * spacing[0] - np.array(COLUMN) * 64 * spacing[1]
    return DicomPlane(spacing, (ROW, COLUMN), tuple(first))


def test_dicom_that_agrees_changes_nothing():
    alone, both = read_geometry(header()), read_geometry(header(), dicom())
    assert both.contradiction == alone.contradiction == ""
    assert both.geometry.spacing == alone.geometry.spacing == (1.5, 1.5)
    assert both.geometry.position == pytest.approx(alone.geometry.position)
    assert both.geometry.row_direction == pytest.approx(alone.geometry.row_direction)


def test_pixel_spacing_wins_over_an_exchanged_field_of_view():
    swapped = header(field_of_view=(192.0, 288.0, 8.0), position=dicom().first_pixel)
    placed = read_geometry(swapped, dicom())
    assert "1 x 2.25" in placed.contradiction
    assert "1.5 x 1.5" in placed.contradiction
    assert placed.geometry.spacing == (1.5, 1.5)
    assert placed.geometry.position == pytest.approx((5.0, 6.0, 7.0))
    assert placed.header.field_of_view == (288.0, 192.0, 8.0)
    assert placed.header.position == pytest.approx((5.0, 6.0, 7.0))
    # The first pixel of DICOM is that of the contours in patient coordinates.
    assert placed.geometry.to_patient(np.zeros((1, 2)))[0] == pytest.approx(dicom().first_pixel)


@pytest.mark.parametrize(
    ("spaces", "contradicts"),
    [
        ([(192, 128, 288.0, 192.0)], False),
        ([(192, 128, 290.0, 193.0)], False),  # rounded
        ([(192, 128, 300.0, 200.0)], False),  # by 4 %
        ([(192, 128, 306.0, 204.0)], True),  # by 6 %
        ([(192, 128, 192.0, 192.0)], True),
        ([(192, 128, 192.0, 192.0), (192, 128, 288.0, 192.0)], False),  # that of another encoding
        ([(96, 64, 192.0, 192.0)], False),  # interpolated
        ([], False),
    ],
)
def test_other_pixels_in_the_space_of_the_header_are_a_contradiction(spaces, contradicts):
    spaces = [ReconSpace(*each) for each in spaces]
    placed = read_geometry(header(), spaces=spaces)
    assert ("reconSpace" in placed.contradiction) is contradicts
    assert placed.geometry.spacing == (1.5, 1.5)
    assert read_geometry(header(), dicom(), spaces=spaces).contradiction == ""


def test_exchanged_axes_of_the_space_of_the_header_are_no_contradiction():
    square = header(matrix_size=(128, 128, 1), field_of_view=(192.0, 256.0, 8.0))
    assert read_geometry(square, spaces=[ReconSpace(128, 128, 256.0, 192.0)]).contradiction == ""


def test_the_position_of_dicom_stands_in_for_one_that_is_not_finite():
    placed = read_geometry(header(position=(5.0, float("inf"), 7.0)), dicom())
    assert placed.geometry.position == pytest.approx((5.0, 6.0, 7.0))
    assert placed.geometry.positioned
    assert placed.note == ""


def test_a_position_that_is_not_finite_is_noted_where_the_image_has_directions():
    nowhere = (float("nan"),) * 3
    assert (
        "(nan, nan, nan) of the image headers is not finite" in read_geometry(header(position=nowhere)).note
    )
    stated = replace(dicom(), first_pixel=None)
    assert read_geometry(header(position=nowhere), stated).note.startswith("ImagePositionPatient of DICOM is")
    none = (0.0, 0.0, 0.0)
    assert read_geometry(header(position=nowhere, read_dir=none, phase_dir=none, slice_dir=none)).note == ""


@pytest.mark.parametrize("size", [(0.0, 0.0, 8.0), (float("nan"), 192.0, 8.0), (288.0, 1e9, 8.0)])
def test_pixel_spacing_stands_in_for_a_useless_field_of_view(size):
    placed = read_geometry(header(field_of_view=size), dicom())
    assert placed.geometry.spacing == (1.5, 1.5)
    assert placed.contradiction
    with pytest.raises(SeriesError, match="field_of_view"):
        read_geometry(header(field_of_view=size))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rounded_directions_keep_the_direction_of_the_slice_counter(sign):
    rounded = header(read_dir=(0.7, 0.7, 0.0), slice_dir=(-0.7 * sign, 0.7 * sign, 0.0))
    assert read_geometry(rounded).geometry.slice_direction == rounded.slice_dir
    across = header(read_dir=(0.7, 0.7, 0.0), slice_dir=(0.7, 0.7, 0.0))
    assert read_geometry(across).geometry.slice_direction is None


@pytest.mark.parametrize("cosine", [0.7, 0.707])
def test_rounded_cosines_of_dicom_place_the_first_pixel(cosine):
    """``dicom2mrd`` writes the place of the first pixel for that of the centre."""
    row, column, first = (cosine, -cosine, 0.0), COLUMN, (-100.0, -120.0, 40.0)
    elements = {
        "00280030": {"Value": [1.5, 1.5]},
        "00200037": {"Value": [*row, *column]},
        "00200032": {"Value": [*first]},
    }
    stated = plane(JsonHeader.of(elements))
    placed = read_geometry(header(position=first, read_dir=row, phase_dir=column), stated)
    assert placed.geometry.oriented
    assert placed.geometry.to_patient(np.zeros((1, 2)))[0] == pytest.approx(first)
