"""How every command ends when something goes wrong that the user can do something about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from inline.errors import MyostreamError


@contextmanager
def told(*others: type[Exception], extra: str = "") -> Iterator[None]:
    """End the command with code 1 and one line on standard error.

    Args:
        others: exceptions besides :class:`~inline.errors.MyostreamError` whose message is for the user.
        extra: of the package, that brings what an import did not find.
    """
    expected: tuple[type[Exception], ...] = (MyostreamError, *others)
    try:
        yield
    except expected as error:
        _end(str(error), error)
    except ImportError as error:
        if not extra:
            raise
        _end(f'{error}; this needs pip install "myostream[{extra}]"', error)


def _end(message: str, cause: Exception) -> NoReturn:
    console = Console(stderr=True)
    console.print(f"[red]myostream:[/] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1) from cause
