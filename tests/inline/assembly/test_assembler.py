import base64
import json
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.assembly import assembler as assembler_module
from inline.assembly.assembled import Failed, Ready
from inline.assembly.assembler import MEMORY, Account, SeriesAssembler
from inline.data.flags import Flag
from inline.data.memory import MemoryBudget
from inline.data.series import MappingSeries, MapSeries, Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

TIMES = {
    "5(3)3": [100, 1000, 1900, 2800, 3700, 180, 1080, 1980],
    "4(1)3(1)2": [100, 1000, 1900, 2800, 180, 1080, 1980, 260, 1160],
    "3(3)5": [100, 1000, 1900, 180, 1080, 1980, 2880, 3780],
    "3(3)3(3)5": [100, 1000, 1900, 180, 1080, 1980, 260, 1160, 2060, 2960, 3860],
}


def image(value=1.0, meta=None, *, shape=(16, 16), dtype=np.float32, **fields):
    header = ImageHeader(
        **{
            "field_of_view": (24.0, 24.0, 8.0),
            "read_dir": (1.0, 0.0, 0.0),
            "phase_dir": (0.0, 1.0, 0.0),
            "image_series_index": 3,
            **fields,
        }
    )
    return Image.from_pixels(np.full((1, 1, *shape), value, dtype), header, meta or {})


def molli(times=None, slice_index=0, description="T1map_MOLLI", **fields):
    times = TIMES["5(3)3"] if times is None else times
    return [
        image(
            i + 1.0,
            {"SequenceDescription": description, "InversionTime": time},
            slice=slice_index,
            set=i,
            **fields,
        )
        for i, time in enumerate(times)
    ]


def t2prep(times=(0, 25, 55), slice_index=0, **fields):
    return [
        image(
            i + 1.0,
            {"SequenceDescription": "T2map", "T2PrepDuration": time},
            slice=slice_index,
            set=i,
            **fields,
        )
        for i, time in enumerate(times)
    ]


AT_ONCE = AssemblySettings(corrected_wait_s=0.0)
"""No series waits for a motion-corrected one."""


def feed(images, header=None, settings=AT_ONCE, *, early=False):
    assembler = SeriesAssembler(header or MeasurementHeader(), settings)
    ready = [
        assembled for number, each in enumerate(images) for assembled in assembler.add(each, float(number))
    ]
    return ready, ready + assembler.finish(early=early)


def counted(number):
    return MeasurementHeader(maxima={"set": number - 1, "slice": 2})


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


def test_without_a_stated_number_a_series_waits_for_a_pause_or_the_end():
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings(idle_s=2.0, corrected_wait_s=0.0))
    for number, each in enumerate(molli()):
        assert assembler.add(each, 0.1 * number) == []
    assert assembler.expire(1.0) == []
    (ready,) = assembler.expire(5.0)
    assert len(ready.series.times_ms) == 8
    assert ready.flags == ()
    assert assembler.finish() == []


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


def test_a_series_index_of_its_own_for_each_image_is_named_as_the_reason():
    _, ready = feed(
        [replace(each, header=replace(each.header, image_series_index=i)) for i, each in enumerate(molli())]
    )
    assert len(ready) == 8
    assert all("one header, series index and plane" in each.error for each in ready)


def test_a_duplicate_after_completion_starts_no_series():
    images = molli()
    ready, everything = feed([*images, images[3]], counted(8))
    assert len(ready) == len(everything) == 1


def test_a_repeated_measurement_is_a_second_series():
    again = [replace(each, data=np.full((1, 1, 16, 16), 9.0, np.float32).tobytes()) for each in molli()]
    ready, _ = feed([*molli(), *again], counted(8))
    assert len(ready) == 2
    assert ready[1].series.images.min() == 9.0


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


def replace_type(each, kind):
    return replace(each, header=replace(each.header, image_type=kind))


@pytest.mark.parametrize(
    ("meta", "quantity"),
    [
        ({"GADGETRON_DataRole": ["T1"]}, Quantity.T1),
        ({"DataRole": "T2"}, Quantity.T2),
        ({"ImageType": "DERIVED\\PRIMARY\\M\\T1 MAP\\ND\\MOCO"}, Quantity.T1),
        ({"DicomImageType": "DERIVED\\PRIMARY\\T2 MAP\\ND"}, Quantity.T2),
        ({"SequenceDescription": "t1map_long_t1_3sl_192i_MOCO_T1"}, Quantity.T1),
        ({"SequenceDescription": "T2Map_FLASH_3sl_MOCO_T2"}, Quantity.T2),
        ({"SeriesDescription": "SAX T1 map", "ImageType": "DERIVED\\PRIMARY\\M"}, Quantity.T1),
    ],
)
def test_scanner_made_maps_are_recognised(meta, quantity):
    value = 1000.0 if quantity is Quantity.T1 else 60.0
    ready, everything = feed([image(value, meta)])
    assert len(ready) == len(everything) == 1
    assert isinstance(ready[0].series, MapSeries)
    assert ready[0].quantity is quantity
    assert ready[0].series.values_ms[0, 0] == value


@pytest.mark.parametrize("meta", [{"DataRole": "T1"}, {"SequenceDescription": "MOLLI_MOCO_T1"}])
def test_a_scanner_made_map_that_comes_twice_is_one_result(meta):
    made = image(950.0, meta)
    again = replace(made, header=replace(made.header, image_index=2))  # a copy under another instance UID
    assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)
    assert [len(assembler.add(each, 0.0)) for each in (made, made, again)] == [1, 0, 0]
    assert assembler.finish() == []
    account = assembler.account()
    assert (account.images, account.used, account.unused) == (3, 1, {"sent twice": 2})


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 951.0},  # repeated with the same counters
        {"repetition": 1},
        {"slice": 1},
        {"image_series_index": 4},
        {"position": (0.0, 0.0, 20.0)},
        {"meta": {"DataRole": "T2"}},
    ],
)
def test_another_scanner_made_map_is_a_result_of_its_own(fields):
    values = {"value": 950.0, "meta": {"DataRole": "T1"}}
    ready, _ = feed([image(**values), image(**values | fields), image(**values)])
    assert len(ready) == 2


def test_a_connection_remembers_a_bounded_number_of_slices(monkeypatch):
    monkeypatch.setattr(assembler_module, "_REMEMBERED", 20)
    assembler = SeriesAssembler(MeasurementHeader(maxima={"set": 2}), AT_ONCE)
    for place in range(60):
        for each in t2prep(position=(0.0, 0.0, 10.0 * place)):
            assembler.add(each, float(place))
    assert assembler.account().series == 60
    assert max(len(each) for each in vars(assembler).values() if isinstance(each, dict | set)) <= 20


def test_of_very_many_maps_the_latest_are_recognised_again_and_the_first_are_forgotten():
    """The memory of a connection of many hours is bounded."""
    assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)

    def results(number):
        return len(assembler.add(image(950.0 + number, {"DataRole": "T1"}, shape=(8, 8)), 0.0))

    assert {results(number) for number in range(6000)} == {1}
    assert {results(number) for number in range(5500, 6000)} == {0}
    assert results(0) == 1


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"GADGETRON_ScaleRatio": 10}, 52.5),
        ({"GADGETRON_ScaleRatio": 10, "GADGETRON_ScaleOffset": 25}, 50.0),
        ({"RescaleSlope": 0.1, "RescaleIntercept": 1.0}, 53.5),
        (
            {"DicomJson": base64.b64encode(json.dumps({"00281053": {"Value": [0.5]}}).encode()).decode()},
            262.5,
        ),
        ({}, 525.0 * 0.1),
    ],
)
def test_map_scales(meta, expected):
    ready, _ = feed(
        [image(525, {"DataRole": "T2", **meta}, dtype=np.uint16)], settings=AssemblySettings(t2_map_scale=0.1)
    )
    assert ready[0].series.values_ms[3, 3] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("slope", [None, 1.0])
def test_the_note_on_a_converted_map_advises_to_state_only_what_is_not_stated(slope):
    meta = {} if slope is None else {"RescaleSlope": slope}
    ready, _ = feed([image(10_000, {"DataRole": "T1", **meta}, dtype=np.uint16)])
    assert ready[0].series.values_ms[3, 3] == pytest.approx(1000.0)
    (note,) = ready[0].notes
    assert "in 0.1 ms" in note
    assert ("state its scale" in note) is (slope is None)
    assert ("(slope 1) gives values that no tissue has" in note) is (slope is not None)


def times_of(images, header):
    _, everything = feed(images, header)
    assert isinstance(everything[0], Ready)
    return everything[0].series.times_ms.tolist()


def test_times_in_their_order_of_precedence():
    listed = TIMES["5(3)3"]
    header = MeasurementHeader(
        protocol_name="MOLLI", inversion_times=tuple(map(str, listed)), maxima={"set": 7}
    )
    in_header = [image(i, set=i, user_int=(0,) * 7 + (100_000 + i * 1_000_000,)) for i in range(8)]
    assert times_of(in_header, header) == sorted(listed)
    own = [image(i, {"InversionTime": 100 * i + 50}, set=i) for i in range(8)]
    assert times_of(own, header) == [100 * i + 50 for i in range(8)]
    gadgetron_first = [image(i, {"InversionTime": 1, "GADGETRON_TI": 70 * i + 70}, set=i) for i in range(8)]
    assert times_of(gadgetron_first, header) == [70 * i + 70 for i in range(8)]
    by_user_field = MeasurementHeader(protocol_name="MOLLI", maxima={"set": 7})
    assert times_of(in_header, by_user_field) == [100 + i * 1000 for i in range(8)]


def test_times_listed_by_another_counter_or_in_seconds():
    header = MeasurementHeader(
        protocol_name="MOLLI",
        inversion_times=("0.1", "0.18", "1.0", "1.9", "2.8"),
        maxima={"contrast": 4},
    )
    assert times_of([image(i, contrast=i) for i in range(5)], header) == [100, 180, 1000, 1900, 2800]


def test_times_from_the_dicom_header_and_from_comments():
    def dicom(time):
        return base64.b64encode(json.dumps({"00180082": {"vr": "DS", "Value": [time]}}).encode()).decode()

    images = [image(meta={"DicomJson": dicom(time)}, phase=i) for i, time in enumerate(TIMES["5(3)3"])]
    assert times_of(images, None) == sorted(TIMES["5(3)3"])
    comments = [
        image(meta={"ImageComments": f"T2 prep. duration = {time} ms"}, set=i)
        for i, time in enumerate((0, 30, 55))
    ]
    assert times_of(comments, None) == [0, 30, 55]


@pytest.mark.parametrize(("stated", "noted"), [("00", False), ("01", True)])
def test_loss_that_the_dicom_header_states_is_noted(stated, noted):
    images = [
        image(meta={"InversionTime": time, **as_json(_00282110={"vr": "CS", "Value": [stated]})}, set=i)
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    _, (only,) = feed(images, counted(8))
    assert any("compressed with loss" in note for note in only.notes) is noted


def test_preparation_times_from_the_header():
    numbered = MeasurementHeader(
        protocol_name="T2map",
        parameters={f"T2PrepDuration_{i}": f"{time}" for i, time in enumerate((0, 25, 55))},
    )
    assert times_of([image(set=i) for i in range(3)], numbered) == [0, 25, 55]
    listed = MeasurementHeader(protocol_name="t2_prep", echo_times=("0.0", "30.0", "60.0"))
    assert times_of([image(contrast=i) for i in range(3)], listed) == [0, 30, 60]


@pytest.mark.parametrize(
    ("listed", "limit", "images", "expected"),
    [
        ((10, 30, 60), 3, 3, [10, 30, 60]),
        ((25, 40, 55), 4, 4, [0, 25, 40, 55]),
        ((25, 40, 55), None, 4, [0, 25, 40, 55]),
        ((0, 25, 55), None, 3, [0, 25, 55]),
        ((10, 30, 60), None, 3, None),
        ((25, 40, 55), 4, 3, [0, 25, 40]),
        ((25, 40, 55, 0, 0, 0), 3, 3, [25, 40, 55]),
        ((25, 40, 55, 0, 0, 0), 4, 4, [0, 25, 40, 55]),
        ((25, 40, 55, 0, 0, 0), None, 4, None),
        ((25, 40, 55, 0), 3, 3, [25, 40, 55]),
        ((25, 40, 55, 0), 4, 4, None),
        ((25, 55, 0, 0, 0), 5, 5, [0, 0, 0, 25, 55]),
    ],
    ids=[
        "from 1",
        "0 left out",
        "no limit",
        "0 is listed",
        "ambiguous",
        "one is missing",
        "padded",
        "padded, 0 left out",
        "padded, no limit",
        "one zero pads",
        "one zero is ambiguous",
        "zeros are times",
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_preparation_times_that_are_numbered_from_one(listed, limit, images, expected, first):
    header = MeasurementHeader(
        protocol_name="T2map",
        parameters={f"T2PrepDuration_{i}": f"{time}" for i, time in enumerate(listed, start=1)},
        maxima={"set": first + limit - 1} if limit else {},
        minima={"set": first} if limit else {},
    )
    _, (only,) = feed([image(i + 1.0, set=first + i) for i in range(images)], header)
    if expected is None:
        assert "T2PrepDuration_0" in only.error
    else:
        assert only.series.times_ms.tolist() == expected
        assert only.flags == ((Flag.MISSING_IMAGES,) if images < (limit or 0) else ())


def test_a_list_from_one_beside_times_of_the_images_is_no_other_list():
    header = MeasurementHeader(
        protocol_name="T2map", parameters={f"T2PrepDuration_{i}": f"{30 * i}" for i in (1, 2, 3)}
    )
    _, (only,) = feed(t2prep((30, 60, 90)), header)
    assert (only.flags, only.notes) == ((), ())
    ready, (only,) = feed(t2prep((0, 30, 60, 90)), header)
    assert (only.flags, only.notes) == ((), ())
    assert ready == [only]


def test_images_that_the_index_alone_counts_do_not_show_if_a_zero_is_left_out():
    header = MeasurementHeader(
        protocol_name="T2map", parameters={f"T2PrepDuration_{i}": f"{30 * i}" for i in (1, 2, 3)}
    )
    _, (only,) = feed([image(k + 1.0, image_index=k + 1) for k in range(3)], header)
    assert "of 3 images as T2PrepDuration_1 to _3" in only.error


@pytest.mark.parametrize("limited", [False, True])
def test_zeros_that_pad_a_list_are_no_missing_images(limited):
    times = TIMES["5(3)3"]
    padded = MeasurementHeader(
        protocol_name="MOLLI",
        inversion_times=tuple(map(str, [*times, *[0] * 8])),
        maxima={"set": 7} if limited else {},
    )
    ready, everything = feed([image(k + 1.0, set=k) for k in range(8)], padded)
    assert (len(ready), len(everything)) == (1, 1)
    assert ready[0].flags == ()
    assert ready[0].series.times_ms.tolist() == sorted(times)
    t2 = MeasurementHeader(
        protocol_name="T2map",
        parameters={f"T2PrepDuration_{i}": f"{time}" for i, time in enumerate((0, 25, 55, 0, 0))},
        maxima={"set": 2 if limited else 4},
    )
    came = 3 if limited else 5
    ready, everything = feed([image(k + 1.0, set=k) for k in range(came)], t2)
    assert (len(ready), len(everything)) == (1, 1)
    assert ready[0].flags == ()
    assert ready[0].series.times_ms.tolist() == sorted((0, 25, 55, 0, 0)[:came])


@pytest.mark.parametrize("name", ["T1map", "T2map", "myocardium"])
def test_a_joint_acquisition_of_t1_and_t2_is_not_fitted(name):
    """Images after inversions alone come first, then those after an inversion and a T2 preparation."""
    schedule = [*((time, 0) for time in TIMES["5(3)3"]), *((1200, prep) for prep in (25, 40, 55))]
    images = [
        image(k + 1.0, {"SeriesDescription": name, "InversionTime": ti, "T2PrepDuration": prep}, set=k)
        for k, (ti, prep) in enumerate(schedule)
    ]
    _, (only,) = feed(images)
    assert "joint acquisition of T1 and T2" in only.error


@pytest.mark.parametrize("times", [(0, 25, 40, 55), (0, 10, 25), (0, 10, 20), (5, 10, 15, 20)])
@pytest.mark.parametrize("offset", [0, 0.4, 5])
def test_preparation_times_may_stand_in_the_place_of_inversion_times_too(times, offset):
    images = [
        image(k + 1.0, {"SeriesDescription": "T2map", "T2PrepDuration": ms, "TI": ms + offset}, set=k)
        for k, ms in enumerate(times)
    ]
    assert times_of(images, None) == list(times)


@pytest.mark.parametrize(("wobble", "is_joint"), [(6, False), (10, True)])
def test_offsets_to_preparation_times_that_differ_by_less_than_a_twentieth_are_one(wobble, is_joint):
    images = [
        image(k + 1.0, {"SeriesDescription": "T2map", "T2PrepDuration": ms, "TI": ms + 100 + extra}, set=k)
        for k, (ms, extra) in enumerate(((0, 0), (25, wobble), (55, 0)))
    ]
    _, (only,) = feed(images)
    assert isinstance(only, Failed) is is_joint


def test_a_preparation_of_zero_beside_inversion_times_is_none():
    images = [
        image(k + 1.0, {"InversionTime": ms, "T2PrepDuration": 0}, set=k)
        for k, ms in enumerate(TIMES["5(3)3"])
    ]
    _, (only,) = feed(images)
    assert only.quantity is Quantity.T1
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    for ti in (0, 300):  # that of the protocol
        t2 = [
            image(k + 1.0, {"InversionTime": ti, "T2PrepDuration": ms}, set=k)
            for k, ms in enumerate((0, 25, 55))
        ]
        _, (only,) = feed(t2)
        assert (only.quantity, only.series.times_ms.tolist()) == (Quantity.T2, [0, 25, 55])


def test_a_missing_image_beside_a_preparation_of_zero_is_flagged():
    def unnamed(slice_, count):
        times = TIMES["5(3)3"][:count]
        return [
            image(k + 1.0, {"InversionTime": ms, "T2PrepDuration": 0}, set=k, slice=slice_)
            for k, ms in enumerate(times)
        ]

    _, (first, second) = feed([*unnamed(0, 8), *unnamed(1, 7)], counted(8))
    assert (first.flags, second.flags) == ((), (Flag.MISSING_IMAGES,))
    t2 = [image(k + 1.0, {"T2PrepDuration": ms}, set=k, slice=2) for k, ms in enumerate((0, 25, 55))]
    _, (first, last) = feed([*unnamed(0, 8), *t2], counted(8))
    assert (first.quantity, last.quantity, last.flags) == (Quantity.T1, Quantity.T2, ())


def test_an_inversion_time_of_the_first_image_alone_does_not_hide_preparation_times():
    times = [{"InversionTime": 300, "T2PrepDuration": 0}, {"T2PrepDuration": 25}, {"T2PrepDuration": 55}]
    _, (only,) = feed([image(k + 1.0, each, set=k) for k, each in enumerate(times)])
    assert (only.quantity, only.series.times_ms.tolist()) == (Quantity.T2, [0, 25, 55])


@pytest.mark.parametrize("text", ["", "n/a"])
def test_a_preparation_time_that_is_no_number_is_none(text):
    times = [{"InversionTime": ms, "T2PrepDuration": text} for ms in TIMES["5(3)3"]]
    _, (only,) = feed([image(k + 1.0, each, set=k) for k, each in enumerate(times)], counted(8))
    assert (only.quantity, only.series.times_ms.tolist()) == (Quantity.T1, sorted(TIMES["5(3)3"]))


@pytest.mark.parametrize("more", [{}, {"InversionTime": 300}], ids=["alone", "beside that of the protocol"])
@pytest.mark.parametrize("unreadable", range(4))
def test_a_preparation_time_that_is_no_number_takes_only_itself_from_a_t2_series(unreadable, more):
    times = [0, 25, 40, 55]
    texts = ["n/a" if k == unreadable else ms for k, ms in enumerate(times)]
    _, (only,) = feed(
        [image(k + 1.0, {"T2PrepDuration": text, **more}, set=k) for k, text in enumerate(texts)]
    )
    assert only.quantity is Quantity.T2
    assert only.series.times_ms.tolist() == [ms for k, ms in enumerate(times) if k != unreadable]
    assert Flag.UNREADABLE_TIMES in only.flags


def as_json(**elements):
    content = {tag.strip("_"): value for tag, value in elements.items()}
    return {"DicomJson": base64.b64encode(json.dumps(content).encode()).decode()}


def mini_head(time):
    text = f'<ParamDouble."TI"> {{ <Precision> 6 {time:.6f} }}'
    return {"IceMiniHead": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    "elsewhere",
    [
        mini_head,
        lambda ms: as_json(_00180082={"vr": "DS", "Value": [ms]}),
        lambda ms: {"ImageComments": f"TI {ms} ms"},
        lambda ms: {"ImageComments": f"MOLLI TIeff {ms} ms"},
        lambda ms: as_json(
            _20010010={"vr": "LO", "Value": ["Philips Imaging DD 001"]},
            _2001101B={"vr": "FL", "Value": [ms]},
        ),
    ],
    ids=["IceMiniHead", "DicomJson", "comment", "TIeff", "Philips"],
)
@pytest.mark.parametrize("same", [{"InversionTime": 300}, {}], ids=["one time first", "none first"])
@pytest.mark.parametrize("name", ["T1map", "myocardium"])
def test_one_time_at_the_first_place_does_not_hide_others(elsewhere, same, name):
    images = [
        image(k + 1.0, {"SeriesDescription": name, **same, **elsewhere(ms)}, set=k)
        for k, ms in enumerate(TIMES["5(3)3"])
    ]
    ready, (only,) = feed(images, counted(8))
    assert (only.series.times_ms.tolist(), only.flags) == (sorted(TIMES["5(3)3"]), ())
    assert ready == [only]
    twice, _ = feed([*images, *[replace(each, data=each.data[::-1]) for each in images]], counted(8))
    assert len(twice) == 2


def echo(ms):
    return as_json(_00180081={"vr": "DS", "Value": [ms]})


_PAIRS = (0, 0, 25, 25, 55, 55)
_NOMINAL = [100] * 5 + [180] * 3


@pytest.mark.parametrize(
    ("metas", "expected"),
    [
        ([{"T2PrepDuration": ms, **echo(26 + k)} for k, ms in enumerate(_PAIRS)], _PAIRS),
        ([{"T2PrepDuration": ms, **echo(25 + 0.3 * (k % 2))} for k, ms in enumerate(_PAIRS)], _PAIRS),
        (
            [
                {"T2PrepDuration": ms, "ImageComments": f"T2 prep. duration = {ms + 0.3 * k} ms"}
                for k, ms in enumerate(_PAIRS)
            ],
            _PAIRS,
        ),
        ([{"T2PrepDuration": 40, **echo(26 + k)} for k in range(6)], range(26, 32)),
        (
            [
                {"InversionTime": one, **mini_head(ms)}
                for one, ms in zip(_NOMINAL, TIMES["5(3)3"], strict=True)
            ],
            TIMES["5(3)3"],
        ),
        (
            [
                {"InversionTime": 300, **mini_head(one), **as_json(_00180082={"Value": [ms]})}
                for one, ms in zip(_NOMINAL, TIMES["5(3)3"], strict=True)
            ],
            TIMES["5(3)3"],
        ),
        (
            [{"InversionTime": ms, **mini_head(ms + k / 2)} for k, ms in enumerate(TIMES["5(3)3"])],
            TIMES["5(3)3"],
        ),
        (
            [{"InversionTime": 300, **(mini_head(ms) if k else {})} for k, ms in enumerate(TIMES["5(3)3"])],
            TIMES["5(3)3"][1:],
        ),
    ],
    ids=[
        "echo times",
        "echo times of averages",
        "measured preparations",
        "one preparation",
        "one time an inversion",
        "likewise at the second place",
        "measured inversion times",
        "one image lacks its own",
    ],
)
@pytest.mark.parametrize("order", ["sent", "reversed", "alternating", "shuffled"])
def test_the_place_of_times_is_the_same_in_any_order(metas, expected, order):
    name = "T2map" if len(metas) == 6 else "MOLLI"
    images = [image(k + 1.0, {"SeriesDescription": name, **each}, set=k) for k, each in enumerate(metas)]
    orders = {
        "sent": images,
        "reversed": images[::-1],
        "alternating": [*images[::2], *images[1::2]],
        "shuffled": [images[(5 * k + 3) % len(images)] for k in range(len(images))],
    }
    _, (only,) = feed(orders[order], counted(len(images)))
    assert only.series.times_ms.tolist() == sorted(expected)


_T1_TIMES, _T2_TIMES = TIMES["5(3)3"], (0, 25, 55)


@pytest.mark.parametrize(
    ("times", "taken", "other", "said", "flagged"),
    [
        (_T1_TIMES, "GADGETRON_TI", lambda ms: {"InversionTime": ms + 300}, "InversionTime", True),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms - 60}, "TI", True),
        (_T1_TIMES, "InversionTime", lambda ms: mini_head(ms + 300), "IceMiniHead", True),
        (_T1_TIMES, "InversionTime", lambda ms: {"ImageComments": f"TI {ms + 150} ms"}, "comment", True),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms + 17}, "TI", False),
        # The protocol's heartbeat of 1000 ms, and one of 850.
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms - 150 * (ms // 1000)}, "TI", False),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": 2 * ms}, "GADGETRON_T2Prep", True),
        (_T2_TIMES, "T2PrepTime", lambda ms: {"GADGETRON_T2Prep": ms + 10}, "GADGETRON_T2Prep", True),
    ],
)
def test_places_that_contradict_each_other(times, taken, other, said, flagged):
    metas = [{"SeriesDescription": "heart", taken: ms, **other(ms)} for ms in times]
    _, (only,) = feed([image(k + 1.0, each, set=k) for k, each in enumerate(metas)], counted(len(times)))
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == ((Flag.UNREADABLE_TIMES,) if flagged else ())
    (note,) = only.notes
    assert f"at {said}, such as" in note


@pytest.mark.parametrize(
    ("times", "taken", "other"),
    [
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms / 1000}),  # seconds
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": f"{ms / 1000} s"}),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": 1000 * ms}),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": 1.004 * ms + 1}),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": 300}),  # that of the protocol
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": 100 + 80 * (_T1_TIMES.index(ms) > 4)}),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms + 300} if ms > 200 else {}),
        (_T1_TIMES, "InversionTime", lambda ms: {"T2PrepDuration": 0}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"T2PrepTime": ms + 1}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"T2PrepTime": ms / 1000}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"T2PrepTime": 40}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: echo(1.1 + 30 * ms)),
    ],
)
def test_places_that_may_all_be_right(times, taken, other):
    metas = [
        {"SeriesDescription": "T2map" if 0 in times else "MOLLI", taken: ms, **other(ms)} for ms in times
    ]
    _, (only,) = feed([image(k + 1.0, each, set=k) for k, each in enumerate(metas)], counted(len(times)))
    assert only.series.times_ms.tolist() == sorted(times)
    assert (only.flags, only.notes) == ((), ())


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


def test_one_time_alone_is_named():
    _, (only,) = feed(molli([300] * 8), counted(8))
    assert "1 different inversion time (300 ms)" in only.error
    in_user_field = [
        replace(each, header=replace(each.header, user_int=(*[0] * 7, ms * 1000)))
        for each, ms in zip(molli([300] * 8), TIMES["5(3)3"], strict=True)
    ]
    _, (only,) = feed(in_user_field, counted(8))
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert only.flags == (Flag.UNREADABLE_TIMES,)
    assert "'300': user_int[7]" in only.notes[0]


@pytest.mark.parametrize(
    ("echoes", "name", "expected"),
    [
        ((10, 20, 30, 40), "T2map_GraSE", [10, 20, 30, 40]),
        ((10, 20, 30, 40), "heart", None),
        ((2.2, 4.4, 6.6, 8.8), "T2map", None),
        (tuple(2 + 2.3 * echo for echo in range(12)), "T2map", None),  # gradient echoes to 27.3 ms
        (tuple(range(10, 100, 10)), "T2map_GraSE", list(range(10, 100, 10))),
        ((6, 12, 18, 24, 30, 36), "T2map", [6, 12, 18, 24, 30, 36]),
        ((2, 6, 10, 14, 18, 40), "T2map", [2, 6, 10, 14, 18, 40]),
        ((1.1, 1.1, 1.1, 1.1), "T2map", None),
    ],
)
def test_echo_times_of_a_converted_header(echoes, name, expected):
    def of(image_type):
        own = {"SeriesDescription": name, "ImageType": image_type}
        times = [as_json(_00180081={"vr": "DS", "Value": [ms]}) for ms in echoes]
        return feed([image(k + 1.0, {**own, **each}, set=k) for k, each in enumerate(times)])[1]

    found = [each for each in of("ORIGINAL\\PRIMARY\\M") if isinstance(each, Ready)]
    assert [each.series.times_ms.tolist() for each in found] == ([expected] if expected else [])
    assert all("EchoTime" in each.notes[0] for each in found)
    # One of derived images may be the map.
    derived = [each.series for each in of("DERIVED\\PRIMARY\\M") if isinstance(each, Ready)]
    assert not any(isinstance(each, MappingSeries) for each in derived)


def test_a_header_that_lists_other_times_than_the_images_is_noted():
    listed = MeasurementHeader(maxima={"set": 7}, inversion_times=tuple(map(str, TIMES["5(3)3"])))
    _, (only,) = feed(molli(), listed)
    assert only.notes == ()
    _, (only,) = feed(molli([1.2 * ms for ms in TIMES["5(3)3"]]), listed)
    assert only.flags == ()
    assert "100 ms for 120 ms" in only.notes[0]


def philips(scale, slope, **more):
    return as_json(
        _00281053={"vr": "DS", "Value": [slope]},
        _00281052={"vr": "DS", "Value": [0]},
        _20050010={"vr": "LO", "Value": ["Philips Imaging DD 001"]},
        _20050014={"vr": "LO", "Value": ["Philips MR Imaging DD 001"]},
        _2005140E={"vr": "FL", "Value": [scale]},
        **more,
    )


def test_images_of_philips_are_scaled_by_their_scale_slope():
    """Chenevert et al. 2014: (stored x RS + RI) / (RS x SS); RS alone is that of the display."""
    images = [
        image(
            (k + 1.0) * 2.0,
            {"SeriesDescription": "T2map", "T2PrepDuration": ms, **philips(2.0, 1.0 + 0.1 * k)},
            set=k,
        )
        for k, ms in enumerate((0, 25, 55))
    ]
    _, (only,) = feed(images)
    np.testing.assert_allclose(only.series.images[:, 3, 3], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("rescale", [{}, {"_00281053": {"vr": "DS", "Value": [1]}}])
def test_a_map_has_the_real_world_values_of_its_converted_header(rescale):
    unit = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["ms"]}}]}
    item = {
        "00409225": {"vr": "FD", "Value": [0.5]},
        "00409224": {"vr": "FD", "Value": [0]},
        "004008EA": unit,
    }
    attributes = as_json(_00409096={"vr": "SQ", "Value": [item]}, **rescale)
    _, (only,) = feed([image(1900.0, {"DataRole": "T1", **attributes})])
    assert only.series.values_ms[3, 3] == 950.0
    _, (own,) = feed([image(1900.0, {"DataRole": "T1", "RescaleSlope": 0.4, **attributes})])
    assert own.series.values_ms[3, 3] == pytest.approx(760.0)
    table = {"vr": "SQ", "Value": [{"00283006": {"vr": "US", "Value": [1, 2]}}]}
    _, (stored,) = feed([image(1900.0, {"DataRole": "T1", **as_json(_00283000=table)})])
    assert (stored.series.values_ms[3, 3], stored.flags) == (1900.0, (Flag.UNREADABLE_ATTRIBUTES,))
    assert stored.notes[0].startswith("Its values are a table (ModalityLUTSequence), which is not read: ")
    in_s = as_json(_00281053={"Value": [0.0005]}, _00281054={"Value": ["s"]})
    _, (only,) = feed([image(1900.0, {"DataRole": "T1", **in_s})])
    assert (only.series.values_ms[3, 3], only.flags) == (pytest.approx(950.0), ())


@pytest.mark.parametrize(
    "unit",
    [
        {"vr": "SH", "Value": ["ms"]},
        {"vr": "SQ", "Value": ["ms"]},
        {"vr": "UN", "InlineBinary": "bXM="},
        {"Value": [1]},
        {"Value": ["a", "b"]},
        {"Value": [{}, "ms"]},
        "ms",
    ],
)
def test_a_unit_of_real_world_values_that_is_no_sequence_is_none(unit):
    item = {"00409225": {"Value": [0.5]}, "00409224": {"Value": [0]}, "004008EA": unit}
    attributes = as_json(_00409096={"vr": "SQ", "Value": [item]})
    _, (only,) = feed([image(950.0, {"DataRole": "T1", **attributes})])
    assert only.series.values_ms[3, 3] == 950.0


def test_a_series_without_times_is_an_error_that_says_where_to_put_them():
    _, (only,) = feed([image(set=i) for i in range(8)], MeasurementHeader(protocol_name="MOLLI"))
    assert isinstance(only, Failed)
    assert "no inversion times" in only.error
    assert "user_int[7] (microseconds)" in only.error
    assert "header lists" not in only.error


@pytest.mark.parametrize("listed", [("100",), ("100", "180"), ("100", "180", "260")])
def test_a_list_with_a_time_for_each_inversion_alone_is_named(listed):
    """As Siemens' raw data: the other times follow from stamps, which are not read."""
    header = MeasurementHeader(protocol_name="MOLLI", inversion_times=listed, maxima={"set": 7})
    _, (only,) = feed([image(set=i, acquisition_time_stamp=1000 + 400 * i) for i in range(8)], header)
    assert "no inversion times for the 8 images" in only.error
    assert f"the header lists {len(listed)}: {', '.join(map(repr, listed))}; from four on" in only.error


def test_geometry_that_gives_no_pixel_size_is_an_error():
    _, (only,) = feed(molli(field_of_view=(0.0, 0.0, 0.0)), counted(8))
    assert isinstance(only, Failed)
    assert "field_of_view" in only.error


def test_missing_directions_are_flagged():
    ready, _ = feed(molli(read_dir=(0.0, 0.0, 0.0)), counted(8))
    assert isinstance(ready[0], Ready)
    assert not ready[0].geometry.oriented
    assert ready[0].flags == (Flag.NO_ORIENTATION,)


def test_a_position_that_is_no_number_is_noted():
    ready, _ = feed(molli(position=(0.0, float("nan"), 20.0)), counted(8))
    assert isinstance(ready[0], Ready)
    assert not ready[0].geometry.positioned
    assert ready[0].geometry.position == (0.0, 0.0, 0.0)
    (note,) = ready[0].notes
    assert "position (0, nan, 20) of the image headers is not finite" in note
    ready, _ = feed(molli(position=(0.0, 0.0, 0.0)), counted(8))
    assert ready[0].geometry.positioned
    assert ready[0].notes == ()


def test_slices_without_a_counter_are_told_apart_by_position():
    images = [*molli(position=(0.0, 0.0, 0.0)), *molli(position=(0.0, 0.0, 20.0))]
    ready, everything = feed(images, counted(8))
    assert len(ready) == len(everything) == 2


def test_values_that_are_no_numbers_are_flagged():
    images = molli()
    bad = np.ones((1, 1, 16, 16), np.float32)
    bad[0, 0, 3, 4] = np.nan
    images[2] = replace(images[2], data=bad.tobytes())
    ready, _ = feed(images, counted(8))
    assert Flag.NON_FINITE_PIXELS in ready[0].flags


@pytest.mark.parametrize(
    ("bad", "said"), [((2,), "the pixels at 1000 ms"), (range(8), "of all images"), ((), "")]
)
def test_images_without_numbers_are_named(bad, said):
    images = molli()
    nothing = np.full((1, 1, 16, 16), np.nan, np.float32)
    nan_at = {sorted(TIMES["5(3)3"])[number] for number in bad}
    images = [
        replace(each, data=nothing.tobytes()) if time in nan_at else each
        for each, time in zip(images, TIMES["5(3)3"], strict=True)
    ]
    (only,), _ = feed(images, counted(8))
    assert (Flag.NON_FINITE_PIXELS in only.flags) is bool(said)
    assert [said in note for note in only.notes] == [True] * bool(said)


def test_signed_and_complex_pixels_become_magnitudes():
    for dtype, value, expected in ((np.int16, -32768, 32768.0), (np.complex64, 3 + 4j, 5.0)):
        images = [
            image(value, {"InversionTime": time}, dtype=dtype, set=i) for i, time in enumerate(TIMES["5(3)3"])
        ]
        ready, _ = feed(images, counted(8))
        assert ready[0].series.images.max() == expected


def test_unreadable_attributes_disturb_nothing():
    images = [replace(each, attributes=b"<no") for each in molli()]
    ready, everything = feed(images, MeasurementHeader())
    assert ready == everything == []


@pytest.mark.parametrize("unreadable", [1, 8])
def test_unreadable_attributes_of_one_image_are_flagged_too(unreadable):
    listed = tuple(map(str, TIMES["5(3)3"]))
    header = MeasurementHeader(protocol_name="MOLLI", inversion_times=listed, maxima={"set": 7})
    images = [image(i + 1.0, set=i) for i in range(8)]
    images[:unreadable] = [replace(each, attributes=b"<no") for each in images[:unreadable]]
    _, (only,) = feed(images, header)
    assert len(only.series.times_ms) == 8
    assert only.flags == (Flag.UNREADABLE_ATTRIBUTES,)


def with_times(times, **fields):
    return [
        image(i + 1.0, {"SequenceDescription": "T1map_MOLLI", "InversionTime": time}, set=i, **fields)
        for i, time in enumerate(times)
    ]


def test_an_unreadable_time_is_left_out_and_named():
    times = [*TIMES["5(3)3"]]
    times[3] = "1.7976931348623157e+308"
    _, (only,) = feed(with_times(times), counted(8))
    assert only.series.times_ms.tolist() == sorted(time for time in times if isinstance(time, int))
    assert only.flags == (Flag.UNREADABLE_TIMES,)
    assert "1.7976931348623157e+308" in only.notes[0]


def test_an_unreadable_time_is_taken_from_a_list_that_agrees_with_the_others():
    times = [*TIMES["5(3)3"]]
    header = replace(counted(8), inversion_times=tuple(map(str, times)))
    _, (only,) = feed(with_times(["nan", *times[1:]]), header)
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.flags == (Flag.UNREADABLE_TIMES,)
    shifted = replace(header, inversion_times=tuple(str(time + 40) for time in times))
    _, (only,) = feed(with_times(["nan", *times[1:]]), shifted)
    assert only.series.times_ms.tolist() == sorted(times[1:])


@pytest.mark.parametrize(
    ("difference", "agrees"),
    [(lambda ms: 0.9 if ms < 200 else 0.009 * ms, True), (lambda _: 1.9, True), (lambda _: 2.1, False)],
    ids=["1 %", "less than 2 ms", "more than 2 ms"],
)
def test_a_list_agrees_within_2_ms_or_1_percent(difference, agrees):
    times = [*TIMES["5(3)3"]]
    listed = tuple(str(ms + difference(ms)) for ms in times)
    _, (only,) = feed(with_times([*times[:-1], "nan"]), replace(counted(8), inversion_times=listed))
    assert only.flags == (Flag.UNREADABLE_TIMES,)
    assert (len(only.series.times_ms) == 8) is agrees


@pytest.mark.parametrize("values", [range(1, 9), TIMES["5(3)3"]], ids=["numbers", "ms"])
def test_a_user_field_that_holds_no_microseconds_is_no_time(values):
    """Counters would be inversion times of 1 to 8 s."""
    sent = [image(k, set=k, user_int=(0,) * 7 + (value,)) for k, value in enumerate(values)]
    _, (only,) = feed(sent, MeasurementHeader(protocol_name="MOLLI", maxima={"set": 7}))
    assert isinstance(only, Failed)
    assert "no inversion times" in only.error


def test_entries_of_a_list_keep_their_place():
    listed = list(map(str, TIMES["5(3)3"]))
    listed[1] = "NP.FLOAT64(1000.0)"
    header = MeasurementHeader(protocol_name="MOLLI", inversion_times=tuple(listed), maxima={"set": 7})
    _, (only,) = feed([image(i + 1.0, set=i) for i in range(8)], header)
    assert only.series.times_ms.tolist() == [100, 180, 1080, 1900, 1980, 2800, 3700]
    # Each image holds its number from 1: the second one is left out.
    assert sorted(only.series.images[:, 0, 0].tolist()) == [1, 3, 4, 5, 6, 7, 8]
    assert "entry 2 ('NP.FLOAT64(1000.0)')" in only.notes[0]


@pytest.mark.parametrize(("size", "unit"), [(1e-3, "seconds"), (1e3, "microseconds")])
def test_converted_units_are_noted(size, unit):
    _, (only,) = feed(with_times([time * size for time in TIMES["5(3)3"]]), counted(8))
    assert only.series.times_ms == pytest.approx(sorted(TIMES["5(3)3"]))
    assert only.flags == (Flag.CONVERTED_UNIT,)
    assert unit in only.notes[0]


@pytest.mark.parametrize("texts", [["0"] * 8, ["-1"] * 8, ["inf"] * 8])
def test_times_that_are_none_are_an_error_that_says_what_stood_there(texts):
    _, (only,) = feed(with_times(texts), counted(8))
    assert isinstance(only, Failed)
    assert repr(texts[0]) in only.error


def test_one_time_for_all_images_is_an_error():
    _, (only,) = feed(with_times([100] * 8), counted(8))
    assert isinstance(only, Failed)
    assert "1 different inversion time" in only.error


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


def test_a_series_waits_for_no_image_of_the_other_quantity():
    assembler = SeriesAssembler(counted(8), AT_ONCE)
    for each in (*molli(), *t2prep(image_series_index=2)):
        assembler.add(each, 0.0)
    (only,) = assembler.expire(AT_ONCE.idle_s)
    assert only.quantity is Quantity.T2
    assert only.flags == ()


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


@pytest.mark.parametrize(
    "count", [{"set": 1}, {"image_index": 1}, {"image_index": 300}], ids=["set from 1", "index", "index on"]
)
def test_images_that_are_counted_otherwise_find_their_place_in_the_list(count):
    ((name, first),) = count.items()
    header = MeasurementHeader(protocol_name="MOLLI", inversion_times=tuple(map(str, TIMES["5(3)3"])))
    _, (only,) = feed([image(i + 1.0, **{name: first + i}) for i in range(8)], header)
    assert only.series.images[:, 0, 0].tolist() == [1, 6, 2, 7, 3, 8, 4, 5]


def test_a_list_that_does_not_fit_the_images_is_an_error():
    header = MeasurementHeader(
        protocol_name="MOLLI", inversion_times=tuple(map(str, TIMES["5(3)3"][:5])), maxima={"set": 7}
    )
    _, (only,) = feed([image(i + 1.0, set=i) for i in range(8)], header)
    assert isinstance(only, Failed)
    assert "lists 5" in only.error


def as_mini_head(time, index):
    text = (
        f'<XProtocol> {{ <ParamMap."DICOM"> {{ <ParamDouble."TI"> {{ <Precision> 6 {time:.6f} }}\n'
        '<ParamString."SequenceDescription"> { "T1map_MOLLI" } '
        f'<ParamLong."InstanceNumber"> {{ {index} }} }} }}'
    )
    return {"DataRole": "Image", "IceMiniHead": base64.b64encode(text.encode()).decode()}


def test_the_mini_header_of_siemens_names_and_times_the_images():
    times = TIMES["5(3)3"]
    images = [image(i + 1.0, as_mini_head(time, i), set=i) for i, time in enumerate(times)]
    # The header's list holds the protocol's two inversions only.
    header = MeasurementHeader(inversion_times=("100.0", "180.0"), maxima={"set": 7})
    _, (only,) = feed(images, header)
    assert only.series.times_ms.tolist() == sorted(times)
    assert only.identity.description == "T1map_MOLLI"


@pytest.mark.parametrize("tag", ["00180082", "00189079"])
def test_both_tags_of_the_inversion_time_count(tag):
    images = [
        image(
            i + 1.0,
            {"DicomJson": base64.b64encode(json.dumps({tag: {"Value": [time]}}).encode()).decode()},
            set=i,
        )
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    assert times_of(images, None) == sorted(TIMES["5(3)3"])


def moco(**fields):
    return molli(description="T1map_MOLLI_MOCO", **fields)


@pytest.mark.parametrize("index", [3, 4], ids=["one series", "two series"])
def test_raw_beside_motion_corrected_images_make_one_series_of_the_corrected(index):
    images = [each for s in range(3) for each in molli(slice_index=s)]
    images += [each for s in range(3) for each in moco(slice_index=s, image_series_index=index)]
    for order in (images, images[::-1], [*images[24:], *images[:24]]):
        _, everything = feed(order, counted(8), AssemblySettings())
        assert [each.motion_corrected for each in everything] == [True] * 3
        assert {each.identity.slice_index for each in everything} == {0, 1, 2}
        assert all("MOCO" in each.identity.description for each in everything)


@pytest.mark.parametrize("meta", [{"DataRole": ["Image", "MOCO"]}, {"SequenceDescriptionAdditional": "MOCO"}])
def test_corrected_images_named_as_a_map_whose_times_are_listed_are_a_twin(meta):
    header = MeasurementHeader(maxima={"set": 7}, inversion_times=tuple(map(str, TIMES["5(3)3"])))
    sent = [
        image(100.0 * series + k, {"SequenceDescription": "T1map_MOLLI"} | (meta if series > 3 else {}),
              set=k, image_series_index=series)
        for series in (3, 4)
        for k in range(8)
    ]  # fmt: skip
    for order in (sent, sent[8:] + sent[:8]):
        _, (only,) = feed(order, header, AssemblySettings())
        assert only.motion_corrected
        assert only.series.images.min() == 400.0


@pytest.mark.parametrize(
    ("motion", "corrected"), [("corrected", [True]), ("uncorrected", [False]), ("both", [False, True])]
)
def test_the_setting_decides_which_images_are_fitted(motion, corrected):
    assembler = SeriesAssembler(counted(8), AssemblySettings(motion=motion))
    ready = [each for one in (*molli(), *moco()) for each in assembler.add(one, 0.0)]
    assert [each.motion_corrected for each in ready] == corrected
    assert assembler.finish() == []
    assert sum(assembler.account().unused.values()) == 16 - 8 * len(corrected)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_corrected_images_of_a_repeated_t2_leave_the_first_acquisition(order):
    """Preparation times are the same in both; only the second acquisition is corrected by the scanner."""

    def series(index, start, value, **meta):
        return [
            image(
                value + k,
                {"SequenceDescription": "T2map", "T2PrepDuration": time, **meta},
                set=k,
                image_series_index=index,
                acquisition_time_stamp=start + 1600 * k,
            )
            for k, time in enumerate((0, 25, 55))
        ]

    sent = [series(1, 1000, 1.0), series(2, 61_000, 11.0), series(3, 61_000, 21.0, DataRole="MOCO")]
    settings = AssemblySettings(images=3)
    _, everything = feed([each for number in order for each in sent[number]], settings=settings)
    assert sorted(pixels_of(everything)) == [[1.0, 2.0, 3.0], [21.0, 22.0, 23.0]]


def test_a_series_as_acquired_waits_only_while_a_corrected_one_may_come():
    assembler = SeriesAssembler(counted(8), AssemblySettings(corrected_wait_s=1.0))
    assert [each for one in molli() for each in assembler.add(one, 0.0)] == []
    assert assembler.expire(0.5) == []
    assert len(assembler.expire(1.0)) == 1
    # This sender has shown that it sends none.
    assert len([each for one in molli(slice_index=1) for each in assembler.add(one, 2.0)]) == 1


@pytest.mark.parametrize(
    ("shift", "slices"), [(0.02, 1), (1.5, 1), (8.0, 2)], ids=["rounding", "table", "another slice"]
)
def test_images_of_a_slice_may_lie_a_little_apart(shift, slices):
    images = [
        image(
            i + 1.0,
            {"SequenceDescription": "T1map_MOLLI", "InversionTime": time},
            set=i,
            position=(0.0, 0.0, 0.49 + (shift if i % 2 else 0.0)),
        )
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    _, everything = feed(images, counted(8))
    assert len(everything) == slices


def test_a_stated_slope_applies_to_weighted_images():
    images = [
        image(
            1000.0 / (2.0 if i == 3 else 1.0),
            {"InversionTime": time, "RescaleSlope": 2 if i == 3 else 1, "RescaleIntercept": 0},
            set=i,
        )
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    _, (only,) = feed(images, counted(8))
    assert np.unique(only.series.images).tolist() == [1000.0]


def test_phase_sensitive_images_keep_their_sign():
    images = [replace_type(each, ImageType.REAL) for each in molli()]
    images = [replace(each, data=(-each.pixels).tobytes()) for each in images]
    _, (only,) = feed(images, counted(8))
    assert only.series.signed
    assert only.series.images.max() < 0


@pytest.mark.parametrize(("first", "lacks"), [(350, False), (390, False), (420, True), (600, True)])
def test_a_t1_series_whose_first_time_is_no_first_one_of_molli_lacks_images(first, lacks):
    """Groups of images begin 100 to 350 ms after an inversion (Messroghli et al. 2004)."""
    _, (only,) = feed(molli([ms + first - 100 for ms in TIMES["5(3)3"]]), counted(8))
    assert (Flag.MISSING_IMAGES in only.flags) is lacks
    assert any(f"{first} ms, that of a whole MOLLI series" in note for note in only.notes) is lacks


@pytest.mark.parametrize("stated", [{}, {"RescaleSlope": 2, "RescaleIntercept": 0}])
def test_images_scaled_one_by_one_are_flagged(stated):
    """A scale that all of them state does not make them so."""
    noise = np.random.default_rng(0).random((16, 16), np.float32)
    images = [
        replace(each, data=(2048 * noise).astype(np.float32)[None, None].tobytes())
        for each in (
            image(k + 1.0, {"InversionTime": ms, **stated}, set=k) for k, ms in enumerate(TIMES["5(3)3"])
        )
    ]
    _, (only,) = feed(images, counted(8))
    assert Flag.SCALED_IMAGES in only.flags
    assert "AutoScaleGadget" in only.notes[0]


@pytest.mark.parametrize(
    ("gain", "more", "fields", "flagged"),
    [
        (5000, {}, {}, True),
        (4000, {}, {}, False),
        (5000, {"RescaleIntercept": 32768}, {}, False),
        (5000, {}, {"image_type": ImageType.REAL}, False),
    ],
)
def test_unsigned_magnitudes_that_were_sent_as_signed_are_flagged(gain, more, fields, flagged):
    """40,000 as a signed number of 16 bits is -25,536."""
    share = np.linspace(0.1, 1.0, 256).reshape(1, 1, 16, 16)
    series = [
        replace(
            image(
                0,
                {"SequenceDescription": "MOLLI", "InversionTime": time, **more},
                dtype=np.int16,
                set=i,
                **fields,
            ),
            data=(share * gain * (i + 1)).astype(np.uint16).tobytes(),
        )
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    (ready,), _ = feed(series, counted(8))
    assert (Flag.CLIPPED_IMAGES in ready.flags) is flagged
    assert any("uint16" in note for note in ready.notes) is flagged


def test_signed_images_that_are_called_magnitudes_are_not_taken_for_wrapped():
    """No tissue is above half of the range while another one is below minus half."""
    t1 = np.linspace(250.0, 1700.0, 256).reshape(1, 1, 16, 16)
    series = [
        replace(
            image(0, {"SequenceDescription": "MOLLI", "InversionTime": time}, dtype=np.int16, set=i),
            data=(30_000.0 * (1.0 - 2.0 * np.exp(-time / t1))).astype(np.int16).tobytes(),
        )
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    (ready,), _ = feed(series, counted(8))
    assert Flag.CLIPPED_IMAGES not in ready.flags


def test_saturation_recovery_is_said_not_fitted():
    _, (only,) = feed(molli(description="T1map_SASHA"), counted(8))
    assert isinstance(only, Failed)
    assert Flag.SATURATION_RECOVERY in only.flags
    assert "saturation recovery" in only.error


def test_saturation_times_of_gadgetron_are_saturation_recovery():
    series = [
        image(1.0 + i, {"SequenceDescription": "T1_mapping", "GADGETRON_TS": time}, set=i)
        for i, time in enumerate((10_000.0, 100.0, 250.0, 400.0, 550.0, 600.0, 600.0, 600.0))
    ]
    (failed,), _ = feed(series, counted(8))
    assert failed.flags == (Flag.SATURATION_RECOVERY,)
    assert "not fitted" in failed.error


@pytest.mark.parametrize("time", ["0", "0.0", "-1"])
def test_a_saturation_time_of_zero_or_less_is_none(time):
    images = [
        replace(image(i + 1.0, {**each.meta(), "GADGETRON_TS": time}), header=each.header)
        for i, each in enumerate(molli())
    ]
    (ready,), _ = feed(images, counted(8))
    assert ready.flags == ()
    assert len(ready.series.times_ms) == 8


def test_a_map_in_seconds_is_converted_and_noted():
    ready, _ = feed([image(0.95, {"DataRole": "T1"})])
    assert ready[0].series.values_ms[0, 0] == pytest.approx(950.0)
    assert ready[0].flags == (Flag.CONVERTED_UNIT,)
    assert "RescaleSlope" in ready[0].notes[0]


@pytest.mark.parametrize("largest", [1, 3, 5])
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_a_mask_is_not_converted_to_a_map(largest, kind):
    labels = np.zeros((16, 16), kind)
    labels[4:12, 4:12] = np.arange(64).reshape(8, 8) % (largest + 1)
    mask = replace(image(0, {"SequenceDescription": "SAX_T1map"}, dtype=kind), data=labels.tobytes())
    _, (only,) = feed([mask])
    assert isinstance(only, Failed)
    assert "a mask or labels" in only.error
    # The same values between whole numbers are a map in seconds.
    seconds = replace(
        image(0, {"SequenceDescription": "SAX_T1map"}), data=(labels * np.float32(0.95)).tobytes()
    )
    _, (only,) = feed([seconds])
    assert only.series.values_ms.max() == pytest.approx(largest * 950.0)


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("largest", [1, 3])
@pytest.mark.parametrize("background", [0.0, np.nan])
def test_a_mask_under_the_name_of_a_map_is_none_whatever_its_background(quantity, largest, background):
    labels = np.full((16, 16), background, np.float32)
    labels[4:12, 4:12] = largest
    mask = replace(image(0, {"DataRole": str(quantity)}), data=labels.tobytes())
    _, (only,) = feed([mask])
    assert isinstance(only, Failed)
    assert "a mask or labels" in only.error
    # A stated scale says what the numbers are.
    stated = {"DataRole": str(quantity), "RescaleSlope": 300.0 if quantity is Quantity.T1 else 20.0}
    _, (only,) = feed([replace(image(0, stated), data=labels.tobytes())])
    assert isinstance(only.series, MapSeries)


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_a_map_without_a_value_is_no_mask(empty):
    _, (only,) = feed([image(empty, {"DataRole": "T1"})])
    assert isinstance(only.series, MapSeries)


def test_one_derived_image_named_after_the_protocol_is_a_map_and_several_are_none():
    one = image(950.0, {"SequenceDescription": "SAX_T1map_MOCO", "ImageType": "DERIVED\\PRIMARY\\M"})
    _, (only,) = feed([one])
    assert isinstance(only.series, MapSeries)
    assert not only.motion_corrected, "nothing was fitted"
    several = [replace(one, header=replace(one.header, image_index=i)) for i in range(8)]
    several = [
        replace(each, data=np.full((16, 16), i, np.float32).tobytes()) for i, each in enumerate(several)
    ]
    _, (only,) = feed(several)
    assert isinstance(only, Failed)
    assert "no inversion times" in only.error


@pytest.mark.parametrize(
    ("count", "reason"),
    [(1, "a map needs an image type that names it"), (2, "too few to be a mapping series")],
)
def test_an_original_image_alone_may_be_a_map_whose_image_type_names_none(count, reason):
    meta = {"SequenceDescription": "cor_t1_molli", "ImageType": "ORIGINAL\\PRIMARY\\T1\\MIXED"}
    assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)
    for number in range(count):
        assert assembler.add(image(950.0, meta, set=number), 0.0) == []
    assert assembler.finish() == []
    ((stated, images),) = assembler.account().unused.items()
    assert (reason in stated, images) == (True, count)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("meta", [{}, {"DataRole": "Image", "ImageComments": "mean"}])
def test_an_image_without_a_name_is_no_map_beside_a_series_with_times(meta, first):
    """Its header names the series. Other applications add images of their own."""
    header = MeasurementHeader(protocol_name="T1map_MOLLI", maxima={"set": 7})
    series = [image(i + 1.0, {"GADGETRON_TI": time}, set=i) for i, time in enumerate(TIMES["5(3)3"])]
    other = image(700.0, meta, image_series_index=4)
    assembler = SeriesAssembler(header, AT_ONCE)
    ready = [
        made
        for each in ([other, *series] if first else [*series, other])
        for made in assembler.add(each, 0.0)
    ]
    ready += assembler.finish()
    assert [type(each.series) for each in ready] == [MappingSeries]
    ((reason, images),) = assembler.account().unused.items()
    assert "a map needs a description of its own" in reason
    assert images == 1
    named = image(950.0, {"SequenceDescription": "T1map_MOLLI"}, image_series_index=4)
    _, ready = feed([*series, named], header)
    assert [type(each.series) for each in ready] == [MappingSeries, MapSeries]
    _, (alone,) = feed([other], header)
    assert isinstance(alone.series, MapSeries)


def test_every_image_is_accounted_for():
    others = [
        image(meta={"SequenceDescription": "cine_sax"}),
        image(meta={"GADGETRON_DataRole": "Gfactor"}),
        replace_type(image(), ImageType.PHASE),
        image(meta={"DataRole": "T1", "MYOSTREAM_RESULT": "{}"}),
        image(meta={"SequenceDescription": "PSIR", "InversionTime": 300.0}, image_series_index=7),
        replace(image(image_series_index=8), attributes=b"<no"),
    ]
    assembler = SeriesAssembler(counted(8), AT_ONCE)
    for each in (*others, *molli(), molli()[0]):
        assembler.add(each, 0.0)
    assembler.finish()
    account = assembler.account()
    assert (account.images, account.used, account.series) == (15, 8, 1)
    assert sum(account.unused.values()) == 7
    assert account.unused["sent twice"] == 1
    assert any("unreadable" in reason for reason in account.unused)
    assert any("Gfactor" in reason for reason in account.unused)
    assert account.images == account.used + sum(account.unused.values())


@pytest.mark.parametrize("unread", [1, 8])
def test_unreadable_attributes_are_named_as_the_cause(unread):
    images = molli()
    broken = [
        replace(each, attributes=each.attributes.replace(b"</meta>", b"", 1)) for each in images[:unread]
    ]
    named = MeasurementHeader(series_description="T1map_MOLLI", maxima={"set": 7})
    _, (only,) = feed([*broken, *images[unread:]], named)
    assert Flag.UNREADABLE_ATTRIBUTES in only.flags
    assert any(
        f"Attributes of {unread} of 8 images are unreadable" in note and "mismatched tag" in note
        for note in only.notes
    )
    assert isinstance(only, Failed) is (unread == 8)
    if unread == 8:
        assert "no inversion times for the 8 images" in only.error
        assert "the attributes of 8 cannot be read" in only.error
        assert "mismatched tag" in only.error


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


@settings(max_examples=60)
@given(st.lists(st.sampled_from(range(33)), max_size=80), st.booleans())
def test_the_account_always_adds_up(chosen, early):
    pool = [
        *(each for s in range(2) for each in molli(slice_index=s)),
        *moco(slice_index=0),
        *t2prep(image_series_index=2),
        *(image(meta={"SequenceDescription": "T1map"}, image_series_index=i) for i in range(4)),
        image(950.0, {"DataRole": "T1"}),
        image(950.0, {"GADGETRON_DataRole": "T1SD"}),
    ]
    assembler = SeriesAssembler(counted(8), AssemblySettings())
    for number, index in enumerate(chosen):
        assembler.add(pool[index], 0.2 * number)
        assembler.expire(0.2 * number)
        account = assembler.account()
        assert account.images == number + 1 == account.used + sum(account.unused.values())
    assembler.finish(early=early)
    account = assembler.account()
    assert account.images == len(chosen) == account.used + sum(account.unused.values())
    assert "waiting for the rest of their series" not in account.unused


# Memory. An image of the tests has 1 KiB of pixels, and 4 KiB are counted for what belongs to it.

EACH = 4096 + 1024 + 512
"""More than one image counts."""


def held(images, limit, settings=AT_ONCE, header=None, step=0.0):
    share = MemoryBudget(2 * limit, limit, connections=1000).connection()
    assembler = SeriesAssembler(header or counted(8), settings, share)
    ready, most = [], 0
    for number, each in enumerate(images):
        ready += assembler.add(each, step * number)
        most = max(most, share.held)
    return assembler, share, ready, most


def test_bytes_of_open_series_are_bounded_and_the_oldest_goes():
    opened = [each for index in range(10) for each in molli(slice_index=index)[:7]]
    limit = 20 * EACH
    assembler, share, ready, most = held(opened, limit, step=0.001)
    assert most <= limit
    assert ready == []
    assert assembler.refused > 0
    assert assembler.account().unused[MEMORY] == assembler.refused
    # The latest series are complete with their last image.
    last = molli(slice_index=9)[7]
    (complete,) = assembler.add(last, 1.0)
    assert isinstance(complete, Ready)
    assert Flag.MISSING_IMAGES not in complete.flags
    # The rest of one that was given up is no series.
    assert assembler.add(molli(slice_index=0)[7], 1.0) == []
    assembler.finish()
    assert share.held == 0
    account = assembler.account()
    assert account.images == 72 == account.used + sum(account.unused.values())


def test_a_series_that_is_larger_than_the_memory_is_never_fitted_from_its_rest():
    """Without a stated number of images its rest would be a map without a flag."""
    assembler, share, ready, most = held(molli(), 5 * EACH, header=MeasurementHeader())
    assert ready == [] == assembler.finish()
    assert assembler.refused == 8
    assert (share.held, most <= 5 * EACH) == (0, True)


def test_a_series_given_up_may_come_again_later():
    assembler, _, _, _ = held(molli(), 5 * EACH)
    assert [each for item in molli()[:4] for each in assembler.add(item, 100.0)] == []
    (again,) = assembler.finish()
    assert "missing-images" in again.flags


def test_memory_is_free_again_after_every_way_out_of_the_assembly():
    settings = AssemblySettings(corrected_wait_s=5.0, patience_s=10.0)
    assembler, share, _, _ = held([*molli(), *molli(slice_index=1)[:5]], 1 << 20, settings)
    assert share.held > 8 * 1024
    assert len(assembler.expire(6.0)) == 1  # the twin did not come
    assert share.held > 0
    assert len(assembler.expire(11.0)) == 1  # nor the other images
    assert share.held == 0


def test_series_that_wait_for_their_twin_go_on_where_there_is_no_room():
    settings = AssemblySettings(corrected_wait_s=50.0)
    assembler, share, ready, most = held(
        [each for index in range(6) for each in molli(slice_index=index)], 12 * EACH, settings
    )
    assert len(ready) >= 4
    assert most <= 12 * EACH
    assert assembler.refused == 0
    assert len(ready + assembler.finish()) == 6
    assert share.held == 0


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


def test_large_images_hold_no_pixels_and_are_reported():
    settings = AssemblySettings(fitted_pixels=64 * 64, corrected_wait_s=0.0)
    big = [replace_shape(each, (65, 64)) for each in molli()]
    assembler, _, ready, most = held(big, 1 << 20, settings)
    (only,) = ready
    assert isinstance(only, Failed)
    assert "65 x 64 pixels" in only.error
    assert "assembly.fitted_pixels" in only.error
    assert most < 8 * (4096 + 512)
    (fits,) = held([replace_shape(each, (64, 64)) for each in molli()], 1 << 20, settings)[2]
    assert isinstance(fits, Ready)
    assert assembler.add(big[0], 9.0) == []  # sent again


def test_series_of_too_many_pixels_are_reported():
    settings = AssemblySettings(fitted_values=5 * 32 * 32, corrected_wait_s=0.0)
    _, share, ready, most = held([replace_shape(each, (32, 32)) for each in molli()], 1 << 20, settings)
    (only,) = ready
    assert "8 images of 32 x 32 pixels" in only.error
    assert "assembly.fitted_values" in only.error
    assert most < 5 * (4096 + 4096 + 512) + 3 * (4096 + 512)
    assert share.held == 0


def test_a_large_map_of_the_scanner_is_reported():
    scan = image(1000.0, {"GADGETRON_DataRole": "T1"}, shape=(65, 64))
    (only,) = feed([scan], settings=AssemblySettings(fitted_pixels=64 * 64))[1]
    assert "assembly.fitted_pixels" in only.error


def replace_shape(each, shape):
    pixels = np.full((1, 1, *shape), float(each.pixels.flat[0]), np.float32)
    return Image.from_pixels(pixels, each.header, each.meta())


def pixels_of(ready):
    """First pixel of each image of each series, by time."""
    return [series.series.images[:, 0, 0].tolist() for series in ready]


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


def acquired(times, *, quantity="T1", start=0, beat=400, value=1.0, counters=None, **fields):
    """Images with time stamps, one a beat of ``beat`` ticks; ``counters`` states those of image k."""
    name, key = {"T1": ("MOLLI", "InversionTime"), "T2": ("T2map", "T2PrepDuration")}[quantity]
    return [
        image(
            value + k,
            {"SequenceDescription": name, key: time},
            acquisition_time_stamp=start and start + beat * k,
            **(counters(k) if counters else {}),
            **fields,
        )
        for k, time in enumerate(times)
    ]


def stamped(each, stamp):
    return replace(each, header=replace(each.header, acquisition_time_stamp=stamp))


def by_set(k):
    return {"set": k, "image_index": k + 1}


def by_index(k):
    return {"image_index": k + 1}


def running_on(k):
    return {"image_index": k + 9}


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


@pytest.mark.parametrize("slope", ["abc", "0", "0,5", "nan"])
def test_a_map_whose_rescale_slope_cannot_be_used_is_flagged(slope):
    stored = image(1900.0, {"DataRole": "T1", "RescaleSlope": slope})
    _, (only,) = feed([stored])
    assert only.flags == (Flag.UNREADABLE_ATTRIBUTES,)
    assert f"RescaleSlope {slope} of the images is no number, or 0" in only.notes[0]
    _, (right,) = feed([image(1900.0, {"DataRole": "T1", "RescaleSlope": "0.5"})])
    assert right.flags == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GADGETRON_ScaleRatio", "0,8"),
        ("GADGETRON_ScaleRatio", "0"),
        ("GADGETRON_ScaleOffset", "200,0"),
        ("RescaleIntercept", "-200,0"),
    ],
)
@pytest.mark.parametrize("stated", [{}, {"RescaleSlope": "0.5"}], ids=["alone", "beside a slope"])
def test_every_part_of_a_scale_that_cannot_be_used_is_flagged(name, text, stated):
    for kind in ({"DataRole": "T1"}, {"SequenceDescription": "MOLLI"}):
        made = [
            image(800.0 * (k + 1), {**kind, **stated, name: text, "InversionTime": ms}, set=k)
            for k, ms in enumerate(TIMES["5(3)3"][: 1 if "DataRole" in kind else None])
        ]
        _, (only,) = feed(made)
        assert only.flags == (Flag.UNREADABLE_ATTRIBUTES,)
        assert f"{name} {text} of the images is no number" in only.notes[0]
        stored = only.series.values_ms if "DataRole" in kind else only.series.images[0]
        assert stored[3, 3] == 800.0


@pytest.mark.parametrize("scale", [{"GADGETRON_ScaleRatio": 4}, {"RescaleSlope": 2, "RescaleIntercept": 0}])
@pytest.mark.parametrize("lacks", [(), (3,), range(4), range(6), range(1, 8)])
def test_a_scale_that_some_images_state_alone_is_flagged(scale, lacks):
    images = [
        image(k + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": ms, **({} if k in lacks else scale)})
        for k, ms in enumerate(TIMES["5(3)3"])
    ]
    _, (only,) = feed([replace(each, header=replace(each.header, set=k)) for k, each in enumerate(images)])
    assert only.flags == ((Flag.SCALED_IMAGES,) if 0 < len(lacks) < 7 else ())
    assert any("others none" in note for note in only.notes) == bool(lacks)


@pytest.mark.parametrize(
    ("rescale", "flags"),
    [
        ({"RescaleSlope": "10"}, (Flag.UNREADABLE_ATTRIBUTES,)),
        ({"RescaleSlope": "0.1", "RescaleIntercept": "-20"}, (Flag.UNREADABLE_ATTRIBUTES,)),
        ({"RescaleSlope": "0.1", "RescaleIntercept": "0"}, ()),
        ({"RescaleIntercept": "0"}, ()),
    ],
)
def test_a_map_whose_two_scales_contradict_each_other_is_flagged(rescale, flags):
    """Gadgetron's CmrParametricMappingGadget multiplies the map by the ratio that it states."""
    _, (only,) = feed([image(500.0, {"DataRole": "T2", "GADGETRON_ScaleRatio": "10", **rescale})])
    assert only.series.values_ms[3, 3] == pytest.approx(50.0)
    assert only.flags == flags
    assert all("0.1 x stored + 0" in note and "RescaleSlope" in note for note in only.notes)
    assert bool(only.notes) == bool(flags)


@pytest.mark.parametrize(
    ("last", "intercept", "flags"),
    [
        (1, 0, ()),
        (2, 0, (Flag.UNREADABLE_ATTRIBUTES,)),
        (1, -4096, (Flag.UNREADABLE_ATTRIBUTES,)),
    ],
    ids=["one factor", "one image differs", "another zero"],
)
def test_two_scales_of_weighted_images_may_differ_by_a_common_factor(last, intercept, flags):
    images = []
    for k, ms in enumerate(TIMES["5(3)3"]):
        scales = {"GADGETRON_ScaleRatio": 4, "RescaleSlope": last if k == 7 else 1}
        named = {"SequenceDescription": "MOLLI", "InversionTime": ms, "RescaleIntercept": intercept}
        images.append(image(k + 1.0, {**named, **scales}, set=k))
    _, (only,) = feed(images)
    assert only.flags == flags


def test_names_that_number_the_images_are_one_series():
    images = [
        image(i + 1.0, {"SequenceDescription": f"MOLLI TI {time} ms", "InversionTime": time}, set=i)
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    images[3] = image(4.0, {"InversionTime": 2800}, set=3)
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8]


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


@pytest.mark.parametrize("first", [0, 1])
def test_a_stated_minimum_that_images_lie_below_does_not_count(first):
    """4(1)3(1)2; limits of ``set`` are 1 to 8 or 1 to 9."""
    images = acquired(TIMES["4(1)3(1)2"], counters=lambda k: {"set": k + first})
    _, everything = feed(images, MeasurementHeader(maxima={"set": 8 + first}, minima={"set": 1}))
    assert [len(each.series.images) for each in everything] == [9]
    assert everything[0].flags == ()


def test_a_pause_before_another_preparation_time_ends_no_series():
    times = (0, 25, 35, 55)
    images = [
        stamped(each, 1000 + 400 * seconds)
        for each, seconds in zip(acquired(times, quantity="T2", counters=by_set), (0, 3, 6, 76), strict=True)
    ]
    _, (only,) = feed(images)
    assert only.series.times_ms.tolist() == sorted(times)


def test_counters_that_begin_again_with_each_inversion_are_one_series():
    counters = [0, 1, 2, 3, 4, 0, 1, 2]
    images = [
        image(i + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": time}, contrast=counter)
        for i, (time, counter) in enumerate(zip(TIMES["5(3)3"], counters, strict=True))
    ]
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8]


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


LISTED = MeasurementHeader(inversion_times=tuple(map(str, TIMES["5(3)3"])))


@pytest.mark.parametrize("name", ["MOLLI_T1", "T1 map", "MOLLI_MOCO_T1"])
@pytest.mark.parametrize("early", [False, True])
def test_the_first_image_of_a_cut_series_with_listed_times_is_no_map(name, early):
    _, ready = feed([image(900.0, {"SequenceDescription": name})], LISTED, early=early)
    assert [type(each) for each in ready] == [Failed]
    assert "inversion times" in ready[0].error


def test_images_that_nothing_tells_apart_are_no_map():
    _, ready = feed([image(900.0 + i, {"SequenceDescription": "MOLLI_T1"}) for i in range(8)])
    assert not any(isinstance(series.series, MapSeries) for series in ready)


def test_a_map_beside_its_listed_series_is_one():
    weighted = [image(i + 1.0, {"SequenceDescription": "MOLLI"}, set=i) for i in range(8)]
    made = image(900.0, {"SequenceDescription": "MOLLI_T1"}, image_series_index=4)
    _, ready = feed([*weighted, made], LISTED)
    assert [type(series.series) for series in ready] == [MappingSeries, MapSeries]


def test_an_addition_makes_no_map_of_each_image_of_a_listed_series():
    meta = {"SequenceDescription": "cardiac T1 mapping", "SequenceDescriptionAdditional": "_T1"}
    meta["ImageType"] = "DERIVED\\PRIMARY\\M"
    weighted = [image(i + 1.0, meta, set=i) for i in range(8)]
    made = image(900.0, meta, image_series_index=4)
    _, (only,) = feed(weighted, LISTED)
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    _, ready = feed([*weighted, made], LISTED)
    assert [type(each.series) for each in ready] == [MappingSeries, MapSeries]


def test_a_map_that_may_be_an_image_bears_the_flag_of_a_cut_stream():
    _, ready = feed([image(900.0, {"SequenceDescription": "T1 map"})], early=True)
    assert ready[0].flags == (Flag.EARLY_CLOSE,)


@pytest.mark.parametrize("size", [12, 32])
def test_corrected_images_of_another_size_are_those_of_the_slice(size):
    waits = AssemblySettings(corrected_wait_s=80_000.0)
    corrected = molli(description="MOLLI_MOCO", image_series_index=4, shape=(size, size))
    _, ready = feed([*molli(), *corrected], settings=waits)
    assert [series.motion_corrected for series in ready] == [True]


def test_real_images_without_a_negative_pixel_are_magnitudes():
    _, ready = feed(molli(image_type=ImageType.REAL))
    assert not ready[0].series.signed


def test_real_images_with_one_negative_pixel_are_magnitudes():
    images = molli(image_type=ImageType.REAL)
    pixels = np.ones((1, 1, 16, 16), np.float32)
    pixels[0, 0, 3, 4] = -1.0
    images[2] = replace(images[2], data=pixels.tobytes())
    _, (only,) = feed(images)
    assert not only.series.signed
    assert (only.series.images > 0.0).all()


@pytest.mark.parametrize("counter", ["average", "image_index"])
def test_listed_times_by_average_and_by_the_index_over_interleaved_slices(counter):
    images = [
        image(i + 1.0, {"SequenceDescription": "MOLLI"}, slice=place, **{counter: 3 * i + place})
        if counter == "image_index"
        else image(i + 1.0, {"SequenceDescription": "MOLLI"}, slice=place, average=i)
        for i in range(8)
        for place in range(3)
    ]
    _, ready = feed(images, LISTED)
    assert [series.series.times_ms.tolist() for series in ready] == [sorted(TIMES["5(3)3"])] * 3


def test_slices_two_millimetres_apart_are_not_one():
    images = [
        each for place in (0.0, 2.0, 4.0) for each in molli(position=(0.0, 0.0, place), image_series_index=3)
    ]
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8, 8, 8]


@pytest.mark.parametrize("time", ["100", "260"])
def test_one_time_for_all_images_gives_way_to_the_list(time):
    images = [
        image(i + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": time}, set=i) for i in range(8)
    ]
    _, ready = feed(images, LISTED)
    assert ready[0].series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert ready[0].flags == (Flag.UNREADABLE_TIMES,)
    assert time in ready[0].notes[0]


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


def test_the_second_inversion_after_few_images_begins_no_repetition():
    """3(3)3(3)5 whose counter begins again with each inversion."""
    counters = [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4]
    images = acquired(TIMES["3(3)3(3)5"], start=1000, counters=lambda k: {"contrast": counters[k]})
    _, (only,) = feed(images)
    assert len(only.series.times_ms) == 11


def test_complete_series_still_wait_for_their_corrected_twin():
    """A file's series has no more images; the corrected ones may be another series of the file."""
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings())
    assert [each for one in molli() for each in assembler.add(one, 0.0)] == []
    assert assembler.complete() == []
    corrected = molli(description="T1map_MOLLI_MOCO", image_series_index=4)
    assert [each for one in corrected for each in assembler.add(one, 0.0)] == []
    (ready,) = assembler.complete()
    assert ready.motion_corrected
    assert assembler.finish() == []
    assert sum(assembler.account().unused.values()) == 8


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (sorted(TIMES["5(3)3"])[2:], "shortest inversion time is 1000 ms"),
        ([180, 260, 1900, 2800, 3700], "series of 5 images"),  # the end of ShMOLLI
        ([100, 180, 1000, 1900, 2800, 3700], "series of 6 images"),  # its beginning
        (TIMES["5(3)3"], ""),
        ([100, 180, 260, 1000, 1900, 2800, 3700], ""),  # ShMOLLI
        ([350, 1250, 2150, 3050, 100, 1000, 200, 1100], ""),
    ],
)
def test_a_part_of_a_t1_series_whose_number_is_not_stated_is_flagged(times, said):
    """T1 of the end of ShMOLLI is 10 to 30 % too short."""
    _, (only,) = feed(molli(times))
    assert (Flag.MISSING_IMAGES in only.flags) is bool(said)
    assert only.flags.count(Flag.MISSING_IMAGES) <= 1
    assert not said or any(said in note for note in only.notes)


@pytest.mark.parametrize(
    ("times", "is_shmolli"),
    [
        ([100, 900, 1700, 2500, 3300, 180, 260], True),
        ([105, 1010, 1830, 2790, 3700, 190, 270], True),
        (TIMES["5(3)3"], False),
        ([100, 1000, 1900, 2800, 180, 1080, 260], False),  # 4(1)3(1)2 without two of its images
        ([100, 1000, 1900, 2800, 3700, 180, 1080], False),
    ],
)
def test_the_times_of_shmolli_are_flagged(times, is_shmolli):
    """All of its images are fitted, which makes native T1 8 to 14 % too short beside 5(3)3."""
    _, (only,) = feed(molli(times), settings=AssemblySettings(corrected_wait_s=0.0))
    assert (Flag.SHMOLLI in only.flags) is is_shmolli
    assert any("those of ShMOLLI" in note for note in only.notes) is is_shmolli


def test_a_stated_number_of_few_images_is_whole():
    few = [100, 1000, 1900, 180, 1080]
    _, (only,) = feed(molli(few), settings=AssemblySettings(corrected_wait_s=0.0, images=5))
    assert only.flags == ()


@pytest.mark.parametrize(
    ("times", "stated", "said"), [((0, 55), 0, True), ((0, 55), 2, False), ((0, 25, 55), 0, False)]
)
def test_two_images_of_t2_show_no_error_and_are_flagged(times, stated, said):
    settings = AssemblySettings(corrected_wait_s=0.0, images=stated or None)
    _, (only,) = feed(t2prep(times), settings=settings)
    assert (Flag.MISSING_IMAGES in only.flags) is said
    assert any("two images" in note for note in only.notes) is said


# Repetitions that come interleaved, and senders that count the images of one series by repetition.

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


# TI scouts: frames of one or two heartbeats after one inversion, each with its own inversion time.

SCOUTS = [
    [90 + 25 * k for k in range(count)] for count in (8, 20, 32, 40)
] + [[15 + 60 * k for k in range(16)]]  # fmt: skip


def scout(times, name="", **meta):
    named = {"SequenceDescription": name} if name else {}
    return [
        image(k + 1.0, {**named, "InversionTime": time, **meta}, phase=k, image_index=k + 1)
        for k, time in enumerate(times)
    ]


@pytest.mark.parametrize("times", SCOUTS, ids=len)
@pytest.mark.parametrize(
    "name",
    ["", "FB_PSIR_4CH", "CINE_IR", "TI_scout", "CV_SCOUT-TI", "Look-Locker", "LookLocker_sax", "LL_sax"],
)
@pytest.mark.parametrize("stated", [True, False])
def test_a_ti_scout_makes_no_map(times, name, stated):
    header = MeasurementHeader(maxima={"phase": len(times) - 1} if stated else {})
    assembler = SeriesAssembler(header, AT_ONCE)
    assert [each for one in scout(times, name) for each in assembler.add(one, 0.0)] == []
    assert assembler.expire(60.0) == assembler.finish() == []
    ((reason, number),) = assembler.account().unused.items()
    assert number == len(times)
    assert "scout" in reason


def test_a_ti_scout_whose_times_the_header_lists_makes_no_map():
    times = SCOUTS[1]
    header = MeasurementHeader(inversion_times=tuple(map(str, times)), maxima={"phase": len(times) - 1})
    _, everything = feed([image(k + 1.0, phase=k) for k in range(len(times))], header)
    assert everything == []


@pytest.mark.parametrize("scheme", TIMES)
@pytest.mark.parametrize("beat", [330, 500, 900, 1500])
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", ["", "Look-Locker", "unknown"])
def test_a_series_with_the_times_of_molli_needs_no_name(scheme, beat, unit, name):
    """At 182 to 40 heartbeats a minute."""
    times = [(time % 900 + time // 900 * beat) * unit for time in TIMES[scheme]]
    _, (only,) = feed(scout(times, name))
    assert len(only.series.times_ms) == len(times)
    assert Flag.MISSING_IMAGES not in only.flags


@pytest.mark.parametrize("name", ["MOLLI", "T1 map", "MOLLI TI scout", "Modified Look-Locker"])
def test_a_series_that_is_named_as_molli_and_has_the_times_of_a_scout_is_flagged(name):
    _, everything = feed(scout(SCOUTS[1], name))
    if "scout" in name:
        assert everything == []
    else:
        (only,) = everything
        assert only.flags == (Flag.MISSING_IMAGES,)
        assert "TI scout" in only.notes[0]


def test_a_molli_that_is_named_scout_too_is_fitted():
    _, (only,) = feed(molli(description="MOLLI_scout"))
    assert only.series.times_ms.tolist() == sorted(TIMES["5(3)3"])


def test_reasons_that_quote_the_sender_are_bounded_in_number():
    total = Account(0, 0, 0, {})
    for each in range(3):
        assembler = SeriesAssembler(MeasurementHeader(), AT_ONCE)
        for number in range(200):
            assembler.add(image(meta={"GADGETRON_DataRole": f"Role{each}-{number}"}), 0.0)
        total += assembler.account()
    assert total.images == sum(total.unused.values()) == 600
    assert len(total.unused) == 65
    assert total.unused["for further reasons"] == 600 - 64


@pytest.mark.parametrize(
    ("limit", "at_once"), [(24, False), (7, True)], ids=["of another number", "of just so many"]
)
def test_the_limit_of_a_counter_that_does_not_run_counts_where_as_many_images_have_come(limit, at_once):
    """The header states a limit of the phase alone, and the images are counted by set."""
    ready, (only,) = feed(molli(), MeasurementHeader(maxima={"phase": limit}))
    assert bool(ready) is at_once
    assert only.flags == ()
