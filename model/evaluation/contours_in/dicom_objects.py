"""Contours as DICOM objects: Segmentation (PS3.3, A.51) and RT Structure Set (A.19).

Structures are recognised by their names: labels of segments with the meanings of their codes, names of
regions of interest. ``right`` and ``RV`` at the beginning of a word exclude a structure,
atria and aorta too; anything but a letter separates words. ``LA`` and ``RA`` are initials of a reader in
the name of a structure of the left ventricle, and after endo or epi.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.evaluation.contours_in.outlines import (
    SAME_PLACE_MM,
    SAME_PLANE_MM,
    MapImage,
    Outlines,
    PixelGrid,
    checked,
    shown,
)
from model.evaluation.errors import CaseError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURES: Final = "1.2.840.10008.5.1.4.1.1.481.3"
# ``RV_endo``, ``RVendo``, ``endoRV``, ``LeftAtrium``, ``LA_endo``; not ``Bright``, ``Patrick``, ``endo_LA``.
_OTHER: Final = re.compile(
    r"(?<![a-zA-Z])(?i:right|rv)|[a-z](?:RV|Right)(?![a-z])|(?i:ventriculus dexter)"
    r"|(?<![a-zA-Z])(?i:atri|aort)|(?i:atri(?:a|um|al)|aort(?:a|ic))(?![a-z])"
    r"|^(?!.*(?:(?<![a-zA-Z])(?i:lv)|[a-z]LV|(?i:left.?ventric)))(?:(?!(?i:endo|epi)).)*?"
    r"(?<![a-zA-Z])(?:LA|RA)(?![a-zA-Z])",
    re.DOTALL,
)
_CAVITY: Final = re.compile(r"cavity|blood|lumen|endo", re.IGNORECASE)
_WALL: Final = re.compile(r"myocard|(?<![^\W_])wall(?![^\W_])", re.IGNORECASE)
_HEART: Final = re.compile(r"epi", re.IGNORECASE)

Labels = NDArray[np.uint8]


def grid_of(image: Dataset) -> PixelGrid | None:
    """Return the grid of a classic DICOM image, or None where it states none."""
    names = "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"
    try:
        return PixelGrid.of(*(image[name].value for name in names))
    except (KeyError, TypeError, ValueError):
        return None


def rt_outlines(data: Dataset, path: Path, image: MapImage) -> Outlines:
    """Return the contours of an RT Structure Set on a map.

    A contour belongs to the map if it refers to it or to a weighted image. Where it refers to no image, it
    must lie within 2 mm of the plane.

    Raises:
        CaseError: the map has no plane, or not one endocardial and one epicardial contour belong to it.
    """
    if image.grid is None:
        raise CaseError(
            f"{path} is in patient coordinates; {image.file} states no plane, as DICOM or NIfTI can"
        )
    names = {
        int(each.ROINumber): str(each.get("ROIName", ""))
        for each in data.get("StructureSetROISequence") or []
    }
    found: dict[str, list[Any]] = {"endo": [], "epi": []}
    for structure in data.get("ROIContourSequence") or []:
        border = _border(names.get(int(structure.ReferencedROINumber), ""))
        if border:
            found[border] += _on_plane(structure, path, image, image.grid)
    counts = {border: len(contours) for border, contours in found.items()}
    if set(counts.values()) != {1}:
        raise CaseError(
            f"{path}: {counts['endo']} endocardial and {counts['epi']} epicardial contours lie on "
            f"{image.file.name}, one of each is needed; its structures are named: {shown(names.values())}"
        )
    return checked(path, found["endo"][0], found["epi"][0])


def seg_labels(data: Dataset, path: Path, image: MapImage) -> Labels:
    """Return the labels of a Segmentation on a map: 0 background, 1 LV cavity, 2 myocardium.

    A frame belongs to the map if it refers to it or to a weighted image, or, where it refers to no image, if
    it lies on its plane. A fraction counts from one half on; a pixel of both segments is cavity.

    Raises:
        CaseError: there is no cavity or no myocardium on the map, or they lie on another grid of pixels.
    """
    kinds = {int(each.SegmentNumber): _kind(each) for each in data.get("SegmentSequence") or []}
    if not {1, 2} <= set(kinds.values()):
        labels = shown(str(each.get("SegmentLabel", "")) for each in data.get("SegmentSequence") or [])
        raise CaseError(
            f"{path} has no segments of LV cavity and myocardium; its segments are named: {labels}"
        )
    pixels = np.asarray(data.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    half = (
        float(data.get("MaximumFractionalValue", 1)) / 2.0 if data.SegmentationType == "FRACTIONAL" else 0.5
    )
    labels_ = np.zeros(image.shape, np.uint8)
    cavities: dict[int, NDArray[np.bool_]] = {}
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    for frame, groups in zip(pixels, data.PerFrameFunctionalGroupsSequence, strict=True):
        layers = [each for each in (groups, shared) if each is not None]
        number = int(_item(layers, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        kind = kinds.get(number, 0)
        if not kind or not _frame_on(layers, image):
            continue
        if frame.shape != image.shape:
            raise CaseError(f"{path} has {frame.shape[0]} x {frame.shape[1]} pixels, the map {image.shape}")
        _same_grid(layers, path, image)
        inside = frame >= half
        # Whatever the order of the frames: a wall may be drawn with the cavity, as an epicardial disc.
        labels_[inside if kind == 1 else inside & (labels_ != 1)] = kind
        if kind == 1 and inside.any():
            cavities[number] = inside | cavities.get(number, False)
    if _apart(list(cavities.values())):
        claimed = (each for each in data.SegmentSequence if int(each.SegmentNumber) in cavities)
        names = shown(each.get("SegmentLabel", "") for each in claimed)
        raise CaseError(
            f"{path}: the segments {names} count as LV cavity and lie apart on {image.file.name}; "
            "name those of the right ventricle RV and remove other chambers and vessels"
        )
    return labels_


def _apart(regions: list[NDArray[np.bool_]]) -> bool:
    """Return whether one of several regions neither overlaps nor touches any other."""
    return len(regions) > 1 and not all(
        any((ndimage.binary_dilation(region) & other).any() for other in regions if other is not region)
        for region in regions
    )


def _frame_on(layers: list[Dataset], image: MapImage) -> bool:
    derivation = _item(layers, "DerivationImageSequence")
    sources = derivation.get("SourceImageSequence") if derivation is not None else None
    if sources and image.instances:
        return any(str(each.ReferencedSOPInstanceUID) in image.instances for each in sources)
    position = _item(layers, "PlanePositionSequence")
    if position is None or image.grid is None:
        return False
    first = np.array([[float(each) for each in position.ImagePositionPatient]])
    return image.grid.to_pixels(first)[1] <= SAME_PLANE_MM


def _same_grid(layers: list[Dataset], path: Path, image: MapImage) -> None:
    """Raise CaseError where the pixels of a frame are not those of the map."""
    position, orientation, measures = (
        _item(layers, name)
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    if image.grid is None or position is None or orientation is None or measures is None:
        return
    theirs = PixelGrid.of(
        position.ImagePositionPatient, orientation.ImageOrientationPatient, measures.PixelSpacing
    )
    # Along the normal, the slice of a moved heart may differ a little.
    apart, _ = image.grid.apart(theirs, image.shape)
    if apart > SAME_PLACE_MM:
        raise CaseError(f"{path} is on another grid of pixels than {image.file}: {apart:.1f} mm apart")


def _on_plane(structure: Dataset, path: Path, image: MapImage, grid: PixelGrid) -> Iterator[Any]:
    for contour in structure.get("ContourSequence") or []:
        if not str(contour.get("ContourGeometricType", "CLOSED_PLANAR")).startswith("CLOSED"):
            continue  # a landmark or a line
        numbers = [float(each) for each in contour.get("ContourData") or []]
        if len(numbers) % 3 or len(numbers) < 9:
            raise CaseError(f"{path}: a contour has {len(numbers)} coordinates, not three for each point")
        pixels, distance = grid.to_pixels(np.array(numbers).reshape(-1, 3))
        referred = [str(each.ReferencedSOPInstanceUID) for each in contour.get("ContourImageSequence") or []]
        if referred and image.instances:
            belongs = not image.instances.isdisjoint(referred)
        else:
            belongs = distance <= SAME_PLANE_MM
        if belongs:
            yield pixels


def _kind(segment: Dataset) -> int:
    """Return 1 for a segment of the LV cavity, 2 for the myocardium, 0 for any other."""
    words = [str(segment.get("SegmentLabel", ""))]
    for name in ("SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence"):
        words += [str(code.get("CodeMeaning", "")) for code in segment.get(name) or []]
    if _OTHER.search(" ".join(words)):
        return 0
    # The label is the reader's; the codes say the more general.
    for text in words:
        if _CAVITY.search(text):
            return 1
        if _WALL.search(text):
            return 2
    return 0


def _border(name: str) -> str:
    if _OTHER.search(name):
        return ""
    return "epi" if _HEART.search(name) else "endo" if _CAVITY.search(name) else ""


def _item(layers: list[Dataset], name: str) -> Any:
    return next((items[0] for each in layers if (items := each.get(name))), None)
