"""Random numbers in batches: every draw takes the generator, so that a seed fixes every image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Draw:
    """Draws for a batch of ``n`` examinations; scalars come as ``(n, 1, 1)`` so that they meet images."""

    n: int
    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.generator.device

    def aside(self) -> Draw:
        """Return draws of their own that depend on the state of these and leave it as it is."""
        state = self.generator.get_state().numpy().tobytes()
        seed = int.from_bytes(hashlib.blake2b(state, digest_size=7).digest())
        return Draw(self.n, torch.Generator(self.device).manual_seed(seed))

    def uniform(self, low: float, high: float) -> Tensor:
        """Uniform between ``low`` and ``high``, ``(n, 1, 1)``."""
        unit = torch.rand(self.n, 1, 1, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def log_uniform(self, low: float, high: float) -> Tensor:
        """Uniform in the logarithm, ``(n, 1, 1)``."""
        return low * (high / low) ** self.uniform(0.0, 1.0)

    def normal(self, mean: float, sd: float) -> Tensor:
        """Normal, ``(n, 1, 1)``."""
        return mean + sd * torch.randn(self.n, 1, 1, generator=self.generator, device=self.device)

    def chance(self, probability: float) -> Tensor:
        """1.0 with the given probability, else 0.0, ``(n, 1, 1)``."""
        return (self.uniform(0.0, 1.0) < probability).float()

    def white(self, rows: int, columns: int) -> Tensor:
        """Independent standard normal pixels ``(n, rows, columns)``."""
        return torch.randn(self.n, rows, columns, generator=self.generator, device=self.device)

    def smooth(self, rows: int, columns: int, cells: int) -> Tensor:
        """Smooth field of about ``cells`` hills across, standard normal in each, ``(n, rows, columns)``."""
        coarse = self.white(cells + 3, cells + 3)[:, None]
        field = functional.interpolate(coarse, (rows, columns), mode="bicubic", align_corners=True)
        return field[:, 0]

    def grain(self, rows: int, columns: int) -> Tensor:
        """Standard normal pixels whose neighbours are alike, more in some images, ``(n, rows, columns)``.

        What is reconstructed on a coarser grid, filtered and interpolated does not vary pixel by pixel.
        """
        white = self.white(rows + 2, columns + 2)
        around = functional.avg_pool2d(white[:, None], 3, 1)[:, 0]
        share = self.uniform(0.0, 1.0)
        mixed = (1.0 - share) * white[:, 1:-1, 1:-1] + share * 3.0 * around
        # The mean of nine correlates with its middle by a third.
        deviation = torch.sqrt((1.0 - share) ** 2 + share**2 + 2.0 * share * (1.0 - share) / 3.0)
        return mixed / deviation
