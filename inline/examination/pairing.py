"""Pairs of native and post-contrast T1 of one slice position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from inline.data.flags import Flag
from inline.data.results import BloodT1, SliceResult
from inline.data.series import Enhancement, Quantity

SAME_MM: Final = 3.0
"""Largest distance of the slices along their normal, mm: three eighths of the usual thickness of 8 mm."""
_PARALLEL: Final = float(np.cos(np.radians(10.0)))
"""Smallest cosine between the directions of both slices."""
SHORTENED: Final = 0.8
"""Largest T1 of post-contrast blood over that of native blood. Nearer to 1, an error of 1 % in one of them is
an error above 4 % in ECV."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Native and post-contrast T1 of one slice position.

    Attributes:
        native: its slice.
        post: likewise.
        how: source of the distinction between both.
    """

    native: SliceResult
    post: SliceResult
    how: str


def usable(result: SliceResult) -> bool:
    """Return whether a slice may be one of a pair: a T1 map with contours."""
    return result.quantity is Quantity.T1 and result.map is not None and result.contours is not None


def distance_mm(one: SliceResult, other: SliceResult) -> float:
    """Return the distance of two slices along their normal, mm; infinite where they are not parallel.

    Where neither states its orientation, slices of the same index, size and pixels count as one position.
    """
    a, b = one.geometry, other.geometry
    placed = [Flag.NO_ORIENTATION not in each.flags for each in (one, other)]
    if not any(placed):
        same = one.identity.slice_index == other.identity.slice_index
        return 0.0 if same and (a.shape, a.spacing) == (b.shape, b.spacing) else float("inf")
    if not all(placed):
        return float("inf")
    axes = ((a.normal, b.normal), (np.asarray(a.row_direction), np.asarray(b.row_direction)))
    if any(float(first @ second) < _PARALLEL for first, second in axes):
        return float("inf")
    return abs(float((np.asarray(a.position) - b.position) @ a.normal))


def mismatch(native: SliceResult, post: SliceResult) -> str:
    """Return why two slices are no pair of one position; empty where they are."""
    distance = distance_mm(native, post)
    if distance <= SAME_MM:
        return ""
    if np.isfinite(distance):
        return f"they lie {distance:.1f} mm apart; at most {SAME_MM:g} mm are one position"
    return "their orientations differ, or only one of them states its own"


def tell_apart(one: SliceResult, other: SliceResult) -> Pair | None:
    """Return which of two slices is native and which post-contrast; None where they are no such pair.

    In this order: what is known of both slices by themselves; the T1 of their blood, which contrast agent
    shortens by a fifth at least. What is known of one slice must not contradict that.

    Args:
        one: acquired before ``other``.
        other: after it.
    """
    kinds = (one.enhancement, other.enhancement)
    if None not in kinds:
        if kinds[0] is kinds[1]:
            return None
        native, post = (one, other) if kinds[0] is Enhancement.NATIVE else (other, one)
        sources = dict.fromkeys((native.enhancement_source, post.enhancement_source))
        return Pair(native, post, "; ".join(filter(None, sources)))
    if one.blood is None or other.blood is None:
        return None
    for native, post in ((one, other), (other, one)):
        assert native.blood is not None
        assert post.blood is not None
        agree = (
            native.enhancement is not Enhancement.POST_CONTRAST and post.enhancement is not Enhancement.NATIVE
        )
        if agree and shortened(native.blood, post.blood):
            order = "first" if native is one else "second"
            return Pair(
                native,
                post,
                f"blood T1 of {native.blood.median_ms:.0f} and {post.blood.median_ms:.0f} ms; the native "
                f"slice was acquired {order}",
            )
    return None


def shortened(native: BloodT1, post: BloodT1) -> bool:
    """Return whether the T1 of blood became shorter, as contrast agent makes it."""
    return post.median_ms <= SHORTENED * native.median_ms


def find_pair(result: SliceResult, earlier: Iterable[SliceResult]) -> Pair | None:
    """Return the pair of a slice and the best of the earlier ones; None where none fits.

    Slices that were both corrected for motion, or both not, go first; then the nearest slice; of several at
    one position, the last.

    Args:
        result: T1 slice.
        earlier: slices of the same study, in the order of their results.
    """
    if not usable(result):
        return None
    found: list[tuple[tuple[bool, float, int], Pair]] = []
    for number, each in enumerate(earlier):
        if not usable(each) or (distance := distance_mm(each, result)) > SAME_MM:
            continue
        if (pair := tell_apart(*_by_time(each, result))) is not None:
            mixed = each.motion_corrected != result.motion_corrected
            found.append(((mixed, round(distance), -number), pair))
    return min(found, key=lambda each: each[0])[1] if found else None


def _by_time(one: SliceResult, other: SliceResult) -> tuple[SliceResult, SliceResult]:
    """Return two slices in the order of acquisition; equal time stamps leave the order of their results."""
    return (other, one) if other.identity.time_stamp < one.identity.time_stamp else (one, other)
