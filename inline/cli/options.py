"""Checks of options that name an output, made while the command line is read, before the work."""

from __future__ import annotations

from pathlib import Path

from inline.cli.errors import report_errors
from inline.data.errors import MyostreamError
from model.output import check_folder, check_outputs


def output_file(file: Path | None) -> Path | None:
    """Try that a file can be written; the command ends with one line where it cannot."""
    with report_errors():
        check_outputs(file)
    return file


def new_file(file: Path | None) -> Path | None:
    """Likewise of a file that must not be there yet."""
    with report_errors():
        if file is not None and file.exists():
            raise MyostreamError(f"{file} is there already; give another name, or copy the values by hand")
        check_outputs(file)
    return file


def output_folder(folder: Path | None) -> Path | None:
    """Likewise of a folder, which is made."""
    with report_errors():
        check_folder(folder)
    return folder
