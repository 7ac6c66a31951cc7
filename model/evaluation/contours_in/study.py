"""Layout of the published study: ``Contours.json``, and its folders.

After the study's public code (BME-SmartLab/CardiacMappingSeg, data/mapping_utils.py; Kalapos et al. 2023):

``DATE/Patient (N)/T1_map_apex/Contours.json`` has the lists ``endocardial_contours_x``,
``endocardial_contours_y``, ``epicardial_contours_x`` and ``epicardial_contours_y``. It lies beside the
weighted images of the slice. The maps are ``DATE/Patient (N)/T1_Mapping_/Apex.dcm``, ``Mid.dcm`` and
``Base.dcm``. The code fills the points with OpenCV, where whole numbers are pixel centres.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.evaluation.contours_in.outlines import Outlines, checked
from model.evaluation.errors import CaseError

CONTOURS: Final = "Contours.json"
_LEVELS: Final = {"Apex": "apex", "Base": "base", "Mid": "mid_"}
"""Name of a map, and the end of the name of its slice's folder."""
_PATIENT: Final = re.compile(r"Patient \((\d+)\)")
_KEYS: Final = tuple(f"{border}cardial_contours_{axis}" for border in ("endo", "epi") for axis in "xy")


@dataclass(frozen=True, slots=True)
class StudySlice:
    """Slice of the study's folders.

    Attributes:
        case: patient.
        name: of the slice, with the folder of the date where it lies below the folder that is read.
        level: ``Apex``, ``Mid`` or ``Base``.
        map: DICOM file of the map.
        contours: ``Contours.json`` of the slice.
        weighted: DICOM files of its weighted images.
    """

    case: str
    name: str
    level: str
    map: Path
    contours: Path
    weighted: tuple[Path, ...]


def is_study_layout(content: Any) -> bool:
    """Return whether a JSON value has the study's four lists."""
    return isinstance(content, Mapping) and all(key in content for key in _KEYS)


def study_outlines(content: Mapping[str, Any], path: Path) -> Outlines:
    """Return the contours of the four lists.

    Raises:
        CaseError: they are no contours.
    """
    lists = [content[key] for key in _KEYS]
    whole = all(isinstance(each, list) for each in lists)
    if not whole or len(lists[0]) != len(lists[1]) or len(lists[2]) != len(lists[3]):
        raise CaseError(f"{path}: {', '.join(_KEYS)} are lists, of equal length for x and y")
    endo, epi = ([[x, y] for x, y in zip(*lists[at : at + 2], strict=True)] for at in (0, 2))
    return checked(path, endo, epi)


def study_slices(folder: Path, kind: str) -> Iterator[StudySlice]:
    """Yield the slices below a folder that have a map of one kind and contours.

    Args:
        folder: with ``Patient (N)`` folders in it, or in its subfolders.
        kind: ``t1`` or ``t2``.
    """
    patients = [*folder.glob("Patient (*"), *folder.glob("*/Patient (*")]
    for patient in sorted(path for path in patients if path.is_dir() and _PATIENT.fullmatch(path.name)):
        maps = patient / f"{kind.upper()}_Mapping_"
        for level, ending in _LEVELS.items():
            own = patient / f"{kind.upper()}_map_{ending}"
            file, contours = maps / f"{level}.dcm", own / CONTOURS
            if file.is_file() and contours.is_file():
                name = f"{patient.relative_to(folder).as_posix()}/{level}"
                weighted = tuple(sorted(each for each in own.glob("[!.]*.dcm") if not each.is_fifo()))
                yield StudySlice(patient.name, name, level, file, contours, weighted)
