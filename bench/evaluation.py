"""``myostream evaluate``: contours and values against those of readers, or the truth of synthetic slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from inline.contouring.segment import contour_slice, segment
from model.engines.base import Engine
from model.evaluation import evaluate as evaluation
from model.evaluation.cases import read_slices
from model.evaluation.evaluate import Outcome
from model.evaluation.figures import best_median_worst, bland_altman
from model.evaluation.synthetic import SEED, make_slices
from model.frame import FRAME_MM, FRAME_PIXELS, Frame
from model.machine import describe_machine
from model.output import write_json
from model.synthesis.pathology import Pathology

OFFSET_CORRECTED: Final = "offset-corrected"
"""Suffix of a group's second summary: the leave-one-out mean offset is removed."""
SHIFTED_READERS: Final = "shifted reader"
"""Suffix of the third: the reader's labels, shifted as intensities suggest, against the labels as drawn."""
_UNIT: Final = {True: "ms", False: "grey levels"}
_ROWS: Final = (
    ("Dice, mean", "dice", "{:.3f}"),
    ("  cavity", "dice_cavity", "{:.3f}"),
    ("  myocardium", "dice_myocardium", "{:.3f}"),
    ("IoU, mean", "iou", "{:.3f}"),
    ("Hausdorff mm, mean", "hausdorff", "{:.2f}"),
    ("  endocardial", "hausdorff_endo", "{:.2f}"),
    ("  epicardial", "hausdorff_epi", "{:.2f}"),
    ("surface mm, mean", "surface", "{:.2f}"),
    ("no contour", "without_contour", "{:.0f}"),
    ("median, difference", "bias", "{:+.2f}"),
    ("  absolute", "absolute_difference", "{:.2f}"),
    ("  limits, lower", "limits_low", "{:+.2f}"),
    ("  limits, upper", "limits_high", "{:+.2f}"),
    ("spread, found", "spread", "{:.2f}"),
    ("  reader's", "reader_spread", "{:.2f}"),
    ("offset mm, right", "offset_x", "{:+.2f}"),
    ("  down", "offset_y", "{:+.2f}"),
    ("label shift mm, right", "label_shift_x", "{:+.2f}"),
    ("  down", "label_shift_y", "{:+.2f}"),
)
"""Label, key and format; an indented label belongs to the one above. docs/data.md defines them."""
_TRUTH_COLUMNS: Final = (
    ("slices", "slices", "{:.0f}"),
    ("Dice", "dice", "{:.3f}"),
    ("cavity", "dice_cavity", "{:.3f}"),
    ("myocardium", "dice_myocardium", "{:.3f}"),
    ("Hausdorff mm", "hausdorff", "{:.2f}"),
    ("surface mm", "surface", "{:.2f}"),
    ("no contour", "without_contour", "{:.0f}"),
)


def against_readers(
    folder: Path, kind: str, engine: Engine, *, json_file: Path | None = None, plots: Path | None = None
) -> dict[str, dict[str, float]]:
    """Evaluate a folder of labelled slices and print the tables; returns the summaries by group.

    Args:
        folder: of labelled slices.
        kind: ``t1`` or ``t2``.
        engine: runs the network.
        json_file: for all figures.
        plots: folder for Bland-Altman plot and overlays.

    Raises:
        CaseError: the folder cannot be used.
    """

    slices = read_slices(folder, kind)
    outcomes, labels = evaluation.evaluate(slices, lambda image, size: segment(image, size, engine).labels)
    summaries: dict[str, dict[str, float]] = {}
    notes = []
    for name, chosen in _groups(outcomes).items():
        group, members = [slices[index] for index in chosen], [outcomes[index] for index in chosen]
        estimated = evaluation.label_shift(group)
        shift = dict(zip(("label_shift_x", "label_shift_y"), estimated, strict=True))
        summaries[name] = evaluation.summarise(members) | shift
        offset = evaluation.systematic_offset(members)
        if offset is not None:
            corrected = evaluation.offset_corrected(group, [labels[index] for index in chosen], members)
            summaries[f"{name}, {OFFSET_CORRECTED}"] = evaluation.summarise(corrected) | shift
            shifted = evaluation.summarise(evaluation.shifted_readers(group, estimated))
            summaries[f"{name}, {SHIFTED_READERS}"] = shifted
            notes.append(
                f"{name}: the contours lie {_direction(*offset)} the reader's on all slices; images and "
                "labels may be displaced against each other. Intensities put the reader's labels "
                f"{_direction(*estimated)} their place; shifted so, they reach a mean Dice of "
                f"{shifted['dice']:.3f} with themselves."
            )
    unit = _UNIT[slices[0].in_ms]
    console = Console()
    console.print(_by_slice(outcomes))
    console.print(_summary(summaries, f"{folder.name}, {kind} ({unit})"))
    for note in notes:
        console.print(note, highlight=False)
    _write(json_file, engine, kind, summaries, slices=evaluation.to_json(outcomes))
    if plots is not None:
        bland_altman(plots / f"bland-altman-{kind}.png", outcomes, unit)
        scores = [each.agreement.dice for each in outcomes]
        best_median_worst(plots / f"overlays-{kind}.png", slices, labels, scores)
        console.print(f"figures: {plots}")
    return summaries


def against_truth(
    count: int, kind: str, engine: Engine, json_file: Path | None = None
) -> dict[str, dict[str, float]]:
    """Evaluate synthetic slices and print the table; returns the summaries by level and by pathology.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        engine: runs the network.
        json_file: for all figures.
    """

    frame = Frame((FRAME_PIXELS, FRAME_PIXELS), (FRAME_MM, FRAME_MM))
    pathologies = (each.name.lower() for each in Pathology)
    groups: dict[str, list[Outcome]] = {name: [] for name in ("all", "basal", "mid", "apical", *pathologies)}
    for slice_, pathology in make_slices(count, kind):
        # The images are network input already.
        (outcome,), _ = evaluation.evaluate(
            [slice_], lambda image, _: contour_slice(engine.infer(image[None])[0], frame).labels
        )
        for name in ("all", slice_.level, pathology):
            groups[name].append(outcome)
    summaries = {name: evaluation.summarise(outcomes) for name, outcomes in groups.items()}
    table = Table("", title=f"Synthetic {kind} maps, seed {SEED}")
    for label, _, _ in _TRUTH_COLUMNS:
        table.add_column(label, justify="right")
    for name, summary in summaries.items():
        cells = (form.format(summary[key]) if key in summary else "-" for _, key, form in _TRUTH_COLUMNS)
        table.add_row("healthy" if name == "none" else name, *cells)
    Console().print(table)
    _write(json_file, engine, kind, summaries)
    return summaries


def _write(json_file: Path | None, engine: Engine, kind: str, summaries: Any, **more: Any) -> None:

    if json_file is not None:
        about = {"machine": describe_machine(), "engine": engine.name, "map": kind}
        write_json(json_file, {**about, "summaries": summaries, **more})


def _groups(outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Numbers of all slices, or of those whose window saturates and of the others."""
    saturated = [number for number, outcome in enumerate(outcomes) if outcome.saturated]
    others = [number for number, outcome in enumerate(outcomes) if not outcome.saturated]
    if not saturated:
        return {"all slices": others}
    return {"window not saturated": others, "window saturated": saturated}


def _direction(x: float, y: float) -> str:
    """An offset in mm in words."""
    across, down = "right" if x > 0 else "left", "below" if y > 0 else "above"
    return f"{abs(x):.1f} mm to the {across} of and {abs(y):.1f} mm {down}"


def _by_slice(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="By slice")
    table.add_column("slice", no_wrap=True)
    for column in ("Dice cavity", "Dice myocardium", "Hausdorff mm", "surface mm", "median", "reader's"):
        table.add_column(column, justify="right")
    for each in outcomes:
        found = each.agreement
        table.add_row(
            each.name + (" (saturated)" if each.saturated else ""),
            f"{found.dice_cavity:.3f}",
            f"{found.dice_myocardium:.3f}",
            f"{found.hausdorff:.2f}" if each.contour else "no contour",
            f"{found.surface:.2f}" if each.contour else "-",
            f"{each.median:.1f}" if each.contour else "-",
            f"{each.reader_median:.1f}",
        )
    return table


def _summary(summaries: dict[str, dict[str, float]], title: str) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name, summary in summaries.items():
        table.add_column(f"{name} ({summary['slices']})", justify="right")
    for label, key, form in _ROWS:
        table.add_row(label, *(form.format(s[key]) if key in s else "-" for s in summaries.values()))
    return table
