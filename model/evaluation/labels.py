"""Labels of a reader: from contours or masks, in any form that is read (``docs/data.md``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluation.contours_in.cvi42 import cvi42_outlines
from model.evaluation.contours_in.dicom_objects import SEGMENTATION, STRUCTURES, rt_outlines, seg_labels
from model.evaluation.contours_in.medis import medis_outlines
from model.evaluation.contours_in.outlines import (
    SAME_PLACE_MM,
    SAME_PLANE_MM,
    MapImage,
    Outlines,
    checked,
)
from model.evaluation.contours_in.study import is_study_layout, study_outlines
from model.evaluation.errors import CaseError
from model.evaluation.images import dicom_header, read_image, stated_grid
from model.nifti import is_nifti
from model.polygons import ring_labels

Labels = NDArray[np.uint8]

WORKSPACE: Final = ".cvi42wsx"
CONTOURS: Final = (".json", ".con", WORKSPACE)
"""Suffixes of files with contours, beside those of images and masks."""
_SAME_SIZE: Final = 0.01
"""Share by which the pixel size of a mask may differ from its map's."""
_HARDLY: Final = 0.1
"""Border of a cavity on background, as through a gap in its wall, by that on the wall (chosen)."""


def read_labels(path: Path, image: MapImage) -> Labels | None:
    """Return the labels of a file of contours or of a mask: 0 background, 1 LV cavity, 2 myocardium.

    Returns:
        None where a workspace has no contours of the map.

    Raises:
        CaseError: it cannot be read, or does not belong to the map.
        ImportError: the package that reads it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _ring(_read_contours(path), image.shape, path)
    if suffix == ".con":
        return _ring(medis_outlines(path, image), image.shape, path)
    if suffix == WORKSPACE:
        outlines = cvi42_outlines(path, image)
        return None if outlines is None else _ring(outlines, image.shape, path)
    if suffix == ".png":
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if mask is None:
            raise CaseError(f"{path} is not an image")
        return checked_mask(mask, image.shape, path)
    header = dicom_header(path)
    kind = "" if header is None else str(header.get("SOPClassUID", ""))
    if kind in (SEGMENTATION, STRUCTURES):
        return _read_object(path, image)
    layers, spacing = read_image(path)
    if len(layers) != 1:
        raise CaseError(
            f"{path} holds {len(layers)} images; a mask is one, with 1 for cavity and 2 for myocardium"
        )
    labels = checked_mask(layers[0], image.shape, path)
    _check_place(spacing, path, image)
    return labels


def _check_place(spacing: tuple[float, float], path: Path, image: MapImage) -> None:
    """Raise CaseError where a mask has another pixel size than its map, or states another place."""
    theirs = stated_grid(path)
    if theirs is None and spacing == (1.0, 1.0) and is_nifti(path):
        return  # as NIfTI has it where nothing was stated
    if image.spacing is not None and not np.allclose(spacing, image.spacing, rtol=_SAME_SIZE, atol=0.0):
        of_map, own = (f"{x:.4g} x {y:.4g} mm" for x, y in (image.spacing, spacing))
        raise CaseError(f"{path} has pixels of {own}, its map {image.file} of {of_map}")
    if theirs is None or image.grid is None:
        return
    in_plane, along_normal = image.grid.apart(theirs, image.shape)
    if in_plane > SAME_PLACE_MM or along_normal > SAME_PLANE_MM:
        raise CaseError(
            f"{path} is on another grid of pixels than {image.file}: up to {in_plane:.1f} mm apart in the "
            f"plane and {along_normal:.1f} mm along its normal; rows or columns may be in reverse order"
        )


def checked_mask(labels: NDArray[Any], shape: tuple[int, ...], path: Path) -> Labels:
    """Return a mask as labels.

    Raises:
        CaseError: it has another shape than its image, other values than 0, 1 and 2, or 1 and 2 exchanged.
    """
    if labels.shape != shape:
        raise CaseError(f"the mask of {path} is {labels.shape}, its image {shape}")
    if not set(np.unique(labels)) <= {0, 1, 2}:
        raise CaseError(f"the mask of {path} has other values than 0 background, 1 cavity, 2 myocardium")
    checked = labels.astype(np.uint8)
    if _are_exchanged(checked):
        raise CaseError(
            f"the mask of {path} has 1 and 2 exchanged: 2 lies inside of 1, but 1 is the cavity and 2 the "
            "myocardium around it"
        )
    return checked


def _are_exchanged(labels: Labels) -> bool:
    """Return whether 2 borders on hardly any background, but 1 on more of it than on 2.

    The wall borders on background around the ring, also where the image cuts it off, where it has a gap, and
    where it is a part of a ring.
    """
    first, second = (
        np.concatenate([labels[rows].ravel(), labels[:, rows].ravel()])
        for rows in (slice(1, None), slice(None, -1))
    )
    pairs = np.bincount(3 * first + second, minlength=9).reshape(3, 3)
    borders = pairs + pairs.T
    common = borders[1, 2]
    return bool(common and borders[0, 2] < _HARDLY * common and borders[0, 1] > common)


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
    except (OSError, ValueError, RecursionError) as error:
        raise CaseError(f"{path} cannot be read as JSON: {error}") from error
    try:
        if is_study_layout(content):
            return study_outlines(content, path)
        endo, epi = (np.asarray(content[name], dtype=np.float64) for name in ("endo", "epi"))
    except (ValueError, KeyError, TypeError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else error
        raise CaseError(f"{path} is not {{'endo': [[x, y], ...], 'epi': ...}}: {why}") from error
    return checked(path, endo, epi)
