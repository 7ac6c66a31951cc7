"""Time of each image of a series: its own, else the header's list, else a user field."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Final

from inline.assembly.group import NUMBERING, Group
from inline.assembly.image_metadata import TIME_PLACES
from inline.assembly.repetition import SAME_MS, ascending
from inline.assembly.times import PERHAPS_ZERO, Milliseconds, Stated, Times, in_ms
from inline.data.client_text import Message, foreign, joined, message
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.series import Quantity
from inline.elements.vendors import ECHO_TIMES, PLACES, echo_times_note
from inline.mrd.header import MeasurementHeader

_USER_TIME: Final = 7
"""``user_int`` in which Gadgetron's parametric mapping keeps the preparation time, microseconds."""
_NAMES: Final = {Quantity.T1: "inversion", Quantity.T2: "preparation"}
_FEWEST_DIFFERENT: Final = {Quantity.T1: 3, Quantity.T2: 2}
"""Parameters of the signal model."""
_AGREEMENT_MS: Final = 2.0
_AGREEMENT: Final = 0.01
_FIRST_BEAT_MS: Final = 200.0
"""Time after the shortest inversion time within which an image is the first one after an inversion."""
_DISORDER_MS: Final = 300.0
"""Fall of inversion times in the order of others from which one place has another order. Where the heart rate
changes between inversions, honest ones fall by some 100 ms."""
_ROUNDED_MS: Final = {Quantity.T1: 100.0, Quantity.T2: 10.0}
"""Times in seconds that all are multiples of these may have been rounded to them."""
_LEAST_PREPARATION_MS: Final = 20.0
"""Least longest preparation time: smaller numbers count preparations or their pulses."""
_OFFSET: Final = 0.05
"""Largest difference of offsets that are one, as a share of the longest time."""

Remark = tuple[Flag | None, str]
"""Finding, or a note without a reason code."""


def timing(group: Group, header: MeasurementHeader) -> tuple[Milliseconds, list[Remark]]:
    """Return the time of each image of a series, None where it has none, and what was unusual about them.

    Times of the images themselves win over the header's list. An image whose own time is unreadable takes
    the list's, if the list agrees with the times of the other images; else it is left out and named.

    Raises:
        SeriesError: there are no usable times, or too few different ones, or those of T1 and of T2.
    """
    own, entries = group.own_times, group.listed(header)
    name, fewest = _NAMES[group.quantity], _FEWEST_DIFFERENT[group.quantity]
    places = _places(group, len(entries), header)
    # All images may state the same time: that of the protocol.
    alike = _different(own.ms) == 1 and len(own.known) >= fewest
    if PERHAPS_ZERO in entries and (not places or max(places) - min(places) < len(entries) - 1):
        if (alike or not own.known) and _by_user_field(group) is None:
            raise SeriesError(_perhaps_without_zero(entries, len(group.images)))
        entries, places = (), []
    by_list = in_ms(entries, group.quantity)
    from_list = Times(tuple(by_list.ms[place] for place in places), by_list.unit)
    if alike and _different(from_list.ms) > 1:
        ms, findings = _listed(from_list, entries, places, name)
        findings.append((Flag.UNREADABLE_TIMES, _alike_note(group, name, "the header's list was taken")))
    elif alike and (user := _by_user_field(group)):
        ms, findings = user, [(Flag.UNREADABLE_TIMES, _alike_note(group, name, "user_int[7] was taken"))]
    elif own.known:
        ms, findings = _own(group, own, from_list, name)
    elif from_list.known:
        ms, findings = _listed(from_list, entries, places, name)
    elif user := _by_user_field(group):
        ms, findings = user, []
    else:
        counter = _interleaved_by(group, len(entries), header) if entries else ""
        raise SeriesError(_without_times(group, entries, header, counter))
    if group.place in ECHO_TIMES:
        findings.append((None, echo_times_note(group.place)))
    different = _different(ms)
    usable = sum(time is not None for time in ms)
    if different < fewest <= usable:
        raise SeriesError(
            message(
                "the {} images of {} state {} different {} {} ({} ms); at least {} are needed",
                usable,
                _description(group),
                different,
                name,
                "time" if different == 1 else "times",
                ", ".join(
                    f"{time:g}" for time in sorted({round(time, 3) for time in ms if time is not None})
                ),
                fewest,
            )
        )
    if _are_joint(group, ms):
        raise SeriesError(
            message(
                "not fitted: inversion and preparation times both differ in the images of {}, as in a joint "
                "acquisition of T1 and T2",
                _description(group),
            )
        )
    return ms, findings


def _are_joint(group: Group, ms: Milliseconds) -> bool:
    """Return whether the times of the other quantity differ too, and not by one offset to the images' own."""
    (other,) = set(Quantity) - {group.quantity}
    stated = [each.times.get(other) for each in group.metadata]
    numbers = [
        (one.number, each.number)
        for one, each in zip(group.stated, stated, strict=True)
        if one and each and one.number is not None and each.number is not None
    ]
    if not numbers:
        return False
    # As stated, in whatever unit: the size of the times may give each quantity another one.
    offsets = [one - each for one, each in numbers]
    offset = max(offsets) - min(offsets) <= _OFFSET * max(map(max, numbers))
    return not offset and min(_different(ms), _different(in_ms(stated, other).ms)) > 1


def _places(group: Group, count: int, header: MeasurementHeader) -> list[int]:
    """Return the position of each image in a list of ``count`` times, by the counter that numbers them.

    The counter that the header's limits give ``count`` values goes first; it counts from their minimum, or
    from 0 where an image lies below. A counter, or the image index, that numbers a complete series in equal
    steps may begin anywhere: slices may be interleaved. Where no counter numbers the images, there are no
    positions. The image index is not used where the images are those of several series, number by number.
    """
    if not count:
        return []
    stated = [name for name in NUMBERING if header.values(name) == count]
    indices = {name: group.counter(name) for name in NUMBERING}
    for name in (*stated, *NUMBERING[:-1]):
        first = header.first(name) if min(indices[name]) >= header.first(name) else 0
        found = [number - first for number in indices[name]]
        fits = len(set(found)) == len(found) and max(found) < count
        if fits and (len(found) > 1 or name in stated):
            return found
    if _interleaved_by(group, count, header):
        del indices["image_index"]
    for numbers in indices.values():
        first, step = min(numbers), max((max(numbers) - min(numbers)) // max(count - 1, 1), 1)
        if len(numbers) == count and sorted(numbers) == list(range(first, first + step * count, step)):
            return [(number - first) // step for number in numbers]
    return []


def _interleaved_by(group: Group, count: int, header: MeasurementHeader) -> str:
    """Return the counter with ``count`` values, by its limit, by which several series come interleaved.

    Empty if there is none: in the order of the image index, a value comes again before the counter falls. One
    that falls before may begin again at each inversion.
    """
    in_order = sorted(range(len(group.images)), key=group.counter("image_index").__getitem__)
    for name in NUMBERING:
        values = [group.counter(name)[place] for place in in_order]
        first = set(values[: ascending(values)])
        if header.values(name) == count and 1 < len(first) < ascending(values):
            return name
    return ""


def _own(group: Group, own: Times, from_list: Times, name: str) -> tuple[Milliseconds, list[Remark]]:
    findings = _unit(own, name)
    without = [place for place, time in enumerate(own.ms) if time is None]
    if not without:
        return own.ms, [*findings, *_other_times(own, from_list, name), *_contradicting(group, own, name)]
    said = _some(
        message("image {} ({})", group.images[place].header.image_index, _said(group.stated[place]))
        for place in without
    )
    ms, source = own.ms, "left out"
    if from_list.ms and _agree(own.ms, from_list.ms):
        pairs = zip(own.ms, from_list.ms, strict=True)
        ms = tuple(theirs if time is None else time for time, theirs in pairs)
        source = "taken from the header's list"
    note = message("No usable {} time in {}: {}.", name, said, source)
    return ms, [*findings, (Flag.UNREADABLE_TIMES, note)]


def _other_times(own: Times, from_list: Times, name: str) -> list[Remark]:
    """Return a note on a header's list of other times than the images state, in whatever order."""
    if len(from_list.known) != len(own.ms) or _different(from_list.ms) == 1:
        return []
    pairs = zip(sorted(own.known), sorted(from_list.known), strict=True)
    differing = [(own_ms, ms) for own_ms, ms in pairs if not _agree((own_ms,), (ms,))]
    if not differing:
        return []
    own_ms, ms = differing[0]
    note = (
        f"The header lists other {name} times than the images state, such as {ms:g} ms for {own_ms:g} ms: "
        "those of the images were taken."
    )
    return [(None, note)]


def _contradicting(group: Group, own: Times, name: str) -> list[Remark]:
    """Return a remark on a place at which the images state other times than those that are taken.

    The heartbeat parts measured inversion times from those of the protocol, but neither the first ones after
    the inversions, nor the order, nor preparation times: where these differ, one place is wrong. Vendors'
    elements may count from another moment and are not compared, nor are places with fewer different times
    (one for each inversion, for example), in seconds that may be rounded, or that number images.
    """
    vendors = {place.name for place in PLACES}
    for place in TIME_PLACES[group.quantity]:
        stated = [each.places.get(group.quantity, {}).get(place) for each in group.metadata]
        there = in_ms(stated, group.quantity)
        if place in vendors or None in there.ms or _different(there.ms) < _different(own.ms):
            continue
        step = _ROUNDED_MS[group.quantity]
        rounded = there.unit == "s" and all(math.isclose(ms, step * round(ms / step)) for ms in there.known)
        if rounded or max(there.known) < _LEAST_PREPARATION_MS:
            continue
        pairs = sorted(zip(own.known, there.known, strict=True))
        differing = [pair for pair in pairs if not _agree(pair[:1], pair[1:])]
        if not differing:
            continue
        first = pairs[0][0] + _FIRST_BEAT_MS
        fixed = [pair for pair in pairs if group.quantity is Quantity.T2 or min(pair) < first]
        wrong = any(abs(theirs - ms) > SAME_MS[group.quantity] for ms, theirs in fixed) or any(
            one - other > _DISORDER_MS for (_, one), (_, other) in pairwise(pairs)
        )
        ms, theirs = differing[0]
        note = (
            f"The images state other {name} times at {place}, such as {theirs:g} ms for {ms:g} ms, which "
            "were not taken: check which are right."
        )
        return [(Flag.UNREADABLE_TIMES if wrong else None, note)]
    return []


def _alike_note(group: Group, name: str, taken: str) -> str:
    said = _said(next(filter(None, group.stated)))
    return f"The images state the same {name} time, {said}: {taken}."


def _listed(
    from_list: Times, entries: Sequence[Stated], places: Sequence[int], name: str
) -> tuple[Milliseconds, list[Remark]]:
    findings = _unit(from_list, name)
    without = sorted(place for place, time in zip(places, from_list.ms, strict=True) if time is None)
    if without:
        said = joined(", ", (message("entry {} ({})", at + 1, _said(entries[at])) for at in without[:4]))
        note = message("No usable {} time in the header's list at {}: its image is left out.", name, said)
        findings.append((Flag.UNREADABLE_TIMES, note))
    return from_list.ms, findings


def _perhaps_without_zero(entries: Sequence[Stated], images: int) -> str:
    """Return the error message on a list that may lack a first preparation time of 0."""
    return (
        f"the header lists the preparation times of {images} images as T2PrepDuration_1 to "
        f"_{len(entries) - 1}, and nothing shows if a first one of 0 is left out: state T2PrepDuration_0, or "
        "the limit of the counter that numbers the images"
    )


def _different(ms: Milliseconds) -> int:
    return len({round(time, 3) for time in ms if time is not None})


def _agree(own: Milliseconds, others: Milliseconds) -> bool:
    """Return whether a list has a time for every image, equal to the image's own where that is readable."""
    return all(
        theirs is not None and (time is None or abs(time - theirs) <= max(_AGREEMENT_MS, _AGREEMENT * time))
        for time, theirs in zip(own, others, strict=True)
    )


def _by_user_field(group: Group) -> Milliseconds | None:
    field = [float(image.header.user_int[_USER_TIME]) for image in group.images]
    times = in_ms([Stated(f"{value:g}", value) if value >= 0 else None for value in field], group.quantity)
    complete = len(times.known) == len(field) and len(set(field)) == len(field)
    return times.ms if complete and times.unit == "µs" else None


def _without_times(
    group: Group, entries: Sequence[Stated], header: MeasurementHeader, counter: str
) -> Message:
    """Return the error message of a series without usable times.

    Args:
        group: the images.
        entries: of the header's list.
        header: whose list may be too short to be read.
        counter: that should assign the list, and has equal values; or empty.
    """
    stated = [time for time in group.stated if time is not None]
    why = ""
    if stated:
        said = joined(", ", dict.fromkeys(_said(each) for each in stated[:4]))
        why = message(" (they say {})", said)
    elif counter:
        why = message(
            " (the header lists {}, one for each {}, and several images have the same {})",
            len(entries),
            counter,
            counter,
        )
    elif entries:
        why = message(" (the header lists {}: {})", len(entries), _some(_said(entry) for entry in entries))
    elif group.quantity is Quantity.T1 and header.inversion_times:
        short = tuple(map(Stated.read, header.inversion_times))
        why = message(
            " (the header lists {}: {}; from four on they are read, one for each image)",
            len(short),
            _some(map(_said, short)),
        )
    if unreadable := [each.unreadable for each in group.metadata if each.unreadable]:
        why = message("{} (the attributes of {} cannot be read: {})", why, len(unreadable), unreadable[0])
    elif frames := next((each.frames for each in group.metadata if each.frames), None):
        why = message("{} ({})", why, frames.found)
    return message(
        "no {} times for the {} of {}{}: "
        "state them in the meta attributes or user_int[7] (microseconds) of each image, or in the header "
        "(docs/series.md); in DICOM, in the elements of docs/dicom.md#times",
        _NAMES[group.quantity],
        "image" if len(group.images) == 1 else f"{len(group.images)} images",
        _description(group),
        why,
    )


def _unit(times: Times, name: str) -> list[Remark]:
    if times.unit == "ms":
        return []
    unit = "seconds" if times.unit == "s" else "microseconds"
    note = f"{name.capitalize()} times were taken for {unit}, by their size, and converted."
    return [(Flag.CONVERTED_UNIT, note)]


def _some(texts: Iterable[str]) -> Message:
    """Return the first four of some texts, joined."""
    first = list(islice(texts, 5))
    return joined(", ", [*first[:4], *(["..."] if len(first) > 4 else [])])


def _said(stated: Stated | None) -> str:
    if stated is None:
        return "nothing"
    return foreign(stated.text, shown=repr(stated.text)) if stated.text else "empty"


def _description(group: Group) -> str:
    description = group.metadata[-1].description
    return foreign(description) if description else "the series"


def flags_of(remarks: Iterable[Remark]) -> tuple[Flag, ...]:
    """Return the reason codes of remarks, each once."""
    return tuple(dict.fromkeys(flag for flag, _ in remarks if flag is not None))
