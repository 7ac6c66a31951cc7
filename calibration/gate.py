"""Gate: a faster engine is used only if its contours and values agree with those of float32."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from calibration.slices import MapSlice
from inline.contouring.aha import measure
from inline.contouring.contours import find_contours, rasterise
from inline.contouring.convention import move
from inline.contouring.insertion import find_insertions
from inline.data.results import Contours
from inline.data.series import Quantity
from inline.settings import ContourSettings
from model.architecture import CLASSES
from model.engines.base import Engine
from model.engines.magnifying import MagnifyingEngine
from model.evaluation.metrics import dice
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.polygons import hausdorff
from model.relaxometry.parametric_map import ParametricMap
from model.soft_dice import soft_dice

_FRAME: Final = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
_NO_CONTOUR_PX: Final = FRAME_PIXELS * 2.0**0.5
"""Distance where only one engine finds a contour: the diagonal of the frame, so that figures stay finite."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Limits that an engine must keep.

    Attributes:
        dice: smallest mean Dice coefficient of the labels.
        hausdorff_px: largest 99th percentile of the distance between contours, pixels of 1.5 mm.
        t1_ms: largest difference of a slice's median T1.
        t2_ms: likewise T2.
        share: smallest share of slices whose median lies within these.
        point_mm: largest 95th percentile of the distance between insertion points.
        points_lost: largest share of them that the engine does not find; as many others may be found by the
            engine alone.
        soft_dice: largest 99th percentile of the difference of the soft Dice coefficient, from which the
            confidence is computed.
        compared: smallest share of slices on which float32 finds contours; with fewer the gate shows nothing.
    """

    dice: float = 0.99
    hausdorff_px: float = 1.0
    t1_ms: float = 3.0
    t2_ms: float = 0.3
    share: float = 0.99
    point_mm: float = 1.5
    points_lost: float = 0.05
    soft_dice: float = 0.01
    compared: float = 0.5


LIMITS: Final = GateLimits()


@dataclass(frozen=True, slots=True)
class GateReport:
    """Agreement of an engine with the reference.

    Attributes:
        engine: its name.
        reference: name of the reference.
        slices: number of slices.
        compared: slices on which either engine found contours; the figures are over these.
        disagreed: slices on which only one did: Dice 0, the frame's diagonal, no value.
        dice: mean over slices of the mean Dice coefficient of cavity and myocardium.
        hausdorff_p50_px: median over slices of the larger Hausdorff distance of the two contours, pixels.
        hausdorff_p99_px: 99th percentile of the same.
        t1_within: share of the T1 maps whose median differs by at most the limit.
        t2_within: likewise T2 maps.
        t1_p99_ms: 99th percentile of the difference of the medians over T1 maps, None where there is none.
        t2_p99_ms: likewise T2 maps.
        probability: largest difference of any class probability.
        points: insertion points that the reference finds.
        points_lost: of these, those that the engine does not find.
        points_invented: those that the engine alone finds.
        point_p95_mm: 95th percentile of the distance of the others, None where there is none.
        soft_dice_p99: 99th percentile of the difference of the soft Dice coefficient of the contours with the
            class probabilities, mean of cavity and myocardium; None where there is none.
        limits: that were applied.
        reasons: reasons why the engine does not pass; empty where it passes.
        passed: whether it does.
    """

    engine: str
    reference: str
    slices: int
    compared: int
    disagreed: int
    dice: float
    hausdorff_p50_px: float
    hausdorff_p99_px: float
    t1_within: float
    t2_within: float
    t1_p99_ms: float | None
    t2_p99_ms: float | None
    probability: float
    points: int
    points_lost: int
    points_invented: int
    point_p95_mm: float | None
    soft_dice_p99: float | None
    limits: GateLimits
    reasons: tuple[str, ...]
    passed: bool


def run_gate(engine: Engine, reference: Engine, slices: Iterable[MapSlice]) -> GateReport:
    """Compare an engine with the reference, one slice at a time as in the stream, both with magnified passes.

    Args:
        engine: to be compared; whatever it raises goes on to the caller.
        reference: the network in float32.
        slices: maps that the engine was not calibrated with.
    """
    engine, reference = MagnifyingEngine(engine), MagnifyingEngine(reference)
    count = found = disagreed = 0
    probability = 0.0
    scores: list[float] = []
    hausdorff_px: list[float] = []
    differences: dict[Quantity, list[float]] = {each: [] for each in Quantity}
    points_mm: list[float] = []
    invented = 0
    soft: list[float] = []
    for each in slices:
        count += 1
        ours, theirs = engine.infer(each.image[None])[0], reference.infer(each.image[None])[0]
        largest = float(np.abs(ours[:CLASSES] - theirs[:CLASSES]).max())
        probability = max(probability, largest if np.isfinite(largest) else 1.0)
        a, b = _drawn(ours), _drawn(theirs)
        points_mm += _point_distances_mm(ours, theirs)
        invented += sum(not math.isfinite(distance) for distance in _point_distances_mm(theirs, ours))
        found += b is not None
        if a is not None and b is not None:
            shape = each.values_ms.shape
            scores.append(dice(rasterise(a, shape), rasterise(b, shape)))
            hausdorff_px.append(max(hausdorff(a.endo, b.endo), hausdorff(a.epi, b.epi)))
            differences[each.quantity].append(abs(_median_ms(each, a) - _median_ms(each, b)))
            soft.append(abs(_soft_dice(ours) - _soft_dice(theirs)))
        elif a is not None or b is not None:
            disagreed += 1
            scores.append(0.0)
            hausdorff_px.append(_NO_CONTOUR_PX)
            differences[each.quantity].append(float("inf"))
    mean_dice = float(np.mean(scores)) if scores else 0.0
    distances_px = hausdorff_px or [_NO_CONTOUR_PX]
    p50, p99 = (float(np.quantile(distances_px, q, method="higher")) for q in (0.5, 0.99))
    t1, t2 = differences[Quantity.T1], differences[Quantity.T2]
    t1_within, t2_within = _within(t1, LIMITS.t1_ms), _within(t2, LIMITS.t2_ms)
    reasons = []
    if found < LIMITS.compared * max(count, 1):
        reasons.append(f"{reference.name} finds contours on {found} of {count} slices only")
    if not mean_dice >= LIMITS.dice:
        reasons.append(f"mean Dice {mean_dice:.4f}, below {LIMITS.dice:g}")
    if not p99 <= LIMITS.hausdorff_px:
        reasons.append(
            f"contours {p99:.2f} pixels apart at the 99th percentile, above {LIMITS.hausdorff_px:g}"
        )
    for name, share, limit in (("T1", t1_within, LIMITS.t1_ms), ("T2", t2_within, LIMITS.t2_ms)):
        if not share >= LIMITS.share:
            reasons.append(
                f"median {name} within {limit:g} ms on {share:.1%} of slices, below {LIMITS.share:.0%}"
            )
    lost = sum(not np.isfinite(distance) for distance in points_mm)
    point_p95 = _high(points_mm, 0.95)
    if lost > LIMITS.points_lost * len(points_mm):
        reasons.append(f"{lost} of {len(points_mm)} insertion points lost, above {LIMITS.points_lost:.0%}")
    if invented > LIMITS.points_lost * len(points_mm):
        reasons.append(
            f"{invented} insertion points that {reference.name} does not find, beside its {len(points_mm)}: "
            f"above {LIMITS.points_lost:.0%}"
        )
    if point_p95 is not None and not point_p95 <= LIMITS.point_mm:
        reasons.append(
            f"insertion points {point_p95:.2f} mm apart at the 95th percentile, above {LIMITS.point_mm:g}"
        )
    soft_p99 = _high(soft, 0.99)
    if soft_p99 is not None and not soft_p99 <= LIMITS.soft_dice:
        reasons.append(
            f"soft Dice {soft_p99:.4f} apart at the 99th percentile, above {LIMITS.soft_dice:g}: "
            "another confidence"
        )
    return GateReport(
        engine=engine.name,
        reference=reference.name,
        slices=count,
        compared=len(scores),
        disagreed=disagreed,
        dice=mean_dice,
        hausdorff_p50_px=p50,
        hausdorff_p99_px=p99,
        t1_within=t1_within,
        t2_within=t2_within,
        t1_p99_ms=_high(t1, 0.99),
        t2_p99_ms=_high(t2, 0.99),
        probability=probability,
        points=len(points_mm),
        points_lost=lost,
        points_invented=invented,
        point_p95_mm=point_p95,
        soft_dice_p99=soft_p99,
        limits=LIMITS,
        reasons=tuple(reasons),
        passed=not reasons,
    )


def _drawn(output: NDArray[np.float32]) -> Contours | None:
    """Return the contours as the stream draws them by default, in pixels of the frame."""
    borders = find_contours(output[:CLASSES]).contours
    return borders and move(borders, _FRAME.spacing, ContourSettings().offsets)[0]


def _soft_dice(output: NDArray[np.float32]) -> float:
    """Return the soft Dice coefficient of the borders with their classes, mean of cavity and myocardium."""
    borders = find_contours(output[:CLASSES]).contours
    if borders is None:
        return 0.0
    labels = rasterise(borders, output.shape[1:])
    return sum(soft_dice(output[value], labels == value) for value in (1, 2)) / 2.0


def _median_ms(each: MapSlice, contours: Contours) -> float:
    """Return the median of the whole ring as the stream reports it, ms; NaN where it has no values."""
    median = measure(ParametricMap.of_values(each.values_ms), contours, None, None)[0].median
    return float("nan") if median is None else median


def _within(differences: list[float], limit: float) -> float:
    """Return the share of differences of at most the limit; NaN, for no median, is not within."""
    return float(np.mean(np.array(differences) <= limit)) if differences else 1.0


def _point_distances_mm(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> list[float]:
    """Return the distance of each insertion point of the reference from the engine's, mm.

    Infinite where the engine does not find it.

    Args:
        ours: output of the engine, ``(3 + k, 224, 224)``.
        theirs: output of the reference, likewise.
    """
    a, b = (find_insertions(output[CLASSES:], None, _FRAME) for output in (ours, theirs))
    return [
        float("inf") if mine is None else FRAME_MM * math.hypot(mine.x - exact.x, mine.y - exact.y)
        for mine, exact in ((a.anterior, b.anterior), (a.inferior, b.inferior))
        if exact is not None
    ]


def _high(differences: list[float], at: float) -> float | None:
    """Return a quantile of those that are finite; None where none is."""
    finite = np.array(differences)[np.isfinite(differences)] if differences else np.zeros(0)
    return float(np.quantile(finite, at, method="higher")) if len(finite) else None
