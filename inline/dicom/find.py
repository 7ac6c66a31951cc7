"""Files of DICOM images: single files, folders, DICOMDIR."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from inline.data.client_text import foreign, message
from inline.data.errors import DicomError
from inline.data.folders import files_below, unread
from inline.dicom.frame import Frame, frames
from inline.elements.header import FrameHeader
from inline.elements.scale import ScaleError
from inline.mrd.header import MeasurementHeader, identity, tesla
from model.nifti import is_nifti

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

_IMAGES: Final = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
}
"""SOP classes that are read."""
_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_LARGE: Final = 1 << 20
"""Bytes from which an element is read only where it is used: no header that is read has such."""
_CUT_OFF: Final = ("cannot reshape array", "buffer size must be a multiple")
"""Beginnings of numpy's messages on pixels that end too early; pydicom passes them on."""
_NO_DICOM: Final = "{} cannot be read as DICOM: {}"
_UNREADABLE: Final = "{}: its pixels cannot be read: {}"
_SHORT: Final = "the file is cut off"
_MOST_REASON: Final = 200
_DATE: Final = re.compile(r"^([0-9]{4})([0-9]{2})([0-9]{2})$")
_TIME: Final = re.compile(r"^([0-9]{2})([0-9]{2})([0-9]{2})(?=\.|$)")


@dataclass(slots=True)
class Found:
    """Frames of all files of some paths.

    Attributes:
        frames: of the images.
        problems: a sentence for each file and folder that cannot be read.
        unread: the files among them.
        skipped: number of other files by what they are.
    """

    frames: list[Frame] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)


def find(paths: Iterable[Path], alive: Callable[[], None] = lambda: None) -> Found:
    """Return the frames of all DICOM images at some paths, without pixels; each file is read once.

    A file or folder that cannot be read is reported, and the others are read. In a folder, files that are not
    DICOM, and those named as NIfTI, are counted; a path to such a file is a problem.

    Args:
        paths: where to look.
        alive: is called before each file.

    Raises:
        ImportError: pydicom is not installed.
        DicomError: there is no file at a path.
    """
    import_module("pydicom")  # once, so that its absence is not taken for a damaged file
    found, copies = Found(), dict[str, list[list[Frame]]]()
    patients, seen = dict[str, str](), set[str]()
    for path in sorted(paths, key=Path.is_dir):  # files that are named themselves first, and so reported
        if not path.exists():
            raise DicomError(f"there is no file or folder {path}")
        for file in _files(path, found):
            if (place := os.path.realpath(file)) in seen:
                continue
            seen.add(place)
            alive()
            before = len(found.problems)
            _add(file, found, copies, patients, alone=not path.is_dir())
            if len(found.problems) > before:
                found.unread.add(file)
    found.frames = [
        replace(each, copies=tuple(each.copies_in(copies.get(each.instance, ())))) for each in found.frames
    ]
    return found


def is_dicom(path: Path) -> bool:
    """Return whether a file can be read and begins as a DICOM file does."""
    try:
        return begins_as_dicom(path)
    except OSError:
        return False


def holds_dicom(folder: Path) -> tuple[bool, list[OSError]]:
    """Return whether a folder holds DICOM files; where none is found, also what of it cannot be read."""
    errors = list[OSError]()
    for file in _walk(folder, errors.append):
        try:
            if not is_nifti(file) and begins_as_dicom(file):
                return True, []
        except OSError as error:
            error.filename = str(file)  # an error of reading states none
            errors.append(error)
    return False, errors


def begins_as_dicom(file: Path) -> bool:
    """Return whether a file begins as a DICOM file does (PS3.10, 7.1).

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def read_header(file: Path) -> Dataset:
    """Return the data set of a DICOM file without its pixels.

    Raises:
        DicomError: it cannot be read.
    """
    import pydicom

    try:
        with quiet():
            syntax = pydicom.filereader.read_file_meta_info(file).get("TransferSyntaxUID")
            if syntax != _DEFLATED:
                return pydicom.dcmread(file, stop_before_pixels=True, defer_size=_LARGE)
    except Exception as error:  # of a damaged file pydicom raises many kinds
        raise DicomError(message(_NO_DICOM, file, reason(error))) from error
    raise DicomError(
        f"{file} is deflated as a whole, which is not read: nothing bounds its size; convert it (dcmconv +te)"
    )


def read_measurement(frame: Frame) -> MeasurementHeader:
    """Return what an image states of its whole examination; names of protocols are left to each series."""
    field: float | None = None
    sex = system = time = ""
    patient_id, accession, date = frame.of_study
    # Of a damaged element pydicom raises many kinds, and what follows stays unknown. Errors of the file are
    # reported where its pixels are read.
    with suppress(Exception), quiet():
        header = FrameHeader.of(read_header(frame.file))
        field, sex = header.number("MagneticFieldStrength"), header.text("PatientSex")
        system = " ".join(filter(None, map(header.text, ("Manufacturer", "ManufacturerModelName"))))
        time = header.text("StudyTime")
    return MeasurementHeader(
        study_uid=frame.study,
        frame_of_reference_uid=frame.reference,
        field_strength=tesla(field),
        sex=sex if sex in ("M", "F") else "",
        system=system,
        # As the header of MRD states them: 2026-01-31, 10:00:00.
        study_date=_DATE.sub(r"\1-\2-\3", date),
        study_time=_TIME.sub(r"\1:\2:\3", time),
        patient_id=identity("patient_id", patient_id),
        accession_number=identity("accession_number", accession),
    )


def read_pixels(frame: Frame) -> Any:
    """Return the stored pixels of a frame, ``(rows, columns)``.

    Raises:
        DicomError: they cannot be read, or no decoder of their compression is installed.
    """
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import UID

    if frame.cut_off:
        raise DicomError(_UNREADABLE.format(frame.file, _SHORT))
    try:
        with quiet():
            return pixel_array(frame.file, index=frame.index)
    except Exception as error:
        syntax = UID("")
        try:
            syntax = read_header(frame.file).file_meta.TransferSyntaxUID
            missing = syntax.is_compressed and not has_decoder(syntax)
        except (DicomError, AttributeError, NotImplementedError, ValueError):
            missing = False
        if missing:
            raise DicomError(
                f"{frame.file}: no decoder of its pixels ({syntax.name}) is installed; install pylibjpeg "
                "with its plug-ins, or decompress the file (gdcmconv --raw, dcmdjpeg)"
            ) from error
        why = _SHORT if str(error).startswith(_CUT_OFF) else reason(error)
        raise DicomError(message(_UNREADABLE, frame.file, why)) from error


def has_decoder(syntax: UID) -> bool:
    """Return whether pixels of a transfer syntax can be read here.

    Raises:
        NotImplementedError: pydicom knows no decoder of it.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    decoder = get_decoder(syntax)
    # pydicom lists these two for JPEG Extended, but they decode only 8 bits of it, and MR has 12.
    eight_bits = {"pillow", "gdcm"}
    return decoder.is_available and (
        syntax != JPEGExtended12Bit or not eight_bits.issuperset(decoder.available_plugins)
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings of pydicom: values that break a rule are read as they are, errors are reported."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def reason(error: Exception) -> str:
    """Return the message of an exception of a library in one short line; it may quote the image."""
    return foreign((" ".join(str(error).split()) or type(error).__name__)[:_MOST_REASON])


def _add(
    file: Path, found: Found, copies: dict[str, list[list[Frame]]], patients: dict[str, str], *, alone: bool
) -> None:
    """Add the frames of a file, or what kept them from being read.

    Args:
        file: to read.
        found: so far.
        copies: frames of each further file of each instance so far.
        patients: patient of each instance so far.
        alone: the file was named itself.
    """
    try:
        # In a folder NIfTI is left to another reader, unread.
        begins = (alone or not is_nifti(file)) and begins_as_dicom(file)
    except OSError as error:
        found.problems.append(unread(error, file))
        return
    if not begins:
        if alone:
            found.problems.append(f"{file} is no DICOM file (DICM is missing at byte 128)")
        else:
            found.skipped["not DICOM"] += 1
        return
    try:
        image = read_header(file)
        kind = str(image.get("SOPClassUID") or image.file_meta.get("MediaStorageSOPClassUID") or "")
        if not kind:
            raise DicomError(f"{file} is damaged: it states no SOP class")
        if kind not in _IMAGES:
            found.skipped[_name(kind)] += 1
            return
        with quiet():  # elements are parsed when they are used
            made = list(frames(image, file))
    except DicomError as error:
        found.problems.append(error.message)
        return
    except ScaleError as error:
        found.problems.append(message("{}: {}", file, error.message))
        return
    except Exception as error:  # of any kind, as by dcmread
        found.problems.append(message(_NO_DICOM, file, reason(error)))
        return
    if (instance := made[0].instance) in copies:
        if made[0].patient != patients[instance]:
            found.problems.append(f"{file} is not read: an image of another patient has its SOP instance UID")
            return
        found.skipped["copies of an image that was read"] += 1
        copies[instance].append(made)
        return
    if instance:
        copies[instance], patients[instance] = [], made[0].patient
    found.frames += made


def _files(path: Path, found: Found) -> Iterator[Path]:
    """Yield the files of a path: itself, those below a folder, or those that a DICOMDIR lists."""
    if path.is_dir():
        yield from _walk(path, lambda error: found.problems.append(unread(error)))
    elif path.name.upper() == "DICOMDIR":
        yield from _listed(path, found)
    else:
        yield path


def _walk(folder: Path, report: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the files below a folder, pipes and the like left out."""
    for file in files_below(folder, report):
        # A link to what is missing or may not be read is left to its reader, which reports it.
        if os.path.isfile(file) or not os.path.exists(file):  # noqa: PTH110, PTH113 - neither raises
            yield file


def _listed(directory: Path, found: Found) -> Iterator[Path]:
    """Yield the files that a DICOMDIR refers to (DICOM PS3.3, F.3), which lie below its own folder."""
    try:
        with quiet():
            records = read_header(directory).get("DirectoryRecordSequence") or []
            named = [record.get("ReferencedFileID") for record in records]
    except DicomError as error:
        found.problems.append(error.message)
        return
    except Exception as error:  # of any kind, as in _add
        found.problems.append(message(_NO_DICOM, directory, reason(error)))
        return
    for parts in named:
        if not parts:
            continue
        steps = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        # The names of a CD, or those that Linux shows.
        tried = (_below(directory.parent, names) for names in (steps, [each.lower() for each in steps]))
        file = next(filter(None, tried), None)
        if file is not None:
            yield file
        else:
            listed = foreign("\\".join(steps))
            found.problems.append(
                message("{} lists {}, which is no file below its folder", directory, listed)
            )


def _below(folder: Path, names: list[str]) -> Path | None:
    """Return the file of these names below a folder; None where there is none."""
    file = folder.joinpath(*names)
    try:
        return file if file.is_file() and file.resolve().is_relative_to(folder.resolve()) else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, links in a circle, a null byte
        return None


def _name(kind: str) -> str:
    from pydicom.uid import UID

    if kind == _DIRECTORY:
        return "DICOMDIR"
    name = UID(kind).name
    return name.removesuffix(" Storage") if name != kind else "unknown SOP class"
