"""Sources of examinations: DICOM, MRD, NIfTI and arrays, by what a path holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from inline.assembly.examination import AcquiredExamination
from inline.data.errors import MyostreamError, SourceError
from inline.data.folders import unread
from inline.dicom.find import begins_as_dicom, holds_dicom
from inline.dicom.read import DicomFiles, open_dicom
from inline.mrd.header import shared_studies
from inline.offline import nifti
from inline.offline.arrays import ArrayOptions, bart_files, is_array, read_array
from inline.offline.mrd import is_mrd, read_mrd, read_study
from inline.settings import AssemblySettings
from model.nifti import is_nifti

_OTHER: Final = (
    "{} is no DICOM (DICM at byte 128), MRD, NIfTI (.nii, .nii.gz), npz, npy or BART file; save arrays of "
    "MATLAB and others as npz (docs/dicom.md)"
)
_ZIP: Final = b"PK\3\4"
_ZIP_NAME: Final = 30
"""Place of the name of the first file in a zip file; the length of the name is two bytes at 26."""
_OFFICE: Final = (".docx", ".pptx", ".xlsm", ".xlsx", ".odp", ".ods", ".odt")
"""Endings of zip files that are documents, in lower case."""
_ARCHIVES: Final = (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"BZh", b"\xfd7zXZ\0", b"Rar!\x1a\7")
"""First bytes of gzip, 7z, bzip2, xz and RAR; tar has a mark of its own."""
_TAR: Final = (257, b"ustar")


@dataclass(slots=True)
class Sources:
    """Examinations of some paths.

    Attributes:
        settings: how images become series.
        options: of arrays.
        group: HDF5 group of MRD files; empty for the only one.
        shared: mark studies whose UID several patients state in all files, for a file of haematocrits; the
            headers of all MRD files are read for it first.
        problems: a sentence for each file or folder that cannot be read; complete with the last examination.
        skipped: number of files that are not read by what they are: DICOM files that are no MR images, NIfTI
            images of other suffixes.
    """

    settings: AssemblySettings
    options: ArrayOptions = field(default_factory=ArrayOptions)
    group: str = ""
    shared: bool = False
    problems: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def examinations(self, paths: Iterable[Path]) -> Iterator[AcquiredExamination]:
        """Return an iterator of the examinations of some paths, which are read one at a time.

        All DICOM images are read together: a study may lie in several folders. Their headers are read at
        once. A file that cannot be read is among :attr:`problems`.

        Raises:
            SourceError: there is nothing at a path that is read.
            ImportError: a package that reads a kind of file is not installed.
        """
        dicom, niftis, files = self._sorted(paths)
        series, others = nifti.find(niftis)
        if others:
            self.skipped[nifti.OTHER_SUFFIX] = others
        if series:
            import_module("nibabel")
        opened = open_dicom(dicom, self.settings) if dicom else None
        if opened is not None:
            self.problems += opened.problems
            self.skipped.update(opened.skipped)
        return self._examinations(opened, series, files)

    def _examinations(
        self, opened: DicomFiles | None, series: Iterable[tuple[Path, ...]], files: Collection[Path]
    ) -> Iterator[AcquiredExamination]:
        mrd = [each for each in files if not is_array(each)]
        shared = self._shared(opened, mrd) if self.shared else set()

        def marked(found: AcquiredExamination) -> AcquiredExamination:
            several = found.shared_study or found.header.study_key.study in shared
            return replace(found, shared_study=several)

        for examination in opened.examinations() if opened is not None else ():
            self.problems += examination.problems
            yield marked(examination)
        for each in series:
            yield from self._tried(partial(nifti.read_nifti, each, self.settings))
        for file in files:
            yield from map(marked, self._tried(partial(self._read, file)))

    def _shared(self, opened: DicomFiles | None, mrd: Collection[Path]) -> set[bytes]:
        """Return the study UIDs of several patients in all files, by their digests."""
        studies = set() if opened is None else opened.studies()
        for file in mrd if studies or len(mrd) > 1 else ():
            with suppress(MyostreamError):  # reported where its images are read
                studies.add(read_study(file, self.group))
        return shared_studies(studies)

    def _read(self, file: Path) -> AcquiredExamination:
        if is_array(file):
            return read_array(file, self.options, self.settings)
        return read_mrd(file, self.settings, self.group)

    def _tried(self, read: Callable[[], AcquiredExamination]) -> Iterator[AcquiredExamination]:
        try:
            examination = read()
        except MyostreamError as error:
            self.problems.append(str(error))
        else:
            yield examination

    def _sorted(self, paths: Iterable[Path]) -> tuple[list[Path], list[Path], list[Path]]:
        """Return the paths of DICOM, of NIfTI, and of other files; each of these once, links followed."""
        dicom, niftis, files = list[Path](), list[Path](), dict[str, Path]()
        for path in paths:
            if not path.exists():
                raise SourceError(f"there is no file or folder {path}")
            if path.is_dir():
                images = list(nifti.images_below(path))
                has_dicom, errors = holds_dicom(path)
                if images:
                    # Links to missing files are usual in BIDS data: DataLad fetches what is needed.
                    missing = FileNotFoundError
                    self.problems += [unread(each) for each in errors if not isinstance(each, missing)]
                elif errors:
                    has_dicom = True  # its reader reports them
                elif not has_dicom:
                    raise SourceError(
                        f"{path} holds neither DICOM files nor NIfTI images; "
                        "MRD files and arrays are given by name, and DICOM files have DICM at byte 128 "
                        "(dcmconv of DCMTK adds it)"
                    )
                if images and not has_dicom and not any(map(nifti.is_named, images)):
                    raise SourceError(
                        f"{path} holds NIfTI images, but none named by a suffix that is read: "
                        "_IRT1, _T1map or _T2map"
                    )
                dicom += [path] if has_dicom else []
                niftis += [path] if images else []
            elif is_nifti(path):
                niftis.append(path)
            elif not path.is_file():  # opening a pipe may wait for ever
                self.problems.append(f"{path} is no file that can be read")
            elif is_array(path) or is_mrd(path):
                # BART's header and data are one array.
                data = bart_files(path)[1] if path.suffix.lower() == ".hdr" else path
                files.setdefault(os.path.realpath(data), path)
            elif _may_be_dicom(path):
                dicom.append(path)
            elif _is_archive(path):
                self.problems.append(
                    f"{path} is an archive; unpack it (unzip, tar, 7z), and give its content"
                )
            else:
                self.problems.append(_OTHER.format(path))
        return dicom, niftis, list(files.values())


def _may_be_dicom(file: Path) -> bool:
    """Return whether a file begins as DICOM does, or cannot be read, which its reader reports."""
    try:
        return begins_as_dicom(file)
    except OSError:
        return True


def _is_archive(file: Path) -> bool:
    """Return whether a file is an archive or compressed, by its first bytes; not a document or npz."""
    place, mark = _TAR
    with file.open("rb") as opened:
        head = opened.read(place + len(mark))
    if head.startswith(_ZIP):
        first = head[_ZIP_NAME : _ZIP_NAME + int.from_bytes(head[26:28], "little")]
        document = file.suffix.lower() in _OFFICE or first == b"[Content_Types].xml"
        return not document and not first.endswith(b".npy")
    return head.startswith(_ARCHIVES) or head.endswith(mark)
