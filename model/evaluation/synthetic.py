"""Evaluation on synthetic slices with their true labels and insertion points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.architecture import CLASSES
from model.engines.base import Engine
from model.evaluation.cases import LabelledSlice
from model.evaluation.evaluate import Outcome, compare, summarise
from model.evaluation.metrics import Labels
from model.frame import FRAME_MM, FRAME_PIXELS
from model.insertion import locate
from model.synthesis.apex import SHARE
from model.synthesis.contrast import Mix
from model.synthesis.generator import make_batch
from model.synthesis.pathology import Pathology

Contour = Callable[[NDArray[np.float32]], Labels]
"""From class probabilities ``(3, 224, 224)`` to labels ``(224, 224)``; all 0 without a contour."""

SEED: Final = 2_000_000_000
"""Far from the seeds of any training."""
_BATCH: Final = 8
_LEVELS: Final = ("basal", "mid", "apical")
_SMALL_MM: Final = 25.0
SIZES: Final = ("from_25_mm", "below_25_mm")
"""Groups by the diameter of the heart."""
CONTRASTS: Final = ("contrast_from_1", "contrast_below_1")
"""Groups by the contrast of wall and blood."""
_SHOWN: Final = 0.3
"""Heat from which an insertion point counts as found."""
MIXES: Final = {
    "t1": Mix(
        t1_map=0.66, t1_map_post=0.34, t2_map=0.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
    "t2": Mix(
        t1_map=0.0, t1_map_post=0.0, t2_map=1.0, molli_image=0.0, t2prep_image=0.0, random_contrast=0.0
    ),
}
_NATIVE_T1: Final = replace(MIXES["t1"], t1_map=1.0, t1_map_post=0.0)


def make_slices(
    count: int, kind: str, *, maps: bool = False, apices: float = 0.0
) -> Iterator[tuple[LabelledSlice, str]]:
    """Yield synthetic slices of one kind of map and the pathology of each; always the same ones.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        maps: native maps in ms; else network input, a third of T1 post-contrast.
        apices: share of small apices (:mod:`model.synthesis.apex`).
    """
    mix = _NATIVE_T1 if maps and kind == "t1" else MIXES[kind]
    generator = torch.Generator().manual_seed(SEED + (kind == "t2"))
    made = 0
    while made < count:
        batch = make_batch(_BATCH, FRAME_PIXELS, generator, mix, apices=apices)
        for i in range(min(_BATCH, count - made)):
            level = _LEVELS[min(int(batch.level[i] * 3), 2)]
            labels = batch.labels[i].numpy().astype(np.uint8)
            slice_ = LabelledSlice(
                name=f"synthetic-{made}",
                case=f"synthetic-{made}",
                kind=kind,
                image=(batch.unscaled if maps else batch.images)[i].numpy(),
                weighted=np.empty((0, *labels.shape), np.float32),
                spacing=(FRAME_MM, FRAME_MM),
                readers={"truth": labels},
                level=level,
                in_ms=maps,
                insertions=batch.insertions[i].numpy(),
            )
            made += 1
            yield slice_, Pathology(int(batch.pathology[i])).name.lower()


@dataclass(frozen=True, slots=True)
class Trial:
    """Outcome of one network on one synthetic slice.

    Attributes:
        outcome: of the contours.
        pathology: of the slice.
        diameter_mm: of the disc that has the area of the heart.
        contrast: of wall and blood, see :func:`wall_contrast`.
        apart_mm: distance of each insertion point from the true one, ``(2,)``; NaN where there is none.
        heat: at each insertion point found, ``(2,)``.
    """

    outcome: Outcome
    pathology: str
    diameter_mm: float
    contrast: float
    apart_mm: NDArray[np.float64]
    heat: NDArray[np.float64]


def evaluate_networks(
    count: int, kind: str, engines: Mapping[str, Engine], contour: Contour
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the summaries of several networks on the same fresh slices, by name and by group.

    Groups are all slices, two sizes of the heart, two contrasts, each level and each pathology. Small apices
    have the share of a training. The next slices are made while the networks run.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        engines: by name.
        contour: of the class probabilities.
    """
    trials: dict[str, list[Trial]] = {name: [] for name in engines}
    slices = make_slices(count, kind, apices=SHARE)
    with ThreadPoolExecutor() as pool:
        following = pool.submit(next, slices, None)
        while (made := following.result()) is not None:
            following = pool.submit(next, slices, None)
            slice_, pathology = made
            # The images are network input already.
            images = repeat(slice_.image[None])
            outputs = pool.map(lambda engine, image: engine.infer(image), engines.values(), images)
            for name, output in zip(engines, outputs, strict=True):
                trials[name].append(_try(slice_, pathology, output[0], contour))
    groups = ("all", *SIZES, *CONTRASTS, *_LEVELS, *(each.name.lower() for each in Pathology))
    return {
        name: {
            group: summarise_trials([each for each in tried if group in _groups_of(each)], count)
            for group in groups
        }
        for name, tried in trials.items()
    }


def _groups_of(trial: Trial) -> tuple[str | None, ...]:
    size = SIZES[int(trial.diameter_mm < _SMALL_MM)]
    contrast = CONTRASTS[int(trial.contrast < 1.0)]
    return "all", size, contrast, trial.outcome.level, trial.pathology


def summarise_trials(trials: Sequence[Trial], count: int) -> dict[str, float]:
    """Return :func:`~model.evaluation.evaluate.summarise` of a group, with more figures of synthetic slices.

    These are ``share`` of all ``count`` slices, ``smallest_mm`` (diameter of the smallest heart),
    ``dice_standard_error`` (of the mean Dice over slices, from two slices on) and, where the network
    finds insertion points, the number ``insertions`` of true points, the share
    ``insertions_found`` of them, the median distance ``insertions_mm`` of those found, and the share
    ``insertions_false`` of absent points that are found.
    """
    summary = summarise([each.outcome for each in trials])
    if not trials:
        return summary
    summary["share"] = len(trials) / count
    summary["smallest_mm"] = min(each.diameter_mm for each in trials)
    if len(trials) > 1:
        dice = [each.outcome.agreement.dice for each in trials]
        summary["dice_standard_error"] = float(np.std(dice, ddof=1)) / math.sqrt(len(dice))
    apart, heat = (np.concatenate([getattr(each, name) for each in trials]) for name in ("apart_mm", "heat"))
    there, shown = np.isfinite(apart), heat >= _SHOWN
    if len(heat):
        summary["insertions"] = int(there.sum())
    if there.any():
        summary["insertions_found"] = float(shown[there].mean())
    if (there & shown).any():
        summary["insertions_mm"] = float(np.median(apart[there & shown]))
    if len(heat) and not there.all():
        summary["insertions_false"] = float(shown[~there].mean())
    return summary


def diameter_mm(labels: Labels) -> float:
    """Return the diameter of the disc that has the area of the heart in labels of the frame."""
    return FRAME_MM * math.sqrt(4.0 / math.pi * np.count_nonzero(labels))


def wall_contrast(image: NDArray[np.float32], labels: Labels) -> float:
    """Return how far wall and blood differ in an image ``(rows, columns)``, in units of their spread.

    It is the difference of their medians over the root of the sum of their squared spreads, each 1.4826 times
    the median absolute deviation: below 1 their values overlap so far that most of the border cannot be seen.
    """
    wall, blood = (image[labels == each].astype(np.float64) for each in (2, 1))
    apart = abs(np.median(wall) - np.median(blood))
    spreads = [1.4826 * np.median(np.abs(each - np.median(each))) for each in (wall, blood)]
    return float(apart / max(np.hypot(*spreads), 1e-9))


def _try(slice_: LabelledSlice, pathology: str, output: NDArray[np.float32], contour: Contour) -> Trial:
    """Evaluate the network output of a slice, ``(3 + k, rows, columns)``."""
    heat = output[CLASSES:]
    apart, peak = np.empty(0), np.empty(0)
    if slice_.insertions is not None and len(heat):
        points, peak = locate(heat)
        apart = FRAME_MM * np.linalg.norm(points - slice_.insertions, axis=1)
    return Trial(
        outcome=compare(slice_, contour(output[:CLASSES])),
        pathology=pathology,
        diameter_mm=diameter_mm(slice_.labels),
        contrast=wall_contrast(slice_.image, slice_.labels),
        apart_mm=apart,
        heat=peak,
    )
