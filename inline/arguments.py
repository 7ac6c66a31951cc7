"""Checks and conversion of the arguments of the Python API.

Masked elements of :class:`numpy.ma.MaskedArray` have no value, as NaN has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inline.data.results import Contours, SliceResult
from inline.data.series import MappingSeries, MapSeries, Quantity, Series
from model.relaxometry import molli, t2prep
from model.relaxometry.parametric_map import ParametricMap


def quantity_named(name: str) -> Quantity:
    """Return the quantity of a name, in either case.

    Raises:
        ValueError: there is no such quantity.
    """
    if str(name).upper() not in set(Quantity):
        raise ValueError(f'quantity is "T1" or "T2", not {name!r}')
    return Quantity(str(name).upper())


def images_and_times(
    images: ArrayLike, times_ms: ArrayLike, quantity: Quantity
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return images ``(n, rows, columns)`` and times ``(n,)`` of one slice.

    Raises:
        ValueError: images and times that do not match, or times that are negative, not finite or in seconds.
    """
    stack = _real(images, 3, "images must be real and (n, rows, columns)")
    times: NDArray[np.float64] = np.ma.filled(np.ma.asarray(times_ms, dtype=np.float64), np.nan)
    if times.shape != stack.shape[:1]:
        raise ValueError(
            f"images of shape {stack.shape} do not match {times.size} times: images are (n, rows, columns)"
        )
    if not (np.isfinite(times) & (times >= 0.0)).all():
        raise ValueError(f"times must be finite and at least 0 ms, not {times.tolist()}")
    shortest_ms = molli.SHORTEST_MS if quantity is Quantity.T1 else t2prep.SHORTEST_MS
    if times.size and times.max() < shortest_ms:
        raise ValueError(f"the longest time is {times.max():g} ms, too short for any map: times are in ms")
    return stack, times


def pixel_size(spacing: Iterable[SupportsFloat]) -> tuple[float, float]:
    """Return a pixel size (x, y), mm.

    Raises:
        ValueError: these are no two numbers; texts are none.
    """
    with suppress(TypeError, ValueError):
        x, y = spacing
        if not any(isinstance(each, str | bytes) for each in (spacing, x, y)):
            return float(x), float(y)
    raise ValueError(f"spacing is (x, y) in mm, not {spacing!r}")


def map_of(values: ParametricMap | ArrayLike) -> ParametricMap:
    """Return a map as fitted, or that of an array ``(rows, columns)``.

    Raises:
        ValueError: the array is no map.
    """
    return values if isinstance(values, ParametricMap) else ParametricMap.of_values(_map_values(values))


def made_of_arrays(series: Series) -> Series:
    """Return a series with the types that its class states, whatever array types it was made of.

    Raises:
        ValueError: it is no series, or quantity, images, times and geometry do not match, or are none.
    """
    if not isinstance(series, MappingSeries | MapSeries):
        raise ValueError(
            "a series is one of read_mrd() or read_dicom(), a MappingSeries or a MapSeries, not a "
            f"{type(series).__name__}"
        )
    quantity, geometry = quantity_named(series.quantity), series.geometry
    made: Series
    if isinstance(series, MapSeries):
        pixels = _map_values(series.values_ms)
        made = replace(series, quantity=quantity, values_ms=pixels)
    else:
        pixels, times = images_and_times(series.images, series.times_ms, quantity)
        made = replace(series, quantity=quantity, images=pixels, times_ms=times)
    rows, columns = pixels.shape[-2:]
    if (rows, columns) != tuple(geometry.shape):
        raise ValueError(f"({rows}, {columns}) pixels do not match the geometry, {tuple(geometry.shape)}")
    # Tuples compare as one value; arrays do not.
    vectors: dict[str, Any] = {
        name: tuple(map(float, getattr(geometry, name)))
        for name in ("position", "row_direction", "column_direction", "spacing", "slice_direction")
        if getattr(geometry, name) is not None
    }
    return replace(made, geometry=replace(geometry, shape=(rows, columns), **vectors))


def contours_of(contours: Contours | None) -> Contours:
    """Return contours of finite points ``(n, 2)``.

    Raises:
        ValueError: these are no contours, or have fewer than three points or some that are not finite.
    """
    # None is what a segmentation without contours has.
    if contours is None:
        raise ValueError("there are no contours; Segmentation.flags says why")
    if not isinstance(contours, Contours):
        raise ValueError(f"contours are those of Segmentation.contours, not a {type(contours).__name__}")
    return Contours(_outline("endo", contours.endo), _outline("epi", contours.epi))


def results_of(results: Iterable[SliceResult]) -> tuple[SliceResult, ...]:
    """Return results of slices.

    Raises:
        ValueError: these are no results.
    """
    if not isinstance(results, Iterable):
        raise ValueError(f"results are a list, not a single {type(results).__name__}")
    given = tuple(results)
    for each in given:
        if not isinstance(each, SliceResult):
            raise ValueError(f"results are those of process(), not a {type(each).__name__}")
    return given


def _real(values: ArrayLike, dimensions: int, wanted: str) -> NDArray[np.float32]:
    array: np.ma.MaskedArray[Any, Any] = np.ma.asarray(values)
    if array.ndim != dimensions or 0 in array.shape[-2:] or np.iscomplexobj(array):
        raise ValueError(f"{wanted}, not {array.dtype} {array.shape}")
    real: NDArray[np.float32] = np.ma.filled(array.astype(np.float32), np.nan)
    return real


def _map_values(values: ArrayLike) -> NDArray[np.float32]:
    return _real(values, 2, "a map is real and (rows, columns)")


def _outline(name: str, points: ArrayLike) -> NDArray[np.float64]:
    outline = np.asarray(points, dtype=np.float64)
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3 or not np.isfinite(outline).all():
        raise ValueError(f"{name} must be 3 or more finite points (n, 2), x and y in pixels")
    return outline
