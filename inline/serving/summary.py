"""Summary of a connection at its close: an account of every image, and the final level of every slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from inline.assembly.account import Account
from inline.contouring.slice_level import slice_levels
from inline.data.plural import counted
from inline.data.results import SliceLevel
from inline.data.series import Quantity, SeriesIdentity, SlicePlace

SCHEMA: Final = "myostream.summary/1.1"
PASSED_ON: Final = "passed on, not worked on"
_NOT_SORTED: Final = "could not be sorted into a series"
_count: Final = partial(counted, none="no")


@dataclass(frozen=True, slots=True)
class FinalLevel:
    """Level of one slice at the close.

    Attributes:
        place: of the slice.
        level: between base and apex.
        level_source: its source, or why it is unknown.
    """

    place: SlicePlace
    level: SliceLevel
    level_source: str

    def record(self) -> dict[str, Any]:
        """Return the level as msgpack can hold it."""
        identity = self.place.identity
        return {
            "session": self.place.session,
            "series_index": identity.series_index,
            "slice_index": identity.slice_index,
            "description": identity.description,
            "time_stamp": identity.time_stamp,
            "quantity": self.place.quantity.value,
            "level": self.level.value,
            "level_source": self.level_source,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """Account of a connection.

    Attributes:
        images: number that came.
        used: number that is part of a series.
        series: number that was worked on or gave an error.
        results: number that was sent back, errors included.
        errors: number of results that state an error.
        unused: number of the other images by the reason why they made no map.
        slices: final level of every slice of the connection.
        earlier: likewise of the slices of the same studies on other connections.
    """

    images: int
    used: int
    series: int
    results: int
    errors: int
    unused: Mapping[str, int]
    slices: tuple[FinalLevel, ...] = ()
    earlier: tuple[FinalLevel, ...] = ()

    @classmethod
    def of(
        cls,
        account: Account,
        images: int,
        results: int,
        errors: int,
        slices: tuple[FinalLevel, ...] = (),
        earlier: tuple[FinalLevel, ...] = (),
    ) -> Self:
        """Return the summary, in which every image is accounted for.

        Args:
            account: of all assemblies of the connection.
            images: number that came; those that no assembly took were passed on alone.
            results, errors, slices, earlier: see :class:`Summary`.
        """
        unused = Counter(account.unused)
        unused[_NOT_SORTED] += account.images - account.used - unused.total()
        unused[PASSED_ON] += images - account.images
        # Of a counter, + keeps what is above 0.
        return cls(images, account.used, account.series, results, errors, dict(+unused), slices, earlier)

    def text(self, shown: Callable[[str], str] = str) -> str:
        """Return the summary in sentences; ``shown``: form of a reason, which may quote the client."""
        if not self.images:
            return "No image came."
        sentences = [f"{_count(self.images, 'image')} came"]
        if self.series or self.results:
            errors = f" ({_count(self.errors, 'error')})" if self.errors else ""
            sentences.append(
                f"{_count(self.used, 'image')} made {_count(self.series, 'series', 'series')} and "
                f"{_count(self.results, 'result')}{errors}"
            )
        if self.unused:
            reasons = ", ".join(f"{shown(reason)} ({number})" for reason, number in self.unused.items())
            sentences.append(f"{_count(sum(self.unused.values()), 'image')} made no map: {reasons}")
        if self.slices:
            sentences.append(f"Levels: {_levels(self.slices)}")
        return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)

    def record(self) -> dict[str, Any]:
        """Return the summary as msgpack can hold it, for ZeroMQ (``docs/stream.md``)."""
        return {
            "schema": SCHEMA,
            "text": self.text(),
            "images": self.images,
            "used": self.used,
            "series": self.series,
            "results": self.results,
            "errors": self.errors,
            "unused": dict(self.unused),
            "slices": [each.record() for each in self.slices],
            "earlier_slices": [each.record() for each in self.earlier],
        }


def final_levels(
    places: Sequence[SlicePlace], shown: Iterable[SlicePlace], stated: Mapping[int, SliceLevel] | None = None
) -> tuple[FinalLevel, ...]:
    """Return the level of each slice among all slices of its study; arguments as of ``slice_levels``."""
    found = slice_levels(places, shown, stated=stated)
    return tuple(FinalLevel(each, *level) for each, level in zip(places, found, strict=True))


def slice_name(identity: SeriesIdentity, quantity: Quantity) -> str:
    """Return the name of a slice for a user."""
    return f"{identity.name} ({quantity})"


def _levels(slices: Iterable[FinalLevel]) -> str:
    """Return the slices by level, from base to apex."""
    parts = []
    for level in SliceLevel:
        here = [each for each in slices if each.level is level]
        if not here:
            continue
        # T1 and T2 of a slice, and repeated measurements of it, often share their numbers.
        names = dict.fromkeys(slice_name(each.place.identity, each.place.quantity) for each in here)
        reasons = ""
        if level is SliceLevel.UNKNOWN:
            reasons = "; ".join(dict.fromkeys(each.level_source.removeprefix("unknown: ") for each in here))
            reasons = f" ({reasons})"
        parts.append(f"{level.value}{reasons}: {', '.join(names)}")
    return "; ".join(parts)
