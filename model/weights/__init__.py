"""The trained weights that ship with myostream: fp16 safetensors in parts that any git host takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.unet import UNet

DEFAULT: Final = Path(__file__).parent
PART_BYTES: Final = 15 * 1024 * 1024


class WeightsError(Exception):
    """A folder of weights is missing, damaged, or belongs to another network."""


def save_weights(network: UNet, folder: Path) -> list[Path]:
    """Write the weights of a network in parts of at most 15 MiB, in order; returns the files.

    Kernels are fp16, vectors (biases, scales, running statistics) float32.

    Raises:
        ValueError: a kernel has values that fp16 does not hold.
    """
    parts: list[dict[str, Tensor]] = [{}]
    room = PART_BYTES
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # counts training steps; nothing reads it afterwards
            continue
        # Running variances may exceed what fp16 holds; they and the biases weigh next to nothing.
        exact = value.detach().cpu().contiguous()
        half = exact.half() if exact.ndim > 1 else exact
        if not half.isfinite().all():
            raise ValueError(f"{name} has values that fp16 does not hold")
        if half.nbytes > room and parts[-1]:
            parts.append({})
            room = PART_BYTES
        parts[-1][name] = half
        room -= half.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("unet-*.safetensors"):
        old.unlink()
    files = [folder / f"unet-{i + 1:02d}-of-{len(parts):02d}.safetensors" for i in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        save_file(part, file)
    return files


def load_weights(folder: Path = DEFAULT) -> Mapping[str, Tensor]:
    """All tensors of a folder of parts, as float32.

    Raises:
        WeightsError: no parts, some of them missing, or one cannot be read.
    """
    files = sorted(folder.glob("unet-*.safetensors"))
    if not files:
        raise WeightsError(f"no weights (unet-*.safetensors) in {folder}")
    expected = int(files[0].stem.rsplit("-", 1)[1])
    if len(files) != expected:
        raise WeightsError(f"{len(files)} of {expected} parts of the weights are in {folder}; copy them all")
    state: dict[str, Tensor] = {}
    for file in files:
        try:
            state.update(load_file(file))
        except SafetensorError as error:
            raise WeightsError(f"{file} is damaged ({error}); copy it again") from error
    return {name: value.float() for name, value in state.items()}


def load_network(folder: Path = DEFAULT) -> UNet:
    """The network with its weights, ready for inference on the CPU in float32.

    Raises:
        WeightsError: as :func:`load_weights`, or the weights are those of another network.
    """
    with torch.device("meta"):
        network = UNet()
    state = dict(load_weights(folder))
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=value.dtype)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"the weights in {folder} do not fit the network: {error}") from error
    return network.eval().requires_grad_(False)
