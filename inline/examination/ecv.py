"""Partition coefficient and ECV of one slice position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.contouring.aha_segments import regions_at_level, segment_level
from inline.contouring.plausibility import poorly_fitted, within_tissue
from inline.contouring.regions import (
    RegionShares,
    region_shares,
    sample_of,
    weighted_statistics,
    without_values,
)
from inline.contouring.septum import slice_reference
from inline.data.errors import MyostreamError
from inline.data.examination import SLICE_FLAGS, EcvRegion, EcvResult, Haematocrit, HaematocritSource
from inline.data.flags import Finding, Flag
from inline.data.results import BloodT1, SliceLevel, SliceResult
from inline.data.series import Enhancement
from inline.examination.haematocrits import OfStudy
from inline.examination.pairing import Pair, mismatch, shortened, usable
from inline.examination.registration import Registered, register, sample
from inline.reference import ReferenceRanges, with_z_scores
from inline.settings import EcvSettings, RegionSettings
from model.polygons import ring_labels
from model.relaxometry.ecv import (
    HAEMATOCRIT,
    BloodChange,
    partition_coefficient,
    synthetic_haematocrit,
    tissue_sd,
    total_sd,
)
from model.relaxometry.parametric_map import ParametricMap

FloatArray = NDArray[np.float64]

_LEAST_OVERLAP: Final = 0.6
"""Dice coefficient of both walls, after the movement, below which the registration is flagged. A wall of 9 mm
that is shifted by 3 mm has about 0.7."""
_NO_SEGMENTS: Final = (
    "No segments of ECV: the level of the slice was not known when its ECV was computed, or was another one."
)


class _NotMeasuredError(MyostreamError):
    """A slice position without a partition coefficient; ``flag`` is the reason code."""

    def __init__(self, message: str, flag: Flag) -> None:
        super().__init__(message)
        self.flag = flag


def ecv_of_pair(
    pair: Pair,
    settings: EcvSettings,
    regions: RegionSettings,
    ranges: ReferenceRanges,
    of_study: OfStudy | None = None,
) -> EcvResult:
    """Return partition coefficient and ECV of a pair; what prevents them is stated in the result.

    Args:
        pair: native and post-contrast T1.
        settings: with the haematocrit.
        regions: settings of the regions.
        ranges: normal values of the site, for z-scores.
        of_study: what the site's file of haematocrits states on the study; None without one.
    """
    native, post = pair.native, pair.post
    empty = EcvResult(
        native=native.identity,
        post=post.identity,
        geometry=native.geometry,
        level=native.level,
        native_blood=native.blood,
        post_blood=post.blood,
        contours=native.contours,
        native_flags=native.flags,
        pairing=pair.how,
    )
    try:
        blood = _blood_change(native, post)
        registered = register(native, post)
    except _NotMeasuredError as error:
        return replace(empty, error=error.message, flags=(error.flag,))
    (native, native_note), (post, post_note) = _within_tissue(native), _within_tissue(post)
    found = _with_haematocrit(_with_flags(empty, pair), native, settings, of_study)
    left_out = (("native", native_note), ("post-contrast", post_note))
    notes = (f"In the {name} map {note}" for name, note in left_out if note)
    found = replace(found, notes=(*found.notes, *notes))
    measured = _measured(found, native, post, blood, registered, regions)
    # Where neither sender nor blood says which map is native, the pair does.
    known = replace(native, enhancement=Enhancement.NATIVE)
    compared = replace(known, inset=regions.inset, flags=measured.flags)
    return _compared(measured, compared, ranges)


def at_level(result: EcvResult, level: SliceLevel) -> EcvResult:
    """Return a result whose slice was found to lie at another level.

    Its pixels are not measured anew: segments get their new names, without z-scores, or are left out where
    the level has others. A note states it where segments are missing.
    """
    if level is result.level:
        return result
    regions, lacking = regions_at_level(result.regions, level, result.native_flags)
    notes = result.notes
    if lost := _without_values(regions):
        former = {sentence for _, sentence in _without_values(result.regions)}
        notes = (*(each for each in notes if each not in former), *(sentence for _, sentence in lost))
    if lacking:
        notes = (*notes, _NO_SEGMENTS)
    return replace(result, level=level, regions=regions, notes=notes)


def _without_values(regions: Sequence[EcvRegion]) -> tuple[Finding, ...]:
    # There is no ECV without haematocrit.
    return without_values([replace(each, median=each.partition_coefficient) for each in regions])


def _blood_change(native: SliceResult, post: SliceResult) -> BloodChange:
    """Return the change of the blood's T1.

    Raises:
        _NotMeasuredError: the slices are no pair, or the blood shows that they are none.
    """
    for name, each in (("native", native), ("post-contrast", post)):
        if not usable(each):
            reasons = each.error or ", ".join(each.flags) or "it is no T1 map"
            raise _NotMeasuredError(
                f"the {name} slice has no T1 map with contours: {reasons}", Flag.NO_VALUES
            )
    if why := mismatch(native, post):
        raise _NotMeasuredError(
            f"native and post-contrast slice do not match: {why}", Flag.SLICES_DO_NOT_MATCH
        )
    if native.scanner_made == post.scanner_made and native.t1_scale != post.t1_scale:
        raise _NotMeasuredError(
            f"native T1 was multiplied by {native.t1_scale:g} and post-contrast T1 by {post.t1_scale:g}; use "
            "one factor for both (setting mapping.t1_scale)",
            Flag.SLICES_DO_NOT_MATCH,
        )
    before, after = native.blood, post.blood
    if before is None or after is None:
        which = "native" if before is None else "post-contrast"
        raise _NotMeasuredError(
            f"the cavity of the {which} slice holds too few pixels of blood", Flag.NO_BLOOD
        )
    if not shortened(before, after):
        raise _NotMeasuredError(
            f"blood T1 is {before.median_ms:.0f} ms in the native and {after.median_ms:.0f} ms in the "
            "post-contrast slice, which is no effect of contrast agent; check which slice is which",
            Flag.IMPLAUSIBLE_BLOOD,
        )
    return BloodChange(before.median_ms, after.median_ms, _error(before), _error(after))


def _within_tissue(result: SliceResult) -> tuple[SliceResult, str]:
    """Return a slice whose map is :func:`within_tissue` where the scanner made it, and the note on that."""
    if not result.scanner_made or result.map is None or result.contours is None:
        return result, ""
    made, note = within_tissue(result.map, result.quantity, result.contours)
    return replace(result, map=made), note


def _error(blood: BloodT1) -> float:
    """Return the standard error of the blood's T1, ms; 0 of a scanner's map, whose result states no error."""
    return blood.standard_error_ms or 0.0


def _with_flags(empty: EcvResult, pair: Pair) -> EcvResult:
    """Return the result with the flags of both slices, whose values are those of ECV, and notes on them."""
    native, post = pair.native, pair.post
    notes = tuple(
        f"{SLICE_FLAGS} {name} slice: {', '.join(each.flags)}."
        for name, each in (("native", native), ("post-contrast", post))
        if each.flags
    )
    flags = dict.fromkeys((*native.flags, *post.flags))
    if pair.doubt:
        flags[Flag.SLICES_DO_NOT_MATCH] = None
        notes += (pair.doubt,)
    if native.scanner_made != post.scanner_made:
        flags[Flag.SLICES_DO_NOT_MATCH] = None
        made, fitted = ("native", "post-contrast") if native.scanner_made else ("post-contrast", "native")
        notes += (
            f"The {made} map was made by the scanner, the {fitted} one fitted here: their T1 may differ by a "
            "factor, and so may ECV. Send two of one kind.",
        )
    if native.motion_corrected != post.motion_corrected:
        moved = "native" if native.motion_corrected else "post-contrast"
        notes += (f"Only the {moved} images were corrected for motion.",)
    return replace(empty, flags=tuple(flags), notes=notes)


def _with_haematocrit(
    found: EcvResult, native: SliceResult, settings: EcvSettings, of_study: OfStudy | None
) -> EcvResult:
    """Return the result with the haematocrit, or with the note on why there is none."""
    if of_study is not None:
        if of_study.value is not None:
            return replace(found, haematocrit=Haematocrit(of_study.value, HaematocritSource.FILE))
        found = replace(found, notes=(*found.notes, of_study.note))
    if settings.haematocrit is not None and not (of_study and of_study.refused):
        return replace(found, haematocrit=Haematocrit(settings.haematocrit, HaematocritSource.GIVEN))
    haematocrit, flag = None, Flag.NO_HAEMATOCRIT
    note = (
        "No haematocrit is known (option --haematocrit, settings ecv.haematocrits and ecv.haematocrit): "
        "there is the partition coefficient alone."
    )
    if settings.synthetic:
        assert native.blood is not None
        value, source = synthetic_haematocrit(native.blood.median_ms, native.field_strength)
        note = f"There is no synthetic haematocrit, and so no ECV: {source}."
        if value is not None:
            haematocrit, flag = Haematocrit(value, HaematocritSource.SYNTHETIC), Flag.SYNTHETIC_HAEMATOCRIT
            note = f"Haematocrit of {value:.3f} computed from native blood T1, not measured ({source})."
    return replace(found, haematocrit=haematocrit, flags=(*found.flags, flag), notes=(*found.notes, note))


def _measured(
    found: EcvResult,
    native: SliceResult,
    post: SliceResult,
    blood: BloodChange,
    registered: Registered,
    settings: RegionSettings,
) -> EcvResult:
    """Return the result with maps and regions."""
    assert native.map is not None
    assert post.map is not None
    assert native.contours is not None
    shape = (native.map.values_ms.shape[0], native.map.values_ms.shape[1])
    moved = _moved(post.map, registered, shape)
    fitted = ~native.map.failed & ~moved.failed
    coefficient = partition_coefficient(native.map.values_ms, moved.values_ms, blood)
    largest = 1.0 / (1.0 - (found.haematocrit.value if found.haematocrit else HAEMATOCRIT[1]))
    valid = fitted & (coefficient >= 0.0) & (coefficient <= largest)
    # Pixels of the wall in both maps: elsewhere one of them is blood or fat.
    walls = [ring_labels(each.endo, each.epi, shape) == 2 for each in (native.contours, registered.contours)]
    wall = walls[0] & walls[1]
    masked = int(np.count_nonzero(wall & fitted & ~valid))
    flags, notes = list(found.flags), list(found.notes)
    if masked:
        flags.append(Flag.MASKED_VALUES)
        limit = "an ECV" if found.haematocrit else "a partition coefficient that no haematocrit makes an ECV"
        notes.append(f"{masked} pixels of the myocardium have {limit} outside 0 to 100 % and are left out.")
    if registered.overlap < _LEAST_OVERLAP:
        flags.append(Flag.NOT_REGISTERED)
        notes.append(
            f"After registration the walls overlap by {registered.overlap:.2f} (Dice coefficient): check the "
            "contours of both maps."
        )
    tissue: FloatArray | None = None
    if native.scanner_made or post.scanner_made:
        notes.append("A scanner's map states no SD: there is no error of the values.")
    else:
        tissue = np.zeros(shape)
        tissue[valid] = tissue_sd(
            native.map.values_ms[valid],
            moved.values_ms[valid],
            native.map.sd_ms[valid],
            moved.sd_ms[valid],
            blood,
        )
    kept = np.where(valid, coefficient, 0.0)
    reference, _ = slice_reference(
        native.geometry, native.insertions, native.contours, settings.septum_degrees
    )
    shares = region_shares(
        native.contours,
        shape,
        segment_level(native.level, native.flags),
        reference,
        usable=walls[1],
        inset=settings.inset,
    )
    lost = ~valid | poorly_fitted(native.map) | poorly_fitted(moved)
    factor = None if found.haematocrit is None else 100.0 * (1.0 - found.haematocrit.value)
    regions = tuple(_region(each, kept, tissue, blood, factor, valid, lost) for each in shares)
    for flag, note in _without_values(regions):
        flags = [*dict.fromkeys((*flags, flag))]
        notes.append(note)
    return replace(
        found,
        partition=kept.astype(np.float32),
        partition_sd=None if tissue is None else total_sd(kept, tissue, blood).astype(np.float32),
        valid=valid,
        masked=masked,
        regions=regions,
        registration=registered.movement,
        flags=tuple(flags),
        notes=tuple(notes),
    )


def _compared(found: EcvResult, native: SliceResult, ranges: ReferenceRanges) -> EcvResult:
    """Return the result with z-scores of a measured haematocrit's ECV, where the site has ranges for it."""
    if found.haematocrit is None or found.haematocrit.source is HaematocritSource.SYNTHETIC:
        return found
    fitting, note = ranges.of("ECV", native)
    regions, source = with_z_scores(found.regions, fitting)
    return replace(found, regions=regions, reference=source, notes=(*found.notes, *([note] if note else [])))


def _moved(post: ParametricMap, registered: Registered, shape: tuple[int, int]) -> ParametricMap:
    """Return the post-contrast map on the native pixels; failed where a failed pixel takes part.

    The SD is that of a single pixel of the post-contrast map, an upper limit where pixels are mixed. The mean
    of a region, in which the mixing cancels, has the right error with it.
    """
    failed = sample(post.failed, registered.to_post, shape, 1.0) > 0.0

    def moved(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(failed, 0.0, sample(image, registered.to_post, shape, 0.0)).astype(np.float32)

    return ParametricMap(moved(post.values_ms), moved(post.sd_ms), moved(post.r_squared), failed)


def _region(
    region: RegionShares,
    coefficient: FloatArray,
    tissue: FloatArray | None,
    blood: BloodChange,
    factor: float | None,
    valid: NDArray[np.bool_],
    lost: NDArray[np.bool_],
) -> EcvRegion:
    """Return the values of a region over its ``valid`` pixels.

    ``factor`` makes ECV in percent of a partition coefficient; ``lost`` pixels have a poor fit in either map,
    or no valid value.
    """
    counted = sample_of(region, valid, lost)
    if counted is None:
        return EcvRegion(region.name, None, None, None, None, None, 0)
    found = weighted_statistics(coefficient[counted.rows, counted.columns], counted.shares)
    error = None
    if tissue is not None:
        own = float(np.linalg.norm(counted.shares * tissue[counted.rows, counted.columns])) / counted.area
        error = float(np.hypot(own, found.mean * blood.relative_error))

    def percent(value: float | None) -> float | None:
        return None if value is None or factor is None else value * factor

    return EcvRegion(
        region.name,
        median=percent(found.median),
        q1=percent(found.q1),
        q3=percent(found.q3),
        mean=percent(found.mean),
        sd=percent(found.sd),
        standard_error=percent(error),
        partition_coefficient=found.median,
        partition_standard_error=error,
        pixels=round(counted.area),
    )
