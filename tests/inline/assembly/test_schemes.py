"""Joint acquisitions, saturation recovery, ShMOLLI, parts of a series, and TI scouts."""

from dataclasses import replace

import pytest

from inline.assembly.assembled import Failed
from inline.assembly.assembler import SeriesAssembler
from inline.data.flags import Flag
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader
from inline.settings import AssemblySettings

from .builders import AT_ONCE, TIMES, counted, feed, image, molli, t2prep, times_of


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


@pytest.mark.parametrize(("first", "lacks"), [(350, False), (390, False), (420, True), (600, True)])
def test_a_t1_series_whose_first_time_is_no_first_one_of_molli_lacks_images(first, lacks):
    """Groups of images begin 100 to 350 ms after an inversion (Messroghli et al. 2004)."""
    _, (only,) = feed(molli([ms + first - 100 for ms in TIMES["5(3)3"]]), counted(8))
    assert (Flag.MISSING_IMAGES in only.flags) is lacks
    assert any(f"{first} ms, that of a whole MOLLI series" in note for note in only.notes) is lacks


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


@pytest.mark.parametrize(
    ("times", "stated", "said"), [((0, 55), 0, True), ((0, 55), 2, False), ((0, 25, 55), 0, False)]
)
def test_two_images_of_t2_show_no_error_and_are_flagged(times, stated, said):
    settings = AssemblySettings(corrected_wait_s=0.0, images=stated or None)
    _, (only,) = feed(t2prep(times), settings=settings)
    assert (Flag.MISSING_IMAGES in only.flags) is said
    assert any("two images" in note for note in only.notes) is said


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
