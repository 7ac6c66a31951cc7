"""Discovery of the examinations below a folder: MRD files, and DICOM images by study.

The rule (``docs/cohort.md``): every HDF5 file is an examination of its own, readable or not, so that a
damaged one is reported. Every file that begins as DICOM does belongs to the examination of its study; without
a study UID, to that of its folder. Links are followed, and each file counts once; names that begin with a
dot are passed over.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from inline.data.errors import CohortError
from inline.data.folders import files_below, unread
from inline.dicom.find import begins_as_dicom
from inline.offline.mrd import MRD_SUFFIXES

_STUDY_UID: Final = 0x0020000D


@dataclass(frozen=True, slots=True)
class ExaminationPath:
    """Place of an examination: the input of a task.

    Attributes:
        name: path below the root, of the file or of the folder that holds all files; the study UID where
            that is the root, as of an archive's storage; text in any encoding.
        file: MRD file; None for DICOM.
        folders: folders that hold the DICOM files of the study, sorted.
        study: study UID; empty for MRD files and for DICOM files without one.
        source: SHA-256 of the names, sizes and modification times of its files, and of its haematocrit
            where the settings name a file of these (:mod:`inline.cohort.haematocrits`).
        files: number of them.
        alone: no other examination has its name.
    """

    name: str
    file: Path | None
    folders: tuple[Path, ...]
    study: str
    source: str
    files: int
    alone: bool = True

    @property
    def key(self) -> str:
        """Identity within a cohort, 16 hexadecimal digits: of the study, else of the place."""
        place = f"study:{self.study}" if self.study else f"path:{self.name}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Discovered:
    """Examinations below a root, in the order of their names.

    Attributes:
        problems: a sentence for each folder or file that cannot be read.
        others: number of files that are neither MRD nor DICOM.
    """

    examinations: tuple[ExaminationPath, ...]
    problems: tuple[str, ...]
    others: int


@dataclass(slots=True)
class _Walk:
    """State of a search: MRD files, DICOM files by study and folder."""

    files: list[Path] = field(default_factory=list)
    studies: dict[tuple[str, Path | None], list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    others: int = 0


def discover(root: Path, *, without: Path | None = None) -> Discovered:
    """Return the examinations below a folder.

    Args:
        root: folder to search.
        without: folder that is passed over: that of the results.

    Raises:
        CohortError: the root is no folder.
        ImportError: there are DICOM files, and pydicom is not installed.
    """
    if not root.is_dir():
        raise CohortError(f"{root} is no folder; give the folder that holds the examinations")
    found = _Walk()

    def report(error: OSError) -> None:
        found.problems.append(unread(error, _text(Path(error.filename))))

    for file in files_below(root, report, without):
        try:
            _add(file, found)
        except OSError as error:
            found.problems.append(unread(error, _text(file)))
    made = [_of_file(file, root) for file in found.files]
    made += [_of_study(study, files, root) for (study, _), files in found.studies.items()]
    names = Counter(each.name for each in made)
    made = [replace(each, alone=names[each.name] == 1) for each in made]
    made.sort(key=lambda each: (each.name, each.study))
    return Discovered(tuple(made), tuple(found.problems), found.others)


def study_files(examination: ExaminationPath) -> list[Path]:
    """Return the DICOM files of an examination, sorted.

    A file of its folders that cannot be read is left out where all files that were found are there: it was
    reported then, and may be of another study.

    Raises:
        OSError: a folder, or a file that was found, cannot be read.
    """
    found, errors = list[Path](), list[OSError]()
    for folder in examination.folders:
        for file in sorted(folder.iterdir()):
            try:
                if (
                    not file.name.startswith(".")
                    and file.is_file()
                    and _is_object(file)
                    and study_uid(file) == examination.study
                ):
                    found.append(file)
            except OSError as error:
                errors.append(error)
    if errors and len(found) < examination.files:
        raise errors[0]
    return found


def study_uid(file: Path) -> str:
    """Return the study UID of a DICOM file; empty without one, and where its header is damaged.

    Raises:
        OSError: the file cannot be read.
        ImportError: pydicom is not installed.
    """
    from pydicom.filereader import read_file_meta_info, read_partial
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    try:
        with warnings.catch_warnings(), file.open("rb") as opened:
            warnings.simplefilter("ignore")  # values that break a rule of the standard are read as they are
            if read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return ""  # nothing bounds the size of its header; its reader refuses it
            # Tags ascend: what follows the study UID is not read.
            header = read_partial(opened, lambda tag, *_: tag > _STUDY_UID)
            return str(header.get("StudyInstanceUID") or "")
    except OSError:
        raise
    except Exception:  # of a damaged file pydicom raises many kinds; its reader reports it
        return ""


def _add(file: Path, found: _Walk) -> None:
    if file.exists() and not file.is_file():  # a pipe, a socket
        found.others += 1
    elif file.suffix.lower() in MRD_SUFFIXES:
        found.files.append(file)
    elif _is_object(file):
        study = study_uid(file)
        found.studies.setdefault((study, None if study else file.parent), []).append(file)
    else:
        found.others += 1


def _is_object(file: Path) -> bool:
    """Return whether a file is a DICOM object; a DICOMDIR is none, but a list of others.

    Raises:
        OSError: it cannot be read.
    """
    return file.name.upper() != "DICOMDIR" and begins_as_dicom(file)


def _of_file(file: Path, root: Path) -> ExaminationPath:
    return ExaminationPath(_below(file, root), file, (), "", _digest([file], root), 1)


def _of_study(study: str, files: list[Path], root: Path) -> ExaminationPath:
    folders = tuple(sorted({file.parent for file in files}))
    common = Path(os.path.commonpath(folders))
    name = study if study and common == root else _below(common, root)
    return ExaminationPath(name, None, folders, study, _digest(files, root), len(files))


def _below(path: Path, root: Path) -> str:
    return _text(path.relative_to(root))


def _text(path: Path) -> str:
    """Return a path as text that every encoding holds: bytes of a name that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _digest(files: list[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        try:
            status = file.stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:  # a broken link: its reader reports it
            state = (-1, -1)
        digest.update(repr((_below(file, root), *state)).encode())
    return digest.hexdigest()
