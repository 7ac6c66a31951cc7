"""Images that come twice, and acquisitions that no counter tells apart."""

from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembled import Ready
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.series import MappingSeries
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import (
    AT_ONCE,
    TIMES,
    acquired,
    by_index,
    by_set,
    counted,
    feed,
    image,
    mini_head,
    molli,
    pixels_of,
    running_on,
    stamped,
)


def test_a_duplicate_is_left_out_and_flagged():
    images = molli()
    ready, _ = feed([images[0], *images], counted(8))
    assert len(ready[0].series.times_ms) == 8
    assert ready[0].flags == (Flag.DUPLICATE_IMAGES,)


def test_the_last_image_of_a_second_variant_starts_no_series():
    """With and without distortion correction, image by image, with the same counters."""
    others = [replace(each, data=np.full((16, 16), 50.0, np.float32).tobytes()) for each in molli()]
    assembler = SeriesAssembler(counted(8), AT_ONCE)
    sent = [each for pair in zip(molli(), others, strict=True) for each in pair]
    ready = [made for each in sent for made in assembler.add(each, 0.0)] + assembler.finish()
    assert [type(each.series) for each in ready] == [MappingSeries]
    assert ready[0].series.images[:, 0, 0].max() == 8.0
    assert assembler.account().unused == {"with the counters of another image of its series": 8}
    repeated, _ = feed([*sent, *molli(repetition=1)], counted(8))
    assert len(repeated) == 2
    third = replace(sent[-1], data=np.full((16, 16), 70.0, np.float32).tobytes())
    assert len(feed([*sent, third], counted(8))[1]) == 1, "a third variant"


@pytest.mark.parametrize("idle", [False, True], ids=["at once", "after a pause of the connection"])
def test_a_series_whose_first_image_came_twice_before_it_keeps_its_first_image(idle):
    """The first image is acquired anew after 3 s; both are broken off, and the series follows."""
    assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)

    def stamped(each, second):
        return replace(each, header=replace(each.header, acquisition_time_stamp=round(400 * (1000 + second))))

    first = molli()[0]
    anew = replace(first, data=np.full((1, 1, 16, 16), 9.0, np.float32).tobytes())
    for second, each in ((0, first), (3, anew)):
        assert not assembler.add(stamped(each, second), float(second))
    if idle:
        assembler.expire(60.0)
    for k, each in enumerate(molli()):
        again = replace(each, data=np.full((1, 1, 16, 16), 20.0 + k, np.float32).tobytes())
        assembler.add(stamped(again, 63 + k), 63.0 + k)
    assert [len(each.series.times_ms) for each in assembler.finish() if isinstance(each, Ready)] == [8]


def test_a_duplicate_after_completion_starts_no_series():
    images = molli()
    ready, everything = feed([*images, images[3]], counted(8))
    assert len(ready) == len(everything) == 1


@pytest.mark.parametrize("elsewhere", [mini_head, lambda ms: {"ImageComments": f"TI {ms} ms"}])
def test_two_variants_of_each_image_make_one_series_though_one_has_more_times(elsewhere):
    variants = [
        image(value * (k + 1), {"SeriesDescription": "MOLLI", "InversionTime": ms, **more}, set=k)
        for k, ms in enumerate(TIMES["5(3)3"])
        for value, more in ((1.0, elsewhere(ms)), (1.03, {}))
    ]
    _, (only,) = feed(variants, counted(8))
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert only.flags == (Flag.DUPLICATE_IMAGES,)


@pytest.mark.parametrize("start", [0, 1000], ids=["no time stamps", "a break of three seconds"])
@pytest.mark.parametrize("came", [1, 2, 3])
def test_a_first_t1_image_that_is_fitted_twice_is_flagged(came, start):
    """No counter shows where the acquisition begins anew, and the break may be a recovery."""
    times = TIMES["5(3)3"]
    images = acquired(times[:came], start=start, counters=by_index)
    again = acquired(times, start=start and start + 400 * came + 800, value=50.0, counters=running_on)
    _, (series,) = feed([*images, *again])
    assert len(series.series.times_ms) == came + 8
    assert series.flags == (Flag.DUPLICATE_IMAGES,)
    assert "The first inversion time, 100 ms, came twice" in series.notes[0]


@pytest.mark.parametrize(
    "times", [*TIMES.values(), [100, 1000, 1900, 2800, 100, 1000, 1900], [100] * 3 + [180, 1000, 1080, 1900]]
)
@pytest.mark.parametrize("counters", [by_index, by_set], ids=["by the index", "by the set"])
def test_no_other_t1_has_a_first_image_that_came_twice(times, counters):
    """Nominal times may be those of each inversion."""
    _, (series,) = feed(acquired(times, counters=counters))
    assert series.flags == ()


@pytest.mark.parametrize("beat", [1.0, 1.15])
@pytest.mark.parametrize("scheme", TIMES)
def test_two_acquisitions_in_turn_that_one_counter_numbers_are_flagged(scheme, beat):
    """Their times have no order by which a repetition begins."""
    again = [time * (beat if time > 300 else 1.0) + 2.0 for time in TIMES[scheme]]
    times = [time for pair in zip(TIMES[scheme], again, strict=True) for time in pair]
    _, everything = feed(acquired(times, counters=by_set))
    assert all(Flag.DUPLICATE_IMAGES in each.flags for each in everything)


@pytest.mark.parametrize(
    ("times", "counters"),
    [
        ([100, 100, 300, 300, 600, 600, 1200, 1200], by_index),
        ([100, 100, 300, 600, 1200, 2400], lambda k: {"image_index": k + 1, "average": int(k == 1)}),
    ],
    ids=["each time", "by the counter"],
)
def test_averages_of_a_t1_are_no_first_image_that_came_twice(times, counters):
    _, (series,) = feed(acquired(times, counters=counters))
    assert len(series.series.times_ms) == len(times)
    assert Flag.DUPLICATE_IMAGES not in series.flags


def two_acquisitions(times, order, quantity="T1", counter="set", **second):
    """Two acquisitions whose image index runs on; ``order`` is that of their images."""
    count = len(times)
    first, again = (
        acquired(
            times,
            quantity=quantity,
            value=1.0 + 50.0 * number,
            counters=lambda k, n=number: {counter: k, "image_index": n * count + k + 1},
            **(second if number else {}),
        )
        for number in range(2)
    )
    in_turn = [each for pair in zip(first, again, strict=True) for each in pair]
    return {"in turn": in_turn, "one after the other": [*first, *again]}[order]


@pytest.mark.parametrize("lost", [None, 0, 5])
@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("counter", ["set", "contrast", "phase"])
@pytest.mark.parametrize(("quantity", "times"), [("T1", TIMES["5(3)3"]), ("T2", (0, 25, 55))])
def test_two_acquisitions_in_turn_by_the_image_index_are_flagged(quantity, times, counter, stated, lost):
    """No map of both passes as one of either, whether or not a limit ends the series early."""
    images = two_acquisitions(times, "in turn", quantity, counter)
    if lost is not None:
        del images[lost]
    limits = {counter: len(times) - 1} if stated else {}
    _, everything = feed(images, MeasurementHeader(maxima=limits))
    assert everything
    for each in everything:
        if isinstance(each, Ready):
            values = each.series.images[:, 0, 0]
            mixed = min(values) < 50.0 < max(values)
            assert not mixed or {Flag.DUPLICATE_IMAGES, Flag.MISSING_IMAGES} & set(each.flags)
    assert any(Flag.DUPLICATE_IMAGES in each.flags for each in everything)


def test_two_short_acquisitions_by_the_image_index_are_flagged():
    """As acquired and corrected, six images each: the first time that comes again may be an inversion's."""
    images = two_acquisitions(TIMES["5(3)3"][:6], "one after the other")
    _, (only,) = feed(images)
    assert len(only.series.times_ms) == 12
    assert only.flags == (Flag.DUPLICATE_IMAGES,)
    assert "whose map is a mixture" in only.notes[0]


@pytest.mark.parametrize("order", ["in turn", "one after the other"])
def test_averages_that_their_counter_numbers_are_not_flagged(order):
    """Of T1 six each, since a longer acquisition begins another series where its first time comes again."""
    for quantity, times in (("T2", (0, 25, 55)), ("T1", TIMES["5(3)3"][:6])):
        _, (only,) = feed(two_acquisitions(times, order, quantity, average=1))
        assert len(only.series.times_ms) == 2 * len(times)
        assert Flag.DUPLICATE_IMAGES not in only.flags


@pytest.mark.parametrize("inversions", [(5, 3), (4, 3, 2), (5, 1, 1)])
@pytest.mark.parametrize("counter", ["set", "contrast", "phase"])
def test_counters_and_times_that_begin_again_with_each_inversion_are_no_two_acquisitions(counter, inversions):
    """Nominal times are those of each inversion."""
    shots = [k for count in inversions for k in range(count)]
    times = [100 + 900 * k for k in shots]
    images = acquired(times, counters=lambda k: {counter: shots[k], "image_index": k + 1})
    _, (only,) = feed(images, settings=AssemblySettings(corrected_wait_s=0.0, images=len(times)))
    assert only.series.times_ms.tolist() == sorted(times)
    assert Flag.DUPLICATE_IMAGES not in only.flags


@pytest.mark.parametrize("pause_s", [12, 18])
def test_averages_of_a_preparation_that_no_counter_numbers_are_no_repetition(pause_s):
    """The first one of each preparation counts."""
    images = acquired(
        (0, 0, 25, 25, 55, 55),
        quantity="T2",
        start=1000,
        beat=400 * pause_s,
        counters=lambda k: {"set": k // 2},
    )
    _, (only,) = feed(images)
    assert pixels_of([only]) == [[1.0, 3.0, 5.0]]
    assert Flag.DUPLICATE_IMAGES in only.flags


def test_an_image_that_comes_again_at_once_begins_no_repetition():
    """Slices without counter and position, interleaved: the first of each set counts."""
    images = [
        stamped(replace(each, data=np.full((1, 1, 16, 16), value, np.float32).tobytes()), 1000 + 400 * k)
        for k, each in enumerate(molli())
        for value in (k + 1.0, 50.0)
    ]
    _, (only,) = feed(images[:-1], counted(8))
    assert only.series.images.max() == 8.0
    assert only.flags == (Flag.DUPLICATE_IMAGES,)
