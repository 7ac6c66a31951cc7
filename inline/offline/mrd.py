"""Reader of ISMRMRD files as examinations."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inline.assembly.examination import AcquiredExamination, of_images
from inline.mrd.files import ImageFile
from inline.mrd.header import MeasurementHeader, StudyKey, parse_header
from inline.settings import AssemblySettings

MRD_SUFFIXES: Final = (".h5", ".hdf5", ".mrd")
"""Endings of the names of ISMRMRD files, in either case."""
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


def is_mrd(file: Path) -> bool:
    """Return whether a file has a name of ISMRMRD files, or begins as HDF5 does."""
    if file.suffix.lower() in MRD_SUFFIXES:
        return True
    try:
        with file.open("rb") as opened:
            return opened.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def read_mrd(file: Path, settings: AssemblySettings, group: str = "") -> AcquiredExamination:
    """Return the examination of an ISMRMRD file.

    Args:
        file: HDF5 file with reconstructed images.
        settings: how images become series.
        group: HDF5 group to read; empty takes ``dataset``, else the only one with images.

    Raises:
        MyostreamError: the file, its header or its images cannot be read.
    """
    with ImageFile(file, group) as opened:
        return of_images(str(file), opened.images(), _header(opened), settings, opened.notes)


def read_study(file: Path, group: str = "") -> StudyKey:
    """Return what the header of an ISMRMRD file states on its study.

    Raises:
        MyostreamError: the file or its header cannot be read.
    """
    with ImageFile(file, group) as opened:
        return _header(opened).study_key


def _header(opened: ImageFile) -> MeasurementHeader:
    return parse_header(opened.header) if opened.header else MeasurementHeader()
