"""Sentences on standard output and standard error."""

from __future__ import annotations

import os
from typing import Final

from rich.console import Console
from rich.text import Text

_UNLIMITED: Final = 10_000
"""Columns of an output that is no terminal: a line of a file or a pipe has no width."""


def make_console() -> Console:
    """Return the console of standard output; only a terminal, or the variable COLUMNS, wraps its lines."""
    made = Console()
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(width=_UNLIMITED)


def printable(text: str, *, lines: bool = False) -> str:
    """Return a text of a peer for the terminal, with control characters as escapes.

    Args:
        text: of the peer.
        lines: keep line ends.
    """
    return "".join(
        each if each.isprintable() or (lines and each == "\n") else each.encode("unicode_escape").decode()
        for each in text
    )


def print_text(text: str, *, lines: bool = False) -> None:
    """Print a text as it is: no markup, control characters as escapes.

    Args:
        text: of the program or of a peer.
        lines: keep line ends.
    """
    make_console().print(Text(printable(text, lines=lines)))


def print_progress(line: str) -> None:
    """Print a line on standard error at once: about the work, not about its results."""
    Console(stderr=True).print(Text(line), soft_wrap=True)


def print_lines(*lines: str) -> None:
    """Print sentences as they are, each on lines of its own."""
    for line in lines:
        Console().print(Text(line), soft_wrap=True)
