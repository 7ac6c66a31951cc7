"""``myostream train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inline.cli.errors import report_errors
from inline.data.errors import MyostreamError


def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    recipe: Annotated[str, typer.Option(help="synthetic, published or fine-tune.")] = "synthetic",
    data: Annotated[Path | None, typer.Option("--data", help="Labelled cases (docs/data.md).")] = None,
    kinds: Annotated[str, typer.Option("--maps", help="t1, t2 or t1,t2.")] = "t1,t2",
    architecture: Annotated[str, typer.Option(help="resnet50 or original.")] = "resnet50",
    encoder: Annotated[
        Path | None, typer.Option(help="torchvision's resnet50 checkpoint (ImageNet).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=1.0, help="Train on synthetic slices for so long at most, files included."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Folder of weights to start from; with --minutes and fine-tune the shipped ones by default."
        ),
    ] = None,
    seed: Annotated[int, typer.Option()] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
) -> None:
    """Train a network on synthetic slices or on labelled cases."""
    from model.training.recipe import RECIPES, SYNTHETIC
    from model.training.timed import TimedTraining, train_within
    from model.training.train import Training, shortened
    from model.training.train import train as run
    from model.weights import DEFAULT

    if recipe not in RECIPES:
        raise MyostreamError(f"there is no recipe {recipe!r}; {', '.join(RECIPES)} are")
    if minutes is not None:
        if recipe != SYNTHETIC.name or architecture != "resnet50" or epochs or resume or encoder:
            raise MyostreamError(
                "--minutes trains the default network on synthetic slices; leave --recipe, --architecture, "
                "--encoder, --epochs and --resume out"
            )
        timed = TimedTraining(output, minutes, start or DEFAULT, accelerator, seed)
        with report_errors(ValueError):
            result = train_within(timed, typer.echo)
        typer.echo(
            f"{result['steps']} steps on {result['slices']} slices in {result['seconds']} s; weights in "
            f"{output / 'weights'}"
        )
        return
    training = Training(
        recipe=shortened(RECIPES[recipe], epochs),
        output=output,
        data=data,
        kinds=tuple(kinds.split(",")),
        architecture=architecture,
        encoder=encoder,
        start=start or (DEFAULT if recipe == "fine-tune" else None),
        seed=seed,
        resume=resume,
        accelerator=accelerator,
        precision=precision,
    )
    with report_errors(ValueError):
        figures = run(training)
    for name, value in sorted(figures.items()):
        typer.echo(f"{name}: {value:.4f}")
