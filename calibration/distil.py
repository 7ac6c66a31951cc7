"""Training with eight bits simulated, so that the eight-bit network answers as the one in float32 does.

Quantisation after training rounds weights that never knew of it. Here the network in float32 is the teacher,
and the same network with NNCF's quantisers in it the pupil (quantisation-aware training by distillation,
Polino et al. 2018, arXiv:1802.05668): weights and ranges move until rounded answers agree. No labels are
needed and none are used; the pictures are synthetic.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.precision import quantise
from calibration.slices import calibration_batches
from model.engines.openvino_engine import convert_module
from model.engines.probabilities import Probabilities
from model.frame import FRAME_PIXELS
from model.synthesis.generator import make_batch
from model.training.data import MOSTLY_MAPS
from model.unet import UNet

_SEED: Final = 7003
_SMALL: Final = 128
_BATCHES: Final = ((12, _SMALL), (4, FRAME_PIXELS))
"""Slices and pixels of the two kinds of batches, in turn: many hearts, and all that surrounds one."""
_RATE: Final = 3e-5
_WARM_STEPS: Final = 20
_CLIP: Final = 1.0


def distil(
    network: UNet, steps: int, calibration_slices: int, tell: Callable[[int, float], None] | None = None
) -> Any:
    """An INT8 model for OpenVINO, trained to answer as ``network`` does.

    Args:
        network: in float32; it stays as it is.
        steps: batches to learn from.
        calibration_slices: synthetic slices that first ranges are taken from.
        tell: is given the number of each step and its loss.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
        RuntimeError: NNCF's quantisers cannot be compiled here; they need a C++ compiler.
    """
    teacher = Probabilities(network).eval()
    first = [torch.from_numpy(images) for images in calibration_batches(calibration_slices)]
    pupil: nn.Module = quantise(teacher, first)
    # In evaluation mode throughout: statistics of batch normalisation belong to the teacher.
    learned = [value.requires_grad_() for value in pupil.eval().parameters() if value.is_floating_point()]
    optimizer = torch.optim.Adam(learned, lr=_RATE)
    for step, images in enumerate(_pictures(steps)):
        falling = 0.5 * (1.0 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / _WARM_STEPS, 1.0) * falling
        with torch.no_grad():
            wanted = teacher(images)
        loss = disagreement(pupil(images), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, _CLIP)
        optimizer.step()
        if tell is not None:
            tell(step, float(loss.detach()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: levels of a quantiser are constants, as it should be
        return convert_module(pupil)


def disagreement(answered: Tensor, wanted: Tensor) -> Tensor:
    """Mean over slices of the Kullback-Leibler divergence of probabilities, per pixel of border.

    Nearly all pixels are background and agreed upon. What counts is how far borders move, and that is the
    divergence summed over a slice in units of the border's length, for which the root of the heart's area
    stands; a tiny apical ring counts as much as a large one.

    Args:
        answered: probabilities ``(n, 3, h, w)``.
        wanted: the teacher's, likewise.

    Returns:
        Scalar, 0 where both agree.
    """
    smallest = torch.finfo(answered.dtype).tiny ** 0.5
    logs = answered.clamp(min=smallest).log()
    apart = functional.kl_div(logs, wanted, reduction="none").sum(dim=(1, 2, 3))
    border = wanted[:, 1:].sum(dim=(1, 2, 3)).sqrt() + 5.0
    return (apart / border).mean()


def _pictures(steps: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(_SEED)
    for step in range(steps):
        n, size = _BATCHES[step % len(_BATCHES)]
        made = make_batch(n, size, generator, MOSTLY_MAPS)
        yield made.images[:, None].contiguous(memory_format=torch.channels_last)
