"""T1 slices of each study that wait for their native or post-contrast partner, within a memory limit."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from itertools import count
from typing import Final
from weakref import WeakKeyDictionary

from inline.contouring.slice_level import slice_level
from inline.data.examination import EcvResult
from inline.data.flags import Flag
from inline.data.results import SliceResult
from inline.data.series import Quantity, SlicePlace
from inline.examination.ecv import ecv_of_pair
from inline.examination.examine import failed, missed_budget, without_partner
from inline.examination.haematocrits import HaematocritFile
from inline.examination.pairing import Pair, find_pair
from inline.mrd.header import Identities, merged
from inline.pipeline import Pipeline
from inline.reference import ReferenceRanges
from inline.serving.studies import Study
from inline.settings import Settings

_log = logging.getLogger(__name__)

_BESIDE: Final = 16 << 10
"""Bytes of a slice beside its pixels: contours, regions, texts."""
_STEP: Final = 1.001e-3
"""Step of the haematocrit on a console, 0.1 %, and errors of rounding."""
_DROPPED: Final = (
    "{} T1 slices of this examination were dropped by the memory limit (setting server.memory_bytes)."
)


_CONTRADICTORY: Final = (
    "The connections of both slices state different haematocrits, {:g} and {:g}, so none is used: send both "
    "series again with the right one."
)
_NOT_OF_FILE: Final = (
    "The haematocrit {:g} of the client is used, but the file of ecv.haematocrits states {:g} for this "
    "study; check that it is not that of the previous patient."
)


@dataclass(slots=True, eq=False)
class _Kept:
    """A slice with its place, haematocrit and identities of its connection; ``stated``: by the client."""

    number: int
    result: SliceResult
    place: SlicePlace
    haematocrit: float | None
    stated: bool
    identities: Identities
    paired: bool = False

    def completes(self, other: _Kept) -> bool:
        """Return whether this is the result of a slice that missed its budget."""
        same = (self.place.session, self.result.identity) == (other.place.session, other.result.identity)
        return same and Flag.LATE in self.result.flags and missed_budget(other.result)

    @property
    def nbytes(self) -> int:
        made = self.result.map
        arrays = () if made is None else (made.values_ms, made.sd_ms, made.r_squared, made.failed)
        pixels: int = sum(each.nbytes for each in (*arrays, self.result.labels))
        return _BESIDE + pixels


class KeptSlices:
    """T1 slices of all studies; safe between threads.

    Beyond the limit the oldest slices are dropped, whichever study they belong to. The slices of a study go
    with the study.
    """

    def __init__(self, limit: int, haematocrits: HaematocritFile | None = None) -> None:
        """Begin without slices; ``limit`` is in bytes, ``haematocrits`` those of the site, None for none."""
        self._limit, self._haematocrits = limit, haematocrits or HaematocritFile(None)
        self._kept: WeakKeyDictionary[Study, list[_Kept]] = WeakKeyDictionary()
        self._dropped: WeakKeyDictionary[Study, int] = WeakKeyDictionary()
        self._numbers = count()
        self._lock = threading.Lock()

    def add(
        self,
        study: Study,
        result: SliceResult,
        place: SlicePlace,
        settings: Settings,
        pipeline: Pipeline,
        *,
        haematocrit_stated: bool,
        identities: Identities | None = None,
    ) -> EcvResult | None:
        """Keep a slice; return the ECV of the pair that it completes, None where it completes none.

        The haematocrit is that which the connection of either slice states for its patient, or else that of
        the site's file, or else that of the settings. Where one connection refused its own, the other states
        none and the file has none, there is none. A note states where the file contradicts the connection.

        A slice that missed its budget is kept unfinished, for the error of a partner. Its result takes
        its place.

        The native slice, whose regions ECV has, has the level that is known now: more slices may have come
        since its result.

        Args:
            study: of the slice.
            result: of any quantity; only T1 is kept.
            place: of the slice.
            settings: of the connection.
            pipeline: of the program.
            haematocrit_stated: that of ``settings`` was stated on the connection, for its patient.
            identities: of the study, by the header of the connection.
        """
        if result.quantity is not Quantity.T1:
            return None
        kept = _Kept(
            next(self._numbers),
            replace(result, boundary_uncertainty=None, uncorrected=None),
            place,
            settings.ecv.haematocrit,
            haematocrit_stated,
            identities or {},
        )
        with self._lock:
            # Of two slices on two threads, the later one to be kept finds the other.
            known = self._kept.get(study, [])
            earlier = [each for each in known if not kept.completes(each)]
            # In the place of its unfinished result: slices after that are newer.
            at = next((number for number, each in enumerate(known) if kept.completes(each)), len(known))
            self._kept[study] = [*earlier[:at], kept, *earlier[at:]]
            self._shrink()
        pair = find_pair(kept.result, [each.result for each in earlier])
        if pair is None:
            return None
        partner = next(each for each in earlier if each.result is pair.native or each.result is pair.post)
        try:
            native = kept if kept.result is pair.native else partner
            pair = replace(pair, native=_at_level_known(native, study, settings, pipeline))
            found = self._ecv(pair, (partner, kept), study, settings, pipeline.ranges)
        except Exception as error:
            _log.exception("%s: ECV could not be computed", place.session)
            found = failed(pair, error)
        kept.paired = partner.paired = True
        return found

    def unpaired(self, study: Study, session: str) -> list[EcvResult]:
        """Return results with an error for the slices of a connection that found no partner.

        There are none where the study has no post-contrast slice.
        """
        with self._lock:
            known = list(self._kept.get(study, ()))
            dropped = self._dropped.get(study, 0)
        single = [each.result for each in known if each.place.session == session and not each.paired]
        found = without_partner(single, [each.result for each in known])
        notes = (_DROPPED.format(dropped),) if dropped else ()
        return [replace(each, notes=(*each.notes, *notes)) for each in found]

    def _ecv(
        self,
        pair: Pair,
        slices: tuple[_Kept, _Kept],
        study: Study,
        settings: Settings,
        ranges: ReferenceRanges,
    ) -> EcvResult:
        """Return the ECV of a pair of slices with the haematocrit of their connections, or of the file."""
        given = {each.haematocrit for each in slices}
        of_patient = sorted(
            {each.haematocrit for each in slices if each.stated and each.haematocrit is not None}
        )
        identities = merged(*(each.identities for each in slices))
        of_study = listed = self._haematocrits.of(identities, shared=study.shared)
        contradictory = len(of_patient) > 1
        if contradictory:
            haematocrit = of_study = None
        elif of_patient:
            haematocrit, of_study = of_patient[0], None
        else:
            haematocrit = given.pop() if len(given) == 1 else None
        update = {"haematocrit": haematocrit, "synthetic": settings.ecv.synthetic and not contradictory}
        found = ecv_of_pair(pair, settings.ecv.model_copy(update=update), settings.regions, ranges, of_study)
        if found.error:
            return found
        if contradictory:
            return replace(found, notes=(*found.notes, _CONTRADICTORY.format(*of_patient)))
        if of_patient and listed and listed.value and abs(of_patient[0] - listed.value) > _STEP:
            return replace(found, notes=(*found.notes, _NOT_OF_FILE.format(of_patient[0], listed.value)))
        return found

    def _shrink(self) -> None:
        """Drop the oldest slices beyond the limit."""
        everything = sorted(
            ((each.number, study, each) for study, kept in self._kept.items() for each in kept),
            key=lambda entry: entry[0],
        )
        held = sum(each.nbytes for _, _, each in everything)
        for _, study, each in everything:
            if held <= self._limit:
                return
            held -= each.nbytes
            self._kept[study].remove(each)
            # One that had a partner would be the partner of later slices too.
            self._dropped[study] = self._dropped.get(study, 0) + 1


def _at_level_known(kept: _Kept, study: Study, settings: Settings, pipeline: Pipeline) -> SliceResult:
    """Return the result of a slice at its level among all slices of the study received so far."""
    level, source = slice_level(kept.place, study.slices, stated=settings.regions.levels)
    return kept.result if level is kept.result.level else pipeline.at_level(kept.result, level, source)
