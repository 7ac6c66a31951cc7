"""Paths as users state them."""

from __future__ import annotations

from pathlib import Path

from inline.data.errors import MyostreamError


def path(text: str | Path) -> Path:
    """Return the path of a text; raise MyostreamError for an empty one, which would be the working folder."""
    if text == "":
        raise MyostreamError("an empty path is given, perhaps by a variable of the shell without a value")
    return Path(text)
