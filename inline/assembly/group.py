"""Images of one slice, from which one map is made.

What is asked at each image is kept up to date: thousands may come in one series, as in real time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from inline.assembly.image_metadata import TIME_PLACES, ImageMetadata
from inline.assembly.times import GrowingTimes, Stated, Times, listed
from inline.data.series import Quantity
from inline.elements.vendors import first_with_enough, usable_at
from inline.mrd.header import MeasurementHeader
from inline.mrd.messages import Image

COUNTERS: Final = ("set", "contrast", "phase", "repetition")
"""Counters that may number the images of a series, in the order in which they are tried."""
NUMBERING: Final = (*COUNTERS, "average", "image_index")
"""Counters that may give the position of an image in a list of times."""
_KEPT: Final = (*NUMBERING, "acquisition_time_stamp")

FEWEST: Final = {Quantity.T1: 4, Quantity.T2: 2}
"""Images that a fit needs."""
SHORTEST: Final = {Quantity.T1: 7, Quantity.T2: 3}
"""Images of the shortest whole series in use (ShMOLLI; three preparations). A smaller limit in the header is
ignored: it would cut longer series short.

The first six of ShMOLLI make native T1 6 to 15 % too long, its last five 10 to 30 % too short; the six
shortest times of 4(1)3(1)2 make it up to 40 % too long. Two T2-prep images fit without residuals: noise of an
SNR of 10 makes T2 5 to 10 % too long, and nothing shows it.
"""


@dataclass(slots=True, kw_only=True)
class Group:
    """Images of one slice so far.

    Attributes:
        quantity: that they measure.
        images: in the order of their arrival.
        metadata: of each.
        arrived: time of the last one, seconds of the caller's clock.
        named: a description names the quantity.
        named_for_certain: likewise, other than by a name that TI scouts have as well.
        times: of each image as the image itself states it.
        place: where they are stated; empty for the first place of each image that states a usable one, as
            always while images come.
    """

    quantity: Quantity
    images: list[Image] = field(default_factory=list)
    metadata: list[ImageMetadata] = field(default_factory=list)
    arrived: float = 0.0
    named: bool = field(default=False, init=False)
    named_for_certain: bool = field(default=False, init=False)
    times: GrowingTimes = field(init=False)
    place: str = field(default="", init=False)
    _counters: dict[str, list[int]] = field(init=False)
    _extents: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Begin without images."""
        self.times = GrowingTimes(self.quantity)
        self._counters = {name: [] for name in _KEPT}

    @property
    def stated(self) -> Sequence[Stated | None]:
        """Time of each image as the image itself states it."""
        return self.times.stated

    @property
    def own_times(self) -> Times:
        """These times in ms."""
        return self.times.times

    @property
    def own_times_differ(self) -> bool:
        """True where not all of these times are one, which may be that of the protocol."""
        return len(set(self.own_times.known)) > 1

    @property
    def running(self) -> list[str]:
        """Counters that are not the same in all images."""
        return [name for name in COUNTERS if len(set(self.extent(name))) > 1]

    def add(self, image: Image, metadata: ImageMetadata) -> None:
        """Add an image with its metadata."""
        self.images.append(image)
        self.metadata.append(metadata)
        if metadata.recognised.quantity is None and not self.named:
            self._settle_quantity(metadata.times)
        named = metadata.recognised.quantity is self.quantity
        self.named |= named
        self.named_for_certain |= named and metadata.recognised.certain
        self.times.add(metadata.times.get(self.quantity))
        for name, numbers in self._counters.items():
            number = getattr(image.header, name)
            numbers.append(number)
            lowest, highest = self._extents.get(name, (number, number))
            self._extents[name] = min(lowest, number), max(highest, number)

    def _settle_quantity(self, newest: Mapping[Quantity, Stated]) -> None:
        """Take unnamed images for those of T1 until one has a preparation time: 0, or no number, is none."""
        quantity, inversion, preparation = self.quantity, newest.get(Quantity.T1), newest.get(Quantity.T2)
        if preparation is not None and (preparation.number or 0.0) > 0.0:
            quantity = Quantity.T2
        elif len(self.images) == 1 and inversion is not None and inversion.number:
            quantity = Quantity.T1
        if quantity is not self.quantity:
            self.quantity = quantity
            self._read(each.times.get(quantity) for each in self.metadata[:-1])

    def settle(self) -> None:
        """Take the times of the place that times the whole series: no more images come."""
        found: list[set[float]] = [set(self.own_times.known)]
        names = TIME_PLACES[self.quantity]
        for name in names:
            stated = (each.places.get(self.quantity, {}).get(name) for each in self.metadata)
            times = {each.number for each in stated if each is not None and each.number is not None}
            found.append(usable_at(name, times, named=self.named))
        if place := first_with_enough(found, self.quantity):
            self.place = names[place - 1]
            self._read([each.places.get(self.quantity, {}).get(self.place) for each in self.metadata])

    def _read(self, stated: Iterable[Stated | None]) -> None:
        """Read the times of the images anew."""
        self.times = GrowingTimes(self.quantity)
        for each in stated:
            self.times.add(each)

    def listed(self, header: MeasurementHeader) -> tuple[Stated, ...]:
        """Return the times that the header lists for the images."""
        counters = self.running if self.quantity is Quantity.T2 else ()
        return listed(header, self.quantity, named=self.named, counters=counters)

    def counter(self, name: str) -> Sequence[int]:
        """Return a counter of each image, or the time stamps."""
        return self._counters[name]

    def extent(self, name: str) -> tuple[int, int]:
        """Return the lowest and the highest value of a counter."""
        return self._extents[name]


def counters_of(image: Image, names: Sequence[str] = NUMBERING) -> tuple[int, ...]:
    """Return these counters of an image."""
    return tuple(getattr(image.header, name) for name in names)


def member_of(image: Image, metadata: ImageMetadata) -> tuple[object, ...]:
    """Return the counters and times in which two images of a series differ."""
    return (*counters_of(image), *(time.text for time in metadata.times.values()))


def content_of(image: Image) -> tuple[object, ...]:
    """Return counters and a digest of the pixels: equal only where one image was sent twice."""
    return (*counters_of(image, (*COUNTERS, "average")), zlib.crc32(image.data))
