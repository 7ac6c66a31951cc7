"""How right a confidence is: reliability, its error, and what is gained by leaving the least certain out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.output import save_figure

FloatArray = NDArray[np.float64]

BINS: Final = 10
SHARES: Final = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
POOR: Final = 0.7
"""Dice coefficient below which contours are of little use."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Slices whose expected Dice lies in one interval: how many, and the means of both."""

    low: float
    high: float
    slices: int
    expected: float
    dice: float


def reliability(expected: FloatArray, dice: FloatArray, bins: int = BINS) -> list[Bin]:
    """Slices ``(n,)`` by expected Dice, in intervals of equal width that hold any."""
    place = np.minimum((expected * bins).astype(int), bins - 1)
    return [
        Bin(
            low=i / bins,
            high=(i + 1) / bins,
            slices=int((place == i).sum()),
            expected=float(expected[place == i].mean()),
            dice=float(dice[place == i].mean()),
        )
        for i in range(bins)
        if (place == i).any()
    ]


def calibration_error(expected: FloatArray, dice: FloatArray, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of both means over the intervals, weighted by slices."""
    return sum(
        each.slices * abs(each.expected - each.dice) for each in reliability(expected, dice, bins)
    ) / max(len(dice), 1)


def retention(order: FloatArray, dice: FloatArray) -> FloatArray:
    """Mean Dice of the ``k`` slices that come first in an order, for k from 1 to n.

    Args:
        order: slices ``(n,)`` with large values are kept longest; among equals, the mean is as if each of
            them were equally likely to be kept.
        dice: of each.
    """
    # Equals take the mean of their Dice, so that the curve does not depend on how they happen to be sorted.
    _, group = np.unique(order, return_inverse=True)
    shared = (np.bincount(group, weights=dice) / np.bincount(group))[group]
    by_order = shared[np.argsort(-order, kind="stable")]
    curve: FloatArray = np.cumsum(by_order) / np.arange(1, len(dice) + 1)
    return curve


def figures(expected: FloatArray, dice: FloatArray) -> dict[str, Any]:
    """All figures of a confidence on some slices with contours, as plain values."""
    curve, best = retention(expected, dice), retention(dice, dice)
    kept = {share: max(round(share * len(dice)), 1) - 1 for share in SHARES}
    return {
        "slices": len(dice),
        "mean_dice": float(dice.mean()),
        "calibration_error": calibration_error(expected, dice),
        "mean_absolute_error": float(np.abs(expected - dice).mean()),
        "mean_absolute_error_of_the_mean": float(np.abs(dice.mean() - dice).mean()),
        "reliability": [
            {name: getattr(each, name) for name in each.__slots__} for each in reliability(expected, dice)
        ],
        "retention": [
            {"kept": share, "dice": float(curve[last]), "dice_if_known": float(best[last])}
            for share, last in kept.items()
        ],
        "thresholds": [_threshold(expected, dice, each) for each in THRESHOLDS],
    }


def _threshold(expected: FloatArray, dice: FloatArray, threshold: float) -> dict[str, float | None]:
    """What a threshold flags, and what it misses."""
    flagged = expected < threshold
    poor = dice < POOR
    return {
        "threshold": threshold,
        "flagged": float(flagged.mean()),
        "dice_flagged": float(dice[flagged].mean()) if flagged.any() else None,
        "dice_kept": float(dice[~flagged].mean()) if (~flagged).any() else None,
        "poor_found": float(flagged[poor].mean()) if poor.any() else None,
        "good_flagged": float(flagged[~poor].mean()) if (~poor).any() else None,
    }


def plot(folder: Path, expected: FloatArray, dice: FloatArray) -> None:
    """Write ``reliability.png`` and ``retention.png``.

    Raises:
        ImportError: matplotlib is not installed (extra ``calibrate``).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, (axes, counts) = plt.subplots(
        2, 1, figsize=(5, 6), sharex=True, gridspec_kw={"height_ratios": [4, 1]}
    )
    found = reliability(expected, dice)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="as it should be")
    axes.scatter(expected, dice, s=6, alpha=0.25, color="C0", label="slices")
    axes.plot(
        [each.expected for each in found], [each.dice for each in found], "o-", color="C1", label="means"
    )
    axes.set_ylabel("Dice with the truth")
    axes.set_title(
        f"{len(dice)} slices, calibration error {calibration_error(expected, dice):.3f}", fontsize=10
    )
    axes.legend(loc="upper left")
    counts.bar([(each.low + each.high) / 2 for each in found], [each.slices for each in found], 0.9 / BINS)
    counts.set_ylabel("slices")
    counts.set_xlabel("expected Dice")
    figure.tight_layout()
    save_figure(figure, folder / "reliability.png", dpi=120)
    plt.close(figure)

    figure, axes = plt.subplots(figsize=(6, 4))
    share = np.arange(1, len(dice) + 1) / len(dice)
    axes.plot(share, retention(dice, dice), color="0.6", linestyle="--", label="if Dice were known")
    axes.plot(share, retention(expected, dice), color="C1", label="by confidence")
    axes.axhline(float(dice.mean()), color="0.6", linestyle=":", label="at random")
    axes.set_xlabel("share of slices kept, the most confident first")
    axes.set_ylabel("mean Dice of those kept")
    axes.set_xlim(0, 1)
    axes.legend(loc="lower left")
    figure.tight_layout()
    save_figure(figure, folder / "retention.png", dpi=120)
    plt.close(figure)
