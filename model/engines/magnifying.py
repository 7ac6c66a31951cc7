"""Engine with a magnified pass over small hearts.

The network loses walls of one or two pixels, and takes other round structures for small apices. Where the
heart is small in the output, or missing, the likeliest places are magnified and computed again
(:mod:`model.magnification`). The classes of the place with the clearest heart replace those of the first
pass; from 40 to 45 mm both are mixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.architecture import CLASSES
from model.engines.base import Engine
from model.frame import FRAME_MM, normalise
from model.magnification import APPARENT_MM, FACTORS, SMALL_MM
from model.soft_dice import soft_dice

_RAMP_MM: Final = 5.0
"""Range of diameters below :data:`SMALL_MM` in which the weight of the magnified pass rises from 0 to 1.

Without it the output of hearts near that size would depend on the last digits of the first pass.
"""
_PLACES: Final = 2
"""Places of a slice that are magnified: with one, Dice of small synthetic apices is 0.02 to 0.06 lower."""
_GUESSED: Final = 2.0
"""Factor at a place without a heart in the first pass, where one is only likely."""
_LIKELY: Final = 1e-3
"""Mean probability of a heart within :data:`_REACH` from which a place is likely."""
_REACH: Final = 4.0
"""Standard deviation of that mean, pixels."""
_APART: Final = 3.0 * _REACH
"""Distance around the disc of a heart, or a place, pixels, in which no further place is taken."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Part of the frame that is magnified.

    Attributes:
        centre: (x, y) in pixels of the frame.
        factor: magnification.
        weight: of its classes in the output, above 0 to 1; those of the first pass have the rest.
    """

    centre: tuple[float, float]
    factor: float
    weight: float


class MagnifyingEngine:
    """Itself an engine, under the name of the one that runs the network."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def name(self) -> str:
        """Name of the engine that runs the network."""
        return self._engine.name

    @property
    def parts(self) -> tuple[Engine]:
        """The engine that runs the network."""
        return (self._engine,)

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :meth:`model.engines.base.Engine.infer`. Heat maps are those of the first pass."""
        output = self._engine.infer(images)
        windows = [(number, each) for number, slice_ in enumerate(output) for each in _windows_of(slice_)]
        # Values that are not finite are the caller's to see: it replaces the engine.
        if not windows or not np.isfinite(output).all():
            return output
        magnified = np.stack([_magnified(images[number], window) for number, window in windows])
        found = self._engine.infer(magnified)[:, :CLASSES]
        if not np.isfinite(found).all():
            raise RuntimeError("output of a magnified pass with values that are not finite")
        clearest: dict[int, tuple[float, _Window, NDArray[np.float32]]] = {}
        for (number, window), classes in zip(windows, found, strict=True):
            clarity, best = _clarity(classes), clearest.get(number)
            if clarity > (best[0] if best is not None else 0.0):
                clearest[number] = clarity, window, classes
        for number, (_, window, classes) in clearest.items():
            first, reduced = output[number, :CLASSES], _reduced(classes, window)
            output[number, :CLASSES] = window.weight * reduced + (1.0 - window.weight) * first
        return output


def _windows_of(output: NDArray[np.float32]) -> list[_Window]:
    """Return the windows of a slice; none where a heart is large enough."""
    background = output[0]
    heart = (background < 0.5).astype(np.uint8)
    _, _, statistics, centres = cv2.connectedComponentsWithStats(heart, connectivity=4)
    diameters = FRAME_MM * np.sqrt(4.0 / np.pi * statistics[1:, cv2.CC_STAT_AREA])
    largest = float(diameters.max(initial=0.0))
    if largest >= SMALL_MM:
        return []
    weight = min((SMALL_MM - largest) / _RAMP_MM, 1.0)
    windows = []
    likely = cv2.GaussianBlur(1.0 - background, (0, 0), _REACH)
    for each in np.argsort(-diameters)[:_PLACES]:
        diameter, (x, y) = float(diameters[each]), centres[1 + each].tolist()
        windows.append(_Window((x, y), min(max(APPARENT_MM / diameter, FACTORS[0]), FACTORS[1]), weight))
        _erase(likely, x, y, diameter / FRAME_MM / 2.0 + _APART)
    while len(windows) < _PLACES:
        y, x = map(float, np.unravel_index(int(likely.argmax()), likely.shape))
        if not likely[int(y), int(x)] > _LIKELY:
            break
        windows.append(_Window((x, y), _GUESSED, weight))
        _erase(likely, x, y, _APART)
    return windows


def _erase(likely: NDArray[np.float32], x: float, y: float, radius: float) -> None:
    cv2.circle(likely, (round(x), round(y)), math.ceil(radius) + 1, 0.0, -1)


def _clarity(classes: NDArray[np.float32]) -> float:
    """Return the mean Dice coefficient of cavity and wall with their own probabilities; 0 without a heart."""
    winner = classes.argmax(axis=0)
    if not (winner == 1).any():
        return 0.0
    return (soft_dice(classes[1], winner == 1) + soft_dice(classes[2], winner == 2)) / 2.0


def _magnified(image: NDArray[np.float32], window: _Window) -> NDArray[np.float32]:
    """Return the network input of a window ``(rows, columns)``; beyond the frame it is mirrored."""
    rows, columns = image.shape
    to_frame = np.array([[1.0, 0.0, window.centre[0]], [0.0, 1.0, window.centre[1]]])
    to_frame[:, :2] /= window.factor
    to_frame[:, 2] -= np.array([columns - 1, rows - 1]) / 2.0 / window.factor
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(image, to_frame, (columns, rows), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return normalise(large.astype(np.float32))


def _reduced(classes: NDArray[np.float32], window: _Window) -> NDArray[np.float32]:
    """Return class probabilities of a window ``(3, rows, columns)`` in the frame; background beyond it."""
    _, rows, columns = classes.shape
    to_window = np.array([[window.factor, 0.0, 0.0], [0.0, window.factor, 0.0]])
    to_window[:, 2] = np.array([columns - 1, rows - 1]) / 2.0 - window.factor * np.array(window.centre)
    reduced = cv2.warpAffine(
        np.ascontiguousarray(classes.transpose(1, 2, 0)),
        to_window,
        (columns, rows),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1.0, 0.0, 0.0),
    )
    return reduced.transpose(2, 0, 1).astype(np.float32)
