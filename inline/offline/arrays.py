"""Reader of arrays with times given: numpy's npz and npy, BART's cfl and hdr."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.examination import AcquiredExamination, of_images
from inline.assembly.image_metadata import TIME_NAMES
from inline.data.errors import SourceError
from inline.data.series import Quantity
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import DATA_TYPES, ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.offline.limits import check_regular, check_size
from inline.settings import AssemblySettings

_SUFFIXES: Final = (".npz", ".npy", ".cfl", ".hdr")
_BART_SLICE: Final = 13
"""Dimension of the slices (mrirecon/bart, src/misc/mri.h)."""
_STORED: Final = {Quantity.T1: "inversion_times_ms", Quantity.T2: "preparation_times_ms"}
_OPTIONS: Final = {Quantity.T1: "--ti", Quantity.T2: "--te"}
_SPACING_AS_TYPED: Final = 1e-3
"""Relative difference up to which a pixel size of the command line is that of the file, rounded."""
_SQUARE: Final = 1.2
"""Quotient of the sides of a pixel up to which no note is made."""
_OBLONG: Final = (
    "--spacing states pixels of {:g} x {:g} mm. Write decimals with a point: a comma parts X and Y."
)


@dataclass(frozen=True, slots=True)
class ArrayOptions:
    """Times and pixel size of arrays that do not state them; those of a file that states others are an error.

    Attributes:
        times_ms: inversion (T1) or preparation times (T2) in the order of the images; empty where not given.
        spacing: pixel size (x, y), mm; None where not given.
    """

    times_ms: tuple[tuple[Quantity, tuple[float, ...]], ...] = ()
    spacing: tuple[float, float] | None = None


def is_array(path: Path) -> bool:
    """Return whether a file has a name of an array."""
    return path.suffix.lower() in _SUFFIXES


def bart_files(file: Path) -> tuple[Path, Path]:
    """Return the header and the data of the BART array that a file is one of."""
    names = (".HDR", ".CFL") if file.suffix.isupper() else (".hdr", ".cfl")
    return file.with_suffix(names[0]), file.with_suffix(names[1])


def read_array(file: Path, options: ArrayOptions, settings: AssemblySettings) -> AcquiredExamination:
    """Return the examination of an array of images.

    An npz has ``images`` ``(n, rows, columns)`` or ``(n, slices, rows, columns)``. It may have
    ``inversion_times_ms`` or ``preparation_times_ms`` ``(n,)``, and ``pixel_spacing_mm``, one number or
    (x, y).
    BART's dimension 0 are the columns, 1 the rows, 13 the slices; one other dimension has the images.

    Raises:
        SourceError: the file cannot be read, or times or pixel size are not known, or the options give others
            than the file states.
    """
    images, stored = _bart(file) if file.suffix.lower() in (".cfl", ".hdr") else _numpy(file)
    quantity, times = _times(file, options, stored)
    spacing = _spacing(file, options, stored)
    shape = images.shape
    # A last axis of 1 is that of the slices, or of a channel.
    if images.ndim not in (3, 4) or shape[-1] == 1:
        raise SourceError(
            f"{file} has images of the shape {shape}; (n, rows, columns) or (n, slices, rows, columns) is "
            "read"
        )
    if len(images) != len(times):
        last = f"; its shape is {shape}, and images come first: (n, rows, columns)"
        raise SourceError(
            f"{file} has {len(images)} images, and {len(times)} times are given"
            + (last if shape[-1] == len(times) else "")
        )
    images = images if images.ndim == 4 else images[:, None]
    count, slices, rows, columns = images.shape
    if max(count, slices, rows, columns) > 65_535:
        raise SourceError(f"{file} has the shape {images.shape}; at most 65535 of each are read")
    check_size(file, (rows, columns), images.itemsize)
    header = ImageHeader(
        field_of_view=(columns * spacing[0], rows * spacing[1], 0.0),
        position=(float("nan"),) * 3,
        read_dir=(0.0, 0.0, 0.0),
        phase_dir=(0.0, 0.0, 0.0),
        slice_dir=(0.0, 0.0, 0.0),
        patient_table_position=(float("nan"),) * 3,
        image_type=ImageType.COMPLEX if np.iscomplexobj(images) else ImageType.MAGNITUDE,
    )
    made = (
        _image(images[number, slice_], header, file, quantity, times[number], (slice_, number))
        for slice_ in range(slices)
        for number in range(count)
    )
    about = MeasurementHeader(protocol_name=f"{quantity} mapping")
    x, y = spacing
    notes = [_OBLONG.format(x, y)] if options.spacing and max(x, y) > _SQUARE * min(x, y) else []
    return of_images(str(file), made, about, settings, notes)


def _image(
    pixels: NDArray[Any],
    header: ImageHeader,
    file: Path,
    quantity: Quantity,
    time: float,
    place: tuple[int, int],
) -> Image:
    little = pixels.dtype.newbyteorder("<")
    if little not in DATA_TYPES.values():
        pixels = pixels.astype(np.float32)
    counted = replace(header, slice=place[0], set=place[1], image_index=place[1] + 1)
    # The first description states the quantity. The others, names of the file, may state saturation recovery,
    # motion correction, contrast agent and level.
    meta = {
        "SequenceDescription": f"{quantity} mapping",
        "SeriesDescription": file.stem,
        "SequenceDescriptionAdditional": f"_{file.stem}",
        TIME_NAMES[quantity]: f"{time:.10g}",
    }
    return Image.from_pixels(np.ascontiguousarray(pixels)[None, None], counted, meta)


def _times(
    file: Path, options: ArrayOptions, stored: dict[str, NDArray[Any]]
) -> tuple[Quantity, tuple[float, ...]]:
    """Return the times of the command line, which agree with those of the file, else those of the file."""
    stated = {
        quantity: tuple(map(float, stored[name].ravel()))
        for quantity, name in _STORED.items()
        if name in stored
    }
    for quantity, times in options.times_ms if stated else ():
        if not _same(stated.get(quantity, ()), times):
            raise SourceError(
                f"{file} states its times itself, and {_OPTIONS[quantity]} gives others; process it without"
            )
    given = dict(options.times_ms) or stated
    if len(given) != 1:
        several = "are given twice" if given else "are not known"
        ways = " or ".join(f"{_OPTIONS[q]} ({name})" for q, name in _STORED.items())
        raise SourceError(f"the times of the images in {file} {several}; give {ways} in ms")
    ((quantity, times),) = given.items()
    if max(times, default=0.0) < 0.0:
        raise SourceError(f"{_STORED[quantity]} of {file} must be at least 0 ms, not {min(times):g}")
    return quantity, times


def _spacing(file: Path, options: ArrayOptions, stored: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Return the pixel size of the file, else that of the command line."""
    if "pixel_spacing_mm" not in stored:
        if options.spacing is not None:
            return options.spacing
        raise SourceError(
            f"{file} states no pixel size; give --spacing, or the array pixel_spacing_mm of an npz, in mm"
        )
    try:
        x, y = np.broadcast_to(stored["pixel_spacing_mm"].astype(np.float64), (2,)).tolist()
    except ValueError as error:
        raise SourceError(f"{file}: pixel_spacing_mm is one number or (x, y) in mm") from error
    if options.spacing is not None and not _same((x, y), options.spacing, _SPACING_AS_TYPED):
        raise SourceError(
            f"{file} states pixels of {x:g} x {y:g} mm, and --spacing gives others; process it without"
        )
    return x, y


def _same(one: Sequence[float], other: Sequence[float], tolerance: float = 1e-5) -> bool:
    """Return whether numbers are the same, those of float32 and of a text among them."""
    return len(one) == len(other) and np.allclose(one, other, rtol=tolerance, atol=0.0)


def _numpy(file: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return _numeric(content, file), {}
        with content:
            if "images" not in content:
                raise SourceError(f"{file} has no array 'images'; it has: {', '.join(content.files)}")
            others = [name for name in (*_STORED.values(), "pixel_spacing_mm") if name in content]
            members = {f"{name}{suffix}" for name in ("images", *others) for suffix in ("", ".npy")}
            # zipfile reads no more of a member than this, and numpy makes no array of less than it states.
            stored = [each.file_size for each in content.zip.infolist() if each.filename in members]
            check_size(file, (sum(stored), 1, 1), 1)
            return _numeric(content["images"], file), {
                name: _real(content[name], name, file) for name in others
            }
    except SourceError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a file that is damaged
        raise SourceError(f"{file} cannot be read: {' '.join(str(error).split())}") from error


def _numeric(array: NDArray[Any], file: Path) -> NDArray[Any]:
    if array.dtype.kind not in "biufc":
        raise SourceError(f"{file} holds {array.dtype}, not numbers")
    return array


def _real(array: NDArray[Any], name: str, file: Path) -> NDArray[Any]:
    if array.dtype.kind not in "iuf":
        raise SourceError(f"{name} of {file} is {array.dtype}, not real numbers")
    return array


def _bart(file: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Return images ``(n, slices, rows, columns)`` of a cfl with its hdr."""
    head, data = bart_files(file)
    try:
        check_regular(head)
        check_regular(data)
        lines = head.read_text(encoding="ascii", errors="replace").splitlines()
        if (at := next((n for n, line in enumerate(lines) if line.startswith("# Dimensions")), None)) is None:
            raise SourceError(
                f"{head} is no header of BART, which has a line '# Dimensions'; convert Analyze and NIfTI "
                "pairs (.hdr, .img) to .nii"
            )
        shape = [int(size) for size in lines[at + 1].split()]
    except (OSError, IndexError, ValueError) as error:
        raise SourceError(f"{head} cannot be read as a header of BART ({type(error).__name__})") from error
    shape += [1] * (16 - len(shape))
    long = [place for place, size in enumerate(shape) if size > 1 and place not in (0, 1, _BART_SLICE)]
    if min(shape) < 1 or len(long) > 1:
        states = " x ".join(map(str, shape))
        raise SourceError(f"{head} states {states}; columns, rows, images and slices are read")
    try:
        # Fortran order, complex numbers of 64 bits (mrirecon/bart, doc/README).
        values = np.memmap(data, dtype="<c8", mode="r", shape=tuple(shape), order="F")
    except (OSError, ValueError) as error:
        raise SourceError(f"{data} cannot be read, or is shorter than its header states: {error}") from error
    times = long[0] if long else 5
    order = (times, _BART_SLICE, 1, 0)
    rest = [place for place in range(len(shape)) if place not in order]
    return np.transpose(values, (*order, *rest)).reshape([shape[place] for place in order]), {}
