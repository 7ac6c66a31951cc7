from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.cases import LabelledSlice
from model.frame import FRAME_PIXELS, Frame
from model.training.data import LabelledPictures, SyntheticBatches, augmented, labels_in_frame
from model.training.recipe import SYNTHETIC


def disc(size=120, x=60.0, y=50.0, inner=12, outer=20):
    grid = np.arange(size)
    radius = np.hypot(grid[None] - x, grid[:, None] - y)
    return np.where(radius < inner, 1, np.where(radius < outer, 2, 0)).astype(np.uint8)


def labelled(weighted=8):
    labels = disc()
    image = labels.astype(np.float32) * 50
    return LabelledSlice("a", "a", "t1", image, np.stack([image] * weighted), (1.5, 1.5), {"r": labels})


def test_labels_keep_their_place_and_size_in_the_frame():
    frame = Frame((120, 120), (1.5, 1.5))
    found = labels_in_frame(disc(), frame)
    assert found.shape == (FRAME_PIXELS, FRAME_PIXELS)
    for value in (1, 2):
        assert (found == value).sum() == (disc() == value).sum()
    fine = labels_in_frame(disc(240, 120, 100, 24, 40), Frame((240, 240), (0.75, 0.75)))
    assert abs((fine > 0).sum() * 4 - (disc(240, 120, 100, 24, 40) > 0).sum()) < 150


def test_weighted_images_join_the_map_when_wanted():
    assert len(LabelledPictures([labelled()], weighted=True, augment=False)) == 9
    assert len(LabelledPictures([labelled()], weighted=False, augment=False)) == 1
    picture, labels = LabelledPictures([labelled()], weighted=False, augment=False)[0]
    assert picture.shape == (1, 224, 224)
    assert picture.dtype == torch.float32
    assert labels.dtype == torch.int64


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_augmentation_moves_picture_and_labels_together(seed):
    labels = labels_in_frame(disc(), Frame((120, 120), (1.5, 1.5)))
    picture = (labels > 0).astype(np.float32)
    moved, mask = augmented(picture, labels, np.random.default_rng(seed))
    assert set(np.unique(mask)) <= {0, 1, 2}
    bright = moved > (moved.min() + moved.max()) / 2
    inside = mask > 0
    assert inside.any()
    assert 2 * (bright & inside).sum() / (bright.sum() + inside.sum()) > 0.93


SMALL = replace(SYNTHETIC, batch=2, size=96, full_frames=())


def test_synthetic_batches_are_new_in_every_epoch_and_the_same_for_a_seed():
    batches = SyntheticBatches(2, SMALL, seed=3)
    (first, labels), (second, _) = list(batches)
    assert first.shape == (2, 1, 96, 96)
    assert labels.shape == (2, 96, 96)
    assert not torch.equal(first, second)
    assert torch.equal(next(iter(SyntheticBatches(2, SMALL, seed=3)))[0], first)
    batches.epoch = 1
    assert not torch.equal(next(iter(batches))[0], first)


def test_ever_more_batches_show_the_whole_frame():
    recipe = replace(SMALL, batch=11, epochs=4, full_frames=(0.25, 0.5))
    batches = SyntheticBatches(4, recipe, seed=3)
    for epoch, frames in enumerate((1, 1, 2, 2)):
        batches.epoch = epoch
        shapes = [tuple(pictures.shape) for pictures, _ in batches]
        assert shapes.count((2, 1, 224, 224)) == frames
        assert shapes.count((11, 1, 96, 96)) == 4 - frames
