"""Time of each image of a series: its own, else the header's list, else a user field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.times import Stated, Times, in_ms, listed
from inline.data.client_text import Message, foreign, joined, message
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.messages import Image

COUNTERS: Final = ("set", "contrast", "phase", "repetition")
"""Counters that may number the images of a series, in the order in which they are tried."""
NUMBERING: Final = (*COUNTERS, "average", "image_index")
"""Counters that may give the position of an image in a list of times."""
_USER_TIME: Final = 7
"""``user_int`` in which Gadgetron's parametric mapping keeps the preparation time, microseconds."""
_NAMES: Final = {Quantity.T1: "inversion", Quantity.T2: "preparation"}
_FEWEST_DIFFERENT: Final = {Quantity.T1: 3, Quantity.T2: 2}
"""Parameters of the signal model."""
_AGREEMENT_MS: Final = 2.0
_AGREEMENT: Final = 0.01


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the images of a series.

    Attributes:
        ms: of each image, ms; None where it has none and is left out.
        flags: reason codes.
        notes: a sentence for each.
    """

    ms: tuple[float | None, ...]
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()


def timing(
    images: Sequence[Image],
    metadata: Sequence[ImageMetadata],
    quantity: Quantity,
    header: MeasurementHeader,
) -> Timing:
    """Return the time of each image of a series.

    Times of the images themselves win over the header's list. An image whose own time is unreadable takes
    the list's, if the list agrees with the times of the other images; else it is left out and named.

    Raises:
        SeriesError: there are no usable times, or too few different ones.
    """
    own = in_ms([each.times.get(quantity) for each in metadata], quantity)
    named = any(each.recognised.quantity is quantity for each in metadata)
    entries = listed(header, quantity, named=named)
    places = numbers(images, len(entries), header)
    by_list = in_ms(entries, quantity)
    from_list = None
    if places is not None:
        from_list = Times(tuple(by_list.ms[place] for place in places), by_list.unit)
    if from_list is not None and _alike(own, quantity) and _different(from_list.ms) > 1:
        assert places is not None
        found = _listed(from_list, entries, places, quantity)
        said = _said(next(filter(None, (each.times.get(quantity) for each in metadata))))
        note = f"The images state the same {_NAMES[quantity]} time, {said}: the header's list was taken."
        found = replace(found, flags=(*found.flags, Flag.UNREADABLE_TIMES), notes=(*found.notes, note))
    elif own.count:
        found = _own(own, from_list, metadata, images, quantity)
    elif from_list is not None and from_list.count:
        assert places is not None
        found = _listed(from_list, entries, places, quantity)
    else:
        found = _by_user_field(images, quantity) or _none(images, metadata, quantity, entries)
    different = _different(found.ms)
    usable = sum(time is not None for time in found.ms)
    if different < _FEWEST_DIFFERENT[quantity] <= usable:
        raise SeriesError(
            message(
                "the {} images of {} state {} different {} {}; at least {} are needed",
                usable,
                _description(metadata),
                different,
                _NAMES[quantity],
                "time" if different == 1 else "times",
                _FEWEST_DIFFERENT[quantity],
            )
        )
    return found


def numbers(images: Sequence[Image], count: int, header: MeasurementHeader) -> list[int] | None:
    """Return the position of each image in a list of ``count`` times, by the counter that numbers them.

    The counter that the header's limits give ``count`` values goes first. A counter, or the image index, that
    numbers a complete series in equal steps may begin anywhere: slices may be interleaved.
    """
    if not count or len(images) > count:
        return None
    stated = [name for name in NUMBERING if header.maxima.get(name, -1) + 1 == count]
    indices = {name: [getattr(image.header, name) for image in images] for name in NUMBERING}
    for name in (*stated, *NUMBERING[:-1]):
        found = indices[name]
        if len(set(found)) == len(found) and max(found) < count and (len(found) > 1 or name in stated):
            return found
    for found in indices.values():
        first, step = min(found), max((max(found) - min(found)) // max(count - 1, 1), 1)
        if len(found) == count and sorted(found) == list(range(first, first + step * count, step)):
            return [(number - first) // step for number in found]
    return None


def _own(
    own: Times,
    from_list: Times | None,
    metadata: Sequence[ImageMetadata],
    images: Sequence[Image],
    quantity: Quantity,
) -> Timing:
    flags, notes = _unit(own, quantity)
    without = [place for place, time in enumerate(own.ms) if time is None]
    if not without:
        return Timing(own.ms, flags, notes)
    said = _some(
        message("image {} ({})", images[place].header.image_index, _said(metadata[place].times.get(quantity)))
        for place in without
    )
    flags += (Flag.UNREADABLE_TIMES,)
    if from_list is not None and _agree(own.ms, from_list.ms):
        return Timing(
            tuple(
                theirs if time is None else time for time, theirs in zip(own.ms, from_list.ms, strict=True)
            ),
            flags,
            (
                *notes,
                message("No usable {} time in {}: taken from the header's list.", _NAMES[quantity], said),
            ),
        )
    return Timing(
        own.ms, flags, (*notes, message("No usable {} time in {}: left out.", _NAMES[quantity], said))
    )


def _listed(from_list: Times, entries: Sequence[Stated], places: Sequence[int], quantity: Quantity) -> Timing:
    flags, notes = _unit(from_list, quantity)
    without = [place for place, time in zip(places, from_list.ms, strict=True) if time is None]
    if without:
        flags += (Flag.UNREADABLE_TIMES,)
        named = [message("entry {} ({})", place + 1, _said(entries[place])) for place in sorted(without)[:4]]
        said = joined(", ", named)
        notes += (
            message(
                "No usable {} time in the header's list at {}: its image is left out.", _NAMES[quantity], said
            ),
        )
    return Timing(from_list.ms, flags, notes)


def _different(ms: Sequence[float | None]) -> int:
    return len({round(time, 3) for time in ms if time is not None})


def _alike(times: Times, quantity: Quantity) -> bool:
    """Return whether all images state the same time: that of the protocol."""
    return _different(times.ms) == 1 and times.count >= _FEWEST_DIFFERENT[quantity]


def _agree(own: Sequence[float | None], others: Sequence[float | None]) -> bool:
    """Return whether a list has a time for every image, equal to the image's own where that is readable."""
    return all(
        theirs is not None and (time is None or abs(time - theirs) <= max(_AGREEMENT_MS, _AGREEMENT * time))
        for time, theirs in zip(own, others, strict=True)
    )


def _by_user_field(images: Sequence[Image], quantity: Quantity) -> Timing | None:
    field = [float(image.header.user_int[_USER_TIME]) for image in images]
    times = in_ms([Stated(f"{value:g}", value) if value >= 0 else None for value in field], quantity)
    complete = times.count == len(field) and len(set(field)) == len(field)
    return Timing(times.ms) if complete and times.unit == "µs" else None


def _none(
    images: Sequence[Image],
    metadata: Sequence[ImageMetadata],
    quantity: Quantity,
    entries: Sequence[Stated],
) -> Timing:
    stated = [each.times[quantity] for each in metadata if quantity in each.times]
    why = ""
    if stated:
        said = joined(", ", dict.fromkeys(_said(each) for each in stated[:4]))
        why = message(" (they say {})", said)
    elif entries:
        why = message(" (the header lists {}: {})", len(entries), _some(_said(entry) for entry in entries))
    raise SeriesError(
        message(
            "no {} times for the {} images of {}{}: "
            "state them in the meta attributes of each image or in the header (docs/series.md)",
            _NAMES[quantity],
            len(images),
            _description(metadata),
            why,
        )
    )


def _unit(times: Times, quantity: Quantity) -> tuple[tuple[Flag, ...], tuple[str, ...]]:
    if times.unit == "ms":
        return (), ()
    unit = "seconds" if times.unit == "s" else "microseconds"
    kind = _NAMES[quantity].capitalize()
    return (Flag.CONVERTED_UNIT,), (f"{kind} times were taken for {unit}, by their size, and converted.",)


def _some(texts: Iterable[str]) -> Message:
    """Return the first four of some texts, joined."""
    first = list(islice(texts, 5))
    return joined(", ", [*first[:4], *(["..."] if len(first) > 4 else [])])


def _said(stated: Stated | None) -> str:
    if stated is None:
        return "nothing"
    return foreign(stated.text, shown=repr(stated.text)) if stated.text else "empty"


def _description(metadata: Sequence[ImageMetadata]) -> str:
    description = metadata[-1].description
    return foreign(description) if description else "the series"
