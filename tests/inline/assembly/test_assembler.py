"""Series of a stream: complete, incomplete, and what is none."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.assembly.assembled import Failed
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.series import MappingSeries, Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

from .builders import AT_ONCE, TIMES, counted, feed, image, molli, replace_type, t2prep


@pytest.mark.parametrize("scheme", TIMES)
def test_molli_schemes_are_complete_with_their_last_image(scheme):
    times = TIMES[scheme]
    ready, everything = feed(molli(times), counted(len(times)))
    assert len(ready) == len(everything) == 1
    series = ready[0].series
    assert isinstance(series, MappingSeries)
    assert series.quantity is Quantity.T1
    assert series.times_ms.tolist() == sorted(times)
    # Each image holds its number in the order of acquisition, so the order of the stack shows.
    assert series.images[:, 0, 0].tolist() == [times.index(time) + 1 for time in sorted(times)]
    assert ready[0].slice_count == 3
    assert ready[0].flags == ()


def test_without_a_stated_number_a_series_waits_for_a_pause_or_the_end():
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings(idle_s=2.0, corrected_wait_s=0.0))
    for number, each in enumerate(molli()):
        assert assembler.add(each, 0.1 * number) == []
    assert assembler.expire(1.0) == []
    (ready,) = assembler.expire(5.0)
    assert len(ready.series.times_ms) == 8
    assert ready.flags == ()
    assert assembler.finish() == []


def test_time_in_which_no_image_was_read_counts_for_no_series():
    settings = AssemblySettings(patience_s=10.0, open_s=20.0, corrected_wait_s=5.0)
    assembler = SeriesAssembler(counted(8), settings)
    for each in molli():
        assembler.add(each, 0.0)  # waits for its corrected images
    for each in molli(slice_index=1)[:7]:
        assembler.add(each, 2.0)
    assembler.postpone(100.0)
    assert assembler.expire(104.0) == []
    assert len(assembler.expire(105.0)) == 1
    assert assembler.expire(111.0) == []
    (last,) = assembler.expire(112.0)
    assert "was open for" not in last.notes[0]


@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_slices_and_series_may_come_in_any_order(random):
    images = [
        each
        for index in range(3)
        for each in (
            *molli(slice_index=index, image_series_index=1),
            *t2prep(slice_index=index, image_series_index=2),
        )
    ]
    header = MeasurementHeader(
        inversion_times=tuple(map(str, TIMES["5(3)3"])),
        parameters={f"T2PrepDuration_{i}": str(time) for i, time in enumerate((0, 25, 55))},
        maxima={"set": 7, "slice": 2},
    )
    random.shuffle(images)
    ready, everything = feed(images, header)
    assert len(ready) == len(everything) == 6
    assert {(each.quantity, each.identity.slice_index) for each in ready} == {
        (quantity, index) for quantity in Quantity for index in range(3)
    }
    for each in ready:
        assert each.series.times_ms.tolist() == (
            sorted(TIMES["5(3)3"]) if each.quantity is Quantity.T1 else [0, 25, 55]
        )


def test_a_series_index_of_its_own_for_each_image_is_named_as_the_reason():
    _, ready = feed(
        [replace(each, header=replace(each.header, image_series_index=i)) for i, each in enumerate(molli())]
    )
    assert len(ready) == 8
    assert all("one header, series index and plane" in each.error for each in ready)


def test_missing_images_are_fitted_from_the_rest_and_flagged():
    _, everything = feed(molli()[:6], counted(8))
    assert len(everything[0].series.times_ms) == 6
    assert everything[0].flags == (Flag.MISSING_IMAGES,)
    assert everything[0].notes[0] == "6 of 8 images came."


def test_missing_images_of_a_number_by_the_setting_are_counted_in_a_note():
    _, (only,) = feed(molli()[:7], settings=AssemblySettings(corrected_wait_s=0.0, images=11))
    assert (only.flags, only.notes) == ((Flag.MISSING_IMAGES,), ("7 of 11 images came.",))


def test_a_stream_that_ends_early_says_so():
    _, everything = feed(molli()[:6], counted(8), early=True)
    assert set(everything[0].flags) == {Flag.MISSING_IMAGES, Flag.EARLY_CLOSE}


def test_too_few_images_are_an_error_that_says_how_many():
    _, (only,) = feed(molli()[:3], counted(8))
    assert isinstance(only, Failed)
    assert "3 images are too few for a T1 map" in only.error
    assert "1 image is too few for a T1 map" in feed(molli()[:1], counted(8))[1][0].error
    assert Flag.MISSING_IMAGES in only.flags


def test_patience_ends():
    assembler = SeriesAssembler(counted(8), AssemblySettings(patience_s=10.0, corrected_wait_s=0.0))
    for each in molli()[:7]:
        assembler.add(each, 0.0)
    assert assembler.expire(9.0) == []
    (ready,) = assembler.expire(11.0)
    assert (ready.flags, ready.notes) == ((Flag.MISSING_IMAGES,), ("7 of 8 images came.",))


def test_the_number_of_held_images_is_bounded():
    assembler = SeriesAssembler(counted(8), AssemblySettings(open_images=16, corrected_wait_s=0.0))
    ready = [
        each
        for index in range(10)
        for each_image in molli(slice_index=index)[:7]
        for each in assembler.add(each_image, index)
    ]
    assert len(ready) >= 7
    assert all(Flag.MISSING_IMAGES in each.flags for each in ready)
    assert all("More than 16 images waited (setting assembly.open_images)" in each.notes[0] for each in ready)


@pytest.mark.parametrize(
    "other",
    [
        lambda: [image(phase=i) for i in range(25)],
        lambda: [image(meta={"SequenceDescription": "cine_sax"}, phase=i) for i in range(25)],
        lambda: [image(meta={"SequenceDescription": "PSIR", "InversionTime": 300.0})],
        lambda: [image(meta={"SequenceDescription": "localizer"}, slice=i) for i in range(3)],
        lambda: [replace_type(each, ImageType.PHASE) for each in molli()],
        lambda: [Image.from_pixels(np.ones((4, 1, 16, 16), np.float32), ImageHeader(), {"InversionTime": 1})],
        lambda: [Image.from_pixels(np.ones((1, 4, 16, 16), np.float32), ImageHeader(), {"InversionTime": 1})],
        lambda: [image(meta={"GADGETRON_DataRole": "T1SD", "SequenceDescription": "T1map"})],
        lambda: [image(meta={"GADGETRON_DataRole": "T1", "MYOSTREAM_RESULT": "{}"})],
    ],
)
def test_nothing_else_in_the_stream_becomes_a_series(other):
    _ready, everything = feed([*other(), *molli(image_series_index=9)], MeasurementHeader(maxima={"set": 7}))
    assert len(everything) == 1
    assert everything[0].identity.series_index == 9


def test_a_series_waits_for_no_image_of_the_other_quantity():
    assembler = SeriesAssembler(counted(8), AT_ONCE)
    for each in (*molli(), *t2prep(image_series_index=2)):
        assembler.add(each, 0.0)
    (only,) = assembler.expire(AT_ONCE.idle_s)
    assert only.quantity is Quantity.T2
    assert only.flags == ()


@pytest.mark.parametrize(
    ("shape", "fields", "reason"),
    [
        ((1, 3, 16, 16), {}, "16 x 16 x 3 pixels in 1 channel:"),
        ((4, 1, 16, 20), {}, "20 x 16 x 1 pixels in 4 channels:"),
        ((3, 1, 16, 16), {"image_type": ImageType.RGB}, "colour image of 16 x 16 pixels:"),
    ],
)
def test_images_of_another_size_are_named_with_it(shape, fields, reason):
    made = Image.from_pixels(np.ones(shape, np.uint16), ImageHeader(**fields))
    assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)
    assembler.add(made, 0.0)
    ((unused, count),) = assembler.account().unused.items()
    assert unused.startswith(reason)
    assert "send" in unused
    assert count == 1


def test_a_series_is_not_open_for_ever_however_often_an_image_comes():
    settings = AssemblySettings(open_s=100.0, patience_s=30.0, corrected_wait_s=0.0)
    assembler = SeriesAssembler(MeasurementHeader(maxima={"set": 1999}), settings)
    ready = []
    for number in range(12):
        ready += assembler.add(molli(times=[100 + 100 * i for i in range(12)])[number], 20.0 * number)
        ready += assembler.expire(20.0 * number + 5.0)
    assert [len(each.series.images) for each in ready] == [6, 6]
    assert all(each.flags == (Flag.MISSING_IMAGES,) for each in ready)
    assert all("was open for 100 s (setting assembly.open_s)" in each.notes[0] for each in ready)


def test_names_that_number_the_images_are_one_series():
    images = [
        image(i + 1.0, {"SequenceDescription": f"MOLLI TI {time} ms", "InversionTime": time}, set=i)
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    images[3] = image(4.0, {"InversionTime": 2800}, set=3)
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8]


def test_a_stated_number_of_few_images_is_whole():
    few = [100, 1000, 1900, 180, 1080]
    _, (only,) = feed(molli(few), settings=AssemblySettings(corrected_wait_s=0.0, images=5))
    assert only.flags == ()
