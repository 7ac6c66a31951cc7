"""Simulated examination with native and post-contrast images, and its truth."""

import numpy as np
import pytest

from inline.mrd.files import ImageFile
from inline.replay.simulate import (
    MOLLI_SERIES,
    POST_CONTRAST_SERIES,
    T2PREP_SERIES,
    simulate_examination,
    to_images,
    true_medians,
    write_examination,
)
from model.relaxometry.molli import molli_map
from model.synthesis.contrast_agent import USUAL_AGENT


@pytest.fixture(scope="module")
def slices():
    return simulate_examination(2, size=128, motion_mm=(0.0, 6.0))


@pytest.fixture(scope="module")
def post():
    return simulate_examination(2, size=128, agent=USUAL_AGENT)


def test_post_contrast_images_follow_at_the_same_positions(slices, post):
    images = to_images(slices, post)
    series = [image.header.image_series_index for image in images]
    assert (
        series
        == [MOLLI_SERIES] * 8
        + [T2PREP_SERIES] * 3
        + [MOLLI_SERIES] * 8
        + [T2PREP_SERIES] * 3
        + [POST_CONTRAST_SERIES] * 16
    )
    native, enhanced = images[0].header, images[22].header
    assert native.position == enhanced.position
    assert native.slice == enhanced.slice == 0
    assert (enhanced.acquisition_time_stamp - images[21].header.acquisition_time_stamp) * 2.5 >= 15 * 60_000
    stamps = [image.header.acquisition_time_stamp for image in images]
    assert stamps == sorted(stamps)
    names = [images[place].meta()["SequenceDescription"][0] for place in (0, 8, 22)]
    assert names == ["T1map_MOLLI_native", "T2map_T2prep", "T1map_MOLLI_post-contrast"]


def test_native_images_alone_are_named_as_before(slices):
    images = to_images(slices)
    assert len(images) == 22
    assert images[0].meta()["SequenceDescription"][0] == "T1map_MOLLI"


def test_the_stated_slices_move(slices):
    assert slices[0].molli_motion_mm is None
    assert np.abs(slices[1].molli_motion_mm).max() > 3.0


def test_the_file_has_the_truth_of_both_and_of_ecv(slices, post, tmp_path):
    file = tmp_path / "examination.h5"
    assert write_examination(file, slices, post, USUAL_AGENT) == 38
    truth, problems = true_medians(file)
    assert problems == []
    assert {name for name, _ in truth} == {"T1", "T2", "T1 post-contrast", "ECV"}
    assert truth["ECV", 1] == pytest.approx(27.0)
    assert truth["T1 post-contrast", 0] < 0.6 * truth["T1", 0]
    with ImageFile(file, "") as opened:
        assert sum(1 for _ in opened.images()) == 38


def test_without_contrast_agent_no_truth_of_it_is_stated(slices, tmp_path):
    write_examination(tmp_path / "native.h5", slices)
    truth, _ = true_medians(tmp_path / "native.h5")
    assert {name for name, _ in truth} == {"T1", "T2"}


def test_fits_of_both_give_the_ecv_of_the_agent(slices, post):
    """By the definition, from the medians of wall and cavity; most of MOLLI's error of T1 cancels."""
    wall, cavity = slices[0].labels == 2, slices[0].labels == 1
    rates = []
    for each in (slices[0], post[0]):
        order = np.argsort(each.inversion_times_ms)
        values = molli_map(each.molli[order], each.inversion_times_ms[order]).values_ms
        rates.append([1.0 / np.median(values[region]) for region in (wall, cavity)])
    myocardium, blood = np.subtract(rates[1], rates[0])
    assert 100.0 * (1.0 - 0.42) * myocardium / blood == pytest.approx(27.0, abs=1.5)
