"""Training on synthetic slices within a given time, all of it on one device.

Slices are made in chunks, kept in a ring, and used 2.6 times each on a GPU and once on a CPU, on average.
The learning rate falls along a cosine that ends when the time does; the weights kept are an exponential mean.
At the end, batch normalisation takes its statistics from whole frames; the rest of the time goes to files.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import CLASSES
from model.frame import FRAME_PIXELS
from model.host import computes_bfloat16
from model.insertion import heat_maps
from model.loss import jaccard_loss, jaccard_loss_by_slice
from model.output import check_folder, write_json
from model.synthesis.apex import SHARE
from model.synthesis.contrast import MOSTLY_MAPS
from model.synthesis.generator import make_batch
from model.training.ring import Ring, StepSlices
from model.training.split import FILE as SPLIT
from model.training.split import earlier_starts, own_start
from model.unet import UNet
from model.weights import load_network, save_weights

_HEAT: Final = 0.01
"""Weight of the cross-entropy of the heat maps, summed over the image."""
_LOG_SECONDS: Final = 15.0
_FILES_SECONDS: Final = 8.0
_SETTLING_SECONDS: Final = 0.002
"""Upper estimates: seconds for the files, and for each whole frame of batch normalisation on a GPU."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a timed training.

    Attributes:
        size: rows and columns of a slice, pixels of 1.5 mm.
        whole: one of so many steps takes whole frames instead, of a ring of their own; 0 for none.
        chunk: slices made at once.
        batch: slices per step.
        capacity: slices that a ring holds.
        first: slices made before the first step.
        steps: per chunk.
        learning_rate: at the top of the cosine.
        mean: share of the exponential mean that a step leaves.
        settling: batches of whole frames that batch normalisation takes its statistics from; 0 keeps those of
            the start.
    """

    size: int
    whole: int
    chunk: int
    batch: int
    capacity: int
    first: int
    steps: int
    learning_rate: float
    mean: float
    settling: int

    @property
    def frames(self) -> int:
        """Whole frames with as many pixels as a batch."""
        return max(self.batch * self.size**2 // FRAME_PIXELS**2, 1)


GPU: Final = Plan(
    size=FRAME_PIXELS,
    whole=0,
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
    size=128,
    whole=2,
    chunk=16,
    batch=16,
    capacity=512,
    first=32,
    steps=2,
    learning_rate=1e-4,
    mean=0.98,
    settling=0,
)
"""Two cores learn from some 10 slices a second: enough to adapt weights, too slow for random ones. What lies
far from the heart is in the whole frames alone."""


@dataclass(frozen=True, slots=True)
class TimedTraining:
    """Training of a given length.

    Attributes:
        output: folder of the run; ``weights/`` and ``training.json`` are written there.
        minutes: from the start to the last file.
        start: folder of weights to start from; None for random ones.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        seed: fixes the slices; their number depends on the time.
        apices: share of small apices (:mod:`model.synthesis.apex`).
        learning_rate: at the top of the cosine; None for that of the plan.
        plan: sizes; None for those of the device.
    """

    output: Path
    minutes: float
    start: Path | None = None
    accelerator: str = "auto"
    seed: int = 1
    apices: float = SHARE
    learning_rate: float | None = None
    plan: Plan | None = None


class Learner:
    """Network in training, its optimiser, and the exponential mean of its weights, ``kept``.

    Args:
        network: on the device where it learns.
        plan: learning rate and mean; without settling, batch normalisation keeps its statistics.
    """

    def __init__(self, network: UNet, plan: Plan) -> None:
        self._network, self._plan = network.train(), plan
        if not plan.settling:
            for norm in _norms(network):
                norm.eval()
        self.kept = copy.deepcopy(network)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), plan.learning_rate, weight_decay=1e-4, fused=True
        )
        self.steps = 0

    def learn(self, slices: StepSlices, share: float) -> dict[str, Tensor]:
        """Take a step after a share of the training, 0 to 1; returns loss and Dice before it."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(share, self._plan.learning_rate)
        scores = scores_of(self._network, slices.images)
        classes, heat = scores[:, :CLASSES], scores[:, CLASSES:]
        jaccard = jaccard_loss(classes, slices.labels) + jaccard_loss_by_slice(classes, slices.labels)
        truth = heat_maps(slices.insertions[:, : heat.shape[1]], *heat.shape[-2:])
        hot = functional.binary_cross_entropy_with_logits(heat, truth, reduction="sum") / len(heat)
        loss = 0.5 * jaccard + 0.5 * functional.cross_entropy(classes, slices.labels) + _HEAT * hot
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimizer.step()
        self.steps += 1
        with torch.no_grad():
            # The mean of the first steps is a plain one.
            left = min(self._plan.mean, (1.0 + self.steps) / (10.0 + self.steps))
            means: list[Tensor] = list(self.kept.parameters())
            torch._foreach_lerp_(means, list(self._network.parameters()), 1.0 - left)
            cavity, myocardium = (
                _dice(classes.argmax(dim=1) == value, slices.labels == value) for value in (1, 2)
            )
        return {"loss": loss.detach(), "heat": hot.detach(), "cavity": cavity, "myocardium": myocardium}

    def settle(self, generator: torch.Generator, until: float = math.inf) -> int:
        """Take the statistics of batch normalisation from whole frames; returns the number of frames.

        Args:
            generator: source of the frames.
            until: time of :func:`time.monotonic` at which it ends early.
        """
        for norm in _norms(self.kept) if self._plan.settling else ():
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        seen = 0
        for _ in range(self._plan.settling):
            if seen and time.monotonic() > until:
                break
            images = make_batch(self._plan.frames, FRAME_PIXELS, generator, MOSTLY_MAPS, apices=SHARE).images
            with torch.no_grad():
                scores_of(self.kept, images[:, None])
            seen += len(images)
        return seen


def train_within(
    training: TimedTraining, report: Callable[[str], None] = print, began: float | None = None
) -> dict[str, Any]:
    """Train for a given time and write the weights; returns what ``training.json`` holds.

    Args:
        training: folder, length, start and sizes.
        report: receives the log.
        began: time of :func:`time.monotonic` at which the training started; None for now.

    Raises:
        ValueError: there is no GPU, random weights on a CPU, the time is too short for a step, or the folder
            holds another run, on labelled cases.
        WeightsError: the weights to start from cannot be read.
        OutputError: the folder cannot be written.
        CaseError: the ``training.json`` beside the weights to start from cannot be read.
    """
    began = time.monotonic() if began is None else began
    device = _device(training.accelerator)
    plan = training.plan or (GPU if device.type == "cuda" else CPU)
    plan = replace(plan, learning_rate=training.learning_rate or plan.learning_rate)
    if training.start is None and not plan.settling:
        raise ValueError("a training on a CPU goes on from weights: give --start FOLDER, or train on a GPU")
    _check_no_run(training.output)
    check_folder(training.output / "weights")
    own = own_start(training.output, training.start)
    earlier = earlier_starts(training.output) if own else []
    # What follows the last step: statistics and files.
    files = began + 60.0 * training.minutes - _FILES_SECONDS
    until = files - _SETTLING_SECONDS * plan.settling * plan.frames
    torch.manual_seed(training.seed)
    network = start_network(training.start).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(network, plan)
    source = torch.Generator(device).manual_seed(training.seed)
    ring = Ring(plan.capacity, plan.size, source, training.apices)
    frames = Ring(plan.capacity, FRAME_PIXELS, source, training.apices) if plan.whole else None
    learned_from = time.monotonic()
    last_log, log = learned_from, []
    recent: deque[float] = deque(maxlen=4)
    clock, learned = {"make": 0.0, "learn": 0.0}, 0
    while ring.made < plan.first and time.monotonic() < until:
        ring.make(min(plan.chunk, plan.first - ring.made), MOSTLY_MAPS)
    while True:
        round_began = time.monotonic()
        if round_began + max(recent, default=0.0) > until:
            break
        if learner.steps:
            ring.make(plan.chunk, MOSTLY_MAPS)
            _finish(device)
        made_at = time.monotonic()
        clock["make"] += made_at - round_began
        for _ in range(plan.steps):
            share = (time.monotonic() - learned_from) / max(until - learned_from, 1e-6)
            if frames is not None and learner.steps % plan.whole == plan.whole - 1:
                frames.make(plan.frames, MOSTLY_MAPS)
                drawn = frames.draw(plan.frames)
            else:
                drawn = ring.draw(plan.batch)
            figures = learner.learn(drawn, share)
            learned += len(drawn.images)
        _finish(device)
        now = time.monotonic()
        clock["learn"] += now - made_at
        recent.append(now - round_began)
        if now - last_log > _LOG_SECONDS or learner.steps == plan.steps:
            last_log = now
            plain = {name: round(float(value), 4) for name, value in figures.items()}
            log.append({"s": round(now - began, 1), "steps": learner.steps, "made": ring.made, **plain})
            report(str(log[-1]))
    if not learner.steps:
        raise ValueError(f"{training.minutes:g} minutes are too short for one step; give more --minutes")
    settled = learner.settle(torch.Generator(device).manual_seed(training.seed + 555_555), files)
    save_weights(learner.kept.eval(), training.output / "weights")
    content: dict[str, Any] = {
        "training": {
            "minutes": training.minutes,
            "start": str(training.start or "random"),
            "earlier_starts": earlier,
            "seed": training.seed,
            "apices": training.apices,
            "plan": asdict(plan),
        },
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "steps": learner.steps,
        "slices": ring.made + (frames.made if frames is not None else 0),
        "slices_per_second_made": round((ring.made - plan.first) / max(clock["make"], 1e-6), 1),
        "slices_per_second_learned": round(learned / max(clock["learn"], 1e-6), 1),
        "settled_on": settled,
        "log": log,
        "seconds": round(time.monotonic() - began, 1),
    }
    write_json(training.output / "training.json", content)
    return content


def _check_no_run(folder: Path) -> None:
    """Check that the folder holds no run on labelled cases.

    Its split would count as that of the new weights, and without its settings it could not be resumed.
    """
    for name in ("checkpoints", SPLIT):
        if (folder / name).exists():
            raise ValueError(f"{folder} holds a training on labelled cases ({name}); give another --output")


def rate_at(share: float, top: float) -> float:
    """Return the learning rate after a share of the training: up over 3 %, then down to 0 along a cosine."""
    return top * min(share / 0.03, 1.0) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


def start_network(start: Path | None, *, insertions: bool = True) -> UNet:
    """Return the network that a training starts from.

    Args:
        start: folder of weights; None for random ones.
        insertions: with the head of the insertion points, which is new where the weights have none.

    Raises:
        WeightsError: the weights cannot be read.
    """
    network = UNet(insertions=insertions)
    if start is not None:
        network.load_state_dict(load_network(start).state_dict(), strict=False)
    return network


def scores_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return scores in float32, computed in bfloat16 on a GPU and on CPUs that do so themselves."""
    device = images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or computes_bfloat16()):
        scores: Tensor = network(images.contiguous(memory_format=torch.channels_last))
    return scores.float()


def _dice(ours: Tensor, theirs: Tensor) -> Tensor:
    return 2.0 * (ours & theirs).sum() / (ours.sum() + theirs.sum()).clamp(min=1)


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def _device(accelerator: str) -> torch.device:
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"there is no accelerator {accelerator!r}; auto, cpu, gpu are")
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU here; leave --accelerator out")
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
