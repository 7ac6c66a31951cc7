"""Images of one HDF5 group, in every layout that clients and converters of MRD write.

Types are converted as the HDF5 library converts them for the C and C++ library of MRD: members of a header by
their names, pixels to the type that the header states. Lossy conversions are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from inline.data.errors import MyostreamError
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.library import image_header_dtype
from inline.mrd.messages import Image

COMPLEX: Final = {
    7: np.dtype([("real", "<f4"), ("imag", "<f4")]),
    8: np.dtype([("real", "<f8"), ("imag", "<f8")]),
}
"""Types of complex pixels in a file, by ``data_type``."""
_NEEDED: Final = {"data_type", "matrix_size", "channels"}
_DAMAGE: Final = 0.01
"""Largest change of a pixel that a conversion may cause, as a share of the image's bright pixels."""
_MOST_IMAGES: Final = 1 << 20
_MOST_LINKS: Final = 16
"""Soft links on the way to a member; such links may lead to each other."""
_DEPTH: Final = 3
"""Levels of groups in which images are sought where those of the first have none."""
_MOST_BYTES: Final = 512 * 2**20
"""Of the pixels of an image, of a chunk, and of all texts of a set.

A few bytes of a file can state any size: HDF5 fills in values that are not stored.
"""
_CACHED: Final = 1 << 20
"""Bytes of a chunk that HDF5 keeps; a larger one is unpacked anew for each image in it."""
_MOST_UNPACKED: Final = 16 * 2**30
"""Bytes that are unpacked so for all images of a set."""


class FileError(MyostreamError):
    """File that is not an ISMRMRD file, or holds no usable images."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raise what h5py raises within the block as a :class:`FileError` of one line."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise FileError(f"{what} cannot be read: {' '.join(str(error).split())}") from error


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Set of images in one group of a file.

    Attributes:
        described: name, type and size of the pixels for messages.
        headers: of :data:`ismrmrd.hdf5.image_header_dtype`, ``(n,)``.
        attributes: attribute string of each image.
        data: pixels, ``(n, channels, z, y, x)`` where axes of length 1 may be missing.
        single: ``data`` is one image without an axis for several.
        notes: a sentence for each conversion and each omission.
    """

    described: str
    headers: NDArray[np.void]
    attributes: list[bytes]
    data: Any
    single: bool
    notes: tuple[str, ...]

    def image(self, place: int) -> Image:
        """Read one image.

        Raises:
            FileError: its pixels cannot be read or converted.
        """
        header = ImageHeader.unpack(self.headers[place].tobytes())
        size = header.pixels * max(DATA_TYPES[header.data_type].itemsize, self.data.dtype.itemsize)
        if size > _MOST_BYTES:
            raise FileError(f"{self.described} holds images of {size} bytes; at most {_MOST_BYTES} are read")
        with reading(self.described):
            pixels = _converted(self.data, () if self.single else place, header.data_type)
        if pixels is None:
            raise FileError(
                f"{self.described} cannot become the {_type(header.data_type)} that its headers state "
                "without damage to pixel values"
            )
        return Image(header, self.attributes[place], pixels.tobytes())


def member(group: Any, path: str) -> Any:
    """Return a member of a group; None without one, and behind links into other files, which may be any."""
    names, links = path.split("/"), 0
    while names:
        if not (name := names.pop(0)):
            continue
        if not isinstance(group, h5py.Group):
            return None
        stored = name.encode("utf-8", "surrogateescape")
        kind = group.id.links.get_info(stored).type if group.id.links.exists(stored) else None
        if kind == h5py.h5l.TYPE_HARD:
            group = group[name]
        elif kind == h5py.h5l.TYPE_SOFT and links < _MOST_LINKS:
            links += 1
            target = group.get(name, getlink=True).path
            group = group.file if target.startswith("/") else group
            names = [*target.split("/"), *names]
        else:
            return None
    return group


def groups_below(group: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the path of each group in a group and in those, down to a depth."""
    for name in group:
        if isinstance(inner := member(group, name), h5py.Group):
            yield name
            if depth > 1:
                yield from (f"{name}/{each}" for each in groups_below(inner, depth - 1))


def foreign_links(group: Any) -> list[str]:
    """Return the names of the members of a group that lie in other files."""
    return [name for name in group if isinstance(group.get(name, getlink=True), h5py.ExternalLink)]


def is_measurement(group: Any) -> bool:
    """Return whether a group has the header or the raw data of a measurement."""
    return "xml" in group or _is_raw(member(group, "data"))


def _is_raw(data: Any) -> bool:
    """Return whether a dataset holds raw data: its elements have a head of their own."""
    return isinstance(data, h5py.Dataset) and "head" in (data.dtype.names or ())


def _refuse_foreign(dataset: Any) -> None:
    """Refuse values of other files, and chunks that no memory holds.

    Raises:
        ValueError: the dataset has such.
    """
    if dataset.external or dataset.is_virtual:
        raise ValueError("its values lie in other files, which are not read")
    if _chunk(dataset) > _MOST_BYTES:
        raise ValueError(f"it has chunks of {_chunk(dataset)} bytes; at most {_MOST_BYTES} are read")


def _chunk(dataset: Any) -> int:
    """Return the bytes of a chunk; 0 without chunks."""
    return math.prod(dataset.chunks) * int(dataset.dtype.itemsize) if dataset.chunks else 0


def read_text(dataset: Any, name: str) -> list[bytes]:
    """Return the texts of a dataset of strings of any kind, in their order.

    Raises:
        FileError: they are no strings, or too large.
    """
    if dataset.shape is None:
        return []
    with reading(_described(name, dataset)):
        _refuse_foreign(dataset)
        size = (dataset.size or 0) * dataset.dtype.itemsize
        if size > _MOST_BYTES:
            raise ValueError(f"it has {size} bytes; at most {_MOST_BYTES} are read")
        if dataset.dtype.kind in "iu" and dataset.dtype.itemsize == 1:
            return [bytes(np.asarray(dataset[()]).tobytes())]
        if h5py.check_string_dtype(dataset.dtype) is None:
            raise TypeError("it is no text")
        return _variable(dataset) if dataset.dtype.kind == "O" else np.ravel(dataset[()]).tolist()


def _variable(dataset: Any) -> list[bytes]:
    """Return texts of variable length. They may share one stored text, which is no longer than the file."""
    if not dataset.shape:
        return [dataset[()]]
    if len(_long(dataset.shape)) > 1:
        raise TypeError("its texts lie along several axes")
    axis = int(np.argmax(dataset.shape))
    step = max(_MOST_BYTES // 8 // dataset.file.id.get_filesize(), 1)
    texts: list[bytes] = []
    size = 0
    for start in range(0, dataset.shape[axis], step):
        texts += np.ravel(dataset[(slice(None),) * axis + (slice(start, start + step),)]).tolist()
        size += sum(map(len, texts[start:]))
        if size > _MOST_BYTES:
            raise ValueError(f"its texts have more than {_MOST_BYTES} bytes")
    return texts


def datasets(group: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield name, data, headers and attributes of each set of images in a group; None for a missing part.

    Each of its groups that has a dataset ``data`` is one set, with ``header`` and ``attributes``; so is
    ``NAME.img`` with ``NAME.head`` and ``NAME.attrib``, as older clients write them. A group that has these
    beside its own XML header, as ``ismrmrd.File`` can write it, is a set itself, and none of the group above.
    """
    if _is_whole(group):
        yield group.name.strip("/") or "/", *_parts(group)
    for name in group:
        item = member(group, name)
        if isinstance(item, h5py.Group):
            if _is_whole(item):
                continue
            data, header, attributes = _parts(item)
        elif name.endswith(".img"):
            stem = name.removesuffix(".img")
            data, header, attributes = item, member(group, f"{stem}.head"), member(group, f"{stem}.attrib")
        else:
            continue
        if _is_stack(data):
            yield f"{group.name.strip('/')}/{name}".strip("/"), data, header, attributes


def _parts(group: Any) -> tuple[Any, Any, Any]:
    data, header, attributes = (member(group, name) for name in ("data", "header", "attributes"))
    return data, header, attributes


def _is_stack(data: Any) -> bool:
    """Return whether a dataset holds pixels; raw data lies in one of the same name."""
    return isinstance(data, h5py.Dataset) and bool(data.shape) and not _is_raw(data)


def _is_whole(group: Any) -> bool:
    """Return whether a group has images and, beside them, the header of their measurement."""
    data, header, _ = _parts(group)
    return _is_stack(data) and all(isinstance(each, h5py.Dataset) for each in (header, member(group, "xml")))


def image_set(name: str, data: Any, header: Any, attributes: Any) -> ImageSet:
    """Return a set of :func:`datasets`.

    Raises:
        FileError: it cannot be read; the message names its group, type and size.
    """
    described = _described(name, data)
    if not isinstance(header, h5py.Dataset):
        raise FileError(f"{described} has no image headers; they must lie beside it")
    with reading(described):
        _refuse_foreign(data)
        if data.dtype.hasobject:
            raise TypeError("it holds no numbers")
    missing = _NEEDED - set(header.dtype.names or ())
    if missing:
        raise FileError(f"{described} has headers without {', '.join(sorted(missing))}")
    with reading(_described(name, header)):
        _refuse_foreign(header)
        if (header.size or 0) > _MOST_IMAGES:
            raise ValueError(f"it has {header.size} elements; at most {_MOST_IMAGES} images are read")
        headers = np.asarray(header.astype(image_header_dtype)[()]).reshape(-1)
    notes = []
    shapes = {ImageHeader.unpack(each.tobytes()).shape for each in headers}
    single = len(headers) == 1 and _long(data.shape) == _long(*shapes)
    count = 1
    if not single:
        for shape in shapes:
            if _long(data.shape[1:]) != _long(shape):
                raise FileError(
                    f"{described} does not hold images of the size in its headers, {_times(shape)}"
                )
        count = min(len(headers), data.shape[0])
        chunk = _chunk(data)
        if chunk > _CACHED and data.chunks[0] > 1 and chunk * count > _MOST_UNPACKED:
            raise FileError(
                f"{described} has chunks of {chunk} bytes, which are read anew for each of their images; "
                "write chunks of one image (h5repack -l)"
            )
        if len(headers) != data.shape[0]:
            notes.append(f"{described} has {len(headers)} headers; {count} images are read")
    for number in np.unique(headers["data_type"]):
        if number not in DATA_TYPES:
            raise FileError(f"{described} has headers that state the pixel type {number}; MRD has 1 to 8")
        if not _same(data.dtype, int(number)):
            notes.append(f"{described} is read as the {_type(int(number))} that its headers state")
    texts = read_text(attributes, f"{name}, attributes") if isinstance(attributes, h5py.Dataset) else []
    texts += [b""] * (count - len(texts))
    return ImageSet(described, headers[:count], texts, data, single, tuple(notes))


def _converted(data: Any, place: Any, data_type: int) -> NDArray[np.generic] | None:
    """Return pixels in the type of the header, or None where the conversion would damage them."""
    stored = np.asarray(data[place])
    if _same(data.dtype, data_type):
        return stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    if stored.dtype.kind == "V":
        stored = stored["real"] + 1j * stored["imag"]
    if np.iscomplexobj(stored) or data_type in COMPLEX:
        # HDF5 does not convert between numbers and compounds.
        if np.iscomplexobj(stored) != (data_type in COMPLEX):
            raise TypeError(f"it is not the {_type(data_type)} that its headers state")
        converted = stored.astype(DATA_TYPES[data_type])
    else:
        converted = np.asarray(data.astype(DATA_TYPES[data_type])[place])
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.abs(stored - converted.astype(stored.dtype))
        # Of pixels without signal and of a spike, neither shows the size of the others.
        shown = np.abs(stored[np.isfinite(stored) & (stored != 0)])
        level = np.percentile(shown, 99.0) if shown.size else 0.0
        kept = (stored == converted) | (change <= _DAMAGE * level) | (np.isnan(stored) & np.isnan(converted))
    return converted if kept.all() else None


def _same(stored: np.dtype[Any], data_type: int) -> bool:
    """Return whether pixels have the header's type, in either order of bytes."""
    return stored.newbyteorder("<") in (DATA_TYPES[data_type], COMPLEX.get(data_type, DATA_TYPES[data_type]))


def _long(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _type(data_type: int) -> str:
    return str(DATA_TYPES[data_type].name)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _described(name: str, dataset: Any) -> str:
    kind = "text" if h5py.check_string_dtype(dataset.dtype) else dataset.dtype.name
    return f"{name} ({'compound' if dataset.dtype.names else kind}, {_times(dataset.shape or ())})"
