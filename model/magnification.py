"""Magnification of small hearts: how much, and from which size on.

The network finds hearts of a usual size best, and resolves a wall of two pixels less well than one of four. A
heart that is small in the frame therefore gets a magnified pass
(:mod:`model.engines.magnifying`); the training has such images too (:mod:`model.training.ring`).
"""

from __future__ import annotations

from typing import Final

SMALL_MM: Final = 45.0
"""Diameter below which a heart is magnified."""
APPARENT_MM: Final = 38.0
"""Diameter that it is magnified to, within :data:`FACTORS`."""
FACTORS: Final = (1.25, 3.0)
"""Smallest and largest factor: images that are magnified further show no more."""
