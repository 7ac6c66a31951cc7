"""Images of one slice, from which one map is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from inline.assembly.image_metadata import ImageMetadata
from inline.assembly.times import Stated, Times, in_ms, listed
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.messages import Image

COUNTERS: Final = ("set", "contrast", "phase", "repetition")
"""Counters that may number the images of a series, in the order in which they are tried."""
NUMBERING: Final = (*COUNTERS, "average", "image_index")
"""Counters that may give the position of an image in a list of times."""

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
    """

    quantity: Quantity
    images: list[Image] = field(default_factory=list)
    metadata: list[ImageMetadata] = field(default_factory=list)
    arrived: float = 0.0

    @property
    def stated(self) -> list[Stated | None]:
        """Time of each image as the image itself states it."""
        return [each.times.get(self.quantity) for each in self.metadata]

    @property
    def own_times(self) -> Times:
        """These times in ms."""
        return in_ms(self.stated, self.quantity)

    @property
    def own_times_differ(self) -> bool:
        """True where not all of these times are one, which may be that of the protocol."""
        return len(set(self.own_times.known)) > 1

    @property
    def running(self) -> list[str]:
        """Counters that are not the same in all images."""
        return [name for name in COUNTERS if len(set(self.counter(name))) > 1]

    def add(self, image: Image, metadata: ImageMetadata) -> None:
        """Add an image with its metadata."""
        self.images.append(image)
        self.metadata.append(metadata)
        if len(metadata.times) > 1 and all(each.recognised.quantity is None for each in self.metadata):
            # Senders of inversion recovery may state preparations of 0, which are no times by themselves.
            self.quantity = Quantity.T2
            if not self.own_times.known and metadata.times[Quantity.T1].number:
                self.quantity = Quantity.T1

    def listed(self, header: MeasurementHeader) -> tuple[Stated, ...]:
        """Return the times that the header lists for the images."""
        counters = self.running if self.quantity is Quantity.T2 else ()
        return listed(header, self.quantity, named=self.named, counters=counters)

    @property
    def named(self) -> bool:
        """True where a description names the quantity."""
        return any(each.recognised.quantity is self.quantity for each in self.metadata)

    @property
    def named_for_certain(self) -> bool:
        """True where a description names the quantity, other than by a name that TI scouts have as well."""
        return any(
            each.recognised.quantity is self.quantity and each.recognised.certain for each in self.metadata
        )

    def counter(self, name: str) -> list[int]:
        """Return a counter of each image."""
        return [getattr(image.header, name) for image in self.images]
