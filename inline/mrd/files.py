"""Images in ISMRMRD HDF5 files, bit-exact.

The library's own reader and writer go through its image object, which rewrites attributes and takes MRD's
32-bit integers for 64-bit ones; images that must pass unchanged cannot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import FileIO
from itertools import accumulate, islice, pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Final, Self

import h5py
import numpy as np

from inline.data.time_stamps import past_midnight
from inline.mrd.image_header import DATA_TYPES
from inline.mrd.layouts import (
    COMPLEX,
    FileError,
    datasets,
    foreign_links,
    groups_apart,
    groups_below,
    image_set,
    is_measurement,
    member,
    read_text,
    reading,
)
from inline.mrd.library import image_header_dtype
from inline.mrd.messages import Image
from inline.mrd.protocol import MRD2, MRD2_SIGNATURE
from inline.mrd.text import decode, without_nul
from model.output import atomic_output

__all__ = ["FileError", "ImageFile", "write_images"]

_MOST_GROUPS: Final = 1000
"""Groups below those of the first level in which images are sought; links can make them any number."""
_MOST_RUNS: Final = 2
"""Ascending runs of a set with the same time stamp: images as acquired, and as corrected."""
_NAMED: Final = "process or replay with --group"
_RAW: Final = "{} holds no images; raw data must be reconstructed first"
_NO_IMAGES: Final = (
    "{} is an HDF5 file, but holds no ISMRMRD images (links into other files are not followed)"
)


class ImageFile:
    """ISMRMRD file whose images can be read. Use as a context manager.

    Attributes:
        name: the HDF5 group that is read.
        notes: a sentence for each thing that was converted or left out.
    """

    def __init__(self, file: Path, group: str = "") -> None:
        """Open a file.

        Args:
            file: to read.
            group: HDF5 group that holds the data; empty takes ``dataset``, else the only one with images:
                of the first level or, where none there has some, of the two below.

        Raises:
            FileError: no such file, no HDF5, no images in it or in the group, or images that cannot be read.
        """
        try:
            self._file = h5py.File(file, "r")
        except FileNotFoundError as error:
            raise FileError(f"there is no file {file}") from error
        except IsADirectoryError as error:
            raise FileError(f"{file} is a folder; an ISMRMRD file is given by its own name") from error
        except OSError as error:
            if _is_mrd2(file):
                raise FileError(f"{file} is an {MRD2}") from error
            raise FileError(f"{file} is not a readable HDF5 file: {error}") from error
        self.notes: list[str] = []
        try:
            self.name = self._chosen(file, group)
            self._group: Any = self._file[self.name]
            with reading(f"{file}, {self.name}"):
                self._sets = [image_set(*parts) for parts in datasets(self._group)]
            if not len(self):
                raise FileError(_RAW.format(file))
        except BaseException:
            self._file.close()
            raise
        self.notes += [
            f"{self.name}/{each} lies in another file, which is not read"
            for each in foreign_links(self._group)
        ]
        self.notes += [
            f"{PurePosixPath(self.name, each)} has a header of its own and is not read; {_NAMED} reads it"
            for each in groups_apart(self._group)
        ]
        self.notes += [note for each in self._sets for note in each.notes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def header(self) -> str:
        """XML header as text, whatever its encoding; empty where the file has none."""
        return decode(self.header_bytes)

    @property
    def header_bytes(self) -> bytes:
        """XML header as it is stored, in the group or the nearest one above; empty where none has one."""
        place = PurePosixPath("/", self.name)
        for group in (place, *place.parents):
            if isinstance(stored := member(self._file, f"{group}/xml"), h5py.Dataset):
                return next(iter(read_text(stored, f"{group}/xml".strip("/"))), b"")
        return b""

    def __len__(self) -> int:
        return sum(len(each.headers) for each in self._sets)

    def images(self) -> Iterator[Image]:
        """Read all images in the order of their acquisition time stamps; equal ones as they lie in the file.

        Those after midnight come last (:func:`inline.data.time_stamps.past_midnight`). A set keeps its order
        where its stamps fall only to earlier ones of it (:func:`_moments`).

        Raises:
            FileError: pixels cannot be read or converted.
        """
        places = [(each, place) for each in self._sets for place in range(len(each.headers))]
        stamps = iter(
            past_midnight([int(each.headers["acquisition_time_stamp"][place]) for each, place in places])
        )
        moments = [
            moment for each in self._sets for moment in _moments(list(islice(stamps, len(each.headers))))
        ]
        for number in sorted(range(len(places)), key=moments.__getitem__):
            each, place = places[number]
            yield each.image(place)

    def _chosen(self, file: Path, group: str) -> str:
        with reading(str(file)):
            named = member(self._file, group)
            if group and isinstance(named, h5py.Group) and any(datasets(named)):
                return group
            groups = [*groups_below(self._file, depth=1), "/"]
            if not any(map(self._has_images, groups)):
                groups = ["/", *islice(groups_below(self._file), _MOST_GROUPS)]
            holders = [name for name in groups if self._has_images(name)]
            is_mrd = any(is_measurement(member(self._file, name)) for name in groups)
        if not holders:
            raise FileError((_RAW if is_mrd else _NO_IMAGES).format(file))
        if group:
            raise FileError(f"{file} has no group {group!r} with images; it has: {', '.join(holders)}")
        if "dataset" not in holders and len(holders) > 1:
            raise FileError(
                f"{file} has images in the groups {', '.join(holders)}; name the one to read: {_NAMED}"
            )
        name = "dataset" if "dataset" in holders else holders[0]
        if others := ", ".join(each for each in holders if each != name):
            self.notes.append(f"images in the groups {others} are not read; {_NAMED} reads one of them")
        return name

    def _has_images(self, name: str) -> bool:
        return any(datasets(member(self._file, name)))


class _Sink(FileIO):
    """File that reports no error to HDF5: the library does not survive one, not even at the process's exit.

    Attributes:
        error: the first; nothing is written any more.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of it, or nothing after an error."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left and self.error is None:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size, except after an error."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


def write_images(
    file: Path, header: str | bytes, images: list[Image], group: str = "dataset", *, private: bool = False
) -> None:
    """Write images as ``image_<series>`` groups that the ``ismrmrd`` libraries read.

    A series whose images differ in size or type becomes several groups. Texts are stored as C strings, which
    hold no NUL: such an attribute string becomes UTF-8, and ``attribute_string_len`` is its stored length,
    since the C library copies as many bytes.

    Args:
        file: to write; what was there stays until all is written.
        header: XML header.
        images: in their order within each series.
        group: HDF5 group.
        private: mode 0600.

    Raises:
        OutputError: it cannot be written.
    """
    series: dict[tuple[object, ...], list[Image]] = {}
    for image in images:
        head = image.header
        key = (head.image_series_index, head.channels, head.matrix_size, head.data_type)
        series.setdefault(key, []).append(image)
    with atomic_output(file, private=private) as beside, _Sink(beside, "r+") as sink:
        with h5py.File(sink, "w") as output:
            _write(output, group, header, series.values())
        if sink.error is not None:
            raise sink.error


def _moments(stamps: Sequence[int]) -> list[int]:
    """Return the time stamps by which the images of a set are sorted.

    Images as acquired and as corrected may have the same stamps and lie one kind after the other: those after
    a fall to a stamp that came before count as acquired with the latest before them. A fall to another stamp
    shows that the images lie in another order than that of acquisition; so does a stamp in more than two
    ascending runs, as of acquisitions with one stamp each whose images lie in turn.

    Args:
        stamps: in the order of the set.
    """
    falls = [stamp < before for before, stamp in pairwise([0, *stamps])]
    runs = Counter(stamp for stamp, _ in set(zip(stamps, accumulate(falls), strict=True)))
    came: set[int] = set()
    for stamp, fell in zip(stamps, falls, strict=True):
        if (fell and stamp not in came) or runs[stamp] > _MOST_RUNS:
            return list(stamps)
        came.add(stamp)
    return list(accumulate(stamps, max))


def _is_mrd2(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(MRD2_SIGNATURE)) == MRD2_SIGNATURE
    except OSError:
        return False


def _write(output: Any, group: str, header: str | bytes, series: Iterable[list[Image]]) -> None:
    dataset = output.create_group(group)
    text = without_nul(header.encode("utf-8", "replace") if isinstance(header, str) else header)
    if text:
        dataset.create_dataset("xml", data=_texts([text]))
    taken: set[str] = set()
    for members in series:
        name = base = f"image_{members[0].header.image_series_index}"
        while name in taken:
            name = f"{base}_{len(taken)}"
        taken.add(name)
        _write_series(dataset.create_group(name), members)


def _texts(values: list[bytes]) -> Any:
    """Return strings as C and C++ programs read them: of variable length, not marked as UTF-8."""
    return np.array(values, dtype=h5py.string_dtype("ascii"))


def _write_series(group: Any, images: list[Image]) -> None:
    head = images[0].header
    dtype = COMPLEX.get(head.data_type, DATA_TYPES[head.data_type])
    attributes = [without_nul(image.attributes) for image in images]
    headers = np.frombuffer(
        bytearray().join(image.header.pack() for image in images), dtype=image_header_dtype
    )
    headers["attribute_string_len"] = [len(text) for text in attributes]
    group.create_dataset("header", data=headers, maxshape=(None,))
    group.create_dataset("attributes", data=_texts(attributes), maxshape=(None,))
    data = np.stack([np.frombuffer(image.data, dtype=dtype).reshape(head.shape) for image in images])
    group.create_dataset("data", data=data, maxshape=(None, *head.shape))
