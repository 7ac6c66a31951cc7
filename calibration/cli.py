"""``myostream calibrate``: what is fitted to the weights and to this host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from inline.cli.errors import ReportingGroup, report_errors, require
from inline.cli.options import new_file, output_file, output_folder
from inline.settings import load_settings

if TYPE_CHECKING:
    from calibration.gate import GateReport

app = typer.Typer(
    cls=ReportingGroup,
    help="Fit engine, confidence and budget to the weights and to this host.",
    no_args_is_help=True,
)

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="TOML file of settings.")]
EngineOption = Annotated[
    str | None, typer.Option(help="As in the settings; what they say by default.", show_default=False)
]
Json = Annotated[Path | None, typer.Option("--json", callback=output_file, help="Write all figures here.")]


@app.command()
def precision(
    slices: Annotated[int, typer.Option(min=1, help="Slices that the gate compares.")] = 500,
    distil: Annotated[
        int, typer.Option(min=0, help="Steps of training with eight bits simulated; needs a C++ compiler.")
    ] = 0,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="For TensorRT on this NVIDIA GPU instead of the CPU.")
    ] = False,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="With --gpu: what its eight bits do, on the CPU."),
    ] = False,
    ship: Annotated[
        bool, typer.Option("--ship", help="Write what passed beside the weights, for other machines.")
    ] = False,
    settings_file: SettingsFile = None,
) -> None:
    """Quantise the network to eight bits for this host and put it before its gate."""
    from calibration.build import build_int8, build_tensorrt_int8, simulate_tensorrt_int8
    from model.weights import DEFAULT

    console = Console()
    weights = load_settings(settings_file).weights or DEFAULT
    if simulate and not gpu:
        raise typer.BadParameter("--simulate is for --gpu")
    if gpu:
        if distil or ship:
            raise typer.BadParameter("with --gpu there is neither --distil nor --ship")
        if simulate:
            console.print_json(simulate_tensorrt_int8(weights, slices).to_json())
            return
        with report_errors(RuntimeError, extra="tensorrt,ahead-of-time"):
            _judged(build_tensorrt_int8(weights, slices), console)
        return
    progress = Progress(
        *Progress.get_default_columns(),
        "loss {task.fields[loss]:.4f}",
        console=console,
        disable=not distil,
    )
    require("nncf")
    with progress:
        task = progress.add_task("training in eight bits", total=distil, loss=0.0)
        report = build_int8(
            weights,
            slices,
            distil_steps=distil,
            tell=lambda step, loss: progress.update(task, completed=step + 1, loss=loss),
            ship=ship,
        )
    _judged(report, console)


def _judged(report: GateReport, console: Console) -> None:
    console.print_json(report.to_json())
    console.print("passed: it is used from now on" if report.passed else "not passed: it is not used")
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def confidence(
    slices: Annotated[
        int, typer.Option(min=15, help="Synthetic ones: two thirds to fit on, one third to report on.")
    ] = 600,
    json_file: Json = None,
    plots: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Write the diagrams into this folder.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Labelled real maps (docs/data.md) to report on as a check.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=output_file, help="The calibration; beside the weights by default."
        ),
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Say what a second inference, of the mirrored image, would add.")
    ] = False,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Fit the confidence of the weights in use on synthetic slices, and say how right it is."""
    from calibration.confidence_report import run

    require("sklearn", *(["matplotlib"] if plots is not None else []))
    run(
        load_settings(settings_file, engine=engine),
        slices,
        output=output,
        json_file=json_file,
        plots=plots,
        data=data,
        flip=flip,
    )


@app.command()
def budget(
    slices: Annotated[int, typer.Option(min=2, help="So many alone, and so many under load.")] = 100,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Slices in work at once.")] = 4,
    margin: Annotated[float, typer.Option(min=0, help="Above the 99th percentile, as a share of it.")] = 0.5,
    json_file: Json = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=new_file, help="Write a new settings file with the budget."),
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Time the stages of a slice on this host, alone and under load, and propose a budget."""
    from calibration.budget import measure, show

    settings = load_settings(settings_file, engine=engine)
    show(measure(settings, slices, connections, margin), json_file, output)
