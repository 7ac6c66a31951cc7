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
    """Compare the engines of this host: time, agreement, memory, and which one is used."""
    from inline.cli.engine_comparison import measure, show

    show(measure(load_settings(settings_file), repeats), json_file)
