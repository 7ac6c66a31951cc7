"""Replies of a server: comparison with the images that were sent, records of results, overlays."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import cv2
import numpy as np

from inline.data.errors import ProtocolError
from inline.data.flags import Flag
from inline.data.results import RESULT_ATTRIBUTE, Contours
from inline.data.series import Quantity
from inline.emit.overlay import draw
from inline.mrd.messages import Image
from inline.replay.results import Record, read_record
from inline.replay.table import NO_RESULT, counted
from model.output import atomic_output

_TICK_S = 0.0025
_PROBLEM: Final = re.compile(r"(?s)(?:ERR|WRN) myostream: series (\d{1,5}) slice (\d{1,5}) \((\w+)\): (.*)")
"""Text of a server on a slice that it could not work on."""


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
        for number, what in (
            (self.attributes_rewritten, "with rewritten attributes"),
            (self.header_rewritten, "with a rewritten header"),
        ):
            parts += [f"{number} {what}"] if number else []
        return ", ".join(parts)


def compare(sent: Iterable[Image], returned: Sequence[Image]) -> Comparison:
    """Find every image that was sent among those that came back; each of these counts once.

    Peers may rewrite the attributes, and with them the length that the header states.
    """
    missing, left, found = list(sent), list(returned), list[int]()
    for key in (_all, _without_attributes, _pixels_alone):
        waiting: dict[object, list[int]] = {}
        for place, image in enumerate(left):
            waiting.setdefault(key(image), []).append(place)
        matched: set[int] = set()
        still = []
        for image in missing:
            places = waiting.get(key(image))
            if places:
                matched.add(places.pop(0))
            else:
                still.append(image)
        found.append(len(missing) - len(still))
        missing = still
        left = [image for place, image in enumerate(left) if place not in matched]
    unchanged, attributes_rewritten, header_rewritten = found
    return Comparison(unchanged, attributes_rewritten, header_rewritten, len(missing), left)


def _all(image: Image) -> object:
    return image


def _without_attributes(image: Image) -> object:
    return replace(image.header, attribute_string_len=0), image.data


def _pixels_alone(image: Image) -> object:
    header = image.header
    return header.data_type, header.channels, header.matrix_size, image.data


def records(images: Iterable[Image]) -> list[tuple[Record, Image]]:
    """Return record and map of every result among images, by slice, quantity and series."""
    read = ((_record(image), image) for image in images)
    found = [(record, image) for record, image in read if isinstance(record, dict)]
    return sorted(found, key=lambda pair: in_order(pair[0]))


def in_order(record: Record) -> tuple[int, str, int]:
    """Return the key by which records are sorted: slice, quantity, series."""
    return record["slice_index"], record["quantity"], record["series_index"]


def without_result(texts: Iterable[str], found: Iterable[Record]) -> list[Record]:
    """Return a record with an error alone for each slice of which only an error message came.

    Args:
        texts: of the server.
        found: records that came; those with an error have a message too.
    """
    stated = Counter(
        (record["series_index"], record["slice_index"], record["quantity"])
        for record in found
        if record["error"]
    )
    missing = []
    for match in filter(None, map(_PROBLEM.match, texts)):
        key = series_index, slice_index, quantity = int(match[1]), int(match[2]) - 1, match[3]
        if stated[key] > 0:
            stated[key] -= 1
            continue
        content = {"series_index": series_index, "slice_index": slice_index, "quantity": quantity}
        with suppress(ValueError):  # a text of another program
            missing.append(
                read_record(content | {"regions": [], "flags": [], "error": f"{NO_RESULT}{match[4]}"})
            )
    return missing


def unreadable(images: Iterable[Image]) -> list[str]:
    """Return a sentence for each image with a result that is no record."""
    return [
        f"Series {image.header.image_series_index}, slice {image.header.slice + 1}: its {RESULT_ATTRIBUTE} "
        f"is no record of a result ({problem}); it is skipped."
        for image in images
        if isinstance(problem := _record(image), str)
    ]


def _record(image: Image) -> Record | str | None:
    """Return the record of an image, the error in it, or None for an image without a record."""
    if RESULT_ATTRIBUTE.encode() not in image.attributes:
        return None
    try:
        text = image.meta().get(RESULT_ATTRIBUTE)
        return read_record(json.loads(text[0], parse_constant=_no_number)) if text else None
    except RecursionError:
        return "nested too deeply"
    except (ProtocolError, ValueError) as error:
        return str(error)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def realtime(images: Iterable[Image], speed: float = 1.0) -> Callable[[Image], None]:
    """Return a function that waits until the time stamp of an image.

    Args:
        images: all of the replay; the earliest is sent at once.
        speed: factor on the pace of the time stamps.
    """
    earliest = min((image.header.acquisition_time_stamp for image in images), default=0)
    start: list[float] = []

    def wait(image: Image) -> None:
        if not start:
            start.append(time.perf_counter())
        due = start[0] + (image.header.acquisition_time_stamp - earliest) * _TICK_S / speed
        time.sleep(max(due - time.perf_counter(), 0.0))

    return wait


def map_values(record: Record, image: Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the map of a result, ms, ``(rows, columns)``.

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


def overlay_names(found: Sequence[Record]) -> list[str]:
    """Return a distinct file name for the overlay of each record: slice, quantity, series."""
    names: list[str] = []
    for record in found:
        name = base = (
            f"slice-{record['slice_index'] + 1:02d}-{record['quantity']}-series-{record['series_index']}"
        )
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return [f"{name}.png" for name in names]


def write_overlay(file: Path, record: Record, image: Image, scale: int = 3) -> None:
    """Write a map with its contours and insertion points as PNG of mode 0600.

    Raises:
        ProtocolError: as :func:`map_values`.
        OutputError: it cannot be written.
    """
    contours = None
    if record["contours"]:
        endo, epi = (np.array(record["contours"][name]["pixels"]) for name in ("endo", "epi"))
        contours = Contours(endo=endo, epi=epi)
    quantity, review = Quantity(record["quantity"]), Flag.REVIEW in record["flags"]
    points = record.get("insertions") or {}
    crosses = [points[name]["pixels"] for name in ("anterior", "inferior") if points.get(name)]
    overlay = draw(map_values(record, image), quantity, contours, scale, crosses=crosses, review=review)
    made, png = cv2.imencode(".png", overlay[:, :, ::-1])
    with atomic_output(file, private=True) as beside:
        if not made:
            raise OSError("it cannot be encoded as PNG")
        beside.write_bytes(png.tobytes())
