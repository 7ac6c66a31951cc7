"""Trained weights of the network: fp16 safetensors in parts that any git host takes.

They are read without torch, which only :func:`network_of` and its callers import.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from model.architecture import Tensors, tensor_shapes
from model.errors import MyostreamError
from model.output import atomic_output, check_folder, to_disk

if TYPE_CHECKING:
    from model.unet import UNet

DEFAULT: Final = Path(__file__).parent
PART_BYTES: Final = 15 * 1024 * 1024
_PART: Final = re.compile(r"unet-([0-9]{1,4})-of-([0-9]{1,4})\.safetensors")
_SUMS: Final = "unet.sha256"


class WeightsError(MyostreamError):
    """A folder of weights is missing, damaged, or belongs to another network."""


def save_weights(network: UNet, folder: Path) -> list[Path]:
    """Write the weights of a network in parts of at most 15 MiB, and return the files in order.

    Kernels are fp16, vectors (biases, scales, running statistics) float32. ``unet.sha256`` beside the parts
    has their digests in the format of ``sha256sum``.

    Raises:
        ValueError: a kernel has values outside the range of fp16.
        OutputError: a file cannot be written; earlier weights in the folder stay.
    """
    parts: list[dict[str, NDArray[np.floating[Any]]]] = [{}]
    room = PART_BYTES
    for name, exact in tensors_of(network).items():
        # Running variances may exceed the range of fp16; vectors take little space.
        with np.errstate(over="ignore"):
            half = exact.astype(np.float16) if exact.ndim > 1 else exact
        if not np.isfinite(half).all():
            raise ValueError(f"{name} has values that fp16 does not hold")
        if half.nbytes > room and parts[-1]:
            parts.append({})
            room = PART_BYTES
        parts[-1][name] = half
        room -= half.nbytes
    check_folder(folder)
    files = [folder / f"unet-{i + 1:02d}-of-{len(parts):02d}.safetensors" for i in range(len(parts))]
    # All parts are on disk beside their places before the first one replaces another; the digests come last.
    # Between the first and the last rename the folder holds parts of two sets.
    with ExitStack() as stack:
        sums = stack.enter_context(atomic_output(folder / _SUMS))
        lines = []
        for file, part in zip(files, parts, strict=True):
            beside = stack.enter_context(atomic_output(file))
            content = save(part)  # save_file raises no OSError on a full disk
            beside.write_bytes(content)
            to_disk(beside)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {file.name}\n")
        sums.write_text("".join(lines), encoding="utf-8")
        to_disk(sums)
    for old in set(folder.glob("unet-*.safetensors")) - set(files):
        old.unlink()
    return files


def load_weights(folder: Path = DEFAULT) -> Tensors:
    """Return all tensors of a folder of parts as they are stored: kernels in fp16, vectors in float32.

    Raises:
        WeightsError: no parts, some of them missing, one is damaged or cannot be read, ``unet.sha256`` names
            none, or they are those of another network.
    """
    found: dict[str, NDArray[np.floating[Any]]] = {}
    try:
        sums = _sums(folder)
        for file in _parts(folder):
            content = file.read_bytes()
            if sums and sums.get(file.name) != hashlib.sha256(content).hexdigest():
                raise WeightsError(
                    f"{file} is not the file that {folder / _SUMS} names; copy all files again, or repeat "
                    "the command that wrote them"
                )
            found.update(_tensors(file, content))
    except (OSError, ValueError) as error:
        raise WeightsError(f"the weights in {folder} cannot be read: {error}") from error
    expected = tensor_shapes(insertions="insertion_head.weight" in found)
    others = [
        name
        for name in (*expected, *(name for name in found if name not in expected))
        if name not in found or name not in expected or found[name].shape != expected[name]
    ]
    if others:
        raise WeightsError(
            f"the weights in {folder} are those of another network: {len(others)} tensors differ, "
            f"{others[0]} first"
        )
    return found


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a folder of weights, names included."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("unet-*.safetensors")):
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).hexdigest().encode())
    return digest.hexdigest()


def _parts(folder: Path) -> list[Path]:
    """Return the files of a folder by number, if all are there."""
    numbered: dict[int, Path] = {}
    totals: set[int] = set()
    for file in sorted(folder.iterdir()):
        if not file.match("unet-*.safetensors"):
            continue
        name = _PART.fullmatch(file.name)
        if name is None or int(name[1]) in numbered:
            raise WeightsError(
                f"{file} is no part of these weights (unet-01-of-06.safetensors and so on); move it elsewhere"
            )
        numbered[int(name[1])] = file
        totals.add(int(name[2]))
    if not numbered:
        raise WeightsError(f"no weights (unet-*.safetensors) in {folder}")
    if len(totals) > 1:
        raise WeightsError(
            f"parts of different weights are in {folder}; copy those of one into an empty folder, or repeat "
            "the command that wrote them"
        )
    (total,) = totals
    if sorted(numbered) != list(range(1, total + 1)):
        raise WeightsError(f"{len(numbered)} of {total} parts of the weights are in {folder}; copy them all")
    return [numbered[number] for number in sorted(numbered)]


def _sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 by file name; empty without ``unet.sha256``.

    Raises:
        WeightsError: the file names no part, as one that is empty or cut off.
    """
    file = folder / _SUMS
    if not file.exists():
        return {}
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    sums = {words[1]: words[0] for words in lines if len(words) == 2}
    if not sums:
        raise WeightsError(f"{file} names no part of the weights; copy all files again")
    return sums


def _tensors(file: Path, content: bytes) -> dict[str, NDArray[np.floating[Any]]]:
    try:
        tensors: dict[str, NDArray[np.floating[Any]]] = load(content)
    except Exception as error:  # of any kind, from a damaged header
        raise WeightsError(f"{file} is damaged ({error}); copy it again") from error
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise WeightsError(f"{file} is damaged: {name} holds values that are not finite; copy it again")
    return tensors


def load_network(folder: Path = DEFAULT) -> UNet:
    """Return the network with its weights, for inference on the CPU in float32.

    Raises:
        WeightsError: as :func:`load_weights`.
        ImportError: torch is not installed.
    """
    return network_of(load_weights(folder))


def network_of(tensors: Tensors) -> UNet:
    """Return the network in torch, for inference on the CPU in float32.

    Args:
        tensors: of :func:`load_weights`.

    Raises:
        ImportError: torch is not installed.
    """
    import torch

    from model.unet import UNet

    with torch.device("meta"):
        network = UNet(insertions="insertion_head.weight" in tensors)
    # Copied: the caller may train the network.
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in tensors.items()}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=value.dtype)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def tensors_of(network: UNet) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a network in torch that inference needs."""
    return {
        name: value.detach().cpu().float().contiguous().numpy()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # used in training alone
    }
