"""Checks of a map and its values against what tissue can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.data.flags import Flag
from inline.data.results import RegionValues
from inline.data.series import TISSUE_MS, Quantity
from model.relaxometry.parametric_map import ParametricMap

UNSURE: Final = 0.3
"""Standard deviation of a pixel's value in units of it, beyond which the fit says nothing."""
_FEWEST: Final = 0.05
"""Share of a fitted map's pixels that the fit is sure of, below which the map is empty: tissue has more."""
_TIMES: Final = {Quantity.T1: "inversion times", Quantity.T2: "preparation times"}
_SCALE: Final = {Quantity.T1: "assembly.t1_map_scale", Quantity.T2: "assembly.t2_map_scale"}


def unsure(parametric: ParametricMap) -> NDArray[np.bool_]:
    """Pixels ``(rows, columns)`` without a fit, or with one that says nothing (air, lung)."""
    return parametric.failed | (parametric.sd_ms > UNSURE * parametric.values_ms)


def check_values(
    parametric: ParametricMap, quantity: Quantity, regions: Sequence[RegionValues], *, scanner_made: bool
) -> list[tuple[Flag, str]]:
    """Flags of a slice whose values cannot be trusted, each with a sentence that says why and what to check.

    Args:
        parametric: the map.
        quantity: T1 or T2.
        regions: values of the myocardium, the whole ring first; none where there is no contour. The map is
            checked then, over the pixels that a fit is sure of: most of them are tissue.
        scanner_made: the map comes from the scanner.
    """
    check = (
        f"check the scale of the scanner's map (setting {_SCALE[quantity]})"
        if scanner_made
        else f"check the {_TIMES[quantity]} and their unit, and that the images are weighted by {quantity}"
    )
    valid = ~parametric.failed & (parametric.values_ms > 0.0)
    sure = valid & ~unsure(parametric)
    measured = bool(regions) and regions[0].median is not None
    if not valid.any() or (not scanner_made and not measured and sure.mean() < _FEWEST):
        reason = (
            "The scanner's map holds no value above 0"
            if scanner_made
            else f"Only {100.0 * float(sure.mean()):.0f} % of the pixels could be fitted"
        )
        return [(Flag.EMPTY_MAP, f"{reason}, so the {quantity} map is empty: {check}.")]
    if regions and not measured:
        return [
            (
                Flag.NO_VALUES,
                f"No pixel within the contours has a {quantity} value: check the contours on the map, and "
                "whether the images hold signal there.",
            )
        ]
    if regions:
        medians = {each.name: each.median for each in regions if each.median is not None}
    else:
        medians = {"whole map": float(np.median(parametric.values_ms[sure]))} if sure.any() else {}
    low, high = TISSUE_MS[quantity]
    outside = {name: median for name, median in medians.items() if not low <= median <= high}
    if not outside:
        return []
    if "global" in outside:
        outside = {"global": outside["global"]}
    named = ", ".join(f"{name} {median:.5g} ms" for name, median in outside.items())
    return [
        (
            Flag.IMPLAUSIBLE_VALUES,
            f"Median {quantity} outside what tissue can have ({low:g} to {high:g} ms), {named}: {check}.",
        )
    ]
