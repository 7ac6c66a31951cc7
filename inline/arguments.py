"""Checks and conversion of the arguments of the Python API.

Masked elements of :class:`numpy.ma.MaskedArray` have no value, as NaN has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inline.assembly.assembled import Assembled, Failed, Ready
from inline.data.geometry import SliceGeometry, perpendicular
from inline.data.results import Contours, Insertions, SliceResult
from inline.data.series import TISSUE_MS, MappingSeries, MapSeries, Quantity, Series, SeriesIdentity
from inline.settings import AssemblySettings
from model.relaxometry import molli, t2prep
from model.relaxometry.parametric_map import ParametricMap

T = TypeVar("T")

_SHORTEST_MS: Final = TISSUE_MS[Quantity.T2][0]
"""Largest value of a map from which it can be one of tissue in ms."""
_MAP: Final = "a map is real and (rows, columns)"


def number(name: str, value: SupportsFloat) -> float:
    """Return a number.

    Raises:
        ValueError: it is not a single finite number; texts are none.
    """
    with suppress(TypeError, ValueError, OverflowError):
        if not isinstance(value, str | bytes) and getattr(value, "ndim", 0) == 0 and math.isfinite(value):
            return float(value)
    raise ValueError(f"{name} must be a finite number, not {value!r}")


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
    times: NDArray[np.float64] = np.ma.filled(_array(times_ms, np.float64), np.nan)
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
        ValueError: these are no two numbers above 0; texts are none.
    """
    with suppress(TypeError, ValueError):
        x, y = (number("spacing", each) for each in spacing)
        if x > 0.0 and y > 0.0 and not isinstance(spacing, bytes):
            return x, y
    raise ValueError(f"spacing is (x, y) in mm, not {spacing!r}")


def map_of(values: ParametricMap | ArrayLike, *, in_ms: bool = True) -> ParametricMap:
    """Return a map as fitted, or that of an array ``(rows, columns)``.

    Raises:
        ValueError: the array is no map, or one in seconds where it must be in ms, as for the network.
    """
    if isinstance(values, ParametricMap):
        return values
    pixels = _map_values(values) if in_ms else _real(values, 2, _MAP)
    return ParametricMap.of_values(pixels)


def geometry_of(geometry: SliceGeometry, shape: tuple[int, ...]) -> SliceGeometry:
    """Return the geometry of a map or of images with the types that its class states.

    Args:
        geometry: as given.
        shape: ``(..., rows, columns)`` of the pixels.

    Raises:
        ValueError: it is none, is of another shape, or its pixel size, position or directions are none.
    """
    if not isinstance(geometry, SliceGeometry):
        raise ValueError(f"geometry is a SliceGeometry, not a {type(geometry).__name__}")
    row, column = (_vector(name, getattr(geometry, name)) for name in ("row_direction", "column_direction"))
    if not perpendicular(row, column):
        raise ValueError(
            f"row_direction and column_direction are perpendicular unit vectors, not {row}, {column}"
        )
    along = geometry.slice_direction
    rows, columns = shape[-2:]
    stated = tuple(np.ravel(geometry.shape).tolist())
    if (rows, columns) != stated:
        raise ValueError(f"({rows}, {columns}) pixels do not match the geometry, {stated}")
    return replace(
        geometry,
        shape=(rows, columns),
        position=_vector("position", geometry.position),
        row_direction=row,
        column_direction=column,
        spacing=pixel_size(geometry.spacing),
        slice_direction=None if along is None else _vector("slice_direction", along),
    )


def assembled(series: Assembled | Series, settings: AssemblySettings) -> Assembled:
    """Return a series of a reader as it is, and one made of arrays with the types that its class states.

    Args:
        series: of a reader or of arrays.
        settings: of :meth:`Ready.of`.

    Raises:
        ValueError: it is no series, or quantity, images, times and geometry do not match, or are none.
    """
    if isinstance(series, Ready | Failed):
        return series
    if not isinstance(series, MappingSeries | MapSeries):
        raise ValueError(
            "a series is one of read_mrd() or read_dicom(), a MappingSeries or a MapSeries, not a "
            f"{type(series).__name__}"
        )
    identity = series.identity
    if not isinstance(identity, SeriesIdentity):
        raise ValueError(f"identity is a SeriesIdentity, not a {type(identity).__name__}")
    for name in ("series_index", "slice_index", "time_stamp"):
        number(f"identity.{name}", getattr(identity, name))
    if not isinstance(identity.description, str):
        raise ValueError(f"identity.description is a text, not a {type(identity.description).__name__}")
    quantity = quantity_named(series.quantity)
    made: Series
    if isinstance(series, MapSeries):
        pixels = _map_values(series.values_ms)
        made = replace(series, quantity=quantity, values_ms=pixels)
    else:
        pixels, times = images_and_times(series.images, series.times_ms, quantity)
        made = replace(series, quantity=quantity, images=pixels, times_ms=times)
    return Ready.of(replace(made, geometry=geometry_of(series.geometry, pixels.shape)), settings)


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


def insertions_of(insertions: Insertions | None) -> Insertions:
    """Return insertion points, none without any.

    Raises:
        ValueError: these are others than those of a segmentation.
    """
    if insertions is not None and not isinstance(insertions, Insertions):
        raise ValueError(
            f"insertions are those of Segmentation.insertions, not a {type(insertions).__name__}"
        )
    return insertions or Insertions()


def listed(name: str, values: Iterable[T]) -> tuple[T, ...]:
    """Return the values.

    Raises:
        ValueError: there is a single one in place of a list.
    """
    if not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list, not a single {type(values).__name__}")
    return tuple(values)


def results_of(results: Iterable[SliceResult]) -> tuple[SliceResult, ...]:
    """Return results of slices.

    Raises:
        ValueError: these are no results.
    """
    given = listed("results", results)
    for each in given:
        if not isinstance(each, SliceResult):
            raise ValueError(f"results are those of process(), not a {type(each).__name__}")
    return given


def _real(values: ArrayLike, dimensions: int, wanted: str) -> NDArray[np.float32]:
    array = _array(values)
    if array.ndim != dimensions or 0 in array.shape or np.iscomplexobj(array):
        raise ValueError(f"{wanted}, not {array.dtype} {array.shape}")
    real: NDArray[np.float32] = np.ma.filled(array.astype(np.float32), np.nan)
    return real


def _array(values: ArrayLike, dtype: type[np.float64] | None = None) -> np.ma.MaskedArray[Any, Any]:
    """Return an array; tensors with a gradient, or of a type that numpy lacks, are ValueErrors too."""
    try:
        array: np.ma.MaskedArray[Any, Any] = np.ma.asarray(values, dtype=dtype)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"values must be an array of numpy: {error}") from error
    return array


def _map_values(values: ArrayLike) -> NDArray[np.float32]:
    pixels = _real(values, 2, _MAP)
    largest = float(pixels.max(initial=0.0, where=np.isfinite(pixels)))
    if 0.0 < largest < _SHORTEST_MS:
        raise ValueError(
            f"the largest value of the map is {largest:g} ms, too short for tissue: maps are in ms"
        )
    return pixels


def _vector(name: str, values: Iterable[SupportsFloat]) -> tuple[float, float, float]:
    with suppress(TypeError, ValueError):
        x, y, z = (number(name, each) for each in values)
        return x, y, z
    raise ValueError(f"{name} is three finite numbers, not {values!r}")


def _outline(name: str, points: ArrayLike) -> NDArray[np.float64]:
    outline = np.asarray(_array(points, np.float64))
    if outline.ndim != 2 or outline.shape[1] != 2 or len(outline) < 3 or not np.isfinite(outline).all():
        raise ValueError(f"{name} must be 3 or more finite points (n, 2), x and y in pixels")
    return outline
