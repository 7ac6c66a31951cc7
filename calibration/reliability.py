"""Accuracy of an expected Dice coefficient: errors, reliability by interval, effect of thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.settings import Settings
from model.evaluation.figures import figure

FloatArray = NDArray[np.float64]

BINS: Final = 10
THRESHOLDS: Final = tuple(sorted({0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, Settings().review_below}))
POOR: Final = 0.7
"""Dice coefficient below which contours are of little use."""
GOOD: Final = 0.8
"""Dice coefficient from which they need no review."""


def reliability(expected: FloatArray, dice: FloatArray) -> list[dict[str, float]]:
    """Return number of slices, mean expected and mean true Dice by interval of the expected Dice.

    Args:
        expected: Dice coefficient of each slice, ``(n,)``.
        dice: true Dice coefficient of each, ``(n,)``.

    Returns:
        One for each of ten intervals of equal width that holds slices.
    """
    interval = np.minimum((expected * BINS).astype(int), BINS - 1)
    return [
        {
            "low": i / BINS,
            "slices": int((interval == i).sum()),
            "expected": float(expected[interval == i].mean()),
            "dice": float(dice[interval == i].mean()),
        }
        for i in np.unique(interval).tolist()
    ]


def calibration_error(expected: FloatArray, dice: FloatArray) -> float:
    """Return the expected calibration error: mean over slices of the difference of both means by interval."""
    found = reliability(expected, dice)
    return sum(each["slices"] * abs(each["expected"] - each["dice"]) for each in found) / max(len(dice), 1)


def accuracy(expected: FloatArray, dice: FloatArray) -> dict[str, Any]:
    """Return all figures on slices with contours, ``(n,)`` each, as plain values.

    ``auc`` is the area under the ROC curve for slices of Dice below :data:`POOR`; None where all or none are.

    Raises:
        ImportError: scikit-learn is not installed (extra ``calibrate``).
    """
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    poor = dice < POOR
    return {
        "slices": len(dice),
        "mean_dice": float(dice.mean()),
        "calibration_error": calibration_error(expected, dice),
        "mean_absolute_error": float(np.abs(expected - dice).mean()),
        "mean_absolute_error_of_the_mean": float(np.abs(dice.mean() - dice).mean()),
        "auc": float(roc_auc_score(poor, -expected)) if 0 < poor.sum() < len(poor) else None,
        "reliability": reliability(expected, dice),
        "thresholds": [_threshold(expected, dice, each) for each in THRESHOLDS],
    }


def _threshold(expected: FloatArray, dice: FloatArray, threshold: float) -> dict[str, float | None]:
    flagged = expected < threshold
    return {
        "threshold": threshold,
        "flagged": float(flagged.mean()),
        "dice_flagged": _mean(dice[flagged]),
        "dice_others": _mean(dice[~flagged]),
        "poor_flagged": _mean(flagged[dice < POOR]),
        "good_flagged": _mean(flagged[dice >= GOOD]),
    }


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def plot_reliability(file: Path, expected: FloatArray, dice: FloatArray) -> None:
    """Write the reliability diagram.

    Raises:
        ImportError: matplotlib is not installed (extra ``calibrate``).
    """
    found = reliability(expected, dice)
    with figure(file, size=(5, 5)) as grid:
        axes = grid[0, 0]
        axes.plot([0, 1], [0, 1], color="0.6", linestyle="--")
        axes.scatter(expected, dice, s=8, alpha=0.5, label="slices")
        means = [[each[name] for each in found] for name in ("expected", "dice")]
        axes.plot(*means, "o-C1", label="means")
        axes.set(xlabel="expected Dice", ylabel="Dice")
        error = calibration_error(expected, dice)
        axes.set_title(f"{len(dice)} slices, calibration error {error:.3f}", fontsize=10)
        axes.legend(loc="upper left")
