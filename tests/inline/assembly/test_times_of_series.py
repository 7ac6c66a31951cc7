"""Times of a series: the places that state them, lists, units, and what is no time."""

import base64
import json
from dataclasses import replace

import pytest

from inline.assembly.assembled import Failed, Ready
from inline.data.flags import Flag
from inline.data.series import MappingSeries, Quantity
from inline.mrd.header import MeasurementHeader

from .builders import LISTED, TIMES, as_json, counted, feed, image, mini_head, molli, t2prep, times_of


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
        # The heart rate changed between the inversions.
        (
            _T1_TIMES,
            "InversionTime",
            lambda ms: {"TI": ms - 60 * (ms % 100 // 80) * (ms // 900)},
            "TI",
            False,
        ),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": ms + 200 * (ms % 100 // 80)}, "TI", True),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": sorted(_T1_TIMES)[_T1_TIMES.index(ms)]}, "TI", True),
        (
            _T1_TIMES,
            "InversionTime",
            lambda ms: {"ImageComments": f"TI {ms / 1000 + 0.1:.2f} s"},
            "comment",
            True,
        ),
        (_T1_TIMES, "InversionTime", lambda ms: {"TI": 1000 * ms + 100_000}, "TI", True),  # microseconds
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": 1600 * ms}, "GADGETRON_T2Prep", True),
        (
            _T2_TIMES,
            "T2PrepDuration",
            lambda ms: {"ImageComments": f"T2 prep {ms / 625:.3f} s"},
            "comment",
            True,
        ),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": 2 * ms}, "GADGETRON_T2Prep", True),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": 55 - ms}, "GADGETRON_T2Prep", True),
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
        (
            _T1_TIMES,
            "InversionTime",
            lambda ms: {"TI": f"{_T1_TIMES.index(ms) + 1}"},
        ),  # numbers of the images
        (_T1_TIMES, "InversionTime", lambda ms: {"ImageComments": f"TI {_T1_TIMES.index(ms) + 1} of 8"}),
        (_T1_TIMES, "InversionTime", lambda ms: {"ImageComments": f"TI {ms / 1000:.1f} s"}),  # rounded
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"ImageComments": f"T2 prep {ms / 1000:.2f} s"}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"ImageComments": f"T2 prep {_T2_TIMES.index(ms) + 1}/3"}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": _T2_TIMES.index(ms)}),
        (_T2_TIMES, "T2PrepDuration", lambda ms: {"GADGETRON_T2Prep": 4 * _T2_TIMES.index(ms)}),  # pulses
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


@pytest.mark.parametrize("time", ["100", "260"])
def test_one_time_for_all_images_gives_way_to_the_list(time):
    images = [
        image(i + 1.0, {"SequenceDescription": "MOLLI", "InversionTime": time}, set=i) for i in range(8)
    ]
    _, ready = feed(images, LISTED)
    assert ready[0].series.times_ms.tolist() == sorted(TIMES["5(3)3"])
    assert ready[0].flags == (Flag.UNREADABLE_TIMES,)
    assert time in ready[0].notes[0]
