import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.cases import LabelledSlice
from model.frame import FRAME_PIXELS, Frame
from model.training.data import LabelledImages, augmented, labels_in_frame


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
    assert len(LabelledImages([labelled()], weighted=True, augment=False)) == 9
    assert len(LabelledImages([labelled()], weighted=False, augment=False)) == 1
    image, labels = LabelledImages([labelled()], weighted=False, augment=False)[0]
    assert image.shape == (1, 224, 224)
    assert image.dtype == torch.float32
    assert labels.dtype == torch.int64


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_augmentation_moves_image_and_labels_together(seed):
    labels = labels_in_frame(disc(), Frame((120, 120), (1.5, 1.5)))
    image = (labels > 0).astype(np.float32)
    moved, mask = augmented(image, labels, np.random.default_rng(seed))
    assert set(np.unique(mask)) <= {0, 1, 2}
    bright = moved > (moved.min() + moved.max()) / 2
    inside = mask > 0
    assert inside.any()
    assert 2 * (bright & inside).sum() / (bright.sum() + inside.sum()) > 0.93
