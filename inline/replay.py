"""What comes back from a server: the images that were sent, and results as records and pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inline.errors import ProtocolError
from inline.flags import Flag
from inline.mrd.messages import Image
from inline.overlay import draw
from inline.results import RESULT_ATTRIBUTE, Contours
from inline.series import Quantity

Record = dict[str, Any]
_TICK_S = 0.0025


@dataclass(frozen=True, slots=True)
class Comparison:
    """The images that came back beside those that were sent.

    Attributes:
        unchanged: number of images that came back bit for bit.
        attributes_rewritten: came back with their header and pixels, but with another attribute string.
        header_rewritten: came back with their pixels, but with another header.
        lost: came back with no image that has their pixels, size and pixel type.
        added: images that came back and are none of those that were sent.
    """

    unchanged: int
    attributes_rewritten: int
    header_rewritten: int
    lost: int
    added: list[Image]

    def __str__(self) -> str:
        sent = self.unchanged + self.attributes_rewritten + self.header_rewritten + self.lost
        parts = [f"{sent} images sent", f"{self.lost} lost"]
        for number, what in (
            (self.attributes_rewritten, "with rewritten attributes"),
            (self.header_rewritten, "with a rewritten header"),
        ):
            parts += [f"{number} {what}"] if number else []
        return ", ".join(parts)


def compare(sent: Iterable[Image], returned: Sequence[Image]) -> Comparison:
    """Find every image that was sent among those that came back. Each of these counts once.

    Peers write attributes anew, and with them the header's length of the attribute string.
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
    """Result and map of every slice among the images that came back, by series and slice."""
    found: list[tuple[Record, Image]] = []
    for image in images:
        if RESULT_ATTRIBUTE.encode() not in image.attributes:
            continue
        try:
            text = image.meta().get(RESULT_ATTRIBUTE)
            record = json.loads(text[0]) if text else None
        except (ProtocolError, ValueError, RecursionError):
            continue  # another program's attribute
        if isinstance(record, dict) and {"slice_index", "quantity"} <= set(record):
            found.append((record, image))
    return sorted(found, key=lambda pair: (pair[0]["slice_index"], pair[0]["quantity"]))


def realtime(images: Iterable[Image], speed: float = 1.0) -> Callable[[Image], None]:
    """A pace that waits before each image until its time stamp says that it was acquired.

    Args:
        images: all that will be sent; the earliest is sent at once.
        speed: how many times faster than the time stamps.
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
    """The map of a result in ms, ``(rows, columns)``."""
    scale = float(image.meta()["GADGETRON_ScaleRatio"][0])
    values: np.ndarray[Any, np.dtype[np.float32]] = image.pixels[0, 0].astype(np.float32) / np.float32(scale)
    return values


def write_overlay(file: Path, record: Record, image: Image, scale: int = 3) -> None:
    """Write the map with its contours as PNG."""
    contours = None
    if record["contours"]:
        endo, epi = (np.array(record["contours"][name]["pixels"]) for name in ("endo", "epi"))
        contours = Contours(endo=endo, epi=epi)
    quantity, review = Quantity(record["quantity"]), Flag.REVIEW in record["flags"]
    picture = draw(map_values(record, image), quantity, contours, scale, review=review)
    cv2.imwrite(str(file), picture[:, :, ::-1])
