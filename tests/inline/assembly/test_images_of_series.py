"""Images of a series: geometry, pixels, scales and attributes."""

from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembled import Failed, Ready
from inline.data.flags import Flag
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageType

from .builders import TIMES, as_json, counted, feed, image, molli, replace_type


@pytest.mark.parametrize(("stated", "noted"), [("00", False), ("01", True)])
def test_loss_that_the_dicom_header_states_is_noted(stated, noted):
    images = [
        image(meta={"InversionTime": time, **as_json(_00282110={"vr": "CS", "Value": [stated]})}, set=i)
        for i, time in enumerate(TIMES["5(3)3"])
    ]
    _, (only,) = feed(images, counted(8))
    assert any("compressed with loss" in note for note in only.notes) is noted


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


def test_slices_two_millimetres_apart_are_not_one():
    images = [
        each for place in (0.0, 2.0, 4.0) for each in molli(position=(0.0, 0.0, place), image_series_index=3)
    ]
    _, ready = feed(images)
    assert [len(series.series.images) for series in ready] == [8, 8, 8]
