"""Messages of an MRD stream, as values.

An :class:`Image` keeps the sender's bytes (header, attribute string, pixels), so that passing it on gives
the same bytes again, whatever their content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from inline.data.errors import ProtocolError
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.meta import Meta, MetaValue, format_meta, parse_meta
from inline.mrd.text import decode


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Name of the configuration that the client requests (id 1)."""

    name: str


@dataclass(frozen=True, slots=True)
class ConfigText:
    """Configuration as text (id 2); Gadgetron sends its XML here."""

    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """XML header of the measurement (id 3).

    Attributes:
        xml: its text.
        body: its bytes as they came, which are passed on in place of the text; empty where there are none.
    """

    xml: str
    body: bytes = field(default=b"", compare=False, repr=False)

    @classmethod
    def from_bytes(cls, body: bytes) -> Self:
        """Return the header of a message's body, of any encoding."""
        return cls(decode(body), body)


@dataclass(frozen=True, slots=True)
class Close:
    """End of the messages from this side (id 4)."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text for a person, or JSON parameters for a program (id 5)."""

    text: str


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One readout of k-space (id 1008), not decoded: its header, trajectory and samples as they came."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Waveform:
    """Physiological signals (id 1026), not decoded: header and samples as they came."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """One image (id 1022).

    Attributes:
        header: the fixed header.
        attributes: the attribute string as it came.
        data: the pixels as they came, channel by channel, little-endian.
    """

    header: ImageHeader
    attributes: bytes
    data: bytes

    @classmethod
    def from_pixels(
        cls, pixels: NDArray[np.generic], header: ImageHeader, meta: Mapping[str, MetaValue] | None = None
    ) -> Self:
        """Return an image of pixels ``(channels, z, y, x)`` whose size and type are written into ``header``.

        Raises:
            ProtocolError: MRD has no such pixel type.
        """
        if pixels.ndim != 4:
            raise ValueError(f"pixels must be (channels, z, y, x), not of shape {pixels.shape}")
        little = pixels.dtype.newbyteorder("<")
        data_type = next((number for number, dtype in DATA_TYPES.items() if dtype == little), None)
        if data_type is None:
            raise ProtocolError(f"MRD images have no pixel type {pixels.dtype}; convert the pixels first")
        channels, partitions, rows, columns = pixels.shape
        attributes = format_meta(meta) if meta else b""
        full = replace(
            header,
            data_type=data_type,
            matrix_size=(columns, rows, partitions),
            channels=channels,
            attribute_string_len=len(attributes),
        )
        # As the peer will read it: the header's numbers have the precision of the wire.
        return cls(
            ImageHeader.unpack(full.pack()), attributes, np.ascontiguousarray(pixels, dtype=little).tobytes()
        )

    @property
    def pixels(self) -> NDArray[np.generic]:
        """Pixels ``(channels, z, y, x)``, read-only."""
        return np.frombuffer(self.data, dtype=DATA_TYPES[self.header.data_type]).reshape(self.header.shape)

    def meta(self) -> Meta:
        """Return the meta attributes.

        Raises:
            ProtocolError: they cannot be read; the image can still be passed on.
        """
        return parse_meta(self.attributes)


Message = ConfigFile | ConfigText | Header | Close | Text | Acquisition | Image | Waveform
