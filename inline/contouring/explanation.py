"""Reason in words why the confidence of a slice is low: the signals that lowered it most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

NO_CONTOURS: Final = "The confidence is 0: no contours were found."
NOT_FINITE: Final = "The confidence is 0: the network output holds values that are not finite."
_NOTABLE: Final = -0.1
"""Contribution to the score from which a signal is named. The score is a logit: 0.1 is some 0.02 of Dice."""
_SECOND: Final = 0.5
"""Share of the largest contribution from which a second signal is named."""


class SignalPart(NamedTuple):
    """Part of one signal in the score of a slice.

    Attributes:
        signal: its name.
        value: of the slice.
        mean: of the calibration's slices.
        contribution: to the score, relative to ``mean``; negative ones lower the confidence.
    """

    signal: str
    value: float
    mean: float
    contribution: float


class _Words(NamedTuple):
    """Name of a signal, form of its value, and the side of it on which contours are worse."""

    name: str
    form: Callable[[float], str]
    worse: Literal["low", "high"]


def _number(value: float) -> str:
    return f"{value:.2f}"


def _dice(logit: float) -> str:
    return f"{1.0 / (1.0 + math.exp(-logit)):.3f}"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _millimetres(logarithm: float) -> str:
    return f"{math.exp(logarithm):.0f} mm"


_WORDS: Final = {
    "soft_dice_cavity": _Words(
        "the Dice coefficient of the endocardial contour with the probability of LV cavity", _dice, "low"
    ),
    "soft_dice_myocardium": _Words(
        "the Dice coefficient of the contours with the probability of myocardium", _dice, "low"
    ),
    "entropy": _Words("the entropy of the class probabilities in and around the heart", _number, "high"),
    "cavity_share": _Words(
        "the difference of the cavity's share of the heart from one half", _number, "high"
    ),
    "off_centre": _Words("the distance of the contours' centres in radii of the heart", _number, "high"),
    "without_fit": _Words("the share of the heart without a certain fit", _percent, "high"),
    "insertion_distance": _Words(
        "the distance of an insertion point of the right ventricle from the epicardial contour in radii of "
        "the heart",
        _number,
        "high",
    ),
    "insertion_heat": _Words("the heat at the insertion points of the right ventricle", _number, "low"),
    "border_contrast": _Words(
        "the change of the image at the endocardial border in units of the spread within the wall",
        _number,
        "low",
    ),
    "diameter": _Words("the diameter of the heart", _millimetres, "low"),
}


def explain(parts: Sequence[SignalPart], confidence: float, threshold: float) -> str:
    """Return one sentence that names at most two signals that lowered the confidence most.

    Signals that rise and fall together may have weights of opposite signs: only those on their worse side of
    the mean are named.

    Args:
        parts: of all signals of the slice.
        confidence: expected Dice of the slice.
        threshold: confidence below which slices are flagged.
    """
    worse = [part for part in parts if _side(part) == _WORDS[part.signal].worse]
    lowest = sorted(worse, key=lambda part: part.contribution)[:2]
    named = [part for part in lowest if part.contribution <= min(_NOTABLE, _SECOND * lowest[0].contribution)]
    why = " and ".join(map(_reason, named)) or (
        "no signal stands out; all lie near the means of the calibration, most of whose slices are degraded"
    )
    shown = math.floor(1000.0 * confidence) / 1000.0  # rounded, it might equal the threshold
    return f"The expected Dice of {shown:.3f} is below {threshold:g}: {why}."


def _side(part: SignalPart) -> str:
    return "low" if part.value < part.mean else "high"


def _reason(part: SignalPart) -> str:
    name, form, _ = _WORDS[part.signal]
    return f"{name} is {_side(part)} ({form(part.value)}, mean of the calibration {form(part.mean)})"
