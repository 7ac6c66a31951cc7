"""Inversion times that are none: vendors write -1, 0, 1.797e308, inf and nan for "no value"."""

import base64
import json
import re

import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, only_map, reported, right_or_reported
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import described, header_xml, series

NO_TIME = {
    "largest double": "1.7976931348623157e+308",
    "infinite": "inf",
    "minus infinite": "-inf",
    "nan": "nan",
    "minus one": "-1",
    "minus hundred": "-100",
    "zero": "0",
    "empty value": "",
    "no value": [],
    "word": "none",
    "beyond all recovery": "1e9",
}
READABLE = {"unit": "100 ms", "exponent": "1e2", "blanks": "  100  ", "decimals": "100.000"}
THE_FIRST = r"\b(image|entry|set|index|number|no\.) #?[01]\b|first image"
"""How a message may name the first image, beside the value that it states."""

LISTED = header_xml("MOLLI", ti=MOLLI_TIMES, limits={"set": 7})
UNLISTED = header_xml("MOLLI", limits={"set": 7})


def stream(server, times, header, key="InversionTime", **more):
    attributes = described("T1map_MOLLI", key, times, **more)
    return server.exchange(series(whole(PHANTOM.molli()), attributes), header)


@pytest.mark.parametrize("value", NO_TIME.values(), ids=NO_TIME)
def test_one_image_has_no_time_and_the_header_lists_them(server, value):
    reply = stream(server, [value, *MOLLI_TIMES[1:]], LISTED)
    only_map(reply, may={Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("place", [0, 3, 7])
@pytest.mark.parametrize("value", NO_TIME.values(), ids=NO_TIME)
def test_one_image_has_no_time_and_the_header_lists_none(server, value, place):
    times = [value if k == place else time for k, time in enumerate(MOLLI_TIMES)]
    names = rf"\b(image|entry|set|index|number|no\.) #?({place}|{place + 1})\b"
    if len(value) > 1:
        names += rf"|(?<!\w){re.escape(value)}(?!\w)"
    right_or_reported(stream(server, times, UNLISTED), names, flags={Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("header", [LISTED, UNLISTED], ids=["listed", "unlisted"])
@pytest.mark.parametrize("value", READABLE.values(), ids=READABLE)
def test_unusual_but_readable(server, value, header):
    only_map(stream(server, [value, *MOLLI_TIMES[1:]], header))


@pytest.mark.parametrize("value", ["0", "-1", "", "nan", "1.7976931348623157e+308"])
def test_no_image_has_a_time_and_the_header_lists_them(server, value):
    only_map(stream(server, [value] * 8, LISTED), may={Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("value", ["0", "-1", "", "nan", "1.7976931348623157e+308"])
def test_no_time_anywhere(server, value):
    reported(stream(server, [value] * 8, UNLISTED), "time")


def test_all_images_state_the_same_time(server):
    """A template's time was left in every image: no fit holds, whatever it returns."""
    reply = stream(server, [100.0] * 8, UNLISTED)
    if reply.results:
        (result,) = reply.results
        expect(bool(result.flags & {"unreadable-times", "no-values", "empty-map", "poor-fit"}), "flag", reply)
    else:
        reported(reply, "time")


@pytest.mark.parametrize("count", [5, 6])
def test_too_few_images_have_a_time(server, count):
    """Three or two are left, where T1 needs four."""
    reported(stream(server, ["-1"] * count + list(MOLLI_TIMES[count:]), UNLISTED), "time|few")


@pytest.mark.parametrize("key", ["GADGETRON_TI", "TI"])
def test_other_names_of_the_attribute(server, key):
    only_map(stream(server, ["-1", *MOLLI_TIMES[1:]], LISTED, key), may={Flag.UNREADABLE_TIMES})


def dicom(values):
    return base64.b64encode(json.dumps({"00180082": {"vr": "DS", "Value": values}}).encode()).decode()


@pytest.mark.parametrize(
    "values", [[None], [], ["inf"], [-1], ["1.797e308"]], ids=["null", "empty", "infinite", "-1", "huge"]
)
def test_in_the_dicom_header(server, values):
    attributes = [
        {"SequenceDescription": "T1map_MOLLI", "DicomJson": dicom(values if k == 0 else [time])}
        for k, time in enumerate(MOLLI_TIMES)
    ]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), UNLISTED)
    right_or_reported(reply, THE_FIRST, flags={Flag.UNREADABLE_TIMES})


def test_another_attribute_of_the_image_has_the_time(server):
    attributes = [
        {"SequenceDescription": "T1map_MOLLI", "InversionTime": "-1", "DicomJson": dicom([time])}
        for time in MOLLI_TIMES
    ]
    reply = server.exchange(series(whole(PHANTOM.molli()), attributes), UNLISTED)
    only_map(reply, may={Flag.UNREADABLE_TIMES})


@pytest.mark.parametrize("value", ["-1", "nan", "1.7976931348623157e+308", ""])
def test_t2_preparation(server, value):
    attributes = described("T2map", "T2PrepDuration", [value, *T2_TIMES[1:]])
    reply = server.exchange(series(whole(PHANTOM.t2prep()), attributes), header_xml(limits={"set": 2}))
    right_or_reported(reply, THE_FIRST + "|few", "T2", flags={Flag.UNREADABLE_TIMES})


def test_t2_preparation_of_zero_for_all(server):
    attributes = described("T2map", "T2PrepDuration", [0, 0, 0])
    reply = server.exchange(series(whole(PHANTOM.t2prep()), attributes), header_xml(limits={"set": 2}))
    reported(reply, "time")
