"""Paths as users state them."""

from __future__ import annotations

import os
from pathlib import Path

from inline.data.errors import MyostreamError


def path(text: str | Path) -> Path:
    """Return the path of a text; raise MyostreamError for an empty one, which would be the working folder.

    Raises:
        ValueError: it is neither a text nor a path.
    """
    if not isinstance(text, str | os.PathLike):
        raise ValueError(f"a path is a text or a Path, not a {type(text).__name__}")
    if text == "":
        raise MyostreamError("an empty path is given, perhaps by a variable of the shell without a value")
    return Path(text)
