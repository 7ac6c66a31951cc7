"""Examination: the ECV of every slice position, and what is missing where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from inline.data.examination import EcvResult, Examination
from inline.data.flags import Flag
from inline.data.geometry import SAME_MM
from inline.data.results import SliceResult
from inline.data.series import Enhancement, Quantity
from inline.examination.ecv import ecv_of_pair
from inline.examination.haematocrits import OfStudy
from inline.examination.pairing import (
    Pair,
    Places,
    contradiction,
    distance_mm,
    find_pair,
    placed,
    usable,
)
from inline.reference import ReferenceRanges
from inline.settings import EcvSettings, RegionSettings

_LATE: Final = "missed its budget and has no contours"


def examine(
    results: Iterable[SliceResult],
    settings: EcvSettings,
    regions: RegionSettings,
    ranges: ReferenceRanges,
    *,
    earlier: Iterable[SliceResult] = (),
    of_study: OfStudy | None = None,
) -> Examination:
    """Return an examination with the ECV of every slice position that has native and post-contrast T1.

    In an examination with contrast agent, native and post-contrast slices without a partner have a result
    with an error. So has a pair whose processing raises one: the slices are there all the same.

    Args:
        results: slices of one examination, in the order of acquisition.
        settings: with the haematocrit.
        regions: settings of the regions.
        ranges: normal values of the site, for z-scores.
        earlier: slices of the same study that were examined before, such as those of another file: partners
            of these ones, without a result of their own.
        of_study: what the site's file of haematocrits states on their study; None without one.
    """
    slices, before = tuple(results), tuple(earlier)
    found: list[EcvResult] = []
    paired: set[int] = set()
    for number, result in enumerate(slices):
        if (pair := find_pair(result, (*before, *slices[:number]), slices[number + 1 :])) is not None:
            paired |= {id(pair.native), id(pair.post)}
            found.append(_ecv(pair, settings, regions, ranges, of_study))
    single = [each for each in slices if each.quantity is Quantity.T1 and id(each) not in paired]
    return Examination(slices, (*found, *without_partner(single, (*before, *slices))))


def _ecv(
    pair: Pair,
    settings: EcvSettings,
    regions: RegionSettings,
    ranges: ReferenceRanges,
    of_study: OfStudy | None,
) -> EcvResult:
    try:
        return ecv_of_pair(pair, settings, regions, ranges, of_study)
    except Exception as error:  # as of a slice
        return failed(pair, error)


def failed(pair: Pair, error: Exception) -> EcvResult:
    """Return the result of a pair whose processing raised an error."""
    native, post = pair.native, pair.post
    return EcvResult(
        native=native.identity,
        post=post.identity,
        geometry=native.geometry,
        level=native.level,
        flags=(Flag.PROCESSING_ERROR,),
        pairing=pair.how,
        error=f"{type(error).__name__}: {error}",
    )


def missed_budget(result: SliceResult) -> bool:
    """Return whether a T1 slice of a stream missed its budget and has no contours, at least so far."""
    return result.quantity is Quantity.T1 and Flag.LATE in result.flags and result.contours is None


def without_partner(single: Iterable[SliceResult], others: Iterable[SliceResult]) -> list[EcvResult]:
    """Return the results of T1 slices that have no partner; none where no contrast agent was given.

    Args:
        single: slices without a partner.
        others: all slices of the examination.
    """
    known = tuple(others)
    if not any(each.enhancement is Enhancement.POST_CONTRAST for each in known):
        return []
    places = Places(known)
    found = (_alone(each, known, places) for each in single if each.enhancement is not None)
    return [each for each in found if each is not None]


def _alone(result: SliceResult, others: tuple[SliceResult, ...], places: Places) -> EcvResult | None:
    """Return the result of a slice without a partner: what is missing, and the nearest candidate.

    None where its position has a partner, which is paired with another slice of that position.
    """
    missing = _missing(result, others, places)
    if missing is None:
        return None
    flag, error = missing
    is_native = result.enhancement is Enhancement.NATIVE
    return EcvResult(
        native=result.identity,
        post=None,
        geometry=result.geometry,
        level=result.level,
        native_blood=result.blood if is_native else None,
        post_blood=None if is_native else result.blood,
        contours=result.contours,
        flags=(flag,),
        error=error,
    )


def _missing(result: SliceResult, others: tuple[SliceResult, ...], places: Places) -> tuple[Flag, str] | None:
    """Return flag and reason why a slice has no partner; None where its position has one."""
    is_native = result.enhancement is Enhancement.NATIVE
    wanted = "post-contrast" if is_native else "native"
    if missed_budget(result):
        return Flag.LATE, f"the {result.enhancement} slice {_LATE}"
    if not usable(result):
        return Flag.NO_VALUES, f"the {result.enhancement} slice has no contours or no map"
    candidates = [each for each in others if each.quantity is Quantity.T1 and each.enhancement == wanted]
    near = [each for each in candidates if places.distance_mm(each, result) <= SAME_MM]
    if partners := [each for each in near if usable(each)]:
        mismatch = _mismatch(result, partners, wanted, places)
        return (Flag.SLICES_DO_NOT_MATCH, mismatch) if mismatch else None
    late = [
        each
        for each in others
        if missed_budget(each)
        and each.enhancement in (None, wanted)
        and places.distance_mm(each, result) <= SAME_MM
    ]
    if late:
        which = f"the {wanted}" if late[-1].enhancement else "a T1"
        return Flag.LATE, f"{which} slice of this position {_LATE}"
    lacking = Flag.NO_POST_CONTRAST if is_native else Flag.NO_NATIVE
    if near:
        return lacking, f"the {wanted} slice of this position has no contours or no map"
    if not candidates:
        return lacking, f"there is no {wanted} T1 map"
    where = _nearest(result, candidates, wanted, places)
    return Flag.SLICES_DO_NOT_MATCH, f"no {wanted} slice lies within {SAME_MM:g} mm of this one: {where}"


def _mismatch(result: SliceResult, partners: Sequence[SliceResult], wanted: str, places: Places) -> str:
    """Return why slices of the position of another one are no partners of it; empty where one is."""
    allowed = [each for each in partners if not contradiction(each, result)]
    if not allowed:
        return f"the {wanted} slice of this position does not match: {contradiction(partners[0], result)}"
    if places.ambiguous(allowed):
        return (
            f"several {wanted} slices have its index and none states its position: send "
            "positions, or a slice index for each"
        )
    if not any(places.proved(each, result) for each in allowed):
        return (
            f"neither this slice nor the {wanted} one states its position, and index "
            f"{result.identity.slice_index} of a single slice may be any: send positions, or each series "
            "with all its slices"
        )
    return ""


def _nearest(result: SliceResult, candidates: Sequence[SliceResult], wanted: str, places: Places) -> str:
    """Return where the nearest of slices at other positions lies, or why that is not known."""
    nearest = min(places.distance_mm(each, result) for each in candidates)
    if np.isfinite(nearest):
        return f"the nearest lies {nearest:.1f} mm away"
    if any(np.isfinite(distance_mm(each, result)) for each in candidates):
        zeros = "this one states" if places.stated(result) is False else f"the {wanted} slices state"
        return f"{zeros} the position 0, 0, 0, which stands for none; send positions"
    return "none is parallel to it" if placed(result) else "no position is stated, nor its slice index"
