"""What comes back from a server as results a person can read: records, pictures, a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inline.flags import Flag
from inline.mrd.messages import Image
from inline.overlay import draw
from inline.results import RESULT_ATTRIBUTE, Contours
from inline.series import Quantity

Record = dict[str, Any]
_TICK_S = 0.0025


def records(images: Iterable[Image]) -> list[tuple[Record, Image]]:
    """Result and map of every slice among the images that came back, by series and slice."""
    found: list[tuple[Record, Image]] = []
    for image in images:
        has_result = RESULT_ATTRIBUTE.encode() in image.attributes
        text = image.meta().get(RESULT_ATTRIBUTE) if has_result else None
        if text:
            found.append((json.loads(text[0]), image))
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
