"""``myostream train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from inline.cli.errors import report_errors
from inline.data.errors import MyostreamError


def train(
    output: Annotated[Path, Option("--output", "-o", help="Folder of the run.")],
    recipe: Annotated[str, Option(help="synthetic, published or fine-tune.")] = "synthetic",
    data: Annotated[Path | None, Option("--data", help="Labelled cases (docs/data.md).")] = None,
    kinds: Annotated[str, Option("--maps", help="t1, t2 or t1,t2.")] = "t1,t2",
    architecture: Annotated[str, Option(help="resnet50 or original.")] = "resnet50",
    encoder: Annotated[Path | None, Option(help="torchvision's resnet50 checkpoint (ImageNet).")] = None,
    epochs: Annotated[int | None, Option(min=1, help="Instead of the recipe's.")] = None,
    seed: Annotated[int, Option()] = 1,
    resume: Annotated[bool, Option("--resume", help="Go on from the last checkpoint.")] = False,
    accelerator: Annotated[str, Option(help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[str, Option(help="32-true or bf16-mixed.")] = "32-true",
) -> None:
    """Train a network on synthetic slices or on labelled cases."""
    from model.training.recipe import RECIPES
    from model.training.train import Training, shortened
    from model.training.train import train as run
    from model.weights import DEFAULT

    if recipe not in RECIPES:
        raise MyostreamError(f"there is no recipe {recipe!r}; {', '.join(RECIPES)} are")
    training = Training(
        recipe=shortened(RECIPES[recipe], epochs),
        output=output,
        data=data,
        kinds=tuple(kinds.split(",")),
        architecture=architecture,
        encoder=encoder,
        start=DEFAULT if recipe == "fine-tune" else None,
        seed=seed,
        resume=resume,
        accelerator=accelerator,
        precision=precision,
    )
    with report_errors(ValueError):
        figures = run(training)
    for name, value in sorted(figures.items()):
        typer.echo(f"{name}: {value:.4f}")
