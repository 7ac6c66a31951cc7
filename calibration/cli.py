"""``myostream calibrate``: fits to the weights, to this host and to a site."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from inline.cli.errors import ReportingGroup, require
from inline.cli.options import EngineOption, JsonFile, SettingsFile, finite, new_file, output_file, path
from inline.settings import load_settings
from inline.terminal.text import make_console
from model.output import check_outputs

app = typer.Typer(
    cls=ReportingGroup,
    help="Fit engine, confidence and budget to weights and host, and the contour convention to a site.",
    no_args_is_help=True,
)


@app.command()
def precision(
    # Limits on 99 % of slices mean nothing below.
    slices: Annotated[int, typer.Option(min=100, help="Slices that the gate compares.")] = 500,
    distil: Annotated[
        int, typer.Option(min=0, help="Steps of training with simulated rounding; needs a C++ compiler.")
    ] = 0,
    beside_weights: Annotated[
        bool,
        typer.Option("--beside-weights", help="Also write a model that passes beside the weights."),
    ] = False,
    settings_file: SettingsFile = None,
) -> None:
    """Compare int8, and bfloat16 where the CPU has it, with float32 for this host."""
    from calibration.precision import build_int8, gate_bf16
    from inline.engine_selection import make_engine
    from model.host import computes_bfloat16
    from model.weights import DEFAULT

    console = make_console()
    settings = load_settings(settings_file)
    weights = settings.weights or DEFAULT
    require("nncf")
    reports = []
    if computes_bfloat16():
        reports.append(gate_bf16(weights, slices, beside_weights=beside_weights))
    with Progress(
        *Progress.get_default_columns(), "loss {task.fields[loss]:.4f}", console=console, disable=not distil
    ) as progress:
        task = progress.add_task("training in int8", total=distil, loss=0.0)
        int8 = build_int8(
            weights,
            slices,
            distil_steps=distil,
            progress=lambda step, loss: progress.update(task, completed=step + 1, loss=loss),
            beside_weights=beside_weights,
        )
    reports.append(int8)
    console.print_json(data=[asdict(report) for report in reports])
    for report in reports:
        verdict = "passed: it may be used" if report.passed else "not passed: it is not used"
        console.print(f"{report.engine}: {verdict}")
    console.print(f"With the setting engine = {settings.engine} this host uses {make_engine(settings).name}.")
    if not any(report.passed for report in reports):
        raise typer.Exit(1)


@app.command()
def confidence(
    slices: Annotated[
        # Seven hearts of four slices: five for the folds of the fit, two for the report.
        int, typer.Option(min=28, help="Synthetic ones: two thirds for the fit, one third for the report.")
    ] = 3600,
    json_file: JsonFile = None,
    plot: Annotated[
        Path | None, typer.Option(callback=output_file, help="Write the reliability diagram here.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", parser=path, help="Labelled real maps (docs/data.md) to report on as well."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=output_file, help="The calibration; beside the weights by default."
        ),
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Fit the confidence of the weights in use on synthetic slices, and report its accuracy."""
    from calibration.confidence import calibrate

    require("sklearn", *(["matplotlib"] if plot is not None else []), extra="calibrate")
    settings = load_settings(settings_file, engine=engine)
    calibrate(settings, slices, output=output, json_file=json_file, plot=plot, data=data)


@app.command()
def contours(
    data: Annotated[
        Path, typer.Option("--data", parser=path, help="Labelled slices of the site (docs/data.md).")
    ],
    kind: Annotated[str | None, typer.Option("--map", help="t1 or t2; both by default.")] = None,
    json_file: JsonFile = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", callback=new_file, help="Write a new settings file with the convention."
        ),
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Fit the contour convention to a site's own labelled slices, and report it case by case."""
    require("monai", extra="calibrate")
    from calibration.contours import calibrate

    check_outputs(json_file, output, inputs=[settings_file])
    settings = load_settings(settings_file, engine=engine)
    kinds = ("t1", "t2") if kind is None else (kind,)
    calibrate(settings, data, kinds, json_file=json_file, output=output)


@app.command()
def ranges(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            parser=path,
            help="Folder of normal persons: JSON files of replay, results of process -o or of cohort -o.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", callback=new_file, help="Write a new file of reference ranges."),
    ] = None,
    sequence: Annotated[
        str, typer.Option(help="Use series whose description contains this text, such as MOLLI.")
    ] = "",
    sex: Annotated[str | None, typer.Option(help="M or F, where all persons are of one sex.")] = None,
    source: Annotated[str, typer.Option(help="Source of the values, for the results.")] = "site",
    scanner_maps: Annotated[
        bool, typer.Option("--scanner-maps", help="Use the maps that the scanner made, not the fitted ones.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Make reference ranges of T1, T2 and ECV from a site's own normal persons."""
    from calibration.ranges import Selection, calibrate

    calibrate(data, Selection(sequence, sex, source, scanner_maps), output=output, json_file=json_file)


@app.command()
def budget(
    slices: Annotated[int, typer.Option(min=2, help="Number alone, and number under load.")] = 100,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Number of slices in work at once.")] = 4,
    margin: Annotated[
        float, typer.Option(callback=finite, min=0, help="Above the 99th percentile, as a share of it.")
    ] = 1.0,
    json_file: JsonFile = None,
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
