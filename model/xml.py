"""Parser of XML from outside: document types and entities are refused before anything is expanded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn
from xml.parsers import expat


def guarded_parser(refuse: Callable[[], NoReturn], encoding: str | None = None) -> Any:
    """Return an expat parser without handlers that refuses document types and entities.

    Entities may name files and hosts, or expand to any size.

    Args:
        refuse: raises the error of the caller.
        encoding: of the text; None for the one that its declaration states.
    """
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = lambda *_: refuse()
    parser.EntityDeclHandler = lambda *_: refuse()
    return parser
