"""Tables 6, 7 and A1: architectures, a pretrained encoder, dedicated models, each by short trainings."""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from bench.tables.agreement import AT_BORDERS, segment_all
from bench.tables.output import Table
from bench.values import median_ms
from inline.data.results import ContourOffsets
from model.engines.base import Engine
from model.engines.torch_engine import TorchEngine
from model.evaluation.cases import LabelledSlice
from model.evaluation.metrics import agreement
from model.evaluation.synthetic import MIXES
from model.frame import Frame
from model.host import computes_bfloat16
from model.loss import jaccard_loss
from model.original_unet import OriginalUNet
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.unet import UNet

Network = TypeVar("Network", bound=nn.Module)

_COLUMNS: Final = "training_s .0f, dice .3f, hausdorff .2f"
_SEED: Final = 7
_UNIT: Final = "Hausdorff: mean of both contours, mm."
_COMBINED: Final = replace(MIXES["t1"], t1_map=0.33, t1_map_post=0.17, t2_map=0.5)
ARCHITECTURES: Final[dict[str, Callable[[], nn.Module]]] = {
    "U-Net with ResNet-50 encoder": UNet,
    "original U-Net": OriginalUNet,
}


def train_briefly(
    make: Callable[[], Network],
    steps: int,
    *,
    mix: Mix | None = None,
    batch: int,
    size: int,
) -> Network:
    """Return a network after a few steps on synthetic slices, with one recipe for all comparisons.

    Scores are computed in bfloat16, in half the time, where the processor supports it.

    Args:
        make: returns the untrained network; called after the seed is set.
        steps: of the optimiser.
        mix: kinds of images; None for the generator's own.
        batch: slices in each step.
        size: rows and columns, pixels of 1.5 mm.
    """
    half = computes_bfloat16()
    torch.manual_seed(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    network = make().train()
    # Convolutions on a CPU take a quarter less time in this order of memory.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    for step in range(steps):
        rate = 1e-3 * 0.5 * (1.0 + math.cos(math.pi * step / steps)) * min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = rate
        made = make_batch(batch, size, generator, mix)
        images = made.images[:, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = network(images)
        scores = scores.float()
        loss = jaccard_loss(scores, made.labels) + 0.5 * functional.cross_entropy(scores, made.labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    return network.eval()


@dataclass(frozen=True, slots=True)
class ShortTraining:
    """Length of the trainings of these tables.

    Attributes:
        steps: of the optimiser; 0 trains nothing.
        batch: slices in each step.
        size: rows and columns, pixels of 1.5 mm.
        keep: folder where trained networks are stored and from which they are loaded.
    """

    steps: int = 0
    batch: int = 8
    size: int = 128
    keep: Path | None = None

    def __str__(self) -> str:
        if not self.steps:
            return "Nothing was trained for this table; give --train-steps N."
        return (
            f"Short trainings on synthetic slices: {self.steps} steps of {self.batch} slices of "
            f"{self.size} x {self.size} pixels, from random weights, scores in "
            f"{'bfloat16' if computes_bfloat16() else 'float32'}; they reach less than a whole training."
        )

    def run(
        self, make: Callable[[], nn.Module], mix: Mix | None = None, start: str = ""
    ) -> tuple[Engine, float]:
        """Return a trained engine and the duration of its training, s; the same training runs once.

        Args:
            make: returns the untrained network; its name is in that of the stored file.
            mix: kinds of images; None for the generator's own.
            start: digest of the weights that ``make`` loads; empty where they are random.
        """
        return _trained(self, make, mix, start)


@functools.cache
def _trained(
    training: ShortTraining, make: Callable[[], nn.Module], mix: Mix | None, start: str
) -> tuple[Engine, float]:
    parameters = f"{training.steps} {training.batch} {training.size} {mix} {computes_bfloat16()}{start}"
    digest = hashlib.sha256(parameters.encode()).hexdigest()[:12]
    file = training.keep and training.keep / f"{make.__name__.lower()}-{digest}.safetensors"
    if file and file.exists():
        network = make().eval()
        network.load_state_dict(load_file(file))
        with safe_open(file, "pt") as opened:
            return TorchEngine(network), float(opened.metadata()["seconds"])
    began = time.perf_counter()
    network = train_briefly(make, training.steps, mix=mix, batch=training.batch, size=training.size)
    seconds = time.perf_counter() - began
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, file, {"seconds": repr(seconds)})
    return TorchEngine(network), seconds


def table_6(
    slices: Sequence[LabelledSlice],
    training: ShortTraining,
    shipped: Engine,
    repeats: int,
    offsets: ContourOffsets = AT_BORDERS,
) -> Table:
    """Return parameters, times and metrics of the architectures; the product is last."""
    values: dict[str, Any] = {}
    # The product computes small hearts several times.
    largest = max(slices, key=lambda each: int((each.labels > 0).sum()))
    frame = Frame((largest.image.shape[0], largest.image.shape[1]), largest.spacing)
    largest_input = frame.network_input(largest.network_image)[None]
    for name, make in ARCHITECTURES.items():
        network = make()
        values[name] = found = {
            "parameters_millions": sum(each.numel() for each in network.parameters()) / 1e6,
            "inference_ms": inference_ms(TorchEngine(network), largest_input, repeats),
        }
        if training.steps:
            engine, found["training_s"] = training.run(make)
            found |= metrics(slices, engine, offsets)
    values["product"] = {
        "inference_ms": inference_ms(shipped, largest_input, repeats),
        **metrics(slices, shipped, offsets),
    }
    keys = f"parameters_millions .1f, inference_ms .1f, {_COLUMNS}"
    notes = (
        str(training),
        _UNIT,
        "Inference: median, the slice with the largest heart, 224 x 224 pixels, by torch.",
        f"Product: the shipped weights of the first architecture with {shipped.name} and magnified passes "
        "over small hearts; training: model card.",
    )
    return Table("6", "architectures", notes=notes, values=values).filled("architecture", values, keys)


def table_7(
    slices: Sequence[LabelledSlice],
    training: ShortTraining,
    encoder: Path | None,
    offsets: ContourOffsets = AT_BORDERS,
) -> Table:
    """Return the metrics with and without an encoder pretrained on ImageNet.

    Args:
        slices: to evaluate on.
        training: length of the trainings.
        encoder: torchvision's checkpoint of a ResNet-50; without it the table states that it is missing.
        offsets: contour convention of the readers.
    """
    missing = "ImageNet weights are missing; give --encoder FILE (torchvision's resnet50)."
    notes = [str(training), *([] if encoder else [missing]), _UNIT]
    values: dict[str, Any] = {}
    table = Table("7", "with and without a pretrained encoder", notes=notes, values=values)
    if not training.steps:
        return table

    def pretrained() -> UNet:
        network = UNet()
        network.encoder.load_imagenet(torch.load(str(encoder), weights_only=True))
        return network

    makes: dict[str, tuple[Callable[[], nn.Module], str]] = {"random": (UNet, "")}
    if encoder:
        makes["ImageNet"] = pretrained, hashlib.sha256(encoder.read_bytes()).hexdigest()
    for name, (make, start) in makes.items():
        engine, seconds = training.run(make, start=start)
        values[name] = {"training_s": seconds, **metrics(slices, engine, offsets)}
    return table.filled("encoder", {**values, **({} if encoder else {"ImageNet: not run": {}})}, _COLUMNS)


def table_a1(
    slices: Sequence[LabelledSlice], training: ShortTraining, offsets: ContourOffsets = AT_BORDERS
) -> Table:
    """Return the metrics of models for one kind of map and of one for both, by kind of map."""
    values: dict[str, Any] = {}
    table = Table("A1", "dedicated and combined models", notes=(str(training), _UNIT), values=values)
    if not training.steps:
        return table
    kinds = sorted({each.kind for each in slices})
    mixes = {f"{kind.upper()} alone": MIXES[kind] for kind in kinds} | {"combined": _COMBINED}
    for name, mix in mixes.items():
        engine, _ = training.run(UNet, mix)
        values[name] = {
            kind: metrics([each for each in slices if each.kind == kind], engine, offsets) for kind in kinds
        }
    keys = ", ".join(f"{kind}/dice .3f, {kind}/hausdorff .2f" for kind in kinds)
    return table.filled("trained on", values, keys)


def inference_ms(engine: Engine, image: NDArray[np.float32], repeats: int) -> float:
    """Return the median time of one slice ``(1, rows, columns)``, ms, after one to warm up."""
    return median_ms(lambda: engine.infer(image), repeats)


def metrics(
    slices: Sequence[LabelledSlice], engine: Engine, offsets: ContourOffsets = AT_BORDERS
) -> dict[str, float]:
    """Return mean Dice and Hausdorff distance, mm, from the first reader; distances where there is a contour.

    Contours are drawn by the convention of the readers, ``offsets``.
    """
    found = [
        agreement(each.found, each.slice.labels, each.slice.spacing)
        for each in segment_all(slices, engine, offsets)
    ]
    apart = [each.hausdorff for each in found if np.isfinite(each.hausdorff)]
    figures: dict[str, float] = {
        "dice": float(np.mean([each.dice for each in found])),
        "without_contour": len(found) - len(apart),
    }
    return figures | ({"hausdorff": float(np.mean(apart))} if apart else {})
