"""Quantisation to int8 for OpenVINO with NNCF: after training, or with distillation.

Distillation continues the training with simulated rounding: the network in float32 is the teacher, the same
network with NNCF's quantisers the student (Polino et al. 2018, arXiv:1802.05668). It uses synthetic images
and no labels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import openvino
import torch
from torch import Tensor, nn
from torch.nn import functional

from calibration.slices import calibration_batches
from model.architecture import CLASSES
from model.engines.openvino_graph import build_model
from model.engines.probabilities import Probabilities
from model.frame import FRAME_PIXELS
from model.insertion import SPREAD_PIXELS
from model.synthesis.contrast import MOSTLY_MAPS
from model.synthesis.generator import make_batch
from model.unet import UNet
from model.weights import tensors_of

_SEED: Final = 7003
_BATCHES: Final = ((12, 128), (4, FRAME_PIXELS))
"""Slices and pixels of the two kinds of batches, in turn: many hearts, and whole frames."""
_TRACED_PIXELS: Final = 32
"""Side of the image that a module is traced with; the graph is the same for any size."""
_RATE: Final = 3e-5
_WARM_UP_STEPS: Final = 20
_LARGEST_GRADIENT: Final = 1.0
_HEAT_AREA: Final = 2.0 * math.pi * SPREAD_PIXELS**2
"""Heat of a point summed over pixels, as the training has it."""


def quantise(network: UNet, slices: int) -> Any:
    """Return an int8 model for OpenVINO, quantised after training.

    Args:
        network: in float32.
        slices: synthetic ones that ranges are taken from.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
    """
    return _with_quantisers(build_model(tensors_of(network)), list(calibration_batches(slices)))


def distil(
    network: UNet, steps: int, slices: int, progress: Callable[[int, float], None] | None = None
) -> Any:
    """Return an int8 model for OpenVINO, trained to return what ``network`` returns.

    Args:
        network: in float32; it is not changed.
        steps: batches to train with.
        slices: synthetic ones that initial ranges are taken from.
        progress: called with the number of each step and its loss.

    Raises:
        ImportError: NNCF is not installed (extra ``calibrate``).
        RuntimeError: NNCF's quantisers cannot be compiled here; they need a C++ compiler.
    """
    teacher = Probabilities(network).eval()
    batches = [torch.from_numpy(images) for images in calibration_batches(slices)]
    student: nn.Module = _with_quantisers(teacher, batches)
    # In evaluation mode throughout: the statistics of batch normalisation stay those of the teacher.
    trained = [value.requires_grad_() for value in student.eval().parameters() if value.is_floating_point()]
    optimizer = torch.optim.Adam(trained, lr=_RATE)
    for step, images in enumerate(_images(steps)):
        cosine = 0.5 * (1.0 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min((step + 1) / _WARM_UP_STEPS, 1.0) * cosine
        with torch.no_grad():
            target = teacher(images)
        output = student(images)
        loss = divergence(output[:, :CLASSES], target[:, :CLASSES])
        if target.shape[1] > CLASSES:
            loss = loss + heat_divergence(output[:, CLASSES:], target[:, CLASSES:])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT)
        optimizer.step()
        if progress is not None:
            progress(step, float(loss.detach()))
    return _converted(student)


def _converted(module: nn.Module) -> Any:
    """Convert a module from images to network output to a model for images ``(n, 1, 224, 224)``, any n."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: a quantiser's levels are constants, as intended
        # By default the network is traced twice for a comparison, which takes ten seconds.
        example = torch.zeros(1, 1, _TRACED_PIXELS, _TRACED_PIXELS)
        traced = torch.jit.trace(module.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
    model = openvino.convert_model(traced)
    model.reshape([-1, 1, FRAME_PIXELS, FRAME_PIXELS])
    return model


def divergence(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over slices of the Kullback-Leibler divergence by length of the class boundary.

    Nearly all pixels are background in both. The displacement of the boundary is the divergence summed over a
    slice by the boundary's length, which is taken as the square root of the heart's area. A small apical ring
    counts as much as a large one.

    Args:
        output: probabilities ``(n, 3, h, w)``.
        target: those of the teacher, likewise.

    Returns:
        Scalar, 0 where both are equal.
    """
    smallest = torch.finfo(output.dtype).tiny ** 0.5
    logs = output.clamp(min=smallest).log()
    by_slice = functional.kl_div(logs, target, reduction="none").sum(dim=(1, 2, 3))
    boundary = target[:, 1:].sum(dim=(1, 2, 3)).sqrt() + 5.0
    return (by_slice / boundary).mean()


def heat_divergence(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean over slices of the Kullback-Leibler divergence of heat maps by a point's heat.

    Each pixel is a binary distribution: heat or none. A point's heat is that of the training, summed over
    pixels, as :func:`divergence` divides by the length of the class boundary.

    Args:
        output: heat from 0 to 1, ``(n, k, h, w)``.
        target: that of the teacher, likewise.

    Returns:
        Scalar, 0 where both are equal.
    """
    smallest = torch.finfo(output.dtype).eps
    ours, theirs = (each.clamp(smallest, 1.0 - smallest) for each in (output, target))
    lost = functional.binary_cross_entropy(ours, theirs, reduction="none") - functional.binary_cross_entropy(
        theirs, theirs, reduction="none"
    )
    return lost.sum(dim=(1, 2, 3)).mean() / _HEAT_AREA


def _with_quantisers(model: Any, batches: Sequence[Any]) -> Any:
    """Quantise a model of OpenVINO or a module of torch, with ranges from batches of its input."""
    import nncf

    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(batches),
    )


def _images(steps: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(_SEED)
    for step in range(steps):
        n, size = _BATCHES[step % len(_BATCHES)]
        made = make_batch(n, size, generator, MOSTLY_MAPS)
        yield made.images[:, None].contiguous(memory_format=torch.channels_last)
