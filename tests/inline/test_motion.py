"""Motion of a slice through the pipeline: which map a result holds, and what it says about it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.contouring.plausibility import noisy
from inline.data.flags import Flag
from inline.data.series import MapSeries, Quantity
from inline.emit import mrd
from inline.emit.record import slice_record
from inline.emit.schema import read_record
from inline.engine_selection import build_pipeline
from inline.motion import misaligned
from inline.mrd.header import parse_header
from inline.pipeline import Pipeline, SliceContext, SliceProgress
from inline.replay.simulate import header_xml, simulate_examination, to_images
from inline.settings import AssemblySettings, Settings, load_settings
from model.frame import Frame
from model.motion import correction
from model.motion.gains import OddGain
from model.motion.state import MotionState
from model.relaxometry.molli import fit_molli
from model.synthesis.examination import simulate_slice

MOTION = {Flag.MOVED, Flag.CORRECTED, Flag.MOTION_LEFT}


def assembled(motion_mm, seed=5, size=160):
    slices = simulate_examination(1, seed=seed, size=size, motion_mm=motion_mm)
    assembler = SeriesAssembler(parse_header(header_xml(slices)), AssemblySettings(motion="both"))
    images = to_images(slices)
    return [ready for number, image in enumerate(images) for ready in assembler.add(image, float(number))]


@pytest.fixture(scope="module")
def moving():
    return assembled(9.0)


@pytest.fixture(scope="module")
def still():
    return assembled(0.0)


@pytest.mark.parametrize("place", [0, 1], ids=["T1", "T2"])
def test_a_slice_that_moves_is_corrected_and_says_so(moving, ring_engine, place):
    result = Pipeline(ring_engine, Settings(mapping={"t1_scale": 1.5})).process(moving[place])
    assert result.motion.state is MotionState.CORRECTED
    assert MOTION & set(result.flags) >= {Flag.MOVED, Flag.CORRECTED}
    assert 2.0 < result.motion.largest_shift_mm < 9.0
    assert result.motion.r_squared_after > result.motion.r_squared_before
    (note,) = (note for note in result.notes if "corrected" in note)
    assert f"{result.motion.largest_shift_mm:.1f} mm" in note
    assert f"{result.motion.r_squared_after:.3f}" in note
    unmoved = Settings(mapping={"t1_scale": 1.5, "motion_correction": "off"})
    off = Pipeline(ring_engine, unmoved).process(moving[place])
    assert np.array_equal(off.map.values_ms, result.uncorrected.values_ms)
    assert not np.array_equal(off.map.values_ms, result.map.values_ms)
    assert (off.motion, off.uncorrected) == (None, None)
    assert not MOTION & set(off.flags) - {Flag.MOTION_LEFT}
    assert "motion" not in off.times_ms


@pytest.mark.parametrize("place", [0, 1], ids=["T1", "T2"])
def test_a_slice_at_rest_keeps_its_map(still, ring_engine, place):
    result, off = (
        Pipeline(ring_engine, Settings(mapping={"motion_correction": each})).process(still[place])
        for each in ("auto", "off")
    )
    assert result.motion.state is MotionState.STILL
    assert result.uncorrected is None
    assert not MOTION & set(result.flags)
    for name in ("values_ms", "sd_ms", "r_squared", "failed"):
        assert np.array_equal(getattr(result.map, name), getattr(off.map, name))
    assert result.regions == off.regions
    assert result.notes == off.notes


@pytest.mark.parametrize("image", [2, 4, 7])
def test_one_image_of_a_small_heart_that_moves_beyond_the_first_step_is_corrected(ring_engine, image):
    """By 12 mm, more than the wall: it stayed in the map, with T1 up to 100 ms longer and no flag."""
    still = assembled(0.0, seed=26, size=128)[0]
    images = still.series.images.copy()
    images[image] = np.roll(images[image], (6, 5), axis=(0, 1))
    moved = replace(still, series=replace(still.series, images=images))
    result = Pipeline(ring_engine).process(moved)
    assert result.motion.state is MotionState.CORRECTED
    assert 9.0 < result.motion.largest_shift_mm < 12.5


@pytest.mark.parametrize("signed", [False, True], ids=["magnitude", "signed"])
@pytest.mark.parametrize("shift", [(17, 0), (12, -14)])
def test_one_image_of_a_small_heart_that_moves_beyond_the_search_is_flagged(shift, signed):
    """By 26 mm: the correction does not see it, and T1 was up to 80 ms longer without a flag."""
    simulated = simulate_slice(28, size=128, usual=True, level=0.75)
    order = np.argsort(simulated.inversion_times_ms)
    images, times = simulated.molli[order], simulated.inversion_times_ms[order]
    if signed:
        negative = fit_molli(images, times).negative
        images = np.where(np.arange(len(times))[:, None, None] < negative, -images, images)
    usual = assembled(0.0, seed=28, size=128)[0].series
    still = replace(usual, images=images, times_ms=times, signed=signed)
    assert noisy(still, simulated.labels) == ()
    images = images.copy()
    images[2] = np.roll(images[2], shift, axis=(0, 1))
    ((flag, note),) = noisy(replace(still, images=images), simulated.labels)
    assert flag is Flag.POOR_FIT
    assert f"image of {times[2]:g} ms" in note


def t2prepared(still, snr=50.0, times=(0.0, 25.0, 55.0), level=0.5):
    """A T2 series at rest, its labels and its place in the frame."""
    simulated = simulate_slice(7, size=160, level=level, snr=snr, preparation_times_ms=times)
    series = replace(still[1].series, images=simulated.t2prep, times_ms=np.array(times))
    return series, simulated.labels, Frame((160, 160), series.geometry.spacing)


@pytest.mark.parametrize("snr", [8.0, 20.0, 100.0])
@pytest.mark.parametrize("times", [(0.0, 10.0, 20.0), (0.0, 25.0, 55.0), tuple(np.arange(10.0, 100.0, 10.0))])
@pytest.mark.parametrize("level", [0.2, 0.9])
def test_t2prep_images_at_rest_are_aligned(still, snr, times, level):
    assert misaligned(*t2prepared(still, snr, times, level)) == ()


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_t2prep_images_whose_heart_lies_elsewhere_are_flagged(still, moved):
    """Whatever became of their correction: three images may follow the model as well by a wrong one."""
    series, labels, frame = t2prepared(still, snr=12.0)
    series.images[moved] = np.roll(series.images[moved], (4, -3), axis=(0, 1))
    ((flag, note),) = misaligned(series, labels, frame)
    assert flag is Flag.MOTION_LEFT
    times = series.times_ms[max(moved - 1, 0) :][:2]
    named = f"{times[0]:g} and {times[1]:g} ms"
    assert note.startswith(f"The left ventricle lies 8 mm apart in the images of {named}: ")
    assert misaligned(replace(series, quantity=Quantity.T1), labels, frame) == ()
    assert misaligned(series, np.zeros_like(labels), frame) == ()


@pytest.mark.parametrize("marked", [1, slice(None)])
def test_a_spike_in_the_heart_hides_no_motion(still, marked):
    series, labels, frame = t2prepared(still)
    series.images[1] = np.roll(series.images[1], 4, axis=0)
    rows, columns = np.nonzero(labels == 2)
    series.images[marked, rows[5], columns[5]] = 60_000.0
    ((flag, note),) = misaligned(series, labels, frame)
    assert flag is Flag.MOTION_LEFT
    assert "6 mm apart" in note


def test_spikes_and_images_without_signal_are_no_motion(still):
    series, labels, frame = t2prepared(still)
    rows, columns = np.nonzero(labels == 2)
    series.images[0, rows[0], columns[0]] = 60_000.0
    series.images[1, rows[-1], columns[-1]] = np.inf
    assert misaligned(series, labels, frame) == ()
    series.images[2] = 7.0
    assert misaligned(series, labels, frame) == ()


@pytest.mark.parametrize("place", [0, 1], ids=["T1", "T2"])
def test_a_still_slice_with_a_scaled_image_is_flagged_as_that(still, ring_engine, place):
    series = still[place].series
    image = len(series.images) // 2
    images = series.images.copy()
    images[image] *= np.float32(0.9)
    result = Pipeline(ring_engine).process(replace(still[place], series=replace(series, images=images)))
    assert result.motion.state is MotionState.STILL
    assert Flag.SCALED_IMAGES in result.flags
    assert not MOTION & set(result.flags)
    (note,) = (note for note in result.notes if "scaled by" in note)
    if place == 0:
        assert f"The image of {series.times_ms[image]:g} ms" in note
        assert 0.87 < float(re.search(r"scaled by (\d\.\d+)", note)[1]) < 0.93


@pytest.mark.parametrize(
    ("other", "named"),
    [(OddGain(5, 0.9), "One of the images"), (OddGain(4, 0.95), "The image of "), (None, "")],
    ids=["another", "same", "none"],
)
def test_two_estimates_of_an_odd_gain(other, named, still, ring_engine, monkeypatch):
    """Both must find one; an image is named where it is the same."""
    estimates = iter([OddGain(4, 1.15), other])
    monkeypatch.setattr(correction, "odd_gain", lambda *_: next(estimates))
    result = Pipeline(ring_engine).process(still[0])
    notes = [note for note in result.notes if "scaled by 1.15" in note]
    assert (Flag.SCALED_IMAGES in result.flags) == bool(notes) == bool(named)
    assert all(named in note for note in notes)


def test_what_a_scanner_corrected_or_computed_is_left_alone(moving, ring_engine):
    series = moving[0].series
    values = np.full(series.geometry.shape, 950.0, np.float32)
    made = MapSeries(series.quantity, values, series.geometry, series.identity)
    scaled = replace(series, flags=(Flag.SCALED_IMAGES,))
    for other in (
        replace(moving[0], motion_corrected=True),
        replace(moving[0], series=made),
        replace(moving[0], series=scaled, flags=(Flag.SCALED_IMAGES,)),
    ):
        result = Pipeline(ring_engine).process(other)
        assert result.motion is None
        assert not MOTION & set(result.flags)
        assert slice_record(result)["motion"] is None
        assert "MYOSTREAM_MOTION" not in mrd.images(result, moving[0].template)[0].meta()


def test_motion_that_is_left_is_flagged_with_its_reason(moving, ring_engine):
    series = moving[0].series
    rng = np.random.default_rng(3)
    mixed = np.stack([np.roll(image, rng.integers(30, 60, 2), (0, 1)) for image in series.images])
    result = Pipeline(ring_engine).process(replace(moving[0], series=replace(series, images=mixed)))
    if result.motion is None:
        pytest.fail("the images were not examined")
    assert result.motion.state is MotionState.LEFT
    assert MOTION & set(result.flags) == {Flag.MOVED, Flag.MOTION_LEFT}
    assert any("as acquired, because" in note for note in result.notes)
    assert result.uncorrected is None


def test_record_and_attributes_state_the_motion(moving, still, ring_engine):
    result = Pipeline(ring_engine).process(moving[0])
    stated = slice_record(result)["motion"]
    assert stated == {
        "state": "corrected",
        "r_squared_before": round(result.motion.r_squared_before, 4),
        "r_squared_after": round(result.motion.r_squared_after, 4),
        "largest_shift_mm": round(result.motion.largest_shift_mm, 2),
    }
    assert read_record(slice_record(result))["motion"]["state"] == "corrected"
    attribute = mrd.images(result, moving[0].template)[0].meta()["MYOSTREAM_MOTION"]
    assert attribute[0] == "corrected"
    assert [float(value) for value in attribute[1:]] == [
        stated[name] for name in ("largest_shift_mm", "r_squared_before", "r_squared_after")
    ]
    rest = Pipeline(ring_engine).process(still[0])
    assert slice_record(rest)["motion"]["r_squared_after"] is None
    assert len(mrd.images(rest, still[0].template)[0].meta()["MYOSTREAM_MOTION"]) == 3
    assert not re.search(r"\bnan\b", str(slice_record(rest)))


def test_a_late_slice_states_the_motion_of_its_map(moving, ring_engine):
    progress = SliceProgress(moving[0], SliceContext())
    next(Pipeline(ring_engine).stages(progress))
    late = progress.without_contours("not ready", Flag.LATE)
    assert late.motion.state is MotionState.CORRECTED
    assert {Flag.MOVED, Flag.CORRECTED, Flag.LATE} <= set(late.flags)
    assert "" not in late.notes


def test_the_setting_switches_the_correction_off(monkeypatch, moving, ring_engine):
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda _, **_kwargs: ring_engine)
    for value, examined in (("auto", True), ("off", False)):
        pipeline = build_pipeline(load_settings(mapping={"motion_correction": value}))
        assert (pipeline.process(moving[1]).motion is not None) == examined
