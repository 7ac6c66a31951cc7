"""Input as myostream's documentation asks for it: what every other case differs from in one thing."""

import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, only_map, right
from .phantom import MOLLI_TIMES, T2_TIMES, Phantom, whole
from .wire import TO_APEX, described, header_xml, read_meta, series

T1 = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES)
T2 = described("T2map_FLASH", "T2PrepDuration", T2_TIMES)


def test_molli_with_its_times_in_the_attributes(server):
    reply = server.exchange(series(whole(PHANTOM.molli()), T1), header_xml(limits={"set": 7}))
    result = only_map(reply)
    expect(result.record["contours"] is not None, "the phantom's heart was not found", reply)
    expect(abs(result.median(PHANTOM.cavity) - 1550.0) < 5.0, "the cavity's T1 is wrong", reply)
    assert not result.record["motion_corrected"]
    assert not result.record["scanner_made_map"]


def test_t2_with_its_times_in_the_attributes(server):
    reply = server.exchange(series(whole(PHANTOM.t2prep()), T2), header_xml(limits={"set": 2}))
    result = only_map(reply, "T2")
    expect(result.record["contours"] is not None, "the phantom's heart was not found", reply)


@pytest.mark.parametrize("wall", [300.0, 450.0, 1250.0])
def test_other_plausible_values(server, wall):
    phantom = Phantom(wall_t1=wall, cavity_t1=250.0 if wall < 500.0 else 1550.0)
    reply = server.exchange(series(whole(phantom.molli()), T1), header_xml(limits={"set": 7}))
    only_map(reply, wall=wall)


def test_a_whole_examination(server):
    images = []
    for index in range(3):
        place = {"slice": index, "position": TO_APEX * 10 * index}
        images += series(whole(PHANTOM.molli()), T1, image_series_index=1, **place)
        images += series(whole(PHANTOM.t2prep()), T2, image_series_index=2, **place)
    reply = server.exchange(images, header_xml())
    expect(len(reply.results) == 6, "six maps are right", reply)
    for result in reply.results:
        right(result, reply, result.record["quantity"])
    found = [(result.record["slice_index"], result.record["quantity"]) for result in reply.results]
    assert found == [(index, quantity) for index in range(3) for quantity in ("T1", "T2")]


def test_every_attribute_that_comes_back_has_a_value(server):
    """libismrmrd from 1.14.3 throws for one without, which ends Gadgetron's chain: good, flagged, empty."""
    good = series(whole(PHANTOM.molli()), T1)
    flagged = series(whole(PHANTOM.molli())[:6], T1[:6], image_series_index=2)
    empty = series(whole(PHANTOM.molli()) * 0, T1, image_series_index=3)
    reply = server.exchange([*good, *flagged, *empty], header_xml(limits={"set": 7}))
    expect(len(reply.results) >= 2, "maps of the good and the flagged slice are right", reply)
    expect(any(Flag.MISSING_IMAGES.value in result.flags for result in reply.results), "no flag", reply)
    for image in reply.added:
        without = [name for name, values in read_meta(image.attributes).items() if not values or "" in values]
        assert not without, f"series {image.header['image_series_index']}: {without} have no value"
        assert b"nan" not in image.attributes.lower()
