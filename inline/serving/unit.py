"""Unit of systemd for ``myostream serve``, with the command of this installation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from inline.data.errors import ConfigurationError

_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders that the unit hides from the service (ProtectHome=, PrivateTmp=)."""


def installed_command(executable: Path | None = None) -> tuple[str, ...]:
    """Return the command of the installation that runs now.

    Args:
        executable: Python; None for the one that runs.

    Raises:
        ConfigurationError: it lies in a folder that the service cannot see.
    """
    python = executable or Path(sys.executable)
    program = python.parent / "myostream"
    command = (str(program),) if program.exists() else (str(python), "-P", "-m", "inline")
    for folder in (python.parent, Path(__file__).parent):
        if any(folder.is_relative_to(hidden) for hidden in _HIDDEN):
            raise ConfigurationError(
                f"the service has a user of its own, which cannot see {folder}; install myostream elsewhere, "
                "such as in /opt/myostream, and call service-unit there"
            )
    return command


def unit_text(command: Sequence[str]) -> str:
    """Return the unit file that starts a command, whose subcommand ``serve`` it adds."""
    template = (files("inline.serving") / "systemd" / "myostream.service").read_text(encoding="utf-8")
    return template.replace("@COMMAND@", " ".join(map(_quoted, command)))


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back (systemd.service(5), COMMAND LINES)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(each.isspace() or each in "\"'\\;" for each in word) else escaped
