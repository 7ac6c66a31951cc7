"""``myostream calibrate contours``: contour convention of a site, fitted from its own labelled slices.

The network returns the borders of the wall. For each slice the offsets are found at which parallel curves of
the borders agree best with the readers' labels. The offsets of a case are the median over its slices. Those
of the site are estimated from the cases by a two-level normal model. The report leaves out each case in turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from inline.contouring.convention import draw
from inline.contouring.segment import Segmentation, segment
from inline.data.errors import MyostreamError
from inline.data.results import ContourOffsets, Contours
from inline.engine_selection import build_pipeline
from inline.settings import FURTHEST_MM, ContourSettings, Settings
from inline.terminal.tables import print_columns, print_values
from inline.terminal.text import print_lines
from model.evaluation.cases import LabelledSlice, first_readers, first_readers_note, read_kinds
from model.evaluation.evaluate import SAME_HEART, SATURATED, Outcome, compare, summarise
from model.host import describe_host
from model.output import write_json, write_text
from model.polygons import distances, inside
from model.training.split import seen_in_training, seen_note
from model.weights import DEFAULT

FloatArray = NDArray[np.float64]
Labels = NDArray[np.uint8]

BETWEEN_SITES_MM: Final = 1.0
"""Standard deviation of the convention from centre to centre.

Of seven core laboratories "readers were very consistent (small variability across cases within each reader),
but bias varied between readers due to differences in contouring protocols at each center" (Suinesiaputra et
al. 2015, J Cardiovasc Magn Reson 17:63). Two experienced operators differed on 42 T1 maps by 1.2 +- 0.7
pixels of wall thickness (Carapella et al. 2020, Int J Cardiol 298:128): for four independent contours this is
a standard deviation of 0.75 pixels each, or 1.1 mm at 1.5 mm a pixel.
"""
WITHIN_SITE_MM: Final = 1.0
"""Standard deviation of the convention from case to case of one centre, from the same two operators."""
_PRIOR_CASES: Final = 4.0
"""Weight of :data:`WITHIN_SITE_MM` in the pooled spread, in cases."""
_OUTLIER: Final = 1.345
"""Standard deviations from which a case has less weight (Huber 1964; 95 % efficient on normal values)."""
ENOUGH_MM: Final = 0.3
"""Standard error of an offset at which there are enough cases: a fifth of a pixel of 1.5 mm."""
APART_MM: Final = 1.0
"""Spread between readers or cases from which a warning is given: more than the model expects."""
_STEP_MM: Final = 0.05
"""Step of the offsets that are tried."""
_ITERATIONS: Final = 50
"""Rounds of reweighting of Huber's mean."""
_CASE_COLUMNS: Final = (
    "slices, offsets/endo_mm +.2f, offsets/epi_mm +.2f, left_out/endo_mm +.2f, left_out/epi_mm +.2f"
)
"""``left_out``: the convention fitted without the case."""
_DICE_ROWS: Final = "dice .3f, dice_cavity .3f, dice_myocardium .3f, hausdorff .2f, without_contour .0f"


@dataclass(frozen=True, slots=True)
class Measured:
    """Labelled slice, its borders and the offsets of its readers.

    Attributes:
        slice_: with the labels.
        borders: as the network returns them.
        offsets: by reader; empty where the network finds no heart, or another one than the reader.
    """

    slice_: LabelledSlice
    borders: Segmentation
    offsets: dict[str, ContourOffsets]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Offset of a site at one border, mm.

    Attributes:
        offset: posterior mean.
        error: its standard error.
        spread: standard deviation from case to case.
        wanted: number of cases needed for an error of :data:`ENOUGH_MM`.
    """

    offset: float
    error: float
    spread: float
    wanted: int


def reader_offsets(borders: Contours, labels: Labels, spacing: tuple[float, float]) -> ContourOffsets | None:
    """Return the offsets of a reader's contours from the physical borders.

    At each border the offset is chosen at which the area where parallel curve and reader disagree is
    smallest. It is the median distance of the reader's contour. A pixel counts by its share inside the curve.

    Args:
        borders: in pixels of the image.
        labels: of the reader, ``(rows, columns)``.
        spacing: pixel size (x, y), mm.

    Returns:
        None where the reader has no cavity or no myocardium, or curves and labels are of different hearts.
    """
    if not all((labels == each).any() for each in (1, 2)):
        return None
    in_mm = borders.in_mm(spacing)
    reach = 2.0 * FURTHEST_MM
    offsets = np.arange(-FURTHEST_MM, FURTHEST_MM + _STEP_MM / 2, _STEP_MM)
    pixel = math.sqrt(spacing[0] * spacing[1])
    found = []
    for outline, in_pixels, mask, outwards in (
        (in_mm.endo, borders.endo, labels == 1, 1.0),
        (in_mm.epi, borders.epi, labels > 0, -1.0),
    ):
        shape = (labels.shape[0], labels.shape[1])
        rows, columns = np.indices(shape)
        points = np.stack([columns.ravel(), rows.ravel()], axis=1) * np.array(spacing)
        within = inside(in_pixels, shape).ravel()
        low, high = outline.min(axis=0) - reach, outline.max(axis=0) + reach
        near = ((points >= low) & (points <= high)).all(axis=1)
        beyond = np.where(within[near], -1.0, 1.0) * distances(points[near], outline)
        drawn = mask.ravel()[near]
        shares = np.clip(0.5 + (outwards * offsets[:, None] - beyond) / pixel, 0.0, 1.0)
        disagreement = np.abs(shares - drawn).sum(axis=1)
        best = int(disagreement.argmin())
        if disagreement[best] > (1.0 - SAME_HEART) * max(float(mask.sum()), float(shares[best].sum())):
            return None
        found.append(float(offsets[best]))
    return ContourOffsets(*found)


def estimate(cases: Sequence[float], default: float) -> Estimate:
    """Return the offset of a site at one border from those of its cases, drawn towards the default.

    The offset of a site is normal around the default with standard deviation b (:data:`BETWEEN_SITES_MM`),
    the offset of a case is normal around the site's with s. Given n cases of mean m, the posterior mean is
    ``default + n / (n + s²/b²) (m - default)``, and its variance ``1 / (1/b² + n/s²)`` (Gelman et al.,
    Bayesian Data Analysis, 3rd edition, section 2.5). The mean is Huber's (1964, Ann Math Stat 35:73), n the
    sum of its weights. s² is pooled: ``(4 w² + Σ (case - m)²) / (4 + n - 1)`` with w of
    :data:`WITHIN_SITE_MM` (same book, section 2.6). Two cases move the default by 0.71 of their distance at
    most.

    Args:
        cases: offset of each case, mm; without cases the result is the default.
        default: offset of the default convention, mm.
    """
    values = np.array(cases, dtype=np.float64)
    weights, mean, spread = np.ones(len(values)), default, WITHIN_SITE_MM
    for _ in range(_ITERATIONS if len(values) else 0):
        mean = float(np.average(values, weights=weights))
        apart = values - mean
        pooled = _PRIOR_CASES * WITHIN_SITE_MM**2 + float(weights @ apart**2)
        spread = math.sqrt(pooled / (_PRIOR_CASES + max(float(weights.sum()) - 1.0, 0.0)))
        weights = np.minimum(1.0, _OUTLIER * spread / np.maximum(np.abs(apart), 1e-12))
    number, between, within = float(weights.sum()), BETWEEN_SITES_MM**2, spread**2
    shrinkage = number / (number + within / between)
    return Estimate(
        offset=min(max(default + shrinkage * (mean - default), -FURTHEST_MM), FURTHEST_MM),
        error=math.sqrt(1.0 / (1.0 / between + number / within)),
        spread=spread,
        wanted=math.ceil(within * (1.0 / ENOUGH_MM**2 - 1.0 / between)),
    )


def fit(by_case: Iterable[ContourOffsets]) -> tuple[Estimate, Estimate]:
    """Return the estimates at the endocardial and the epicardial border from the offsets of each case."""
    cases = list(by_case)
    default = ContourSettings().offsets
    return (
        estimate([each.endo_mm for each in cases], default.endo_mm),
        estimate([each.epi_mm for each in cases], default.epi_mm),
    )


def offsets_of(estimates: tuple[Estimate, Estimate]) -> ContourOffsets:
    """Return the two offsets of a fit."""
    return ContourOffsets(*(each.offset for each in estimates))


def case_offsets(measured: Iterable[Measured]) -> dict[str, ContourOffsets]:
    """Return the offsets of each case: the median over its slices of the mean over their readers."""
    slices: dict[str, list[FloatArray]] = {}
    for each in measured:
        if each.offsets:
            slices.setdefault(each.slice_.case, []).append(np.mean(list(each.offsets.values()), axis=0))
    return {case: ContourOffsets(*map(float, np.median(found, axis=0))) for case, found in slices.items()}


def left_out(cases: dict[str, ContourOffsets], names: Iterable[str]) -> dict[str, ContourOffsets]:
    """Return for each case the convention fitted on all others."""
    return {
        name: offsets_of(fit(offsets for other, offsets in cases.items() if other != name)) for name in names
    }


def readers_apart(measured: Iterable[Measured]) -> ContourOffsets | None:
    """Return the mean difference between the offsets of two readers of one slice, mm; None for one reader."""
    ranges = [np.ptp(list(each.offsets.values()), axis=0) for each in measured if len(each.offsets) > 1]
    return ContourOffsets(*map(float, np.mean(ranges, axis=0))) if ranges else None


def measure(slices: Sequence[LabelledSlice], settings: Settings) -> tuple[list[Measured], str]:
    """Return borders and offsets of each slice, and the name of the engine.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
    """
    engine = build_pipeline(settings).engine
    measured = []
    for each in track(slices, "slices", transient=True):
        borders = segment(each.network_image, each.spacing, engine)
        found = {
            reader: offsets
            for reader, labels in each.readers.items()
            if borders.contours is not None
            and (offsets := reader_offsets(borders.contours, labels, each.spacing)) is not None
        }
        measured.append(Measured(each, borders, found))
    return measured, engine.name


def outcomes(measured: Sequence[Measured], conventions: dict[str, ContourOffsets]) -> list[Outcome]:
    """Compare each slice, drawn by the convention of its case, with its first reader."""
    return [
        compare(each.slice_, draw(each.borders, each.slice_.spacing, conventions[each.slice_.case]).labels)
        for each in measured
    ]


def calibrate(
    settings: Settings,
    data: Path,
    kinds: Sequence[str],
    *,
    json_file: Path | None = None,
    output: Path | None = None,
) -> dict[str, Any]:
    """Fit the convention, write the files and print the report; returns all figures.

    Slices whose display window saturates in the myocardium are left out.

    Args:
        settings: in use; the report compares with their convention.
        data: folder of labelled slices (``docs/data.md``).
        kinds: ``t1``, ``t2`` or both; one of both may be missing.
        json_file: for all figures.
        output: a new settings file with the convention.

    Raises:
        CaseError: the folder cannot be used.
        MyostreamError: the network and a reader show the same heart on no slice, or no engine loads.
        OutputError: a file cannot be written.
    """
    read = read_kinds(data, kinds)
    slices = [each for each in read if each.saturated_share() < SATURATED]
    saturated = len(read) - len(slices)
    seen = seen_in_training((each.case for each in slices), settings.weights or DEFAULT)
    measured, engine = measure(slices, settings)
    cases = case_offsets(measured)
    if not cases:
        left_out_too = (
            f"; {saturated} more were left out: their display window saturates" if saturated else ""
        )
        raise MyostreamError(
            f"{data}: on none of {len(slices)} slices do contours and labels show the same heart"
            f"{left_out_too}; give maps in ms (t1_ms, t2_ms) and contours drawn on them"
        )
    found, problems = report(measured, cases, settings.contours.offsets)
    figures = {
        "host": describe_host(),
        "engine": engine,
        "data": data.name,
        "maps": [kind for kind in kinds if any(each.kind == kind for each in slices)],
        "slices": len(slices),
        "seen_in_training": seen,
        "first_readers": first_readers(slices),
        "saturated": saturated,
        **found,
    }
    if json_file is not None:
        write_json(json_file, figures)
    if output is not None:
        write_text(output, settings_text(figures))
    show(figures, problems)
    if output is not None:
        print_lines(f"Use it with --settings {output}")
    return figures


def report(
    measured: Sequence[Measured], cases: dict[str, ContourOffsets], as_set: ContourOffsets
) -> tuple[dict[str, Any], list[str]]:
    """Return the fitted convention, the agreement before and after, and the warnings on the fit.

    Args:
        measured: all slices, with or without offsets.
        cases: offsets of each case (:func:`case_offsets`), of at least one.
        as_set: convention in use.
    """
    fitted = fit(cases.values())
    names = dict.fromkeys(each.slice_.case for each in measured)
    conventions = left_out(cases, names)
    apart = readers_apart(measured)
    figures = {
        "without_offsets": sum(not each.offsets for each in measured),
        "as_set": as_set._asdict(),
        "fitted": {name: asdict(each) for name, each in zip(("endo", "epi"), fitted, strict=True)},
        "cases": {
            name: {
                "slices": sum(each.slice_.case == name for each in measured),
                "offsets": cases[name]._asdict() if name in cases else None,
                "left_out": conventions[name]._asdict(),
            }
            for name in names
        },
        "readers_apart": apart._asdict() if apart else None,
        "before": summarise(outcomes(measured, dict.fromkeys(names, as_set))),
        "after": summarise(outcomes(measured, conventions)),
    }
    return figures, warnings(cases, fitted, apart)


def warnings(
    cases: dict[str, ContourOffsets], fitted: tuple[Estimate, Estimate], apart: ContourOffsets | None
) -> list[str]:
    """Return the warnings on a fit: too few cases, cases or readers that disagree."""
    found = []
    wanted = max(each.wanted for each in fitted)
    if len(cases) < wanted:
        found.append(
            f"{len(cases)} of {wanted} cases: the standard errors are {fitted[0].error:.2f} and "
            f"{fitted[1].error:.2f} mm; {wanted} cases would give {ENOUGH_MM:g} mm."
        )
    for place, border in enumerate(("endocardial", "epicardial")):
        spread = float(np.std([each[place] for each in cases.values()], ddof=1)) if len(cases) > 1 else 0.0
        if spread > APART_MM:
            found.append(
                f"The {border} offset varies from case to case by {spread:.2f} mm (standard deviation; more "
                f"than {APART_MM:g} mm): the cases were not drawn by one convention."
            )
        if apart is not None and apart[place] > APART_MM:
            found.append(
                f"Readers of the same slices differ at the {border} border by {apart[place]:.2f} mm (more "
                f"than {APART_MM:g} mm): agree on one convention, or calibrate for one reader."
            )
    return found


def settings_text(figures: dict[str, Any]) -> str:
    """Return the text of a settings file with the fitted convention and its origin."""
    endo, epi = figures["fitted"]["endo"], figures["fitted"]["epi"]
    cases, slices = figures["cases"], figures["slices"]
    used = sum(each["offsets"] is not None for each in cases.values())
    return (
        f"# myostream calibrate contours: {used} of {len(cases)} cases, "
        f"{slices - figures['without_offsets']} of {slices} slices, {' and '.join(figures['maps'])}, "
        f"engine {figures['engine']}.\n"
        f"# Standard errors {endo['error']:.2f} and {epi['error']:.2f} mm; cases needed for "
        f"{ENOUGH_MM:g} mm: {max(endo['wanted'], epi['wanted'])}.\n"
        f"# Dice, each case left out of its fit: {figures['after']['dice']:.3f}; "
        f"before: {figures['before']['dice']:.3f}.\n"
        "[contours]\n"
        f"endo_offset_mm = {endo['offset']:.2f}\n"
        f"epi_offset_mm = {epi['offset']:.2f}\n"
    )


def show(figures: dict[str, Any], problems: Sequence[str]) -> None:
    """Print the tables, the warnings and the proposal."""
    title = "Offsets of the readers, and the convention fitted without the case (left out), mm"
    print_values(title, "case", figures["cases"], _CASE_COLUMNS)
    as_set = figures["as_set"]
    sides = {
        f"as set ({as_set['endo_mm']:g}, {as_set['epi_mm']:g} mm)": figures["before"],
        "fitted, case left out": figures["after"],
    }
    title = f"{figures['data']}, {' and '.join(figures['maps'])}, {figures['slices']} slices; means, mm"
    print_columns(title, sides, _DICE_ROWS)
    if figures["saturated"]:
        print_lines(f"{figures['saturated']} slices left out: their display window saturates.")
    if figures["without_offsets"]:
        print_lines(f"{figures['without_offsets']} slices without offsets: no contour, or another heart.")
    print_lines(*seen_note(figures["seen_in_training"]), *first_readers_note(figures["first_readers"]))
    print_lines(*(f"warning: {problem}" for problem in problems), settings_text(figures))
