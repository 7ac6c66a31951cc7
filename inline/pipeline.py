"""One slice from its images to its result: the same for server, gadget, replay and benchmark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Assembled, Failed, Ready
from inline.contouring.aha import angular_reference, measure
from inline.contouring.confidence import Reviewer, in_frame
from inline.contouring.contours import ContourSteps
from inline.contouring.plausibility import check_values
from inline.contouring.segment import contour_slice, network_input
from inline.contouring.slice_level import slice_level
from inline.data.errors import SeriesError
from inline.data.flags import Flag
from inline.data.results import RegionValues, SliceResult
from inline.data.series import MappingSeries, MapSeries, Quantity, Series, SlicePlace
from inline.settings import RegionSettings, Settings
from model.engines.base import Engine
from model.frame import FRAME_PIXELS, Frame
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.recovery import check_recovery
from model.relaxometry.t2prep import t2_map

_POOR_FIT: Final = 0.9
"""R2 of the fit that the middle of the myocardium's pixels must reach."""


class NotFittedError(SeriesError):
    """The images are of a kind that no fit here describes; ``flag`` names it."""

    def __init__(self, message: str, flag: Flag) -> None:
        super().__init__(message)
        self.flag = flag


@dataclass(slots=True)
class Stopwatch:
    """The budget of a slice, which goes with it through all stages, and what they took of it.

    Attributes:
        deadline: when its result is due, on the clock of :func:`time.monotonic`; never, where nobody waits.
        times_ms: wall time of named stages, ms.
    """

    deadline: float = float("inf")
    times_ms: dict[str, float] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """Whether the budget has ended."""
        return time.monotonic() >= self.deadline

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times_ms[name] = self.times_ms.get(name, 0.0) + (time.perf_counter() - start) * 1000.0


@dataclass(frozen=True, slots=True)
class SliceContext:
    """Context of a slice beside its images.

    Attributes:
        t1_scale: factor on every fitted T1; None for that of the pipeline's settings.
        shown: slices that the examination has shown so far, this one last; empty where the examination is
            not known.
    """

    t1_scale: float | None = None
    shown: tuple[SlicePlace, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slice before the network.

    Attributes:
        parametric: its map.
        frame: how the map lies in the network's frame.
        picture: network input, float32 ``(224, 224)``; no factor on T1 changes it.
        t1_scale: factor that the map was multiplied by; 1 for T2 and for a scanner's map.
        doubts: what the images show that the fit does not, as reason codes with a sentence each.
    """

    parametric: ParametricMap
    frame: Frame
    picture: NDArray[np.float32]
    t1_scale: float = 1.0
    doubts: tuple[tuple[Flag, str], ...] = ()


class Pipeline:
    """Fit, network, contours, values, confidence.

    Holds no state between slices and may be used from several threads.
    """

    def __init__(
        self,
        engine: Engine,
        regions: RegionSettings | None = None,
        steps: ContourSteps | None = None,
        reviewer: Reviewer | None = None,
        *,
        t1_scale: float = 1.0,
    ) -> None:
        self.engine = engine
        self._t1_scale = t1_scale
        self._reviewer = reviewer or Reviewer()
        self._regions = regions or RegionSettings()
        self._steps = steps or ContourSteps()

    @classmethod
    def of(cls, engine: Engine, settings: Settings) -> Self:
        """The pipeline that the settings ask for, around an engine."""
        return cls(
            engine,
            settings.regions,
            reviewer=Reviewer.of(settings),
            t1_scale=settings.mapping.t1_scale,
        )

    def warm_up(self) -> None:
        """Run network and fits once, so that the first slice does not pay for what happens once.

        Raises:
            NoEngineError: no engine answers.
        """
        self.engine.infer(np.zeros((1, FRAME_PIXELS, FRAME_PIXELS), np.float32))
        noise = np.random.default_rng(0).random((8, 160, 160), np.float32)
        molli_map(noise, np.linspace(100.0, 4000.0, 8))
        t2_map(noise[:3], np.array([0.0, 25.0, 55.0]))

    def process(self, assembled: Assembled, context: SliceContext | None = None) -> SliceResult:
        """The result of one slice, stage after stage; what goes wrong is told in it."""
        if isinstance(assembled, Failed):
            return failed(assembled, assembled.error)
        watch = Stopwatch()
        prepared: Prepared | None = None
        try:
            prepared = self.prepare(assembled, watch, context)
            with watch.stage("network"):
                probabilities = self.engine.infer(prepared.picture[None])[0]
            return self.conclude(assembled, prepared, probabilities, watch, context)
        except Exception as problem:
            return broken(assembled, problem, prepared, watch.times_ms)

    def prepare(self, assembled: Ready, watch: Stopwatch, context: SliceContext | None = None) -> Prepared:
        """First stage: fit, and network input.

        Raises:
            ValueError: too few images for the fit.
            NotFittedError: the images show saturation recovery.
        """
        with watch.stage("fit"):
            doubts = check_images(assembled.series)
            parametric = make_map(assembled.series)
        with watch.stage("prepare"):
            frame = Frame(assembled.geometry.shape, assembled.geometry.spacing)
            prepared = network_input(parametric, assembled.quantity, frame)
        t1_scale = 1.0
        if assembled.quantity is Quantity.T1 and not isinstance(assembled.series, MapSeries):
            stated = context.t1_scale if context else None
            t1_scale = self._t1_scale if stated is None else stated
        # After the network input is made: the network was trained on what the fit gives.
        return Prepared(scaled(parametric, t1_scale), frame, prepared, t1_scale, doubts)

    def conclude(
        self,
        assembled: Ready,
        prepared: Prepared,
        probabilities: NDArray[np.float32],
        watch: Stopwatch,
        context: SliceContext | None = None,
    ) -> SliceResult:
        """Last stage: contours, values and confidence from the network's answer ``(3, 224, 224)``."""
        series, geometry, parametric = assembled.series, assembled.geometry, prepared.parametric
        flags = list(assembled.flags)
        scanner_made = isinstance(series, MapSeries)
        shown = context.shown if context else ()
        own = shown[-1] if shown else assembled.slice_place()
        level, level_source = slice_level(own, shown, stated=self._regions.levels)
        with watch.stage("contours"):
            labels, contours, reasons = contour_slice(probabilities, prepared.frame, self._steps)
            flags += reasons
        with watch.stage("regions"):
            reference = None
            if assembled.oriented or self._regions.septum_degrees is not None:
                reference = angular_reference(geometry, self._regions.septum_degrees)
            regions: tuple[RegionValues, ...] = ()
            if contours is not None:
                regions = measure(parametric, contours, level, reference, inset=self._regions.inset)
                if _poor(parametric, labels, scanner_made=scanner_made):
                    flags.append(Flag.POOR_FIT)
            doubts = [
                *prepared.doubts,
                *check_values(parametric, assembled.quantity, regions, scanner_made=scanner_made),
            ]
            flags += [flag for flag, _ in doubts]
        with watch.stage("quality"):
            seen = in_frame(contours, prepared.frame)
            confidence = self._reviewer.confidence(probabilities, prepared.picture, seen)
            if confidence is not None and confidence < self._reviewer.review_below:
                flags.append(Flag.REVIEW)
        return SliceResult(
            identity=assembled.identity,
            quantity=assembled.quantity,
            geometry=geometry,
            map=parametric,
            scanner_made=scanner_made,
            labels=labels,
            contours=contours,
            regions=regions,
            level=level,
            level_source=level_source,
            angular_reference=reference.source if reference else "none",
            confidence=confidence,
            confidence_source=self._reviewer.source,
            flags=tuple(flags),
            notes=(*_notes(assembled, prepared), *(sentence for _, sentence in doubts)),
            motion_corrected=assembled.motion_corrected,
            t1_scale=prepared.t1_scale,
            times_ms=watch.times_ms,
        )


def check_images(series: Series) -> tuple[tuple[Flag, str], ...]:
    """What the images of a series show that its fit does not, as reason codes with a sentence each.

    Raises:
        NotFittedError: they show saturation recovery.
    """
    if not isinstance(series, MappingSeries) or series.quantity is not Quantity.T1:
        return ()
    found = check_recovery(series.images, series.times_ms, signed=series.signed)
    if found.saturation:
        raise NotFittedError(
            "not fitted: the signal recovers from saturation (SASHA or alike), for which the inversion "
            "recovery of a MOLLI fit would give a wrong T1",
            Flag.SATURATION_RECOVERY,
        )
    if found.off is None or Flag.SCALED_IMAGES in series.flags:
        return ()
    return (
        (
            Flag.SCALED_IMAGES,
            f"The image of {series.times_ms[found.off]:g} ms lies {100.0 * found.by:+.0f} % of the signal "
            "beside the recovery of the others: check its scale and its inversion time.",
        ),
    )


def make_map(series: Series) -> ParametricMap:
    """The map of a series: fitted, or the scanner's own.

    Raises:
        ValueError: too few images for the fit.
    """
    if isinstance(series, MapSeries):
        finite = np.isfinite(series.values_ms)
        values = np.where(finite, series.values_ms, np.float32(0.0))
        nothing = np.zeros_like(values)
        return ParametricMap(values, nothing, nothing, failed=values <= 0.0)
    if series.quantity is Quantity.T2:
        return t2_map(series.images, series.times_ms)
    return molli_map(series.images, series.times_ms, signed=series.signed)


def scaled(parametric: ParametricMap, factor: float) -> ParametricMap:
    """A map with its values and their standard deviations multiplied by a factor."""
    if factor == 1.0:
        return parametric
    share = np.float32(factor)
    return replace(parametric, values_ms=parametric.values_ms * share, sd_ms=parametric.sd_ms * share)


def failed(
    assembled: Assembled,
    error: str,
    flag: Flag | None = None,
    prepared: Prepared | None = None,
    times_ms: dict[str, float] | None = None,
) -> SliceResult:
    """The result of a slice that could not be processed, with its map where that was ready."""
    scanner_made = isinstance(assembled, Ready) and isinstance(assembled.series, MapSeries)
    doubts: list[tuple[Flag, str]] = []
    if prepared is not None:
        doubts = [
            *prepared.doubts,
            *check_values(prepared.parametric, assembled.quantity, (), scanner_made=scanner_made),
        ]
    return SliceResult(
        identity=assembled.identity,
        quantity=assembled.quantity,
        geometry=assembled.geometry,
        map=prepared.parametric if prepared else None,
        scanner_made=scanner_made,
        labels=np.zeros(assembled.geometry.shape, np.uint8),
        contours=None,
        flags=(*assembled.flags, *(doubt for doubt, _ in doubts), *((flag,) if flag else ())),
        notes=(*_notes(assembled, prepared), *(sentence for _, sentence in doubts)),
        motion_corrected=assembled.motion_corrected,
        t1_scale=prepared.t1_scale if prepared else 1.0,
        times_ms=times_ms or {},
        error=error,
    )


def broken(
    assembled: Assembled, error: BaseException, prepared: Prepared | None, times_ms: dict[str, float]
) -> SliceResult:
    """The result of a slice that a stage raised an error for."""
    if isinstance(error, NotFittedError):
        return failed(assembled, str(error), error.flag, prepared, times_ms)
    message = f"{type(error).__name__}: {error}"
    return failed(assembled, message, Flag.PROCESSING_ERROR, prepared, times_ms)


def _notes(assembled: Assembled, prepared: Prepared | None) -> tuple[str, ...]:
    """Notes of the assembly, and one on the factor on T1."""
    if prepared is None or prepared.t1_scale == 1.0:
        return assembled.notes
    factor = f"Fitted T1 was multiplied by {prepared.t1_scale:g} (setting mapping.t1_scale)."
    return (*assembled.notes, factor)


def _poor(parametric: ParametricMap, labels: NDArray[np.uint8], *, scanner_made: bool) -> bool:
    """Whether the model describes the signal of the myocardium badly."""
    wall = labels == 2
    if scanner_made or not wall.any():
        return False
    return bool(np.median(parametric.r_squared[wall]) < _POOR_FIT or parametric.failed[wall].mean() > 0.2)
