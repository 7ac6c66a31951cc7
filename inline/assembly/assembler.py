"""Assembler: collects the images of each slice until its series is complete."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from inline.assembly.account import (
    ALONE,
    AMBIGUOUS,
    MEMORY,
    SCOUT,
    SENT_TWICE,
    SUPERSEDED,
    TOO_FEW,
    UNNAMED,
    Account,
    count_unused,
)
from inline.assembly.assemble import assemble, too_large
from inline.assembly.assembled import Assembled, Failed, Ready
from inline.assembly.expected import ExpectedImages, Whole, other_quantity
from inline.assembly.geometry import Planes
from inline.assembly.group import COUNTERS, FEWEST, Group, content_of, member_of
from inline.assembly.image_metadata import ImageMetadata, read_metadata
from inline.assembly.recognition import ImageKind
from inline.assembly.repetition import are_interleaved, begins_again
from inline.assembly.times import in_ms, listed, within_a_heartbeat
from inline.assembly.twins import SeriesAcquisition, Twins
from inline.data.flags import Flag
from inline.data.memory import Share, unlimited
from inline.data.plural import counted
from inline.data.recent import Recent
from inline.data.series import MappingSeries, Quantity, SeriesIdentity
from inline.data.time_stamps import past_midnight
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

_PREFERRED: Final = (
    "Fitted from the motion-corrected images; the uncorrected ones of this slice were left out."
)
_REPLACES: Final = (
    "Fitted from the motion-corrected images; the result of the uncorrected ones of this slice, sent before, "
    "is replaced by it."
)

_OF_STATED: Final = "{} of {} images came."
_PERHAPS_WHOLE: Final = (
    "{} images came of the {} that the header's limits state. The limit may be that of the {} series alone; "
    "then none is missing."
)
_BEYOND: Final = (
    "{} came beyond the {} that the header's limit of the counter {} states, and {} not in the map of those "
    "{}, whose values may be off. Correct the limit in the header, or state the number of images (setting "
    "assembly.images) if all series have as many."
)
_OPEN_TOO_LONG: Final = (
    "The series was open for {:g} s (setting assembly.open_s): images that came later are not in this map."
)
_TOO_MANY_OPEN: Final = (
    "More than {} images waited (setting assembly.open_images): later ones of the slice are not in this map."
)

_REMEMBERED: Final = 4096
"""Number of complete or dropped series, of slices with one, and of maps, that are still recognised."""

_OVERHEAD: Final = 4096
"""Bytes of an image beside its pixels and attributes: header, metadata, digests."""

_Same = tuple[int, int, int, tuple[int, ...], Quantity, bool, bool]
_Key = tuple[int, int, int, tuple[int, ...], Quantity, bool, bool, int | None, str]


@dataclass(slots=True, kw_only=True)
class _OpenGroup(Group):
    """Group that waits for more images.

    Attributes:
        began: time of its first image, seconds.
        members: what distinguishes its images, and their contents.
        duplicates: an image came again, or another one with the counters of one of these.
        ambiguous: the latter.
        held: bytes that are counted for it.
    """

    began: float
    members: set[tuple[object, ...]] = field(default_factory=set)
    duplicates: bool = False
    ambiguous: bool = False
    held: int = 0


class SeriesAssembler:
    """Assembly of one connection. It has no clock: the caller passes the time.

    Attributes:
        lacking: identities of complete series that lack images beyond the header's limit, with a note; the
            latest ones.
    """

    def __init__(
        self,
        header: MeasurementHeader,
        settings: AssemblySettings | None = None,
        memory: Share | None = None,
    ) -> None:
        """Begin without images.

        Args:
            header: of the measurement.
            settings: of the assembly.
            memory: where the images are counted while they wait; None for no limit.
        """
        self._header = header
        self._settings = settings or AssemblySettings()
        self._memory = memory or unlimited()
        self._given_up = Recent[_Key, float](_REMEMBERED)
        self._held_back = 0
        self._planes = Planes()
        self._groups: dict[_Key, _OpenGroup] = {}
        self._done = Recent[_Key, set[tuple[object, ...]]](_REMEMBERED)
        # Last image of series whose images came in two variants: that of the other variant follows.
        self._variants = Recent[_Key, tuple[object, ...]](_REMEMBERED)
        self._apart = Recent[_Same, None](_REMEMBERED)
        self._maps = Recent[tuple[object, ...], None](_REMEMBERED)
        self._expected = ExpectedImages(header, self._settings.images)
        self._whole = Recent[_Key, Whole](_REMEMBERED)
        self.lacking = deque[tuple[SeriesIdentity, str]](maxlen=_REMEMBERED)
        self._timed: set[Quantity] = set()
        self._fitted = Recent[tuple[int, int, Quantity], None](_REMEMBERED)
        self._twins: Twins[Assembled] = Twins(self._settings.corrected_wait_s, self._settings.patience_s)
        self._used = self._series = 0
        self._unused: Counter[str] = Counter()

    @property
    def refused(self) -> int:
        """Images that were given up because the connection holds too many bytes."""
        return self._unused[MEMORY]

    def account(self) -> Account:
        """Return what became of the images so far; those that still wait count as unused."""
        unused = self._unused.copy()
        if waiting := self.waiting:
            unused["waiting for the rest of their series"] = waiting
        return Account(self._used + unused.total(), self._used, self._series, dict(unused))

    @property
    def waiting(self) -> int:
        """Images that wait for the rest of their series."""
        return self._in_groups + sum(assembled.images for assembled in self._twins.waiting)

    @property
    def _in_groups(self) -> int:
        return sum(len(group.images) for group in self._groups.values())

    def add(self, image: Image, now: float) -> list[Assembled]:
        """Take an image; return the series that it completes, for most images none."""
        metadata = read_metadata(image, self._header)
        if isinstance(metadata, str):
            count_unused(self._unused, metadata)
            return []
        if metadata.recognised.kind is ImageKind.MAP:
            return self._add_map(image, metadata, now)
        quantity = self._quantity(metadata)
        corrected = "" if metadata.recognised.corrected else "not "
        if quantity is None:
            unreadable = "; its attributes are unreadable" if metadata.unreadable else ""
            self._unused[f"neither named as T1 or T2 mapping nor with a time{unreadable}"] += 1
            return []
        if self._settings.motion == ("corrected" if corrected else "uncorrected"):
            self._unused[f"{corrected}motion-corrected, left out by the setting assembly.motion"] += 1
            return []
        self._timed |= metadata.times.keys()
        key = self._key(image.header, metadata, quantity)
        if key not in self._groups and now - self._given_up.get(key, -math.inf) <= self._settings.patience_s:
            # The rest of a series without its first images would be fitted as if it were one.
            self._given_up[key] = now
            self._unused[MEMORY] += 1
            return []
        content, member = content_of(image), member_of(image, metadata)
        ready: list[Assembled] = []
        group = self._groups.get(key)
        of_variant = self._variants.get(key) == member
        if (
            group is not None
            and content not in group.members
            and begins_again(group, image, metadata, expected=self._expected.of(group))
        ):
            ready, group = self._give_up(key, (), now), None
        if group is None:
            if content in self._done.get(key, ()):
                self._unused[SENT_TWICE] += 1  # after its series was complete
                return ready
            if of_variant:
                self._unused[AMBIGUOUS] += 1
                return ready
            self._variants.pop(key, None)
            group = self._groups[key] = _OpenGroup(quantity=quantity, began=now)
        group.arrived = now
        if not group.members.isdisjoint((member, content)):
            group.duplicates = True
            same = content in group.members
            group.ambiguous |= not same
            self._unused[SENT_TWICE if same else AMBIGUOUS] += 1
            return ready
        group.members |= {member, content}
        group.add(image, metadata)
        ready += self._count(key, now)
        if key not in self._groups:
            return ready
        if are_interleaved(group, self._header):
            self._separate(key)
            key = self._key(image.header, metadata, quantity)
            group = self._groups[key]
        self._expected.note_length(group)
        if len(group.images) == self._expected.of(group):
            return [*ready, *self._complete(key, (), now)]
        while self._in_groups > self._settings.open_images:
            oldest = min(self._groups, key=lambda each: self._groups[each].arrived)
            note = _TOO_MANY_OPEN.format(self._settings.open_images)
            ready += self._give_up(oldest, (Flag.MISSING_IMAGES,), now, (note,))
        return ready

    def _add_map(self, image: Image, metadata: ImageMetadata, now: float) -> list[Assembled]:
        """Take a map that the scanner has made; return it, unless it came before."""
        quantity = metadata.recognised.quantity
        assert quantity is not None
        made = (*self._same(image.header, metadata, quantity), _name(metadata), content_of(image))
        if made in self._maps:
            self._unused[SENT_TWICE] += 1
            return []
        self._maps[made] = None
        alone = Group(quantity=quantity, arrived=now)
        alone.add(image, metadata)
        return self._counted([assemble(alone, self._header, self._settings, as_map=True)])

    def postpone(self, seconds: float) -> None:
        """Let all series wait longer: for this time the caller has read no image."""
        for group in self._groups.values():
            group.arrived += seconds
            group.began += seconds
        for key in self._given_up:
            self._given_up[key] += seconds
        self._twins.postpone(seconds)

    def expire(self, now: float) -> list[Assembled]:
        """Return the series that have waited too long for their next image, or for their corrected twin."""
        ready: list[Assembled] = []
        settings = self._settings
        shortest = min(settings.patience_s, settings.idle_s)
        for key, group in list(self._groups.items()):
            quiet = now - group.arrived
            if now - group.began >= settings.open_s:
                note = _OPEN_TOO_LONG.format(settings.open_s)
                ready += self._give_up(key, (Flag.MISSING_IMAGES,), now, (note,))
            elif quiet >= shortest:
                known = self._expected.of(group) is not None and not self._perhaps_map(group)
                if quiet >= (settings.patience_s if known else settings.idle_s):
                    ready += self._give_up(key, (), now)
        return ready + self._counted([*self._twins.expire(now), *self._settle()])

    def complete(self, flags: tuple[Flag, ...] = ()) -> list[Assembled]:
        """Return all open series: no more images come for them. Series that wait for their twin still wait.

        Args:
            flags: reason codes that all of them get.
        """
        return [
            assembled
            for key, group in list(self._groups.items())
            for assembled in self._give_up(key, flags, group.arrived)
        ]

    def finish(self, *, early: bool = False) -> list[Assembled]:
        """Return all open series, at the end of the stream.

        Args:
            early: the connection ended without a close message.
        """
        try:
            ready = self.complete((Flag.EARLY_CLOSE,) if early else ())
            return ready + self._counted(self._twins.expire(math.inf))
        finally:
            self._memory.release(self._held_back + sum(group.held for group in self._groups.values()))
            self._held_back = 0
            self._groups.clear()

    def _quantity(self, metadata: ImageMetadata) -> Quantity | None:
        """Return the quantity that an image may measure; None for any other image."""
        if metadata.recognised.quantity is not None:
            return metadata.recognised.quantity
        for quantity in (Quantity.T2, Quantity.T1):
            if quantity in metadata.times:
                return quantity
        for quantity in (Quantity.T2, Quantity.T1):
            times = listed(self._header, quantity, named=False)
            if times and any(self._header.values(name) == len(times) for name in COUNTERS):
                return quantity
        return None

    def _same(self, header: ImageHeader, metadata: ImageMetadata, quantity: Quantity) -> _Same:
        """Return what all images of a series have in common, beside their name."""
        # Some senders leave the slice counter at zero; the plane then separates slices.
        return (
            header.image_series_index,
            header.slice,
            self._planes.number(header),
            header.matrix_size,
            quantity,
            metadata.recognised.corrected,
            metadata.signed,
        )

    def _key(self, header: ImageHeader, metadata: ImageMetadata, quantity: Quantity) -> _Key:
        same, name = self._same(header, metadata, quantity), _name(metadata)
        place = (*same, header.repetition if same in self._apart else None)
        alike = [known for known in self._groups if known[:-1] == place and (not name or not known[-1])]
        return (*place, name) if (*place, name) in self._groups or not alike else alike[-1]

    def _separate(self, key: _Key) -> None:
        """Make a group of each repetition of a group, and from now on of each of its series."""
        group = self._groups.pop(key)
        self._apart[key[:-2]] = None
        for image, metadata in zip(group.images, group.metadata, strict=True):
            place = (*key[:-2], image.header.repetition, key[-1])
            if (own := self._groups.get(place)) is None:
                # Counters distinguish repetitions, so that all may share the set of what is known.
                own = self._groups[place] = replace(group, images=[], metadata=[], held=0)
            own.add(image, metadata)
            own.held += _bytes(image)

    def _perhaps_map(self, group: _OpenGroup) -> bool:
        """Return whether a group may be an unnamed map: the only image of its slice, without a time.

        Where the header alone states the times, such an image may as well be the first of its series. Beside
        images with times of their own, the name of the header is that of their series.
        """
        kind = group.metadata[0].recognised.kind
        if len(group.images) > 1 or group.ambiguous or kind is not ImageKind.PERHAPS_MAP:
            return False
        if group.quantity in self._timed:
            return bool(group.metadata[0].name)
        slice_fitted = self._place(group.images[0].header, group.quantity) in self._fitted
        return slice_fitted or not listed(self._header, group.quantity, named=True)

    def _is_scout(self, group: _OpenGroup) -> bool:
        """Return whether a group is a TI scout by its inversion times, and no name says otherwise."""
        if group.quantity is not Quantity.T1 or group.named_for_certain:
            return False
        own = group.own_times.known
        times = own if len(set(own)) > 1 else in_ms(group.listed(self._header), group.quantity).known
        return len(set(times)) >= FEWEST[group.quantity] and within_a_heartbeat(times)

    def _place(self, header: ImageHeader, quantity: Quantity) -> tuple[int, int, Quantity]:
        return header.slice, self._planes.number(header), quantity

    def _complete(
        self, key: _Key, flags: tuple[Flag, ...], now: float, notes: tuple[str, ...] = ()
    ) -> list[Assembled]:
        group = self._take_out(key)
        group.settle()
        self._done[key] = group.members
        # The last image of a group of one is its first: a repetition begins with such an image.
        if group.ambiguous and len(group.images) > 1:
            self._variants[key] = member_of(group.images[-1], group.metadata[-1])
        if self._is_scout(group):
            self._unused[SCOUT] += len(group.images)
            return []
        as_map = self._perhaps_map(group)
        if group.duplicates and not as_map:
            flags = (*flags, Flag.DUPLICATE_IMAGES)
        assembled = assemble(group, self._header, self._settings, flags, as_map=as_map)
        assembled = replace(assembled, notes=(*notes, *assembled.notes))
        series = assembled.series if isinstance(assembled, Ready) else None
        if not isinstance(series, MappingSeries):
            return self._counted([assembled])
        self._fitted[self._place(group.images[-1].header, group.quantity)] = None
        counters = {name: tuple(group.counter(name)) for name in group.running}
        self._whole[key] = Whole(assembled.identity, counters, series.times_ms.tolist())
        if self._settings.motion != "prefer-corrected":
            return self._counted([assembled])
        place = self._place(assembled.template, group.quantity)
        times = frozenset(np.round(series.times_ms, 1).tolist())
        stamps = [stamp for stamp in past_midnight(group.counter("acquisition_time_stamp")) if stamp] or [0]
        acquisition = SeriesAcquisition(
            place, times, assembled.motion_corrected, (min(stamps), max(stamps)), assembled.enhancement
        )
        ready, superseded, replaces = self._twins.offer(assembled, acquisition, now)
        for each in superseded:
            self._unused[SUPERSEDED] += each.images
        if superseded or replaces:
            note = _PREFERRED if superseded else _REPLACES
            ready = [replace(each, notes=(*each.notes, note)) for each in ready]
        return self._counted([*ready, *self._settle()])

    def _counted(self, complete: list[Assembled]) -> list[Assembled]:
        self._used += sum(each.images for each in complete)
        self._series += len(complete)
        return complete

    def _give_up(
        self, key: _Key, flags: tuple[Flag, ...], now: float, notes: tuple[str, ...] = ()
    ) -> list[Assembled]:
        """Complete a series that gets no more images; drop images that are no series."""
        group = self._groups[key]
        group.settle()
        expected, came = self._expected.of(group), len(group.images)
        fewest = FEWEST[group.quantity]
        different = len(set(group.own_times.known))
        lists = bool(group.listed(self._header))
        # One image with an inversion time is late enhancement; images of a mapping protocol that bear no time
        # may be anything that the scanner derived. Neither is a series that lost its images.
        if group.named:
            mapping = self._perhaps_map(group) or bool(different or lists) or came >= fewest
        else:
            mapping = different >= max(fewest, 3) or (lists and came >= fewest)
        beyond = self._beyond(key, group)
        if not mapping and not beyond:
            self._take_out(key)
            kind = group.metadata[0].recognised.kind
            unnamed = came == 1 and kind is ImageKind.PERHAPS_MAP and group.quantity in self._timed
            too_few = ALONE if came == 1 and group.named else TOO_FEW
            self._unused[UNNAMED if unnamed else too_few] += came
            return []
        if beyond:
            flags, notes = (*flags, Flag.MISSING_IMAGES), (*notes, beyond)
        elif not self._perhaps_map(group) and came < (fewest if expected is None else expected):
            flags = (*flags, Flag.MISSING_IMAGES)
            if expected is not None:
                perhaps = self._expected.is_perhaps_others(expected, group)
                note = _PERHAPS_WHOLE if perhaps else _OF_STATED
                notes = (*notes, note.format(came, expected, other_quantity(group.quantity)))
        ready = self._complete(key, tuple(dict.fromkeys(flags)), now, notes)
        return [
            replace(each, error=beyond, notes=tuple(note for note in each.notes if note != beyond))
            if beyond and isinstance(each, Failed)
            else each
            for each in ready
        ]

    def _beyond(self, key: _Key, rest: _OpenGroup) -> str:
        """Return a sentence where a complete series lacks a group by a limit of the header, and note both."""
        whole = self._whole.get(key)
        exceeded = whole and not self._settings.images and whole.exceeded(rest, self._header)
        if not whole or not exceeded:
            return ""
        (name, limit), came = exceeded, len(rest.images)
        note = _BEYOND.format(counted(came, "image"), limit, name, "is" if came == 1 else "are", limit)
        self.lacking.append((whole.identity, note))
        return note

    def _take_out(self, key: _Key) -> _OpenGroup:
        group = self._groups.pop(key)
        self._memory.release(group.held)
        return group

    def _count(self, key: _Key, now: float) -> list[Assembled]:
        """Count the newest image of a group in the memory of the connection.

        Where there is no room, series that wait for their twin go on; then the series that have waited
        longest are given up, this one last. Their images have passed on.
        """
        group = self._groups[key]
        ready: list[Assembled] = []
        size = _bytes(group.images[-1])
        if too_large(group.images[-1].header, len(group.images), self._settings):
            # Its error needs no pixels.
            for place in reversed(range(len(group.images))):
                if not (image := group.images[place]).data:
                    break  # nor have those before
                size -= len(image.data)
                group.images[place] = replace(image, data=b"")
        while size > 0 and not self._memory.reserve(size, self._memory.spare):
            if self._twins.waiting:
                self._memory.release(self._held_back)
                self._held_back = 0
                ready += self._counted(self._twins.expire(math.inf))
                continue
            oldest = min(self._groups, key=lambda each: (self._groups[each].arrived, each == key))
            self._unused[MEMORY] += len(self._take_out(oldest).images)
            self._given_up[oldest] = now
            if oldest == key:
                return ready
        self._memory.release(max(-size, 0))
        group.held += size
        return ready

    def _settle(self) -> list[Assembled]:
        """Count the series that wait for their twin; where there is no room for them, return them."""
        self._memory.release(self._held_back)
        held = sum(each.nbytes for each in self._twins.waiting if isinstance(each, Ready))
        self._held_back = held if self._memory.reserve(held, self._memory.spare) else 0
        return [] if self._held_back == held else self._twins.expire(math.inf)


def _bytes(image: Image) -> int:
    """Return the memory that a waiting image takes, bytes."""
    return len(image.data) + len(image.attributes) + _OVERHEAD


def _name(metadata: ImageMetadata) -> str:
    """Return the name by which series are distinguished."""
    # Native and post-contrast may differ in nothing but the name; numbers in it may be the image's own.
    return re.sub(r"[\d.,\s]++", "", metadata.name.lower())
