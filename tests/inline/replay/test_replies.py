"""The pace of a replay, and overlays of results."""

import json
import time
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest

from inline.contouring.contours import rasterise
from inline.data.errors import ProtocolError
from inline.data.results import Contours
from inline.data.series import Quantity
from inline.emit.overlay import ENDO_COLOUR, EPI_COLOUR, draw, window
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.replay.replies import compare, paced, records, unreadable, without_result, write_overlay
from model.output import OutputError
from tests.shapes import circle


def image(stamp):
    return Image.from_pixels(
        np.zeros((1, 1, 8, 8), np.uint16), ImageHeader(acquisition_time_stamp=stamp), {"a": "b"}
    )


def sent():
    """Images that differ in everything, two of them the same."""
    random = np.random.default_rng(1)
    made = [
        Image.from_pixels(
            random.integers(0, 99, (1, 1, 4, 5)).astype(np.uint16), ImageHeader(slice=number), {"n": number}
        )
        for number in range(5)
    ]
    return [*made, made[0]]


def with_attributes(image):
    """As peers send it that write attributes anew."""
    text = b"<ismrmrdMeta/>"
    return replace(image, attributes=text, header=replace(image.header, attribute_string_len=len(text)))


def with_header(image):
    return replace(with_attributes(image), header=replace(image.header, image_type=5, image_series_index=9))


def other(image):
    return Image.from_pixels(image.pixels + np.uint16(1), image.header)


def counts(images, returned):
    found = compare(images, returned)
    return found.unchanged, found.attributes_rewritten, found.header_rewritten, found.lost, found.added


def test_the_images_that_came_back_are_compared_with_those_sent():
    images = sent()
    assert counts(images, images) == (6, 0, 0, 0, [])
    assert counts(images, images[::-1]) == (6, 0, 0, 0, [])
    assert counts(images, []) == (0, 0, 0, 6, [])
    assert counts(images, images[:5]) == (5, 0, 0, 1, [])  # one of the two that are the same
    result = other(images[0])
    came = [with_attributes(images[0]), images[1], with_header(images[2]), result, *images[3:]]
    assert counts(images, came) == (4, 1, 1, 0, [result])
    assert counts(images, [other(each) for each in images])[:4] == (0, 0, 0, 6)
    wide = replace(images[0].header, matrix_size=(4, 5, 1))
    assert counts(images[:1], [replace(images[0], header=wide)])[3] == 1


def test_an_image_with_values_that_are_no_numbers_is_found_again():
    image = replace(sent()[0], header=replace(ImageHeader(), position=(float("nan"), 0.0, 0.0)))
    assert counts([image], [replace(image, header=ImageHeader.unpack(image.header.pack()))]) == (
        1,
        0,
        0,
        0,
        [],
    )


def test_the_comparison_in_one_line():
    images = sent()
    assert str(compare(images, images)) == "6 images sent, 0 lost"
    assert str(compare(images[:1], images[:1])) == "1 image sent, 0 lost"
    came = [with_attributes(images[0]), with_header(images[1])]
    assert str(compare(images, came)) == (
        "6 images sent, 4 lost, 1 with rewritten attributes, 1 with a rewritten header"
    )


def test_attributes_that_are_not_xml_hold_no_result():
    unreadable_image = Image(ImageHeader(matrix_size=(1, 1, 1)), b"<MYOSTREAM_RESULT", b"\0" * 4)
    assert records([unreadable_image]) == []


RECORD = {
    "series_index": 1,
    "slice_index": 0,
    "quantity": "T1",
    "regions": [{"name": "global", "median": 950.0, "q1": 940.0, "q3": 960.0, "pixels": 9}],
    "contours": None,
    "flags": [],
    "times_ms": {"fit": 20.0, "network": None},
}


def bearing(content, number=3):
    text = content if isinstance(content, str) else json.dumps(content)
    header = ImageHeader(image_series_index=number, slice=1)
    return Image.from_pixels(np.zeros((1, 1, 8, 8), np.uint16), header, {"MYOSTREAM_RESULT": text})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        "5",
        [],
        {},
        "[" * 100_000,
        "\ud800",
        {"slice_index": 0, "quantity": "T1"},
        *(
            {name: value for name, value in RECORD.items() if name != missing}
            for missing in ("regions", "flags")
        ),
        *(
            RECORD | change
            for change in (
                {"slice_index": "0"},
                {"slice_index": -1},
                {"slice_index": 1e400},
                {"slice_index": True},
                {"series_index": 10**30},
                {"quantity": "../../T1"},
                {"quantity": ["T1"]},
                {"regions": {"global": 1}},
                {"regions": [{"name": "global"}]},
                {"regions": [{"name": "global", "median": "950", "q1": 1.0, "q3": 2.0}]},
                {"regions": [{"name": "global", "median": float("nan"), "q1": 1.0, "q3": 2.0}]},
                {"flags": "review"},
                {"flags": [1]},
                {"times_ms": {"fit": "long"}},
                {"times_ms": 5},
                {"contours": {"endo": {"pixels": []}, "epi": {"pixels": []}}},
                {
                    "contours": {
                        "endo": {"pixels": [[1.0, 2.0, 3.0]] * 9},
                        "epi": {"pixels": [[0, 1e300]] * 9},
                    }
                },
                {"confidence": "high"},
                {"notes": 5},
                {"level": 5},
                {"error": None},
                {"added later": float("inf")},
            )
        ),
    ],
)
def test_a_result_that_is_no_record_is_skipped_with_a_line(content):
    images = [bearing(RECORD), bearing(content, 9), image(0)]
    assert [record["series_index"] for record, _ in records(images)] == [1]
    (text,) = unreadable(images)
    assert text.startswith("Series 9, slice 1: its MYOSTREAM_RESULT is no record of a result (")
    assert len(text) < 350
    assert "\n" not in text


def test_a_record_of_another_version_keeps_its_fields():
    ((record, _),) = records([bearing(RECORD | {"added later": [1, {"a": None}]})])
    assert record["added later"] == [1, {"a": None}]
    assert RECORD["regions"][0].items() <= record["regions"][0].items()
    assert (record["notes"], record["level"], record["t1_scale"]) == ([], None, 1.0)


def test_slices_of_which_only_an_error_message_came():
    found = [RECORD | {"error": "broken"}, RECORD | {"quantity": "T2", "error": ""}]
    texts = [
        "ERR myostream: series 1 slice 0 (T1): broken",  # the record states it
        "WRN myostream: series 1 slice 0 (T1): again",
        "ERR myostream: series 7 slice 1 (T2): no times\nat all",
        "ERR myostream: series 70000 slice 0 (T1): no counter",
        f"ERR myostream: series {'9' * 5000} slice 0 (T1): no counter",
        "ERR myostream: series 1 slice 70000 (T1): no counter",
        "ERR myostream: series 1 slice 0 (PD): no quantity",
        "ERR other: series 1 slice 0 (T1): no text of ours",
        "DBG myostream: 8 images came.",
    ]
    missing = without_result(texts, found)
    assert [(each["series_index"], each["slice_index"], each["quantity"]) for each in missing] == [
        (1, 0, "T1"),
        (7, 1, "T2"),
    ]
    assert [each["error"] for each in missing] == ["no result: again", "no result: no times\nat all"]


@pytest.mark.parametrize("meta", [{}, {"GADGETRON_ScaleRatio": "x"}, {"GADGETRON_ScaleRatio": "0"}])
def test_a_map_without_scale_has_no_overlay(meta, tmp_path):
    unscaled = Image.from_pixels(np.ones((1, 1, 8, 8), np.uint16), ImageHeader(), meta)
    with pytest.raises(ProtocolError, match="map"):
        write_overlay(tmp_path / "a.png", RECORD, unscaled)
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_that_is_not_written_is_an_error(tmp_path, monkeypatch):
    scaled = Image.from_pixels(np.ones((1, 1, 8, 8), np.uint16), ImageHeader(), {"GADGETRON_ScaleRatio": "1"})
    write_overlay(tmp_path / "a.png", RECORD, scaled)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="could not be written: No such file"):
        write_overlay(tmp_path / "no" / "a.png", RECORD, scaled)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(OutputError, match="cannot be encoded as PNG"):
        write_overlay(tmp_path / "b.png", RECORD, scaled)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_images_wait_for_their_time_stamps():
    images = [image(stamp) for stamp in (1000, 1040, 1120)]  # 0, 100 and 300 ms
    start = time.perf_counter()
    waited, sent = [], []
    for each in paced(images, speed=2.0):
        waited.append(time.perf_counter() - start)
        sent.append(each)
    assert sent == images
    assert waited[0] < 0.05
    assert waited[1] >= 0.05
    assert waited[2] >= 0.15


def test_a_stamp_of_zero_beside_others_delays_nothing():
    # Since midnight: 20 h later than the stamp 0.
    images = [image(stamp) for stamp in (0, 28_800_000, 0, 28_800_020)]
    start = time.perf_counter()
    waited = [time.perf_counter() - start for _ in islice(paced(images), 4)]
    assert waited[2] < 0.04
    assert 0.05 <= waited[3] < 1.0


def test_a_replay_goes_on_past_midnight():
    day = 86_400 * 400
    images = [image(stamp) for stamp in (day - 20, day - 10, 0, 10, 20)]
    start = time.perf_counter()
    waited = [time.perf_counter() - start for _ in islice(paced(images, speed=0.5), 5)]
    assert waited[0] < 0.05
    assert 0.15 <= waited[3] <= waited[4] < 1.0
    assert waited[4] >= 0.2


def test_images_without_results_have_no_records():
    assert records([image(0)]) == []


@pytest.mark.parametrize("scale", [1, 3, 4])
def test_contours_are_drawn_where_they_lie(scale):
    contours = Contours(endo=circle(10, 32.0), epi=circle(16, 32.0))
    grey = np.full((64, 64), 1000.0, np.float32)
    overlay = draw(grey, Quantity.T1, contours, scale).astype(int)
    assert overlay.shape == (64 * scale, 64 * scale, 3)
    coloured = np.argwhere(np.ptp(overlay, axis=2) > 100)
    radius = np.hypot(*((coloured + 0.5) / scale - 0.5 - 32.0).T)
    assert (np.minimum(abs(radius - 10), abs(radius - 16)) < 1.0 / scale + 1.0).all()
    for colour, at in ((ENDO_COLOUR, 10), (EPI_COLOUR, 16)):
        column = round((32.0 + at + 0.5) * scale - 0.5)
        nearby = overlay[32 * scale : 33 * scale, column - 1 : column + 2].reshape(-1, 3)
        assert np.abs(nearby - np.array(colour)).sum(axis=1).min() < 120


def test_the_window_goes_from_black_to_white():
    values = np.array([[-5.0, 0.0, 60.0, 120.0, 5000.0]], np.float32)
    assert window(values, Quantity.T2).tolist() == [[0, 0, 127, 255, 255]]


def test_an_overlay_on_disk_shows_the_map_and_its_contours(tmp_path):
    contours = {name: {"pixels": circle(size, 32.0).tolist()} for name, size in (("endo", 10), ("epi", 16))}
    both = Contours(*(np.array(contours[name]["pixels"]) for name in ("endo", "epi")))
    labels = rasterise(both, (64, 64))
    values = np.where(labels == 2, 500, 0).astype(np.uint16)  # 50.0 ms in tenths
    sent = Image.from_pixels(values[None, None], ImageHeader(), {"GADGETRON_ScaleRatio": "10"})
    write_overlay(tmp_path / "a.png", {"contours": contours, "quantity": "T2", "flags": []}, sent)
    overlay = cv2.imread(str(tmp_path / "a.png"))
    assert overlay.shape == (192, 192, 3)
    points = {"anterior": {"pixels": [5.0, 8.0]}, "inferior": None}
    record = {"contours": contours, "insertions": points, "quantity": "T2", "flags": []}
    write_overlay(tmp_path / "b.png", record, sent)
    crossed = np.argwhere((cv2.imread(str(tmp_path / "b.png")) != overlay).any(axis=2))
    assert np.abs(crossed.mean(axis=0) - (25.0, 16.0)).max() < 0.5
    assert overlay[97, 97 + 39].tolist() == [106, 106, 106]  # in the wall: 50 of 120 ms
    assert overlay[97, 97].tolist() == [0, 0, 0]
