"""Composition root of the command line: the only module that knows all folders.

The command groups of calibration and benchmarks are there where their folders are installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from inline.cli.commands import app

_GROUPS: Final = {"bench": "bench", "calibrate": "calibration"}
"""Command groups and the packages whose module ``cli`` holds them."""

for _name, _package in _GROUPS.items():
    try:
        app.add_typer(import_module(f"{_package}.cli").app, name=_name)
    except ModuleNotFoundError as error:
        if error.name not in (_package, f"{_package}.cli"):
            raise

if __name__ == "__main__":
    app()
