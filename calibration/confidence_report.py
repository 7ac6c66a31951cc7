"""``myostream calibrate confidence``: fits, writes the file beside the weights, and says how right it is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from calibration.confidence import (
    VARIANTS,
    Judged,
    RealSlice,
    by_failure,
    fit,
    hearts_of,
    judge,
    judge_folder,
    make_samples,
    with_flip,
)
from calibration.reliability import POOR, figures, plot
from inline.contouring.confidence import FILE
from inline.data.errors import MyostreamError
from inline.engine_selection import make_engine
from inline.settings import Settings
from model.engines.base import Engine
from model.evaluation.cases import CaseError
from model.host import describe_host
from model.output import check_folder, check_outputs, write_json, write_text
from model.weights import DEFAULT, weights_digest

_KINDS: Final = ("t1", "t2")


def run(
    settings: Settings,
    slices: int,
    *,
    output: Path | None = None,
    json_file: Path | None = None,
    plots: Path | None = None,
    data: Path | None = None,
    flip: bool = False,
) -> dict[str, Any]:
    """Calibrate, report, write what is asked for; returns all figures.

    Args:
        settings: name the weights and the engine.
        slices: synthetic ones, two thirds to fit on and one third to report on.
        output: where the calibration goes; None for beside the weights.
        json_file: for all figures.
        plots: folder for the reliability diagram and the retention curve.
        data: folder of labelled real maps to report on; nothing is fitted there.
        flip: also report what a second inference, of the mirrored image, would add.

    Raises:
        ImportError: scikit-learn or matplotlib is not installed.
        MyostreamError: too few slices, weights or data that cannot be used, a file that cannot be written.
    """
    console = Console()
    weights = settings.weights or DEFAULT
    file = output or weights / FILE
    check_outputs(file, json_file)
    check_folder(plots)
    engine = make_engine(settings)
    learn, rest = (
        _judge(engine, hearts, seed, name, flip=flip)
        for (hearts, seed), name in zip(hearts_of(slices), ("to fit on", "to report on"), strict=True)
    )
    try:
        made = fit(learn.signals, learn.dice, learn.heart, weights_digest(weights))
        expected = made.expected_dice(rest.signals)
        content: dict[str, Any] = {
            "host": describe_host(),
            "engine": engine.name,
            "weights": made.weights,
            "fitted_on": len(learn.dice),
            "without_contours": rest.without_contours,
            "held_out": figures(expected, rest.dice),
            "by_failure": {
                name: {"slices": count, "dice": dice, "expected": mean}
                for name, (count, dice, mean) in by_failure(rest, expected).items()
            },
        }
        if flip:
            other = fit(with_flip(learn), learn.dice, learn.heart, made.weights)
            content["with_flip"] = figures(other.expected_dice(with_flip(rest)), rest.dice)
    except ValueError as error:
        raise MyostreamError(str(error)) from error
    _show(console, content)
    if data is not None:
        content["real"] = _real(
            console, [each for kind in _KINDS for each in _folder(engine, made, data, kind)]
        )
    write_text(file, made.to_json(engine=engine.name, held_out=content["held_out"]) + "\n")
    if json_file is not None:
        write_json(json_file, content)
    if plots is not None:
        plot(plots, expected, rest.dice)
    console.print(f"Calibration for weights {made.weights[:12]}: {file}", highlight=False)
    return content


def _judge(engine: Engine, hearts: int, seed: int, name: str, *, flip: bool) -> Judged:
    samples = make_samples(hearts, seed)
    description = f"{hearts * VARIANTS} slices {name}"
    shown = track(samples, description, hearts, console=Console(stderr=True))
    return judge(engine, shown, flip=flip)


def _show(console: Console, content: dict[str, Any]) -> None:
    found = content["held_out"]
    console.print(
        f"Engine {content['engine']}. Synthetic slices with contours: fitted on {content['fitted_on']}, "
        f"reported on {found['slices']} of other hearts (without contours: {content['without_contours']})"
    )
    for name, title in (("held_out", "from one inference"), ("with_flip", "with that of the mirrored image")):
        if name in content:
            console.print(
                f"expected Dice {title}: calibration error {content[name]['calibration_error']:.3f}, "
                f"mean absolute error {content[name]['mean_absolute_error']:.3f} "
                f"(of the mean alone: {content[name]['mean_absolute_error_of_the_mean']:.3f})"
            )
    _table(
        console,
        "By what was done to the slice",
        ("", "slices", "Dice", "expected"),
        [
            (name, str(each["slices"]), f"{each['dice']:.3f}", f"{each['expected']:.3f}")
            for name, each in content["by_failure"].items()
        ],
    )
    _table(
        console,
        "Retention",
        ("most confident", "mean Dice", "if Dice were known"),
        [
            (f"{each['kept']:.0%}", f"{each['dice']:.3f}", f"{each['dice_if_known']:.3f}")
            for each in found["retention"]
        ],
    )
    _table(
        console,
        "Review below",
        ("", "flagged", "their Dice", "Dice of the rest", f"of Dice < {POOR:g} flagged", "of others"),
        [
            (
                f"{each['threshold']:.2f}",
                f"{each['flagged']:.0%}",
                *(_number(each[name], "{:.3f}") for name in ("dice_flagged", "dice_kept")),
                *(_number(each[name], "{:.0%}") for name in ("poor_found", "good_flagged")),
            )
            for each in found["thresholds"]
        ],
    )


def _folder(engine: Engine, made: Any, data: Path, kind: str) -> list[RealSlice]:
    """Slices of one kind; none where the folder holds only the other."""
    try:
        return judge_folder(engine, made, data, kind)
    except CaseError as error:
        if not data.is_dir():
            raise MyostreamError(str(error)) from error
        return []


def _real(console: Console, judged: list[RealSlice]) -> dict[str, Any]:
    if not judged:
        raise MyostreamError("the folder holds no labelled maps; docs/data.md describes how they lie")
    _table(
        console,
        "Real maps: a check, nothing is fitted on them",
        ("slice", "map", "Dice", "expected"),
        [
            (each.name, each.kind, f"{each.dice:.3f}", _number(each.confidence, "{:.3f}", "no contour"))
            for each in judged
        ],
    )
    content: dict[str, Any] = {"slices": [asdict(each) for each in judged]}
    there = [each for each in judged if each.confidence is not None]
    if there:
        expected = np.array([each.confidence for each in there], dtype=np.float64)
        found = content["figures"] = figures(expected, np.array([each.dice for each in there]))
        console.print(
            f"{len(there)} of {len(judged)} with contours: mean Dice {found['mean_dice']:.3f}, mean expected "
            f"{expected.mean():.3f}, calibration error {found['calibration_error']:.3f}, "
            f"mean absolute error {found['mean_absolute_error']:.3f}"
        )
    return content


def _table(console: Console, title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _number(value: float | None, form: str, none: str = "-") -> str:
    return none if value is None else form.format(value)
