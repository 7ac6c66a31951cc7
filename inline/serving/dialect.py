"""Kinds of peers, and what each of them takes besides images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from inline.mrd.protocol import MessageId


class Severity(StrEnum):
    """Kind of a text: its first three characters, by which IceFire colours it at the console."""

    NORMAL = "DBG"
    WARNING = "WRN"
    ERROR = "ERR"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a kind of peer takes besides images.

    Attributes:
        texts: messages for a person.
        raw: acquisitions and waveforms, which go on as they came.
        header: the header, which goes first.
    """

    texts: bool = False
    raw: bool = False
    header: bool = False


UNKNOWN: Final = Dialect()
"""A peer that has not said what it is."""
CLIENT: Final = Dialect(texts=True)
"""Scanner or MRD client, with a person before it."""
CHAIN: Final = Dialect(raw=True)
"""Gadgetron: a text from a module ends its chain."""
PIPE: Final = Dialect(raw=True, header=True)
"""A program that reads a stream as the tools of libismrmrd write it."""


def takes_texts(opening: bytes) -> bool | None:
    """Tell from a peer's first bytes whether it takes texts, as its session would from its first message.

    Args:
        opening: first bytes of the stream, of which eight are enough.

    Returns:
        None where more bytes are needed.
    """
    if len(opening) < 2:
        return None
    match int.from_bytes(opening[:2], "little"):
        case MessageId.CONFIG_FILE | MessageId.TEXT:
            return True
        case MessageId.CONFIG_TEXT:
            # Gadgetron opens with XML; a JSON object comes from a client.
            return opening[6:7] == b"{" if len(opening) > 6 else None
        case _:
            return False
