"""Composition root of the command line: the only module that imports from all folders.

The commands of calibration and benchmarks are there where their folders are installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from inline.cli.commands import app

_GROUPS: Final = {"bench": "bench", "calibrate": "calibration"}
"""Command groups and the packages whose module ``cli`` holds them, as ``app``, and its ``COMMANDS`` of the
top level."""

for _name, _package in _GROUPS.items():
    try:
        _module = import_module(f"{_package}.cli")
    except ModuleNotFoundError as error:
        if error.name not in (_package, f"{_package}.cli"):
            raise
        continue
    app.add_typer(_module.app, name=_name)
    for _command in getattr(_module, "COMMANDS", ()):
        app.command()(_command)

if __name__ == "__main__":
    app()
