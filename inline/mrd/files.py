"""Images in ISMRMRD HDF5 files, in the layout of the ``ismrmrd`` libraries, bit for bit.

The library's own reader and writer go through its image object, which rewrites attributes and takes MRD's
32-bit integers for 64-bit ones; images that must pass unchanged cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from ismrmrd.hdf5 import image_header_dtype

from inline.errors import MyostreamError
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.messages import Image

_COMPLEX: Final = {
    7: np.dtype([("real", "<f4"), ("imag", "<f4")]),
    8: np.dtype([("real", "<f8"), ("imag", "<f8")]),
}


class FileError(MyostreamError):
    """A file is not an ISMRMRD file, or holds nothing that can be used."""


class ImageFile:
    """An ISMRMRD file whose images can be read. Use as a context manager."""

    def __init__(self, file: Path, group: str = "") -> None:
        """Open a file.

        Args:
            file: to read.
            group: HDF5 group that holds the data; empty takes the only one there is, or ``dataset``.

        Raises:
            FileError: no such file, no HDF5, or no such group.
        """
        try:
            self._file = h5py.File(file, "r")
        except OSError as error:
            raise FileError(f"{file} is not a readable HDF5 file: {error}") from error
        groups = [name for name, item in self._file.items() if isinstance(item, h5py.Group)]
        chosen = group or ("dataset" if "dataset" in groups else groups[0] if len(groups) == 1 else "")
        if chosen not in groups:
            self._file.close()
            raise FileError(f"{file} has the groups {', '.join(groups) or '(none)'}; name the one to read")
        self._group: Any = self._file[chosen]
        self.name = chosen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def header(self) -> str:
        """The XML header; empty where the file has none."""
        if "xml" not in self._group:
            return ""
        text = self._group["xml"][0]
        return text.decode() if isinstance(text, bytes) else str(text)

    def __len__(self) -> int:
        return sum(len(group["header"]) for group in self._image_groups())

    def images(self) -> Iterator[Image]:
        """All images in the order of their acquisition time stamps; equal ones as they lie in the file."""
        places = [
            (int(group["header"][i]["acquisition_time_stamp"]), group, i)
            for group in self._image_groups()
            for i in range(len(group["header"]))
        ]
        for _, group, i in sorted(places, key=lambda place: place[0]):
            packed = np.asarray(group["header"][i]).astype(image_header_dtype)
            header = ImageHeader.unpack(packed.tobytes())
            attributes = group["attributes"][i]
            text = attributes if isinstance(attributes, bytes) else str(attributes).encode()
            yield Image(header, text, np.ascontiguousarray(group["data"][i]).tobytes())

    def _image_groups(self) -> list[Any]:
        return [
            item
            for item in self._group.values()
            if isinstance(item, h5py.Group) and {"header", "data", "attributes"} <= set(item)
        ]


def write_images(file: Path, header: str, images: list[Image], group: str = "dataset") -> None:
    """Write images as ``image_<series>`` groups that the ``ismrmrd`` libraries read.

    A series whose images differ in size or type becomes several groups.
    """
    series: dict[tuple[object, ...], list[Image]] = {}
    for image in images:
        head = image.header
        key = (head.image_series_index, head.channels, head.matrix_size, head.data_type)
        series.setdefault(key, []).append(image)
    with h5py.File(file, "w") as output:
        dataset = output.create_group(group)
        text = h5py.string_dtype("utf-8")
        dataset.create_dataset("xml", data=np.array([header], dtype=object), dtype=text)
        taken: set[str] = set()
        for members in series.values():
            name = base = f"image_{members[0].header.image_series_index}"
            while name in taken:
                name = f"{base}_{len(taken)}"
            taken.add(name)
            _write_series(dataset.create_group(name), members, text)


def _write_series(group: Any, images: list[Image], text: Any) -> None:
    head = images[0].header
    columns, rows, partitions = head.matrix_size
    dtype = _COMPLEX.get(head.data_type, DATA_TYPES[head.data_type])
    shape = (head.channels, partitions, rows, columns)
    headers = np.frombuffer(b"".join(image.header.pack() for image in images), dtype=image_header_dtype)
    group.create_dataset("header", data=headers, maxshape=(None,))
    attributes = np.array(
        [image.attributes.rstrip(b"\0").decode("utf-8", "replace") for image in images], dtype=object
    )
    group.create_dataset("attributes", data=attributes, maxshape=(None,), dtype=text)
    data = np.stack([np.frombuffer(image.data, dtype=dtype).reshape(shape) for image in images])
    group.create_dataset("data", data=data, maxshape=(None, *shape))
