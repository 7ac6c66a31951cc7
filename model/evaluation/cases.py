"""Reader of labelled cases (``docs/data.md`` describes the folders)."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.contours_in.outlines import MapImage, shown
from model.evaluation.contours_in.study import StudySlice, study_slices
from model.evaluation.errors import CaseError as CaseError
from model.evaluation.errors import NothingFoundError
from model.evaluation.images import (
    READERS,
    dicom_header,
    npz_spacing,
    opened,
    read_image,
    real_image,
    stated_grid,
)
from model.evaluation.labels import CONTOURS, WORKSPACE, Labels, checked_mask, read_labels
from model.evaluation.names import one_spelling
from model.frame import LONGEST_MS, tissue_values

_log = logging.getLogger(__name__)

_MAP_KEYS: Final = {"t1": ("t1_ms", "t1_window"), "t2": ("t2_ms",)}
_BASAL, _APICAL = r"bas(?:al|e)", r"(?:apical|apex)"
_LEVELS: Final = {"basal": _BASAL, "mid": r"mid\w*", "apical": _APICAL}
_MID: Final = r"mid(?:[\W_]*(?:ventric|cavit)[a-z]*)?"
"""Level ``mid`` in the name of a file: other text behind it may belong to the case."""
_LEVEL: Final = rf"(?<![^\W\d_])(?:{_BASAL}|{_MID}|{_APICAL})(?![^\W_])"
_SLICE: Final = r"slice[\W_]*(?P<number>\d+)(?!.*slice[\W_]*\d)"
_MARKS: Final = re.compile(
    rf"(?P<separator>[-_\s]*)(?:(?:{_SLICE}|{_LEVEL})[-_\s]*)+", re.IGNORECASE | re.DOTALL
)
"""Slice, the last one of a file's name, and level, with the separators around them; ``apex01`` is none."""


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
        readers: labels by reader, uint8 ``(rows, columns)``: 0 background, 1 LV cavity, 2 myocardium. Of
            cases that are read, in the order of the readers' names.
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

    @property
    def can_be_ms(self) -> bool:
        """True for a map in ms whose values can be ms.

        They cannot if half of the first reader's myocardium is longer than any time of tissue, or if the
        median there is below 1 ms.
        """
        wall = self.image[self.labels == 2]
        finite = wall[np.isfinite(wall)]
        too_long = 2 * (wall > LONGEST_MS[self.kind.upper()]).sum() > wall.size
        too_short = finite.size > 0 and np.median(finite) < 1.0
        return bool(self.in_ms and not too_long and not too_short)

    @property
    def network_image(self) -> NDArray[np.float32]:
        """Image for the frame: a map in ms as the stream takes it, another image as it is."""
        return tissue_values(self.image, self.kind.upper()) if self.can_be_ms else self.image

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
        NothingFoundError: there are none, or no map has contours.
        CaseError: some maps have no contours and others have, or a file cannot be read.
    """
    slices = _read(folder, kind)
    _warn_of_folders(folder)
    return slices


def _read(folder: Path, kind: str) -> list[LabelledSlice]:
    if kind not in _MAP_KEYS:
        raise CaseError(f"there is no map {kind!r}; give t1 or t2")
    if not folder.is_dir():
        raise CaseError(f"{folder} is not a folder")
    entries = _visible(folder)
    folders = [path for path in entries if path.is_dir()]
    if side_by_side := [path for path in entries if path.suffix.lower() == ".npz"]:
        found = [_read_npz(file, kind) for file in side_by_side]
        slices = [each for each in found if each is not None]
        _warn_of_names(folder, slices)
        if folders:
            _log.warning(
                "%s: its npz files are read, but not the folders beside them (%d): %s",
                *(folder, len(folders), shown(path.name for path in folders)),
            )
    elif studied := list(study_slices(folder, kind)):
        slices = [_read_study(each, kind) for each in studied]
    else:
        slices = [
            each
            for case in folders
            for slice_folder in _visible(case)
            if slice_folder.is_dir() and (each := _read_slice(case, slice_folder, kind)) is not None
        ]
        read = {each.case for each in slices}
        empty = [case.name for case in folders if case.name not in read]
        if slices and empty:
            _log.warning(
                "%s: %d of %d folders have no slice folder with a %s map and are left out: %s; "
                "a map is CASE/SLICE/%s (%s)",
                *(folder, len(empty), len(folders), kind, shown(empty), kind, ", ".join(READERS)),
            )
    bare = [each for each in slices if not each.readers]
    if not slices or len(bare) == len(slices):
        without = f", but {len(bare)} without contours such as {kind}.reader.json" if bare else ""
        raise NothingFoundError(
            f"{folder} holds no labelled {kind} maps{without}; docs/data.md describes the folders"
        )
    if bare:
        place, example = folder / bare[0].name, f"{kind}.reader.json"
        raise CaseError(f"{place}: {kind} has no contours beside it, such as {example}")
    if other := [each.name for each in slices if each.in_ms and not each.can_be_ms]:
        _log.warning(
            "%s: %d of %d %s maps are not in ms by their values: %s; medians are in their unit, not in ms",
            *(folder, len(other), len(slices), kind, shown(other)),
        )
    return slices


def read_kinds(folder: Path, kinds: Iterable[str]) -> list[LabelledSlice]:
    """Return all labelled slices of several kinds of map; a kind may be missing, which is logged.

    Raises:
        NothingFoundError: there are none of any kind.
        CaseError: as of :func:`read_slices`.
    """
    slices: list[LabelledSlice] = []
    problems = []
    for kind in kinds:
        try:
            slices += _read(folder, kind)
        except NothingFoundError as error:
            problems.append(str(error))
    if not slices:
        raise NothingFoundError("; ".join(problems))
    for problem in problems:
        _log.warning("%s", problem)
    _warn_of_folders(folder)
    return slices


def _warn_of_folders(folder: Path) -> None:
    """Log folders without a map of either kind: beside the study's, and slice folders of cases with a map."""
    folders = [path for path in _visible(folder) if path.is_dir()]
    if any(path.suffix.lower() == ".npz" for path in _visible(folder)):
        return
    studied = {Path(each.name).parts[0] for kind in _MAP_KEYS for each in study_slices(folder, kind)}
    if studied:
        if unread := [path.name for path in folders if path.name not in studied]:
            _log.warning(
                "%s: folders without maps and contours of the study's layout are left out (%d): %s",
                *(folder, len(unread), shown(unread)),
            )
        return
    unread = []
    for case in folders:
        slices = [path for path in _visible(case) if path.is_dir()]
        without = [path for path in slices if not any(_maps(_visible(path), kind) for kind in _MAP_KEYS)]
        if len(without) < len(slices):
            unread += [f"{case.name}/{path.name}" for path in without]
    if unread:
        _log.warning(
            "%s: slice folders without a map are left out (%d): %s; a map is CASE/SLICE/t1 or t2 (%s)",
            *(folder, len(unread), shown(unread), ", ".join(READERS)),
        )


def first_readers(slices: Iterable[LabelledSlice]) -> dict[str, int]:
    """Return the number of slices by their first reader, with whom they are compared."""
    return dict(sorted(Counter(next(iter(each.readers)) for each in slices).items()))


def first_readers_note(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence where the first reader is not the same on all slices, of :func:`first_readers`."""
    if len(counts) < 2:
        return []
    stated = ", ".join(f"{name} on {count}" for name, count in counts.items())
    return [f"The first reader by name is not the same on all slices: {stated}."]


def _read_npz(file: Path, kind: str) -> LabelledSlice | None:
    with opened(file) as data:
        key = next((name for name in _MAP_KEYS[kind] if name in data), None)
        if key is None:
            return None
        for needed in ("label", "pixel_spacing_mm"):
            if needed not in data:
                raise CaseError(f"{file} has no {needed}")
        spacing = npz_spacing(data)
        values = data[key]
        if values.ndim != 2:
            raise CaseError(f"{key} of {file} has {values.ndim} dimensions; it is (rows, columns)")
        image = real_image(values, spacing, file)
        labels = checked_mask(data["label"], image.shape, file)
    case = _stated_case(file.stem)
    return LabelledSlice(
        name=file.stem,
        case=file.stem if case is None else case or file.parent.resolve().name,
        kind=kind,
        image=image,
        weighted=np.empty((0, *image.shape), np.float32),
        spacing=spacing,
        readers={"reader": labels},
        level=_stated_place(file.stem)[1],
        in_ms=key.endswith("_ms"),
    )


def _stated_case(name: str) -> str | None:
    """Return a file's name without slice and level, empty where that is all of it; None without either."""

    def between(match: re.Match[str]) -> str:
        inside = match.start() > 0 and match.end() < len(name)
        return (match["separator"] or "-") if inside else ""

    case, marks = _MARKS.subn(between, name)
    return case if marks else None


def _stated_place(name: str) -> tuple[int | None, str]:
    """Return the number of the slice that a file's name states, or None, and its level, or empty."""
    marks = list(_MARKS.finditer(name))
    number = next((int(match["number"]) for match in marks if match["number"]), None)
    return number, _level(" ".join(match[0] for match in marks) or name)


def _warn_of_names(folder: Path, slices: Sequence[LabelledSlice]) -> None:
    """Log the files whose names may not tell the cases apart, or not keep a case together."""
    alone = [each.name for each in slices if _stated_case(each.name) is None]
    if alone and len(slices) > 1:
        _log.warning(
            "%s: the names of %d of %d files state neither slice nor level (CASE-slice-N.npz); "
            "each of them counts as a case of its own: %s",
            *(folder, len(alone), len(slices), shown(alone)),
        )
    places = Counter((each.case, _stated_place(each.name)) for each in slices)
    same = [each.name for each in slices if places[each.case, _stated_place(each.name)] > 1]
    if same:
        _log.warning(
            "%s: %d files have the case, slice and level of another by their names: %s; where they are of "
            "different patients, name them CASE-slice-N.npz",
            *(folder, len(same), shown(same)),
        )


def _read_slice(case: Path, folder: Path, kind: str) -> LabelledSlice | None:
    files = _visible(folder)
    maps = _maps(files, kind)
    if not maps:
        return None
    readable = [path for path in maps if path.name.lower().endswith(tuple(READERS))] or maps
    if len(readable) > 1:
        raise CaseError(f"{readable[0]} and {readable[1]} are both maps of {kind}; remove one of them")
    file = readable[0]
    image, spacing = read_image(file)
    if image.shape[0] != 1:
        raise CaseError(f"{file} holds {image.shape[0]} images; a map is one")
    weighted_folders = [path for path in files if path.name.lower() == f"{kind}_images" and path.is_dir()]
    weighted_files = [file for each in weighted_folders for file in _visible(each)]
    map_image = _map_image(file, image.shape[1:], spacing, weighted_files)
    readers: dict[str, Labels] = {}
    read: dict[str, Path] = {}
    for path in files:
        match = re.fullmatch(rf"{kind}\.(.+)", _stem(path), re.IGNORECASE)
        if match and "." in match[1] and _stem(path) == path.name:
            _log.warning(
                "%s is left out: contours and masks are %s", path, ", ".join((*CONTOURS, ".png", *READERS))
            )
        elif match and (labels := read_labels(path, map_image)) is not None:
            reader = one_spelling(match[1])
            if (other := read.setdefault(reader, path)) != path:
                raise CaseError(f"{other} and {path} are both of reader {reader}; remove one of them")
            readers[reader] = labels
    for path in _visible(case):
        if path.suffix.lower() == WORKSPACE and (labels := read_labels(path, map_image)) is not None:
            readers.setdefault(one_spelling(path.stem), labels)
    readers = dict(sorted(readers.items()))
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
    image, spacing = read_image(slice_.map)
    if image.shape[0] != 1:
        raise CaseError(f"{slice_.map} holds {image.shape[0]} images; a map is one")
    labels = read_labels(slice_.contours, _map_image(slice_.map, image.shape[1:], spacing, ()))
    assert labels is not None
    return LabelledSlice(
        name=slice_.name,
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
    parts = [read_image(path)[0] for path in files]
    for path, part in zip(files, parts, strict=True):
        if part.shape[1:] != shape:
            raise CaseError(f"an image in {path.parent} has another size than the map")
    return np.concatenate([np.empty((0, *shape), np.float32), *parts])


def _maps(files: Iterable[Path], kind: str) -> list[Path]:
    """Return the files among those of a slice folder that are named as a map of one kind."""
    return [path for path in files if _stem(path).lower() == kind and path.suffix.lower() not in CONTOURS]


def _map_image(
    file: Path, shape: tuple[int, ...], spacing: tuple[float, float], weighted: Iterable[Path]
) -> MapImage:
    """Return what readers of other programs' contours need to know of a map."""
    headers = [header for path in (file, *weighted) if (header := dicom_header(path)) is not None]
    instances = {str(header.get("SOPInstanceUID", "")) for header in headers} - {""}
    return MapImage(file, (shape[0], shape[1]), frozenset(instances), stated_grid(file), spacing)


def _stem(path: Path) -> str:
    for suffix in (*READERS, *CONTOURS, ".png"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _visible(folder: Path) -> list[Path]:
    """Return what a folder holds, by name, without pipes and what systems and editors hide there."""
    return sorted(path for path in folder.iterdir() if not (path.name.startswith(".") or path.is_fifo()))


def _level(name: str) -> str:
    found = [
        level
        for level, word in _LEVELS.items()
        if re.search(rf"(?<![a-z]){word}(?![a-z])", name, re.IGNORECASE)
    ]
    return found[0] if len(found) == 1 else ""
