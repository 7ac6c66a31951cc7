"""Agreement of two labellings of a slice: Dice, IoU, Hausdorff and mean surface distance.

Dice and IoU are those of the LV cavity (what the endocardial contour encloses) and of the myocardium;
distances are those of the endocardial and the epicardial contour. Computed by MONAI.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One slice. Distances are mm, NaN where one of the labellings has no such contour."""

    dice_cavity: float
    dice_myocardium: float
    iou_cavity: float
    iou_myocardium: float
    hausdorff_endo: float
    hausdorff_epi: float
    surface_endo: float
    surface_epi: float

    @property
    def dice(self) -> float:
        """Mean of both."""
        return (self.dice_cavity + self.dice_myocardium) / 2

    @property
    def iou(self) -> float:
        """Mean of both."""
        return (self.iou_cavity + self.iou_myocardium) / 2

    @property
    def hausdorff(self) -> float:
        """Mean of both, mm."""
        return (self.hausdorff_endo + self.hausdorff_epi) / 2

    @property
    def surface(self) -> float:
        """Mean of both, mm."""
        return (self.surface_endo + self.surface_epi) / 2


def agreement(found: Labels, expert: Labels, spacing: tuple[float, float]) -> Agreement:
    """How well labels ``(rows, columns)`` agree with a reader's.

    Args:
        found: 0 background, 1 LV cavity, 2 myocardium.
        expert: likewise.
        spacing: pixel size (x, y), mm.

    Raises:
        ImportError: MONAI is not installed (extra ``bench``).
    """
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_iou,
    )

    ours, theirs = _regions(found), _regions(expert)
    dice = compute_dice(ours, theirs, include_background=True, ignore_empty=False)[0].tolist()
    iou = compute_iou(ours, theirs, include_background=True, ignore_empty=False)[0].tolist()
    # Distances of the cavity's border and of the border of cavity and myocardium together.
    contours, experts = _contours(found), _contours(expert)
    there = contours.flatten(2).any(2)[0] & experts.flatten(2).any(2)[0]
    hausdorff, surface = [math.nan, math.nan], [math.nan, math.nan]
    for i in range(2):
        if there[i]:
            one, other = contours[:, i : i + 1], experts[:, i : i + 1]
            size = (spacing[1], spacing[0])
            hausdorff[i] = float(
                compute_hausdorff_distance(one, other, include_background=True, spacing=size)
            )
            surface[i] = float(
                compute_average_surface_distance(
                    one, other, include_background=True, symmetric=True, spacing=size
                )
            )
    return Agreement(*dice, *iou, *hausdorff, *surface)


def dice(a: Labels, b: Labels) -> float:
    """Return the mean Dice coefficient of cavity (1) and myocardium (2); 1 for a class that neither has."""
    scores = []
    for label in (1, 2):
        ours, theirs = a == label, b == label
        total = int(ours.sum()) + int(theirs.sum())
        scores.append(2.0 * int((ours & theirs).sum()) / total if total else 1.0)
    return float(np.mean(scores))


def _regions(labels: Labels) -> torch.Tensor:
    return torch.from_numpy(np.stack([labels == 1, labels == 2])[None].astype(np.float32))


def _contours(labels: Labels) -> torch.Tensor:
    return torch.from_numpy(np.stack([labels == 1, labels > 0])[None].astype(np.float32))
