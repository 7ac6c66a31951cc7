"""Overlay of a result: the map in grey with its contours, for a console or a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from inline.data.results import Contours
from inline.data.series import Quantity

WINDOW_MS: Final = {Quantity.T1: (0.0, 2000.0), Quantity.T2: (0.0, 120.0)}
"""Display window of a map, ms: darkest and brightest value."""
ENDO_COLOUR: Final = (255, 64, 64)
EPI_COLOUR: Final = (64, 224, 96)
"""Red endocardium, green epicardium: the colours of common reading software."""
INSERTION_COLOUR: Final = (64, 208, 255)
"""Light blue crosses at the insertion points of the right ventricle."""
REVIEW_COLOUR: Final = (255, 192, 0)
"""Colour of the frame around an overlay whose contours need review."""
_ARMS: Final = np.array([[[-2.0, 0.0], [2.0, 0.0]], [[0.0, -2.0], [0.0, 2.0]]])
"""Both strokes of a cross, pixels from its middle."""
_FRACTION_BITS: Final = 4


def window(values: NDArray[np.float32], shown: Quantity | tuple[float, float]) -> NDArray[np.uint8]:
    """Return a map ``(rows, columns)`` as grey levels of a display window, or of that of its quantity."""
    low, high = WINDOW_MS[shown] if isinstance(shown, Quantity) else shown
    grey = (np.clip(values, low, high) - low) * (255.0 / (high - low))
    return grey.astype(np.uint8)


def draw(
    values: NDArray[np.float32],
    shown: Quantity | tuple[float, float],
    contours: Contours | None,
    scale: int = 1,
    *,
    crosses: Iterable[Sequence[float]] = (),
    review: bool = False,
) -> NDArray[np.uint8]:
    """Return a map ``(rows, columns)`` in a window with contours, RGB, ``scale`` times as large.

    ``shown`` is the display window, or the quantity of the map. Small ``crosses`` mark insertion points
    (x, y) in pixels, a frame of two pixels contours for ``review``.
    """
    rows, columns = values.shape
    grey = window(values, shown)
    large = cv2.resize(grey, (columns * scale, rows * scale), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(np.repeat(large[..., None], 3, axis=2), dtype=np.uint8)
    if contours is not None:
        for points, colour in ((contours.endo, ENDO_COLOUR), (contours.epi, EPI_COLOUR)):
            _line(image, points, colour, scale, closed=True)
    for point in crosses:
        for arm in _ARMS:
            _line(image, np.asarray(point) + arm, INSERTION_COLOUR, scale)
    if review:
        edge = 2 * scale
        inner = image[edge:-edge, edge:-edge].copy()
        image[:] = REVIEW_COLOUR
        image[edge:-edge, edge:-edge] = inner
    return image


def draw_uncertainty(
    values_ms: NDArray[np.float32], quantity: Quantity, uncertainty: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return a map ``(rows, columns)`` in its window, coloured where class boundaries are uncertain, RGB.

    Args:
        values_ms: the map.
        quantity: of the map.
        uncertainty: 0 to 1; the colour (plasma, blue to yellow) covers the grey by its square root, so that a
            line of one pixel is seen.
    """
    grey = np.repeat(window(values_ms, quantity)[..., None], 3, axis=2).astype(np.float64)
    level = np.clip(uncertainty, 0.0, 1.0)
    colours = cv2.applyColorMap(np.round(255.0 * level).astype(np.uint8), cv2.COLORMAP_PLASMA)[..., ::-1]
    share = np.sqrt(level.astype(np.float64))[..., None]
    blended: NDArray[np.uint8] = np.round((1.0 - share) * grey + share * colours).astype(np.uint8)
    return blended


def _line(
    image: NDArray[np.uint8],
    points: NDArray[np.float64],
    colour: tuple[int, int, int],
    scale: int,
    *,
    closed: bool = False,
) -> None:
    """Draw a line through points ``(n, 2)``, (x, y) in pixels of the map, on the enlarged image."""
    # Pixel centres move when pixels become blocks of scale x scale.
    at = ((points + 0.5) * scale - 0.5) * 2**_FRACTION_BITS
    cv2.polylines(
        image,
        [np.round(at).astype(np.int32).reshape(-1, 1, 2)],
        isClosed=closed,
        color=colour,
        thickness=1 if scale < 4 else 2,
        lineType=cv2.LINE_AA,
        shift=_FRACTION_BITS,
    )
