"""Reader of labelled cases (``docs/data.md`` describes the folders)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluation.contours_in.cvi42 import cvi42_outlines
from model.evaluation.contours_in.dicom_objects import (
    SEGMENTATION,
    STRUCTURES,
    plane_of,
    rt_outlines,
    seg_labels,
)
from model.evaluation.contours_in.medis import medis_outlines
from model.evaluation.contours_in.outlines import MapImage, Outlines, checked
from model.evaluation.contours_in.study import (
    StudySlice,
    is_study_layout,
    study_outlines,
    study_slices,
)
from model.evaluation.errors import CaseError as CaseError
from model.polygons import ring_labels

Labels = NDArray[np.uint8]

_MAP_KEYS: Final = {"t1": ("t1_ms", "t1_window"), "t2": ("t2_ms",)}
_LEVELS: Final = {"basal": r"bas(al|e)", "mid": r"mid\w*", "apical": r"(apical|apex)"}
_WORKSPACE: Final = ".cvi42wsx"
_CONTOURS: Final = (".json", ".con", _WORKSPACE)
"""Suffixes of files with contours, beside those of images and masks."""


@dataclass(frozen=True, slots=True)
class LabelledSlice:
    """One slice with the labels of its readers.

    Attributes:
        name: of the slice, unique in its folder.
        case: patient or examination; a split keeps a case together.
        kind: ``t1`` or ``t2``.
        image: map in ms, or grey levels of its display window, float32 ``(rows, columns)``.
        weighted: weighted images of the map, float32 ``(n, rows, columns)``; may be none.
        spacing: pixel size (x, y), mm.
        readers: labels by reader, uint8 ``(rows, columns)``: 0 background, 1 LV cavity, 2 myocardium.
        level: ``basal``, ``mid``, ``apical``, or empty.
        in_ms: whether the image holds milliseconds.
        insertions: anterior and inferior insertion point of the right ventricle, (x, y) in pixels,
            ``(2, 2)``; NaN where there is none in the image; None where they are not labelled.
    """

    name: str
    case: str
    kind: str
    image: NDArray[np.float32]
    weighted: NDArray[np.float32]
    spacing: tuple[float, float]
    readers: dict[str, Labels]
    level: str = ""
    in_ms: bool = True
    insertions: NDArray[np.float32] | None = None

    @property
    def labels(self) -> Labels:
        """Labels of the first reader."""
        return next(iter(self.readers.values()))

    def saturated_share(self) -> float:
        """Return the share of the first reader's myocardium at grey level 255; 0 for maps in ms."""
        wall = self.labels == 2
        if self.in_ms or not wall.any():
            return 0.0
        return float((self.image[wall] >= 255).mean())


def read_slices(folder: Path, kind: str) -> list[LabelledSlice]:
    """Return all labelled slices of one kind of map below a folder, by name.

    Args:
        folder: npz files side by side, a folder per case, or the published study's folders
            (``docs/data.md``).
        kind: ``t1`` or ``t2``.

    Raises:
        CaseError: there is nothing to read, or a file cannot be read.
    """
    if kind not in _MAP_KEYS:
        raise CaseError(f"there is no map {kind!r}; give t1 or t2")
    if not folder.is_dir():
        raise CaseError(f"{folder} is not a folder")
    side_by_side = sorted(folder.glob("*.npz"))
    if side_by_side:
        found = [_read_npz(file, kind) for file in side_by_side]
        slices = [each for each in found if each is not None]
    elif studied := list(study_slices(folder, kind)):
        slices = [_read_study(each, kind) for each in studied]
    else:
        slices = [
            each
            for case in sorted(path for path in folder.iterdir() if path.is_dir())
            for slice_folder in sorted(path for path in case.iterdir() if path.is_dir())
            if (each := _read_slice(case, slice_folder, kind)) is not None
        ]
    if not slices:
        raise CaseError(f"{folder} holds no labelled {kind} maps; docs/data.md describes the folders")
    return slices


def read_kinds(folder: Path, kinds: Iterable[str]) -> list[LabelledSlice]:
    """Return all labelled slices of several kinds of map; a kind may be missing.

    Raises:
        CaseError: there are none of any kind; the message gives the reason for each.
    """
    slices: list[LabelledSlice] = []
    problems = []
    for kind in kinds:
        try:
            slices += read_slices(folder, kind)
        except CaseError as error:
            problems.append(str(error))
    if not slices:
        raise CaseError("; ".join(problems))
    return slices


def _read_npz(file: Path, kind: str) -> LabelledSlice | None:
    with _opened(file) as data:
        key = next((name for name in _MAP_KEYS[kind] if name in data), None)
        if key is None:
            return None
        for needed in ("label", "pixel_spacing_mm"):
            if needed not in data:
                raise CaseError(f"{file} has no {needed}")
        image = data[key].astype(np.float32)
        labels = _checked(data["label"], image.shape, file)
        spacing = float(data["pixel_spacing_mm"])
    case = re.sub(r"[-_]?slice[-_]?\d+$", "", file.stem)
    return LabelledSlice(
        name=file.stem,
        case=case,
        kind=kind,
        image=image,
        weighted=np.empty((0, *image.shape), np.float32),
        spacing=(spacing, spacing),
        readers={"reader": labels},
        level=_level(file.stem),
        in_ms=key.endswith("_ms"),
    )


def _read_slice(case: Path, folder: Path, kind: str) -> LabelledSlice | None:
    maps = [path for path in folder.iterdir() if _stem(path) == kind and path.suffix not in _CONTOURS]
    if not maps:
        return None
    image, spacing = _read_image(maps[0])
    if image.shape[0] != 1:
        raise CaseError(f"{maps[0]} holds {image.shape[0]} images; a map is one")
    weighted_files: list[Path] = []
    if (weighted_images := folder / f"{kind}_images").is_dir():
        weighted_files = sorted(weighted_images.iterdir())
    map_image = _map_image(maps[0], image.shape[1:], weighted_files)
    readers: dict[str, Labels] = {}
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(rf"{kind}\.([\w-]+)", _stem(path))
        if match and (labels := _read_labels(path, map_image)) is not None:
            readers[match[1]] = labels
    for path in sorted(case.glob(f"*{_WORKSPACE}")):
        if (labels := _read_labels(path, map_image)) is not None:
            readers.setdefault(path.name.removesuffix(_WORKSPACE), labels)
    if not readers:
        raise CaseError(f"{maps[0]} has no contours beside it, such as {kind}.reader.json")
    weighted = _weighted(weighted_files, image.shape[1:])
    return LabelledSlice(
        name=f"{case.name}/{folder.name}",
        case=case.name,
        kind=kind,
        image=image[0],
        weighted=weighted,
        spacing=spacing,
        readers=readers,
        level=_level(folder.name),
    )


def _read_study(slice_: StudySlice, kind: str) -> LabelledSlice:
    """Return a slice of the published study's folders."""
    image, spacing = _read_image(slice_.map)
    if image.shape[0] != 1:
        raise CaseError(f"{slice_.map} holds {image.shape[0]} images; a map is one")
    labels = _ring(_read_contours(slice_.contours), image.shape[1:], slice_.contours)
    return LabelledSlice(
        name=f"{slice_.case}/{slice_.level}",
        case=slice_.case,
        kind=kind,
        image=image[0],
        weighted=_weighted(slice_.weighted, image.shape[1:]),
        spacing=spacing,
        readers={"reader": labels},
        level=_level(slice_.level),
    )


def _weighted(files: Iterable[Path], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the weighted images of a map, ``(n, rows, columns)``."""
    parts = [_read_image(path)[0] for path in files]
    for path, part in zip(files, parts, strict=True):
        if part.shape[1:] != shape:
            raise CaseError(f"an image in {path.parent} has another size than the map")
    return np.concatenate([np.empty((0, *shape), np.float32), *parts])


def _map_image(file: Path, shape: tuple[int, ...], weighted: Iterable[Path]) -> MapImage:
    """Return what readers of other programs' contours need to know of a map."""
    headers = [header for path in (file, *weighted) if (header := _dicom_header(path)) is not None]
    instances = {str(header.get("SOPInstanceUID", "")) for header in headers} - {""}
    own = _dicom_header(file)
    plane = plane_of(own) if own is not None else None
    return MapImage(file, (shape[0], shape[1]), frozenset(instances), plane)


def _dicom_header(path: Path) -> Any:
    """Return the header of a DICOM file by its name; None for any other file."""
    if not path.name.endswith(".dcm"):
        return None
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise CaseError(f"{path} cannot be read: {error}") from error


def _read_image(path: Path) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return images ``(n, rows, columns)`` and pixel size (x, y) in mm of a file, by its suffix."""
    reader = next((reader for suffix, reader in _READERS.items() if path.name.endswith(suffix)), None)
    if reader is None:
        raise CaseError(f"{path} is none of {', '.join(_READERS)}")
    try:
        image, spacing = reader(path)
    except (CaseError, ImportError):
        raise
    except Exception as error:
        raise CaseError(f"{path} cannot be read: {error}") from error
    image = image.astype(np.float32)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        raise CaseError(f"{path} has {image.ndim} dimensions; it must be one image or a stack of them")
    return image, spacing


def _image_from_npz(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    with _opened(path) as data:
        for needed in ("image", "pixel_spacing_mm"):
            if needed not in data:
                raise CaseError(f"{path} has no {needed}")
        spacing = np.broadcast_to(data["pixel_spacing_mm"].astype(float), (2,))
        return data["image"], (float(spacing[0]), float(spacing[1]))


def _image_from_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    import nibabel

    stored = nibabel.load(path)
    # NIfTI counts x first; rows are y.
    values = np.asarray(stored.dataobj, dtype=np.float32)
    values = values.reshape(values.shape[0], values.shape[1], -1).transpose(2, 1, 0)
    zooms = stored.header.get_zooms()
    return values, (float(zooms[0]), float(zooms[1]))


def _image_from_dicom(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    import pydicom

    data = pydicom.dcmread(path)
    values = data.pixel_array * float(getattr(data, "RescaleSlope", 1)) + float(
        getattr(data, "RescaleIntercept", 0)
    )
    between_rows, between_columns = data.PixelSpacing
    return values, (float(between_columns), float(between_rows))


_READERS: Final[dict[str, Callable[[Path], tuple[NDArray[Any], tuple[float, float]]]]] = {
    ".npz": _image_from_npz,
    ".nii.gz": _image_from_nifti,
    ".nii": _image_from_nifti,
    ".dcm": _image_from_dicom,
}


def _read_labels(path: Path, image: MapImage) -> Labels | None:
    """Return the labels of a file of contours or of a mask; None where a workspace has none for the map."""
    if path.suffix == ".json":
        return _ring(_read_contours(path), image.shape, path)
    if path.suffix == ".con":
        return _ring(medis_outlines(path, image), image.shape, path)
    if path.suffix == _WORKSPACE:
        outlines = cvi42_outlines(path, image)
        return None if outlines is None else _ring(outlines, image.shape, path)
    if path.suffix == ".png":
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if mask is None:
            raise CaseError(f"{path} is not an image")
        return _checked(mask, image.shape, path)
    header = _dicom_header(path)
    kind = "" if header is None else str(header.get("SOPClassUID", ""))
    if kind in (SEGMENTATION, STRUCTURES):
        return _read_object(path, image)
    return _checked(_read_image(path)[0][0], image.shape, path)


def _read_object(path: Path, image: MapImage) -> Labels:
    """Return the labels of a DICOM Segmentation or RT Structure Set."""
    import pydicom

    try:
        data = pydicom.dcmread(path)
        if data.SOPClassUID == STRUCTURES:
            return _ring(rt_outlines(data, path, image), image.shape, path)
        labels = seg_labels(data, path, image)
    except (CaseError, ImportError):
        raise
    except Exception as error:  # pydicom raises many kinds for a file that is damaged
        raise CaseError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    return _with_both(labels, image.shape, path)


def _ring(outlines: Outlines, shape: tuple[int, ...], path: Path) -> Labels:
    """Return the labels that contours enclose."""
    return _with_both(ring_labels(*outlines, (shape[0], shape[1])), shape, path)


def _with_both(labels: Labels, shape: tuple[int, ...], path: Path) -> Labels:
    for value, name in ((1, "inside the endocardial contour"), (2, "between the two contours")):
        if not (labels == value).any():
            raise CaseError(
                f"{path}: no pixel of the map, {shape[0]} rows of {shape[1]}, lies {name}; "
                "points are [x, y] in pixels of the map"
            )
    return labels


def _read_contours(path: Path) -> Outlines:
    """Return the contours of a JSON file, of myostream's layout or of the published study's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if is_study_layout(content):
            return study_outlines(content, path)
        endo, epi = (np.asarray(content[name], dtype=np.float64) for name in ("endo", "epi"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CaseError(f"{path} is not {{'endo': [[x, y], ...], 'epi': ...}}: {error}") from error
    return checked(path, endo, epi)


def _checked(labels: NDArray[Any], shape: tuple[int, ...], path: Path) -> Labels:
    if labels.shape != shape:
        raise CaseError(f"the mask of {path} is {labels.shape}, its image {shape}")
    if not set(np.unique(labels)) <= {0, 1, 2}:
        raise CaseError(f"the mask of {path} has other values than 0 background, 1 cavity, 2 myocardium")
    return labels.astype(np.uint8)


def _opened(path: Path) -> Any:
    try:
        return np.load(path)
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read: {error}") from error


def _stem(path: Path) -> str:
    for suffix in (*_READERS, *_CONTOURS, ".png"):
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return path.name


def _level(name: str) -> str:
    found = [
        level
        for level, word in _LEVELS.items()
        if re.search(rf"(?<![a-z]){word}(?![a-z])", name, re.IGNORECASE)
    ]
    return found[0] if len(found) == 1 else ""
