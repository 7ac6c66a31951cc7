"""Simulated examinations with known truth: the weighted images that a scanner would reconstruct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.frame import FRAME_MM
from model.synthesis.anatomy import make_anatomy
from model.synthesis.contrast_agent import ContrastAgent
from model.synthesis.motion import MotionKind, breathing, moved
from model.synthesis.randomness import Draw
from model.synthesis.sequences import T2PREP_BEATS, Molli, molli_signals, t2prep_signals
from model.synthesis.tissues import RELAXATION, Tissue, TissueValues

_BREATH_SEED: Final = 1 << 40
_ENHANCED_SEED: Final = 1 << 41


@dataclass(frozen=True, slots=True)
class SimulatedSlice:
    """One slice as acquired, with its truth.

    Attributes:
        molli: magnitude images, float32 ``(n, rows, columns)``, in the order of acquisition.
        inversion_times_ms: of each, ``(n,)``.
        t2prep: magnitude images, float32 ``(m, rows, columns)``.
        preparation_times_ms: of each, ``(m,)``.
        t1_ms: true T1, mean over the tissues that share a pixel, float32 ``(rows, columns)``.
        t2_ms: true T2, likewise.
        labels: 0 background, 1 LV cavity, 2 myocardium, uint8 ``(rows, columns)``.
        level: 0 at the base to 1 at the apex.
        pixel_mm: pixel size.
        molli_motion_mm: displacement of the tissue in each MOLLI image, (x, y), float32
            ``(n, 2, rows, columns)`` (:func:`model.synthesis.motion.breathing`); None at rest. The truth is
            that at rest.
        t2prep_motion_mm: likewise of the T2-prep images.
    """

    molli: NDArray[np.float32]
    inversion_times_ms: NDArray[np.float64]
    t2prep: NDArray[np.float32]
    preparation_times_ms: NDArray[np.float64]
    t1_ms: NDArray[np.float32]
    t2_ms: NDArray[np.float32]
    labels: NDArray[np.uint8]
    level: float
    pixel_mm: float
    molli_motion_mm: NDArray[np.float32] | None = None
    t2prep_motion_mm: NDArray[np.float32] | None = None


def _healthy(draw: Draw) -> TissueValues:
    """Tissue of a healthy person at 1.5 T, with little spread."""
    table = torch.tensor([[r.t1, r.t2, r.density] for r in RELAXATION.values()])
    spread = 1.0 + 0.02 * torch.randn(draw.n, len(Tissue), generator=draw.generator)
    t1, t2, density = table.unbind(dim=1)
    return TissueValues(t1 * spread, t2 * spread, density.expand(draw.n, -1))


def simulate_slice(
    seed: int,
    *,
    size: int = 256,
    scheme: str = "5(3)3",
    preparation_times_ms: tuple[float, ...] = (0.0, 25.0, 55.0),
    heartbeat_ms: float = 900.0,
    snr: float = 50.0,
    level: float | None = None,
    usual: bool = False,
    motion_mm: float = 0.0,
    motion: MotionKind = "elastic",
    agent: ContrastAgent | None = None,
) -> SimulatedSlice:
    """Simulate MOLLI and T2-prep images of one random healthy heart.

    Args:
        seed: fixes everything random.
        size: rows and columns, pixels of 1.5 mm.
        scheme: MOLLI scheme.
        preparation_times_ms: of the T2-prep images.
        heartbeat_ms: RR interval.
        snr: signal of fully relaxed myocardium over the standard deviation of the noise in each channel.
        level: 0 (base) to 1 (apex), or random.
        usual: a heart of usual size in the middle, septum on the left, diaphragm below.
        motion_mm: largest displacement of the heart by breathing; 0 for a breath-hold. Noise is that of a
            breath-hold with the same seed.
        motion: rigid or elastic.
        agent: images after contrast agent, of the same heart as without for the same seed, with noise and
            breathing of their own; None for native ones.

    Raises:
        ValueError: the scheme cannot be read.
    """
    draw = Draw(1, torch.Generator().manual_seed(seed))
    anatomy = make_anatomy(draw, size, size, FRAME_MM, level, usual=usual)
    values = _healthy(draw)
    if agent is not None:
        values, seed = agent.enhanced(values), seed + _ENHANCED_SEED
        draw = Draw(1, torch.Generator().manual_seed(seed))
    molli = Molli.parse(scheme)

    # Draws of its own: noise and anatomy are those of the breath-hold.
    breath = Draw(1, torch.Generator().manual_seed(seed + _BREATH_SEED))

    def motion_of(beats: list[int]) -> torch.Tensor | None:
        if not motion_mm:
            return None
        times = [beat * heartbeat_ms for beat in beats]
        return breathing(breath, times, anatomy.labels[0] > 0, FRAME_MM, motion_mm, motion)

    def images(signals: torch.Tensor, field: torch.Tensor | None) -> NDArray[np.float32]:
        mixed = torch.einsum("nit,nthw->nihw", signals, anatomy.fractions)[0]
        if field is not None:
            mixed = moved(mixed, field, FRAME_MM)
        sigma = RELAXATION[Tissue.MYOCARDIUM].density * 0.3 / snr
        noise = sigma * torch.randn(2, *mixed.shape, generator=draw.generator)
        return torch.sqrt((mixed + noise[0]) ** 2 + noise[1] ** 2).numpy() * np.float32(1000.0)

    def truth(tissue: torch.Tensor) -> NDArray[np.float32]:
        return torch.einsum("t,thw->hw", tissue[0], anatomy.fractions[0]).numpy()

    molli_motion = motion_of(molli.beats())
    t2prep_motion = motion_of([T2PREP_BEATS * number for number in range(len(preparation_times_ms))])
    return SimulatedSlice(
        molli=images(molli_signals(values, molli, heartbeat_ms), molli_motion),
        inversion_times_ms=np.array(molli.times_ms(heartbeat_ms)),
        t2prep=images(t2prep_signals(values, preparation_times_ms, heartbeat_ms), t2prep_motion),
        preparation_times_ms=np.array(preparation_times_ms),
        t1_ms=truth(values.t1),
        t2_ms=truth(values.t2),
        labels=anatomy.labels[0].numpy().astype(np.uint8),
        level=float(anatomy.level[0]),
        pixel_mm=FRAME_MM,
        molli_motion_mm=None if molli_motion is None else molli_motion.numpy(),
        t2prep_motion_mm=None if t2prep_motion is None else t2prep_motion.numpy(),
    )
