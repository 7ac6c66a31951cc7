"""Level of a short-axis slice between base and apex, from the best source there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import numpy as np

from inline.geometry import SliceGeometry
from inline.results import SliceLevel

_TO_APEX: Final = np.array([0.62, -0.60, -0.50])
"""From base to apex of a usual heart in patient coordinates (LPS): left, to the front, down."""
_WORDS: Final = {
    SliceLevel.BASAL: re.compile(r"(?<![a-z])bas(al|e)(?![a-z])", re.IGNORECASE),
    SliceLevel.MID: re.compile(r"(?<![a-z])mid(dle|ventricular|ventricle)?(?![a-z])", re.IGNORECASE),
    SliceLevel.APICAL: re.compile(r"(?<![a-z])(apical|apex)(?![a-z])", re.IGNORECASE),
}


def slice_level(
    slice_index: int,
    slice_count: int | None,
    description: str,
    geometry: SliceGeometry,
    *,
    stated: Mapping[int, SliceLevel] | None = None,
) -> tuple[SliceLevel, str]:
    """Level of a slice and how it is known.

    In this order: what the user stated for the slice index; one of the words base, basal, mid, apical, apex
    in the description; its place among the slices, counted from the base by the direction of the slice in the
    patient, a third for each level; mid-ventricular, assumed.

    Args:
        slice_index: MRD slice counter, from 0.
        slice_count: number of slices of the measurement, or None.
        description: series description.
        geometry: of the image; without a slice direction, its normal is taken for it.
        stated: level by slice index.
    """
    if stated and slice_index in stated:
        return stated[slice_index], "user"
    named = [level for level, word in _WORDS.items() if word.search(description)]
    if len(named) == 1:
        return named[0], "series description"
    if slice_count is not None and slice_count >= 2 and 0 <= slice_index < slice_count:
        rising = geometry.normal if geometry.slice_direction is None else geometry.slice_direction
        to_apex = float(np.dot(rising, _TO_APEX)) >= 0.0
        place = (slice_index + 0.5) / slice_count
        if not to_apex:
            place = 1.0 - place
        levels = (SliceLevel.BASAL, SliceLevel.MID, SliceLevel.APICAL)
        return levels[min(int(place * 3), 2)], f"slice {slice_index + 1} of {slice_count} and its direction"
    return SliceLevel.MID, "assumed"
