"""Inversion times in the DICOM header that a converter keeps: (0018,0082) and, enhanced, (0018,9079)."""

import base64
import json

import pytest

from .outcomes import PHANTOM, only_map, right_or_reported
from .phantom import MOLLI_TIMES, whole
from .wire import header_xml, series


def stream(server, elements):
    """Images of a series whose ``DicomJson`` holds the elements that a function makes of each time."""
    own = []
    for time in MOLLI_TIMES:
        content = {"0008103E": {"vr": "LO", "Value": ["T1map_MOLLI"]}, **elements(time)}
        own.append({"DicomJson": base64.b64encode(json.dumps(content).encode()).decode()})
    return server.exchange(series(whole(PHANTOM.molli()), own), header_xml(limits={"set": 7}))


@pytest.mark.parametrize(
    "elements",
    [
        lambda time: {"00180082": {"vr": "DS", "Value": [time]}},
        lambda time: {"00180082": {"vr": "DS", "Value": [str(time)]}},
        lambda time: {"00189079": {"vr": "FD", "Value": [time]}},
        lambda time: {"00189079": {"vr": "FD", "Value": [str(time)]}},
        lambda time: {"00180082": {"vr": "DS"}, "00189079": {"vr": "FD", "Value": [time]}},
        lambda time: {"00180082": {"vr": "DS", "Value": [0]}, "00189079": {"vr": "FD", "Value": [time]}},
        lambda time: {
            "00180082": {"vr": "DS", "Value": [time]},
            "00189079": {"vr": "FD", "Value": [time]},
        },
    ],
    ids=["0082", "0082 text", "9079", "9079 text", "9079, 0082 empty", "9079, 0082 zero", "both"],
)
def test_one_time_for_each_image(server, elements):
    only_map(stream(server, elements))


def test_every_image_lists_the_times_of_all(server):
    """Which of them is the image's own it does not say."""
    reply = stream(server, lambda _: {"00189079": {"vr": "FD", "Value": list(MOLLI_TIMES)}})
    right_or_reported(reply, "time")
