"""Maps that cannot be true: medians that no tissue has, regions and whole maps without a value."""

import json

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect
from .phantom import MOLLI_TIMES, T2_TIMES, Phantom, whole
from .wire import described, header_xml, image, series

NOT_USED = {
    flag.value
    for flag in (
        Flag.IMPLAUSIBLE_VALUES,
        Flag.CONVERTED_UNIT,
        Flag.NO_VALUES,
        Flag.EMPTY_MAP,
        Flag.NO_CAVITY,
        Flag.NO_MYOCARDIUM,
    )
}


def finished(values, quantity="T1"):
    meta = {"SequenceDescription": f"SAX_MOCO_{quantity}", "ImageType": ["DERIVED", "PRIMARY", "M"]}
    return [image(np.asarray(values), meta)]


def t1(stack):
    return series(stack, described("T1map_MOLLI", "InversionTime", MOLLI_TIMES))


def t2(stack):
    return series(stack, described("T2map", "T2PrepDuration", T2_TIMES))


def implausible(reply):
    """Either there is no ring of which a median could be wrong, or it is flagged, and a sentence says why."""
    __tracebackhide__ = True
    expect(len(reply.results) == 1, "one result is right", reply)
    (result,) = reply.results
    expect(bool(result.flags & NOT_USED), "nothing says that the values are implausible", reply)
    if result.ring is not None:
        expect(bool(result.record["notes"]), "no sentence says why", reply)


T1_WALLS = pytest.mark.parametrize("wall", [20.0, 110.0, 3500.0, 6000.0])
T2_WALLS = pytest.mark.parametrize("wall", [2.0, 7.0, 330.0, 900.0])


@T1_WALLS
def test_t1_of_a_finished_map(server, wall):
    phantom = Phantom(factor=wall / PHANTOM.wall_t1)
    implausible(server.exchange(finished(np.float32(phantom.t1_map()))))


@T2_WALLS
def test_t2_of_a_finished_map(server, wall):
    phantom = Phantom(factor=wall / PHANTOM.wall_t2)
    implausible(server.exchange(finished(np.float32(phantom.t2_map()), "T2")))


@T1_WALLS
def test_fitted_t1(server, wall):
    images = t1(np.float32(Phantom(factor=wall / PHANTOM.wall_t1).molli()))
    implausible(server.exchange(images, header_xml(limits={"set": 7})))


@T2_WALLS
def test_fitted_t2(server, wall):
    images = t2(np.float32(Phantom(factor=wall / PHANTOM.wall_t2).t2prep()))
    implausible(server.exchange(images, header_xml(limits={"set": 2})))


@pytest.mark.parametrize("wall", [20.0, 110.0])
def test_the_wall_alone_is_wrong(server, wall):
    implausible(server.exchange(finished(np.float32(Phantom(wall_t1=wall).t1_map()))))


FLAT = np.full((96, 96), 500, np.uint16)
EMPTY = {
    "T1 images of zeros": t1(whole(PHANTOM.molli()) * 0),
    "T2 images of zeros": t2(whole(PHANTOM.t2prep()) * 0),
    "T1 images that do not change": t1([FLAT] * 8),
    "T2 images that do not change": t2([FLAT] * 3),
    "T1 images of nan": t1(np.full((8, 96, 96), np.nan, np.float32)),
    "T2 images of infinity": t2(np.full((3, 96, 96), np.inf, np.float32)),
    "map of zeros": finished(FLAT * 0),
    "T2 map of zeros": finished(FLAT * 0, "T2"),
    "map of nan": finished(np.full((96, 96), np.nan, np.float32)),
    "map below zero": finished(np.full((96, 96), -5.0, np.float32)),
}


@pytest.mark.parametrize("images", EMPTY.values(), ids=EMPTY)
def test_empty_maps(server, images):
    reply = server.exchange(images, header_xml())
    expect(len(reply.results) <= 1, "at most one result is right", reply)
    if reply.results:
        said = {Flag.EMPTY_MAP.value, Flag.NO_VALUES.value, Flag.IMPLAUSIBLE_VALUES.value}
        expect(bool(reply.results[0].flags & said), "nothing says that the map is empty", reply)
        expect(bool(reply.results[0].record["notes"]), "no sentence says why", reply)
    else:
        expect(reply.says(r"\S"), "neither a result nor a message", reply)
    finite(reply)


@pytest.mark.parametrize("hole", [0.0, np.nan], ids=["zero", "nan"])
def test_a_ring_without_values(server, hole):
    """The scanner masked the wall, so that there is a ring and nothing in it."""
    values = np.float32(PHANTOM.t1_map())
    values[PHANTOM.wall] = hole
    reply = server.exchange(finished(values))
    expect(len(reply.results) == 1, "one result is right", reply)
    (result,) = reply.results
    expect(bool(result.flags & NOT_USED), "nothing says that the wall has no values", reply)
    finite(reply)


def finite(reply):
    """Nobody at the console reads "nan ms", and JSON has no NaN."""
    __tracebackhide__ = True
    for result in reply.results:
        comments = [*result.attributes["ImageComment"], *result.attributes.get("ImageComments", [])]
        expect(not any("nan" in comment.lower() for comment in comments), f"{comments}", reply)
        json.dumps(result.record, allow_nan=False)
