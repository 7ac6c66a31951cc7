"""Segmentation of one slice: network input, engine, contours, labels, insertion points."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inline.contouring.contours import find_contours, rasterise
from inline.contouring.insertion import find_insertions
from inline.contouring.plausibility import unsure
from inline.data.flags import Flag
from inline.data.results import ContourOffsets, Contours, Insertions
from inline.data.series import Quantity
from model.architecture import CLASSES
from model.engines.base import Engine
from model.frame import FRAME_PIXELS, Frame, tissue_values
from model.relaxometry.parametric_map import ParametricMap

_AT_EDGE: Final = 1.0
"""Distance from an edge of the image below which a contour runs along it, pixels of the frame."""
_ALONG_EDGE: Final = 0.14
"""Share of the length of the outer border along one edge above which the heart counts as cut off. Chosen: of
72 crops of simulated slices 2 pixels inside the contour as drawn, 69 have more, and all of 72 crops 4 pixels
inside; of 72 crops 1 pixel outside it two, and 2 pixels outside none."""


class Segmentation(NamedTuple):
    """Labels, contours and insertion points of one slice.

    Attributes:
        labels: uint8 ``(rows, columns)``: 0 background, 1 LV cavity, 2 myocardium; all 0 without contours.
        contours: in pixels of the image; None where no acceptable ones were found.
        flags: the reasons, where ``contours`` is None; else ``too-small``, ``cut-off`` or ``thin-wall``.
        insertions: insertion points of the right ventricle, in pixels of the image.
        offsets: distances of the contours from the borders of the wall, as applied; None at the borders.
    """

    labels: NDArray[np.uint8]
    contours: Contours | None
    flags: tuple[Flag, ...]
    insertions: Insertions = Insertions()
    offsets: ContourOffsets | None = None


def network_input(parametric: ParametricMap, quantity: Quantity, frame: Frame) -> NDArray[np.float32]:
    """Return the network input of a map, ``(224, 224)``.

    Pixels without a certain fit are 0, as scanners mask them.
    """
    certain: NDArray[np.float32] = np.where(unsure(parametric), np.float32(0.0), parametric.values_ms)
    return frame.network_input(tissue_values(certain, quantity))


def segment(
    image: NDArray[np.float32],
    spacing: tuple[float, float],
    engine: Engine,
) -> Segmentation:
    """Return the segmentation of an image.

    Args:
        image: a map, or an image of the same contrast, ``(rows, columns)``.
        spacing: pixel size (x, y), mm.
        engine: runs the network.
    """
    frame = Frame((image.shape[0], image.shape[1]), spacing)
    return contour_slice(engine.infer(frame.network_input(image)[None])[0], frame)


def contour_slice(output: NDArray[np.float32], frame: Frame) -> Segmentation:
    """Return the segmentation of an image from the network output in the frame, ``(3 + k, 224, 224)``."""
    search = find_contours(output[:CLASSES])
    insertions = find_insertions(output[CLASSES:], search.contours, frame)
    if search.contours is None:
        return Segmentation(np.zeros(frame.shape, np.uint8), None, search.flags, insertions)
    contours = Contours(
        endo=frame.to_image_points(search.contours.endo), epi=frame.to_image_points(search.contours.epi)
    )
    flags = (*search.flags, *((Flag.CUT_OFF,) if _cut_off(search.contours.epi, frame) else ()))
    return Segmentation(rasterise(contours, frame.shape), contours, flags, insertions)


def _cut_off(epi: NDArray[np.float64], frame: Frame) -> bool:
    """Return whether the edge of the image or of the frame cuts off a contour in pixels of the frame.

    The network output extends a heart beyond the edge of the image, or draws its wall along the inside of it.
    At the border of the frame a contour runs half a pixel outside the centres of the last pixels.
    """
    rows, columns = frame.shape
    low, high = frame.to_frame_points(np.array([[-0.5, -0.5], [columns - 0.5, rows - 0.5]]))
    low, high = np.maximum(low, 0.0), np.minimum(high, FRAME_PIXELS - 1.0)
    inside = np.hstack([epi - low, high - epi])
    lengths = np.linalg.norm(np.roll(epi, -1, axis=0) - epi, axis=1)
    along = lengths @ (inside < _AT_EDGE) / lengths.sum()
    return bool((inside < 0.0).any() or along.max() > _ALONG_EDGE)
