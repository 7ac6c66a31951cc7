"""The gate: a faster engine is used only where it finds what the network in float32 finds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from calibration.slices import MapSlice
from inline.contouring.aha import measure
from inline.contouring.contours import find_contours, rasterise
from inline.data.results import Contours
from inline.data.series import Quantity
from model.engines.base import Engine
from model.evaluation.metrics import dice
from model.frame import FRAME_PIXELS
from model.polygons import hausdorff
from model.relaxometry.parametric_map import ParametricMap

SLICES: Final = 500
_NOT_FOUND_PX: Final = FRAME_PIXELS * 2.0**0.5
"""Distance between a contour and none: the frame's diagonal, so that figures stay finite."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What an engine must reach.

    Attributes:
        dice: smallest mean Dice coefficient of the labels.
        hausdorff_px: largest 99th percentile of the distance between contours, pixels of 1.5 mm.
        t1_ms: largest difference of a slice's median T1.
        t2_ms: likewise T2.
        share: of slices whose median must lie within.
        compared: share of slices on which float32 must find contours, else the comparison says nothing.
    """

    dice: float = 0.99
    hausdorff_px: float = 1.0
    t1_ms: float = 3.0
    t2_ms: float = 0.3
    share: float = 0.99
    compared: float = 0.5


@dataclass(frozen=True, slots=True)
class GateReport:
    """How far an engine is from the reference.

    Attributes:
        engine: name of the engine.
        reference: name of what it was compared with.
        slices: number of slices.
        compared: of them, those on which either engine found contours; the figures are over these.
        disagreed: of them, those on which only one did: Dice 0, the frame's diagonal, no value.
        dice: mean over slices of the mean Dice coefficient of cavity and myocardium.
        hausdorff_p50_px: median over slices of the larger Hausdorff distance of the two contours, pixels.
        hausdorff_p99_px: 99th percentile of the same.
        t1_within: share of the T1 maps whose median differs by at most the limit.
        t2_within: likewise T2 maps.
        t1_p99_ms: 99th percentile of the difference of the medians over T1 maps, None where there is none.
        t2_p99_ms: likewise T2 maps.
        probability: largest difference of any probability.
        limits: what was asked for.
        reasons: why the engine does not pass; empty where it does.
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
    limits: GateLimits
    reasons: tuple[str, ...]
    passed: bool

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The report that :meth:`to_json` wrote.

        Raises:
            ValueError: the text is no report.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            content["limits"] = GateLimits(**content["limits"])
            content["reasons"] = tuple(content["reasons"])
            report = cls(**content)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no report of a gate: {error}") from error
        if not isinstance(report.passed, bool) or report.passed == bool(report.reasons):
            raise ValueError("the report contradicts itself")
        return report


@dataclass(slots=True)
class _Tally:
    """What the slices have shown so far."""

    slices: int = 0
    found: int = 0
    disagreed: int = 0
    dice: list[float] = field(default_factory=list)
    hausdorff: list[float] = field(default_factory=list)
    values: dict[Quantity, list[float]] = field(default_factory=lambda: {each: [] for each in Quantity})
    probability: float = 0.0


def run_gate(
    engine: Engine, reference: Engine, slices: Iterable[MapSlice], limits: GateLimits | None = None
) -> GateReport:
    """Compare an engine with the reference, one slice at a time as in the stream.

    Args:
        engine: to be judged; one that raises or gives no probabilities is not passed, and the gate goes on
            raising for whoever asked.
        reference: the network in float32.
        slices: maps that the engine was not calibrated with.
        limits: None for the defaults.
    """
    tally = _Tally()
    for each in slices:
        ours, theirs = engine.infer(each.image[None])[0], reference.infer(each.image[None])[0]
        _compare(tally, each, ours, theirs)
    return _report(tally, engine.name, reference.name, limits or GateLimits())


def _compare(tally: _Tally, each: MapSlice, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    tally.slices += 1
    apart = float(np.abs(ours - theirs).max())
    tally.probability = max(tally.probability, apart if np.isfinite(apart) else 1.0)
    a, b = find_contours(ours).contours, find_contours(theirs).contours
    tally.found += b is not None
    if a is None and b is None:
        return
    if a is None or b is None:
        tally.disagreed += 1
        tally.dice.append(0.0)
        tally.hausdorff.append(_NOT_FOUND_PX)
        tally.values[each.quantity].append(float("inf"))
        return
    shape = each.values_ms.shape
    tally.dice.append(dice(rasterise(a, shape), rasterise(b, shape)))
    tally.hausdorff.append(max(hausdorff(a.endo, b.endo), hausdorff(a.epi, b.epi)))
    tally.values[each.quantity].append(abs(_median_ms(each, a) - _median_ms(each, b)))


def _report(tally: _Tally, engine: str, reference: str, limits: GateLimits) -> GateReport:
    mean_dice = float(np.mean(tally.dice)) if tally.dice else 0.0
    middle, far = (
        (float(np.quantile(tally.hausdorff, q, method="higher")) for q in (0.5, 0.99))
        if tally.hausdorff
        else (_NOT_FOUND_PX, _NOT_FOUND_PX)
    )
    t1, t2 = tally.values[Quantity.T1], tally.values[Quantity.T2]
    t1_within, t2_within = _within(t1, limits.t1_ms), _within(t2, limits.t2_ms)
    reasons = []
    if tally.found < limits.compared * max(tally.slices, 1):
        reasons.append(f"{reference} finds contours on {tally.found} of {tally.slices} slices only")
    if not mean_dice >= limits.dice:
        reasons.append(f"mean Dice {mean_dice:.4f}, below {limits.dice:g}")
    if not far <= limits.hausdorff_px:
        reasons.append(
            f"contours {far:.2f} pixels apart at the 99th percentile, above {limits.hausdorff_px:g}"
        )
    for name, share, limit in (("T1", t1_within, limits.t1_ms), ("T2", t2_within, limits.t2_ms)):
        if not share >= limits.share:
            reasons.append(
                f"median {name} within {limit:g} ms on {share:.1%} of slices, below {limits.share:.0%}"
            )
    return GateReport(
        engine=engine,
        reference=reference,
        slices=tally.slices,
        compared=len(tally.dice),
        disagreed=tally.disagreed,
        dice=mean_dice,
        hausdorff_p50_px=middle,
        hausdorff_p99_px=far,
        t1_within=t1_within,
        t2_within=t2_within,
        t1_p99_ms=_p99(t1),
        t2_p99_ms=_p99(t2),
        probability=tally.probability,
        limits=limits,
        reasons=tuple(reasons),
        passed=not reasons,
    )


def _median_ms(each: MapSlice, contours: Contours) -> float:
    """What the stream would report for the whole ring, ms; NaN where it has no values."""
    median = measure(ParametricMap.of_values(each.values_ms), contours, None, None)[0].median
    return float("nan") if median is None else median


def _within(differences: list[float], limit: float) -> float:
    """Share of differences that are at most the limit; a median that is not there (NaN) is not within."""
    return float(np.mean(np.array(differences) <= limit)) if differences else 1.0


def _p99(differences: list[float]) -> float | None:
    finite = np.array(differences)[np.isfinite(differences)] if differences else np.zeros(0)
    return float(np.quantile(finite, 0.99, method="higher")) if len(finite) else None
