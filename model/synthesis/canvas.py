"""Canvas of anatomy: tissue fractions of pixels, and distances to shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from model.synthesis.tissues import Tissue


class Canvas:
    """Tissue fractions that structures are painted onto, later ones over earlier ones.

    Layers are kept and composed from front to back when the fractions are read: each layer then costs two
    passes over one image; painting it at once would cost one pass over all tissues.
    """

    def __init__(self, n: int, rows: int, columns: int, pixel_mm: float, device: torch.device) -> None:
        self._behind = torch.zeros(n, len(Tissue), rows, columns, device=device)
        self._behind[:, Tissue.AIR] = 1.0
        self._layers: list[tuple[Tensor, Tissue]] = []
        self._pixel_mm = pixel_mm

    @property
    def fractions(self) -> Tensor:
        """Share of each tissue in each pixel, ``(n, tissues, rows, columns)``."""
        if self._layers:
            through = torch.ones_like(self._behind[:, 0])
            front = torch.zeros_like(self._behind)
            for cover, tissue in reversed(self._layers):
                front[:, tissue].addcmul_(cover, through)
                through.addcmul_(cover, through, value=-1.0)
            self._behind = front.addcmul_(self._behind, through[:, None])
            self._layers.clear()
        return self._behind

    def paint(
        self, distance: Tensor, tissue: Tissue, opacity: Tensor | float = 1.0, soft_mm: Tensor | float = 0.0
    ) -> None:
        """Paint where the distance is positive; the border is a pixel wide, and ``soft_mm`` wider."""
        cover = (distance / (self._pixel_mm + soft_mm) + 0.5).clamp(0.0, 1.0) * opacity
        self._layers.append((cover, tissue))


def ellipse(u: Tensor, v: Tensor, radius_u: Tensor, radius_v: Tensor) -> Tensor:
    """Distance to an ellipse around the origin, exact on the axes and close to it elsewhere, mm."""
    rho = torch.sqrt((u / radius_u) ** 2 + (v / radius_v) ** 2 + 1e-6)
    gradient = torch.sqrt((u / radius_u**2) ** 2 + (v / radius_v**2) ** 2 + 1e-9)
    return (1.0 - rho) * rho / gradient
