"""Training on synthetic slices within a given time, all of it on one device.

Slices are made in chunks into a ring and learned from a few times each. The learning rate falls along a
cosine that ends when the time does; the weights kept are an exponential mean. At the end, batch normalisation
takes its statistics from whole frames, and the rest of the time goes to files.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.frame import FRAME_MM, FRAME_PIXELS
from model.host import computes_bfloat16
from model.insertion import heat_maps, locate
from model.loss import jaccard_loss, jaccard_loss_by_slice
from model.output import write_json
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.training.ring import Ring, Slices, rate_at
from model.unet import CLASSES, UNet
from model.weights import load_network, save_weights

MIX: Final = Mix(
    t1_map=0.32, t1_map_post=0.14, t2_map=0.36, molli_image=0.04, t2prep_image=0.04, random_contrast=0.10
)
"""Kinds of images: maps for the most part."""
_HEAT: Final = 0.01
"""Weight of the cross-entropy of the heat, summed over the image."""
_LOG_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a timed training.

    Attributes:
        size: rows and columns that are learned from, pixels of 1.5 mm.
        chunk: slices made at once.
        batch: slices per step.
        capacity: slices that the ring holds.
        first: slices made before the first step.
        steps: per chunk.
        learning_rate: at the top of the cosine.
        mean: share of the exponential mean that a step leaves.
        settling: batches of whole frames that batch normalisation takes its statistics from; 0 keeps those of
            the start.
    """

    size: int
    chunk: int
    batch: int
    capacity: int
    first: int
    steps: int
    learning_rate: float
    mean: float
    settling: int


GPU: Final = Plan(
    size=FRAME_PIXELS,
    chunk=256,
    batch=96,
    capacity=16384,
    first=4096,
    steps=7,
    learning_rate=1e-3,
    mean=0.999,
    settling=60,
)
"""An H200 makes a chunk in 0.18 s and a step in 0.04 s."""
CPU: Final = Plan(
    size=128, chunk=12, batch=12, capacity=512, first=24, steps=2, learning_rate=1e-4, mean=0.98, settling=0
)
"""Two cores learn from 12 to 18 slices a second: enough to go on from weights, not to begin without."""


@dataclass(frozen=True, slots=True)
class TimedTraining:
    """A training of a given length.

    Attributes:
        output: folder of the run; ``weights/`` and ``training.json`` are written there.
        minutes: from the call to the last file.
        start: folder of weights to start from; None for random ones.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        seed: fixes the slices, not how many of them the time suffices for.
        plan: sizes; None for those of the device.
        held: slices of each map that the result is tried on, within the time.
    """

    output: Path
    minutes: float
    start: Path | None = None
    accelerator: str = "auto"
    seed: int = 1
    plan: Plan | None = None
    held: int = 0


def train_within(training: TimedTraining, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Train for a given time and write the weights; returns what ``training.json`` holds.

    Raises:
        ValueError: there is no GPU, or the time is too short for a step.
        WeightsError: the weights to start from cannot be read.
    """
    began = time.monotonic()
    device = _device(training.accelerator)
    plan = training.plan or (GPU if device.type == "cuda" else CPU)
    until = began + 60.0 * training.minutes
    torch.manual_seed(training.seed)
    network = _network(training.start).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    if not plan.settling:
        _freeze_statistics(network)
    kept = copy.deepcopy(network)
    ring = Ring(plan.capacity, plan.size, torch.Generator(device).manual_seed(training.seed))
    optimizer = torch.optim.AdamW(
        network.parameters(), plan.learning_rate, weight_decay=1e-4, fused=device.type == "cuda"
    )
    # What follows the last step: statistics, trial, files.
    reserve = _reserve(plan, training.held, device)
    learned_from = time.monotonic()
    last_log, steps, log = learned_from, 0, []
    recent: deque[float] = deque(maxlen=4)
    clock = {"make": 0.0, "learn": 0.0}
    while ring.made < plan.first and time.monotonic() < until - reserve:
        ring.make(min(plan.chunk, plan.first - ring.made), MIX)
    while True:
        round_began = time.monotonic()
        if round_began + max(recent, default=0.0) > until - reserve:
            break
        if steps:
            ring.make(plan.chunk, MIX)
            _finish(device)
        made_at = time.monotonic()
        clock["make"] += made_at - round_began
        for _ in range(plan.steps):
            share = (time.monotonic() - learned_from) / max(until - reserve - learned_from, 1e-6)
            for group in optimizer.param_groups:
                group["lr"] = rate_at(share, plan.learning_rate)
            slices = ring.draw(plan.batch)
            figures = _step(network, optimizer, slices)
            steps += 1
            _follow(kept, network, min(plan.mean, (1.0 + steps) / (10.0 + steps)))
        _finish(device)
        now = time.monotonic()
        clock["learn"] += now - made_at
        recent.append(now - round_began)
        if now - last_log > _LOG_SECONDS or steps == plan.steps:
            last_log = now
            log.append({"s": round(now - began, 1), "steps": steps, "made": ring.made, **_plain(figures)})
            report(str(log[-1]))
    if steps == 0:
        raise ValueError(f"{training.minutes:g} minutes are too short for a step; give more")
    settled = _settle(kept, plan, training.seed, device, until - 0.7 * reserve)
    content: dict[str, Any] = {
        "training": {**asdict(training), "plan": asdict(plan)},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "steps": steps,
        "slices": ring.made,
        "slices_per_second_made": round((ring.made - plan.first) / max(clock["make"], 1e-6), 1),
        "slices_per_second_learned": round(steps * plan.batch / max(clock["learn"], 1e-6), 1),
        "settled_on": settled,
        "log": log,
    }
    kept.eval()
    if training.held:
        content["synthetic"] = {
            kind: try_on(kept, training.held, kind, device, 32 if device.type == "cuda" else 4)
            for kind in ("t1", "t2")
        }
    save_weights(kept, training.output / "weights")
    content["seconds"] = round(time.monotonic() - began, 1)
    write_json(training.output / "training.json", {**content, "training": _named(content["training"])})
    return content


def try_on(network: nn.Module, count: int, kind: str, device: torch.device, batch: int) -> dict[str, float]:
    """Return Dice and insertion error of a network on fresh synthetic maps, without the contour search.

    Args:
        network: scores of classes and insertion points.
        count: slices.
        kind: ``t1`` (a third after contrast agent) or ``t2``.
        device: where the network is.
        batch: slices at once.

    Returns:
        Means over the slices: ``dice``, ``cavity``, ``myocardium``; of the insertion points ``found`` (share
        whose heat is 0.3 or more), ``median_mm`` and ``within_5_mm`` of those found, ``false`` (share of heat
        maps without a point that show one).
    """
    mix = Mix(0.66, 0.34, 0.0, 0.0, 0.0, 0.0) if kind == "t1" else Mix(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    generator = torch.Generator(device).manual_seed(2_000_000_000 + (kind == "t2"))
    dice, errors, peaks, there = [], [], [], []
    for _ in range(-(-count // batch)):
        made = make_batch(batch, FRAME_PIXELS, generator, mix)
        with torch.inference_mode():
            scores = _scores(network, made.images[:, None])
        found = scores[:, :CLASSES].argmax(dim=1)
        dice.append(torch.stack([_dice(found == value, made.labels == value) for value in (1, 2)], dim=1))
        points, confidence = locate(torch.sigmoid(scores[:, CLASSES:]))
        errors.append(FRAME_MM * (points - made.insertions).norm(dim=2))
        peaks.append(confidence)
        there.append(made.insertions.isfinite().all(dim=2))
    scored = torch.cat(dice)[:count]
    error, peak, exists = (torch.cat(each)[:count] for each in (errors, peaks, there))
    seen = exists & (peak >= 0.3)
    return {
        "slices": count,
        "dice": float(scored.mean()),
        "cavity": float(scored[:, 0].mean()),
        "myocardium": float(scored[:, 1].mean()),
        "median_dice": float(scored.mean(dim=1).median()),
        "without": float((scored.mean(dim=1) < 0.5).float().mean()),
        "found": float(seen.sum() / exists.sum().clamp(min=1)),
        "median_mm": float(error[seen].median()) if seen.any() else float("nan"),
        "within_5_mm": float((error[seen] < 5.0).float().mean()) if seen.any() else float("nan"),
        "false": float((~exists & (peak >= 0.3)).sum() / (~exists).sum().clamp(min=1)),
    }


def _dice(ours: Tensor, theirs: Tensor) -> Tensor:
    both, either = (ours & theirs).sum((1, 2)), ours.sum((1, 2)) + theirs.sum((1, 2))
    return torch.where(
        either > 0, 2.0 * both / either.clamp(min=1), torch.ones_like(both, dtype=torch.float32)
    )


def _scores(network: nn.Module, images: Tensor) -> Tensor:
    """Return scores in float32, computed in bfloat16 on a GPU and on CPUs that do so themselves."""
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or computes_bfloat16()):
        scores: Tensor = network(images.contiguous(memory_format=torch.channels_last))
    return scores.float()


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, slices: Slices) -> dict[str, Tensor]:
    scores = _scores(network, slices.images)
    classes, heat = scores[:, :CLASSES], scores[:, CLASSES:]
    jaccard = 0.5 * jaccard_loss(classes, slices.labels) + 0.5 * jaccard_loss_by_slice(classes, slices.labels)
    truth = heat_maps(slices.insertions, *heat.shape[-2:])
    hot = functional.binary_cross_entropy_with_logits(heat, truth, reduction="sum") / len(heat)
    loss = jaccard + 0.5 * functional.cross_entropy(classes, slices.labels) + _HEAT * hot
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    with torch.no_grad():
        found = classes.argmax(dim=1)
        figures = {
            name: _dice(found == value, slices.labels == value).mean()
            for name, value in (("cavity", 1), ("myocardium", 2))
        }
    return {"loss": loss.detach(), "heat": hot.detach(), **figures}


def _plain(figures: dict[str, Tensor]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}


def _follow(kept: nn.Module, network: nn.Module, share: float) -> None:
    """Move the exponential mean towards the network."""
    with torch.no_grad():
        torch._foreach_lerp_(list(kept.parameters()), list(network.parameters()), 1.0 - share)


def _settle(network: nn.Module, plan: Plan, seed: int, device: torch.device, until: float) -> int:
    """Take the statistics of batch normalisation from whole frames; returns how many it saw."""
    if not plan.settling:
        return 0
    generator = torch.Generator(device).manual_seed(seed + 555_555)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    batch = max(plan.batch * plan.size**2 // FRAME_PIXELS**2, 1)
    for number in range(plan.settling):
        if number and time.monotonic() > until:
            break
        images = make_batch(batch, FRAME_PIXELS, generator, MIX).images[:, None]
        with torch.no_grad():
            _scores(network, images)
    return (number + 1) * batch


def _freeze_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _network(start: Path | None) -> UNet:
    """Return a network with insertion points; their head is new where the weights have none."""
    if start is None:
        return UNet(insertions=True)
    loaded = load_network(start)
    network = UNet(insertions=True)
    network.load_state_dict(loaded.state_dict(), strict=False)
    return network


def _device(accelerator: str) -> torch.device:
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"there is no accelerator {accelerator!r}; auto, cpu, gpu are")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU here; leave --accelerator out")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _reserve(plan: Plan, held: int, device: torch.device) -> float:
    """Return an upper estimate of the seconds that statistics, trial and files take."""
    each = 0.0012 if device.type == "cuda" else 0.35
    frames = plan.settling * plan.batch * plan.size**2 / FRAME_PIXELS**2 + 2 * held
    return 1.5 * each * frames + 8.0


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
