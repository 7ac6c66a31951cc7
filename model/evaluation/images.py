"""Reader of one image, or a stack of them, by the suffix of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.contours_in.dicom_objects import grid_of
from model.evaluation.contours_in.outlines import PixelGrid
from model.evaluation.errors import CaseError
from model.frame import Frame
from model.nifti import is_nifti


def read_image(path: Path) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return images ``(n, rows, columns)`` and pixel size (x, y), mm.

    Raises:
        CaseError: the suffix is not known, the file cannot be read, or it holds no image.
        ImportError: the package that reads it is not installed.
    """
    name = path.name.lower()
    reader = next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), None)
    if reader is None:
        raise CaseError(f"{path} is none of {', '.join(READERS)}")
    try:
        image, spacing = reader(path)
    except (CaseError, ImportError):
        raise
    except Exception as error:
        raise CaseError(f"{path} cannot be read: {error}") from error
    if image.ndim not in (2, 3):
        raise CaseError(f"{path} has {image.ndim} dimensions; it must be one image or a stack of them")
    image = real_image(image, spacing, path)
    return image.reshape(-1, *image.shape[-2:]), spacing


def real_image(image: NDArray[Any], spacing: tuple[float, float], path: Path) -> NDArray[np.float32]:
    """Return the values of images ``(..., rows, columns)``.

    Raises:
        CaseError: they are no real numbers, or no image has their shape or pixel size.
    """
    if image.dtype.kind not in "biuf":
        raise CaseError(f"{path} holds no real numbers ({image.dtype})")
    try:
        Frame(image.shape[-2:], spacing)
    except ValueError as error:
        raise CaseError(f"{path}: {error}") from error
    return image.astype(np.float32)


def dicom_header(path: Path) -> Any:
    """Return the header of a file that is named as DICOM; None for any other file.

    Raises:
        CaseError: it cannot be read.
    """
    if path.suffix.lower() != ".dcm":
        return None
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise CaseError(f"{path} cannot be read: {error}") from error


def stated_grid(path: Path) -> PixelGrid | None:
    """Return the grid of pixels that an image of DICOM or NIfTI states, else None.

    Raises:
        CaseError: it cannot be read.
    """
    if (header := dicom_header(path)) is not None:
        return grid_of(header)
    if not is_nifti(path):
        return None
    import nibabel

    header = nibabel.load(path).header
    affine = np.asarray(header.get_best_affine(), np.float64)
    coded = header["sform_code"] > 0 or header["qform_code"] > 0
    # Programs that know no place give the unit matrix, often with a code.
    stated = coded and np.isfinite(affine).all() and not np.array_equal(affine, np.eye(4))
    if not stated or np.linalg.det(affine) == 0.0:
        return None
    # NIfTI counts x first, and its axes go to the right and to the front (RAS).
    row, column, _, first = (np.diag([-1.0, -1.0, 1.0]) @ affine[:3]).T
    return PixelGrid.of(first, [*row, *column], [np.linalg.norm(column), np.linalg.norm(row)])


def _image_from_npz(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    with opened(path) as data:
        for needed in ("image", "pixel_spacing_mm"):
            if needed not in data:
                raise CaseError(f"{path} has no {needed}")
        return data["image"], npz_spacing(data)


def _image_from_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    import nibabel

    stored = nibabel.load(path)
    # NIfTI counts x first; rows are y.
    values = np.asarray(stored.dataobj)
    values = values.reshape(values.shape[0], values.shape[1], -1).transpose(2, 1, 0)
    zooms = stored.header.get_zooms()
    return values, (float(zooms[0]), float(zooms[1]))


def _image_from_dicom(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    import pydicom

    data = pydicom.dcmread(path)
    if "PixelSpacing" not in data:
        raise CaseError(
            f"{path} has no PixelSpacing; classic MR images, which state it, are read, "
            "and BINARY or FRACTIONAL segmentations"
        )
    values = data.pixel_array * float(getattr(data, "RescaleSlope", 1)) + float(
        getattr(data, "RescaleIntercept", 0)
    )
    between_rows, between_columns = data.PixelSpacing
    return values, (float(between_columns), float(between_rows))


def npz_spacing(data: Mapping[str, NDArray[Any]]) -> tuple[float, float]:
    """Return the pixel size (x, y), mm, of an npz file, which states one number or both."""
    x, y = np.broadcast_to(data["pixel_spacing_mm"], (2,))
    return float(x), float(y)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Give the arrays of an npz file, each of which is read when it is taken.

    Raises:
        CaseError: the file, or in the block one of its arrays, cannot be read.
    """
    try:
        with np.load(path) as data:
            yield data
    except CaseError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a file that is damaged
        raise CaseError(f"{path} cannot be read: {error}") from error


READERS: Final[dict[str, Callable[[Path], tuple[NDArray[Any], tuple[float, float]]]]] = {
    ".npz": _image_from_npz,
    ".nii.gz": _image_from_nifti,
    ".nii": _image_from_nifti,
    ".dcm": _image_from_dicom,
}
"""Reader of each suffix: values and pixel size (x, y), mm."""
