"""Golden tests of the MRD images that go back for a good, a flagged and an empty slice.

``MYOSTREAM_GOLDEN=write`` in the environment writes the files of ``golden/`` anew.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from inline.assembly.image_metadata import read_metadata
from inline.assembly.recognition import EARLIER
from inline.data.flags import Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import Contours, RegionValues, SliceLevel, SliceResult
from inline.data.series import Enhancement, Quantity, SeriesIdentity
from inline.emit.mrd import images
from inline.emit.numbers import SeriesNumbers
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.replay.client import exchange
from inline.settings import EmitSettings
from model.relaxometry.parametric_map import ParametricMap

GOLDEN = Path(__file__).with_name("golden")
ROWS, COLUMNS = 20, 24
TEMPLATE = ImageHeader(
    matrix_size=(COLUMNS, ROWS, 1),
    field_of_view=(36.0, 30.0, 8.0),
    position=(1.0, -2.0, 3.5),
    slice=3,
    set=7,
    contrast=2,
    flags=64,
    acquisition_time_stamp=12345,
    image_index=31,
    image_series_index=1,
    image_type=0,
)


def parametric(values):
    values = np.asarray(values, np.float32)
    return ParametricMap(values, np.zeros_like(values), np.ones_like(values), values == 0)


def octagon(radius):
    angle = np.arange(8) * np.pi / 4
    return np.stack([11.5 + radius * np.cos(angle), 9.5 + radius * np.sin(angle)], axis=1)


def region(name, median):
    return RegionValues(name, median, median - 20.25, median + 30.0, median + 1, 25.0, 90)


def good():
    return SliceResult(
        identity=SeriesIdentity(1, 3, "T1map_MOLLI", 12345),
        quantity=Quantity.T1,
        geometry=SliceGeometry(
            (1.0, -2.0, 3.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), (ROWS, COLUMNS)
        ),
        map=parametric(np.linspace(800, 1400, ROWS * COLUMNS).reshape(ROWS, COLUMNS)),
        scanner_made=False,
        labels=np.tile(np.array([0, 1, 2, 0], np.uint8), (ROWS, COLUMNS // 4)),
        contours=Contours(octagon(4.0), octagon(7.0)),
        regions=(region("global", 951.0), region("septum", 960.5)),
        level=SliceLevel.MID,
        level_source="slice index",
        angular_reference="image geometry",
        confidence=0.9312,
        confidence_source="shipped weights",
    )


def flagged():
    """Everything unusual at once: values beyond 12 bits, a ring without values, text that XML forbids."""
    values = np.full((ROWS, COLUMNS), 48.0)
    values[0] = [0.0, -5.0, 409.5, 409.6, 6000.0, 3e38, 47.96, 48.04] * 3
    return replace(
        good(),
        identity=SeriesIdentity(60000, 65535, "T2\x00\x1b prep \ud800 <&>", 1),
        quantity=Quantity.T2,
        map=parametric(values),
        regions=(RegionValues("global", None, None, None, None, None, 0), region("septum", 47.0)),
        confidence=0.41,
        flags=(Flag.REVIEW, Flag.NO_VALUES),
        notes=("the ring has no values", "half \udfff of a pair\r\nand two lines"),
        motion_corrected=True,
        t1_scale=1.0365,
    )


def empty():
    return replace(
        good(),
        map=parametric(np.zeros((ROWS, COLUMNS))),
        labels=np.zeros((ROWS, COLUMNS), np.uint8),
        contours=None,
        regions=(),
        confidence=None,
        flags=(Flag.EMPTY_MAP, Flag.NO_CAVITY),
        t1_scale=1.0365,
    )


def read(attributes):
    """The attributes as a strict XML parser reads them: ``[(name, values)]``."""
    root = ElementTree.fromstring(attributes)
    return [
        (meta.findtext("name"), [value.text or "" for value in meta.findall("value")])
        for meta in root.findall("meta")
    ]


def described(made):
    """Images as text: one line for each header, one for each attribute; long lists are cut."""
    lines = []
    for image in made:
        head = image.header
        lines.append(
            f"series {head.image_series_index} image {head.image_index} type {head.image_type} "
            f"pixels {image.pixels.dtype} {'x'.join(map(str, image.pixels.shape))} "
            f"{image.pixels.min()}..{image.pixels.max()} slice {head.slice} "
            f"counters {head.set}{head.contrast}{head.phase} flags {head.flags} "
            f"stamp {head.acquisition_time_stamp}"
        )
        for name, values in read(image.attributes):
            shown = ["(record)"] if name == "MYOSTREAM_RESULT" else values
            more = f" | ... {len(shown)}" if len(shown) > 8 else ""
            lines.append(f"  {name}: {' | '.join(map(ascii, shown[:8]))}{more}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("make", [good, flagged, empty], ids=lambda make: make.__name__)
def test_what_goes_back_is_as_written_down(make):
    file = GOLDEN / f"{make.__name__}.txt"
    text = described(images(make(), TEMPLATE))
    if os.environ.get("MYOSTREAM_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_the_comment_has_a_decimal_for_t2_alone():
    t2 = replace(
        good(), quantity=Quantity.T2, regions=(RegionValues("global", 49.46, 47.0, 51.54, 49.0, 2.0, 90),)
    )
    for made, comment in (
        (good(), "T1 myostream 951 ms [931-981] research only"),
        (
            replace(good(), enhancement=Enhancement.POST_CONTRAST),
            "T1 post-contrast myostream 951 ms [931-981] research only",
        ),
        (t2, "T2 myostream 49.5 ms [47.0-51.5] research only"),
    ):
        assert images(made, TEMPLATE)[0].meta()["ImageComment"] == (comment,)


def test_directions_that_are_not_known_are_not_stated():
    undirected = replace(good(), geometry=replace(good().geometry, oriented=False))
    for known, unknown in zip(images(good(), TEMPLATE), images(undirected, TEMPLATE), strict=True):
        missing = {"ImageRowDir", "ImageColumnDir"}
        assert {name for name, _ in read(known.attributes)} - missing == {
            name for name, _ in read(unknown.attributes)
        }
        assert unknown.header.read_dir == known.header.read_dir


@pytest.mark.parametrize("make", [good, flagged, empty], ids=lambda make: make.__name__)
@pytest.mark.parametrize("largest", [255, 4095, 65535])
@pytest.mark.parametrize("sender", [(), (5010, 5011), range(0, 65536, 64), range(5000, 65000)])
def test_what_holds_for_whatever_goes_back(make, largest, sender):
    numbers = SeriesNumbers(5000)
    for series in sender:
        numbers.saw(series)
    made = images(make(), TEMPLATE, EmitSettings(max_pixel=largest), numbers)
    assert len(made) == 3
    for image in made:
        assert image.header.image_series_index not in set(sender)
        assert image.header.attribute_string_len == len(image.attributes)
        assert image.pixels.dtype == np.uint16
        assert image.pixels.max() <= largest
        attributes = read(image.attributes)
        assert all(values for _, values in attributes)
        assert len({name for name, _ in attributes}) == len(attributes)
        assert image.meta()["GADGETRON_ImageNumber"] == (str(image.header.image_index),)
    scale = float(made[0].meta()["GADGETRON_ScaleRatio"][0])
    values = make().map.values_ms.astype(float) * scale
    assert np.array_equal(made[0].pixels[0, 0], np.clip(np.round(values), 0, largest))
    assert made[0].meta()["MYOSTREAM_MAX_PIXEL"] == (str(largest),)
    outside = np.sum((np.round(values) > largest) | (np.round(values) < 0))
    assert made[0].meta()["MYOSTREAM_CLIPPED_PIXELS"] == (str(outside),)


def test_no_image_of_results_is_taken_for_a_map_of_the_scanner():
    header = MeasurementHeader(protocol_name="T1map_MOLLI")
    for make in (good, flagged):
        sent = images(make(), TEMPLATE, EmitSettings(uncertainty=True))
        for each in (each for each in sent if each.header.channels == 1):
            assert read_metadata(each, header) == EARLIER


def test_the_record_is_readable_whatever_a_sender_calls_its_series():
    (text,) = images(flagged(), TEMPLATE)[0].meta()["MYOSTREAM_RESULT"]
    text.encode()
    assert json.loads(text)["description"] == "T2\x00\x1b prep \ufffd <&>"


def test_no_map_makes_no_image():
    assert images(replace(good(), map=None), TEMPLATE) == []


def test_results_of_a_connection_keep_clear_of_its_series(serving, examination):
    _, header, sent = examination
    # The first series of the sender has the number that its results would have, and its last slice counter.
    moved = [
        replace(image, header=replace(image.header, image_series_index=series, slice=65535))
        for image in sent
        if image.header.slice == 0
        for series in ({1: 5020, 2: 2}[image.header.image_series_index],)
    ]
    with serving() as server:
        came = exchange(server.address, header, moved).images
    assert [image for image in came if image in moved] == moved
    results = [image for image in came if image not in moved]
    assert len(results) == 6
    assert not {image.header.image_series_index for image in results} & {5020, 2}
    assert {image.header.image_index for image in results} == {1}
