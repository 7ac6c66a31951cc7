"""From an image to labels: frame, engine, contours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inline.contouring.contours import ContourSteps, find_contours, rasterise
from inline.data.flags import Flag
from inline.data.results import Contours
from model.engines.base import Engine
from model.frame import Frame, normalise


def segment(
    image: NDArray[np.float32],
    spacing: tuple[float, float],
    engine: Engine,
    steps: ContourSteps | None = None,
) -> tuple[NDArray[np.uint8], Contours | None, tuple[Flag, ...]]:
    """Labels ``(rows, columns)``, contours in pixels of the image, and why there are none.

    Args:
        image: a map or any picture of one, ``(rows, columns)``.
        spacing: pixel size (x, y), mm.
        engine: runs the network.
        steps: of the contour search.
    """
    frame = Frame((image.shape[0], image.shape[1]), spacing)
    probabilities = engine.infer(normalise(frame.to_frame(image))[None])[0]
    return place(probabilities, frame, steps)


def place(
    probabilities: NDArray[np.float32], frame: Frame, steps: ContourSteps | None = None
) -> tuple[NDArray[np.uint8], Contours | None, tuple[Flag, ...]]:
    """As :func:`segment`, from the network's answer ``(3, 224, 224)``."""
    search = find_contours(probabilities, steps)
    if search.contours is None:
        return np.zeros(frame.shape, np.uint8), None, search.flags
    contours = Contours(
        endo=frame.to_image_points(search.contours.endo), epi=frame.to_image_points(search.contours.epi)
    )
    return rasterise(contours, frame.shape), contours, search.flags
