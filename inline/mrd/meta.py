"""Meta attributes: the XML document beside the pixels of an MRD image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

from inline.mrd.text import decode, legal, parse_xml

Meta = Mapping[str, tuple[str, ...]]
"""Values of each attribute, as text, in the sender's order."""

MetaValue = str | int | float | Sequence[str | int | float]

_DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>\n'


def parse_meta(data: bytes) -> Meta:
    """Return the attributes of an attribute string, of any encoding; an empty one has none.

    The values of an attribute that comes twice are joined, as the C++ library joins them.

    Raises:
        ProtocolError: it is not XML, declares a document type or entities, or is too large
            (:func:`inline.mrd.text.parse_xml`). The message says which.
    """
    text = decode(data)
    if not text.strip():
        return {}
    meta: dict[str, list[str]] = {}
    for element in parse_xml(text, "the attribute string of an image").iter("meta"):
        name = (element.findtext("name") or "").strip()
        if name:
            meta.setdefault(name, []).extend(value.text or "" for value in element.findall("value"))
    return {name: tuple(values) for name, values in meta.items()}


def format_meta(meta: Mapping[str, MetaValue]) -> bytes:
    """Return the attribute string of these attributes in UTF-8, as the ``ismrmrd`` libraries read it.

    An attribute without values is left out: libismrmrd 1.14.3 and later refuse the whole string for one. An
    empty text is a value. Characters that XML does not allow become U+FFFD.
    """
    entries = []
    for name, given in meta.items():
        values = (given,) if isinstance(given, str | int | float) else given
        if values:
            content = "".join(f"<value>{_escaped(str(value))}</value>" for value in values)
            entries.append(f"<meta><name>{_escaped(name)}</name>{content}</meta>")
    return f"{_DECLARATION}<ismrmrdMeta>{''.join(entries)}</ismrmrdMeta>".encode()


def _escaped(text: str) -> str:
    # A parser takes a bare carriage return for a line feed.
    return escape(legal(text), {"\r": "&#13;"})
