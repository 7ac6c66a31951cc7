"""Original images in the form in which they go back."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from inline.data.errors import ProtocolError
from inline.mrd.messages import Image
from inline.mrd.meta import Meta, format_meta, parse_meta

_KEEP: Final = "Keep_image_geometry"
"""Attribute that makes IceFire keep position and orientation of an image."""
_ADDED: Final = f"<meta><name>{_KEEP}</name><value>1</value></meta>".encode()


def returned(image: Image, originals: Literal["as-is", "keep-geometry", "none"]) -> Image | None:
    """Return the image that goes back for one that came, or None (setting ``emit.originals``).

    ``keep-geometry`` adds one attribute, and the length of the attributes in the header follows; pixels, the
    rest of the header, and attributes that cannot be read stay as they are.
    """
    if originals == "none":
        return None
    if originals == "as-is":
        return image
    meta = _read(image.attributes)
    if meta is None or meta.get(_KEEP) == ("1",):
        return image
    wanted = {**meta, _KEEP: ("1",)}
    # Inserted at the end, which leaves every byte of the sender as it is; else written anew.
    before, end, after = image.attributes.rpartition(b"</ismrmrdMeta>")
    attributes = before + _ADDED + end + after if end else b""
    if _read(attributes) != wanted:
        attributes = format_meta(wanted)
    header = replace(image.header, attribute_string_len=len(attributes))
    return replace(image, header=header, attributes=attributes)


def _read(attributes: bytes) -> Meta | None:
    try:
        return parse_meta(attributes)
    except ProtocolError:
        return None
