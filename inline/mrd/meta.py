"""Meta attributes: the small XML document that may stand beside the pixels of an MRD image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree import ElementTree

from inline.errors import ProtocolError

Meta = Mapping[str, tuple[str, ...]]
"""Values of each attribute, as text, in the sender's order."""

MetaValue = str | int | float | Sequence[str | int | float]

_FORBIDDEN: Final = (b"<!DOCTYPE", b"<!ENTITY")


def parse_meta(data: bytes) -> Meta:
    """Read an attribute string; an empty one has no attributes.

    Raises:
        ProtocolError: it is not XML, or it declares entities, which no sender of images needs.
    """
    text = data.rstrip(b"\0").strip()
    if not text:
        return {}
    if any(word in text for word in _FORBIDDEN):
        raise ProtocolError("the meta attributes of an image declare a document type; send plain attributes")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ProtocolError(f"the meta attributes of an image are not readable XML: {error}") from error
    meta: dict[str, tuple[str, ...]] = {}
    for element in root.iter("meta"):
        name = (element.findtext("name") or "").strip()
        if name:
            meta[name] = tuple((value.text or "") for value in element.findall("value"))
    return meta


def format_meta(meta: Mapping[str, MetaValue]) -> bytes:
    """The attribute string of these attributes, as the ``ismrmrd`` libraries write and read it."""
    root = ElementTree.Element("ismrmrdMeta")
    for name, values in meta.items():
        element = ElementTree.SubElement(root, "meta")
        ElementTree.SubElement(element, "name").text = name
        for value in (values,) if isinstance(values, str | int | float) else values:
            ElementTree.SubElement(element, "value").text = str(value)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document
