"""Inversion and preparation times as senders write them: numbers in text, mostly without a unit."""

from __future__ import annotations

import math
import re
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader

_LONGEST_TEXT: Final = 64
_NUMBER: Final = re.compile(
    r"\s*+([+-]?+\d*+(?:[.,]\d*+)?+(?:[eE][+-]?+\d++)?+)\s*+(msec|ms|sec|s|usec|us|µs)?+\s*+"
)
_UNIT_MS: Final = {"ms": 1.0, "msec": 1.0, "s": 1e3, "sec": 1e3, "us": 1e-3, "usec": 1e-3, "µs": 1e-3}
_LARGEST: Final = 1e9
_LAST_PARAMETER: Final = 64
"""Numbered user parameters that are read."""
ROUNDING_MS: Final = 1.0
"""Largest difference of equal times: some senders write whole milliseconds."""
_HEARTBEAT_MS: Final = 200.0
"""Shortest step of inversion times to the next heartbeat: 80 ms less than a heartbeat, at 214 a minute. The
frames of a TI scout are 15 to 60 ms apart."""
_RANGES: Final = {
    # An inversion pulse and the readout's preparation take tens of ms; no recovery lasts a minute.
    Quantity.T1: (20.0, 60_000.0),
    Quantity.T2: (1.0, 1_500.0),
}
"""Shortest and longest time, ms. A series whose median lies below is in seconds, above in microseconds; other
times outside are none, except a preparation time of 0."""

Milliseconds = tuple[float | None, ...]
"""Time of each image of a series, ms; None where there is no usable one."""


@dataclass(frozen=True, slots=True)
class Stated:
    """Time as an image or a header states it.

    Attributes:
        text: as it came, cut to what a message can show.
        number: in the sender's unit, or in ms where the text names its unit; None where it is no time.
    """

    text: str
    number: float | None

    @classmethod
    def read(cls, text: str) -> Stated:
        """Read a number of at least 0, with a decimal point or comma, with or without a unit."""
        return cls(text.strip()[:_LONGEST_TEXT], _number(text))


@dataclass(frozen=True, slots=True)
class Times:
    """Times of the images of a series, in their order.

    Attributes:
        ms: in ms.
        unit: that the sender's numbers were in: ``ms``, ``s`` or ``µs``.
    """

    ms: Milliseconds
    unit: str

    @property
    def known(self) -> list[float]:
        """Usable times, ms."""
        return [time for time in self.ms if time is not None]


def in_ms(stated: Sequence[Stated | None], quantity: Quantity) -> Times:
    """Return the times in ms; their unit is recognised by the size of the median.

    Times that no series has (negative, absurd, an inversion time of 0, preparation times that are all 0)
    count as none.
    """
    positive = sorted(each.number for each in stated if each is not None and each.number)
    unit = _unit(positive, quantity)
    return Times(tuple(_usable(each, unit, quantity) for each in stated), unit or "ms")


@dataclass(slots=True)
class GrowingTimes:
    """Times of a series whose images come one by one: :func:`in_ms` of all so far, reading each one once.

    Attributes:
        quantity: T1 or T2.
        stated: times as the images state them.
        ms: these in ms.
    """

    quantity: Quantity
    stated: list[Stated | None] = field(default_factory=list)
    ms: list[float | None] = field(default_factory=list)
    _positive: list[float] = field(default_factory=list)
    _unit: str = ""

    def add(self, stated: Stated | None) -> None:
        """Add the time of the next image."""
        self.ms = self.with_another(stated)
        self.stated.append(stated)
        if stated is not None and stated.number:
            insort(self._positive, stated.number)
        self._unit = _unit(self._positive, self.quantity)

    def with_another(self, stated: Stated | None) -> list[float | None]:
        """Return the times, ms, of the images so far and of another one."""
        positive = self._positive.copy()
        if stated is not None and stated.number:
            insort(positive, stated.number)
        unit = _unit(positive, self.quantity)
        if unit != self._unit:
            return [_usable(each, unit, self.quantity) for each in (*self.stated, stated)]
        return [*self.ms, _usable(stated, unit, self.quantity)]

    @property
    def times(self) -> Times:
        """Times of the images so far."""
        return Times(tuple(self.ms), self._unit or "ms")


def _unit(positive: Sequence[float], quantity: Quantity) -> str:
    """Return the unit of times above 0, ascending, by their median; empty without any."""
    if not positive:
        return ""
    middle = (positive[(len(positive) - 1) // 2] + positive[len(positive) // 2]) / 2
    shortest, longest = _RANGES[quantity]
    return "s" if middle < shortest else "µs" if middle > longest else "ms"


def _usable(stated: Stated | None, unit: str, quantity: Quantity) -> float | None:
    """Return a time in ms; None where it is none that a series has, or where no unit is known."""
    if stated is None or stated.number is None or not unit:
        return None
    time = stated.number * _UNIT_MS[unit]
    shortest, longest = _RANGES[quantity]
    none = time == 0.0 and quantity is Quantity.T2
    return time if none or shortest <= time <= longest else None


def within_a_heartbeat(times_ms: Sequence[float]) -> bool:
    """Return whether inversion times, ms, are those of a TI scout: none is a heartbeat after the one before.

    The images of MOLLI after one inversion are a heartbeat apart, and those of the next one 80 ms later:
    in the schemes in use, one step of the ascending times is at least a heartbeat less 80 ms.
    """
    ordered = sorted(times_ms)
    return all(later - earlier < _HEARTBEAT_MS for earlier, later in pairwise(ordered))


PERHAPS_ZERO: Final = Stated("", 0.0)
"""First entry of a list of preparation times that may be numbered from 1, or lack the first one of 0."""


def listed(
    header: MeasurementHeader, quantity: Quantity, *, named: bool, counters: Iterable[str] = ()
) -> tuple[Stated, ...]:
    """Return the times that the header lists for the images of one series; empty without a list.

    Args:
        header: of the measurement.
        quantity: T1: ``sequenceParameters/TI``, four or more. T2: the user parameters ``T2PrepDuration_0``,
            ``_1`` ..., else ``sequenceParameters/TE``, three or more, where the series is named T2 mapping.
        named: the series' description names this quantity.
        counters: that run in the series; their limits show if numbers from 1 lack a first time of 0.
    """
    if quantity is Quantity.T1:
        return _read(header.inversion_times) if len(header.inversion_times) >= 4 else ()
    numbered = {
        place: text
        for place in range(_LAST_PARAMETER)
        if (text := header.parameters.get(f"T2PrepDuration_{place}")) is not None
    }
    if numbered and (len(numbered) >= 2 or 0 not in numbered):
        last = max(numbered)
        stated = _read(tuple(numbered.get(place, "") for place in range(0 if 0 in numbered else 1, last + 1)))
        own = before_padding(stated)
        if 0 in numbered or any(each.number == 0.0 for each in stated[:own]):
            return stated
        lengths = {header.values(name) for name in counters} & {own, own + 1, last}
        # Converters leave out a preparation of 0 ms; no other may be missing. One zero at the end may be that
        # preparation, or pad the list.
        if len(lengths) != 1 or (last == own + 1 and own not in lengths):
            return (PERHAPS_ZERO, *stated)
        return (Stated("0", 0.0), *stated) if own + 1 in lengths else stated
    return _read(header.echo_times) if named and len(header.echo_times) >= 3 else ()


def before_padding(entries: Sequence[Stated]) -> int:
    """Return the number of entries of a list before the zeros at its end: lists of a fixed size have some.

    All are counted where each is 0.
    """
    others = (place for place, each in enumerate(entries, start=1) if each.number != 0.0)
    return max(others, default=len(entries))


@lru_cache(maxsize=8)  # the list of a header is read several times for each of its images
def _read(texts: tuple[str, ...]) -> tuple[Stated, ...]:
    return tuple(Stated.read(text) for text in texts)


def _number(text: str) -> float | None:
    if len(text) > _LONGEST_TEXT or not (match := _NUMBER.fullmatch(text)):
        return None
    whole, comma, fraction = match[1].partition(",")
    if comma and len(fraction) == 3:
        return None  # 1,000 may be one or a thousand
    try:
        value = float(f"{whole}.{fraction}" if comma else whole)
    except ValueError:
        return None
    value *= _UNIT_MS.get(match[2] or "", 1.0)
    return value if math.isfinite(value) and 0.0 <= value < _LARGEST else None
