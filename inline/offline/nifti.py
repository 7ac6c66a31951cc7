"""Reader of NIfTI images with BIDS sidecars: ``IRT1``, ``T1map`` and ``T2map``.

BIDS 1.10, Quantitative MRI: the images of an inversion recovery are files that differ in the entity ``inv``,
each with its ``InversionTime`` in s in the sidecar of its name; maps hold seconds, or the ``Units`` of their
sidecar.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Assembled, Ready
from inline.assembly.examination import AcquiredExamination, of_images
from inline.data.errors import SourceError
from inline.data.flags import Flag
from inline.data.folders import files_below
from inline.mrd.header import MeasurementHeader, tesla
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from inline.offline.limits import check_regular, check_size
from inline.settings import AssemblySettings
from model.nifti import is_nifti

_NAME: Final = re.compile(r"(?P<base>.*?)_?(?P<suffix>IRT1|T1map|T2map)(?i:\.nii(?:\.gz)?)")
_PARTS: Final = {
    "mag": ImageType.MAGNITUDE,
    "phase": ImageType.PHASE,
    "real": ImageType.REAL,
    "imag": ImageType.IMAGINARY,
}
_ENTITY: Final = re.compile(r"(?:^|_)(inv|part)-([A-Za-z0-9]+)")
_IN_DATA_SET: Final = re.compile(r"anat|(?:sub|ses)-[A-Za-z0-9+]+")
"""Names of the folders below the top of a BIDS data set."""
OTHER_SUFFIX: Final = "NIfTI image without the suffix IRT1, T1map or T2map"
"""Reason why a file of a folder is not read."""
_LONGEST_STATED: Final = 1e6
"""Inversion time above which it is one in neither s nor ms."""
_LARGEST_SIDECAR: Final = 1 << 22
"""Bytes of a sidecar that are read."""
_SHOWN: Final = 64
"""Characters of a value that a message shows."""
_UNITS_MS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1000.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1.0),
    **dict.fromkeys(("us", "µs", "\u03bcs", "usec", "microsecond", "microseconds"), 0.001),
}
"""Size of the ``Units`` of a map, ms."""
_LONGEST_S: Final = 60.0
"""Median of inversion times above which they cannot be in s."""
_IN_MS: Final = (
    "InversionTime of the sidecars was taken for ms, by its size; BIDS states it in s. Correct the sidecars."
)
_MM: Final = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}


def images_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that have a name of NIfTI; what cannot be listed is left out."""
    return filter(is_nifti, files_below(folder, lambda error: None))


def is_named(file: Path) -> bool:
    """Return whether a file is named by a suffix that is read."""
    return _NAME.fullmatch(file.name) is not None


def find(paths: Sequence[Path]) -> tuple[list[tuple[Path, ...]], int]:
    """Return the files of each series, and the number of files in folders that are named by another suffix.

    A series is a map, or the images of an inversion recovery, each once. Of one file of an inversion
    recovery, the others of its folder are found.

    Raises:
        SourceError: a file is named by another suffix than the three.
    """
    series: dict[tuple[str, str, str], dict[str, Path]] = {}
    unnamed = set[str]()
    for path in paths:
        for file in images_below(path) if path.is_dir() else [path]:
            name = _NAME.fullmatch(file.name)
            if name is None:
                if path.is_dir():
                    unnamed.add(os.path.realpath(file))
                    continue
                raise SourceError(f"{file} is named by no suffix that is read: _IRT1, _T1map or _T2map")
            base = _ENTITY.sub("", name["base"]) if name["suffix"] == "IRT1" else name["base"]
            # Several paths may lead to a folder. Links to files alone are not followed: DataLad's lead away.
            known = series.setdefault((os.path.realpath(file.parent), base, name["suffix"]), {})
            others = file.parent.glob("*_IRT1.*") if name["suffix"] == "IRT1" else ()
            for each in (file, *(other for other in others if _same(other, base))):
                known.setdefault(each.name, each)
    return [tuple(sorted(files.values(), key=_inversion)) for files in series.values()], len(unnamed)


def read_nifti(files: Sequence[Path], settings: AssemblySettings) -> AcquiredExamination:
    """Return the examination of one series of :func:`find`.

    Raises:
        SourceError: a file or its sidecar cannot be read, or an image is there twice, compressed and not.
        ImportError: nibabel is not installed.
    """
    for one, other in pairwise(files):
        if _sidecar(one) == _sidecar(other):
            raise SourceError(f"{one} and {other} are both {_sidecar(one).stem}; remove one of them")
    name = _NAME.fullmatch(files[0].name)
    assert name is not None
    quantity = name["suffix"][:2]
    images: list[Image] = []
    flags: list[Flag] = []
    notes: list[str] = []
    expected = 1
    if name["suffix"] != "IRT1":
        meta = {"DataRole": quantity}
        if unit := _unit_ms(files[0]):
            meta |= {"RescaleSlope": f"{unit:g}", "RescaleIntercept": "0"}
        else:
            settings = settings.model_copy(update={f"{quantity.lower()}_map_scale": _UNITS_MS["s"]})
        images += _slices(files[0], [meta], name["base"], 0)
    else:
        times = {file: _inversion_times(file) for file in files}
        by_part = Counter[str]()
        for file, own in times.items():
            by_part[_part(file)] += len(own)
        expected = max(by_part.values())
        in_ms = median(chain.from_iterable(times.values())) > _LONGEST_S
        for file, own in times.items():
            meta_of = [{"InversionTime": f"{(1.0 if in_ms else 1000.0) * time:.10g}"} for time in own]
            images += _slices(file, meta_of, name["base"], len(images))
        if in_ms:
            flags.append(Flag.CONVERTED_UNIT)
            notes.append(_IN_MS)
        if numbers := _without_image(files):
            named = ", ".join(f"inv-{each}" for each in numbers)
            flags.append(Flag.MISSING_IMAGES)
            notes.append(f"Images are missing: no file is named {named}.")
    quantity_name = "T1 mapping (inversion recovery)" if name["suffix"] == "IRT1" else f"{quantity} map"
    header = MeasurementHeader(protocol_name=quantity_name, field_strength=_field_strength(files[0]))
    examination = of_images(str(files[0]), images, header, settings)
    noted = (
        replace(each, flags=tuple(dict.fromkeys((*each.flags, *flags))), notes=(*each.notes, *notes))
        for each in _lacking(examination.series, expected)
    )
    return replace(examination, series=tuple(noted))


def _lacking(series: Sequence[Assembled], expected: int) -> Iterator[Assembled]:
    """Yield series; those of a slice of which images form no series, as of another plane, are flagged.

    Args:
        series: of one inversion recovery or map.
        expected: number of images of a slice, of each part.
    """
    ready = Counter[tuple[int, int]]()
    for each in series:
        ready[_slice_and_part(each)] += each.images if isinstance(each, Ready) else 0
    for each in series:
        lack = expected - ready[_slice_and_part(each)]
        if lack > 0 and isinstance(each, Ready):
            verb = "is" if lack == 1 else "are"
            why = "not there or not of this matrix and position"
            note = f"Images are missing: {lack} of {expected} {verb} {why}."
            yield replace(each, flags=(*each.flags, Flag.MISSING_IMAGES), notes=(*each.notes, note))
        else:
            yield each


def _slice_and_part(series: Assembled) -> tuple[int, int]:
    return series.identity.slice_index, series.template.image_type


def _without_image(files: Sequence[Path]) -> list[int]:
    """Return the numbers ``inv`` that no image of a series has: its gaps, and those with a sidecar alone."""
    name = _NAME.fullmatch(files[0].name)
    there = {_number(file) for file in files}
    if name is None or None in there:
        return []
    numbers = [each for each in there if each is not None]
    base = _ENTITY.sub("", name["base"])
    parts = {_part(file) for file in files}
    sidecars = (each for each in files[0].parent.glob("*_IRT1.json") if _same(each.with_suffix(".nii"), base))
    found = {_number(each) for each in sidecars if _part(each) in parts}
    # Numbers that lack more than are there count no images; those at equal steps count them otherwise.
    steps = {later - earlier for earlier, later in pairwise(sorted(numbers))}
    if len(steps) > 1 and max(numbers) - min(numbers) < 2 * len(numbers):
        found.update(range(min(numbers), max(numbers)))
    return sorted(each for each in found - there if each is not None)


def _slices(file: Path, meta: Sequence[dict[str, str]], description: str, before: int) -> Iterator[Image]:
    """Yield the slices of a file as MRD images; the fourth axis has one entry for each of ``meta``."""
    import nibabel

    try:
        check_regular(file)
        stored = nibabel.load(file)
        shape = (*stored.shape, 1, 1)[:4] if len(stored.shape) < 5 else stored.shape
        if len(shape) != 4 or shape[3] != len(meta):
            raise SourceError(
                f"{file} has the shape {stored.shape}; columns, rows, slices and {len(meta)} times are read"
            )
        is_complex = stored.get_data_dtype().kind == "c"
        if is_complex and "DataRole" in meta[0]:
            raise SourceError(f"{file} has complex values; a map is real")
        # A part that is stored in a complex type is real all the same.
        is_complex &= _PARTS.get(_part(file), ImageType.MAGNITUDE) == ImageType.MAGNITUDE
        kind = np.complex64 if is_complex else np.float32
        # Scaled pixels are read as float64.
        check_size(file, shape[::-1], max(stored.get_data_dtype().itemsize, 8))
        affine = np.asarray(stored.affine, dtype=np.float64)
        affine[:3] *= _MM.get(stored.header.get_xyzt_units()[0], 1.0)
        # Without either code a file states pixel sizes alone (nifti1.h, method 1): the affine of nibabel has
        # these, and invents the rest.
        oriented = any(int(stored.header[code]) > 0 for code in ("qform_code", "sform_code"))
        for slice_ in range(shape[2]):
            place = _place(affine, shape[0], shape[1], slice_, file)
            place = place if oriented else _unoriented(place)
            for number, each in enumerate(meta):
                index = (slice(None), slice(None), *(slice_, number)[: len(stored.shape) - 2])
                # NIfTI counts x first; rows are y.
                read = stored.dataobj[index] if is_complex else np.real(stored.dataobj[index])
                pixels = np.asarray(read, dtype=kind).reshape(shape[:2]).T
                header = _counted(place, slice_, before + number, file)
                header = replace(header, image_type=ImageType.COMPLEX) if is_complex else header
                values: dict[str, MetaValue] = {"SequenceDescription": description, **each}
                yield Image.from_pixels(np.ascontiguousarray(pixels)[None, None], header, values)
    except (SourceError, ImportError):
        raise
    except Exception as error:  # nibabel raises many kinds for a file that is damaged
        raise SourceError(f"{file} cannot be read as NIfTI: {' '.join(str(error).split())}") from error


def _counted(place: ImageHeader, slice_: int, number: int, file: Path) -> ImageHeader:
    return replace(
        place,
        slice=slice_,
        set=number,
        image_index=number + 1,
        image_type=_PARTS.get(_part(file), ImageType.MAGNITUDE),
    )


def _place(affine: NDArray[np.float64], columns: int, rows: int, slice_: int, file: Path) -> ImageHeader:
    """Return the MRD header of a slice: LPS from the RAS of NIfTI."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    if not (np.isfinite(lps).all() and (sizes[:2] > 0.0).all()):
        raise SourceError(f"{file} states no pixel size")
    row, column = lps[:3, 0] / sizes[0], lps[:3, 1] / sizes[1]
    along = lps[:3, 2] / sizes[2] if sizes[2] > 0.0 else np.cross(row, column)
    middle = lps @ np.array([columns / 2, rows / 2, slice_, 1.0])
    return ImageHeader(
        field_of_view=(columns * float(sizes[0]), rows * float(sizes[1]), float(sizes[2])),
        position=(float(middle[0]), float(middle[1]), float(middle[2])),
        read_dir=(float(row[0]), float(row[1]), float(row[2])),
        phase_dir=(float(column[0]), float(column[1]), float(column[2])),
        slice_dir=(float(along[0]), float(along[1]), float(along[2])),
        patient_table_position=(float("nan"),) * 3,
    )


def _unoriented(place: ImageHeader) -> ImageHeader:
    none = (0.0, 0.0, 0.0)
    return replace(place, position=(float("nan"),) * 3, read_dir=none, phase_dir=none, slice_dir=none)


def _inversion_times(file: Path) -> list[float]:
    """Return the inversion times of a file as stated: one, or one for each entry of its fourth axis."""
    stated, sidecar = _stated(file, "InversionTime")
    if stated is None or stated == []:
        raise SourceError(f"{file} has no sidecar {_sidecar(file).name} with its InversionTime")
    times = list(map(_real_number, stated if isinstance(stated, list) else [stated]))
    usable = [time for time in times if time is not None and abs(time) < _LONGEST_STATED]
    if len(usable) < len(times):
        raise SourceError(f"{sidecar} states InversionTime {str(stated)[:_SHOWN]!r}, which is no time in s")
    return usable


def _unit_ms(file: Path) -> float | None:
    """Return the size of the unit of a map that its sidecar states, ms; None without, as of seconds."""
    stated, sidecar = _stated(file, "Units", ...)
    if stated is ...:
        return None
    if not isinstance(stated, str) or stated.strip() not in _UNITS_MS:
        raise SourceError(
            f"{sidecar} states Units {str(stated)[:_SHOWN]!r}, which is no unit of time; write s, ms or us"
        )
    return _UNITS_MS[stated.strip()]


def _field_strength(file: Path) -> float:
    """Return the field strength that the sidecar of a file states, tesla; 0 where it states none."""
    stated, _ = _stated(file, "MagneticFieldStrength", needed=False)
    return tesla(_real_number(stated))


def _real_number(stated: Any) -> float | None:
    """Return a finite number of a sidecar, as JSON's number or as a text; None where it is none."""
    with suppress(TypeError, ValueError, OverflowError):
        number = float(stated)
        if not isinstance(stated, bool) and "_" not in str(stated) and math.isfinite(number):
            return number
    return None


def _stated(file: Path, key: str, default: Any = None, *, needed: bool = True) -> tuple[Any, Path]:
    """Return what the sidecars of a file state, with the sidecar that does; its own one without.

    Raises:
        SourceError: a sidecar before cannot be read; of inherited ones only where the key is ``needed``.
    """
    own = _sidecar(file)
    for sidecar in _sidecars(file):
        try:
            content = _content(sidecar)
        except SourceError:
            if needed or sidecar == own:
                raise
            continue
        if key in content:
            return content[key], sidecar
    return default, own


def _sidecars(file: Path) -> Iterator[Path]:
    """Yield the sidecars that apply to a file, its own one first.

    BIDS 1.10, inheritance principle: one with the suffix of the file and some of its entities applies too, in
    the folder of the file or further up in its data set. The nearest wins, and the one with most entities.
    """
    yield (own := _sidecar(file))
    own_parts = own.stem.split("_")
    folder = file.absolute().parent
    while True:
        # Those of other images, which lie beside them, do not apply.
        found = [each for each in folder.glob("*.json") if each.name != own.name and not _has_image(each)]
        parts = {each: each.stem.split("_") for each in found}
        yield from sorted(
            (each for each in found if _inherited(parts[each], own_parts)),
            key=lambda each: (-len(parts[each]), each.name),
        )
        if not _IN_DATA_SET.fullmatch(folder.name):
            return
        folder = folder.parent


def _inherited(parts: Sequence[str], own: Sequence[str]) -> bool:
    """Return whether a sidecar's name has the suffix of a file and, besides, only entities of it."""
    return parts[-1] == own[-1] and all(part in own and "-" in part for part in parts[:-1])


def _has_image(sidecar: Path) -> bool:
    return any(sidecar.with_suffix(suffix).exists() for suffix in (".nii", ".nii.gz"))


def _sidecar(file: Path) -> Path:
    return file.with_name(re.sub(r"(?i)\.nii(\.gz)?$", ".json", file.name))


def _content(sidecar: Path) -> dict[str, Any]:
    """Return the content of a sidecar; empty where there is none."""
    try:
        check_regular(sidecar)
        if sidecar.stat().st_size > _LARGEST_SIDECAR:
            raise SourceError(f"{sidecar} is larger than {_LARGEST_SIDECAR} bytes")
        # Converters write a byte order mark, texts in the host's code page, and control characters in these.
        content = json.loads(sidecar.read_text(encoding="utf-8-sig", errors="replace"), strict=False)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{sidecar} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{sidecar} cannot be read as JSON: it holds no object")
    return content


def _same(file: Path, base: str) -> bool:
    name = _NAME.fullmatch(file.name)
    return name is not None and _ENTITY.sub("", name["base"]) == base


def _inversion(file: Path) -> tuple[int, str]:
    return _number(file) or 0, file.name


def _part(file: Path) -> str:
    return str(dict(_ENTITY.findall(file.name)).get("part", "mag"))


def _number(file: Path) -> int | None:
    number = dict(_ENTITY.findall(file.name)).get("inv", "")
    return int(number) if number.isdecimal() else None
