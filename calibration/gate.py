"""Gate: a faster engine is used only if its contours and values agree with those of float32."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from calibration.slices import MapSlice
from inline.contouring.contours import find_contours, rasterise
from inline.contouring.convention import move
from inline.contouring.insertion import find_insertions
from inline.contouring.regions import measure
from inline.data.results import Contours, Insertions
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
    count = found = disagreed = invented = 0
    probability = 0.0
    scores: list[float] = []
    hausdorff_px: list[float] = []
    differences: dict[Quantity, list[float]] = {each: [] for each in Quantity}
    points_mm: list[float] = []
    soft: list[float] = []
    for each in slices:
        count += 1
        ours, theirs = engine.infer(each.image[None])[0], reference.infer(each.image[None])[0]
        largest = float(np.abs(ours[:CLASSES] - theirs[:CLASSES]).max())
        probability = max(probability, largest if np.isfinite(largest) else 1.0)
        own, exact = _Read.of(ours), _Read.of(theirs)
        a, b = own.contours, exact.contours
        points_mm += _point_distances_mm(own.insertions, exact.insertions)
        invented += _lost(_point_distances_mm(exact.insertions, own.insertions))
        found += b is not None
        if a is not None and b is not None:
            shape = each.values_ms.shape
            scores.append(dice(rasterise(a, shape), rasterise(b, shape)))
            hausdorff_px.append(max(hausdorff(a.endo, b.endo), hausdorff(a.epi, b.epi)))
            differences[each.quantity].append(abs(_median_ms(each, a) - _median_ms(each, b)))
            soft.append(abs(own.soft_dice - exact.soft_dice))
        elif a is not None or b is not None:
            disagreed += 1
            scores.append(0.0)
            hausdorff_px.append(_NO_CONTOUR_PX)
            differences[each.quantity].append(float("inf"))
    p50, p99 = np.quantile(hausdorff_px or [_NO_CONTOUR_PX], (0.5, 0.99), method="higher").tolist()
    t1, t2 = differences[Quantity.T1], differences[Quantity.T2]
    report = GateReport(
        engine=engine.name,
        reference=reference.name,
        slices=count,
        compared=len(scores),
        disagreed=disagreed,
        dice=float(np.mean(scores)) if scores else 0.0,
        hausdorff_p50_px=p50,
        hausdorff_p99_px=p99,
        t1_within=_within(t1, LIMITS.t1_ms),
        t2_within=_within(t2, LIMITS.t2_ms),
        t1_p99_ms=_high(t1, 0.99),
        t2_p99_ms=_high(t2, 0.99),
        probability=probability,
        points=len(points_mm),
        points_lost=_lost(points_mm),
        points_invented=invented,
        point_p95_mm=_high(points_mm, 0.95),
        soft_dice_p99=_high(soft, 0.99),
        limits=LIMITS,
        reasons=(),
        passed=False,
    )
    reasons = tuple(_reasons(report, found))
    return replace(report, reasons=reasons, passed=not reasons)


def _reasons(report: GateReport, found: int) -> Iterator[str]:
    """Yield why an engine does not pass; ``found``: slices on which the reference finds contours."""
    limits, points = report.limits, report.points
    if found < limits.compared * max(report.slices, 1):
        yield f"{report.reference} finds contours on {found} of {report.slices} slices only"
    if not report.dice >= limits.dice:
        yield f"mean Dice {report.dice:.4f}, below {limits.dice:g}"
    if not report.hausdorff_p99_px <= limits.hausdorff_px:
        apart = f"contours {report.hausdorff_p99_px:.2f} pixels apart"
        yield f"{apart} at the 99th percentile, above {limits.hausdorff_px:g}"
    for name, share, limit in (
        ("T1", report.t1_within, limits.t1_ms),
        ("T2", report.t2_within, limits.t2_ms),
    ):
        if not share >= limits.share:
            yield f"median {name} within {limit:g} ms on {share:.1%} of slices, below {limits.share:.0%}"
    if report.points_lost > limits.points_lost * points:
        yield f"{report.points_lost} of {points} insertion points lost, above {limits.points_lost:.0%}"
    if report.points_invented > limits.points_lost * points:
        yield (
            f"{report.points_invented} insertion points that {report.reference} does not find, beside its "
            f"{points}: above {limits.points_lost:.0%}"
        )
    apart_mm, soft = report.point_p95_mm, report.soft_dice_p99
    if apart_mm is not None and not apart_mm <= limits.point_mm:
        yield f"insertion points {apart_mm:.2f} mm apart at the 95th percentile, above {limits.point_mm:g}"
    if soft is not None and not soft <= limits.soft_dice:
        apart = f"soft Dice {soft:.4f} apart at the 99th percentile, above {limits.soft_dice:g}"
        yield f"{apart}: another confidence"


class _Read(NamedTuple):
    """Contours and points in one output.

    Attributes:
        contours: as the stream draws them by default, in pixels of the frame; None where there are none.
        insertions: likewise in pixels of the frame.
        soft_dice: of the borders with their classes, mean of cavity and myocardium.
    """

    contours: Contours | None
    insertions: Insertions
    soft_dice: float

    @classmethod
    def of(cls, output: NDArray[np.float32]) -> Self:
        """Return what the stream finds in an output ``(3 + k, 224, 224)``."""
        insertions = find_insertions(output[CLASSES:], None, _FRAME)
        borders = find_contours(output[:CLASSES]).contours
        if borders is None:
            return cls(None, insertions, 0.0)
        labels = rasterise(borders, output.shape[1:])
        shared = sum(soft_dice(output[value], labels == value) for value in (1, 2)) / 2.0
        return cls(move(borders, _FRAME.spacing, ContourSettings().offsets)[0], insertions, shared)


def _median_ms(each: MapSlice, contours: Contours) -> float:
    """Return the median of the whole ring as the stream reports it, ms; NaN where it has no values."""
    median = measure(ParametricMap.of_values(each.values_ms), contours, None, None)[0].median
    return float("nan") if median is None else median


def _within(differences: list[float], limit: float) -> float:
    """Return the share of differences of at most the limit; NaN, for no median, is not within."""
    return float(np.mean(np.array(differences) <= limit)) if differences else 1.0


def _point_distances_mm(ours: Insertions, theirs: Insertions) -> list[float]:
    """Return the distance of each insertion point of theirs from ours, mm; infinite where we have none."""
    return [
        float("inf") if mine is None else FRAME_MM * math.hypot(mine.x - exact.x, mine.y - exact.y)
        for mine, exact in ((ours.anterior, theirs.anterior), (ours.inferior, theirs.inferior))
        if exact is not None
    ]


def _lost(distances_mm: Iterable[float]) -> int:
    """Return the number of insertion points without a distance."""
    return sum(not math.isfinite(each) for each in distances_mm)


def _high(differences: list[float], at: float) -> float | None:
    """Return a quantile of those that are finite; None where none is."""
    finite = np.array(differences)[np.isfinite(differences)] if differences else np.zeros(0)
    return float(np.quantile(finite, at, method="higher")) if len(finite) else None
