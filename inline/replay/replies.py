"""Replies of a server: comparison with the images that were sent, records of results, overlays."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from inline.data.errors import ProtocolError
from inline.data.flags import Flag
from inline.data.plural import counted
from inline.data.results import RESULT_ATTRIBUTE, Contours
from inline.data.series import NAME_PATTERN, Quantity
from inline.data.time_stamps import TICKS, past_midnight
from inline.emit.overlay import draw
from inline.emit.record import ECV_ATTRIBUTE, Record, ecv_in_order, in_order
from inline.emit.schema import Ecv, Slice, read_record
from inline.mrd.messages import Image
from model.output import atomic_output

_PROBLEM: Final = re.compile(rf"(?s)(?:ERR|WRN) myostream: {NAME_PATTERN} \((\w+)\): (.*)")
"""Text of a server on a slice that it could not work on."""

_ALIKE: Final[tuple[Callable[[Image], Hashable], ...]] = (
    lambda image: image,
    lambda image: (replace(image.header, attribute_string_len=0), image.data),
    lambda image: (image.header.data_type, image.header.channels, image.header.matrix_size, image.data),
)
"""Parts of an image that came back: all, all but the attributes, the pixels."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of the images that came back with those that were sent.

    Attributes:
        unchanged: number of images that came back bit-exact.
        attributes_rewritten: came back with their header and pixels, but with another attribute string.
        header_rewritten: came back with their pixels, but with another header.
        lost: came back with no image that has their pixels, size and pixel type.
        added: further images that came back.
    """

    unchanged: int
    attributes_rewritten: int
    header_rewritten: int
    lost: int
    added: list[Image]

    def __str__(self) -> str:
        sent = self.unchanged + self.attributes_rewritten + self.header_rewritten + self.lost
        parts = [f"{counted(sent, 'image')} sent", f"{self.lost} lost"]
        if self.attributes_rewritten:
            parts.append(f"{self.attributes_rewritten} with rewritten attributes")
        if self.header_rewritten:
            parts.append(f"{self.header_rewritten} with a rewritten header")
        return ", ".join(parts)


def compare(sent: Iterable[Image], returned: Iterable[Image]) -> Comparison:
    """Find every image that was sent among those that came back; each of these counts once.

    Peers may rewrite the attributes, and with them the length that the header states.
    """
    missing, left, found = list(sent), list(returned), list[int]()
    for key in _ALIKE:
        matched = Counter(map(key, missing)) & Counter(map(key, left))
        found.append(matched.total())
        missing, left = _without(missing, matched, key), _without(left, matched, key)
    unchanged, attributes_rewritten, header_rewritten = found
    return Comparison(unchanged, attributes_rewritten, header_rewritten, len(missing), left)


def _without(
    images: list[Image], matched: Counter[Hashable], key: Callable[[Image], Hashable]
) -> list[Image]:
    """Return the images less the first ones of each key, as many as matched."""
    left, kept = matched.copy(), []
    for image in images:
        if left[key(image)] > 0:
            left[key(image)] -= 1
        else:
            kept.append(image)
    return kept


def records(images: Iterable[Image]) -> list[tuple[Record, Image]]:
    """Return record and map of every result among images, by slice, quantity and series."""
    read = ((_record(image), image) for image in images)
    found = [(record, image) for record, image in read if isinstance(record, dict)]
    return sorted(found, key=lambda pair: in_order(pair[0]))


def ecv_records(images: Iterable[Image]) -> list[tuple[Record, Image]]:
    """Return record and map of every ECV result among images, by slice and series."""
    read = ((_record(image, ECV_ATTRIBUTE, Ecv), image) for image in images)
    return sorted(
        ((record, image) for record, image in read if isinstance(record, dict)),
        key=lambda pair: ecv_in_order(pair[0]),
    )


def without_result(texts: Iterable[str], found: Iterable[Record]) -> list[Record]:
    """Return a record with an error alone for each slice of which only an error message came.

    Args:
        texts: of the server.
        found: records that came; those with an error have a message too.
    """
    stated = Counter(in_order(record) for record in found if record["error"])
    missing = []
    for match in filter(None, map(_PROBLEM.match, texts)):
        content = {"series_index": int(match[1]), "slice_index": int(match[2]), "quantity": match[3]}
        with suppress(ValueError):  # a text of another program
            record = read_record({**content, "regions": [], "flags": [], "error": f"no result: {match[4]}"})
            if stated[in_order(record)] > 0:
                stated[in_order(record)] -= 1
            else:
                missing.append(record)
    return missing


def unreadable(images: Iterable[Image]) -> list[str]:
    """Return a sentence for each image with a result that is no record."""
    return [
        f"Series {image.header.image_series_index}, slice {image.header.slice}: its {RESULT_ATTRIBUTE} "
        f"is no record of a result ({problem}); it is skipped."
        for image in images
        if isinstance(problem := _record(image), str)
    ]


def _record(
    image: Image, attribute: str = RESULT_ATTRIBUTE, kind: type[Slice] | type[Ecv] = Slice
) -> Record | str | None:
    """Return the record of an image, the error in it, or None for an image without a record."""
    if attribute.encode() not in image.attributes:
        return None
    try:
        text = image.meta().get(attribute)
        return read_record(text[0], kind) if text else None
    except (ProtocolError, ValueError) as error:
        return str(error)


def paced(images: Sequence[Image], speed: float = 1.0) -> Iterator[Image]:
    """Yield each image at its acquisition time stamp; the earliest is due at once.

    A stamp of 0 states no time: such an image is due with the one before it. Those after midnight go on from
    those before (:func:`inline.data.time_stamps.past_midnight`).

    Args:
        images: all of the replay, in the order of sending.
        speed: factor on the pace of the time stamps.
    """
    stamps = past_midnight([image.header.acquisition_time_stamp for image in images])
    earliest = min((stamp for stamp in stamps if stamp), default=0)
    start = time.perf_counter()
    for image, stamp in zip(images, stamps, strict=True):
        due = start + (stamp - earliest) / TICKS / speed
        time.sleep(max(due - time.perf_counter(), 0.0))
        yield image


def write_overlay(file: Path, record: Record, image: Image, scale: int = 3) -> None:
    """Write a map with its contours as PNG of mode 0600.

    Raises:
        ProtocolError: the image does not state its scale, or is no map.
        OutputError: it cannot be written.
    """
    quantity, review = Quantity(record["quantity"]), Flag.REVIEW in record["flags"]
    contours, crosses = contours_of(record), points_of(record)
    overlay = draw(map_values(image), quantity, contours, scale, crosses=crosses, review=review)
    made, png = cv2.imencode(".png", overlay[:, :, ::-1])
    with atomic_output(file, private=True) as beside:
        if not made:
            raise OSError("it cannot be encoded as PNG")
        beside.write_bytes(png.tobytes())


def contours_of(record: Record) -> Contours | None:
    """Return the contours of a record, in pixels of the map."""
    found = record["contours"]
    if not found:
        return None
    return Contours(**{name: np.array(found[name]["pixels"], np.float64) for name in ("endo", "epi")})


def points_of(record: Record) -> tuple[tuple[float, float], ...]:
    """Return the insertion points (x, y) of a record, in pixels of the map."""
    found = record.get("insertions") or {}
    points = (found[name]["pixels"] for name in ("anterior", "inferior") if found.get(name))
    return tuple((x, y) for x, y in points)


def map_values(image: Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the values of a map in its unit, ``(rows, columns)``.

    Raises:
        ProtocolError: the image does not state its scale, or is no map.
    """
    try:
        scale = float(image.meta()["GADGETRON_ScaleRatio"][0])
    except (KeyError, IndexError, ValueError) as error:
        raise ProtocolError("the map has no scale (GADGETRON_ScaleRatio)") from error
    if not (np.isfinite(scale) and scale > 0) or np.iscomplexobj(image.pixels):
        raise ProtocolError("the map cannot be brought to milliseconds")
    values: np.ndarray[Any, np.dtype[np.float32]] = image.pixels[0, 0].astype(np.float32) / np.float32(scale)
    return values
