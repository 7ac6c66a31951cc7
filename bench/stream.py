"""Simulated slices for the measurements of the stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from inline.mrd.messages import Image
from inline.replay.simulate import MOLLI_SERIES, header_xml, simulate_examination, to_images

_HEARTS: Final = 4
"""Simulated hearts; more slices repeat them."""


def make_stream(slices: int, size: int = 256) -> tuple[str, list[list[Image]]]:
    """Return a header, and the images of each slice: MOLLI (8) and T2-prep (3) in turn.

    Args:
        slices: half of them MOLLI.
        size: rows and columns.
    """
    hearts = simulate_examination(_HEARTS, seed=3, size=size)
    series: dict[tuple[int, int], list[Image]] = {}
    for image in to_images(hearts):
        series.setdefault((image.header.slice, image.header.image_series_index), []).append(image)
    stream = []
    for number in range(slices):
        members = series[number // 2 % _HEARTS, MOLLI_SERIES + number % 2]
        # Another slice number and position: the server takes equal images for duplicates.
        slice_, position = number // 2, (0.0, 0.0, 10.0 * (number // 2))
        stream.append(
            [replace(each, header=replace(each.header, slice=slice_, position=position)) for each in members]
        )
    return header_xml(hearts), stream
