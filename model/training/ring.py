"""Ring of synthetic slices on the device: each is made once and drawn at random, with random changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from model.architecture import CLASSES
from model.frame import FRAME_MM
from model.magnification import APPARENT_MM, FACTORS, SMALL_MM
from model.synthesis.apex import SHARE
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch, normalise_batch

_TURN: Final = 0.25
"""Standard deviation of the rotation, radians."""
_SHIFT: Final = 0.05
"""Largest shift, in units of the image."""
_MAGNIFIED: Final = 0.5
"""Share of the small hearts that are magnified."""
_ELSEWHERE: Final = 0.05
"""Share of all slices of which another part is magnified, mostly without a heart."""


@dataclass(frozen=True, slots=True)
class StepSlices:
    """Slices of one training step.

    Attributes:
        images: network input, float32 ``(n, 1, rows, columns)``.
        labels: int64 ``(n, rows, columns)``.
        insertions: (x, y) in pixels, ``(n, 2, 2)``; NaN where there is none in the image.
    """

    images: Tensor
    labels: Tensor
    insertions: Tensor


class Ring:
    """The last ``capacity`` synthetic slices.

    Args:
        capacity: slices.
        size: rows and columns, pixels of 1.5 mm.
        generator: source of randomness; its device is where the slices are.
        apices: share of small apices (:mod:`model.synthesis.apex`).
    """

    def __init__(self, capacity: int, size: int, generator: torch.Generator, apices: float = SHARE) -> None:
        device = generator.device
        self._images = torch.zeros(capacity, size, size, dtype=torch.float16, device=device)
        self._labels = torch.zeros(capacity, size, size, dtype=torch.uint8, device=device)
        self._insertions = torch.zeros(capacity, 2, 2, device=device)
        self._generator, self._size, self._apices = generator, size, apices
        self.made = 0

    @property
    def held(self) -> int:
        """Number of slices in the ring."""
        return min(self.made, len(self._images))

    def make(self, count: int, mix: Mix | None = None) -> None:
        """Make ``count`` new slices in the place of the oldest."""
        made = make_batch(count, self._size, self._generator, mix, apices=self._apices)
        index = (torch.arange(count, device=self._images.device) + self.made) % len(self._images)
        # Maps in ms and images of any scale become comparable; float16 keeps three digits of them.
        top = made.unscaled.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
        self._images[index] = (made.unscaled / top).half()
        self._labels[index] = made.labels.to(torch.uint8)
        self._insertions[index] = made.insertions
        self.made += count

    def draw(self, count: int) -> StepSlices:
        """Return ``count`` random slices: turned, scaled, shifted, other contrast, new noise."""
        device, generator = self._images.device, self._generator

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, device=device)

        index = torch.randint(self.held, (count,), generator=generator, device=device)
        factor, centre = self._magnification(index)
        turn, scale = _TURN * normal(count), torch.exp(0.1 * normal(count).clamp(-2.0, 2.0)) / factor
        shift = centre + (2.0 * torch.rand(count, 2, generator=generator, device=device) - 1.0) * _SHIFT * 2.0
        cos, sin = scale * torch.cos(turn), scale * torch.sin(turn)
        # From places in the new image to places in the slice, both from -1 to 1.
        matrix = torch.stack(
            [torch.stack([cos, -sin, shift[:, 0]], dim=1), torch.stack([sin, cos, shift[:, 1]], dim=1)], dim=1
        )
        grid = functional.affine_grid(matrix, [count, 1, self._size, self._size], align_corners=False)
        images = functional.grid_sample(self._images[index][:, None].float(), grid, align_corners=False)
        classes = functional.one_hot(self._labels[index].long(), CLASSES).movedim(-1, 1).float()
        # Between pixels the class with the largest share: magnified labels keep no steps.
        labels = functional.grid_sample(classes, grid, align_corners=False).argmax(dim=1)
        half = self._size / 2
        places = (self._insertions[index] + 0.5) / half - 1.0 - shift[:, None]
        back = (
            torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
            / scale[:, None, None] ** 2
        )
        points = ((back @ places.mT).mT + 1.0) * half - 0.5
        inside = ((points > 0) & (points < self._size - 1)).all(dim=2, keepdim=True)
        gamma = torch.exp(0.2 * normal(count, 1, 1))
        bent = torch.sign(images[:, 0]) * images[:, 0].abs() ** gamma
        prepared = normalise_batch(bent)
        noise = 0.1 * torch.rand(count, 1, 1, generator=generator, device=device) ** 3
        prepared = prepared + noise * normal(*prepared.shape)
        return StepSlices(prepared[:, None], labels, torch.where(inside, points, torch.nan))

    def _magnification(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return factor ``(n,)`` and centre (x, y) from -1 to 1, ``(n, 2)``, of slices to be drawn."""
        device, generator = self._images.device, self._generator
        heart = self._labels[index] > 0
        pixels = heart.sum(dim=(1, 2)).clamp(min=1)
        at = (2.0 * torch.arange(self._size, device=device) + 1.0) / self._size - 1.0
        centre = torch.stack([(heart.sum(dim=axis) * at).sum(dim=1) / pixels for axis in (1, 2)], dim=1)
        diameter = FRAME_MM * (4.0 / math.pi * pixels).sqrt()
        chance, place, size = torch.rand(3, len(index), 2, generator=generator, device=device)
        there = heart.flatten(1).any(dim=1) & (diameter < SMALL_MM) & (chance[:, 0] < _MAGNIFIED)
        elsewhere = chance[:, 1] < _ELSEWHERE
        factor = torch.where(there, (APPARENT_MM / diameter).clamp(*FACTORS), 1.0)
        factor = torch.where(elsewhere, FACTORS[0] + (FACTORS[1] - FACTORS[0]) * size[:, 0], factor)
        centre = torch.where(elsewhere[:, None], 1.6 * place - 0.8, centre * there[:, None])
        return factor, centre
