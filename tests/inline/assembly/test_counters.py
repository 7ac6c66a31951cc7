"""Counters and limits: images and slices that they number, and interleaved repetitions."""

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembled import Failed
from inline.assembly.assembler import SeriesAssembler
from inline.assembly.examination import of_images
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import (
    AT_ONCE,
    LISTED,
    TIMES,
    acquired,
    counted,
    feed,
    image,
    mini_head,
    molli,
    pixels_of,
    t2prep,
)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("lost", [None, 0, 7])
@pytest.mark.parametrize("first", [0, 1])
def test_counters_that_begin_at_one(first, lost, listed):
    times = TIMES["5(3)3"]
    header = MeasurementHeader(
        maxima={"set": first + 7, "slice": first + 2},
        minima={"set": first, "slice": first},
        inversion_times=tuple(map(str, times)) if listed else (),
    )
    images = [
        image(
            k + 1.0,
            {"SequenceDescription": "MOLLI"} | ({} if listed else {"InversionTime": time}),
            set=first + k,
            slice=first,
        )
        for k, time in enumerate(times)
        if k != lost
    ]
    ready, (only,) = feed(images, header)
    assert bool(ready) is (lost is None)
    assert only.series.times_ms.tolist() == sorted(time for k, time in enumerate(times) if k != lost)
    assert only.flags == (() if lost is None else (Flag.MISSING_IMAGES,))
    assert (only.slice_count, only.slice_place().first_slice) == (3, first)


@pytest.mark.parametrize(("limit", "slices"), [(255, 256), (256, None)])
def test_a_large_limit_of_the_slice_counter_states_no_number_of_slices(limit, slices):
    _, (only,) = feed(molli(), MeasurementHeader(maxima={"set": 7, "slice": limit}))
    assert only.slice_count == slices


@pytest.mark.parametrize("lost", [None, 4, 7])
def test_counters_below_their_limits_count_from_zero(lost):
    """Limits from 1 to 8, images counted from 0 to 7."""
    times = TIMES["5(3)3"]
    header = MeasurementHeader(maxima={"set": 8}, minima={"set": 1}, inversion_times=tuple(map(str, times)))
    images = [image(k + 1.0, {"SequenceDescription": "MOLLI"}, set=k) for k in range(8) if k != lost]
    _, (only,) = feed(images, header)
    assert only.series.times_ms.tolist() == sorted(time for k, time in enumerate(times) if k != lost)
    assert only.flags == (() if lost is None else (Flag.MISSING_IMAGES,))


def test_interleaved_repetitions_with_measured_times_elsewhere_are_separated():
    images = [
        image(
            k + 1.0 + 0.1 * repetition,
            {"SeriesDescription": "MOLLI", "InversionTime": ms, **mini_head(ms + 0.7 * repetition - 2)},
            set=k,
            repetition=repetition,
        )
        for k, ms in enumerate(TIMES["5(3)3"])
        for repetition in range(8)
    ]
    _, series = feed(images, MeasurementHeader(maxima={"set": 7, "repetition": 7}))
    assert [each.series.times_ms.tolist() for each in series] == [sorted(TIMES["5(3)3"])] * 8


@pytest.mark.parametrize(
    "header",
    [
        MeasurementHeader(maxima={"set": 3}),
        MeasurementHeader(maxima={"set": 10}),
        MeasurementHeader(maxima={"phase": 24}),
        MeasurementHeader(maxima={"repetition": 7}),
        MeasurementHeader(maxima={"set": 7}, inversion_times=tuple("12345")),
        MeasurementHeader(maxima={"set": 7}, inversion_times=tuple(map(str, TIMES["3(3)3(3)5"]))),
        MeasurementHeader(inversion_times=tuple(map(str, TIMES["5(3)3"][:5]))),
        MeasurementHeader(maxima={"slice": 65534}),
    ],
)
def test_all_images_that_bear_a_time_count_whatever_the_header_says(header):
    _, (only,) = feed(molli(), header)
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert only.slice_count is None


@pytest.mark.parametrize("t1_first", [True, False])
@pytest.mark.parametrize("came", [3, 4])
@pytest.mark.parametrize("counter", ["contrast", "phase"])
def test_fewer_images_than_a_limit_of_both_quantities_are_flagged(counter, came, t1_first):
    """Images of 5(3)3 are counted from 0 to 4 and from 0 to 2 after its inversions, which ``set`` counts.

    The limit may be that of T2 too, whose last images are then missing.
    """
    t1 = [
        image(
            k + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": time}, set=k // 5, **{counter: k % 5}
        )
        for k, time in enumerate(TIMES["5(3)3"])
    ]
    t2 = [
        image(
            k + 1.0,
            {"SequenceDescription": "T2map", "T2PrepDuration": time},
            image_series_index=2,
            **{counter: k},
        )
        for k, time in enumerate((0, 25, 35, 45)[:came])
    ]
    assembler = SeriesAssembler(MeasurementHeader(maxima={"set": 1, counter: 4}), AT_ONCE)
    for each in (*t1, *t2) if t1_first else (*t2, *t1):
        assert assembler.add(each, 0.0) == []
    (of_t1,) = assembler.expire(AT_ONCE.idle_s)
    assert (of_t1.images, of_t1.flags) == (8, ())
    (of_t2,) = assembler.expire(AT_ONCE.patience_s)
    assert (of_t2.images, of_t2.flags) == (came, (Flag.MISSING_IMAGES,))
    assert of_t2.notes == (
        f"{came} images came of the 5 that the header's limits state. The limit may be that of the T1 series "
        "alone; then none is missing.",
    )


def test_a_limit_that_the_list_of_a_series_confirms_is_not_doubted():
    t1 = [
        image(k + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": ms}, set=k // 5, contrast=k % 5)
        for k, ms in enumerate(TIMES["5(3)3"])
    ]
    t2 = [
        image(k + 1.0, {"SequenceDescription": "T2map", "T2PrepDuration": ms}, contrast=k)
        for k, ms in enumerate((0, 25, 35))
    ]
    own = {f"T2PrepDuration_{k}": str(ms) for k, ms in enumerate((0, 25, 35, 45, 55))}
    header = MeasurementHeader(maxima={"set": 1, "contrast": 4}, parameters=own)
    _, (_, of_t2) = feed([*t1, *t2], header)
    assert (of_t2.quantity, of_t2.images) == (Quantity.T2, 3)
    assert (of_t2.flags, of_t2.notes) == ((Flag.MISSING_IMAGES,), ("3 of 5 images came.",))


def test_a_lost_image_is_missed_beside_a_short_series_by_the_same_counters():
    t2 = [replace(each, header=replace(each.header, repetition=k)) for k, each in enumerate(t2prep())]
    _, everything = feed([*t2, *molli(image_series_index=4)[:7]], MeasurementHeader(maxima={"set": 7}))
    assert [each.flags for each in everything if each.quantity is Quantity.T1] == [(Flag.MISSING_IMAGES,)]


@pytest.mark.parametrize("first", [0, 1])
def test_a_stated_minimum_that_images_lie_below_does_not_count(first):
    """4(1)3(1)2; limits of ``set`` are 1 to 8 or 1 to 9."""
    images = acquired(TIMES["4(1)3(1)2"], counters=lambda k: {"set": k + first})
    _, everything = feed(images, MeasurementHeader(maxima={"set": 8 + first}, minima={"set": 1}))
    assert [len(each.series.images) for each in everything] == [9]
    assert everything[0].flags == ()


def test_counters_that_begin_again_with_each_inversion_are_one_series():
    counters = [0, 1, 2, 3, 4, 0, 1, 2]
    images = [
        image(i + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": time}, contrast=counter)
        for i, (time, counter) in enumerate(zip(TIMES["5(3)3"], counters, strict=True))
    ]
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8]


BY_SET = {"set": 7, "repetition": 1}


def interleaved(times, repetitions=2, key="InversionTime", counter="set", drift=0.0):
    """Image k of repetition r has the value 10 r + k + 1; images of one number come one after another."""
    return [
        image(
            10.0 * r + k + 1.0,
            {"SequenceDescription": "T2map" if key == "T2PrepDuration" else "T1map_MOLLI"}
            | ({key: time + drift * r * (k > 0)} if key else {}),
            repetition=r,
            image_index=repetitions * k + r + 1,
            **{counter: k},
        )
        for k, time in enumerate(times)
        for r in range(repetitions)
    ]


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("limits", "repetitions"),
    [(BY_SET, 2), ({"set": 7}, 3), ({"set": 7, "repetition": 3}, 2), ({"set": 7, "repetition": 7}, 8)],
)
def test_interleaved_repetitions_are_series_of_their_own(limits, listed, repetitions):
    times = TIMES["5(3)3"]
    header = MeasurementHeader(maxima=limits, inversion_times=tuple(map(str, times)) if listed else ())
    images = interleaved(times, repetitions, "" if listed else "InversionTime", drift=70.0)
    ready, everything = feed(images, header)
    assert len(ready) == len(everything) == repetitions
    order = np.argsort(times)
    for number, each in enumerate(ready):
        drift = 0.0 if listed else 70.0 * number
        expected = np.array(times) + drift * (np.arange(8) > 0)
        order = np.argsort(expected)
        assert each.series.times_ms.tolist() == expected[order].tolist()
        assert each.series.images[:, 0, 0].tolist() == (10.0 * number + order + 1).tolist()
        assert each.flags == ()


@pytest.mark.parametrize("repetitions", [2, 3, 4])
def test_interleaved_repetitions_of_t2(repetitions):
    times = (0, 25, 55)
    header = MeasurementHeader(maxima={"set": 2, "repetition": repetitions - 1})
    ready, _ = feed(interleaved(times, repetitions, "T2PrepDuration"), header)
    assert [each.series.times_ms.tolist() for each in ready] == [[0, 25, 55]] * repetitions
    assert pixels_of(ready) == [[10.0 * r + k + 1 for k in range(3)] for r in range(repetitions)]


def test_interleaved_repetitions_of_a_short_list():
    times = [100, 1000, 1900, 180, 1080]
    header = MeasurementHeader(maxima={"set": 4, "repetition": 1}, inversion_times=tuple(map(str, times)))
    ready, _ = feed(interleaved(times, key=""), header)
    assert pixels_of(ready) == [[1.0, 4.0, 2.0, 5.0, 3.0], [11.0, 14.0, 12.0, 15.0, 13.0]]


def test_interleaved_repetitions_that_are_broken_off_are_flagged():
    _, everything = feed(interleaved(TIMES["5(3)3"])[:11], MeasurementHeader(maxima=BY_SET))
    assert [len(each.series.images) for each in everything] == [6, 5]
    assert all(each.flags == (Flag.MISSING_IMAGES,) for each in everything)


def test_images_of_interleaved_repetitions_that_come_twice_are_recognised():
    images = interleaved(TIMES["5(3)3"])
    share = MemoryBudget(1 << 20, 1 << 20, connections=1).connection()
    assembler = SeriesAssembler(MeasurementHeader(maxima=BY_SET), AT_ONCE, share)
    ready = [each for one in (*images[:5], *images, images[3]) for each in assembler.add(one, 0.0)]
    assert [len(each.series.images) for each in ready] == [8, 8]
    assert all(each.flags == (Flag.DUPLICATE_IMAGES,) for each in ready)
    assert assembler.finish() == []
    assert assembler.account().unused == {"sent twice": 6}
    assert share.held == 0


def test_many_repetitions_are_separated_in_the_memory_and_time_of_their_images():
    """The image that shows them comes after 600 others; the account counts 4096 bytes for each."""
    count, times = 600, TIMES["5(3)3"]
    images = interleaved(times, count, key="")[: count + 1]
    header = MeasurementHeader(maxima={"set": 7, "repetition": count}, inversion_times=tuple(map(str, times)))
    assembler = SeriesAssembler(header, AT_ONCE)
    before = []
    for each in images[:-1]:
        began = time.process_time()
        assert assembler.add(each, 0.0) == []
        before.append(time.process_time() - began)
    tracemalloc.start()
    try:
        began = time.process_time()
        assert assembler.add(images[-1], 0.0) == []
        took, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(assembler._groups) == count
    assert most < 4096 * count
    # Twice as many take twice as long.
    assert took < sum(before)


@pytest.mark.parametrize(
    "stated",
    [
        lambda k: {"SequenceDescription": "T1map real time"},
        lambda k: {"SequenceDescription": "MOLLI", "InversionTime": 100 + 3 * k},
        lambda k: {"SequenceDescription": "T2map", "T2PrepDuration": 25 * (k % 3)},
    ],
)
def test_an_image_of_thousands_in_one_series_takes_as_long_as_one_of_a_hundred(stated):
    """Its copy goes back only after it was sorted: 20 ms is the time between images of real-time cine."""
    assembler, took = SeriesAssembler(MeasurementHeader(), AT_ONCE), []
    for k in range(2000):
        one = image(k + 1.0, stated(k), set=k, image_index=k, acquisition_time_stamp=1000 + 20 * k)
        began = time.process_time()
        assert assembler.add(one, 0.02 * k) == []
        took.append(time.process_time() - began)
    assert np.median(took[-100:]) < 3 * np.median(took[50:150])
    (series,) = assembler.finish()
    assert series.images == 2000


BY_INVERSION = [(k, 0) for k in range(5)] + [(k, 1) for k in range(3)]
"""Number within the inversion, and number of the inversion, of 5(3)3."""

BY_IMAGE = [(k, int(k > 4)) for k in range(8)]


@pytest.mark.parametrize(
    ("counters", "limits", "listed"),
    [
        *((BY_INVERSION, limits, False) for limits in ({}, {"set": 7}, BY_SET, {"set": 4, "repetition": 1})),
        *((BY_INVERSION, limits, True) for limits in ({}, {"set": 4, "repetition": 1})),
        *((BY_IMAGE, limits, listed) for limits in ({}, BY_SET) for listed in (False, True)),
        *(
            ([(0, k) for k in range(8)], limits, listed)
            for limits in ({}, {"set": 7}, {"repetition": 7}, {"set": 7, "repetition": 7})
            for listed in (False, True)
        ),
        *(([(k, k) for k in range(8)], {"set": 7, "repetition": 7}, listed) for listed in (False, True)),
    ],
)
def test_images_of_one_series_that_are_counted_by_repetition_are_one(counters, limits, listed):
    times = TIMES["5(3)3"]
    own = [{} if listed else {"InversionTime": time} for time in times]
    images = [
        image(k + 1.0, {"SequenceDescription": "MOLLI", **meta}, set=s, repetition=r, image_index=k + 1)
        for k, (meta, (s, r)) in enumerate(zip(own, counters, strict=True))
    ]
    header = MeasurementHeader(maxima=limits, inversion_times=tuple(map(str, times)) if listed else ())
    _, (only,) = feed(images, header)
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.series.images[:, 0, 0].tolist() == [1.0, 6.0, 2.0, 7.0, 3.0, 8.0, 4.0, 5.0]
    assert only.flags == ()


@pytest.mark.parametrize("last", [7, 10])
@pytest.mark.parametrize("lost", range(16))
def test_an_image_of_interleaved_repetitions_that_is_lost_leaves_them_apart(lost, last):
    times = TIMES["5(3)3"]
    images = interleaved(times, key="")
    del images[lost]
    header = MeasurementHeader(maxima={"set": last, "repetition": 1}, inversion_times=tuple(map(str, times)))
    _, everything = feed(images, header)
    expected = [[10.0 * r + k + 1 for k in np.argsort(times) if 2 * k + r != lost] for r in range(2)]
    assert sorted(pixels_of(everything)) == expected


@pytest.mark.parametrize("own", [{}, {"InversionTime": "100"}], ids=["no times", "time of the protocol"])
@pytest.mark.parametrize("repetition", [True, False], ids=["repetition", "no repetition"])
@pytest.mark.parametrize("limits", [{"set": 8}, {"set": 8, "repetition": 2}, {}], ids=str)
@pytest.mark.parametrize("counter", ["set", "contrast", "phase"])
def test_a_counter_that_begins_again_at_each_inversion_numbers_images_of_one_series(
    own, repetition, limits, counter
):
    """The index assigns the list of 4(1)3(1)2, where the sender counts within each inversion."""
    times = TIMES["4(1)3(1)2"]
    counters = [(k, inversion) for inversion, count in enumerate((4, 3, 2)) for k in range(count)]
    images = [
        image(
            k + 1.0,
            {"SequenceDescription": "MOLLI", **own},
            repetition=inversion if repetition else 0,
            image_index=k + 1,
            **{counter: number},
        )
        for k, (number, inversion) in enumerate(counters)
    ]
    limits = {counter if name == "set" else name: last for name, last in limits.items()}
    ready, (only,) = feed(images, MeasurementHeader(maxima=limits, inversion_times=tuple(map(str, times))))
    assert len(ready) == 1
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.series.images[:, 0, 0].tolist() == [times.index(time) + 1 for time in sorted(times)]
    assert only.flags == ((Flag.UNREADABLE_TIMES,) if own else ())


@pytest.mark.parametrize("own", [{}, {"InversionTime": "100"}], ids=["no times", "time of the protocol"])
@pytest.mark.parametrize("other", [{"set": 7}, {"set": 10}, {"contrast": 10}, {"phase": 24}], ids=str)
def test_a_series_counted_by_repetition_is_complete_with_its_last_image(own, other):
    """The images may be those of several series where the other counter has as many values as the list."""
    times = TIMES["5(3)3"]
    header = MeasurementHeader(maxima={"repetition": 7, **other}, inversion_times=tuple(map(str, times)))
    images = [
        image(k + 1.0, {"SequenceDescription": "MOLLI", **own}, repetition=k, image_index=k + 1)
        for k in range(8)
    ]
    ready, everything = feed(images, header)
    assert (len(ready), len(everything)) == (0 if other == {"set": 7} else 1, 1)
    assert everything[0].series.times_ms.tolist() == sorted(times)
    # A pause within the series is none at its end.
    settings = AssemblySettings(idle_s=6.0, patience_s=30.0, corrected_wait_s=0.0)
    assembler = SeriesAssembler(header, settings)
    for each in images[:5]:
        assembler.add(each, 0.0)
    assert len(assembler.expire(10.0)) == (1 if other == {"set": 7} else 0)


def test_a_list_is_not_assigned_by_the_index_where_its_counter_has_equal_values():
    """Two images of each of the first four sets."""
    images = [
        image(k + 1.0, {"SequenceDescription": "MOLLI"}, set=k // 2, image_index=k + 1) for k in range(8)
    ]
    _, (only,) = feed(images, replace(LISTED, maxima={"set": 7}))
    assert isinstance(only, Failed)
    assert "several images have the same set" in only.error


@pytest.mark.parametrize(
    ("limit", "at_once"), [(24, False), (7, True)], ids=["of another number", "of just so many"]
)
def test_the_limit_of_a_counter_that_does_not_run_counts_where_as_many_images_have_come(limit, at_once):
    """The header states a limit of the phase alone, and the images are counted by set."""
    ready, (only,) = feed(molli(), MeasurementHeader(maxima={"phase": limit}))
    assert bool(ready) is at_once
    assert only.flags == ()


def numbered(times, first=0, *, quantity="T1", value=1.0, **fields):
    """Images without time stamps whose sets run from ``first``."""
    counters = {"counters": lambda k: {"set": first + k}}
    return acquired(times, quantity=quantity, value=value, **counters, **fields)


BEYOND = "1 image came beyond the 8 that the header's limit of the counter set states, and is not in the map"


@pytest.mark.parametrize("order", [None, 0, 1, 2])
def test_a_complete_series_that_lacks_images_beyond_the_limit_is_flagged_in_a_file(order):
    """4(1)3(1)2 has nine images, the limit is that of 5(3)3 before."""
    post = numbered(TIMES["4(1)3(1)2"], image_series_index=4)[::-1]
    if order is not None:
        np.random.default_rng(order).shuffle(post)
    native, first, rest = of_images("a.h5", [*molli(), *post], counted(8), AT_ONCE).series
    assert [(each.images, each.flags) for each in (native, first, rest)] == [
        (8, ()),
        (8, (Flag.MISSING_IMAGES,)),
        (1, (Flag.MISSING_IMAGES,)),
    ]
    (note,) = first.notes
    assert note.startswith(BEYOND)
    assert (native.notes, rest.notes, rest.error) == ((), (), note)


def test_images_beyond_the_limit_have_an_error_that_says_so_in_a_stream():
    images = [each for slice_ in range(2) for each in numbered(TIMES["4(1)3(1)2"], slice=slice_)]
    ready, everything = feed(images, counted(8))
    assert [(each.images, each.flags) for each in ready] == [(8, ())] * 2
    assert [each.error.startswith(BEYOND) for each in everything[2:]] == [True] * 2


def test_enough_images_beyond_the_limit_are_a_map_of_their_own():
    images = molli([*TIMES["5(3)3"], 260, 1160, 2060, 2960, 3860])
    first, rest = of_images("a.h5", images, counted(8), AT_ONCE).series
    assert [(each.images, each.flags) for each in (first, rest)] == [
        (8, (Flag.MISSING_IMAGES,)),
        (5, (Flag.MISSING_IMAGES,)),
    ]
    assert first.notes[0] == rest.notes[0]
    assert "5 images came beyond the 8" in rest.notes[0]


def test_an_unnamed_image_beyond_the_limit_is_reported():
    images = [image(k + 1.0, {"InversionTime": ms}, set=k) for k, ms in enumerate(TIMES["4(1)3(1)2"])]
    first, rest = of_images("a.h5", images, counted(8), AT_ONCE).series
    assert (first.flags, rest.error.startswith(BEYOND)) == ((Flag.MISSING_IMAGES,), True)


def test_the_map_of_corrected_images_that_lacks_one_is_flagged():
    times = TIMES["4(1)3(1)2"]
    images = [*molli(times), *molli(times, description="T1map_MOLLI_MOCO", image_series_index=4)]
    first, *rest = of_images("a.h5", images, counted(8), AssemblySettings()).series
    assert (first.images, first.motion_corrected, first.flags) == (8, True, (Flag.MISSING_IMAGES,))
    assert [isinstance(each, Failed) for each in rest] == [True] * 2


@pytest.mark.parametrize("later", [0.0, 60.0])
@pytest.mark.parametrize(
    ("quantity", "times"), [("T1", TIMES["5(3)3"]), ("T2", [0.0, 25.0, 55.0]), ("T2", [25.0, 40.0, 55.0])]
)
def test_acquisitions_whose_counter_runs_on_are_series_at_once(quantity, times, later):
    count = len(times)
    images = [
        *numbered(times, quantity=quantity),
        *numbered([time + later for time in times], count, quantity=quantity, value=21.0),
    ]
    ready, everything = feed(images, counted(count))
    examination = of_images("a.h5", images, counted(count), AT_ONCE)
    for series in (ready, everything, examination.series):
        assert [(each.images, each.flags) for each in series] == [(count, ())] * 2


@pytest.mark.parametrize("first", [0, 1, 8])
def test_counters_beyond_their_limit_make_series_at_once(first):
    """From 1 to 8, or on over the slices, under the limit 7."""
    images = [
        each for slice_ in range(3) for each in numbered(TIMES["5(3)3"], first * (slice_ or 1), slice=slice_)
    ]
    ready, everything = feed(images, counted(8))
    for series in (ready, everything, of_images("a.h5", images, counted(8), AT_ONCE).series):
        assert [(each.images, each.flags) for each in series] == [(8, ())] * 3


@pytest.mark.parametrize("time", [*TIMES["5(3)3"], None])
def test_a_derived_image_leaves_its_series_as_it_is(time):
    """It bears the inversion time of one of the images, or none."""
    meta = {} if time is None else {"InversionTime": time}
    images = [*molli(), image(99.0, {"SequenceDescription": "T1map_MOLLI", **meta}, set=8)]
    complete = of_images("a.h5", images, counted(8), AT_ONCE).series[0]
    assert complete.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert (complete.flags, complete.notes) == ((), ())


def test_an_extra_image_leaves_a_series_with_the_times_of_the_header():
    times = TIMES["5(3)3"]
    header = MeasurementHeader(maxima={"set": 7}, inversion_times=tuple(map(str, times)))
    images = [image(k + 1.0, {"SequenceDescription": "MOLLI"}, set=k) for k in range(9)]
    for complete in (feed(images, header)[0][0], of_images("a.h5", images, header, AT_ONCE).series[0]):
        assert complete.series.times_ms.tolist() == sorted(times)
        assert complete.flags == ()


def test_a_broken_off_acquisition_whose_counter_runs_on_is_not_beyond_the_limit():
    """The first inversion time is that of the protocol, the others follow the heartbeat."""
    again = [time + (30.0 if time > 200.0 else 0.0) for time in TIMES["5(3)3"][:3]]
    complete, rest = of_images(
        "a.h5", [*numbered(TIMES["5(3)3"]), *numbered(again, 8, value=21.0)], counted(8), AT_ONCE
    ).series
    assert (complete.flags, rest.flags) == ((), (Flag.MISSING_IMAGES,))
    assert "beyond" not in rest.error


def test_images_beyond_the_number_of_the_settings_do_not_concern_the_limit():
    settings = AssemblySettings(corrected_wait_s=0.0, images=8)
    images = numbered(TIMES["4(1)3(1)2"])
    complete, rest = of_images("a.h5", images, counted(8), settings).series
    assert (complete.flags, "beyond" in rest.error) == ((), False)
