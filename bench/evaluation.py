"""``myostream evaluate``: contours and values against those of readers, or the truth of synthetic slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.values import write_results
from inline.contouring.contours import find_contours, rasterise
from inline.contouring.convention import draw
from inline.contouring.segment import segment
from inline.pipeline import Pipeline
from inline.terminal.tables import columns, print_columns, print_values
from inline.terminal.text import print_lines
from model.engines.base import Engine
from model.evaluation import evaluate as evaluation
from model.evaluation.cases import LabelledSlice, first_readers, first_readers_note, read_slices
from model.evaluation.evaluate import Outcome
from model.evaluation.figures import best_median_worst, bland_altman
from model.evaluation.synthetic import SEED, evaluate_networks
from model.frame import FRAME_PIXELS
from model.training.split import Part, in_part, seen_in_training, seen_note

OFFSET_CORRECTED: Final = "offset-corrected"
"""Suffix of a group's second summary: the leave-one-out mean offset is removed."""
SHIFTED_READERS: Final = "shifted reader"
"""Suffix of the third: the reader's labels, shifted as intensities suggest, against the labels as drawn."""
_UNIT: Final = {True: "ms", False: "grey levels"}
_ROWS: Final = (
    "dice .3f, dice_cavity .3f, dice_myocardium .3f, iou .3f, hausdorff .2f, hausdorff_endo .2f, "
    "hausdorff_epi .2f, surface .2f, without_contour, bias +.2f, absolute_difference .2f, limits_low +.2f, "
    "limits_high +.2f, spread .2f, reader_spread .2f, offset_x +.2f, offset_y +.2f, label_shift_x +.2f, "
    "label_shift_y +.2f"
)
"""Distances in mm, x to the right, y down; bias, absolute difference and limits of agreement are those of the
median, docs/data.md defines them."""
_SLICE_COLUMNS: Final = (
    "agreement/dice_cavity .3f, agreement/dice_myocardium .3f, hausdorff_mm .2f, surface_mm .2f, "
    "median .1f, reader_median .1f"
)
_TRUTH_COLUMNS: Final = (
    "slices, dice .3f, dice_standard_error .3f, dice_cavity .3f, dice_myocardium .3f, hausdorff .2f, "
    "surface .2f, without_contour"
)
_GROUP_COLUMNS: Final = "share .1%, smallest_mm .0f, insertions_found .1%, insertions_mm .2f"
"""Second table; the Dice of other weights follows."""


def against_readers(
    folder: Path,
    kind: str,
    running: Pipeline,
    weights: Path,
    *,
    part: Part | None = None,
    json_file: Path | None = None,
    plots: Path | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate a folder of labelled slices and print the tables; returns the summaries by group.

    Args:
        folder: of labelled slices.
        kind: ``t1`` or ``t2``.
        running: whose engine runs the network and whose contour convention holds.
        weights: folder of the weights in use; the split of their training is looked for beside it.
        part: of the cases, as ``myostream train`` splits them; None for all.
        json_file: for all figures.
        plots: folder for Bland-Altman plot and overlays.

    Raises:
        CaseError: the folder cannot be used, or has no case of the part.
    """
    slices, engine = in_part(read_slices(folder, kind), part), running.engine
    seen = seen_in_training((each.case for each in slices), weights)
    outcomes, labels = evaluation.evaluate(
        slices, lambda image, size: draw(segment(image, size, engine), size, running.offsets).labels
    )
    summaries, notes = summarise_groups(slices, outcomes, labels)
    units = [unit for in_ms, unit in _UNIT.items() if any(each.in_ms is in_ms for each in slices)]
    references = first_readers(slices)
    about = {
        "engine": engine.name,
        "map": kind,
        "part": part,
        "seen_in_training": seen,
        "first_readers": references,
    }
    figures = {"summaries": evaluation.finite(summaries), "slices": evaluation.to_json(outcomes)}
    write_results(json_file, {**about, **figures})
    if plots is not None:
        for unit in units:
            shown = [
                each for each, slice_ in zip(outcomes, slices, strict=True) if _UNIT[slice_.in_ms] == unit
            ]
            ending = f"-{unit.replace(' ', '-')}" if len(units) > 1 else ""
            bland_altman(plots / f"bland-altman-{kind}{ending}.png", shown, unit)
        scores = [each.agreement.dice for each in outcomes]
        best_median_worst(plots / f"overlays-{kind}.png", slices, labels, scores)
    by_slice = {
        each.name + (" (saturated)" if each.saturated else ""): {
            **asdict(each),
            "hausdorff_mm": each.agreement.hausdorff,
            "surface_mm": each.agreement.surface,
        }
        for each in outcomes
    }
    print_values("By slice", "slice", by_slice, _SLICE_COLUMNS)
    headed = {f"{name} ({summary['slices']})": summary for name, summary in summaries.items()}
    of_part = f", part {part} of the cases" if part else ""
    print_columns(f"{folder.name}{of_part}, {kind} ({' and '.join(units)}); distances in mm", headed, _ROWS)
    print_lines(*seen_note(seen), *first_readers_note(references), *notes)
    if plots is not None:
        print_lines(f"figures: {plots}")
    return summaries


def summarise_groups(
    slices: Sequence[LabelledSlice], outcomes: Sequence[Outcome], labels: Sequence[NDArray[np.uint8]]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the summaries of each group of slices, and remarks on them.

    Where contours and labels are displaced against each other, a group has those without its offset too.

    Args:
        slices: with the labels of their reader.
        outcomes: of each slice.
        labels: of each slice, by the network.
    """
    summaries: dict[str, dict[str, float]] = {}
    notes = []
    for name, chosen in _groups(slices, outcomes).items():
        group, members = [slices[index] for index in chosen], [outcomes[index] for index in chosen]
        estimated = evaluation.label_shift(group)
        shift = dict(zip(("label_shift_x", "label_shift_y"), estimated, strict=True))
        summaries[name] = evaluation.summarise(members) | shift
        notes += [f"{name}: {line}" for line in evaluation.left_out_note(summaries[name])]
        offset = evaluation.systematic_offset(members)
        if offset is None:
            continue
        corrected = evaluation.offset_corrected(group, [labels[index] for index in chosen], members)
        summaries[f"{name}, {OFFSET_CORRECTED}"] = evaluation.summarise(corrected) | shift
        note = (
            f"{name}: the contours lie {_direction(*offset)} the reader's on all slices; images and "
            "labels may be displaced against each other."
        )
        # Labels without a myocardium on any slice have none.
        if np.isfinite(estimated).all():
            shifted = evaluation.summarise(evaluation.shifted_readers(group, estimated))
            summaries[f"{name}, {SHIFTED_READERS}"] = shifted
            note += (
                " By the intensities, the reader's labels lie "
                f"{_direction(-estimated[0], -estimated[1])} their place; shifted to it, their mean Dice "
                f"with the labels as drawn is {shifted['dice']:.3f}."
            )
        notes.append(note)
    return summaries, notes


def against_truth(
    count: int, kind: str, engines: Mapping[str, Engine], json_file: Path | None = None
) -> dict[str, dict[str, float]]:
    """Evaluate synthetic slices, write and print the figures; return the summaries by group.

    Contours lie at the physical borders, as the labels do. A slice without a contour counts as Dice 0.

    Args:
        count: slices.
        kind: ``t1`` or ``t2``.
        engines: the network by name; those of other weights after it are compared on the same slices.
        json_file: for all figures.
    """

    def contour(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        shape = (FRAME_PIXELS, FRAME_PIXELS)
        contours = find_contours(probabilities).contours
        return np.zeros(shape, np.uint8) if contours is None else rasterise(contours, shape)

    (name, summaries), *others = evaluate_networks(count, kind, engines, contour).items()
    about = {"engine": engines[name].name, "map": kind}
    write_results(json_file, {**about, "summaries": summaries, "beside": dict(others)})
    rows = {
        "healthy" if group == "none" else group: {
            **summary,
            "beside": [found[group] for _, found in others],
        }
        for group, summary in summaries.items()
    }
    title = f"{count} synthetic {kind} maps, seed {SEED}; distances in mm"
    print_values(title, "", rows, _TRUTH_COLUMNS)
    dice_beside = (
        (f"beside, {other}, dice", f"beside/{number}/dice", "{:.3f}")
        for number, (other, _) in enumerate(others)
    )
    print_values(title, "", rows, [*columns(_GROUP_COLUMNS), *dice_beside])
    return summaries


def _groups(slices: Sequence[LabelledSlice], outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Return the numbers of the slices whose values may be averaged, by unit and saturation of the window."""
    groups: dict[str, list[int]] = {"maps in ms": [], "window not saturated": [], "window saturated": []}
    for number, (slice_, outcome) in enumerate(zip(slices, outcomes, strict=True)):
        window = "window saturated" if outcome.saturated else "window not saturated"
        groups["maps in ms" if slice_.in_ms else window].append(number)
    there = {name: members for name, members in groups.items() if members}
    return there if len(there) > 1 or groups["window saturated"] else {"all slices": list(range(len(slices)))}


def _direction(x: float, y: float) -> str:
    """Return an offset in mm in words."""
    across, down = "right" if x > 0 else "left", "below" if y > 0 else "above"
    return f"{abs(x):.1f} mm to the {across} of and {abs(y):.1f} mm {down}"
