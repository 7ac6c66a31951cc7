"""Geometry that an image states twice: ``DicomJson``, or directions in attributes, beside its header.

``dicom2mrd.py`` of python-ismrmrd-server multiplies the spacing with the rows for x and the columns for y.
``ImageRowDir`` and ``ImageColumnDir`` are the directions of an image that was turned; ``read_dir`` and
``phase_dir`` stay those of the acquisition (ismrmrd, ``doc/mrd_image_data.md``).
"""

import base64
import json

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import expect, only_map
from .phantom import MOLLI_TIMES, WALL_RADIUS, Phantom, whole
from .wire import DOWN, NORMAL, READ, described, header_xml, image, series

ROWS, COLUMNS = 96, 128
FLAT = Phantom(ROWS, COLUMNS)
NARROW = Phantom(ROWS, COLUMNS, spacing=(1.2, 1.5))
"""Pixels of 1.2 mm along a row and 1.5 mm along a column; DICOM lists the distance of the rows first."""
SQUARE = Phantom(96, 96)


def dicom_json(phantom, spacing, time=None, **elements):
    """The image's DICOM header as ``dicom2mrd.py`` keeps it; ``spacing`` None leaves the pixel size out."""
    first = first_pixel(phantom)
    content = {
        "0008103E": {"vr": "LO", "Value": ["T1map_MOLLI"]},
        "00280010": {"vr": "US", "Value": [phantom.rows]},
        "00280011": {"vr": "US", "Value": [phantom.columns]},
        "00200032": {"vr": "DS", "Value": first.tolist()},
        "00200037": {"vr": "DS", "Value": [*READ, *DOWN]},
        **({} if time is None else {"00180082": {"vr": "DS", "Value": [time]}}),
        **({} if spacing is None else {"00280030": {"vr": "DS", "Value": spacing}}),
        **elements,
    }
    return base64.b64encode(json.dumps(content).encode()).decode()


def first_pixel(phantom):
    """ImagePositionPatient of a slice whose middle is the origin."""
    width, height = phantom.columns * phantom.spacing[0], phantom.rows * phantom.spacing[1]
    return -READ * width / 2 - DOWN * height / 2


def stream(server, phantom, spacing, field_of_view, position=(0.0, 0.0, 0.0)):
    attributes = [
        {
            "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
            "SequenceDescription": "T1map_MOLLI",
            "DicomJson": dicom_json(phantom, spacing, time),
        }
        for time in MOLLI_TIMES
    ]
    place = {"field_of_view": field_of_view, "position": position, "image_series_index": 0}
    return server.exchange(series(whole(phantom.molli()), attributes, **place), header_xml("T1map_MOLLI"))


def truly_sized(result, reply, spacing):
    """Pixel size and epicardial contour are those of the phantom.

    The contour is drawn for measuring, a little inside the wall: 61 to 65 mm of the wall's 66.
    """
    expect(result.record["pixel_spacing_mm"] == pytest.approx(spacing, abs=0.01), "pixel size", reply)
    expect(result.record["contours"] is not None, "no contours", reply)
    points = np.array(result.record["contours"]["epi"]["patient_mm"])
    across, along = np.ptp(points @ READ), np.ptp(points @ DOWN)
    size = 2 * WALL_RADIUS
    expect(
        abs(across - size) <= 5.0 and abs(along - size) <= 5.0,
        f"the epicardial contour is {across:.1f} x {along:.1f} mm, {size:g} x {size:g} is right",
        reply,
    )


def test_agreeing(server):
    reply = stream(server, FLAT, [1.5, 1.5], (192.0, 144.0, 8.0))
    truly_sized(only_map(reply, phantom=FLAT), reply, (1.5, 1.5))


def test_swapped_field_of_view_and_position_of_the_first_pixel(server):
    reply = stream(server, FLAT, [1.5, 1.5], (144.0, 192.0, 8.0), first_pixel(FLAT))
    result = only_map(reply, phantom=FLAT, flags={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.5, 1.5))


def test_swapped_field_of_view_alone(server):
    reply = stream(server, FLAT, [1.5, 1.5], (144.0, 192.0, 8.0))
    result = only_map(reply, phantom=FLAT, flags={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.5, 1.5))


def test_pixels_that_are_not_square(server):
    reply = stream(server, NARROW, [1.5, 1.2], (153.6, 144.0, 8.0))
    truly_sized(only_map(reply, phantom=NARROW), reply, (1.2, 1.5))


def test_pixels_that_are_not_square_and_a_swapped_field_of_view(server):
    reply = stream(server, NARROW, [1.5, 1.2], (144.0, 153.6, 8.0))
    result = only_map(reply, phantom=NARROW, flags={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.2, 1.5))


def test_no_field_of_view_at_all(server):
    reply = stream(server, FLAT, [1.5, 1.5], (0.0, 0.0, 0.0))
    result = only_map(reply, phantom=FLAT, may={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.5, 1.5))


@pytest.mark.parametrize("width", [143.9, 144.1])
def test_rounding_is_no_contradiction(server, width):
    reply = stream(server, SQUARE, [1.5, 1.5], (width, 144.0, 8.0))
    truly_sized(only_map(reply), reply, (1.5, 1.5))


def test_numbers_as_text(server):
    reply = stream(server, FLAT, ["1.5", "1.5"], (144.0, 192.0, 8.0))
    result = only_map(reply, phantom=FLAT, flags={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.5, 1.5))


@pytest.mark.parametrize(
    "spacing",
    [None, [], [0, 0], [1.5], ["wide", "high"], [-1.5, -1.5], [None, None], "1.5"],
    ids=["absent", "empty", "zero", "one", "words", "negative", "null", "no list"],
)
def test_unusable_spacing_leaves_the_field_of_view(server, spacing):
    reply = stream(server, FLAT, spacing, (192.0, 144.0, 8.0))
    result = only_map(reply, phantom=FLAT, may={Flag.CONTRADICTORY_GEOMETRY, Flag.UNREADABLE_ATTRIBUTES})
    truly_sized(result, reply, (1.5, 1.5))


def test_a_finished_map(server):
    meta = {
        "SequenceDescription": "T1map_MOCO_T1",
        "ImageType": ["DERIVED", "PRIMARY", "M"],
        "DicomJson": dicom_json(FLAT, [1.5, 1.5]),
    }
    reply = server.exchange([image(whole(FLAT.t1_map()), meta, field_of_view=(144.0, 192.0, 8.0))])
    result = only_map(reply, phantom=FLAT, flags={Flag.CONTRADICTORY_GEOMETRY})
    truly_sized(result, reply, (1.5, 1.5))


def test_slices_in_one_place_though_their_positions_straddle_a_millimetre(server):
    """Rounded to whole millimetres these positions would be two slices."""
    attributes = [{"SequenceDescription": "T1map_MOLLI", "InversionTime": time} for time in MOLLI_TIMES]
    images = [
        image(pixels, own, set=k, image_index=k + 1, position=(0.49 + 0.02 * (k % 2), 12.5, -3.5))
        for k, (pixels, own) in enumerate(zip(whole(SQUARE.molli()), attributes, strict=True))
    ]
    only_map(server.exchange(images, header_xml(limits={"set": 7})))


def directed(server, row, column, **header):
    """Images of ``SQUARE`` whose attributes state the directions of rows and columns."""
    stated = {
        "ImageRowDir": [f"{part:.18f}" for part in row],
        "ImageColumnDir": [f"{part:.18f}" for part in column],
    }
    attributes = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES, **stated)
    place = {"position": (10.0, -20.0, 30.0), **header}
    return server.exchange(series(whole(SQUARE.molli()), attributes, **place), header_xml("T1map_MOLLI"))


def lies_along(result, reply, row, column):
    """Contours in the patient and the map that goes back have these directions."""
    contour = result.record["contours"]["epi"]
    from_centre = (np.array(contour["pixels"]) - SQUARE.columns / 2) * 1.5
    patient = np.array((10.0, -20.0, 30.0)) + from_centre @ np.array([row, column])
    expect(np.allclose(contour["patient_mm"], patient, atol=0.01), f"contours do not lie along {row}", reply)
    for name, vector in (("ImageRowDir", row), ("ImageColumnDir", column)):
        sent = np.array(result.attributes[name], float)
        expect(np.allclose(sent, vector, atol=1e-6), f"{name} of the map is {sent}", reply)


@pytest.mark.parametrize(("read", "phase"), [(DOWN, READ), (-READ, -DOWN), (-READ, DOWN), (READ, DOWN)])
def test_directions_of_turned_and_flipped_images_are_those_of_their_attributes(server, read, phase):
    reply = directed(server, READ, DOWN, read_dir=read, phase_dir=phase, slice_dir=np.cross(read, phase))
    result = only_map(reply)
    lies_along(result, reply, READ, DOWN)
    expect(
        "the image directions" not in " ".join(result.record["notes"]), "insertion points are not used", reply
    )


def test_attributes_in_another_plane_than_the_header(server):
    reply = directed(server, NORMAL, DOWN)
    result = only_map(reply, flags={Flag.CONTRADICTORY_GEOMETRY})
    lies_along(result, reply, READ, DOWN)
