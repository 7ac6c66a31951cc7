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


WRONG = {"flags": {Flag.CONTRADICTORY_GEOMETRY}}
MAY = {"may": {Flag.CONTRADICTORY_GEOMETRY}}
UNUSABLE = {"absent": None, "empty": [], "zero": [0, 0], "one": [1.5], "words": ["wide", "high"],
            "negative": [-1.5, -1.5], "null": [None, None], "no list": "1.5"}  # fmt: skip
STATED = {
    "agreeing": (FLAT, [1.5, 1.5], (192.0, 144.0), {}),
    "swapped": (FLAT, [1.5, 1.5], (144.0, 192.0), WRONG),
    "text, swapped": (FLAT, ["1.5", "1.5"], (144.0, 192.0), WRONG),
    "no field of view": (FLAT, [1.5, 1.5], (0.0, 0.0), MAY),
    "not square": (NARROW, [1.5, 1.2], (153.6, 144.0), {}),
    "not square, swapped": (NARROW, [1.5, 1.2], (144.0, 153.6), WRONG),
    "rounded down": (SQUARE, [1.5, 1.5], (143.9, 144.0), {}),
    "rounded up": (SQUARE, [1.5, 1.5], (144.1, 144.0), {}),
    **{
        name: (FLAT, spacing, (192.0, 144.0), {"may": {*MAY["may"], Flag.UNREADABLE_ATTRIBUTES}})
        for name, spacing in UNUSABLE.items()
    },
}
"""Phantom, spacing of the DICOM header, field of view, and flags."""


@pytest.mark.parametrize(("phantom", "spacing", "field", "flags"), STATED.values(), ids=STATED)
def test_pixels_have_their_true_size(server, phantom, spacing, field, flags):
    reply = stream(server, phantom, spacing, (*field, 8.0))
    truly_sized(only_map(reply, phantom=phantom, **flags), reply, phantom.spacing)


def test_swapped_field_of_view_and_position_of_the_first_pixel(server):
    reply = stream(server, FLAT, [1.5, 1.5], (144.0, 192.0, 8.0), first_pixel(FLAT))
    truly_sized(only_map(reply, phantom=FLAT, **WRONG), reply, (1.5, 1.5))


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


def directed(server, row, column, stating=range(8), **header):
    """Images of ``SQUARE`` of which those ``stating`` have directions of rows and columns as attributes."""
    stated = {
        "ImageRowDir": [f"{part:.18f}" for part in row],
        "ImageColumnDir": [f"{part:.18f}" for part in column],
    }
    plain = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES)
    attributes = [own | stated if number in stating else own for number, own in enumerate(plain)]
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


@pytest.mark.parametrize("stating", [[7], range(7), [3]], ids=["the last", "all but the last", "one"])
def test_directions_that_some_images_state_are_a_contradiction_where_they_turn_these(server, stating):
    turned = {"read_dir": DOWN, "phase_dir": -READ, "slice_dir": NORMAL}
    reply = directed(server, READ, DOWN, stating, **turned)
    result = only_map(reply, flags={Flag.CONTRADICTORY_GEOMETRY})
    expect("turned or flipped" in " ".join(result.record["notes"]), "no note on the directions", reply)
    lies_along(result, reply, *((READ, DOWN) if 7 in stating else (DOWN, -READ)))


@pytest.mark.parametrize("stating", [[7], range(7)], ids=["the last", "all but the last"])
def test_directions_that_some_images_repeat_are_no_contradiction(server, stating):
    only_map(directed(server, READ, DOWN, stating))
