"""``myostream engines``."""

from __future__ import annotations

from typing import Annotated

import typer

from inline.cli.options import JsonFile, SettingsFile
from inline.settings import load_settings


def engines(
    repeats: Annotated[int, typer.Option(min=3, help="Inferences of each engine that are timed.")] = 100,
    settings_file: SettingsFile = None,
    json_file: JsonFile = None,
) -> None:
    """Time the engines of this host beside each other, and say which is used and why."""
    from inline.cli.engine_comparison import measure, show

    show(measure(load_settings(settings_file), repeats), json_file)
