"""Data set of labelled slices for a training: prepared images and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from model.evaluation.cases import LabelledSlice
from model.evaluation.outlines import smooth_outlines
from model.frame import FRAME_PIXELS, Frame, normalise
from model.polygons import inside

Sample = tuple[Tensor, Tensor]
"""Prepared images ``(1, h, w)`` and labels, int64 ``(h, w)``; or batches of both."""

_SMALLEST_CROP: Final = 0.7


class LabelledImages(Dataset[Sample]):
    """Images of labelled slices in the network's frame.

    Args:
        slices: each gives its map and, with ``weighted``, the images that it was made from.
        weighted: use those images too.
        augment: random crop and resize, contrast and intensity, new ones at each access.
        seed: of the augmentation.
    """

    def __init__(
        self, slices: Sequence[LabelledSlice], *, weighted: bool, augment: bool, seed: int = 0
    ) -> None:
        self._images: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []
        for each in slices:
            frame = Frame(each.labels.shape, each.spacing)
            labels = labels_in_frame(each.labels, frame)
            images = [each.network_image, *(each.weighted if weighted else ())]
            self._images += [(frame.to_frame(image), labels) for image in images]
        self._augment = augment
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image, labels = self._images[index]
        if self._augment:
            image, labels = augmented(image, labels, self._random)
        return torch.from_numpy(normalise(image))[None], torch.from_numpy(labels.astype(np.int64))


def labels_in_frame(labels: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
    """Labels ``(rows, columns)`` in the frame, ``(224, 224)``, by the smooth outlines of cavity and heart.

    Interpolated labels would be biased: midway between two pixels each of both classes fills half, and the
    rule for such ties makes the wall thinner or the heart smaller.
    """
    cavity, heart = (_in_frame(mask, frame) for mask in (labels == 1, labels > 0))
    return np.where(heart, np.where(cavity, 1, 2), 0).astype(np.uint8)


def _in_frame(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """Return a mask ``(rows, columns)`` in the frame: its parts, without their holes."""
    found = np.zeros((FRAME_PIXELS, FRAME_PIXELS), dtype=bool)
    if not mask.any():
        return found
    for outline in smooth_outlines(mask):
        found |= inside(frame.to_frame_points(outline), found.shape)
    return found & ~_in_frame(ndimage.binary_fill_holes(mask) & ~mask, frame)


def augmented(
    image: NDArray[np.float32], labels: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Random crop, resized to the frame, and random contrast and intensity (Kalapos et al. 2023, 2.3)."""
    side = FRAME_PIXELS * random.uniform(_SMALLEST_CROP, 1.0)
    left, top = random.uniform(0.0, FRAME_PIXELS - side, 2)
    scale = side / FRAME_PIXELS
    matrix = np.array([[scale, 0.0, left], [0.0, scale, top]])
    size = (FRAME_PIXELS, FRAME_PIXELS)
    crop = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    mask = cv2.warpAffine(labels, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    low, high = float(crop.min()), float(crop.max())
    unit = (crop - low) / max(high - low, 1e-6)
    # Gain and offset go where the image is normalised; a power and a clip change what remains.
    bent = unit ** random.uniform(0.6, 1.6) * random.uniform(0.8, 1.3) + random.uniform(-0.1, 0.1)
    return np.clip(bent, 0.0, 1.0).astype(np.float32), mask.astype(np.uint8)
