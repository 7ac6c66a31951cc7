import math
from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.dicom_json import DicomPlane, JsonHeader, plane
from inline.assembly.geometry import differing_directions, differing_sizes, read_geometry, stated_directions
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


def stated(row, column):
    """Directions as the attributes of an image state them."""
    return stated_directions({"ImageRowDir": row, "ImageColumnDir": column})


def texts(vector, digits=18):
    return tuple(f"{value:.{digits}f}" for value in vector)


def negative(vector):
    return tuple(-value for value in vector)


@pytest.mark.parametrize(
    ("row", "column"),
    [(COLUMN, ROW), (negative(ROW), negative(COLUMN)), (negative(ROW), COLUMN), (COLUMN, negative(ROW))],
)
def test_directions_of_the_attributes_are_those_of_a_turned_or_flipped_image(row, column):
    """``read_dir`` and ``phase_dir`` stay those of the acquisition (ismrmrd, ``mrd_image_data.md``)."""
    acquired = header(slice_dir=(-0.6, 0.8, 0.0))
    placed = read_geometry(acquired, stated=stated(texts(row), texts(column)))
    assert (placed.geometry.row_direction, placed.geometry.column_direction) == (row, column)
    # The first pixel lies 96 columns and 64 rows of 1.5 mm before the centre.
    first = np.array((5.0, 6.0, 7.0)) - 96 * 1.5 * np.array(row) - 64 * 1.5 * np.array(column)
    assert placed.geometry.to_patient(np.zeros((1, 2)))[0] == pytest.approx(first)
    assert placed.geometry.slice_direction == acquired.slice_dir
    assert placed.contradiction == ""
    assert placed.header == acquired


@pytest.mark.parametrize("digits", [2, 6, 18])
def test_attributes_that_repeat_the_header_change_nothing(digits):
    row = tuple(np.array((0.8, 0.59999, 1.1e-5), np.float32).tolist())
    own = header(read_dir=row)
    repeated = stated(texts(row, digits), texts(COLUMN, digits))
    assert repeated is not None
    assert read_geometry(own, stated=repeated) == read_geometry(own)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (texts(COLUMN), ()),
        ((), texts(ROW)),
        (texts(COLUMN), texts(COLUMN)),
        (texts((0.0, 0.0, 0.0)), texts(ROW)),
        (texts((0.0, 0.0, -2.0)), texts(ROW)),
        (texts((0.0, 0.1, -1.0)), texts(ROW)),
        (("nan", "0", "-1"), texts(ROW)),
        (("inf", "0", "-1"), texts(ROW)),
        (("0", "0"), texts(ROW)),
        (("0", "0", "-1", "x"), texts(ROW)),
        (("0 0 -1",), texts(ROW)),
        (("", "0", "-1"), texts(ROW)),
    ],
)
def test_unusable_attributes_leave_the_directions_of_the_header(row, column):
    assert read_geometry(header(), stated=stated(row, column)) == read_geometry(header())


@pytest.mark.parametrize("degrees", [2.0, 3.0, 90.0])
def test_attributes_in_another_plane_are_a_contradiction(degrees):
    angle = np.radians(degrees)
    turned = np.cos(angle) * np.array(COLUMN) + np.sin(angle) * np.cross(ROW, COLUMN)
    placed = read_geometry(
        header(), spaces=[ReconSpace(192, 128, 192.0, 192.0)], stated=stated(texts(turned), texts(ROW))
    )
    one_plane = degrees < 2.5
    assert ("ImageRowDir" in placed.contradiction) is not one_plane
    assert "reconSpace" in placed.contradiction
    assert placed.geometry.row_direction == pytest.approx(turned if one_plane else ROW)


@pytest.mark.parametrize("none", [(0.0, 0.0, 0.0), (float("nan"),) * 3])
def test_attributes_stand_in_for_a_header_without_directions(none):
    placed = read_geometry(
        header(read_dir=none, phase_dir=none), stated=stated(texts(ROW), texts(COLUMN))
    ).geometry
    assert placed.oriented
    assert (placed.row_direction, placed.column_direction) == (ROW, COLUMN)


def test_directions_of_dicom_win_over_those_of_attributes():
    turned = stated(texts(COLUMN), texts(ROW))
    assert read_geometry(header(), dicom(), stated=turned) == read_geometry(header(), dicom())
    spacing_alone = replace(dicom(), directions=None)
    assert read_geometry(header(), spacing_alone, stated=turned).geometry.row_direction == COLUMN


@pytest.mark.parametrize(
    ("degrees", "differ"), [(0.0, False), (2.0, False), (3.0, True), (90.0, True), (180.0, True)]
)
def test_images_of_a_slice_that_are_turned_against_each_other(degrees, differ):
    angle = np.radians(degrees)
    row = np.cos(angle) * np.array(ROW) + np.sin(angle) * np.array(COLUMN)
    column = np.cos(angle) * np.array(COLUMN) - np.sin(angle) * np.array(ROW)
    plain, none = (header(), None, None), (header(read_dir=(0.0,) * 3), None, None)
    turned = [
        (header(read_dir=tuple(row), phase_dir=tuple(column)), None, None),
        (header(), None, stated(texts(row), texts(column))),
        (header(), replace(dicom(), directions=(tuple(row), tuple(column))), None),
    ]
    for other in turned:
        for images in ([plain, plain, other], [other, plain], [none, other, plain, none]):
            assert bool(differing_directions(images)) is differ


def test_a_flipped_image_among_others_is_turned_against_them():
    flipped = (header(), None, stated(texts(negative(ROW)), texts(COLUMN)))
    assert differing_directions([(header(), None, None), flipped])
    assert not differing_directions([flipped, flipped])


def test_images_of_a_slice_with_pixels_of_another_size():
    plain, rounded = header(), header(field_of_view=tuple(1.005 * each for each in header().field_of_view))
    finer = header(field_of_view=tuple(0.9 * each for each in header().field_of_view))
    assert not differing_sizes([(plain, None), (rounded, None)])
    assert differing_sizes([(finer, None), (plain, None), (plain, None)])
    # DICOM wins over a field of view whose sides a converter exchanged.
    assert not differing_sizes([(finer, dicom()), (plain, dicom())])
    assert differing_sizes([(plain, replace(dicom(), spacing=(1.0, 2.0))), (plain, dicom())])


@pytest.mark.parametrize("size", [0.0, math.nan, math.inf, 1e6])
def test_images_without_a_usable_pixel_size_are_of_no_other_size(size):
    plain, none = (header(), None), (header(field_of_view=(size,) * 3), None)
    assert not differing_sizes([none, plain, none, plain])
    assert not differing_sizes([none, none])
    assert differing_sizes([none, plain, (plain[0], replace(dicom(), spacing=(1.0, 2.0)))])


def test_the_table_counts_where_the_position_is_that_of_the_header():
    moved = header(patient_table_position=(0.0, 0.0, -1300.0))
    assert read_geometry(moved).geometry.table == (0.0, 0.0, -1300.0)
    assert read_geometry(moved, dicom()).geometry.table is None
    assert read_geometry(moved, replace(dicom(), first_pixel=None)).geometry.table == (0.0, 0.0, -1300.0)
    nowhere = header(patient_table_position=(0.0, 0.0, float("nan")))
    assert read_geometry(nowhere).geometry.table is None
