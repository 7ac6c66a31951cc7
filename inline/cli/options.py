"""Options that several commands share, and checks of outputs before the work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from typer import BadParameter, Option

from inline.data.errors import MyostreamError
from inline.data.paths import path as path
from model.output import check_folder, check_outputs
from model.relaxometry.ecv import check_haematocrit

if TYPE_CHECKING:
    from inline.settings import Settings


def existing_file(file: Path | None) -> Path | None:
    """Return a file to read; raise MyostreamError where it is none."""
    if file is not None and not file.exists():
        raise MyostreamError(f"there is no file {file}")
    if file is not None and file.is_dir():
        raise MyostreamError(f"{file} is a folder; give the name of a file")
    return file


def output_file(file: Path | None) -> Path | None:
    """Return a file that can be written; raise OutputError where it cannot."""
    check_outputs(file)
    return file


def new_file(file: Path | None) -> Path | None:
    """Likewise, of a file that must not exist yet."""
    if file is not None and file.exists():
        raise MyostreamError(f"{file} is there already; give another name, or copy the values by hand")
    return output_file(file)


def output_folder(folder: Path | None) -> Path | None:
    """Likewise, of a folder, which is made."""
    check_folder(folder)
    return folder


def report_places(places: list[Path] | None) -> list[Path] | None:
    """Return the places of reports. Those without a suffix are folders, which are made."""
    for each in places or ():
        if each.is_dir() or not each.suffix:
            check_folder(each)
    return places


def finite(value: float | None) -> float | None:
    """Return a number; raise BadParameter for NaN and infinity, which limits may let through."""
    if value is not None and not math.isfinite(value):
        raise BadParameter(f"{value} is not a finite number.")
    return value


PREPARING: Final = "Loading the network (the first run on a computer takes longer) ..."
"""Line of a command that loads the network, before it does."""
EngineOption = Annotated[
    str | None, Option("--engine", help="auto, or a name from myostream engines.", show_default=False)
]


def haematocrit(value: float | None) -> float | None:
    """Return a haematocrit; raise MyostreamError where it is no fraction that blood can have."""
    try:
        return None if value is None else check_haematocrit(value)
    except ValueError as error:
        raise MyostreamError(str(error)) from error


def settings_of_patient(file: Path | None, engine: str | None, haematocrit: float | None) -> Settings:
    """Return the settings with the haematocrit that was given for a patient, where one was.

    Raises:
        ConfigurationError: the settings cannot be used.
    """
    from inline.settings import load_settings

    settings = load_settings(file, engine=engine)
    return settings.model_copy(update={"ecv": settings.ecv.of_patient(haematocrit)})


HaematocritOption = Annotated[
    float | None,
    Option("--haematocrit", callback=haematocrit, help="Of the patient, a fraction such as 0.42, for ECV."),
]
SettingsFile = Annotated[Path | None, Option("--settings", help="TOML file of settings.")]
ReportOption = Annotated[
    list[Path] | None,
    Option(
        "--report",
        parser=path,
        callback=report_places,
        help="Write a report, .png or .pdf, or both into a folder; may be repeated.",
    ),
]
JsonFile = Annotated[Path | None, Option("--json", callback=output_file, help="Write all figures here.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Log more.")]
