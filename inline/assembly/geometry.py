"""Geometry of images from their MRD headers, their attributes and, where kept beside them, DICOM headers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from inline.assembly.dicom_json import DicomPlane
from inline.data.client_text import foreign, message
from inline.data.errors import SeriesError
from inline.data.geometry import SliceGeometry, perpendicular, usable_spacing
from inline.mrd.header import ReconSpace
from inline.mrd.image_header import ImageHeader, Triple
from inline.mrd.meta import Meta
from inline.mrd.text import number

Directions = tuple[Triple, Triple]

_SAME_SIZE: Final = 0.01
"""Tolerated relative difference of two pixel sizes: header fields have 32 bits, texts few digits."""
_SAME_SPACE: Final = 0.05
"""Likewise of an image and the header's reconstructed space, whose field of view may be rounded."""
_TOLERANCE_MM: Final = 1.95
"""Along the normal: positions of one slice differ by rounding and table motion, slices by more."""
_PARALLEL: Final = 0.999
"""Cosine of the angle between the normals of images of one slice, about 2.5 degrees."""
_SAME_DIRECTION: Final = 0.02
"""Difference of cosines that is rounding of their texts; the header has more digits."""
_REMEMBERED: Final = 512
"""Latest planes that an image is compared with; bounds the time for an image."""
_NAMED: Final = 4
"""Sizes that a sentence names at most."""
_OTHER_PLANE: Final = (
    "ImageRowDir and ImageColumnDir of the images lie in another plane than read_dir and phase_dir of their "
    "headers. The latter are used: check which are right, since septum, segments and patient coordinates "
    "depend on them."
)
_TURNED: Final = (
    "The images of the slice are turned or flipped against each other by their directions (ImageRowDir and "
    "ImageColumnDir, else read_dir and phase_dir; DICOM). Those of the last image are used: check which are "
    "right, since septum, segments and patient coordinates depend on them."
)
_RESIZED: Final = (
    "The images of the slice have pixels of different sizes ({}). Those of the last image are used: check "
    "whether all images belong to the slice, since thickness and contours depend on them."
)
_NO_POSITION: Final = (
    "The position ({:g}, {:g}, {:g}) of the image headers is not finite: it gives no level, and contours "
    "have no patient coordinates."
)
_NO_DICOM_POSITION: Final = (
    "ImagePositionPatient of DICOM is missing or not usable: the image gives no level by its position, and "
    "contours have no patient coordinates."
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Geometry of an image and its reliability.

    Attributes:
        geometry: its plane.
        header: the image's header with that field of view and position.
        contradiction: difference between the image's header and DICOM, its attributes or the measurement's
            header, in sentences; empty where they agree.
        note: a sentence on a position that cannot be used, or empty.
    """

    geometry: SliceGeometry
    header: ImageHeader
    contradiction: str = ""
    note: str = ""


def stated_directions(meta: Meta) -> Directions | None:
    """Return the directions by ``ImageRowDir`` and ``ImageColumnDir``; None where they are not both usable.

    ``read_dir`` and ``phase_dir`` stay those of the acquisition where a reconstruction flips or turns the
    image (ismrmrd, ``doc/mrd_image_data.md``).
    """
    row, column = (_triple_of(meta.get(name, ())) for name in ("ImageRowDir", "ImageColumnDir"))
    return (row, column) if row and column and perpendicular(row, column) else None


def _triple_of(texts: Sequence[str]) -> Triple | None:
    values = [value for text in texts if (value := number(text, 2.0)) is not None]
    return _triple(values) if len(values) == len(texts) == 3 else None


def read_geometry(
    header: ImageHeader,
    dicom: DicomPlane | None = None,
    unusable: str = "",
    spaces: Sequence[ReconSpace] = (),
    stated: Directions | None = None,
) -> Placed:
    """Return the geometry of an image; what DICOM states wins over the MRD header.

    ``dicom2mrd`` of python-ismrmrd-server exchanges the sides of the field of view, and writes the place of
    the first pixel for that of the centre.

    Args:
        header: of the image.
        dicom: plane by DICOM; None without.
        unusable: PixelSpacing of DICOM that is no pixel size, for the error message; or empty.
        spaces: reconstructed spaces of the measurement's header, to compare with where there is no DICOM.
        stated: directions by the image's attributes, used where DICOM states none.

    Raises:
        SeriesError: there is no usable pixel size.
    """
    columns, rows, _ = header.matrix_size
    spacing = _pixel_size(header)
    contradiction = ""
    if dicom is not None:
        if not np.allclose(spacing, dicom.spacing, rtol=_SAME_SIZE, atol=0.0):
            contradiction = (
                f"The field of view in the image headers gives pixels of {spacing[0]:.3g} x {spacing[1]:.3g} "
                f"mm; PixelSpacing of DICOM, {dicom.spacing[0]:.3g} x {dicom.spacing[1]:.3g} mm, is used."
            )
            spacing = dicom.spacing
    elif not usable_spacing(spacing):
        if unusable:
            raise SeriesError(
                message(
                    "PixelSpacing {} of DICOM is no pixel size in mm (0.05 to 20); export the images again",
                    foreign(unusable, shown=repr(unusable)),
                )
            )
        raise SeriesError(
            f"pixels of {spacing[0]:.3g} x {spacing[1]:.3g} mm are not usable (0.05 to 20 mm); state their "
            "size: PixelSpacing (DICOM), pixel_spacing_mm or --spacing (arrays), or field_of_view in the "
            "image headers (MRD)"
        )
    else:
        contradiction = _contradiction((columns, rows), spacing, spaces)
    (row, column), other_plane = _directions(header, dicom, stated)
    position = header.position
    table = header.patient_table_position if all(map(math.isfinite, header.patient_table_position)) else None
    positioned = all(map(math.isfinite, position))
    if not positioned:
        position = (0.0, 0.0, 0.0)
    if dicom is not None and dicom.directions is not None and dicom.first_pixel is not None:
        to_centre = np.array(row) * columns / 2 * spacing[0] + np.array(column) * rows / 2 * spacing[1]
        position, positioned, table = _triple(np.array(dicom.first_pixel) + to_centre), True, None
    elif other_plane:
        contradiction = " ".join(filter(None, (contradiction, _OTHER_PLANE)))
    oriented = perpendicular(row, column)
    if not oriented:
        row, column = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
    along, across = np.array(header.slice_dir), np.cross(row, column)
    lengths = float(np.linalg.norm(along) * np.linalg.norm(across))
    rising = oriented and lengths > 0.5 and abs(float(along @ across)) > 0.98 * lengths
    geometry = SliceGeometry(
        position=position,
        row_direction=row,
        column_direction=column,
        spacing=spacing,
        shape=(rows, columns),
        slice_direction=header.slice_dir if rising else None,
        oriented=oriented,
        positioned=positioned,
        table=table,
    )
    if dicom is not None:
        size = (columns * spacing[0], rows * spacing[1], header.field_of_view[2])
        header = replace(header, field_of_view=size, position=position)
    note = _NO_POSITION.format(*header.position) if dicom is None else _NO_DICOM_POSITION
    return Placed(geometry, header, contradiction, "" if positioned or not oriented else note)


def differing_directions(images: Iterable[tuple[ImageHeader, DicomPlane | None, Directions | None]]) -> str:
    """Return a sentence if images of one slice are turned or flipped against each other; else nothing.

    Args:
        images: header, plane by DICOM, and directions by attributes of each, as :func:`read_geometry` takes
            them. Those without usable directions are passed over.
    """
    found = [pair for image in images if perpendicular(*(pair := _directions(*image)[0]))]
    alike = (np.einsum("ij,ij->i", pair, found[-1]).min() > _PARALLEL for pair in found)
    return "" if all(alike) else _TURNED


def differing_sizes(images: Iterable[tuple[ImageHeader, DicomPlane | None]]) -> str:
    """Return a sentence if images of one slice have pixels of different sizes; else nothing.

    Args:
        images: header and plane by DICOM of each. Those without a usable size are passed over.
    """
    sizes = (_pixel_size(header) if dicom is None else dicom.spacing for header, dicom in images)
    found = [*filter(usable_spacing, sizes)]
    if not found or np.allclose(found, found[-1], rtol=_SAME_SIZE, atol=0.0):
        return ""
    named = dict.fromkeys(f"{x:.3g} x {y:.3g} mm" for x, y in found)
    return _RESIZED.format("; ".join([*named][:_NAMED]))


def _pixel_size(header: ImageHeader) -> tuple[float, float]:
    columns, rows, _ = header.matrix_size
    width, height, _ = header.field_of_view
    return width / columns, height / rows


def _directions(
    header: ImageHeader, dicom: DicomPlane | None, stated: Directions | None
) -> tuple[Directions, bool]:
    """Return the directions of an image, and whether its attributes lie in another plane than its header."""
    own = header.read_dir, header.phase_dir
    if dicom is not None and dicom.directions is not None:
        row, column = dicom.directions
        return (_triple(row), _triple(column)), False
    if stated is None or np.allclose(own, stated, rtol=0.0, atol=_SAME_DIRECTION):
        return own, False
    if perpendicular(*own) and not _parallel(own, stated):
        return own, True
    return stated, False


def _contradiction(
    matrix: tuple[int, int], spacing: tuple[float, float], spaces: Sequence[ReconSpace]
) -> str:
    """Return a sentence if all reconstructed spaces of an image's matrix have other pixels; else nothing.

    Reconstructions may exchange the axes.
    """
    stated = [(each.width / each.columns, each.height / each.rows) for each in spaces if each[:2] == matrix]
    same = (np.allclose(sorted(each), sorted(spacing), rtol=_SAME_SPACE, atol=0.0) for each in stated)
    if not stated or any(same):
        return ""
    return (
        f"The field of view in the image headers gives pixels of {spacing[0]:.3g} x {spacing[1]:.3g} mm, and "
        f"reconSpace of the header {stated[0][0]:.3g} x {stated[0][1]:.3g} mm for the same matrix. The "
        "former are used: check which are right, since contours depend on them."
    )


@dataclass(slots=True)
class Planes:
    """Planes of the images of a connection, numbered in the order of their first image."""

    _found: deque[tuple[int, np.ndarray, np.ndarray]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED)
    )
    _count: int = 0

    def number(self, header: ImageHeader) -> int:
        """Return the number of an image's plane; -1 where its position is not known."""
        position = np.array(header.position, dtype=np.float64)
        if not np.isfinite(position).all():
            return -1
        normal = np.zeros(3)
        if all(map(math.isfinite, (*header.read_dir, *header.phase_dir))):
            across = np.cross(header.read_dir, header.phase_dir)
            length = float(np.linalg.norm(across))
            normal = across / length if length > 0.5 else normal
        for known, place, direction in self._found:
            if _same(position - place, normal, direction):
                return known
        self._found.append((self._count, position, normal))
        self._count += 1
        return self._count - 1


def _same(apart: np.ndarray, normal: np.ndarray, other: np.ndarray) -> bool:
    if not normal.any() and not other.any():
        return float(np.linalg.norm(apart)) <= _TOLERANCE_MM
    return abs(float(normal @ other)) > _PARALLEL and abs(float(normal @ apart)) <= _TOLERANCE_MM


def _parallel(one: Directions, other: Directions) -> bool:
    normals = (np.cross(*one), np.cross(*other))
    lengths = float(np.linalg.norm(normals[0]) * np.linalg.norm(normals[1]))
    return abs(float(normals[0] @ normals[1])) > _PARALLEL * lengths


def _triple(vector: Iterable[float]) -> Triple:
    x, y, z = map(float, vector)
    return x, y, z
