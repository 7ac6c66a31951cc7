import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from inline.assembly.assembled import Ready
from inline.assembly.assembler import SeriesAssembler
from inline.contouring.confidence import Assessment, Reviewer
from inline.contouring.plausibility import of_values, poorly_fitted
from inline.data.flags import Flag
from inline.data.results import Insertions, SliceLevel
from inline.data.series import Enhancement, MappingSeries, MapSeries, Quantity
from inline.emit import mrd
from inline.emit.record import SCHEMA, slice_record
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline, SliceContext, SliceProgress
from inline.reference import ReferenceRange, ReferenceRanges
from inline.settings import AssemblySettings, EmitSettings, Settings
from model.insertion import heat_maps
from tests.shapes import Constant, RingEngine

NAN = Constant("nan", np.nan)

FIVE_MM = Settings(contours={"endo_offset_mm": 5.0, "epi_offset_mm": 5.0})
BORDERS = Settings(contours={"endo_offset_mm": 0.0, "epi_offset_mm": 0.0})


@pytest.fixture
def slices(examination):
    _, header, images = examination
    assembler = SeriesAssembler(parse_header(header), AssemblySettings(motion="both"))
    return [ready for number, image in enumerate(images) for ready in assembler.add(image, float(number))]


def other_notes(result):
    """Notes but that on fat and fluid: the ring of the engine crosses those of the simulated body."""
    return tuple(note for note in result.notes if "as of fat or fluid" not in note)


def undirected(series):
    """A slice whose headers state no directions."""
    return replace(series, geometry=replace(series.geometry, oriented=False))


def test_values_are_those_of_the_fit_inside_the_contours(slices, examination, ring_engine):
    simulated, _, _ = examination
    result = Pipeline(ring_engine).process(slices[0])
    wall = result.labels == 2
    assert result.regions[0].name == "global"
    assert result.regions[0].pixels < wall.sum()  # the inset
    whole = Pipeline(ring_engine, Settings(regions={"inset": 0.0})).process(slices[0])
    good = wall & ~whole.map.failed
    # Pixels on a border count in part here, whole or not at all there.
    assert whole.regions[0].median == pytest.approx(np.median(whole.map.values_ms[good]), rel=0.01)
    assert whole.regions[0].pixels == pytest.approx(good.sum(), rel=0.03)
    assert simulated[0].t1_ms.shape == wall.shape
    assert set(result.times_ms) == {
        "fit",
        "motion",
        "prepare",
        "network",
        "contours",
        "regions",
        "confidence",
    }


def test_few_grey_levels_are_reported_as_such_alone(slices, ring_engine):
    """Rounding makes pixels equal, which is no clipping, and a lower scale would make it worse."""
    ready = slices[0]
    images = np.rint(ready.series.images * (7.0 / ready.series.images.max()))
    result = Pipeline(ring_engine).process(replace(ready, series=replace(ready.series, images=images)))
    assert Flag.CLIPPED_IMAGES not in result.flags
    assert result.flags.count(Flag.NOISY_IMAGES) == 1
    assert any("grey levels" in note for note in result.notes)


def test_the_ring_lands_where_the_engine_saw_it(slices, ring_engine):
    """The frame is 224 pixels of 1.5 mm around the image's centre; the image has 128 of 1.5 mm."""
    result = Pipeline(ring_engine, BORDERS).process(slices[0])
    assert np.hypot(*(result.contours.endo - 63.5).T).mean() == pytest.approx(20.0, abs=0.2)
    assert np.hypot(*(result.contours.epi - 63.5).T).mean() == pytest.approx(28.0, abs=0.2)


def test_contours_labels_and_values_are_those_of_the_convention_and_state_it(slices, ring_engine):
    borders, drawn = (
        Pipeline(ring_engine, settings).process(slices[0])
        for settings in (BORDERS, Settings(contours={"endo_offset_mm": 3.0, "epi_offset_mm": -1.5}))
    )
    assert (borders.offsets, drawn.offsets) == ((0.0, 0.0), (3.0, -1.5))
    # Pixels of 1.5 mm.
    for points, moved, by in (
        (borders.contours.endo, drawn.contours.endo, 2.0),
        (borders.contours.epi, drawn.contours.epi, 1.0),
    ):
        assert np.hypot(*(moved - 63.5).T).mean() == pytest.approx(
            np.hypot(*(points - 63.5).T).mean() + by, abs=0.02
        )
    assert (drawn.labels == 1).sum() == pytest.approx(np.pi * 22.0**2, rel=0.02)
    assert (drawn.labels > 0).sum() == pytest.approx(np.pi * 29.0**2, rel=0.02)
    assert drawn.regions[0].pixels < borders.regions[0].pixels
    assert other_notes(borders) == other_notes(drawn) == ()
    assert slice_record(drawn)["contour_offsets_mm"] == {"endo": 3.0, "epi": -1.5}
    assert slice_record(drawn)["contour_convention_mm"] == {"endo": 3.0, "epi": -1.5}
    meta = mrd.images(drawn, slices[0].template)[0].meta()
    assert meta["MYOSTREAM_CONTOUR_OFFSETS_MM"] == ("3.000", "-1.500")
    assert Pipeline(ring_engine).process(slices[0]).offsets == (1.5, 1.5)
    blind = Pipeline(NAN).process(slices[0])
    assert (blind.offsets, slice_record(blind)["contour_offsets_mm"]) == (None, None)


def test_a_convention_that_the_wall_cannot_hold_is_reduced_and_says_so(slices, ring_engine):
    """Its wall is 12 mm: of two times 5 mm a third of it, 4 mm, must remain."""
    result = Pipeline(ring_engine, FIVE_MM).process(slices[0])
    assert result.offsets == pytest.approx((4.0, 4.0), abs=0.2)
    assert result.offsets.endo_mm == result.offsets.epi_mm
    (note,) = other_notes(result)
    assert f"{result.offsets.endo_mm:.2f}" in note
    assert "in place of 5 and 5" in note
    assert Flag.THIN_WALL not in result.flags


def test_a_wall_without_room_for_the_convention_is_flagged(slices):
    """Its wall is 6 mm, of which 2 mm remain."""
    result = Pipeline(RingEngine(20, 24), FIVE_MM).process(slices[0])
    assert result.offsets.epi_mm < 2.5
    assert Flag.THIN_WALL in result.flags


def test_the_confidence_is_that_of_the_borders(slices, ring_engine):
    class Watching(Reviewer):
        def assess(self, probabilities, image, contours):
            return Assessment(float(np.hypot(*(contours.epi - 111.5).T).mean()))

    result = Pipeline(ring_engine, reviewer=Watching()).process(slices[0])
    assert result.confidence == pytest.approx(28.0, abs=0.2)


def test_level_and_reference_come_from_the_geometry(slices, ring_engine):
    first, last = (Pipeline(ring_engine).process(slices[place]) for place in (0, 2))
    assert (first.level, last.level) == (SliceLevel.BASAL, SliceLevel.APICAL)
    assert "of 2" in first.level_source
    assert "geometry" in first.angular_reference
    assert len(first.regions) == 8
    assert len(last.regions) == 6
    stated = Pipeline(ring_engine, Settings(regions={"septum_degrees": 90.0, "levels": {0: SliceLevel.MID}}))
    result = stated.process(slices[0])
    assert (result.level, result.level_source) == (SliceLevel.MID, "user")
    assert "user" in result.angular_reference


def test_images_without_directions_have_a_note_unless_the_user_states_the_septum(slices, ring_engine):
    aimless = undirected(slices[0])
    result = Pipeline(ring_engine).process(aimless)
    assert result.notes == (
        "The image headers give no directions (read_dir, phase_dir, slice_dir), and no insertion points of "
        "the right ventricle show the septum: no septum and no segments.",
    )
    assert [each.name for each in result.regions] == ["global"]
    stated = Pipeline(ring_engine, Settings(regions={"septum_degrees": 90.0})).process(aimless)
    assert other_notes(stated) == ()
    assert stated.regions[1].name == "septum"


class HeatEngine:
    """Output of the ring with heat at two points on its outer border."""

    name = "heat"

    def __init__(self, ring_engine, anterior, inferior):
        self._engine = ring_engine
        places = torch.tensor([[anterior, inferior]])
        self._heat = heat_maps(places, 224, 224).float().numpy()

    def infer(self, images):
        output = self._engine.infer(images)
        return np.concatenate([output, np.repeat(self._heat, len(images), axis=0)], axis=1)


ANTERIOR, INFERIOR = (111.5 - 14.0, 111.5 - 28.0 * 0.75**0.5), (111.5 - 14.0, 111.5 + 28.0 * 0.75**0.5)
"""A septum of 120 degrees on the left, as in the simulated examination."""


def test_septum_and_segments_follow_the_insertion_points(slices, ring_engine):
    result = Pipeline(HeatEngine(ring_engine, ANTERIOR, INFERIOR)).process(slices[0])
    # The frame is 224 pixels of 1.5 mm around the image's centre; the image has 128 of 1.5 mm.
    anterior, inferior = result.insertions.anterior, result.insertions.inferior
    assert (anterior.x + 48, anterior.y + 48) == pytest.approx(ANTERIOR, abs=0.1)
    assert (inferior.x + 48, inferior.y + 48) == pytest.approx(INFERIOR, abs=0.1)
    assert result.angular_reference == "RV insertion points"
    assert other_notes(result) == ()
    usual = Pipeline(ring_engine).process(slices[0])
    names = [each.name for each in result.regions]
    assert names[2] == "mid-septum"
    assert names[:2] + names[3:] == [each.name for each in usual.regions]
    assert result.regions[0] == usual.regions[0]
    assert usual.insertions == Insertions()
    # The simulated septum is that of a usual heart, on the left.
    assert result.regions[1].pixels == pytest.approx(usual.regions[1].pixels, rel=0.03)


def test_segments_follow_the_insertion_points_without_image_directions(slices, ring_engine):
    aimless, basal = undirected(slices[0]), Settings(regions={"levels": {0: SliceLevel.BASAL}})
    result = Pipeline(HeatEngine(ring_engine, ANTERIOR, INFERIOR), basal).process(aimless)
    assert len(result.regions) == 9
    assert other_notes(result) == ()
    mirrored = Pipeline(HeatEngine(ring_engine, INFERIOR, ANTERIOR), basal).process(aimless)
    ours, theirs = ({each.name.split()[-1]: each for each in made.regions} for made in (result, mirrored))
    assert ours["anterior"] == replace(theirs["inferior"], name=ours["anterior"].name)
    assert ours["septum"] == theirs["septum"]


def test_insertion_points_that_are_not_used_have_a_note(slices, ring_engine):
    usual = Pipeline(ring_engine).process(slices[0])
    exchanged = Pipeline(HeatEngine(ring_engine, INFERIOR, ANTERIOR)).process(slices[0])
    assert exchanged.regions == usual.regions
    assert exchanged.angular_reference == usual.angular_reference
    (note,) = other_notes(exchanged)
    assert "contradict the image directions" in note
    assert set(exchanged.flags) == {*usual.flags, Flag.CONTRADICTORY_GEOMETRY}
    aimless = undirected(slices[0])
    aside = Pipeline(HeatEngine(ring_engine, (60.0, 60.0), INFERIOR)).process(aimless)
    assert [each.name for each in aside.regions] == ["global"]
    (note,) = other_notes(aside)
    assert "no directions" in note
    assert "show the septum (not at the epicardial contour): no septum" in note
    assert Flag.CONTRADICTORY_GEOMETRY not in aside.flags


def test_a_mirrored_heart_has_a_septum_by_insertion_points_alone(slices, ring_engine):
    geometry = slices[0].geometry
    row, column = (
        np.array(each) * (-1.0, 1.0, 1.0) for each in (geometry.row_direction, geometry.column_direction)
    )
    mirrored = replace(
        slices[0], geometry=replace(geometry, row_direction=tuple(row), column_direction=tuple(column))
    )
    shown = Pipeline(HeatEngine(ring_engine, ANTERIOR, INFERIOR)).process(mirrored)
    assert shown.angular_reference == "RV insertion points"
    assert Flag.CONTRADICTORY_GEOMETRY not in shown.flags
    usual = Pipeline(HeatEngine(ring_engine, ANTERIOR, INFERIOR)).process(slices[0])
    assert shown.regions[:3] == usual.regions[:3]
    exchanged = HeatEngine(ring_engine, INFERIOR, ANTERIOR)
    aside = HeatEngine(ring_engine, (60.0, 60.0), INFERIOR)
    for engine, flagged, shown in (
        (ring_engine, False, "the septum: no septum"),
        (exchanged, True, "the septum (they contradict the image directions): no septum"),
        (aside, False, "the septum (not at the epicardial contour): no septum"),
    ):
        found = Pipeline(engine).process(mirrored)
        assert [each.name for each in found.regions] == ["global"]
        assert found.angular_reference == "none"
        (note,) = other_notes(found)
        assert shown in note
        assert "regions.septum_degrees states its direction, for all slices alike." in note
        assert (Flag.CONTRADICTORY_GEOMETRY in found.flags) is flagged


def test_the_septum_that_the_user_states_precedes_the_insertion_points(slices, ring_engine):
    regions = Settings(regions={"septum_degrees": 90.0})
    stated = Pipeline(HeatEngine(ring_engine, ANTERIOR, INFERIOR), regions).process(slices[0])
    assert "user" in stated.angular_reference
    assert stated.regions == Pipeline(ring_engine, regions).process(slices[0]).regions
    assert stated.insertions.anterior is not None
    assert other_notes(stated) == ()


def test_an_engine_that_gives_no_numbers_gives_no_contour(slices):
    result = Pipeline(NAN).process(slices[0])
    assert result.contours is None
    assert Flag.NO_CAVITY in result.flags
    assert result.map is not None


def test_a_record_is_plain_and_complete(slices, ring_engine):
    import json

    result = Pipeline(ring_engine).process(slices[1])
    plain = slice_record(result)
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


def on_its_own(assembled, offset_mm=0.0):
    """A slice as a series of its own: no slice counter, so far towards the apex from where it was."""
    geometry = assembled.geometry
    position = tuple(np.asarray(geometry.position) + offset_mm * np.asarray(geometry.slice_direction))
    return replace(assembled, slice_count=None, geometry=replace(geometry, position=position))


def test_a_slice_alone_has_no_level_and_no_named_segment(slices, ring_engine):
    result = Pipeline(ring_engine).process(on_its_own(slices[0]))
    assert result.level is SliceLevel.UNKNOWN
    assert "only slice position" in result.level_source
    assert [region.name for region in result.regions] == ["global", "septum"]
    assert slice_record(result)["level"] == "unknown"


def test_the_level_is_that_among_the_slices_shown(slices, ring_engine):
    alone = [on_its_own(slices[0], offset) for offset in (0.0, 20.0, 40.0)]
    places = tuple(each.slice_place() for each in alone)
    levels = []
    for number, each in enumerate(alone):
        # The slice itself is the last of those shown.
        shown = (*places[:number], *places[number + 1 :], places[number])
        result = Pipeline(ring_engine).process(each, SliceContext(study=shown))
        levels.append(result.level)
        assert any(name.startswith("AHA") for name in (region.name for region in result.regions))
    assert levels == [SliceLevel.BASAL, SliceLevel.MID, SliceLevel.APICAL]


def test_a_factor_on_t1_scales_values_and_deviation_and_nothing_else(slices, ring_engine):
    plain = Pipeline(ring_engine).process(slices[0])
    larger = Pipeline(ring_engine, Settings(mapping={"t1_scale": 1.0365})).process(slices[0])
    assert np.allclose(larger.map.values_ms, 1.0365 * plain.map.values_ms, rtol=1e-6)
    assert np.allclose(larger.map.sd_ms, 1.0365 * plain.map.sd_ms, rtol=1e-6)
    assert np.array_equal(larger.map.r_squared, plain.map.r_squared)
    for ours, theirs in zip(larger.regions, plain.regions, strict=True):
        assert ours.median == pytest.approx(1.0365 * theirs.median, rel=1e-5)
        assert ours.pixels == theirs.pixels
    assert (plain.t1_scale, larger.t1_scale) == (1.0, 1.0365)
    assert other_notes(plain) == ()
    assert any("1.0365" in note and "mapping.t1_scale" in note for note in larger.notes)
    assert slice_record(larger)["t1_scale"] == 1.0365


def prepared(engine, assembled, settings=None):
    """A slice in work whose map and network input are ready."""
    progress = SliceProgress(assembled)
    next(Pipeline(engine, settings).stages(progress))
    return progress


def test_the_network_input_does_not_depend_on_the_factor(slices, ring_engine):
    plain, larger = (
        prepared(ring_engine, slices[0], Settings(mapping={"t1_scale": factor})).prepared
        for factor in (1.0, 1.9)
    )
    assert np.array_equal(plain.network_input, larger.network_input)
    assert larger.parametric.values_ms.max() > plain.parametric.values_ms.max()


def test_the_factor_of_a_slice_goes_before_that_of_the_settings(slices, ring_engine):
    pipeline = Pipeline(ring_engine, Settings(mapping={"t1_scale": 1.0365}))
    assert pipeline.process(slices[0], SliceContext(settings=Settings())).t1_scale == 1.0
    assert pipeline.process(slices[0], SliceContext()).t1_scale == 1.0365


def test_the_factor_is_for_fitted_t1_alone(slices, ring_engine):
    pipeline = Pipeline(ring_engine, Settings(mapping={"t1_scale": 1.0365}))
    t2 = pipeline.process(slices[1])
    assert (t2.quantity.value, t2.t1_scale) == ("T2", 1.0)
    assert "multiplied" not in " ".join(t2.notes)
    series = slices[0].series
    values = np.full(series.geometry.shape, 950.0, np.float32)
    scanner = replace(slices[0], series=MapSeries(series.quantity, values, series.geometry, series.identity))
    result = pipeline.process(scanner)
    assert result.scanner_made
    assert result.regions[0].median == pytest.approx(950.0)
    assert (result.t1_scale, result.notes) == (1.0, ())


def test_a_slice_that_fails_after_its_fit_states_the_factor_of_its_map(slices, ring_engine):
    error = RuntimeError("no such kernel")
    result = prepared(ring_engine, slices[0], Settings(mapping={"t1_scale": 1.0365})).failure(error)
    assert (result.t1_scale, result.error) == (1.0365, "RuntimeError: no such kernel")
    assert any("1.0365" in note for note in result.notes)
    assert SliceProgress(slices[0]).failure(error).t1_scale == 1.0


def with_images(assembled, images):
    return replace(assembled, series=replace(assembled.series, images=images.astype(np.float32)))


def outputs(result, template):
    """Words of a result that go out: record, attributes of the images."""
    attributes = [image.meta() for image in mrd.images(result, template)]
    return [str(slice_record(result)), *(str(each) for each in attributes)]


def of_columns(assembled, columns):
    """The slice with columns cut off on both sides, or black ones added."""
    series, rows = assembled.series, assembled.geometry.shape[0]
    images = np.zeros((len(series.images), rows, columns), np.float32)
    width = series.images.shape[2]
    kept = min(columns, width)
    start, first = (width - kept) // 2, (columns - kept) // 2
    images[:, :, first : first + kept] = series.images[:, :, start : start + kept]
    geometry = replace(assembled.geometry, shape=(rows, columns))
    return replace(assembled, geometry=geometry, series=replace(series, geometry=geometry, images=images))


@pytest.mark.parametrize(("columns", "cut"), [(58, False), (54, True)])
def test_a_heart_that_the_image_cuts_off_is_flagged_and_has_no_segments(slices, ring_engine, columns, cut):
    """The ring of the engine is 56 columns wide."""
    pipeline = Pipeline(ring_engine)
    result = pipeline.process(of_columns(slices[0], columns))
    assert (Flag.CUT_OFF in result.flags) is cut
    for level in (SliceLevel.MID, SliceLevel.APICAL):
        names = [region.name for region in pipeline.at_level(result, level, "user").regions]
        assert names[:2] == ["global", "septum"]
        assert any("AHA" in name for name in names) is not cut
    attributes = mrd.images(result, slices[0].template)[0].meta()
    assert ("cut-off" in attributes.get("MYOSTREAM_FLAGS", ())) is cut


@pytest.mark.parametrize("columns", [224, 240])
def test_a_slice_without_contours_states_the_size_of_the_network_input(slices, columns):
    result = Pipeline(NAN).process(of_columns(slices[0], columns))
    said = [note for note in result.notes if "336 x 336 mm" in note]
    assert len(said) == (columns > 224)
    assert all("360 x 192 mm" in note for note in said)


def test_an_empty_map_is_flagged_and_says_why(slices, ring_engine):
    result = Pipeline(ring_engine).process(with_images(slices[0], np.zeros_like(slices[0].series.images)))
    assert Flag.EMPTY_MAP in result.flags
    assert any("empty" in note and "check" in note for note in result.notes)
    assert not any(re.search(r"\bnan\b", text) for text in outputs(result, slices[0].template))


def test_a_ring_without_values_is_flagged_and_says_why(slices, ring_engine):
    images = slices[0].series.images.copy()
    rows, columns = np.mgrid[: images.shape[1], : images.shape[2]]
    images[:, np.abs(np.hypot(rows - 63.5, columns - 63.5) - 24.0) < 8.0] = 0.0
    result = Pipeline(ring_engine).process(with_images(slices[0], images))
    assert Flag.NO_VALUES in result.flags
    assert result.regions[0].median is None
    assert any("contours" in note for note in result.notes)
    assert not any(re.search(r"\bnan\b", text) for text in outputs(result, slices[0].template))


@pytest.mark.parametrize("engine", ["ring", "nan"])
def test_times_in_the_wrong_unit_are_flagged_with_and_without_contours(slices, ring_engine, engine):
    tenth = replace(slices[1].series, times_ms=slices[1].series.times_ms * 100.0)
    pipeline = Pipeline(ring_engine if engine == "ring" else NAN, BORDERS)
    result = pipeline.process(replace(slices[1], series=tenth))
    assert (result.contours is None) == (engine == "nan")
    # Hardly a pixel of the wall is fitted.
    assert (Flag.NO_VALUES if engine == "ring" else Flag.IMPLAUSIBLE_VALUES) in result.flags
    assert any("preparation times" in note for note in result.notes)


def test_a_map_that_goes_out_without_its_contours_is_checked_too(slices, ring_engine):
    empty = with_images(slices[0], np.zeros_like(slices[0].series.images))
    result = prepared(ring_engine, empty).without_contours("not ready", Flag.LATE)
    assert result.flags == (Flag.EMPTY_MAP, Flag.LATE)


def ring_of(ready, blood, wall):
    """The slice as a scanner's map with these T1 values in the ring of the engine."""
    y, x = np.mgrid[:128, :128] - 63.5
    values = np.where(np.hypot(x, y) < 20.0, blood, wall).astype(np.float32)
    series = MapSeries(ready.series.quantity, values, ready.geometry, ready.identity)
    return replace(ready, series=series, enhancement=None, enhancement_source="")


@pytest.mark.parametrize("sentinel", [4095.0, 65_535.0])
def test_pixels_of_a_scanners_map_that_no_tissue_has_are_left_out_and_counted(slices, ring_engine, sentinel):
    stated = Settings(regions={"levels": {slices[0].identity.slice_index: "mid"}, "septum_degrees": 0.0})
    ready = ring_of(slices[0], 1600.0, 1000.0)
    values = ready.series.values_ms + np.random.default_rng(0).normal(0.0, 30.0, (128, 128)).astype(
        np.float32
    )
    y, x = np.mgrid[:128, :128] - 63.5

    def result_of(degrees):
        values_ms = np.where(np.abs(np.degrees(np.arctan2(y, x))) < degrees / 2.0, sentinel, values)
        changed = replace(ready.series, values_ms=values_ms.astype(np.float32))
        return pipeline.process(replace(ready, series=changed))

    pipeline = Pipeline(ring_engine, stated)
    few = result_of(30.0)
    assert len(few.regions) == 8
    for each in few.regions:
        assert (each.median, each.mean) == pytest.approx((1000.0, 1000.0), rel=0.01)
        assert each.sd == pytest.approx(30.0, rel=0.25)
    (note,) = (note for note in few.notes if "above 3000 ms" in note)
    count = int(((few.labels == 2) & (few.map.values_ms == sentinel)).sum())
    assert note.startswith(f"{count} of {int((few.labels == 2).sum())} pixels")
    assert few.map.values_ms.max() == sentinel
    again = pipeline.at_level(few, SliceLevel.BASAL, "stated")
    assert [each.sd for each in again.regions] == [each.sd for each in few.regions]
    most = {each.name: each.median for each in result_of(110.0).regions}
    assert most["septum"] is None
    assert most["global"] == pytest.approx(1000.0, rel=0.01)
    assert Flag.IMPLAUSIBLE_VALUES in result_of(360.0).flags


def lost(ready, quantity, snr, degrees):
    """The slice as images of the ring with noise (SNR 50), whose signal in a sector has another SNR."""
    y, x = np.mgrid[:128, :128] - 63.5
    cavity, sector = np.hypot(x, y) < 20.0, np.abs(np.degrees(np.arctan2(y, x))) < degrees / 2.0
    if quantity is Quantity.T1:
        times = np.array([100.0, 180.0, 260.0, 1000.0, 1080.0, 1900.0, 1980.0, 2800.0])
        signal = 1.0 - 1.9 * np.exp(-times[:, None, None] / (np.where(cavity, 1600.0, 1000.0) / 0.9))
    else:
        times = np.array([0.0, 25.0, 55.0])
        signal = np.exp(-times[:, None, None] / np.where(cavity, 180.0, 48.0))
    noise = np.random.default_rng(4).standard_normal((2, *signal.shape))
    images = np.hypot(np.where(sector & ~cavity, snr, 50.0) * signal + noise[0], noise[1])
    series = MappingSeries(quantity, images.astype(np.float32), times, ready.geometry, ready.identity)
    return replace(Ready.of(series), slice_count=None)


@pytest.mark.parametrize("snr", [0.5, 2.0])
@pytest.mark.parametrize(("quantity", "truth"), [(Quantity.T1, 1000.0), (Quantity.T2, 48.0)])
def test_a_segment_without_signal_has_no_value_and_is_flagged(slices, ring_engine, quantity, truth, snr):
    stated = Settings(regions={"levels": {slices[0].identity.slice_index: "mid"}, "septum_degrees": 0.0})
    result = Pipeline(ring_engine, stated).process(lost(slices[0], quantity, snr, 120.0))
    medians = {each.name: each.median for each in result.regions}
    septal = ["septum", "AHA 8 mid anteroseptal", "AHA 9 mid inferoseptal"]
    assert [name for name, median in medians.items() if median is None] == septal
    assert result.flags.count(Flag.POOR_FIT) == 1
    assert any(f"No value of {', '.join(septal)}:" in note for note in result.notes)
    others = [median for name, median in medians.items() if name.startswith("AHA") and name not in septal]
    assert others == pytest.approx([truth] * 4, rel=0.02)


@pytest.mark.parametrize("place", ["basal", "apical", "unknown"])
def test_a_part_of_the_wall_whose_signal_is_near_the_noise_is_flagged(slices, ring_engine, place):
    """Its T2 was 10 to 20 % too long in a ring without a flag."""
    stated = Settings(regions={"levels": {slices[0].identity.slice_index: place}, "septum_degrees": 0.0})
    result = Pipeline(ring_engine, stated).process(lost(slices[0], Quantity.T2, 5.5, 120.0))
    medians = {each.name: each.median for each in result.regions}
    assert medians["global"] == pytest.approx(48.0, rel=0.04)
    assert medians["septum"] is None or medians["septum"] > 1.05 * 48.0
    assert Flag.NOISY_IMAGES in result.flags
    (note,) = (note for note in result.notes if "part of the wall" in note)
    named = set(note[note.index("(") + 1 : note.index(")")].split(", "))
    assert named <= {"anteroseptal", "anteroseptal/inferoseptal", "inferoseptal"}


@pytest.mark.parametrize("quantity", Quantity)
@pytest.mark.parametrize("snr", [3.0, 4.5, 6.0])
def test_a_sixth_of_the_wall_near_the_noise_is_flagged_across_two_segments_too(
    slices, ring_engine, quantity, snr
):
    """Half of it lies in either segment, which has a value."""
    pipeline = Pipeline(ring_engine, Settings(regions={"septum_degrees": 0.0}))
    result = pipeline.process(lost(slices[0], quantity, snr, 60.0))
    assert result.flags == (Flag.NOISY_IMAGES,)
    assert "(anteroseptal/inferoseptal)" in result.notes[0]


def test_no_part_of_a_heart_that_is_cut_off_is_named(slices, ring_engine):
    """The angles around its centre are not known."""
    pipeline = Pipeline(ring_engine, Settings(regions={"septum_degrees": 0.0}))
    result = pipeline.process(of_columns(lost(slices[0], Quantity.T2, 4.5, 120.0), 54))
    assert Flag.CUT_OFF in result.flags
    assert Flag.NOISY_IMAGES not in result.flags


@pytest.mark.parametrize("quantity", Quantity)
def test_parts_of_the_wall_with_signal_are_not_flagged(slices, ring_engine, quantity):
    stated = Settings(regions={"septum_degrees": 0.0})
    result = Pipeline(ring_engine, stated).process(lost(slices[0], quantity, 15.0, 120.0))
    assert Flag.NOISY_IMAGES not in result.flags


@pytest.mark.parametrize("quantity", Quantity)
def test_segments_with_signal_are_not_flagged(slices, ring_engine, quantity):
    stated = Settings(regions={"levels": {slices[0].identity.slice_index: "mid"}, "septum_degrees": 0.0})
    result = Pipeline(ring_engine, stated).process(lost(slices[0], quantity, 12.0, 360.0))
    assert all(each.median is not None for each in result.regions)
    assert Flag.POOR_FIT not in result.flags


@pytest.mark.parametrize(
    ("blood", "expected"), [(1600.0, "native"), (330.0, "post-contrast"), (1000.0, None)]
)
def test_blood_shows_whether_a_map_is_native(slices, ring_engine, blood, expected):
    result = Pipeline(ring_engine).process(ring_of(slices[0], blood, 900.0))
    assert result.blood.median_ms == blood
    assert result.blood.standard_error_ms is None
    assert result.enhancement == expected
    assert f"{blood:.0f} ms" in result.enhancement_source
    assert slice_record(result)["blood_t1"]["median"] == blood


def test_a_statement_that_the_blood_contradicts_is_flagged(slices, ring_engine):
    ready = replace(
        ring_of(slices[0], 330.0, 450.0),
        enhancement=Enhancement.NATIVE,
        enhancement_source="series description",
    )
    result = Pipeline(ring_engine).process(ready)
    assert result.enhancement is Enhancement.NATIVE
    assert Flag.IMPLAUSIBLE_BLOOD in result.flags
    assert any("states a native map" in note and "post-contrast" in note for note in result.notes)


def test_t2_and_slices_without_contours_have_no_blood_t1(slices, ring_engine):
    assert Pipeline(ring_engine).process(slices[1]).blood is None
    assert Pipeline(NAN).process(slices[0]).blood is None


def test_z_scores_follow_the_ranges_of_the_site(slices, ring_engine):
    common = {"quantity": "T1", "field_strength": 1.5, "sd": 20.0, "n": 25, "source": "site"}
    # The ring is a map of the scanner.
    ranges = ReferenceRanges((ReferenceRange(region="global", mean=860.0, scanner_made=True, **common),))
    ready = ring_of(slices[0], 1600.0, 900.0)
    result = Pipeline(ring_engine, ranges=ranges).process(ready)
    assert (result.field_strength, result.reference) == (1.5, "site (n = 25)")
    assert result.regions[0].z_score == pytest.approx(2.0)
    assert result.regions[1].z_score is None
    elsewhere = Pipeline(ring_engine, ranges=ranges).process(replace(ready, field_strength=3.0))
    assert elsewhere.regions[0].z_score is None
    assert any(note.startswith("No z-scores") for note in elsewhere.notes)


@pytest.mark.parametrize("level", SliceLevel)
def test_a_result_at_another_level_is_that_of_a_slice_known_to_lie_there(slices, ring_engine, level):
    common = {"quantity": "T1", "field_strength": 1.5, "sd": 20.0, "n": 30, "source": "site"}
    names = ("global", "AHA 1 basal anterior", "AHA 13 apical anterior")
    ranges = ReferenceRanges(tuple(ReferenceRange(region=name, mean=860.0, **common) for name in names))
    ready = replace(slices[0], enhancement=Enhancement.NATIVE)
    index = ready.identity.slice_index
    expected, other = (
        Pipeline(ring_engine, Settings(regions={"levels": {index: each}}), ranges=ranges).process(ready)
        for each in (level, SliceLevel.MID)
    )
    found = Pipeline(ring_engine, ranges=ranges).at_level(other, level, "user")
    assert found.regions == expected.regions
    assert slice_record(found) == slice_record(expected) | {"times_ms": slice_record(found)["times_ms"]}
    assert any(each.z_score is not None for each in found.regions)


def test_a_segment_of_another_level_that_is_implausible_is_flagged(slices, ring_engine):
    result = Pipeline(ring_engine).process(slices[0])
    values = result.map.values_ms.copy()
    values[:, : values.shape[1] // 2] = 5.0  # less than half of the wall
    values[result.labels == 0] = 5.0
    rows = np.flatnonzero((result.labels == 2).any(axis=1))
    values[: rows[0] + 10] = 4000.0
    unknown = replace(result, map=replace(result.map, values_ms=values), level=SliceLevel.UNKNOWN)
    found = Pipeline(ring_engine).at_level(unknown, SliceLevel.BASAL, "position")
    assert Flag.IMPLAUSIBLE_VALUES in found.flags
    assert "AHA" in found.notes[-1]


@pytest.mark.parametrize("fit", [True, False])
def test_a_segment_of_another_level_with_values_of_fat_is_flagged(slices, ring_engine, fit):
    """Live page and report keep the map without its SD, which is large here in most of the cavity."""
    result = Pipeline(ring_engine).process(slices[0])
    fat = result.labels == 2
    fat[np.flatnonzero(fat.any(axis=1))[0] + 10 :] = False  # less than half of the wall
    values = np.select([fat, result.labels == 1], [300.0, 1500.0], default=950.0).astype(np.float32)
    noisy = (result.labels == 1) & (np.arange(values.shape[1]) % 3 > 0)
    values[noisy] = 1700.0
    sd = np.where(noisy, np.float32(600.0), result.map.sd_ms)
    parametric = replace(result.map, values_ms=values, sd_ms=sd, r_squared=np.ones_like(values))
    unknown = replace(result, map=parametric, flags=(), notes=(), level=SliceLevel.UNKNOWN)
    found = Pipeline(ring_engine).at_level(unknown, SliceLevel.BASAL, "position")
    assert found.flags == (Flag.IMPLAUSIBLE_VALUES,)
    assert "of AHA 1 basal anterior is 300 ms" in found.notes[-1]
    kept = found if fit else replace(found, map=of_values(values, poorly_fitted(parametric)))
    again = Pipeline(ring_engine).at_level(kept, SliceLevel.UNKNOWN, "position")
    assert again.flags == ()
    assert not any("fat" in note for note in again.notes)


@pytest.mark.parametrize("fit", [True, False])
def test_the_note_on_a_segment_without_a_value_is_that_of_the_level(slices, ring_engine, fit):
    """A sector of noise that holds a whole segment; live page and report keep its pixels without the fit."""
    pipeline = Pipeline(ring_engine)
    result = replace(pipeline.process(slices[0]), level=SliceLevel.UNKNOWN)
    rows, columns = np.indices(result.labels.shape) - np.array(result.labels.shape)[:, None, None] / 2.0
    noise = np.abs(np.degrees(np.arctan2(rows, columns)) - 45.0) < 60.0
    sd = np.where(noise, 0.5 * result.map.values_ms, result.map.sd_ms).astype(np.float32)
    lost = replace(result.map, r_squared=np.where(noise, np.float32(0.3), 1.0), sd_ms=sd)
    mid = pipeline.at_level(replace(result, map=lost), SliceLevel.MID, "user")
    kept = mid if fit else replace(mid, map=of_values(lost.values_ms, poorly_fitted(lost)))
    basal = pipeline.at_level(kept, SliceLevel.BASAL, "user")
    said = [[note for note in each.notes if note.startswith("No value of")] for each in (mid, basal)]
    assert [len(each) for each in said] == [1, 1]
    assert "mid" in said[0][0]
    assert "basal" in said[1][0]
    assert "mid " not in said[1][0]
    empty = {each.name for each in basal.regions if each.median is None}
    assert empty
    assert all(name in said[1][0] for name in empty)


def test_without_contours_a_result_has_its_level_alone(slices, ring_engine):
    result = replace(Pipeline(ring_engine).process(slices[0]), contours=None, regions=())
    found = Pipeline(ring_engine).at_level(result, SliceLevel.APICAL, "position")
    assert slice_record(found) == slice_record(
        replace(result, level=SliceLevel.APICAL, level_source="position")
    )


def test_ranges_hold_for_the_convention_and_not_for_the_offsets_that_a_thin_wall_leaves(slices, ring_engine):
    common = {"quantity": "T2", "field_strength": 1.5, "mean": 47.0, "sd": 2.0, "n": 25, "source": "site"}
    t2 = next(each for each in slices if each.quantity == "T2")
    for stated, compared in ((5.0, True), (4.0, False)):
        made = ReferenceRange(region="global", contour_convention_mm=(stated, stated), **common)
        pipeline = Pipeline(ring_engine, FIVE_MM, ranges=ReferenceRanges((made,)))
        result = pipeline.process(t2)
        assert result.offsets == pytest.approx((4.0, 4.0), abs=0.2)
        assert (result.regions[0].z_score is not None) == compared


def test_the_uncertainty_of_the_boundaries_is_there_on_request_alone(slices, ring_engine):
    class Unsure:
        name = "unsure"

        def infer(self, images):
            output = ring_engine.infer(images)
            output[:, :, 100:120] = 1.0 / 3.0
            return output

    assert Pipeline(Unsure()).process(slices[0]).boundary_uncertainty is None
    uncertain = Settings(emit={"uncertainty": True})
    pipeline = Pipeline(Unsure(), uncertain)
    found = pipeline.process(slices[0]).boundary_uncertainty
    # Row 100 of the frame is row 52 of the image.
    assert found[:51].max() == found[73:].max() == 0.0
    assert found[53:71] == pytest.approx(1.0, abs=1e-5)
    context = SliceContext(settings=Settings())
    assert pipeline.process(slices[0], context).boundary_uncertainty is None
    assert np.isfinite(Pipeline(NAN, uncertain).process(slices[0]).boundary_uncertainty).all()


@pytest.mark.parametrize("place", [0, 1], ids=["T1", "T2"])
@pytest.mark.parametrize("value", [0.0, 300.0])
def test_an_image_without_signal_is_named(slices, ring_engine, place, value):
    """One black image made T1 up to 77 % longer."""
    images = slices[place].series.images.copy()
    images[1] = value
    images[1, 5, 5] = np.nan
    result = Pipeline(ring_engine).process(with_images(slices[place], images))
    assert result.flags.count(Flag.SCALED_IMAGES) == 1
    named = f"The pixels of the image of {slices[place].series.times_ms[1]:g} ms are all equal ({value:g})"
    assert [note.startswith(named) for note in result.notes].count(True) == 1
    assert Flag.MOVED not in result.flags
