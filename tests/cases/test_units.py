"""Times and maps in other units than milliseconds: recognised by their size, converted, and noted."""

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, TOLERANCE, TRUTH, expect, only_map
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import described, header_xml, image, series

PER_MS = pytest.mark.parametrize("per_ms", [1e-3, 1e3], ids=["seconds", "microseconds"])


def converted(reply, quantity="T1"):
    """One right map that says that a unit was converted."""
    __tracebackhide__ = True
    result = only_map(reply, quantity, flags={Flag.CONVERTED_UNIT})
    expect(bool(result.record["notes"]), "no sentence says what was converted", reply)


def stated(times, per_ms):
    return [f"{time * per_ms:g}" for time in times]


@PER_MS
@pytest.mark.parametrize("key", ["InversionTime", "GADGETRON_TI", "TI"])
def test_inversion_times_of_the_images(server, key, per_ms):
    attributes = described("T1map_MOLLI", key, stated(MOLLI_TIMES, per_ms))
    converted(server.exchange(series(whole(PHANTOM.molli()), attributes), header_xml(limits={"set": 7})))


@PER_MS
@pytest.mark.parametrize("limits", [{"set": 7}, None], ids=["limits", "no limits"])
def test_inversion_times_in_the_header(server, limits, per_ms):
    header = header_xml("MOLLI", ti=stated(MOLLI_TIMES, per_ms), limits=limits)
    converted(server.exchange(series(whole(PHANTOM.molli())), header))


@PER_MS
def test_preparation_times_of_the_images(server, per_ms):
    attributes = described("T2map", "T2PrepDuration", stated(T2_TIMES, per_ms))
    header = header_xml(limits={"set": 2})
    converted(server.exchange(series(whole(PHANTOM.t2prep()), attributes), header), "T2")


@PER_MS
def test_preparation_times_in_user_parameters(server, per_ms):
    doubles = {f"T2PrepDuration_{k}": text for k, text in enumerate(stated(T2_TIMES, per_ms))}
    header = header_xml("T2map_FLASH", limits={"set": 2}, doubles=doubles)
    converted(server.exchange(series(whole(PHANTOM.t2prep())), header), "T2")


@PER_MS
def test_echo_times_in_the_header(server, per_ms):
    times = (10.0, 30.0, 60.0)
    header = header_xml("T2map_GraSE", te=stated(times, per_ms), limits={"contrast": 2})
    converted(server.exchange(series(whole(PHANTOM.t2prep(times)), counter="contrast"), header), "T2")


def test_milliseconds_are_not_converted(server):
    header = header_xml("MOLLI", ti=MOLLI_TIMES, limits={"set": 7})
    only_map(server.exchange(series(whole(PHANTOM.molli())), header))


def map_image(quantity, factor, kind, **scale):
    values = (PHANTOM.t1_map() if quantity == "T1" else PHANTOM.t2_map()) * factor
    meta = {"SequenceDescription": f"SAX_MOCO_{quantity}", "ImageType": ["DERIVED", "PRIMARY", "M"], **scale}
    return [image(np.round(values).astype(kind) if kind[0] == "u" else values.astype(kind), meta)]


@pytest.mark.parametrize(
    ("quantity", "factor", "kind"),
    [
        ("T1", 1e-3, "f4"),
        ("T1", 10.0, "u2"),
        ("T1", 1e3, "f4"),
        ("T2", 1e-3, "f4"),
        ("T2", 10.0, "u2"),
        ("T2", 1e3, "f4"),
    ],
    ids=["T1 s", "T1 0.1 ms", "T1 us", "T2 s", "T2 0.1 ms", "T2 us"],
)
def test_maps_that_state_no_scale(server, quantity, factor, kind):
    """Converted and noted, or flagged as implausible."""
    reply = server.exchange(map_image(quantity, factor, kind))
    expect(len(reply.results) == 1, "one result is right", reply)
    (result,) = reply.results
    if Flag.CONVERTED_UNIT.value in result.flags:
        median = result.median(PHANTOM.wall)
        expect(abs(median - TRUTH[quantity]) <= TOLERANCE[quantity], f"wall {median:.2f} ms", reply)
    else:
        expect(Flag.IMPLAUSIBLE_VALUES.value in result.flags, "neither converted nor flagged", reply)
    expect(bool(result.record["notes"]), "no sentence says why", reply)


@pytest.mark.parametrize(
    ("quantity", "factor", "kind", "scale"),
    [
        ("T1", 1e-3, "f4", {"RescaleSlope": 1000}),
        ("T2", 10.0, "u2", {"RescaleSlope": 0.1, "RescaleIntercept": 0}),
        ("T2", 10.0, "u2", {"GADGETRON_ScaleRatio": 10.0, "GADGETRON_ScaleOffset": 0.0}),
    ],
    ids=["T1 s", "T2 slope", "T2 ratio"],
)
def test_maps_that_state_their_scale(server, quantity, factor, kind, scale):
    only_map(server.exchange(map_image(quantity, factor, kind, **scale)), quantity)


@pytest.mark.parametrize("kind", ["u2", "f4"])
@pytest.mark.parametrize("quantity", ["T1", "T2"])
def test_maps_in_milliseconds(server, quantity, kind):
    only_map(server.exchange(map_image(quantity, 1.0, kind)), quantity)
