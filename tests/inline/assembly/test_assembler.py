import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inline.assembly.assembler import SeriesAssembler
from inline.flags import Flag
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.series import MappingSeries, MapSeries, Quantity
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


def test_without_a_stated_number_a_series_waits_for_a_pause_or_the_end():
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings(idle_s=2.0, corrected_wait_s=0.0))
    for number, each in enumerate(molli()):
        assert assembler.add(each, 0.1 * number) == []
    assert assembler.expire(1.0) == []
    (ready,) = assembler.expire(5.0)
    assert len(ready.series.times_ms) == 8
    assert ready.flags == ()
    assert assembler.finish() == []


@settings(max_examples=40, deadline=None)
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


def test_a_stream_that_ends_early_says_so():
    _, everything = feed(molli()[:6], counted(8), early=True)
    assert set(everything[0].flags) == {Flag.MISSING_IMAGES, Flag.EARLY_CLOSE}


def test_too_few_images_are_an_error_that_says_how_many():
    _, (only,) = feed(molli()[:3], counted(8))
    assert only.series is None
    assert "3 images are too few for a T1 map" in only.error
    assert Flag.MISSING_IMAGES in only.flags


def test_patience_ends():
    assembler = SeriesAssembler(counted(8), AssemblySettings(patience_s=10.0, corrected_wait_s=0.0))
    for each in molli()[:7]:
        assembler.add(each, 0.0)
    assert assembler.expire(9.0) == []
    (ready,) = assembler.expire(11.0)
    assert ready.flags == (Flag.MISSING_IMAGES,)


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


def times_of(images, header):
    _, everything = feed(images, header)
    assert everything[0].error == ""
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


def test_preparation_times_from_the_header():
    numbered = MeasurementHeader(
        protocol_name="T2map",
        parameters={f"T2PrepDuration_{i}": f"{time}" for i, time in enumerate((0, 25, 55))},
    )
    assert times_of([image(set=i) for i in range(3)], numbered) == [0, 25, 55]
    listed = MeasurementHeader(protocol_name="t2_prep", echo_times=("0.0", "30.0", "60.0"))
    assert times_of([image(contrast=i) for i in range(3)], listed) == [0, 30, 60]


def test_a_series_without_times_is_an_error_that_says_where_to_put_them():
    _, (only,) = feed([image(set=i) for i in range(8)], MeasurementHeader(protocol_name="MOLLI"))
    assert only.series is None
    assert "no inversion times" in only.error


def test_geometry_that_gives_no_pixel_size_is_an_error():
    _, (only,) = feed(molli(field_of_view=(0.0, 0.0, 0.0)), counted(8))
    assert only.series is None
    assert "field_of_view" in only.error


def test_missing_directions_are_flagged():
    ready, _ = feed(molli(read_dir=(0.0, 0.0, 0.0)), counted(8))
    assert ready[0].series is not None
    assert not ready[0].oriented
    assert ready[0].flags == (Flag.NO_ORIENTATION,)


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
