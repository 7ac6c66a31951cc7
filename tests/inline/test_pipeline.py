import numpy as np
import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.emit import mrd
from inline.emit.record import SCHEMA, record
from inline.flags import Flag
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline
from inline.results import SliceLevel
from inline.settings import EmitSettings, RegionSettings


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header))
    return [ready for number, image in enumerate(images) for ready in assembler.add(image, float(number))]


class NanEngine:
    name = "nan"

    def infer(self, images):
        return np.full((len(images), 3, 224, 224), np.nan, np.float32)


def test_values_are_those_of_the_fit_inside_the_contours(slices, examination, ring_engine):
    simulated, _, _ = examination
    result = Pipeline(ring_engine).process(slices[0])
    wall = result.labels == 2
    assert result.regions[0].name == "global"
    assert result.regions[0].pixels < wall.sum()  # the inset
    whole = Pipeline(ring_engine, RegionSettings(inset=0.0)).process(slices[0])
    good = wall & ~whole.map.failed
    # Pixels on a border count in part here, whole or not at all there.
    assert whole.regions[0].median == pytest.approx(np.median(whole.map.values_ms[good]), rel=0.01)
    assert whole.regions[0].pixels == pytest.approx(good.sum(), rel=0.03)
    assert simulated[0].t1_ms.shape == wall.shape
    assert set(result.times_ms) == {"fit", "prepare", "network", "contours", "regions", "quality"}


def test_the_ring_lands_where_the_engine_saw_it(slices, ring_engine):
    """The frame is 224 pixels of 1.5 mm around the image's centre; the image has 128 of 1.5 mm."""
    result = Pipeline(ring_engine).process(slices[0])
    assert np.hypot(*(result.contours.endo - 63.5).T).mean() == pytest.approx(20.0, abs=0.2)
    assert np.hypot(*(result.contours.epi - 63.5).T).mean() == pytest.approx(28.0, abs=0.2)
    patient = result.geometry.to_patient(result.contours.epi)
    assert np.allclose(result.geometry.to_pixels(patient), result.contours.epi)


def test_level_and_reference_come_from_the_geometry(slices, ring_engine):
    first, last = (Pipeline(ring_engine).process(slices[place]) for place in (0, 2))
    assert (first.level, last.level) == (SliceLevel.BASAL, SliceLevel.APICAL)
    assert "of 2" in first.level_source
    assert "geometry" in first.angular_reference
    assert len(first.regions) == 8
    assert len(last.regions) == 6
    stated = Pipeline(ring_engine, RegionSettings(septum_degrees=90.0, levels={0: SliceLevel.MID}))
    result = stated.process(slices[0])
    assert (result.level, result.level_source) == (SliceLevel.MID, "user")
    assert "user" in result.angular_reference


def test_an_engine_that_gives_no_numbers_gives_no_contour(slices):
    result = Pipeline(NanEngine()).process(slices[0])
    assert result.contours is None
    assert Flag.NO_CAVITY in result.flags
    assert result.map is not None


def test_a_record_is_plain_and_complete(slices, ring_engine):
    import json

    result = Pipeline(ring_engine).process(slices[1])
    plain = record(result)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["schema"] == SCHEMA
    assert len(plain["contours"]["endo"]["pixels"]) == 96
    assert len(plain["contours"]["endo"]["patient_mm"][0]) == 3


def test_images_that_go_back_can_be_chosen(slices, ring_engine):
    result = Pipeline(ring_engine).process(slices[0])
    all_of_them = mrd.images(result, slices[0].template)
    fewer = mrd.images(result, slices[0].template, EmitSettings(overlay=False, segmentation=False))
    assert [image.header.image_series_index for image in all_of_them] == [5010, 5011, 5012]
    assert len(fewer) == 1
    for image in all_of_them:
        assert image.header.position == slices[0].template.position
        assert image.header.slice == 0
    labels = all_of_them[1].pixels[0, 0]
    assert np.array_equal(labels, result.labels)


def test_roi_points_are_the_contour(slices, ring_engine):
    result = Pipeline(ring_engine).process(slices[0])
    meta = mrd.images(result, slices[0].template)[0].meta()
    numbers = [float(value) for value in meta["ROI_endo"]]
    assert numbers[:6] == pytest.approx([1.0, 64 / 255, 64 / 255, 1.0, 0, 1], abs=1e-5)
    drawn = np.reshape(numbers[6:], (-1, 2))
    assert np.allclose(drawn[:-1], result.contours.endo, atol=1e-5)
    assert np.array_equal(drawn[-1], drawn[0])  # closed, as consoles want it
    assert meta["ImageProcessingHistory"] == ("PYTHON", "MYOSTREAM", "T1")
    assert "research only" in meta["ImageComments"][0]
