"""One slice from its images to its result, for every entry of the program."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.assembled import Assembled, Failed, Ready
from inline.contouring.aha_segments import segment_level
from inline.contouring.blood import blood_t1, enhancement_by_blood
from inline.contouring.confidence import Reviewer, class_entropy, in_frame
from inline.contouring.contours import rasterise
from inline.contouring.convention import draw
from inline.contouring.plausibility import (
    check_values,
    check_wall,
    clipped,
    coarse,
    noisy,
    noisy_parts,
    poor_fit,
    within_tissue,
)
from inline.contouring.regions import measure, sixths, without_values
from inline.contouring.segment import contour_slice, network_input
from inline.contouring.septum import slice_reference
from inline.contouring.slice_level import level_note, slice_level
from inline.data.flags import Finding, Flag
from inline.data.geometry import SliceGeometry
from inline.data.results import (
    AngularReference,
    ContourOffsets,
    Contours,
    RegionValues,
    SliceLevel,
    SliceMotion,
    SliceResult,
)
from inline.data.series import MappingSeries, MapSeries, Quantity, SlicePlace
from inline.fit import NotFittedError, check_images, make_map, scaled
from inline.motion import examine_motion, may_be_corrected, misaligned
from inline.reference import ReferenceRanges, quantity_of, with_z_scores
from inline.settings import AssemblySettings, Settings
from model.architecture import CLASSES
from model.engines.base import Engine
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.motion.correction import correct_motion
from model.motion.signal_models import MolliModel
from model.relaxometry.molli import molli_map
from model.relaxometry.parametric_map import ParametricMap
from model.relaxometry.t2prep import t2_map

_NO_DIRECTIONS: Final = (
    "The image headers give no directions (read_dir, phase_dir, slice_dir), and no insertion points of the "
    "right ventricle show the septum{}: no septum and no segments."
)
_NO_USUAL_HEART: Final = (
    "The slice does not lie in the short axis of a usual heart, and no insertion points of the right "
    "ventricle show the septum{}: no septum and no segments. The setting regions.septum_degrees states its "
    "direction, for all slices alike."
)
_POINTS_NOT_USED: Final = (
    "Septum and segments do not follow the insertion points of the right ventricle{}. There is no mid-septal "
    "value."
)


class Stage(StrEnum):
    """Stage of a slice whose wall time its result states, in their order."""

    FIT = "fit"
    MOTION = "motion"
    PREPARE = "prepare"
    WAIT = "wait"
    """For the network; in a server alone."""
    NETWORK = "network"
    """Of the batch that the slice was in."""
    CONTOURS = "contours"
    REGIONS = "regions"
    CONFIDENCE = "confidence"


Stages = Generator[NDArray[np.float32] | SliceResult, NDArray[np.float32], None]
"""Stages of one slice: yields its network input, receives the network output, yields its result."""


@dataclass(frozen=True, slots=True)
class SliceContext:
    """Context of a slice beside its images.

    Attributes:
        study: slices of the study received so far, this one last; empty where the study is not known.
        settings: of the connection, for the factor on fitted T1, the contour convention, and whether the
            result holds the uncertainty of the class boundaries; None for those of the pipeline.
    """

    study: tuple[SlicePlace, ...] = ()
    settings: Settings | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A slice before the network.

    Attributes:
        parametric: its map.
        frame: position of the map in the network's frame.
        network_input: float32 ``(224, 224)``; independent of ``t1_scale``.
        t1_scale: factor that the map was multiplied by; 1 for T2 and for a scanner's map.
        findings: of the images.
        motion: of the images; None where they were not examined for it.
        uncorrected: map of the images as acquired, where ``parametric`` is that of corrected ones.
        corrected: corrected images, where ``parametric`` is their map.
    """

    parametric: ParametricMap
    frame: Frame
    network_input: NDArray[np.float32]
    t1_scale: float = 1.0
    findings: tuple[Finding, ...] = ()
    motion: SliceMotion | None = None
    uncorrected: ParametricMap | None = None
    corrected: NDArray[np.float32] | None = None


@dataclass(slots=True, eq=False)
class SliceProgress:
    """One slice in work, and the results of its stages so far.

    Attributes:
        assembled: its series, or why there is none.
        context: of the slice beside its images.
        deadline: end of its budget, s of :func:`time.monotonic`; infinite without a budget.
        prepared: its map and network input, once the fit is done.
        times_ms: wall time of each stage, ms.
    """

    assembled: Assembled
    context: SliceContext = SliceContext()
    deadline: float = float("inf")
    prepared: Prepared | None = None
    times_ms: dict[str, float] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        """True after the deadline."""
        return time.monotonic() >= self.deadline

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the wall time of the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            took = (time.perf_counter() - start) * 1000.0
            self.times_ms[stage.value] = self.times_ms.get(stage.value, 0.0) + took

    def failure(self, error: BaseException) -> SliceResult:
        """Return the result of a slice whose stages or network raised an error."""
        if isinstance(error, NotFittedError):
            return self.without_contours(str(error), Flag.SATURATION_RECOVERY)
        return self.without_contours(f"{type(error).__name__}: {error}", Flag.PROCESSING_ERROR)

    def without_contours(self, error: str, flag: Flag | None = None) -> SliceResult:
        """Return the result so far: the map where the fit is done, and why there are no contours."""
        result, prepared = self.empty_result(), self.prepared
        findings: list[Finding] = []
        if prepared is not None:
            values = check_values(prepared.parametric, result.quantity, (), scanner_made=result.scanner_made)
            findings = [*prepared.findings, *values]
        flags = (*result.flags, *(code for code, _ in findings), *((flag,) if flag else ()))
        notes = (*result.notes, *(sentence for _, sentence in findings if sentence))
        return replace(result, flags=flags, notes=notes, error=error)

    def empty_result(self) -> SliceResult:
        """Return a result with what is known of the slice, but neither contours nor findings."""
        assembled, prepared = self.assembled, self.prepared
        t1_scale, notes = prepared.t1_scale if prepared else 1.0, assembled.notes
        if t1_scale != 1.0:
            notes = (*notes, f"Fitted T1 was multiplied by {t1_scale:g} (setting mapping.t1_scale).")
        return SliceResult(
            identity=assembled.identity,
            quantity=assembled.quantity,
            geometry=assembled.geometry,
            map=prepared.parametric if prepared else None,
            scanner_made=assembled.scanner_made,
            labels=np.zeros(assembled.geometry.shape, np.uint8),
            contours=None,
            flags=assembled.flags,
            notes=notes,
            motion_corrected=assembled.motion_corrected,
            enhancement=assembled.enhancement,
            enhancement_source=assembled.enhancement_source,
            field_strength=assembled.field_strength,
            sex=assembled.sex,
            t1_scale=t1_scale,
            motion=prepared.motion if prepared else None,
            uncorrected=prepared.uncorrected if prepared else None,
            times_ms=dict(self.times_ms),
        )


class Pipeline:
    """Fit, network, contours, values and confidence.

    Holds no state between slices and may be used from several threads.

    Attributes:
        engine: runs the network.
        ranges: normal values of the site.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings | None = None,
        *,
        reviewer: Reviewer | None = None,
        ranges: ReferenceRanges | None = None,
    ) -> None:
        """Put the parts together; the program does so by :func:`inline.engine_selection.build_pipeline`.

        Args:
            engine: runs the network.
            settings: of the program; the defaults if None.
            reviewer: returns the confidence.
            ranges: normal values of the site, for z-scores.
        """
        self.engine = engine
        self.ranges = ranges or ReferenceRanges()
        self._settings = settings or Settings()
        self._reviewer = reviewer or Reviewer()
        self._regions = self._settings.regions

    @property
    def offsets(self) -> ContourOffsets:
        """Contour convention."""
        return self._settings.contours.offsets

    @property
    def assembly(self) -> AssemblySettings:
        """Settings by which images become series."""
        return self._settings.assembly

    def warm_up(self) -> None:
        """Run network and fits once: the first run compiles and allocates.

        Raises:
            NoEngineError: no engine runs.
        """
        self.engine.infer(np.zeros((1, FRAME_PIXELS, FRAME_PIXELS), np.float32))
        noise = np.random.default_rng(0).random((8, 160, 160), np.float32)
        times = np.linspace(100.0, 4000.0, 8)
        t2_map(noise[:3], np.array([0.0, 25.0, 55.0]))
        correct_motion(noise, times, (1.5, 1.5), MolliModel(), molli_map(noise, times))

    def process(self, assembled: Assembled, context: SliceContext | None = None) -> SliceResult:
        """Return the result of one slice; errors are stated in it.

        Runs the same :meth:`stages` as the scheduler, which gives the network several slices at a time.
        """
        progress = SliceProgress(assembled, context or SliceContext())
        try:
            stages = self.stages(progress)
            output = next(stages)
            while not isinstance(output, SliceResult):
                with progress.timed(Stage.NETWORK):
                    returned = self.engine.infer(output[None])[0]
                output = stages.send(returned)
            return output
        except Exception as error:
            return progress.failure(error)

    def stages(self, progress: SliceProgress) -> Stages:
        """Run the stages of one slice: fit; the caller's network; contours, values and confidence.

        Yields:
            The network input ``(224, 224)``, for which the caller sends the network output
            ``(3 + k, 224, 224)`` (:class:`model.engines.base.Engine`); then the result.

        Raises:
            Exception: from the next step, of any kind; :meth:`SliceProgress.failure` makes a result of it.
        """
        if isinstance(progress.assembled, Failed):
            yield progress.without_contours(progress.assembled.error)
            return
        progress.prepared = self._prepare(progress, progress.assembled)
        output = yield progress.prepared.network_input
        yield self._conclude(progress, progress.prepared, output)

    def _prepare(self, progress: SliceProgress, assembled: Ready) -> Prepared:
        """Return map and network input of a slice.

        Raises:
            ValueError: too few images for the fit.
            NotFittedError: the images show saturation recovery.
        """
        with progress.timed(Stage.FIT):
            findings = check_images(assembled.series)
            parametric = make_map(assembled.series)
        motion, uncorrected, corrected = None, None, None
        wanted = self._settings.mapping.motion_correction == "auto"
        if wanted and may_be_corrected(assembled, findings):
            with progress.timed(Stage.MOTION):
                examined = examine_motion(assembled.series, parametric)
            if examined is not None:
                motion, uncorrected, parametric = examined.motion, examined.uncorrected, examined.parametric
                corrected, findings = examined.images, (*findings, *examined.findings)
        with progress.timed(Stage.PREPARE):
            frame = Frame(assembled.geometry.shape, assembled.geometry.spacing)
            image = network_input(parametric, assembled.quantity, frame)
        t1_scale = 1.0
        if assembled.quantity is Quantity.T1 and not isinstance(assembled.series, MapSeries):
            t1_scale = (progress.context.settings or self._settings).mapping.t1_scale
        # Scaled after the network input is made: the network was trained on maps as the fit returns them.
        if uncorrected is not None:
            uncorrected = scaled(uncorrected, t1_scale)
        map_ms = scaled(parametric, t1_scale)
        return Prepared(map_ms, frame, image, t1_scale, findings, motion, uncorrected, corrected)

    def _conclude(
        self, progress: SliceProgress, prepared: Prepared, output: NDArray[np.float32]
    ) -> SliceResult:
        """Return contours, values and confidence from the network output ``(3 + k, 224, 224)``."""
        assembled, parametric, empty = progress.assembled, prepared.parametric, progress.empty_result()
        study, settings = progress.context.study, progress.context.settings or self._settings
        own = study[-1] if study else assembled.slice_place()
        level, level_source = slice_level(own, study, stated=self._regions.levels)
        with progress.timed(Stage.CONTOURS):
            borders = contour_slice(output, prepared.frame)
            convention = settings.contours.offsets
            labels, contours, offsets, note, thin = draw(borders, empty.geometry.spacing, convention)
            flags = [*empty.flags, *borders.flags, *thin]
        with progress.timed(Stage.REGIONS):
            stated = self._regions.septum_degrees
            reference, objection = slice_reference(
                empty.geometry, borders.insertions, borders.contours, stated
            )
            if objection and not borders.insertions.objection:
                # Either may be wrong: points of a mirrored image, or directions of a header.
                flags.append(Flag.CONTRADICTORY_GEOMETRY)
            regions: tuple[RegionValues, ...] = ()
            left_out = ""
            if contours is not None:
                named, measured = segment_level(level, flags), parametric
                if empty.scanner_made:
                    measured, left_out = within_tissue(parametric, empty.quantity, contours)
                regions = measure(measured, contours, named, reference, inset=self._regions.inset)
                if poor_fit(measured, labels, scanner_made=empty.scanner_made):
                    flags.append(Flag.POOR_FIT)
            findings = [
                *prepared.findings,
                *_check_values(empty, parametric, labels, regions),
                *without_values(regions),
            ]
            if isinstance(assembled, Ready) and isinstance(assembled.series, MappingSeries):
                whole = None if Flag.CUT_OFF in flags else contours
                findings += _check_signals(assembled.series, prepared, labels, whole, reference)
            flags = [*dict.fromkeys((*flags, *(code for code, _ in findings)))]
            notes = [
                *empty.notes,
                *(each for each in (note, left_out) if each),
                *(sentence for _, sentence in findings if sentence),
            ]
            because = f" ({objection})" if objection else ""
            if reference is None and not assembled.geometry.oriented:
                notes.append(_NO_DIRECTIONS.format(because))
            elif reference is None and contours is not None:
                notes.append(_NO_USUAL_HEART.format(because))
            elif objection:
                notes.append(_POINTS_NOT_USED.format(because))
            if named_otherwise := level_note(level_source):
                notes.append(named_otherwise)
            if contours is None or {Flag.CUT_OFF, Flag.TOO_SMALL} & set(flags):
                notes += _beyond_frame(assembled.geometry)
        uncertainty = None
        if settings.emit.uncertainty:
            uncertainty = prepared.frame.to_image(np.nan_to_num(class_entropy(output[:CLASSES])))
        with progress.timed(Stage.CONFIDENCE):
            # The output is that of the borders, not of a convention.
            in_network = in_frame(borders.contours, prepared.frame)
            assessed = self._reviewer.assess(output, prepared.network_input, in_network)
            if assessed.review:
                flags.append(Flag.REVIEW)
                notes.append(assessed.reason)
        result = replace(
            empty,
            labels=labels,
            contours=contours,
            offsets=offsets,
            convention=convention,
            inset=self._regions.inset,
            insertions=borders.insertions,
            regions=regions,
            level=level,
            level_source=level_source,
            angular_reference=reference.source if reference else "none",
            septum=reference,
            confidence=assessed.confidence,
            confidence_source=self._reviewer.source,
            confidence_reason=assessed.reason,
            flags=tuple(flags),
            notes=tuple(notes),
            times_ms=progress.times_ms,
            boundary_uncertainty=uncertainty,
        )
        return self._compared(_with_blood(result))

    def at_level(self, result: SliceResult, level: SliceLevel, source: str) -> SliceResult:
        """Return a result with another slice level and the regions that follow from it.

        Args:
            result: ``map`` and ``contours`` may be those of a part of the image, alike.
            level, source: see :func:`slice_level`.
        """
        others = (each for each in result.notes if each != level_note(result.level_source))
        stated = (*others, *filter(None, [level_note(source)]))
        found = replace(result, level=level, level_source=source, notes=stated)
        parametric, contours = result.map, result.contours
        if parametric is None or contours is None:
            return found
        named, measured = segment_level(level, result.flags), parametric
        if result.scanner_made:
            measured, _ = within_tissue(parametric, result.quantity, contours)
        regions = measure(measured, contours, named, result.septum, inset=self._regions.inset)
        lost = without_values(regions)
        rows, columns = parametric.values_ms.shape
        labels = rasterise(contours, (rows, columns))
        checked = [*_check_values(result, parametric, labels, regions), *lost]
        # Without another one, the note of the former level gives the reason of its flag.
        former = {sentence for _, sentence in without_values(result.regions)} if lost else set()
        outdated = {
            sentence: code
            for code, sentence in _check_values(result, parametric, labels, result.regions)
            if sentence in stated
        }
        dropped = set(outdated.values()) - {code for code, _ in checked}
        flags = (each for each in result.flags if each not in dropped)
        notes = (each for each in stated if each not in former | outdated.keys())
        ranges, _ = self.ranges.of(quantity_of(result), result)
        regions, reference = with_z_scores(regions, ranges)
        return replace(
            found,
            regions=regions,
            reference=reference,
            flags=tuple(dict.fromkeys((*flags, *(code for code, _ in checked)))),
            notes=tuple(dict.fromkeys((*notes, *(sentence for _, sentence in checked)))),
        )

    def _compared(self, result: SliceResult) -> SliceResult:
        """Return the result with z-scores where the site has ranges for it."""
        ranges, note = self.ranges.of(quantity_of(result), result)
        regions, source = with_z_scores(result.regions, ranges)
        notes = (*result.notes, note) if note else result.notes
        return replace(result, regions=regions, reference=source, notes=notes)


def _check_values(
    result: SliceResult,
    parametric: ParametricMap,
    labels: NDArray[np.uint8],
    regions: Sequence[RegionValues],
) -> list[Finding]:
    """Return what is implausible in the values of the regions of a result."""
    return [
        *check_values(parametric, result.quantity, regions, scanner_made=result.scanner_made),
        *check_wall(parametric, result.quantity, labels, regions),
    ]


def _check_signals(
    series: MappingSeries,
    prepared: Prepared,
    labels: NDArray[np.uint8],
    contours: Contours | None,
    reference: AngularReference | None,
) -> list[Finding]:
    """Return what the images show in the wall, in its parts too where contours and reference are known."""
    # Rounding makes pixels equal, as clipping does.
    rounded = coarse(series, labels)
    findings = [*(rounded or clipped(series, labels))]
    left = any(code is Flag.MOTION_LEFT for code, _ in prepared.findings)
    apart = () if left else misaligned(series, labels, prepared.frame, prepared.corrected)
    # Rounding and motion that is left look like noise.
    if rounded or left or apart:
        return [*findings, *apart]
    in_ring = noisy(series, labels, prepared.corrected)
    if in_ring or contours is None or reference is None:
        return [*findings, *in_ring]
    parts = sixths(labels, contours, reference)
    return [*findings, *noisy_parts(series, parts, prepared.corrected)]


def _beyond_frame(geometry: SliceGeometry) -> list[str]:
    """Return the note on an image that is larger than the network input; none where it is not."""
    width, height = geometry.spacing[0] * geometry.shape[1], geometry.spacing[1] * geometry.shape[0]
    taken = FRAME_PIXELS * FRAME_MM
    if max(width, height) <= taken:
        return []
    return [
        f"The image has {width:.0f} x {height:.0f} mm. The network input is its middle {taken:.0f} x "
        f"{taken:.0f} mm: check whether the heart lies within."
    ]


def _with_blood(result: SliceResult) -> SliceResult:
    """Return a T1 result with the T1 of its blood, and the enhancement where its sender does not state it."""
    if result.quantity is not Quantity.T1 or result.map is None or result.contours is None:
        return result
    blood = blood_t1(
        result.map,
        result.contours,
        result.geometry.spacing,
        result.offsets,
        scanner_made=result.scanner_made,
    )
    if blood is None:
        return result
    shown, source = enhancement_by_blood(blood)
    if result.enhancement is None:
        return replace(result, blood=blood, enhancement=shown, enhancement_source=source)
    if shown is None or shown is result.enhancement:
        return replace(result, blood=blood)
    note = (
        f"The {result.enhancement_source} states a {result.enhancement} map, but the {source} is that of a "
        f"{shown} one: check which it is."
    )
    flags = (*result.flags, Flag.IMPLAUSIBLE_BLOOD)
    return replace(result, blood=blood, flags=flags, notes=(*result.notes, note))
