"""``myostream calibrate confidence``: fit of the expected Dice coefficient, and its accuracy.

The expected Dice coefficient is the agreement with an expert who draws by the same contour convention.
Experts differ, so the labels of a synthetic slice are drawn by simulated readers who agree with each other as
well as those of the published study (Kalapos et al. 2023: Dice 0.908). The fit uses synthetic slices, intact
and degraded, so that the Dice coefficients run from 0 to 1. The report is on other hearts than the fit. Real
maps are only reported on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from calibration.degradation import KINDS, Degradation, degrade
from calibration.reliability import GOOD, POOR, accuracy, plot_reliability
from calibration.slices import BATCH, MAPS
from inline.contouring.confidence import FILE, LARGEST, Calibration, FloatArray, in_frame, signals
from inline.contouring.contours import find_contours, rasterise
from inline.contouring.convention import draw, move
from inline.contouring.segment import contour_slice
from inline.data.errors import MyostreamError
from inline.data.results import ContourOffsets
from inline.engine_selection import build_pipeline
from inline.settings import Settings
from inline.terminal.tables import print_values
from inline.terminal.text import print_lines
from model.architecture import CLASSES
from model.engines.base import Engine
from model.evaluation.cases import CaseError, LabelledSlice, first_readers, first_readers_note, read_kinds
from model.evaluation.metrics import dice
from model.evaluation.readers import Spread, draw_labels, find_borders, make_readers
from model.frame import FRAME_MM, FRAME_PIXELS, Frame, normalise
from model.host import describe_host
from model.output import check_outputs, write_json, write_text
from model.synthesis.apex import SHARE
from model.synthesis.generator import make_batch
from model.training.split import seen_in_training, seen_note
from model.weights import DEFAULT, weights_digest

VARIANTS: Final = 4
"""Slices of each heart: one intact, the others degraded. Simulation takes longer than inference."""
_HELD_OUT: Final = 3
"""One of so many hearts is kept for the report."""
_SPACING: Final = (FRAME_MM, FRAME_MM)
_FIT_SEED: Final = 7101
_REPORT_SEED: Final = 7102
_FOLDS: Final = 5
_GOOD_FLAGGED: Final = 0.2
"""Largest share of good slices that a threshold may flag."""
READERS: Final = 4
"""Simulated readers of each slice; their mean Dice is the target."""
SPREAD: Final = Spread(bias_mm=0.32, random_mm=0.42)
"""Differences between readers: two of them reach a mean Dice of 0.91 on synthetic slices."""
_THRESHOLDS: Final = "flagged .0%, dice_flagged .3f, dice_others .3f, poor_flagged .0%, good_flagged .0%"


@dataclass(frozen=True, slots=True)
class Sample:
    """Slice with its true labels.

    Attributes:
        image: network input, float32 ``(224, 224)``.
        labels: uint8 ``(224, 224)``.
        degradation: of the slice.
        heart: number of the heart; slices of one heart stay in one set.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    degradation: Degradation
    heart: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Signals and Dice of the ``n`` slices with contours.

    Attributes:
        signals: ``(n, len(SIGNALS))``.
        dice: mean Dice coefficient of cavity and myocardium with the labels of simulated readers, ``(n,)``.
        degradation: of each.
        heart: of each, ``(n,)``.
        without_contours: number of slices without contours.
    """

    signals: FloatArray
    dice: FloatArray
    degradation: tuple[Degradation, ...]
    heart: NDArray[np.intp]
    without_contours: int


def make_samples(hearts: int, seed: int) -> Iterator[list[Sample]]:
    """Yield the slices of each heart, :data:`VARIANTS` of them, the first one intact.

    Mild degradation is more frequent than severe.
    """
    generator, random = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for done in range(0, hearts, BATCH):
        batch = make_batch(BATCH, FRAME_PIXELS, generator, MAPS, apices=SHARE)
        for i in range(min(BATCH, hearts - done)):
            intact, labels = batch.unscaled[i].numpy(), batch.labels[i].numpy().astype(np.uint8)
            if not labels.any():
                continue
            samples = []
            for variant in range(VARIANTS):
                kind = KINDS[random.integers(len(KINDS))] if variant else Degradation.NONE
                severity = float(random.uniform()) ** 2 if variant else 0.0
                image, truth = degrade(intact, labels, kind, severity, random)
                samples.append(Sample(normalise(image), truth, kind, done + i))
            yield samples


def score_samples(
    engine: Engine, hearts: Iterable[list[Sample]], offsets: ContourOffsets, random: np.random.Generator
) -> Scores:
    """Run the network on the slices of each heart and compare its contours with those of simulated readers.

    Args:
        engine: runs the network.
        hearts: slices of each.
        offsets: contour convention of the network's contours and of the readers.
        random: source of the readers' differences.
    """
    found: list[FloatArray] = []
    scores: list[float] = []
    kept: list[Sample] = []
    without = 0
    for samples in hearts:
        outputs = engine.infer(np.stack([sample.image for sample in samples]))
        for sample, output in zip(samples, outputs, strict=True):
            contours = find_contours(output[:CLASSES]).contours
            if contours is None:
                without += 1
                continue
            kept.append(sample)
            found.append(signals(output, sample.image, contours))
            labels = rasterise(move(contours, _SPACING, offsets)[0], sample.labels.shape)
            agreements = [dice(labels, drawn) for drawn in _readings(sample, offsets, random)]
            scores.append(float(np.mean(agreements)))
    return Scores(
        signals=np.array(found),
        dice=np.array(scores),
        degradation=tuple(sample.degradation for sample in kept),
        heart=np.array([sample.heart for sample in kept], dtype=np.intp),
        without_contours=without,
    )


def _readings(
    sample: Sample, offsets: ContourOffsets, random: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """Yield the labels of simulated readers, whose mean convention is that of the contours."""
    borders = find_borders(sample.labels, _SPACING)
    for endo, epi in make_readers(READERS, SPREAD, random).values():
        own = (endo + offsets.endo_mm, epi - offsets.epi_mm)
        yield draw_labels(borders, own, SPREAD.random_mm, random)


def fit(found: FloatArray, scores: FloatArray, groups: NDArray[np.intp], weights: str) -> Calibration:
    """Fit a weighted sum of signals, and the monotone curve from it to the Dice coefficient.

    The sum is a logistic regression on Dice, which is a share. The curve is an isotonic regression of least
    absolute error (Robertson and Waltman 1968, Ann Math Stat 39:1030) on sums of hearts that the factors were
    not fitted on: the median of the Dice coefficient, which has the least absolute error of all guesses. It
    is centred (Oron and Flournoy 2017, Stat Biopharm Res 9:258): it passes through the mean sum of each block
    at its median, so it rises where an isotonic regression has steps.

    Args:
        found: signals ``(n, k)``.
        scores: Dice coefficient of each, ``(n,)``.
        groups: heart of each, ``(n,)``.
        weights: digest of the weights in use.

    Raises:
        ImportError: scikit-learn is not installed (extra ``calibrate``).
        MyostreamError: fewer than five hearts.
    """
    from sklearn.model_selection import GroupKFold  # type: ignore[import-untyped]

    if len(set(groups.tolist())) < _FOLDS:
        raise MyostreamError(f"contours on fewer than {_FOLDS} hearts; calibrate with more slices")
    centre, scale = found.mean(axis=0), np.maximum(found.std(axis=0), 1e-6)
    relative = np.clip((found - centre) / scale, -LARGEST, LARGEST)
    sums = np.zeros(len(scores))
    for fitted, others in GroupKFold(_FOLDS).split(relative, scores, groups):
        factors, offset = _regress(relative[fitted], scores[fitted])
        sums[others] = relative[others] @ factors + offset
    knots = _medians(sums, scores)
    factors, offset = _regress(relative, scores)
    return Calibration(
        weights=weights,
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        factors=tuple(factors.tolist()),
        offset=offset,
        scores=tuple(knots),
        dice=tuple(knots.values()),
    )


def review_threshold(scores: Scores) -> float | None:
    """Return the highest hundredth below which at most a fifth of the good slices are flagged.

    Good slices need no review. The expected Dice of each is that of a fit on other hearts.

    Returns:
        None for too few hearts or no good slice.

    Raises:
        ImportError: scikit-learn is not installed (extra ``calibrate``).
    """
    from sklearn.model_selection import GroupKFold

    good = scores.dice >= GOOD
    if len(set(scores.heart.tolist())) < 2 * _FOLDS or not good.any():
        return None
    expected = np.zeros(len(scores.dice))
    for fitted, others in GroupKFold(_FOLDS).split(scores.signals, scores.dice, scores.heart):
        made = fit(scores.signals[fitted], scores.dice[fitted], scores.heart[fitted], "")
        expected[others] = made.expected_dice(scores.signals[others])
    return max(each / 100 for each in range(101) if (expected[good] < each / 100).mean() <= _GOOD_FLAGGED)


def _medians(sums: FloatArray, scores: FloatArray) -> dict[float, float]:
    """Return the median Dice coefficient of each block of an isotonic regression by its mean sum.

    Neighbours are pooled until the medians rise with the sums.
    """
    blocks: list[tuple[FloatArray, FloatArray]] = []
    for value in np.unique(sums):
        block = (sums[sums == value], scores[sums == value])
        while blocks and np.median(blocks[-1][1]) >= np.median(block[1]):
            before = blocks.pop()
            block = (np.append(before[0], block[0]), np.append(before[1], block[1]))
        blocks.append(block)
    return {float(x.mean()): float(np.median(y)) for x, y in blocks}


def _regress(relative: FloatArray, scores: FloatArray) -> tuple[FloatArray, float]:
    """Fit a logistic regression on shares: each slice is positive by its Dice and negative by the rest."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    positive = np.repeat([1, 0], len(scores))
    share = np.concatenate([scores, 1.0 - scores])
    made = LogisticRegression(max_iter=1000)
    made.fit(np.vstack([relative, relative])[share > 0], positive[share > 0], sample_weight=share[share > 0])
    return made.coef_[0], float(made.intercept_[0])


def score_folder(
    engine: Engine, calibration: Calibration, folder: Path, offsets: ContourOffsets
) -> tuple[FloatArray, FloatArray, list[LabelledSlice]]:
    """Return the labelled maps of a folder (``docs/data.md``) with contours: expected Dice, true Dice, maps.

    Raises:
        CaseError: the folder cannot be used, or no map of it has contours.
    """
    pairs, scored = [], []
    for each in read_kinds(folder, ("t1", "t2")):
        frame = Frame((each.image.shape[0], each.image.shape[1]), each.spacing)
        image = frame.network_input(each.network_image)
        output = engine.infer(image[None])[0]
        borders = contour_slice(output, frame)
        seen = in_frame(borders.contours, frame)
        if seen is not None:
            expected = float(calibration.expected_dice(signals(output, image, seen)))
            pairs.append((expected, dice(draw(borders, each.spacing, offsets).labels, each.labels)))
            scored.append(each)
    if not pairs:
        raise CaseError(f"no contours are found on the maps in {folder}")
    expected_dice, true_dice = np.array(pairs).T
    return expected_dice, true_dice, scored


def calibrate(
    settings: Settings,
    slices: int,
    *,
    output: Path | None = None,
    json_file: Path | None = None,
    plot: Path | None = None,
    data: Path | None = None,
) -> dict[str, Any]:
    """Fit, report and write the files; returns all figures.

    Args:
        settings: weights and engine.
        slices: synthetic ones, two thirds for the fit and one third for the report.
        output: the calibration; None for beside the weights.
        json_file: for all figures.
        plot: for the reliability diagram.
        data: folder of labelled real maps to report on.

    Raises:
        ImportError: scikit-learn or matplotlib is not installed.
        MyostreamError: too few slices, unusable weights or data, or a file that cannot be written.
    """
    weights = settings.weights or DEFAULT
    file = output or weights / FILE
    check_outputs(file, json_file, plot)
    engine = build_pipeline(settings).engine
    hearts = max(slices // VARIANTS, 2)
    held_out = max(hearts // _HELD_OUT, 1)
    offsets = settings.contours.offsets
    fitted = _score(engine, hearts - held_out, _FIT_SEED, offsets, "for the fit")
    others = _score(engine, held_out, _REPORT_SEED, offsets, "for the report")
    made = fit(fitted.signals, fitted.dice, fitted.heart, weights_digest(weights))
    expected = made.expected_dice(others.signals)
    kinds = np.array(others.degradation)
    content: dict[str, Any] = {
        "host": describe_host(),
        "engine": engine.name,
        "weights": made.weights,
        "fitted_on": len(fitted.dice),
        "without_contours": others.without_contours,
        "review_below": review_threshold(fitted),
        "held_out": accuracy(expected, others.dice),
        "by_degradation": {
            kind.value: {
                "slices": int((kinds == kind).sum()),
                "dice": float(others.dice[kinds == kind].mean()),
                "expected": float(expected[kinds == kind].mean()),
            }
            for kind in Degradation
            if (kinds == kind).any()
        },
    }
    if data is not None:
        expected_real, true_real, maps = score_folder(engine, made, data, offsets)
        content["real"] = {
            **accuracy(expected_real, true_real),
            "seen_in_training": seen_in_training((each.case for each in maps), weights),
            "first_readers": first_readers(maps),
        }
    write_text(file, made.to_json(engine=engine.name, held_out=content["held_out"]) + "\n")
    if json_file is not None:
        write_json(json_file, content)
    if plot is not None:
        plot_reliability(plot, expected, others.dice)
    _show(content)
    print_lines(f"Calibration for weights {made.weights[:12]}: {file}")
    return content


def _score(engine: Engine, hearts: int, seed: int, offsets: ContourOffsets, purpose: str) -> Scores:
    title = f"{hearts * VARIANTS} slices {purpose}"
    samples = track(make_samples(hearts, seed), title, hearts, console=Console(stderr=True))
    return score_samples(engine, samples, offsets, np.random.default_rng(seed))


def _show(content: dict[str, Any]) -> None:
    held_out = content["held_out"]
    print_lines(
        f"Engine {content['engine']}. Synthetic slices with contours: {content['fitted_on']} for the fit, "
        f"{held_out['slices']} of other hearts for the report (without contours: "
        f"{content['without_contours']})"
    )
    for key, title in (("held_out", "synthetic slices"), ("real", "real maps")):
        if key in content:
            found = content[key]
            auc = "" if found["auc"] is None else f", AUC (Dice < {POOR:g}) {found['auc']:.3f}"
            print_lines(
                f"{title}: mean Dice {found['mean_dice']:.3f}, mean absolute error "
                f"{found['mean_absolute_error']:.3f} (of the mean alone: "
                f"{found['mean_absolute_error_of_the_mean']:.3f}), calibration error "
                f"{found['calibration_error']:.3f}{auc}"
            )
    if "real" in content:
        real = content["real"]
        print_lines(*seen_note(real["seen_in_training"]), *first_readers_note(real["first_readers"]))
    if content["review_below"] is not None:
        print_lines(
            f"review_below = {content['review_below']:.2f} flags at most {_GOOD_FLAGGED:.0%} of slices of a "
            f"Dice >= {GOOD:g} (those of the fit, cross-validated)"
        )
    print_values("", "degradation", content["by_degradation"], "slices, dice .3f, expected .3f")
    title = f"Effect of a threshold; poor: Dice < {POOR:g}, good: Dice >= {GOOD:g}"
    thresholds = {f"{each['threshold']:.2f}": each for each in held_out["thresholds"]}
    print_values(title, "review below", thresholds, _THRESHOLDS)
