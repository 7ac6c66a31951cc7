"""Units of systemd for ``serve`` and ``dicom-node``, with the command of this installation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from inline.data.errors import ConfigurationError

Program = Literal["serve", "dicom-node"]
"""Command that a unit runs."""

_VALUES: Final[dict[Program, dict[str, str]]] = {
    "serve": {
        "NAME": "myostream",
        "DESCRIPTION": "Inline T1 and T2 mapping of the heart",
        "STOP": "# server.drain_s and some seconds.\nTimeoutStopSec=40",
        "WATCHDOG": "# Fed while the engine proves within 90 s that it works: by output, or by a reference "
        "slice.\nWatchdogSec=180",
    },
    "dicom-node": {
        "NAME": "myostream-dicom",
        "DESCRIPTION": "DICOM node for T1 and T2 mapping of the heart",
        "STOP": "# The series in work is finished within 30 s; what is not stays in the queue.\n"
        "TimeoutStopSec=60",
        "WATCHDOG": "# Fed while each thread and the queue have worked in the last 180 s.\nWatchdogSec=60\n"
        "# The queue outlasts restarts; it holds images of patients.\n"
        "StateDirectory=myostream-dicom\nStateDirectoryMode=0700\n"
        "Environment=MYOSTREAM_DICOM__SPOOL=%S/myostream-dicom",
    },
}

_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders that the unit hides from the service (ProtectHome=, PrivateTmp=)."""


def installed_command(executable: Path | None = None) -> tuple[str, ...]:
    """Return the command of the installation that runs now.

    Args:
        executable: Python; None for the one that runs.

    Raises:
        ConfigurationError: it lies in a folder that the service cannot see, or systemd rejects its path.
    """
    python = executable or Path(sys.executable)
    program = python.parent / "myostream"
    command = (str(program),) if program.exists() else (str(python), "-P", "-m", "inline")
    # systemd accepts no quotes and backslashes in the name of a program, and expands no $$ there.
    if not command[0].isprintable() or any(each in command[0] for each in "\"'\\$"):
        raise ConfigurationError(
            f"systemd starts no program at {command[0]!r}: its path has a quote, a backslash, a dollar "
            "sign or a control character; install myostream elsewhere, such as in /opt/myostream"
        )
    for folder in (python.parent, Path(__file__).parent):
        if any(folder.is_relative_to(hidden) for hidden in _HIDDEN):
            raise ConfigurationError(
                f"the service has a user of its own, which cannot see {folder}; install myostream elsewhere, "
                "such as in /opt/myostream, and call service-unit there"
            )
    return command


def unit_text(command: Sequence[str], program: Program = "serve") -> str:
    """Return the unit file that starts a command, whose subcommand ``program`` it adds."""
    text = (files("inline.serving") / "systemd" / "myostream.service").read_text(encoding="utf-8")
    values = {**_VALUES[program], "PROGRAM": program, "COMMAND": " ".join(map(_quoted, command))}
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _quoted(word: str) -> str:
    """Return a word as systemd reads it back (systemd.service(5), COMMAND LINES)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(each.isspace() or each in "\"'\\;" for each in word) else escaped
