"""Pairs of native and post-contrast T1 of one slice position."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from inline.data.geometry import PARALLEL, SAME_MM
from inline.data.results import BloodT1, SliceResult
from inline.data.series import Enhancement, Quantity
from inline.data.stated_position import Shown, positions_stated
from inline.data.time_stamps import unwrapped
from model.relaxometry.ecv import SAME_FIELD

SHORTENED: Final = 0.8
"""Largest T1 of post-contrast blood over that of native blood. Nearer to 1, an error of 1 % in one of them is
an error above 4 % in ECV."""
_DOUBT: Final = (
    "Neither slice states its position, and the {} series has shown no other slice so far: check that both "
    "lie at one position, or send positions."
)
"""Doubt about a pair of slices by their index alone."""
_AT_ZERO: Final = (
    "The {} slice states the position 0, 0, 0, which many senders write for none, and no slice of its kind "
    "states another: check that both lie at one position, or send positions."
)
"""Doubt about a pair of which one slice may have no position."""
_TABLE_MOVED: Final = (
    "The patient table was elsewhere for native and post-contrast images (patient_table_position). Senders "
    "differ in whether the position of an image includes that: check that both lie at one position."
)
"""Doubt about a pair whose positions may be those of two places of the table."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Native and post-contrast T1 of one slice position.

    Attributes:
        native: its slice.
        post: likewise.
        how: source of the distinction between both.
        doubt: reason why both may lie at different positions, as a sentence; empty for none.
    """

    native: SliceResult
    post: SliceResult
    how: str
    doubt: str = ""


def usable(result: SliceResult) -> bool:
    """Return whether a slice may be one of a pair: a T1 map with contours."""
    return result.quantity is Quantity.T1 and result.map is not None and result.contours is not None


def distance_mm(one: SliceResult, other: SliceResult) -> float:
    """Return the distance of two slices along their normal, mm; infinite where they are not parallel.

    Where neither states its place, slices of the same index count as one position; without orientation they
    must have the same size and pixels too.
    """
    a, b = one.geometry, other.geometry
    oriented = (a.oriented, b.oriented)
    if any(oriented) and not all(oriented):
        return float("inf")
    normal = a.normal
    # A rotation in the plane is that of the geometry, which the registration takes.
    if float(normal @ b.normal) < PARALLEL:
        return float("inf")
    if not (placed(one) or placed(other)):
        same = one.identity.slice_index == other.identity.slice_index
        alike = all(oriented) or (a.shape, a.spacing) == (b.shape, b.spacing)
        return 0.0 if same and alike else float("inf")
    return abs(float((np.asarray(a.position) - b.position) @ normal))


def mismatch(native: SliceResult, post: SliceResult) -> str:
    """Return why two slices are no pair of one person and position; empty where they are."""
    if why := contradiction(native, post):
        return why
    distance = distance_mm(native, post)
    if distance <= SAME_MM:
        return ""
    if np.isfinite(distance):
        return f"they lie {distance:.1f} mm apart; at most {SAME_MM:g} mm are one position"
    return "their orientations differ, or only one of them states its own"


def contradiction(one: SliceResult, other: SliceResult) -> str:
    """Return why two slices cannot be of one person in one scanner; empty where their headers allow it."""
    if one.sex and other.sex and one.sex != other.sex:
        return "their headers state different sexes"
    fields = (one.field_strength, other.field_strength)
    if fields[0] is not None and fields[1] is not None and abs(fields[0] - fields[1]) > SAME_FIELD:
        return f"their field strengths are {fields[0]:g} and {fields[1]:g} T"
    return ""


class Places:
    """Places of the T1 slices of a study, as far as headers state them."""

    def __init__(self, study: Iterable[SliceResult]) -> None:
        """Take all slices that are known, in any order."""
        # A server keeps T1 alone; with T2 files would have other pairs.
        self._study = tuple(each for each in study if each.quantity is Quantity.T1)
        stated = positions_stated([Shown.of(each, (each.quantity, each.enhancement)) for each in self._study])
        self._stated = {id(each): known for each, known in zip(self._study, stated, strict=True)}

    def stated(self, result: SliceResult) -> bool | None:
        """Return whether the position of a T1 slice of the study is stated; None where zeros may be one."""
        return self._stated[id(result)]

    def distance_mm(self, one: SliceResult, other: SliceResult) -> float:
        """Return :func:`distance_mm`; infinite where one slice alone states its position."""
        only_one = {self.stated(one), self.stated(other)} == {True, False}
        return float("inf") if only_one else distance_mm(one, other)

    def ambiguous(self, candidates: Sequence[SliceResult]) -> bool:
        """Return whether several partners at one place cannot be distinguished: they do not state theirs.

        Slices that are series of their own all have index 0.
        """
        return len(candidates) > 1 and self.stated(candidates[0]) is False

    def proved(self, one: SliceResult, other: SliceResult) -> bool:
        """Return whether the study shows that two slices of :meth:`distance_mm` 0 lie at one place.

        It does where it states positions, or where the slice index of one of both counts them.
        """
        stated = self.stated(one) is not False and self.stated(other) is not False
        return stated or indexed(one, self._study) or indexed(other, self._study)

    def doubt(self, pair: Pair) -> str:
        """Return why the slices of a pair may lie at different positions, as a sentence; empty for none."""
        slices = {"native": pair.native, "post-contrast": pair.post}
        stated = {name: self.stated(each) for name, each in slices.items()}
        if False not in stated.values():
            doubtful, why = next((name for name, known in stated.items() if known is None), ""), _AT_ZERO
        else:
            unindexed = (name for name, each in slices.items() if not indexed(each, self._study))
            doubtful, why = next(unindexed, ""), _DOUBT
        if doubtful:
            return why.format(doubtful)
        return _TABLE_MOVED if table_moved(pair.native, pair.post) else ""


def table_moved(one: SliceResult, other: SliceResult) -> bool:
    """Return whether the patient table was elsewhere for two slices whose positions the MRD header states."""
    places = (one.geometry.table, other.geometry.table)
    return places[0] is not None and places[1] is not None and math.dist(places[0], places[1]) > SAME_MM


def indexed(result: SliceResult, study: Iterable[SliceResult]) -> bool:
    """Return whether the slice index of a slice counts positions: its series has slices of other indices.

    A slice that is a series of its own has index 0, wherever it lies.
    """
    own = result.identity
    return any(
        each.identity.series_index == own.series_index
        and each.identity.slice_index != own.slice_index
        # Two connections may both have a series of this number.
        and each.enhancement is result.enhancement
        for each in study
    )


def placed(result: SliceResult) -> bool:
    """Return whether the header states where a slice lies."""
    return result.geometry.oriented and result.geometry.placed


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


def find_pair(
    result: SliceResult, earlier: Iterable[SliceResult], later: Iterable[SliceResult] = ()
) -> Pair | None:
    """Return the pair of a slice and the best of the earlier ones; None where none fits.

    Maps that were both fitted, or both made by the scanner, go first; then those that were both corrected for
    motion, or both not; then those of one place of the patient table; then the nearest slice; of several at
    one position, that of the same slice index, then the last acquired. Slices without positions need a series
    whose slice index counts them; where only one of both has such a series so far, zeros of one of both may
    stand for none, or the table was moved, the pair has a doubt.

    Args:
        result: T1 slice.
        earlier: slices of the same study, in the order of their results.
        later: those after it, where they are known; none of them is the partner.
    """
    if not usable(result):
        return None
    study = tuple(earlier)
    places = Places((*study, result, *later))
    found: list[tuple[SliceResult, Pair]] = []
    for each in study:
        alike = each.enhancement is not None and each.enhancement is result.enhancement
        if not usable(each) or alike or contradiction(each, result):
            continue
        # Before the places, which take longer to compare: most slices of a long study are of one kind.
        pair = tell_apart(*_by_time(each, result))
        if pair is None or places.distance_mm(each, result) > SAME_MM or not places.proved(each, result):
            continue
        found.append((each, pair))
    if not found:
        return None

    def mixed(each: SliceResult) -> tuple[bool, bool]:
        return each.scanner_made != result.scanner_made, each.motion_corrected != result.motion_corrected

    moments = unwrapped([each.identity.time_stamp for each, _ in found])

    def rank(number: int) -> tuple[tuple[bool, bool], bool, int, bool, int, int]:
        each = found[number][0]
        elsewhere = each.identity.slice_index != result.identity.slice_index
        distance = round(distance_mm(each, result))
        return mixed(each), table_moved(each, result), distance, elsewhere, -moments[number], -number

    best, pair = found[min(range(len(found)), key=rank)]
    if places.ambiguous([each for each, _ in found if mixed(each) == mixed(best)]):
        return None
    return replace(pair, doubt=places.doubt(pair))


def _by_time(one: SliceResult, other: SliceResult) -> tuple[SliceResult, SliceResult]:
    """Return two slices in the order of acquisition; without time stamps in that of their results."""
    moments = unwrapped([one.identity.time_stamp, other.identity.time_stamp])
    return (other, one) if moments[1] < moments[0] else (one, other)
