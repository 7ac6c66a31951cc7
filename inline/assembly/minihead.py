"""Siemens' ``IceMiniHead``: base64 of XProtocol text with the values for the DICOM header.

On that interface it is the only source of the inversion time.
"""

from __future__ import annotations

import base64
import re
from itertools import islice
from typing import Final

_TOKEN: Final = re.compile(r'"[^"]*+"|<[^>]*+>|[{}]|[^\s"<>{}]++')
_LONGEST: Final = 1 << 16
"""Characters of one parameter that are read; a mini header has about ten thousand in all."""
_MOST: Final = 16
"""Parameters of one name that are tried."""


def decode(encoded: str) -> str:
    """Return the text of a mini header; empty where it is not base64."""
    try:
        return base64.b64decode(encoded, validate=False).decode("latin-1")
    except ValueError:
        return ""


def values(text: str, name: str) -> tuple[str, ...]:
    """Return the values of the first parameter of this name that has any, numbers and strings as text.

    A parameter reads ``<ParamDouble."TI"> { <Precision> 6 100.0 }`` or ``<ParamArray."Type"> { <Default>
    <ParamString.""> { } { "M" } { "ND" } }``. What follows an attribute such as ``<Precision>`` is none of
    its values.
    """
    for found in islice(re.finditer(re.escape(f'"{name}">'), text), _MOST):
        if block := _block(text[found.end() : found.end() + _LONGEST]):
            return block
    return ()


def _block(text: str) -> tuple[str, ...]:
    """Return the values within the braces that the text begins with."""
    found: list[str] = []
    depth, skipping, skipped_from = 0, False, 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if depth == 0 and token != "{":
            break
        if token == "{":
            depth += 1
            if skipping and not skipped_from:
                skipped_from = depth
        elif token == "}":
            if skipped_from == depth:
                skipping, skipped_from = False, 0
            depth -= 1
            if depth == 0:
                break
        elif skipped_from:
            continue
        elif token.startswith("<"):
            # <Default> is followed by a nested parameter: its tag and its block are passed over together.
            skipping = skipping or "." not in token
        elif skipping:
            skipping = False
        elif value := token.strip('"').strip():
            found.append(value)
    return tuple(found)
