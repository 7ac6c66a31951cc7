"""Sans-IO codec: bytes to messages and back.

Every message begins with a two-byte identifier; what follows depends on it (``docs/protocol.md``). Numbers
are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from inline.data.errors import ProtocolError
from inline.mrd.buffer import Buffer
from inline.mrd.image_header import DATA_TYPES, IMAGE_HEADER_BYTES, ImageHeader
from inline.mrd.messages import (
    Acquisition,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
)
from inline.mrd.text import decode


class MessageId(IntEnum):
    """Identifiers of the messages that Gadgetron and the Python MRD servers exchange."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest sizes that a peer may announce; larger ones are refused before memory is allocated.

    Attributes:
        text_bytes: configuration, header and text messages.
        attribute_bytes: attribute string of an image.
        pixel_bytes: pixels of an image.
        raw_bytes: body of an acquisition or a waveform.
    """

    text_bytes: int = 16 * 2**20
    attribute_bytes: int = 4 * 2**20
    pixel_bytes: int = 256 * 2**20
    raw_bytes: int = 64 * 2**20


CONFIG_FILE_BYTES: Final = 1024
ACQUISITION_HEADER_BYTES: Final = 340
WAVEFORM_HEADER_BYTES: Final = 40
_ID: Final = struct.Struct("<H")
_TEXT_LENGTH: Final = struct.Struct("<I")
_ATTRIBUTE_LENGTH: Final = struct.Struct("<Q")
_ACQUISITION_SIZES: Final = struct.Struct("<34xH2xH136xH")  # samples, active channels, trajectory dimensions
_WAVEFORM_SIZES: Final = struct.Struct("<28xHH")  # samples, channels


class _Incomplete(Exception):  # noqa: N818 - not an error, the rest is on its way
    """More bytes are needed; carries how many the buffer must hold at least before trying again."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


class Decoder:
    """Turns the bytes of one direction of a connection into messages; any split of the bytes will do.

    Attributes:
        closed: a close message has come; whatever follows it is refused.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._buffer = Buffer()
        self._needed = _ID.size
        self.closed = False

    @property
    def at_boundary(self) -> bool:
        """True between two messages: a connection that ends here has lost nothing."""
        return not self._buffer

    @property
    def pending(self) -> int:
        """Bytes that have come of a message that is under way."""
        return len(self._buffer)

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes and yield every message that they complete.

        Raises:
            ProtocolError: the bytes are not MRD, or go beyond the limits. The decoder is then of no
                further use: where the next message begins cannot be known.
        """
        self._buffer.append(data)
        while len(self._buffer) >= self._needed:
            if self.closed:
                raise ProtocolError("bytes after the close message; a connection ends with it")
            try:
                message, end = self._decode()
            except _Incomplete as incomplete:
                self._needed = incomplete.needed
                return
            self._buffer.drop(end)
            self._needed = _ID.size
            self.closed = isinstance(message, Close)
            yield message

    def _decode(self) -> tuple[Message, int]:
        """Return the message at the front of the buffer, and its end."""
        (number,) = _ID.unpack(self._buffer.peek(0, _ID.size))
        match number:
            case MessageId.CONFIG_FILE:
                name, end = self._take(_ID.size, CONFIG_FILE_BYTES)
                return ConfigFile(decode(name)), end
            case MessageId.CONFIG_TEXT:
                body, end = self._text("configuration")
                return ConfigText(decode(body)), end
            case MessageId.HEADER:
                body, end = self._text("header")
                return Header.from_bytes(body), end
            case MessageId.CLOSE:
                return Close(), _ID.size
            case MessageId.TEXT:
                body, end = self._text("text")
                return Text(decode(body)), end
            case MessageId.ACQUISITION:
                head, _ = self._take(_ID.size, ACQUISITION_HEADER_BYTES)
                samples, channels, dimensions = _ACQUISITION_SIZES.unpack_from(head)
                size = ACQUISITION_HEADER_BYTES + samples * (4 * dimensions + 8 * channels)
                body, end = self._take(_ID.size, self._allowed(size, self._limits.raw_bytes, "acquisition"))
                return Acquisition(body), end
            case MessageId.WAVEFORM:
                head, _ = self._take(_ID.size, WAVEFORM_HEADER_BYTES)
                samples, channels = _WAVEFORM_SIZES.unpack_from(head)
                size = WAVEFORM_HEADER_BYTES + 4 * samples * channels
                body, end = self._take(_ID.size, self._allowed(size, self._limits.raw_bytes, "waveform"))
                return Waveform(body), end
            case MessageId.IMAGE:
                return self._image()
            case _:
                known = ", ".join(str(int(member)) for member in MessageId)
                raise ProtocolError(
                    f"message identifier {number} is not one of {known}; is this an MRD client?"
                )

    def _image(self) -> tuple[Image, int]:
        head, end = self._take(_ID.size, IMAGE_HEADER_BYTES)
        header = ImageHeader.unpack(head)
        if header.data_type not in DATA_TYPES:
            raise ProtocolError(f"image data type {header.data_type} is not one of 1 to 8")
        size = self._allowed(
            header.pixels * DATA_TYPES[header.data_type].itemsize, self._limits.pixel_bytes, "image"
        )
        length, end = self._take(end, _ATTRIBUTE_LENGTH.size)
        (attribute_bytes,) = _ATTRIBUTE_LENGTH.unpack(length)
        self._allowed(attribute_bytes, self._limits.attribute_bytes, "image attribute string")
        self._needs(end + attribute_bytes + size)
        attributes, end = self._take(end, attribute_bytes)
        data, end = self._take(end, size)
        return Image(header, attributes, data), end

    def _text(self, what: str) -> tuple[bytes, int]:
        length, end = self._take(_ID.size, _TEXT_LENGTH.size)
        (size,) = _TEXT_LENGTH.unpack(length)
        return self._take(end, self._allowed(size, self._limits.text_bytes, what))

    def _take(self, start: int, size: int) -> tuple[bytes, int]:
        """Return ``size`` bytes from ``start``, and their end."""
        end = start + size
        self._needs(end)
        return self._buffer.peek(start, size), end

    def _needs(self, size: int) -> None:
        if len(self._buffer) < size:
            raise _Incomplete(size)

    @staticmethod
    def _allowed(size: int, limit: int, what: str) -> int:
        if size > limit:
            raise ProtocolError(f"{what} of {size} bytes announced; the limit is {limit}")
        return size


def encode(message: Message) -> bytes:
    """Return the bytes of a message, identifier first.

    Raises:
        ProtocolError: a configuration name longer than its field of 1024 bytes.
    """
    match message:
        case ConfigFile(name):
            encoded = name.encode("utf-8", "replace")
            if len(encoded) >= CONFIG_FILE_BYTES:
                raise ProtocolError(f"configuration name of {len(encoded)} bytes; at most 1023 fit")
            return _ID.pack(MessageId.CONFIG_FILE) + encoded.ljust(CONFIG_FILE_BYTES, b"\0")
        case ConfigText(text):
            return _encode_text(MessageId.CONFIG_TEXT, text)
        case Header(xml, body):
            return _encode_body(MessageId.HEADER, body) if body else _encode_text(MessageId.HEADER, xml)
        case Close():
            return _ID.pack(MessageId.CLOSE)
        case Text(text):
            return _encode_text(MessageId.TEXT, text)
        case Acquisition(body):
            return _ID.pack(MessageId.ACQUISITION) + body
        case Waveform(body):
            return _ID.pack(MessageId.WAVEFORM) + body
        case Image(header, attributes, data):
            length = _ATTRIBUTE_LENGTH.pack(len(attributes))
            return b"".join((_ID.pack(MessageId.IMAGE), header.pack(), length, attributes, data))


def _encode_text(number: MessageId, text: str) -> bytes:
    # The peers end texts with a NUL and count it; one within would cut the text short.
    return _encode_body(number, text.replace("\0", "\ufffd").encode("utf-8", "replace") + b"\0")


def _encode_body(number: MessageId, body: bytes) -> bytes:
    return _ID.pack(number) + _TEXT_LENGTH.pack(len(body)) + body
