"""Slices by their position, for senders that do not count them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from inline.mrd.image_header import ImageHeader

_TOLERANCE_MM: Final = 1.95
"""Along the normal: positions of one slice differ by rounding and table motion, slices by more."""
_PARALLEL: Final = 0.999
"""Cosine of the angle between the normals of images of one slice, about 2.5 degrees."""
_REMEMBERED: Final = 512
"""Latest planes that an image is compared with; bounds the time for an image."""


@dataclass(slots=True)
class Planes:
    """Planes of the images of a connection, numbered in the order of their first image."""

    _found: deque[tuple[int, np.ndarray, np.ndarray]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED)
    )
    _count: int = 0

    def number(self, header: ImageHeader) -> int:
        """Return the number of an image's plane; -1 where its position is not known."""
        position = np.array(header.position, dtype=np.float64)
        if not np.isfinite(position).all():
            return -1
        normal = np.zeros(3)
        if all(map(math.isfinite, (*header.read_dir, *header.phase_dir))):
            across = np.cross(header.read_dir, header.phase_dir)
            length = float(np.linalg.norm(across))
            normal = across / length if length > 0.5 else normal
        for number, place, direction in self._found:
            if _same(position - place, normal, direction):
                return number
        self._found.append((self._count, position, normal))
        self._count += 1
        return self._count - 1


def _same(apart: np.ndarray, normal: np.ndarray, other: np.ndarray) -> bool:
    if not normal.any() and not other.any():
        return float(np.linalg.norm(apart)) <= _TOLERANCE_MM
    return abs(float(normal @ other)) > _PARALLEL and abs(float(normal @ apart)) <= _TOLERANCE_MM
