"""Enhanced DICOM images of which a converter sends the whole data set with the image of each frame."""

import base64
import json

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from inline.assembly.assembler import SeriesAssembler
from inline.assembly.image_metadata import read_metadata
from inline.data.flags import Flag
from inline.elements.scale import Scale
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

READ, DOWN = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(READ, DOWN)
ROWS, COLUMNS, SPACING = 32, 40, (1.5, 1.25)
"""Spacing as DICOM states it: between rows, between columns."""
CENTRES = [shift * NORMAL for shift in (0.0, 20.0, 40.0)]
TIMES = [100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0, 4600.0]


def first_pixel(centre):
    return centre - READ * SPACING[1] * COLUMNS / 2 - DOWN * SPACING[0] * ROWS / 2


def sequence(**elements):
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return Sequence([item])


def code(value):
    return sequence(CodeValue=value, CodingSchemeDesignator="DCM", CodeMeaning=value)


def enhanced(
    frames,
    description="T1map_MOLLI_T1",
    image_type=("DERIVED", "PRIMARY", "T1 MAP", "NONE"),
    add=lambda item, number: None,
):
    """Return the JSON of frames: centre, inversion time or None, slope or None; ``add`` completes an item."""
    data = Dataset()
    data.SeriesDescription, data.ImageType = description, list(image_type)
    data.NumberOfFrames, data.Rows, data.Columns = len(frames), ROWS, COLUMNS
    shared = Dataset()
    shared.PlaneOrientationSequence = sequence(
        ImageOrientationPatient=[f"{each:.8f}" for each in (*READ, *DOWN)]
    )
    shared.PixelMeasuresSequence = sequence(PixelSpacing=list(SPACING), SliceThickness=8)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    items = []
    for number, (centre, time, slope) in enumerate(frames):
        item = Dataset()
        item.FrameContentSequence = sequence(DimensionIndexValues=[number + 1])
        place = [f"{each:.6f}" for each in first_pixel(centre)]
        item.PlanePositionSequence = sequence(ImagePositionPatient=place)
        if time is not None:
            item.MRModifierSequence = sequence(InversionTimes=[time])
        if slope is not None:
            item.PixelValueTransformationSequence = sequence(
                RescaleSlope=slope, RescaleIntercept=0, RescaleType="ms"
            )
        add(item, number)
        items.append(item)
    data.PerFrameFunctionalGroupsSequence = Sequence(items)
    return base64.b64encode(data.to_json().encode()).decode()


def image(position, encoded, value=600, **fields):
    header = ImageHeader(
        position=tuple(map(float, position)),
        read_dir=tuple(READ),
        phase_dir=tuple(DOWN),
        field_of_view=(COLUMNS * SPACING[1], ROWS * SPACING[0], 8.0),
        image_series_index=1,
        **fields,
    )
    return Image.from_pixels(np.full((1, 1, ROWS, COLUMNS), value, np.uint16), header, {"DicomJson": encoded})


def assembled(images):
    assembler = SeriesAssembler(MeasurementHeader(), AssemblySettings(corrected_wait_s=0.0))
    ready = [each for number, made in enumerate(images) for each in assembler.add(made, float(number))]
    return ready + assembler.finish()


@pytest.mark.parametrize("place", [lambda centre: centre, first_pixel], ids=["centre", "first pixel"])
def test_each_map_has_the_scale_and_the_place_of_its_own_frame(place):
    slopes = [1.0, 0.5, 2.0]
    encoded = enhanced([(centre, None, slope) for centre, slope in zip(CENTRES, slopes, strict=True)])
    made = assembled([image(place(centre), encoded, slice=k) for k, centre in enumerate(CENTRES)])
    assert [float(each.series.values_ms[5, 5]) for each in made] == [600.0 * slope for slope in slopes]
    for each, centre in zip(made, CENTRES, strict=True):
        assert each.geometry.position == pytest.approx(centre, abs=1e-3)
        assert (each.flags, each.notes) == ((), ())


@pytest.mark.parametrize(("slopes", "scale"), [((2.0, 2.0), Scale(2.0)), ((2.0, 1.0), None)])
def test_of_frames_at_one_place_what_they_state_alike_holds(slopes, scale):
    encoded = enhanced([(CENTRES[1], None, slope) for slope in slopes] + [(CENTRES[0], None, 7.0)])
    found = read_metadata(image(first_pixel(CENTRES[1]), encoded), MeasurementHeader())
    assert found.scale == scale
    assert found.plane.first_pixel == pytest.approx(first_pixel(CENTRES[1]), abs=1e-5)
    assert "holds 3 frames, 2 of which lie at the position" in found.frames.note
    assert bool(found.unusable_scale) is (scale is None)
    (made,) = assembled([image(CENTRES[1], encoded)])
    assert (Flag.UNREADABLE_ATTRIBUTES in made.flags) is (scale is None)


def derived(item, number):
    if number:
        item.DerivationImageSequence = sequence(DerivationCodeSequence=code("113072"))


def from_sources(item, number):
    sources = [sequence(PurposeOfReferenceCodeSequence=code("121322"))[0] for _ in range(number + 1)]
    item.DerivationImageSequence = sequence(SourceImageSequence=Sequence(sources))


def viewed(item, number):
    item.AnatomicRegionSequence = code(f"T-{number}")


@pytest.mark.parametrize("add", [derived, from_sources, viewed])
def test_codes_that_differ_and_are_no_units_leave_the_scale_known(add):
    encoded = enhanced([(CENTRES[0], None, 0.5)] * 2, add=add)
    found = read_metadata(image(CENTRES[0], encoded), MeasurementHeader())
    assert (found.scale, found.unusable_scale) == (Scale(0.5), "")


@pytest.mark.parametrize(("units", "known"), [(("ms", "ms"), True), (("ms", "s"), False)])
def test_units_that_differ_leave_the_scale_unknown(units, known):
    def add(item, number):
        item.RealWorldValueMappingSequence = sequence(
            RealWorldValueSlope=0.5,
            RealWorldValueIntercept=0.0,
            RealWorldValueFirstValueMapped=0,
            RealWorldValueLastValueMapped=4000 + number,
            MeasurementUnitsCodeSequence=code(units[number]),
        )

    encoded = enhanced([(CENTRES[0], None, None)] * 2, add=add)
    found = read_metadata(image(CENTRES[0], encoded), MeasurementHeader())
    assert (found.scale == Scale(0.5), bool(found.unusable_scale)) == (known, not known)


def test_an_image_that_lies_at_no_frame_takes_neither_scale_nor_place_of_one():
    encoded = enhanced(
        [(centre, None, slope) for centre, slope in zip(CENTRES, (3.0, 2.0, 2.0), strict=True)]
    )
    (made,) = assembled([image(10.0 * NORMAL, encoded)])
    assert made.geometry.position == pytest.approx(10.0 * NORMAL, abs=1e-3)
    assert float(made.series.values_ms[5, 5]) == 600.0
    assert made.flags == (Flag.UNREADABLE_ATTRIBUTES, Flag.CONTRADICTORY_GEOMETRY)
    assert any("holds 3 frames, none of which lies" in note for note in made.notes)


def test_attributes_of_the_image_state_what_its_frames_leave_open():
    frames = [(centre, time, None) for centre in CENTRES for time in TIMES]
    encoded = enhanced(frames, "T1map_MOLLI", ("ORIGINAL", "PRIMARY", "M", "NONE"))
    images = [
        image(centre, encoded, value=k + 1, set=k, slice=number)
        for number, centre in enumerate(CENTRES)
        for k in range(len(TIMES))
    ]
    failed = assembled(images)
    assert len(failed) == 3
    assert all("DicomJson holds 24 frames, 8 of which lie at the position" in each.error for each in failed)
    timed = [
        Image.from_pixels(each.pixels, each.header, {"DicomJson": encoded, "InversionTime": time})
        for each, time in zip(images, TIMES * 3, strict=True)
    ]
    made = assembled(timed)
    assert [each.series.times_ms.tolist() for each in made] == [TIMES] * 3
    for each, centre in zip(made, CENTRES, strict=True):
        assert each.geometry.position == pytest.approx(centre, abs=1e-3)
        assert each.flags == ()


def test_one_frame_alone_states_all():
    encoded = enhanced([(CENTRES[0], 260.0, 2.0)])
    found = read_metadata(image((500.0, 0.0, 0.0), encoded), MeasurementHeader())
    assert (found.scale, found.frames) == (Scale(2.0), None)


@pytest.mark.parametrize(("stated", "value"), [({"00281053": {"Value": [0.5]}}, 300.0), ({}, 600.0)])
def test_of_more_frames_than_are_read_what_all_share_holds(stated, value):
    content = json.loads(base64.b64decode(enhanced([(CENTRES[0], None, 3.0)]))) | stated
    content["52009230"]["Value"] *= 4097
    (made,) = assembled([image(CENTRES[0], json.dumps(content))])
    assert made.geometry.spacing == SPACING[::-1]
    assert float(made.series.values_ms[5, 5]) == value
    assert made.flags == (() if stated else (Flag.UNREADABLE_ATTRIBUTES,))
    assert made.notes[-1].startswith("DicomJson holds 4097 frames, more than the 4096 that are read. ")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("frame", ["{}", '{"00209113": {"Value": [{"00200032": {"Value": [1e308, 0, 0]}}]}}'])
def test_very_many_frames_end(frame):
    frames = ",".join([frame] * (3_000_000 // (len(frame) + 1)))
    read_metadata(image(CENTRES[0], f'{{"52009230": {{"Value": [{frames}]}}}}'), MeasurementHeader())
