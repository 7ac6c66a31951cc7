"""Fits the confidence: from signals of one inference to the Dice coefficient that is to be expected.

On synthetic slices, sound ones and ones spoilt on purpose, so that the network's answers run from right to
useless. What is fitted on one set of hearts is reported on another. Real images are only ever reported on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.failures import SPOILING, Failure, spoil
from calibration.gate import dice
from calibration.slices import BATCH, MAPS
from inline.contouring.confidence import FURTHEST, Calibration, FloatArray, in_frame, signals
from inline.contouring.contours import find_contours, rasterise
from inline.contouring.segment import contour_slice
from model.engines.base import Engine
from model.evaluation.cases import read_slices
from model.frame import FRAME_PIXELS, Frame, normalise
from model.relaxometry.fits import PRODUCT_FITS
from model.synthesis.generator import make_batch

SLICES: Final = 600
VARIANTS: Final = 4
"""Slices of each heart: one as it is, the others spoilt. Simulating a heart costs more than an inference."""
HELD_OUT: Final = 3
"""Of so many hearts, one is kept for the report."""
_FIT_SEED: Final = 7101
_REPORT_SEED: Final = 7102
_STRENGTHS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the prior that keeps factors small; the best in cross-validation is taken."""
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """A slice with its truth.

    Attributes:
        image: prepared for the network, float32 ``(224, 224)``.
        labels: the truth, uint8 ``(224, 224)``.
        failure: what was done to it, and how badly, 0 to 1.
        severity: of the failure.
        heart: number of the heart; slices of one heart stay in one set.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    failure: Failure
    severity: float
    heart: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the slices on which there are contours, ``n`` of them.

    Attributes:
        signals: ``(n, len(SIGNALS))``.
        dice: mean Dice coefficient of cavity and myocardium with the truth, ``(n,)``.
        failure: :class:`Failure` of each.
        heart: of each, ``(n,)``.
        flipped: Dice coefficient with what the network finds in the mirrored image, ``(n,)``; None where
            nobody asked.
        without_contours: slices on which there are none.
    """

    signals: FloatArray
    dice: FloatArray
    failure: tuple[Failure, ...]
    heart: NDArray[np.intp]
    flipped: FloatArray | None
    without_contours: int


def make_samples(hearts: int, seed: int) -> Iterator[list[Sample]]:
    """The slices of each heart, :data:`VARIANTS` of them, the first one not spoilt.

    Of the others, more are spoilt mildly than badly, as in practice.
    """
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for done in range(0, hearts, BATCH):
        batch = make_batch(BATCH, FRAME_PIXELS, generator, MAPS, fits=PRODUCT_FITS)
        for i in range(min(BATCH, hearts - done)):
            picture, labels = batch.pictures[i].numpy(), batch.labels[i].numpy().astype(np.uint8)
            if not labels.any():
                continue
            made = []
            for variant in range(VARIANTS):
                failure = SPOILING[random.integers(len(SPOILING))] if variant else Failure.NONE
                severity = float(random.uniform()) ** 2 if variant else 0.0
                spoilt, truth = spoil(picture, labels, failure, severity, random)
                made.append(Sample(normalise(spoilt), truth, failure, severity, done + i))
            yield made


def judge(engine: Engine, hearts: Iterable[list[Sample]], *, flip: bool = False) -> Judged:
    """Run the network on slices and compare with the truth.

    Args:
        engine: runs the network.
        hearts: of :func:`make_samples`.
        flip: ask it about the mirrored images too.
    """
    found: list[FloatArray] = []
    scores: list[float] = []
    failures: list[Failure] = []
    numbers: list[int] = []
    agreement: list[float] = []
    without = 0
    shape = (FRAME_PIXELS, FRAME_PIXELS)
    for samples in hearts:
        images = np.stack([sample.image for sample in samples])
        answers = engine.infer(images)
        mirrored = engine.infer(np.ascontiguousarray(images[:, :, ::-1])) if flip else None
        for i, sample in enumerate(samples):
            contours = find_contours(answers[i]).contours
            if contours is None:
                without += 1
                continue
            labels = rasterise(contours, shape)
            found.append(signals(answers[i], sample.image, contours))
            scores.append(dice(labels, sample.labels))
            failures.append(sample.failure)
            numbers.append(sample.heart)
            if mirrored is not None:
                other = find_contours(np.ascontiguousarray(mirrored[i][:, :, ::-1])).contours
                agreement.append(0.0 if other is None else dice(labels, rasterise(other, shape)))
    return Judged(
        signals=np.array(found),
        dice=np.array(scores),
        failure=tuple(failures),
        heart=np.array(numbers, dtype=np.intp),
        flipped=np.array(agreement) if flip else None,
        without_contours=without,
    )


def hearts_of(slices: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Number of hearts and seed of the set to fit on, and those of the set to report on.

    ``slices`` are those of both together. The sets have seeds of their own, so no heart is in both.
    """
    hearts = max(slices // VARIANTS, 2)
    kept = max(hearts // HELD_OUT, 1)
    return (hearts - kept, _FIT_SEED), (kept, _REPORT_SEED)


def fit(found: FloatArray, scores: FloatArray, groups: NDArray[np.intp], weights: str) -> Calibration:
    """A weighted sum of signals that orders slices by Dice, and the monotone curve from it to Dice.

    The sum is a logistic regression on Dice, which is a share; the strength of its prior is the best in
    cross-validation. The curve (isotonic regression) is fitted on sums of hearts that the factors were not
    fitted on.

    Args:
        found: signals ``(n, k)``.
        scores: Dice coefficient of each, ``(n,)``.
        groups: heart of each, ``(n,)``; at least five different ones.
        weights: digest of the weights in use.

    Raises:
        ImportError: scikit-learn is not installed (extra ``calibrate``).
        ValueError: too few hearts.
    """
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]

    if len(set(groups.tolist())) < _FOLDS:
        raise ValueError(f"contours on fewer than {_FOLDS} hearts; calibrate with more slices")
    centre, scale = found.mean(axis=0), np.maximum(found.std(axis=0), 1e-6)
    relative = np.clip((found - centre) / scale, -FURTHEST, FURTHEST)
    folds = list(GroupKFold(_FOLDS).split(relative, scores, groups))

    def left_out(strength: float) -> FloatArray:
        sums = np.zeros(len(scores))
        for learn, rest in folds:
            factors, offset = _regress(relative[learn], scores[learn], strength)
            sums[rest] = relative[rest] @ factors + offset
        return sums

    def error(sums: FloatArray) -> float:
        return float(np.mean((1.0 / (1.0 + np.exp(-sums)) - scores) ** 2))

    tried = {strength: left_out(strength) for strength in _STRENGTHS}
    strength = min(tried, key=lambda each: error(tried[each]))
    factors, offset = _regress(relative, scores, strength)
    curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(tried[strength], scores)
    return Calibration(
        weights=weights,
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        factors=tuple(factors.tolist()),
        offset=offset,
        scores=tuple(float(each) for each in curve.X_thresholds_),
        dice=tuple(float(each) for each in curve.y_thresholds_),
    )


def _regress(relative: FloatArray, scores: FloatArray, strength: float) -> tuple[FloatArray, float]:
    """Logistic regression on shares: each slice counts as a hit by its Dice and as a miss by the rest."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    hits = np.repeat([1, 0], len(scores))
    share = np.concatenate([scores, 1.0 - scores])
    made = LogisticRegression(C=strength, max_iter=1000)
    made.fit(np.vstack([relative, relative])[share > 0], hits[share > 0], sample_weight=share[share > 0])
    return made.coef_[0], float(made.intercept_[0])


@dataclass(frozen=True, slots=True)
class RealSlice:
    """A labelled slice of a folder: what readers say and what the confidence says; None without contours."""

    name: str
    kind: str
    dice: float
    confidence: float | None


def judge_folder(engine: Engine, calibration: Calibration, folder: Path, kind: str) -> list[RealSlice]:
    """The confidence on labelled slices of a folder (``docs/data.md``), to be compared with their Dice.

    Raises:
        CaseError: the folder cannot be used.
    """
    judged = []
    for each in read_slices(folder, kind):
        frame = Frame((each.image.shape[0], each.image.shape[1]), each.spacing)
        picture = frame.network_input(each.image)
        answer = engine.infer(picture[None])[0]
        labels, contours, _ = contour_slice(answer, frame)
        seen = in_frame(contours, frame)
        confidence = None
        if seen is not None:
            confidence = float(calibration.expected_dice(signals(answer, picture, seen)))
        judged.append(RealSlice(each.name, kind, dice(labels, each.labels), confidence))
    return judged


def with_flip(judged: Judged) -> FloatArray:
    """The signals and, as one more, the agreement with the mirrored image, ``(n, len(SIGNALS) + 1)``.

    Raises:
        ValueError: nobody asked the network about mirrored images.
    """
    if judged.flipped is None:
        raise ValueError("the network was not asked about mirrored images")
    return np.hstack([judged.signals, judged.flipped[:, None]])


def by_failure(judged: Judged, expected: FloatArray) -> dict[str, tuple[int, float, float]]:
    """Number of slices, mean Dice and mean expected Dice by what was done to them."""
    table = {}
    for failure in Failure:
        chosen = np.array([each is failure for each in judged.failure])
        if chosen.any():
            table[failure.value] = (
                int(chosen.sum()),
                float(judged.dice[chosen].mean()),
                float(expected[chosen].mean()),
            )
    return table
