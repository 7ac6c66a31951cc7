"""Names of cases and readers, which are those of files and folders."""

from __future__ import annotations

import unicodedata


def one_spelling(name: str) -> str:
    """Return a name with composed letters; file systems and archivers decompose them."""
    return unicodedata.normalize("NFC", name)
