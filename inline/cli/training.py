"""``myostream train``."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from inline.cli.errors import INTERRUPTED, report_errors
from inline.cli.options import finite, path
from inline.data.errors import MyostreamError


def train(
    output: Annotated[Path, Option("--output", "-o", parser=path, help="Folder of the run.")],
    recipe: Annotated[str, Option(help="synthetic, published or fine-tune.")] = "synthetic",
    data: Annotated[Path | None, Option("--data", parser=path, help="Labelled cases (docs/data.md).")] = None,
    kinds: Annotated[str | None, Option("--maps", help="t1, t2 or t1,t2.", show_default="t1,t2")] = None,
    architecture: Annotated[str | None, Option(help="resnet50 or original.", show_default="resnet50")] = None,
    encoder: Annotated[Path | None, Option(help="torchvision's resnet50 checkpoint (ImageNet).")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Epochs, in place of the recipe's.")] = None,
    minutes: Annotated[
        float | None,
        Option(
            callback=finite,
            min=1.0,
            max=10_080.0,
            help="Time of the synthetic recipe, files included.",
            show_default="10",
        ),
    ] = None,
    start: Annotated[
        str | None,
        Option(
            help="Folder of weights to start from, or random.",
            show_default="the shipped weights; random for published",
        ),
    ] = None,
    apices: Annotated[
        float | None,
        Option(
            callback=finite,
            min=0.0,
            max=1.0,
            help="Share of small apices among synthetic slices.",
            show_default="0.06",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        Option(
            callback=finite,
            min=1e-6,
            max=0.1,
            help="Of the synthetic recipe, at the top of its cosine.",
            show_default="0.001, on a CPU 0.0001",
        ),
    ] = None,
    seed: Annotated[int | None, Option(min=0, max=2**32 - 1, show_default="1")] = None,
    resume: Annotated[
        bool, Option("--resume", help="Go on from the last checkpoint, with the settings of the run.")
    ] = False,
    accelerator: Annotated[str, Option(help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[
        str | None, Option(help="32-true or bf16-mixed; for labelled cases only.", show_default="32-true")
    ] = None,
) -> None:
    """Train a network on synthetic slices within a given time, or on labelled cases by a recipe."""
    from model.weights import DEFAULT

    shipped = None if recipe == "published" else DEFAULT
    weights = None if start == "random" else shipped if start is None else path(start).resolve()
    if recipe == "synthetic":
        if data or kinds or architecture or encoder or epochs or resume or precision:
            raise MyostreamError(
                "the recipe synthetic trains the default network within --minutes; --data, --maps, "
                "--architecture, --encoder, --epochs, --resume and --precision go with another --recipe"
            )
        with report_errors(ValueError, extra="train"):
            from model.synthesis.apex import SHARE
            from model.training.timed import TimedTraining, train_within

            timed = TimedTraining(
                output,
                minutes or 10.0,
                weights,
                accelerator,
                1 if seed is None else seed,
                SHARE if apices is None else apices,
                learning_rate,
            )
            result = train_within(timed, typer.echo, time.monotonic() - _seconds_running())
        typer.echo(
            f"{result['steps']} steps on {result['slices']} slices in {result['seconds']} s; weights in "
            f"{output / 'weights'}"
        )
        return
    from model.training.recipe import RECIPES
    from model.training.train import Training, begun, shortened
    from model.training.train import train as run

    if recipe not in RECIPES:
        raise MyostreamError(f"there is no recipe {recipe!r}; there are synthetic, {', '.join(RECIPES)}")
    if minutes is not None or apices is not None or learning_rate is not None:
        raise MyostreamError(
            "--minutes, --apices and --learning-rate go with the recipe synthetic; give --epochs"
        )
    if data is None:
        raise MyostreamError(f"the recipe {recipe} needs labelled cases; give --data")
    stated: dict[str, Any] = {
        "kinds": None if kinds is None else tuple(kinds.split(",")),
        "architecture": architecture,
        "encoder": encoder and encoder.resolve(),
        "seed": seed,
        "precision": precision,
    }
    options = {name: value for name, value in stated.items() if value is not None}
    if start is not None:
        options["start"] = weights
    with report_errors(ValueError):
        if resume:
            training = begun(output)
            kept = training.recipe if training.recipe.name == recipe else RECIPES[recipe]
            options["recipe"] = replace(kept, epochs=epochs or kept.epochs)
        else:
            training = Training(shortened(RECIPES[recipe], epochs), output, data, start=weights)
        try:
            figures = run(replace(training, data=data, accelerator=accelerator, **options))
        except KeyboardInterrupt as error:
            typer.echo(f"Interrupted: {str(error) or 'give the same command again'}.", err=True)
            raise typer.Exit(INTERRUPTED) from None
    for name, value in sorted(figures.items()):
        typer.echo(f"{name}: {value:.4f}")


def _seconds_running() -> float:
    """Return the seconds since the process started; 0 where the system does not state it."""
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return 0.0
