"""Dialects of MRD: kinds of peers, and the messages that each takes besides images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from inline.mrd.messages import Text
from inline.mrd.protocol import MessageId


class Severity(StrEnum):
    """Kind of a text: its first three characters, by which IceFire colours it at the console."""

    NORMAL = "DBG"
    WARNING = "WRN"
    ERROR = "ERR"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Messages that a kind of peer takes besides images.

    Attributes:
        texts: for a person.
        raw: acquisitions and waveforms, forwarded as they came.
        header: the header, forwarded first.
    """

    texts: bool = False
    raw: bool = False
    header: bool = False


UNKNOWN: Final = Dialect()
"""Peer that has sent nothing yet by which it is recognised."""
CLIENT: Final = Dialect(texts=True)
"""Scanner or MRD client, used by a person."""
CHAIN: Final = Dialect(raw=True)
"""Gadgetron: a text from a module ends its chain."""
PIPE: Final = Dialect(raw=True, header=True)
"""Program that reads a stream as the tools of libismrmrd write it."""


def text_message(severity: Severity, text: str) -> Text:
    """Return a text with its severity and the name of the sender in front."""
    return Text(f"{severity} myostream: {text}")


def takes_texts(opening: bytes) -> bool | None:
    """Return whether a peer takes texts, by its first bytes; None where more bytes are needed.

    Args:
        opening: first bytes of the stream, of which eight are enough.
    """
    if len(opening) < 2:
        return None
    match int.from_bytes(opening[:2], "little"):
        case MessageId.CONFIG_FILE | MessageId.TEXT:
            return True
        case MessageId.CONFIG_TEXT:
            # Gadgetron opens with XML; a JSON object or a name comes from a client.
            return opening[6:7] == b"{" or opening[6:7].isalnum() if len(opening) > 6 else None
        case _:
            return False
