"""Acquisitions one after the other: a repetition is a series of its own."""

from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembled import Failed
from inline.data.flags import Flag
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import (
    LISTED,
    TIMES,
    acquired,
    by_index,
    by_set,
    counted,
    feed,
    image,
    molli,
    pixels_of,
    running_on,
    stamped,
)


def test_a_repeated_measurement_is_a_second_series():
    again = [replace(each, data=np.full((1, 1, 16, 16), 9.0, np.float32).tobytes()) for each in molli()]
    ready, _ = feed([*molli(), *again], counted(8))
    assert len(ready) == 2
    assert ready[1].series.images.min() == 9.0


def repeated(first, second, **fields):
    """Two measurements of one slice with the same counters, one after the other."""
    again = [
        image(50.0 + i, {"SequenceDescription": second, "InversionTime": time}, set=i, **fields)
        for i, time in enumerate([120, 900, 1700, 2500, 3300, 200, 980, 1780])
    ]
    return [*molli(description=first), *again]


@pytest.mark.parametrize(
    ("first", "second", "fields"),
    [
        ("MOLLI", "MOLLI", {}),
        ("MOLLI", "MOLLI", {"repetition": 1}),
        ("MOLLI_native", "MOLLI_post", {}),
        ("MOLLI_native", "MOLLI_post", {"image_index": 9}),
    ],
)
def test_a_repetition_is_a_series_of_its_own_also_where_nobody_states_the_number(first, second, fields):
    _, ready = feed(repeated(first, second, **fields))
    assert [series.identity.description for series in ready] == [first, second]
    assert pixels_of(ready) == [
        [1.0, 6.0, 2.0, 7.0, 3.0, 8.0, 4.0, 5.0],
        [50.0, 55.0, 51.0, 56.0, 52.0, 57.0, 53.0, 54.0],
    ]


@pytest.mark.parametrize("start", [0, 1000], ids=["no time stamps", "time stamps"])
@pytest.mark.parametrize("drift", [0.0, 7.0])
@pytest.mark.parametrize(
    ("first", "second", "fields", "limits"),
    [
        (by_index, by_index, {"repetition": 1}, {"repetition": 1}),
        (by_set, by_set, {"average": 1}, {"average": 1}),
        (by_index, by_index, {"average": 1}, {}),
        (by_index, running_on, {}, {}),
        (by_index, running_on, {"repetition": 1}, {"repetition": 1}),
    ],
)
@pytest.mark.parametrize("scheme", TIMES)
def test_a_repetition_of_t1_begins_with_the_first_inversion_time(
    scheme, first, second, fields, limits, drift, start
):
    times = TIMES[scheme]
    again = [time + drift for time in times]
    images = [
        *acquired(times, start=start, counters=first),
        *acquired(again, start=start and start + 8000, value=50.0, counters=second, **fields),
    ]
    _, everything = feed(images, MeasurementHeader(maxima=limits))
    assert [each.series.times_ms.tolist() for each in everything] == [sorted(times), sorted(again)]
    assert [max(values) < 50.0 for values in pixels_of(everything)] == [True, False]
    assert [each.flags for each in everything] == [(), ()]


@pytest.mark.parametrize("scheme", TIMES)
@pytest.mark.parametrize("beat", [150, 400, 100_000])
@pytest.mark.parametrize("order", ["acquired", "ascending", "descending"])
def test_no_scheme_is_taken_for_two_acquisitions(scheme, beat, order):
    """At 160 to 60 heartbeats a minute; and with time stamps in another unit than 2.5 ms."""
    interval = min(beat, 400) * 2.5
    times = [time % 900 + time // 900 * interval for time in TIMES[scheme]]
    inversions = np.cumsum([later < before for before, later in zip([0, *times], times, strict=False)])
    stamps = [1000 + beat * (k + 5 * int(number)) for k, number in enumerate(inversions)]
    images = [
        replace(each, header=replace(each.header, acquisition_time_stamp=stamp))
        for each, stamp in zip(acquired(times, counters=by_index), stamps, strict=True)
    ]
    if order != "acquired":
        images = [images[k] for k in np.argsort(times)[:: 1 if order == "ascending" else -1]]
    _, (only,) = feed(images)
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


def test_an_acquisition_across_midnight_is_one_series():
    day = 86_400 * 400
    images = [
        replace(
            each,
            header=replace(each.header, acquisition_time_stamp=each.header.acquisition_time_stamp % day),
        )
        for each in acquired(TIMES["5(3)3"], start=day - 1500, counters=by_set)
    ]
    _, (only,) = feed(images)
    assert len(only.series.times_ms) == 8


@pytest.mark.parametrize(
    ("times", "counters"),
    [
        ((0, 0, 25, 25, 55, 55), lambda k: {"set": k // 2, "average": k % 2}),
        ((0, 25, 55, 0, 25, 55), lambda k: {"set": k % 3, "average": k // 3}),
        ((0, 0, 25, 25, 55, 55), by_index),
        ((0, 25, 55, 0, 25, 55), by_index),
        ((55, 25, 0), by_set),
    ],
)
@pytest.mark.parametrize("beat", [400, 12_000, 36_000], ids=["one breath-hold", "30 s apart", "90 s apart"])
def test_preparation_times_that_come_again_are_one_series(times, counters, beat):
    _, (only,) = feed(acquired(times, quantity="T2", start=1000, beat=beat, counters=counters))
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


@pytest.mark.parametrize("pause_s", [70, 900])
def test_a_repetition_of_t2_begins_after_a_pause_or_with_its_counters(pause_s):
    times = (0, 25, 55)
    first = acquired(times, quantity="T2", start=1000, beat=1600, counters=by_index)
    later = 1000 + 400 * pause_s
    for fields in ({"start": later, "counters": running_on}, {"repetition": 1, "counters": by_index}):
        again = acquired(times, quantity="T2", value=50.0, **fields)
        _, everything = feed([*first, *again])
        assert pixels_of(everything) == [[1.0, 2.0, 3.0], [50.0, 51.0, 52.0]]


@pytest.mark.parametrize(
    ("limits", "pauses"),
    [
        ({"set": 2}, [0, 15, 80]),
        ({"set": 8}, [3 * (k % 3) + 90 * (k // 3) for k in range(9)]),
        ({}, [0, 15, 80]),
    ],
    ids=["a breath-hold for each image", "averages 90 s apart", "number not stated"],
)
def test_a_pause_ends_no_t2_series_that_lacks_images(limits, pauses):
    times = [(0, 25, 55)[k % 3] for k in range(len(pauses))]
    images = [
        stamped(each, 1000 + 400 * pause)
        for each, pause in zip(acquired(times, quantity="T2", counters=by_set), pauses, strict=True)
    ]
    _, (only,) = feed(images, MeasurementHeader(maxima=limits))
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


@pytest.mark.parametrize("counters", [by_set, lambda k: {"contrast": k // 5, "set": k % 5}])
def test_a_pause_between_the_inversions_of_interleaved_slices_ends_no_series(counters):
    times = TIMES["5(3)3"]
    images = [
        stamped(each, 1000 + 400 * (k + 70 * (k // 5)))
        for k, each in enumerate(acquired(times, counters=counters))
    ]
    _, (only,) = feed(images, settings=AssemblySettings(corrected_wait_s=0.0, images=8))
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("first", [5, 7])
def test_one_time_stamp_in_microseconds_for_each_inversion_shows_no_pause(first, stated):
    times = [100 + 900 * k for k in range(first)] + [180, 1080, 1980]
    images = [
        stamped(each, 10**9 + 8_000_000 * (k >= first))
        for k, each in enumerate(acquired(times, counters=by_set))
    ]
    _, (only,) = feed(images, MeasurementHeader(maxima={"set": len(times) - 1} if stated else {}))
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


@pytest.mark.parametrize("came", [2, 3])
def test_images_of_one_time_stamp_and_their_repetition_after_a_pause(came):
    times = (0, 25, 55)
    first = acquired(times[:came], quantity="T2", start=1000, beat=0, counters=by_index)
    again = acquired(times, quantity="T2", start=401_000, beat=0, value=50.0, counters=running_on)
    _, everything = feed([*first, *again])
    assert pixels_of(everything) == [[1.0, 2.0, 3.0][:came], [50.0, 51.0, 52.0]]


def test_a_first_image_acquired_anew_ends_no_series_that_lacks_images():
    """The last image of 3(3)5 comes after it; counters go on."""
    first = molli(TIMES["3(3)5"])[:7]
    again = image(9.0, {"SequenceDescription": "T1map_MOLLI", "InversionTime": 101}, set=8)
    _, everything = feed([*first, again], counted(8))
    assert [len(each.series.times_ms) for each in everything] == [8]


@pytest.mark.parametrize("lost", [0, 3])
def test_a_repetition_does_not_take_the_place_of_a_lost_image(lost):
    times = TIMES["5(3)3"]
    first = acquired(times, start=1000, counters=by_set)
    del first[lost]
    again = acquired(times, start=1000 + 400 * 90, value=50.0, counters=by_set, repetition=1)
    _, everything = feed([*first, *again], MeasurementHeader(maxima={"set": 7, "repetition": 1}))
    assert [len(each.series.images) for each in everything] == [7, 8]
    assert [max(values) < 50.0 for values in pixels_of(everything)] == [True, False]
    assert [each.flags for each in everything] == [(Flag.MISSING_IMAGES,), ()]


def test_the_stated_number_of_images_may_be_that_of_several_acquisitions():
    times = TIMES["5(3)3"] * 2
    images = acquired(times, start=1000, counters=lambda k: {"set": k})
    _, (only,) = feed(images, MeasurementHeader(maxima={"set": 15}))
    assert only.series.times_ms.tolist() == sorted(times)


@pytest.mark.parametrize("counter", ["set", "image_index"])
def test_seven_images_before_the_second_inversion_are_no_series(counter):
    """7(3)3, whose inversions ``repetition`` counts."""
    times = [100 + 900 * k for k in range(7)] + [180, 1080, 1980]
    images = acquired(times, counters=lambda k: {"repetition": k // 7, counter: k % 7 + 1})
    _, (only,) = feed(images)
    assert only.series.times_ms.tolist() == sorted(times)


@pytest.mark.parametrize("gap", [3200, 12_000], ids=["8 s", "30 s"])
@pytest.mark.parametrize("counter", ["set", "contrast"])
@pytest.mark.parametrize("scheme", TIMES)
def test_a_repetition_in_descending_order_is_a_series_of_its_own(scheme, counter, gap):
    """Its longest inversion time follows the heart rate."""
    times = sorted(TIMES[scheme], reverse=True)
    again = [time - 100 * (time > 900) for time in times]
    images = [
        *acquired(times, start=1000, counters=lambda k: {counter: k}),
        *acquired(again, start=1000 + gap, value=50.0, counters=lambda k: {counter: k}, repetition=1),
    ]
    for maxima in ({}, {"repetition": 1}):
        _, everything = feed(images, MeasurementHeader(maxima=maxima))
        assert [max(values) < 50.0 for values in pixels_of(everything)] == [True, False]
        assert [len(each.series.images) for each in everything] == [len(times)] * 2


def test_a_pause_before_another_preparation_time_ends_no_series():
    times = (0, 25, 35, 55)
    images = [
        stamped(each, 1000 + 400 * seconds)
        for each, seconds in zip(acquired(times, quantity="T2", counters=by_set), (0, 3, 6, 76), strict=True)
    ]
    _, (only,) = feed(images)
    assert only.series.times_ms.tolist() == sorted(times)


def test_the_second_inversion_after_a_few_images_without_time_stamps_begins_no_series():
    """Some schemes part the inversions by 20 to 40 ms."""
    times = [100, 1000, 1900, 130, 1030, 1930, 2830, 3730]
    images = acquired(times, counters=lambda k: {"contrast": k % 3 if k < 6 else k - 3, "image_index": k})
    _, (only,) = feed(images)
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ()


def test_a_whole_series_without_time_stamps_is_repeated_with_a_first_time_within_40_ms():
    times = TIMES["5(3)3"]
    again = [time + 30 for time in times]
    images = [*acquired(times, counters=by_index), *acquired(again, counters=running_on, value=50.0)]
    _, everything = feed(images)
    assert [each.series.times_ms.tolist() for each in everything] == [sorted(times), sorted(again)]


@pytest.mark.parametrize(("beats", "results"), [(7, 1), (9, 2)])
def test_a_break_in_another_unit_is_told_by_the_heartbeat(beats, results):
    """A first time 30 ms later may be that of the second inversion, after a recovery of a few heartbeats."""
    times, beat = TIMES["5(3)3"], 1_000_000
    last = 10**9 + 7 * beat
    first = acquired(times, start=10**9, beat=beat, counters=by_index)
    again = acquired(
        [ms + 30 for ms in times], start=last + beats * beat, beat=beat, counters=running_on, value=50.0
    )
    assert len(feed([*first, *again])[1]) == results


@pytest.mark.parametrize(("lengths", "results"), [(3.9, 1), (4.1, 2)])
def test_a_pause_is_four_times_as_long_as_the_images_took(lengths, results):
    """Times that fall, so that no first inversion time comes again; a heartbeat of 10 s by the clock."""
    times, beat = sorted(TIMES["5(3)3"], reverse=True), 4000
    last = 1000 + 7 * beat
    first = acquired(times, start=1000, beat=beat, counters=by_index)
    again = acquired(
        times, start=last + round(lengths * 7 * beat), beat=beat, counters=running_on, value=50.0
    )
    assert len(feed([*first, *again])[1]) == results


def test_a_series_that_was_broken_off_is_not_completed_from_its_repetition():
    again = [image(50.0 + i, {"SequenceDescription": "MOLLI", "InversionTime": time}, set=i)
             for i, time in enumerate([100, 900, 1700, 2500, 3300, 180, 980, 1780])]  # fmt: skip
    _, ready = feed([*molli(description="MOLLI")[:5], *again], counted(8))
    assert [len(series.series.images) for series in ready] == [5, 8]
    assert ready[0].flags == (Flag.MISSING_IMAGES,)
    assert ready[1].flags == ()


@pytest.mark.parametrize("limits", [{"set": 7}, {}], ids=["number stated", "not stated"])
@pytest.mark.parametrize("start", [0, 1000], ids=["no time stamps", "time stamps"])
@pytest.mark.parametrize("drift", [0.0, 7.0])
@pytest.mark.parametrize("counters", [by_set, by_index, lambda k: {"contrast": k, "image_index": k + 20}])
@pytest.mark.parametrize("came", [1, 2, 3])
def test_images_of_a_t1_that_was_broken_off_are_not_fitted_with_its_repetition(
    came, counters, drift, start, limits
):
    """All inversion times but the first of each inversion follow the heart rate, which rises."""
    if came == 1 and not start:
        pytest.skip("one image that comes again without time stamps may be a duplicate")
    times = TIMES["5(3)3"]
    again = [time + drift - time // 900 * 60 for time in times]
    for fields in ({}, {"repetition": 1})[: 1 if came == 1 else 2]:
        images = [
            *acquired(times[:came], start=start, counters=counters),
            *acquired(again, start=start and start + 8000, value=50.0, counters=counters, **fields),
        ]
        _, (first, series) = feed(images, MeasurementHeader(maxima=limits))
        assert isinstance(first, Failed)
        assert (first.images, first.flags) == (came, (Flag.MISSING_IMAGES,))
        assert series.series.times_ms.tolist() == sorted(again)
        assert series.series.images.min() == 50.0
        assert series.flags == ()


@pytest.mark.parametrize(("break_s", "series"), [(9, 1), (11, 2)])
@pytest.mark.parametrize("came", [2, 3])
def test_ten_seconds_after_a_few_t1_images_another_acquisition_begins(came, break_s, series):
    """Only the break shows it: their counters go on. No recovery between inversions takes as long."""
    times = TIMES["5(3)3"]
    images = acquired(times[:came], start=1000, counters=by_index)
    start = 1000 + 400 * (came - 1 + break_s)
    _, found = feed([*images, *acquired(times, start=start, value=50.0, counters=running_on)])
    assert len(found) == series


@pytest.mark.parametrize("counters", [by_set, by_index, lambda k: {"repetition": k}])
def test_one_time_for_all_images_and_stamps_in_microseconds_show_no_break(counters):
    images = acquired([100] * 8, start=10**9, beat=1_000_000, counters=counters)
    _, (only,) = feed(images, LISTED)
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])


@pytest.mark.parametrize("came", [2, 3])
def test_a_t1_that_was_broken_off_ends_with_its_first_time_after_a_pause(came):
    """Its counters go on."""
    times = TIMES["5(3)3"]
    images = [
        *acquired(times[:came], start=1000, counters=by_index),
        *acquired(times, start=9000, value=50.0, counters=running_on),
    ]
    _, (first, series) = feed(images)
    assert (type(first), first.images) == (Failed, came)
    assert pixels_of([series]) == [[50.0 + k for k in np.argsort(times)]]


@pytest.mark.parametrize("repetition", [0, 1])
@pytest.mark.parametrize("came", [1, 2])
def test_images_of_a_t2_that_was_broken_off_are_not_fitted_with_its_repetition(came, repetition):
    times = (25, 35, 55)
    if came == 1 and repetition:
        pytest.skip("images of one time counted by repetition may be averages")
    first = acquired(times[:came], quantity="T2", start=1000, beat=1600, counters=by_set)
    again = acquired(
        times, quantity="T2", start=9000, beat=1600, value=50.0, counters=by_set, repetition=repetition
    )
    for limits in ({"set": 2}, {}):
        _, everything = feed([*first, *again], MeasurementHeader(maxima=limits))
        assert [each.images for each in everything] == [came, 3]
        assert pixels_of(everything[1:]) == [[50.0, 51.0, 52.0]]
        assert Flag.MISSING_IMAGES in everything[0].flags
        assert not {Flag.MISSING_IMAGES, Flag.DUPLICATE_IMAGES} & set(everything[1].flags)


@pytest.mark.parametrize("came", [1, 2, 3])
def test_a_t1_that_was_broken_off_and_has_no_times_of_its_own_ends_with_a_break(came):
    def listed(*, start, value):
        return [
            stamped(image(value + k, {"SequenceDescription": "MOLLI"}, set=k), start + 400 * k)
            for k in range(8)
        ]

    images = [*listed(start=1000, value=1.0)[:came], *listed(start=9000, value=50.0)]
    _, (first, series) = feed(images, replace(LISTED, maxima={"set": 7}))
    assert (type(first), first.images) == (Failed, came)
    assert pixels_of([series]) == [[50.0 + k for k in np.argsort(TIMES["5(3)3"])]]


@pytest.mark.parametrize("beat", [400, 1000, 1_000_000], ids=["ticks", "ms", "us"])
@pytest.mark.parametrize("step", [15, 30, 40])
def test_a_second_inversion_little_later_than_the_first_is_no_repetition(step, beat):
    """7(3)3, 3(3)5 and 3(3)3(3)5 at 60 heartbeats a minute, three of them for the recovery."""
    for groups in ((7, 3), (3, 5), (3, 3, 5)):
        shots = [(number, k) for number, count in enumerate(groups) for k in range(count)]
        times = [100 + step * number + 1000 * k for number, k in shots]
        images = [
            stamped(each, 1000 + beat * (place + 3 * number))
            for place, (each, (number, _)) in enumerate(
                zip(acquired(times, counters=by_index), shots, strict=True)
            )
        ]
        _, (only,) = feed(images)
        assert only.series.times_ms.tolist() == sorted(times)
        assert only.flags == ()


@pytest.mark.parametrize("pause", [8, 40])
@pytest.mark.parametrize("step", [15, 30, 80])
def test_a_repetition_without_counters_begins_with_the_first_time_whatever_the_increment(step, pause):
    """5(3)3, one image a second."""
    times = [100 + step * number + 1000 * k for number, count in enumerate((5, 3)) for k in range(count)]
    first, second = (
        acquired(times, start=start, value=value)
        for start, value in ((1000, 1.0), (1000 + 400 * (8 + pause), 50.0))
    )
    _, ready = feed([*first, *second])
    assert [(min(one), max(one)) for one in pixels_of(ready)] == [(1.0, 8.0), (50.0, 57.0)]


def test_the_second_inversion_after_few_images_begins_no_repetition():
    """3(3)3(3)5 whose counter begins again with each inversion."""
    counters = [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4]
    images = acquired(TIMES["3(3)3(3)5"], start=1000, counters=lambda k: {"contrast": counters[k]})
    _, (only,) = feed(images)
    assert len(only.series.times_ms) == 11
