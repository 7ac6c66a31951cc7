"""Sans-IO codec: bytes to messages and back.

Every message begins with a two-byte identifier; what follows depends on it (``docs/protocol.md``). Numbers
are little-endian.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from inline.data.errors import ProtocolError
from inline.mrd.image_header import DATA_TYPES, IMAGE_HEADER_BYTES, MOST_PIXEL_BYTES, ImageHeader
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

MRD2_SIGNATURE: Final = b"yardl"
"""First bytes of a stream of MRD 2, which is another format (https://github.com/ismrmrd/mrd)."""
MRD2: Final = "MRD 2 stream, which is another format; pipe it through mrd_to_ismrmrd (docs/pipe.md)"


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
    pixel_bytes: int = MOST_PIXEL_BYTES
    raw_bytes: int = 64 * 2**20


_OF_GADGETRON: Final = {6: "Gadgetron's query", 8: "Gadgetron's error message"}
"""Further identifiers of Gadgetron, which are named in the error message."""
_NO_CLIENT: Final = "; is this an MRD client?"
_INT32: Final = 4
_INT64: Final = (
    "the image before has 32-bit integers (data type 4); the Python package ismrmrd sends 64 bits: send "
    "uint16 or float32"
)
_PIECE_BYTES: Final = 1 << 16
"""Smaller pieces are put together, so that a peer that sends byte by byte costs no object for each."""
_CONFIG_FILE_BYTES: Final = 1024
_ID: Final = struct.Struct("<H")
_LENGTH: Final = struct.Struct("<I")
_ATTRIBUTE_LENGTH: Final = struct.Struct("<Q")
_ACQUISITION: Final = struct.Struct("<2xQ24xH2xH136xH162x")
"""Header of an acquisition: its flags, samples, active channels and trajectory dimensions."""
_COMPRESSED: Final = 1 << 52 | 1 << 53
"""Flags ACQ_COMPRESSION1 (ZFP) and ACQ_COMPRESSION2 (NHLBI): compressed samples, if any, have a length."""
_WAVEFORM: Final = struct.Struct("<28xHH8x")
"""Header of a waveform: its samples and channels."""


class _Incomplete(Exception):  # noqa: N818 - not an error, the rest is on its way
    """More bytes are needed; carries how many the buffer must hold at least before trying again."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


class Buffer:
    """Received bytes in the pieces in which they came; large parts are taken without blocking other threads.

    Python copies ``bytes`` that are joined without its global lock, where they are large; bytes of a
    ``bytearray``, or a slice, it copies with it. An image of 256 MB would block every thread for 0.1 s.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._tail = bytearray()
        self._used = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._size += len(data)
        if self._tail or len(data) < _PIECE_BYTES:
            self._tail += data
            if len(self._tail) >= _PIECE_BYTES:
                self._seal()
        else:
            self._pieces.append(data)

    def peek(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``; the buffer must hold them."""
        self._seal()
        first, last = start + self._used, start + self._used + size
        parts, at = [], 0
        for piece in self._pieces:
            if at >= last:
                break
            if at + len(piece) > first:
                parts.append(piece[max(first - at, 0) : last - at])
            at += len(piece)
        return b"".join(parts)

    def drop(self, size: int) -> None:
        """Remove bytes from the front; the buffer must hold them."""
        self._seal()
        self._size -= size
        self._used += size
        while self._pieces and self._used >= len(self._pieces[0]):
            self._used -= len(self._pieces.popleft())

    def _seal(self) -> None:
        if self._tail:
            self._pieces.append(bytes(self._tail))
            self._tail = bytearray()


class Decoder:
    """Turns the bytes of one direction of a connection into messages; any split of the bytes will do.

    Attributes:
        closed: a close message has come; whatever follows it is dropped.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._buffer = Buffer()
        self._needed = _ID.size
        self._at = 0  # bytes of the message at the front that are decoded
        self._int32 = False  # of the last image
        self.closed = False

    @property
    def at_boundary(self) -> bool:
        """True between two messages: a connection that ends here has lost nothing."""
        return not self._buffer

    @property
    def pending(self) -> int:
        """Bytes that have come of a message that is under way, or after the close."""
        return len(self._buffer)

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes and yield every message that they complete.

        Raises:
            ProtocolError: the bytes are not MRD, or go beyond the limits. The decoder is then of no
                further use: where the next message begins cannot be known.
        """
        self._buffer.append(data)
        while not self.closed and len(self._buffer) >= self._needed:
            self._at = 0
            try:
                message = self._decode()
            except _Incomplete as incomplete:
                self._needed = incomplete.needed
                return
            except ProtocolError as error:
                raise self.error(str(error)) from error
            self._buffer.drop(self._at)
            self._needed = _ID.size
            self.closed = isinstance(message, Close)
            if isinstance(message, Image):
                self._int32 = message.header.data_type == _INT32
            yield message

    def error(self, problem: str) -> ProtocolError:
        """Return the error of a stream that cannot be read, with its cause if the last image shows it."""
        return ProtocolError(f"{problem.removesuffix(_NO_CLIENT)}; {_INT64}" if self._int32 else problem)

    def _decode(self) -> Message:
        """Return the message at the front of the buffer."""
        number = self._number(_ID)
        match number:
            case MessageId.CONFIG_FILE:
                return ConfigFile(decode(self._take(_CONFIG_FILE_BYTES)))
            case MessageId.CONFIG_TEXT:
                return ConfigText(decode(self._text("configuration")))
            case MessageId.HEADER:
                return Header.from_bytes(self._text("header"))
            case MessageId.CLOSE:
                return Close()
            case MessageId.TEXT:
                return Text(decode(self._text("text")))
            case MessageId.ACQUISITION:
                return self._acquisition()
            case MessageId.WAVEFORM:
                samples, channels = self._ahead(_WAVEFORM)
                size = _WAVEFORM.size + 4 * samples * channels
                return Waveform(self._take(self._allowed(size, self._limits.raw_bytes, "waveform")))
            case MessageId.IMAGE:
                return self._image()
            case _ if number == int.from_bytes(MRD2_SIGNATURE[:2], "little"):
                raise ProtocolError(f"these bytes are an {MRD2}")
            case _:
                known = ", ".join(str(int(member)) for member in MessageId)
                named = f" ({_OF_GADGETRON[number]})" if number in _OF_GADGETRON else ""
                raise ProtocolError(f"message identifier {number}{named} is not one of {known}{_NO_CLIENT}")

    def _acquisition(self) -> Acquisition:
        flags, samples, channels, dimensions = self._ahead(_ACQUISITION)
        size = _ACQUISITION.size + 4 * samples * dimensions
        if flags & _COMPRESSED and samples * channels:
            self._allowed(size, self._limits.raw_bytes, "acquisition")
            (compressed,) = self._ahead(_LENGTH, size)
            size += _LENGTH.size + compressed
        else:
            size += 8 * samples * channels
        return Acquisition(self._take(self._allowed(size, self._limits.raw_bytes, "acquisition")))

    def _image(self) -> Image:
        header = ImageHeader.unpack(self._take(IMAGE_HEADER_BYTES))
        if header.data_type not in DATA_TYPES:
            raise ProtocolError(f"image data type {header.data_type} is not one of 1 to 8")
        size = self._allowed(
            header.pixels * DATA_TYPES[header.data_type].itemsize, self._limits.pixel_bytes, "image"
        )
        attribute_bytes = self._allowed(
            self._number(_ATTRIBUTE_LENGTH), self._limits.attribute_bytes, "image attribute string"
        )
        self._needs(attribute_bytes + size)
        return Image(header, self._take(attribute_bytes), self._take(size))

    def _text(self, what: str) -> bytes:
        return self._take(self._allowed(self._number(_LENGTH), self._limits.text_bytes, what))

    def _number(self, layout: struct.Struct) -> int:
        (number,) = layout.unpack(self._take(layout.size))
        return int(number)

    def _take(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the message and go on behind them."""
        self._needs(size)
        self._at += size
        return self._buffer.peek(self._at - size, size)

    def _ahead(self, layout: struct.Struct, skipped: int = 0) -> tuple[int, ...]:
        """Return the numbers of the part that comes next, or some bytes behind that."""
        self._needs(skipped + layout.size)
        return layout.unpack(self._buffer.peek(self._at + skipped, layout.size))

    def _needs(self, size: int) -> None:
        if len(self._buffer) < self._at + size:
            raise _Incomplete(self._at + size)

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
            if len(encoded) >= _CONFIG_FILE_BYTES:
                raise ProtocolError(f"configuration name of {len(encoded)} bytes; at most 1023 fit")
            return _ID.pack(MessageId.CONFIG_FILE) + encoded.ljust(_CONFIG_FILE_BYTES, b"\0")
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
    return _ID.pack(number) + _LENGTH.pack(len(body)) + body
