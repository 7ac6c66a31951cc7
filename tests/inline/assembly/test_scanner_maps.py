"""Maps that the scanner made: which image is one, its scale and its unit."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembled import Failed
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.series import MappingSeries, MapSeries, Quantity
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import AT_ONCE, LISTED, TIMES, as_json, feed, image


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


@pytest.mark.parametrize("slope", ["abc", "0", "0,5", "nan"])
def test_a_map_whose_rescale_slope_cannot_be_used_is_flagged(slope):
    stored = image(1900.0, {"DataRole": "T1", "RescaleSlope": slope})
    _, (only,) = feed([stored])
    assert only.flags == (Flag.UNREADABLE_ATTRIBUTES,)
    assert f"RescaleSlope {slope} of the images is no number, or 0" in only.notes[0]
    _, (right,) = feed([image(1900.0, {"DataRole": "T1", "RescaleSlope": "0.5"})])
    assert right.flags == ()


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
