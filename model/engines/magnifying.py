"""Engine with a second pass over small hearts, magnified.

The network loses walls of one or two pixels, and small apices beside larger round structures. Of a heart that
is small in the output, or missing, the surroundings are magnified and computed again
(:mod:`model.magnification`); the classes of the second pass replace those of the first if it finds a heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.architecture import CLASSES
from model.engines.base import Engine
from model.frame import FRAME_MM, normalise
from model.magnification import APPARENT_MM, FACTORS, SMALL_MM

_GUESSED: Final = 2.0
"""Factor where the first pass shows no heart, only where one is likely."""
_LIKELY: Final = 1e-3
"""Mean probability of a heart within :data:`_REACH` from which a place is likely."""
_REACH: Final = 4.0
"""Standard deviation of that mean, pixels."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Part of the frame that is magnified: its centre (x, y) in pixels of the frame, and the factor."""

    centre: tuple[float, float]
    factor: float


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
        windows = {number: window for number, each in enumerate(output) if (window := _window_of(each))}
        if windows:
            magnified = np.stack([_magnified(images[number], each) for number, each in windows.items()])
            found = self._engine.infer(magnified)[:, :CLASSES]
            for (number, window), classes in zip(windows.items(), found, strict=True):
                if (classes[0] < 0.5).any():
                    output[number, :CLASSES] = _reduced(classes, window)
        return output


def _window_of(output: NDArray[np.float32]) -> _Window | None:
    """Return the window of a slice that wants a second pass; else None."""
    background = output[0]
    # A heart of another size or none: NaN is neither, and is to be replaced by another engine.
    heart = (background < 0.5).astype(np.uint8)
    count, _, statistics, centres = cv2.connectedComponentsWithStats(heart, connectivity=4)
    if count > 1:
        largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
        diameter = FRAME_MM * np.sqrt(4.0 / np.pi * statistics[largest, cv2.CC_STAT_AREA])
        if diameter >= SMALL_MM:
            return None
        x, y = centres[largest]
        return _Window((float(x), float(y)), float(np.clip(APPARENT_MM / diameter, *FACTORS)))
    likely = cv2.GaussianBlur(1.0 - background, (0, 0), _REACH)
    y, x = np.unravel_index(int(likely.argmax()), likely.shape)
    return _Window((float(x), float(y)), _GUESSED) if likely[y, x] > _LIKELY else None


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
