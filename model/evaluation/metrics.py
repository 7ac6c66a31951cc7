"""Agreement of two labellings of a slice: Dice, IoU, Hausdorff and mean surface distance.

Dice and IoU are those of the LV cavity and of the myocardium. Distances are those of the endocardial and the
epicardial contour, by MONAI.
"""

from __future__ import annotations

import math
import warnings
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
    """Return the agreement of labels ``(rows, columns)`` with a reader's.

    Args:
        found: 0 background, 1 LV cavity, 2 myocardium.
        expert: likewise.
        spacing: pixel size (x, y), mm.

    Raises:
        ImportError: MONAI is not installed (extra ``bench``).
    """
    # MONAI passes this argument itself; where it is removed, the call is too.
    warnings.filterwarnings("ignore", "monai.metrics.utils get_mask_edges:always_return_as", FutureWarning)
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    dices = dice_by_class(found, expert)
    hausdorff, surface = [math.nan, math.nan], [math.nan, math.nan]
    # The border of the cavity, and that of cavity and myocardium together.
    borders = ((found == 1, expert == 1), (found > 0, expert > 0))
    for i, pair in enumerate(borders):
        if all(mask.any() for mask in pair):
            one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in pair)
            size = (spacing[1], spacing[0])
            hausdorff[i] = float(
                compute_hausdorff_distance(one, other, include_background=True, spacing=size)
            )
            surface[i] = float(
                compute_average_surface_distance(
                    one, other, include_background=True, symmetric=True, spacing=size
                )
            )
    ious = (each / (2.0 - each) for each in dices)
    return Agreement(*dices, *ious, *hausdorff, *surface)


def dice_by_class(a: Labels, b: Labels) -> tuple[float, float]:
    """Return the Dice coefficients of cavity (1) and myocardium (2); 1 for a class that neither has."""
    scores = []
    for label in (1, 2):
        ours, theirs = a == label, b == label
        total = int(ours.sum()) + int(theirs.sum())
        scores.append(2.0 * int((ours & theirs).sum()) / total if total else 1.0)
    return scores[0], scores[1]


def dice(a: Labels, b: Labels) -> float:
    """Return the mean Dice coefficient of cavity and myocardium."""
    return sum(dice_by_class(a, b)) / 2
