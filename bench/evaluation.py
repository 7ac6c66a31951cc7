"""``myostream evaluate``: the network and its contours against readers, as tables, JSON and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.pictures import best_median_worst
from inline.contouring.segment import segment
from model.engines.base import Engine
from model.evaluation.cases import read_slices
from model.evaluation.evaluate import (
    Outcome,
    evaluate,
    image_shift,
    plain,
    readers_moved,
    summarise,
    systematic_offset,
    without_offset,
)
from model.output import save_figure, write_json

OFFSET_OUT: Final = "mean offset taken out"
"""What a group's second summary is called, once the offset that all its slices share is taken out."""
READERS_MOVED: Final = "the reader's own labels moved so"
"""What its third is called: the labels where the image alone wants them, against where they are."""
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
    ("image asks mm, right", "image_shift_x", "{:+.2f}"),
    ("  down", "image_shift_y", "{:+.2f}"),
)
"""Label, key and format; what is set in belongs to the one above. docs/data.md says what they mean."""


def run(
    folder: Path, kind: str, engine: Engine, *, json_file: Path | None = None, plots: Path | None = None
) -> dict[str, Any]:
    """Evaluate a folder, print the tables, write what is asked for; returns the summaries by group.

    Raises:
        CaseError: the folder cannot be used.
    """
    slices = read_slices(folder, kind)
    outcomes, labels = evaluate(slices, lambda image, spacing: segment(image, spacing, engine)[0])
    summaries: dict[str, dict[str, float]] = {}
    notes = []
    for name, chosen in _groups(outcomes).items():
        group, members = [slices[index] for index in chosen], [outcomes[index] for index in chosen]
        asked = image_shift(group)
        shift = dict(zip(("image_shift_x", "image_shift_y"), asked, strict=True))
        summaries[name] = summarise(members) | shift
        offset = systematic_offset(members)
        if offset is not None:
            aligned = without_offset(group, [labels[index] for index in chosen], members)
            summaries[f"{name}, {OFFSET_OUT}"] = summarise(aligned) | shift
            moved = summarise(readers_moved(group, asked))
            summaries[f"{name}, {READERS_MOVED}"] = moved
            notes.append(
                f"{name}: all alike, the contours lie {_where(*offset)} the reader's; images and labels may "
                "be displaced against each other. Where it is taken out, it is the mean of all other slices. "
                f"The image alone fits these best {_where(*asked)} where they are, and moved so they "
                f"reach a mean Dice of {moved['dice']:.3f} with themselves."
            )
    console = Console()
    console.print(_by_slice(outcomes))
    console.print(_summary(summaries, f"{folder.name}, {kind} ({_UNIT[slices[0].in_ms]})"))
    for note in notes:
        console.print(note, highlight=False)
    if json_file is not None:
        content = {
            "machine": describe_machine(),
            "engine": engine.name,
            "map": kind,
            "summaries": summaries,
            "slices": plain(outcomes),
        }
        write_json(json_file, content)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        _bland_altman(plots / f"bland-altman-{kind}.png", outcomes, _UNIT[slices[0].in_ms])
        scores = [each.agreement.dice for each in outcomes]
        best_median_worst(plots / f"overlays-{kind}.png", slices, labels, scores)
        console.print(f"pictures: {plots}")
    return summaries


def _groups(outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Numbers of all slices, or of those whose window saturates and of the others."""
    saturated = [number for number, outcome in enumerate(outcomes) if outcome.saturated]
    others = [number for number, outcome in enumerate(outcomes) if not outcome.saturated]
    return (
        {"window not saturated": others, "window saturated": saturated}
        if saturated
        else {"all slices": others}
    )


def _where(x: float, y: float) -> str:
    """An offset in mm in words."""
    across, down = "right" if x > 0 else "left", "below" if y > 0 else "above"
    return f"{abs(x):.1f} mm to the {across} of and {abs(y):.1f} mm {down}"


def _by_slice(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="By slice")
    for column in (
        "slice",
        "Dice cavity",
        "Dice myocardium",
        "Hausdorff mm",
        "surface mm",
        "median",
        "reader's",
    ):
        table.add_column(column, justify="left" if column == "slice" else "right", no_wrap=column == "slice")
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


def _bland_altman(file: Path, outcomes: Sequence[Outcome], unit: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    there = [each for each in outcomes if each.contour]
    if not there:
        return
    ours = np.array([each.median for each in there])
    readers = np.array([each.reader_median for each in there])
    summary = summarise(there)
    figure, axes = plt.subplots(figsize=(6, 4))
    axes.scatter((ours + readers) / 2, ours - readers, s=18)
    for key, style in (("bias", "-"), ("limits_low", "--"), ("limits_high", "--")):
        axes.axhline(summary[key], linestyle=style, color="0.4")
    axes.set_xlabel(f"mean of both medians, {unit}")
    axes.set_ylabel(f"myostream less reader, {unit}")
    figure.tight_layout()
    save_figure(figure, file, dpi=120)
    plt.close(figure)
