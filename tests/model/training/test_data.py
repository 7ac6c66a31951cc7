import numpy as np
import pytest
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


@pytest.mark.parametrize("shape", [(150, 160), (151, 160), (151, 161), (257, 255)])
@pytest.mark.parametrize("spacing", [(1.5, 1.5), (1.40625, 1.40625), (1.5, 1.8), (0.9, 0.9)])
def test_labels_keep_their_place_and_size_in_the_frame(shape, spacing):
    frame = Frame(shape, spacing)
    radii, centres = [], []
    for x, y in np.random.default_rng(0).uniform(-20.0, 20.0, (12, 2)):
        rows, columns = np.indices(shape)
        apart = np.hypot(
            (columns - (shape[1] - 1) / 2) * spacing[0] - x, (rows - (shape[0] - 1) / 2) * spacing[1] - y
        )
        found = labels_in_frame(np.where(apart < 18, 1, np.where(apart < 25, 2, 0)).astype(np.uint8), frame)
        assert found.shape == (FRAME_PIXELS, FRAME_PIXELS)
        radii.append([np.sqrt(mask.sum() / np.pi) * 1.5 for mask in (found == 1, found > 0)])
        down, right = np.nonzero(found)
        centres.append([(right.mean() - 111.5) * 1.5 - x, (down.mean() - 111.5) * 1.5 - y])
    assert np.mean(radii, axis=0) == pytest.approx([18.0, 25.0], abs=0.08)
    assert np.abs(radii - np.array([18.0, 25.0])).max() < 0.25
    assert np.mean(centres, axis=0) == pytest.approx([0.0, 0.0], abs=0.08)


@pytest.mark.parametrize("size", [120, 121])
def test_labels_of_several_parts_with_holes_or_without_a_class_keep_their_areas(size):
    ring = np.where(disc(size) == 2, 2, 0).astype(np.uint8)  # no cavity
    parts = np.maximum(ring, np.roll(disc(size, inner=5, outer=9), 45, axis=1))
    muscles = disc(size)
    muscles[48:53, 55:59] = 2  # papillary muscles in the cavity
    for labels in (ring, parts, muscles, np.zeros((size, size), np.uint8)):
        found = labels_in_frame(labels, Frame((size, size), (1.5, 1.5)))
        for value in (1, 2):
            assert (found == value).sum() == pytest.approx((labels == value).sum(), rel=0.06)


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
