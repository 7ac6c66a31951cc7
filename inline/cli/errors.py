"""User errors as one line on standard error with exit code 1, for every command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from inline.data.descriptors import hold_standard_descriptors
from inline.data.errors import MyostreamError
from inline.extras import missing
from inline.terminal.text import printable

INTERRUPTED: Final = 130
"""Exit code of a command that Ctrl-C ended and that can go on."""
NOTHING_FOUND: Final = 3
"""Exit code of a command that worked, but in which no slice gave a result."""
_OURS: Final = ("bench", "calibration", "inline", "model")


class ReportingGroup(TyperGroup):
    """Group of commands, each of which runs within :func:`report_errors`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. A character that standard output cannot express becomes an escape."""
        hold_standard_descriptors()
        # As of standard error: the path of an output must not end the command that wrote it.
        if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
            sys.stdout.reconfigure(errors="backslashreplace")
        with report_errors():
            return super().invoke(ctx)


@contextmanager
def report_errors(*others: type[Exception], extra: str = "") -> Iterator[None]:
    """Report user errors as one line on standard error with exit code 1.

    These are :class:`~inline.data.errors.MyostreamError`, errors of the operating system (a file, a port),
    and packages that are not installed.

    Args:
        others: further exceptions whose message is for the user.
        extra: that brings a missing package; by default the one in :data:`~inline.extras.EXTRAS`.
    """
    expected: tuple[type[Exception], ...] = (MyostreamError, *others)
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read standard output has gone; click ends in silence
    except expected as error:
        _end(str(error), error)
    except ImportError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        _end(missing(error, extra), error)
    except OSError as error:
        _end(f"{error.filename}: {error.strerror}" if error.filename else str(error), error)


def require(*modules: str, extra: str = "") -> None:
    """Import modules of extras before the work, which would be lost without them; end where one is missing.

    Args:
        modules: to import.
        extra: of the command, as of :func:`report_errors`.
    """
    with report_errors(extra=extra):
        for module in modules:
            import_module(module)


def _end(message: str, cause: Exception) -> NoReturn:
    line = " ".join(each.strip() for each in message.splitlines() if each.strip())
    console = Console(stderr=True)
    console.print(f"[red]myostream:[/] {escape(printable(line))}", highlight=False, soft_wrap=True)
    raise SystemExit(1) from cause
