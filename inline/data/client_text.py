"""Messages that quote a client, and their form for the log.

A client's text may hold the name of a patient. A :class:`Message` is an ordinary text for the client and in
results; :func:`for_log` hides its quoted parts, or shortens and escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 80


class Message(str):
    """Text that remembers which parts of it came from outside; make it by :func:`message` or :func:`foreign`.

    Attributes:
        template: with a ``{}`` for each part; empty for a text that came from outside as a whole.
        parts: values of the template, or the text from outside.
    """

    template: str = ""
    parts: tuple[object, ...] = ()


def foreign(text: str, shown: str | None = None) -> Message:
    """Return a text that came from outside.

    Args:
        text: as it came.
        shown: form for the client, in place of the text itself.
    """
    made = Message(text if shown is None else shown)
    made.parts = (text,)
    return made


def as_utf8(text: str) -> str:
    """Return a text that UTF-8 expresses: halves of surrogate pairs, as of names in bytes, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def message(template: str, *parts: object) -> Message:
    """Return the template with its parts, as ``str.format`` does; foreign parts stay known as such."""
    made = Message(template.format(*parts))
    made.template, made.parts = template, parts
    return made


def joined(separator: str, parts: Iterable[str]) -> Message:
    """Return the parts with the separator between them, as ``str.join`` does."""
    given = tuple(parts)
    return message(separator.join(["{}"] * len(given)), *given)


def for_log(text: object, *, foreign_text: bool = False) -> str:
    """Return the form of a text that may be logged; one that is no :class:`Message` stays as it is.

    Args:
        text: with or without parts from outside.
        foreign_text: quote these parts, in at most 80 characters each and without control characters; else
            only their length is stated.
    """
    if not isinstance(text, Message):
        return str(text)
    if text.template or not text.parts:
        return text.template.format(*(for_log(part, foreign_text=foreign_text) for part in text.parts))
    (outside,) = map(str, text.parts)
    if not foreign_text:
        return f"({len(outside)} characters, not logged)"
    # repr escapes every character that is not printable, those that change the direction of writing too.
    quoted = repr(outside[:_LONGEST])
    whole = len(outside) <= _LONGEST and len(quoted) <= _LONGEST
    return quoted if whole else f"{quoted[: _LONGEST - 3]}..."
