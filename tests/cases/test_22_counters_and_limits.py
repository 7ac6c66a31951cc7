"""Headers whose encoding limits and lists do not fit the images."""

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import ALARMS, PHANTOM, expect, never_silently_wrong, only_map, right
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import TO_APEX, described, header_xml, image, series

TIMED = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES)
MORE_TIMES = (*MOLLI_TIMES, 260.0, 1160.0, 2060.0)


def molli(attributes=TIMED, **more):
    return series(whole(PHANTOM.molli()), attributes, **more)


def t2(**more):
    attributes = described("T2map", "T2PrepDuration", T2_TIMES)
    return series(whole(PHANTOM.t2prep()), attributes, image_series_index=2, **more)


@pytest.mark.parametrize(
    "limits",
    [
        {"set": 10},
        {"set": 3},
        {"repetition": 7},
        {"phase": 24},
        {"set": -4, "slice": 65535},
        {"set": 0, "contrast": 0, "repetition": 0},
        {"set": 7, "phase": 24, "repetition": 3},
        {"contrast": 7},
        {"set": "eight"},
        {"set": 1e12},
    ],
    ids=lambda limits: " ".join(f"{name} {last}" for name, last in limits.items()),
)
def test_limits_beside_images_with_times(server, limits):
    only_map(server.exchange(molli(), header_xml(limits=limits)))


@pytest.mark.parametrize("counter", ["set", "contrast", "phase", "repetition", "average", None])
def test_any_counter_numbers_the_images(server, counter):
    only_map(server.exchange(molli(counter=counter), header_xml(limits={"set": 7})))


@pytest.mark.parametrize(
    ("listed", "limits"),
    [
        (MORE_TIMES, {"set": 7}),
        (MORE_TIMES, {"set": 10}),
        (MOLLI_TIMES[:5], {"set": 7}),
        (MOLLI_TIMES[:5], {"set": 4}),
        (sorted(MOLLI_TIMES), {"set": 7}),
        ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), {"set": 7}),
    ],
    ids=["11 and 8", "11 and 11", "5 and 8", "5 and 5", "sorted", "nonsense"],
)
def test_times_of_the_images_win_over_a_list(server, listed, limits):
    """In their values and in how many images there are."""
    only_map(server.exchange(molli(), header_xml(ti=listed, limits=limits)))


@pytest.mark.parametrize("listed", [(), MOLLI_TIMES[:4]], ids=["no list", "list of 4"])
def test_all_images_that_bear_a_time_count(server, listed):
    """The longest times come first: a fit of the first four alone would be far off."""
    order = np.argsort(MOLLI_TIMES)[::-1]
    images = series(whole(PHANTOM.molli())[order], [TIMED[k] for k in order])
    only_map(server.exchange(images, header_xml(ti=listed, limits={"set": 3})))


def test_list_of_11_and_8_images_without_times(server):
    only_map(server.exchange(molli(None), header_xml("MOLLI", ti=MORE_TIMES, limits={"set": 7})))


def test_list_of_5_and_8_images_without_times(server):
    """Three images have no time: reported, or left out with a flag."""
    reply = server.exchange(molli(None), header_xml("MOLLI", ti=MOLLI_TIMES[:5], limits={"set": 7}))
    expect(len(reply.results) <= 1, "at most one result is right", reply)
    if reply.results:
        may = {Flag.UNREADABLE_TIMES, Flag.REVIEW, Flag.MISSING_IMAGES, Flag.DUPLICATE_IMAGES}
        expect(bool(reply.results[0].flags), "nothing says that three images have no time", reply)
        right(reply.results[0], reply, may=may)
    else:
        expect(reply.says("time"), "no message says that three images have no time", reply)


def test_sorted_list_and_images_in_order_of_acquisition(server):
    """The list alone does not show it; the residuals of the fit do."""
    header = header_xml("MOLLI", ti=sorted(MOLLI_TIMES), limits={"set": 7})
    reply = server.exchange(molli(None), header)
    trust = {Flag.NO_CAVITY, Flag.NO_MYOCARDIUM, Flag.NOT_NESTED, Flag.TOO_SMALL, Flag.ELONGATED}
    never_silently_wrong(reply, flags=ALARMS | trust | {Flag.REVIEW})


def test_all_counters_are_zero_and_the_image_index_counts(server):
    only_map(server.exchange(molli(None, counter=None), header_xml("MOLLI", ti=MOLLI_TIMES)))


@pytest.mark.parametrize("limits", [{"set": 7}, {"set": 8}, None], ids=["0 to 7", "0 to 8", "no limits"])
def test_the_counter_begins_at_one(server, limits):
    images = []
    for k, pixels in enumerate(whole(PHANTOM.molli())):
        images += series([pixels], counter=None, set=k + 1, image_index=k + 1)
    only_map(server.exchange(images, header_xml("MOLLI", ti=MOLLI_TIMES, limits=limits)))


def test_images_without_times_come_in_any_order(server):
    images = [molli(None)[k] for k in (5, 2, 7, 0, 3, 6, 1, 4)]
    only_map(server.exchange(images, header_xml("MOLLI", ti=MOLLI_TIMES, limits={"set": 7})))


def test_the_measurement_is_repeated(server):
    images = [image for repetition in range(2) for image in molli(repetition=repetition)]
    reply = server.exchange(images, header_xml(limits={"set": 7, "repetition": 1}))
    expect(1 <= len(reply.results) <= 2, "one result or one for each repetition is right", reply)
    for result in reply.results:
        right(result, reply, may={Flag.DUPLICATE_IMAGES})


@pytest.mark.parametrize("limits", [{"set": 7, "repetition": 1}, {"set": 7}], ids=["both limits", "sets"])
@pytest.mark.parametrize("listed", [False, True], ids=["own times", "list"])
def test_repetitions_come_interleaved(server, listed, limits):
    """By set first: half of the times of each repetition would make a wrong T1."""
    repetitions = [molli(None if listed else TIMED, repetition=repetition) for repetition in range(2)]
    images = [
        image(
            one.pixels[0, 0] + np.uint16(k % 2),
            one.attributes,
            set=k // 2,
            repetition=k % 2,
            image_index=k + 1,
        )
        for k, one in enumerate(each for pair in zip(*repetitions, strict=True) for each in pair)
    ]
    header = header_xml("MOLLI", ti=MOLLI_TIMES if listed else (), limits=limits)
    reply = server.exchange(images, header)
    expect(len(reply.results) == 2, "a result for each repetition is right", reply)
    for result in reply.results:
        right(result, reply)


@pytest.mark.parametrize("counted", [True, False], ids=["slice counter", "position alone"])
@pytest.mark.parametrize("own_series", [False, True], ids=["one series", "series of their own"])
@pytest.mark.parametrize("interleaved", [False, True], ids=["slice by slice", "interleaved"])
def test_three_slices_and_limits_without_slices(server, counted, own_series, interleaved):
    slices = [
        molli(
            slice=index if counted else 0,
            position=TO_APEX * 10 * index,
            image_series_index=1 + index if own_series else 1,
        )
        for index in range(3)
    ]
    if interleaved:
        images = [image for images in zip(*slices, strict=True) for image in images]
    else:
        images = [image for images in slices for image in images]
    reply = server.exchange(images, header_xml(limits={"set": 7}))
    expect(len(reply.results) == 3, "three results are right", reply)
    for result in reply.results:
        right(result, reply)
        if result.record["level"] in (None, "unknown"):
            named = [region["name"] for region in result.record["regions"] if "AHA" in region["name"]]
            expect(not named, "segments of a slice of unknown level are named", reply)
    if counted:
        base, _, apex = (result.record["level"] for result in reply.results)
        expect(base != "apical" and apex != "basal", f"base is {base}, apex is {apex}", reply)


@pytest.mark.parametrize(
    "limits", [{"set": 7, "slice": 2}, {"set": 7}, None], ids=["slices", "sets", "no limits"]
)
def test_three_slices_whose_times_the_header_lists(server, limits):
    images = [image for k in range(3) for image in molli(None, slice=k, position=TO_APEX * 10 * k)]
    reply = server.exchange(images, header_xml("MOLLI", ti=MOLLI_TIMES, limits=limits))
    expect(len(reply.results) == 3, "three results are right", reply)
    for result in reply.results:
        right(result, reply)


@pytest.mark.parametrize("first", ["T1", "T2"])
def test_both_quantities_and_limits_of_one(server, first):
    images = molli() + t2() if first == "T1" else t2() + molli()
    reply = server.exchange(images, header_xml(limits={"set": 7}))
    expect(len(reply.results) == 2, "two results are right", reply)
    for result in reply.results:
        right(result, reply, result.record["quantity"])
        expect(Flag.MISSING_IMAGES.value not in result.flags, "both series are complete", reply)


def test_a_complete_t2_series_does_not_wait_for_the_limits_of_molli(server):
    """Its result comes long before the close, which a scanner sends when the patient has left."""
    with_limits = server.connect(header_xml(limits={"set": 7}))
    with_limits.send(*molli(), *t2())
    came = with_limits.wait_for(lambda reply: len(reply.results) == 2, seconds=15.0)
    reply = with_limits.finish()
    expect(came, "no T2 map within 15 s of its last image", reply)
    for result in reply.results:
        right(result, reply, result.record["quantity"])
    expect(reply.lost == 0 and reply.closed, "images were lost", reply)


def test_a_complete_molli_series_does_not_wait_for_the_list_of_another(server):
    """A list of eleven times stays in the header of a protocol that takes eight images."""
    with_list = server.connect(header_xml(ti=MORE_TIMES, limits={"set": 7}))
    with_list.send(*molli())
    came = with_list.wait_for(lambda reply: len(reply.results) == 1, seconds=15.0)
    reply = with_list.finish()
    expect(came, "no T1 map within 15 s of its last image", reply)
    only_map(reply)
