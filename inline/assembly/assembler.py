"""Collects the images of each slice until its series is complete."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.facts import ImageFacts, header_times, read_facts, read_geometry
from inline.errors import SeriesError
from inline.flags import Flag
from inline.geometry import SliceGeometry
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.series import MappingSeries, MapSeries, Quantity, Series, SeriesIdentity
from inline.settings import AssemblySettings

_COUNTERS: Final = ("set", "contrast", "phase", "repetition")
"""Counters that may number the images of a series, in the order in which they are tried."""
_FEWEST: Final = {Quantity.T1: 4, Quantity.T2: 2}
_USER_TIME: Final = 7
"""``user_int`` in which Gadgetron's parametric mapping keeps the preparation time, microseconds."""

_Key = tuple[int, int, tuple[int, ...], tuple[int, ...], Quantity]


@dataclass(frozen=True, slots=True)
class Assembled:
    """One slice that is ready, or that cannot become so.

    Attributes:
        series: what a map is made from; None where ``error`` says why there is none.
        quantity: T1 or T2.
        identity: which acquisition.
        geometry: None only beside an error.
        template: header of the slice's last image, for the images that go back.
        slice_count: slices of the measurement, or None.
        oriented: the geometry's directions are the sender's.
        flags: reason codes.
        error: why ``series`` is None, or empty.
        arrived: time of the slice's last image, seconds of the caller's clock.
        notes: sentences for the result, beside ``flags``.
        motion_corrected: the images were corrected for motion by the scanner.
    """

    series: Series | None
    quantity: Quantity
    identity: SeriesIdentity
    geometry: SliceGeometry | None
    template: ImageHeader
    slice_count: int | None
    oriented: bool
    flags: tuple[Flag, ...]
    error: str
    arrived: float
    notes: tuple[str, ...] = ()
    motion_corrected: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the images of a connection so far.

    Attributes:
        images: that came.
        used: that are part of a series which was complete, or whose error was reported.
        series: number of those series.
        unused: number of the other images by the reason why they made no map.
    """

    images: int
    used: int
    series: int
    unused: Mapping[str, int]


@dataclass(slots=True)
class _Group:
    """The images of one slice so far."""

    quantity: Quantity
    images: list[Image] = field(default_factory=list)
    facts: list[ImageFacts] = field(default_factory=list)
    members: set[tuple[object, ...]] = field(default_factory=set)
    duplicates: bool = False
    arrived: float = 0.0

    @property
    def named(self) -> bool:
        return any(facts.named is self.quantity for facts in self.facts)


class SeriesAssembler:
    """The assembly of one connection. It has no clock: the caller says what time it is."""

    def __init__(self, header: MeasurementHeader, settings: AssemblySettings | None = None) -> None:
        self._header = header
        self._settings = settings or AssemblySettings()
        self._groups: dict[_Key, _Group] = {}
        self._done: dict[_Key, set[tuple[object, ...]]] = {}
        self._images = 0

    def account(self) -> Account:
        """What became of the images so far; those that still wait for the rest of their series are unused."""
        return Account(self._images, 0, 0, {})

    def add(self, image: Image, now: float) -> list[Assembled]:
        """Take an image; returns what it completes, which for most images is nothing."""
        self._images += 1
        facts = read_facts(image, self._header)
        if facts is None:
            return []
        if facts.made is not None:
            return [self._map(image, facts, facts.made, now)]
        quantity = self._quantity(image, facts)
        if quantity is None:
            return []
        key = self._key(image.header, quantity)
        member = _member(image, facts.times_ms.get(quantity))
        group = self._groups.get(key)
        if group is None:
            if (*member, zlib.crc32(image.data)) in self._done.get(key, ()):
                return []  # sent twice, after its series was complete
            group = self._groups[key] = _Group(quantity)
        group.arrived = now
        if member in group.members:
            group.duplicates = True
            return []
        group.members.add(member)
        group.images.append(image)
        group.facts.append(facts)
        if len(group.images) == self._expected(group):
            return [self._complete(key, ())]
        return list(self._over_limit())

    def expire(self, now: float) -> list[Assembled]:
        """Series that have waited too long for their next image."""
        ready: list[Assembled] = []
        for key, group in list(self._groups.items()):
            known = self._expected(group) is not None
            if now - group.arrived >= (self._settings.patience_s if known else self._settings.idle_s):
                ready += self._give_up(key, ())
        return ready

    def finish(self, *, early: bool = False) -> list[Assembled]:
        """At the end of the stream: everything that is left.

        Args:
            early: the connection ended without a close message.
        """
        flags = (Flag.EARLY_CLOSE,) if early else ()
        return [assembled for key in list(self._groups) for assembled in self._give_up(key, flags)]

    def _quantity(self, image: Image, facts: ImageFacts) -> Quantity | None:
        """Which kind of series an image may belong to, if to any."""
        if facts.named is not None:
            return facts.named
        if Quantity.T2 in facts.times_ms:
            return Quantity.T2
        if Quantity.T1 in facts.times_ms:
            return Quantity.T1
        for quantity in (Quantity.T2, Quantity.T1):
            times = header_times(self._header, quantity, named=False)
            if times and self._counter(len(times)) is not None:
                return quantity
        return None

    @staticmethod
    def _key(header: ImageHeader, quantity: Quantity) -> _Key:
        # Some senders leave the slice counter at zero; the position then tells slices apart.
        place = tuple(round(value) for value in header.position) if np.isfinite(header.position).all() else ()
        return header.image_series_index, header.slice, place, header.matrix_size, quantity

    def _counter(self, number: int) -> str | None:
        """The counter that the header says runs over ``number`` values."""
        return next((name for name in _COUNTERS if self._header.maxima.get(name, -1) + 1 == number), None)

    def _expected(self, group: _Group) -> int | None:
        """Number of images of a complete series, where anybody states it."""
        if self._settings.images is not None:
            return self._settings.images
        listed = len(header_times(self._header, group.quantity, named=group.named))
        if listed:
            return listed
        ranges = [self._header.maxima.get(name, 0) + 1 for name in _COUNTERS]
        return max(ranges) if max(ranges) >= _FEWEST[group.quantity] else None

    def _complete(self, key: _Key, flags: tuple[Flag, ...]) -> Assembled:
        group = self._groups.pop(key)
        self._done[key] = {
            (*_member(image, facts.times_ms.get(group.quantity)), zlib.crc32(image.data))
            for image, facts in zip(group.images, group.facts, strict=True)
        }
        template = group.images[-1].header
        if group.duplicates:
            flags = (*flags, Flag.DUPLICATE_IMAGES)
        identity = SeriesIdentity(
            series_index=template.image_series_index,
            slice_index=template.slice,
            description=group.facts[-1].description,
            time_stamp=max(image.header.acquisition_time_stamp for image in group.images),
        )
        geometry: SliceGeometry | None = None
        oriented, series, error = False, None, ""
        try:
            geometry, oriented = read_geometry(template)
            if not oriented:
                flags = (*flags, Flag.NO_ORIENTATION)
            times = self._times(group)
            if len(times) < _FEWEST[group.quantity]:
                raise SeriesError(
                    f"{len(times)} images are too few for a {group.quantity} map; "
                    f"at least {_FEWEST[group.quantity]} are needed"
                )
            order = np.argsort(times, kind="stable")
            stack = np.stack([_magnitude(group.images[i]) for i in order])
            if not np.isfinite(stack).all():
                flags = (*flags, Flag.NON_FINITE_PIXELS)
            series = MappingSeries(group.quantity, stack, times[order], geometry, identity, flags)
        except SeriesError as problem:
            error = str(problem)
        return Assembled(
            series=series,
            quantity=group.quantity,
            identity=identity,
            geometry=geometry,
            template=template,
            slice_count=self._slice_count(),
            oriented=oriented,
            flags=flags,
            error=error,
            arrived=group.arrived,
        )

    def _give_up(self, key: _Key, flags: tuple[Flag, ...]) -> Iterator[Assembled]:
        """What becomes of a series for which nothing more will come; nothing, if it was none."""
        group = self._groups[key]
        expected = self._expected(group)
        fewest = _FEWEST[group.quantity]
        times = {facts.times_ms.get(group.quantity) for facts in group.facts} - {None}
        listed = header_times(self._header, group.quantity, named=group.named)
        # One image with an inversion time is late enhancement or a scout; images of a mapping protocol that
        # bear no time may be anything that the scanner derived. Neither is a series that lost its images.
        if group.named:
            mapping = bool(times or listed) or len(group.images) >= fewest
        else:
            mapping = len(times) >= max(fewest, 3) or (bool(listed) and len(group.images) >= fewest)
        if not mapping:
            del self._groups[key]
            return
        if (expected is not None and len(group.images) < expected) or (
            expected is None and len(group.images) < fewest
        ):
            flags = (*flags, Flag.MISSING_IMAGES)
        yield self._complete(key, flags)

    def _over_limit(self) -> Iterator[Assembled]:
        while sum(len(group.images) for group in self._groups.values()) > self._settings.open_images:
            oldest = min(self._groups, key=lambda key: self._groups[key].arrived)
            yield from self._give_up(oldest, (Flag.MISSING_IMAGES,))

    def _times(self, group: _Group) -> NDArray[np.float64]:
        """Time of each image, ms: its own, else the header's list by counter, else its user field."""
        own = [facts.times_ms.get(group.quantity) for facts in group.facts]
        if all(time is not None for time in own):
            return np.array(own, dtype=np.float64)
        listed = header_times(self._header, group.quantity, named=group.named)
        if listed:
            numbers = self._numbers(group, len(listed))
            if numbers is not None:
                return np.array([listed[number] for number in numbers])
        user = [image.header.user_int[_USER_TIME] for image in group.images]
        if len(set(user)) == len(user) and min(user) >= 0:
            return np.array(user, dtype=np.float64) / 1000.0
        kind = "inversion" if group.quantity is Quantity.T1 else "preparation"
        raise SeriesError(
            f"no {kind} times for the {len(user)} images of {group.facts[-1].description or 'the series'}: "
            "state them in the meta attributes of each image or in the header (docs/series.md)"
        )

    def _numbers(self, group: _Group, count: int) -> list[int] | None:
        """Place of each image in a list of ``count`` times, by the counter that tells the images apart."""
        stated = self._counter(count)
        for name in (stated,) if stated else _COUNTERS:
            numbers: list[int] = [getattr(image.header, name) for image in group.images]
            if len(set(numbers)) == len(numbers) and max(numbers) < count:
                return numbers
        return None

    def _slice_count(self) -> int | None:
        maximum = self._header.maxima.get("slice")
        return None if maximum is None else maximum + 1

    def _map(self, image: Image, facts: ImageFacts, quantity: Quantity, now: float) -> Assembled:
        header = image.header
        identity = SeriesIdentity(
            header.image_series_index, header.slice, facts.description, header.acquisition_time_stamp
        )
        flags: tuple[Flag, ...] = ()
        geometry: SliceGeometry | None = None
        series, oriented, error = None, False, ""
        try:
            geometry, oriented = read_geometry(header)
            if not oriented:
                flags = (Flag.NO_ORIENTATION,)
            settings = self._settings
            default = settings.t1_map_scale if quantity is Quantity.T1 else settings.t2_map_scale
            slope = default if facts.slope is None else facts.slope
            values = _magnitude(image, signed=True) * np.float32(slope) + np.float32(facts.intercept)
            if not np.isfinite(values).all():
                flags = (*flags, Flag.NON_FINITE_PIXELS)
            series = MapSeries(quantity, values, geometry, identity, flags)
        except SeriesError as problem:
            error = str(problem)
        return Assembled(
            series, quantity, identity, geometry, header, self._slice_count(), oriented, flags, error, now
        )


def _member(image: Image, time: float | None) -> tuple[object, ...]:
    """What two images of a series must differ in to count as two."""
    header = image.header
    counters = tuple(getattr(header, name) for name in (*_COUNTERS, "average"))
    return (*counters, header.image_index if time is None else time)


def _magnitude(image: Image, *, signed: bool = False) -> NDArray[np.float32]:
    """The pixels of a 2D image ``(rows, columns)`` as magnitudes, or as they are."""
    pixels = image.pixels[0, 0]
    # An out-of-range double becomes infinite, which is flagged further on.
    with np.errstate(over="ignore", invalid="ignore"):
        real: NDArray[np.float32] = (np.abs(pixels) if np.iscomplexobj(pixels) else pixels).astype(np.float32)
        return real if signed else np.absolute(real)
