"""``myostream bench``, ``evaluate`` and ``engines``: measurements of stream, fits and segmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from inline.cli.errors import ReportingGroup, require
from inline.cli.options import EngineOption, JsonFile, SettingsFile, finite, output_file, output_folder, path
from inline.data.errors import MyostreamError
from inline.settings import load_settings
from model.training.split import Part, seen_in_training, seen_note

app = typer.Typer(
    cls=ReportingGroup,
    help="Measure the stream, reference implementations and the segmentation (docs/benchmarks.md).",
    no_args_is_help=True,
)


def _plot_file(file: Path | None) -> Path | None:
    if file is not None:
        require("matplotlib", extra="bench")
    return output_file(file)


Engine = Annotated[str, typer.Option(help="auto, or a name that myostream engines lists.")]
DataFolder = Annotated[
    Path | None, typer.Option("--data", parser=path, help="Folder of labelled slices (docs/data.md).")
]
PlotFile = Annotated[Path | None, typer.Option("--plot", callback=_plot_file, help="Plot as PNG.")]


@app.command()
def throughput(
    slices: Annotated[int, typer.Option(min=2, help="Half MOLLI, half T2-prep.")] = 100,
    connections: Annotated[int, typer.Option(min=1, help="Clients at a time, each with its share.")] = 1,
    config: Annotated[str, typer.Option(help="mapping or passthrough.")] = "mapping",
    moving: Annotated[
        float | None,
        typer.Option(
            callback=finite,
            min=0,
            max=1,
            help="Share of hearts that move; compares with a server that ignores it.",
        ),
    ] = None,
    engine: Engine = "auto",
    json_file: JsonFile = None,
) -> None:
    """Time slices sent without a pause: first byte sent to last result received."""
    from bench.throughput import measure, show

    results = measure(slices, connections=connections, config=config, engine=engine, moving=moving)
    show(results, json_file)


@app.command()
def motion(
    slices: Annotated[int, typer.Option(min=1, help="Hearts of each kind and size of motion.")] = 6,
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Measure the motion correction on simulated breathing: R2, residual motion, bias, time."""
    from bench.motion import measure, show

    show(measure(slices), json_file, plot)


@app.command()
def latency(
    slices: Annotated[int, typer.Option(min=4, help="At each of the two paces.")] = 1000,
    interval_ms: Annotated[
        float, typer.Option(callback=finite, min=1, help="Between two slices: a scanner's pace.")
    ] = 2000.0,
    engine: Engine = "auto",
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Time slices sent one by one: last byte of the last image to last byte of the results.

    At a scanner's pace and at ten times that pace; 1,000 slices take 40 minutes.
    """
    from bench.latency import measure, show

    show(measure(slices, interval_ms, engine), json_file, plot)


@app.command()
def scaling(
    slices: Annotated[int, typer.Option(min=4, help="Sent for each number of connections.")] = 40,
    engine: Engine = "auto",
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Time stages by matrix size, images per series, connections and batch."""
    from bench.scaling import measure, show

    show(measure(slices, engine), json_file, plot)


@app.command()
def page(
    slices: Annotated[int, typer.Option(min=4, help="With pages, and as many without.")] = 300,
    interval_ms: Annotated[float, typer.Option(callback=finite, min=1, help="Between two slices.")] = 150.0,
    clients: Annotated[
        int, typer.Option(min=10, max=30, help="Open pages: some read slowly or nothing, some are hostile.")
    ] = 20,
    engine: Engine = "auto",
    json_file: JsonFile = None,
) -> None:
    """Time results until their map is on the live page, and slices while many pages are open."""
    from bench.page import measure, show

    show(measure(slices, interval_ms, clients, engine), json_file)


@app.command()
def peers(engine: Engine = "auto", json_file: JsonFile = None) -> None:
    """Time each stage beside a reference implementation."""
    from bench.peers import measure, show

    require("qmri")
    show(measure(engine), json_file)


@app.command()
def tables(
    data: DataFolder = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="Synthetic slices of each kind of map, simulated readers.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=path, callback=output_folder, help="Folder for tables and figures."
        ),
    ] = Path("runs/tables"),
    readers: Annotated[int, typer.Option(min=1, help="Simulated readers.")] = 3,
    bias_mm: Annotated[
        float, typer.Option(callback=finite, min=0, help="SD of simulated readers' own offsets.")
    ] = 0.4,
    random_mm: Annotated[
        float, typer.Option(callback=finite, min=0, help="SD of the offset along a contour.")
    ] = 0.6,
    train_steps: Annotated[int, typer.Option(min=0, help="Steps of each training of tables 6, 7, A1.")] = 0,
    keep: Annotated[
        Path | None,
        typer.Option(
            parser=path, callback=output_folder, help="Folder of trained networks, stored and loaded."
        ),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="torchvision's resnet50 checkpoint (ImageNet), table 7.", exists=True)
    ] = None,
    engine: Engine = "auto",
    json_file: JsonFile = None,
) -> None:
    """Make the tables and figures of the study for labelled slices with one or more readers."""
    require("matplotlib", "monai", "pandas", "pingouin", "scikit_posthocs", extra="bench")
    from bench.tables.agreement import AT_BORDERS
    from bench.tables.run import read_both, run, synthetic_slices
    from bench.tables.trainings import ShortTraining
    from inline.engine_selection import build_pipeline
    from model.evaluation.cases import first_readers, first_readers_note
    from model.evaluation.readers import Spread
    from model.weights import DEFAULT

    settings = load_settings(engine=engine)
    running, offsets = build_pipeline(settings), AT_BORDERS
    if data is not None and synthetic is None:
        slices, offsets = read_both(data), running.offsets
        names = sorted({name for each in slices for name in each.readers})
        about = f"{len(slices)} labelled slices of {data.name}; readers: {', '.join(names)}."
        seen = seen_in_training((each.case for each in slices), settings.weights or DEFAULT)
        about = " ".join([about, *seen_note(seen), *first_readers_note(first_readers(slices))])
    elif data is None and synthetic is not None:
        spread = Spread(bias_mm, random_mm)
        slices = synthetic_slices(synthetic, readers, spread)
        about = f"{len(slices)} synthetic slices; the {readers} readers are SIMULATED: {spread}."
    else:
        raise MyostreamError("give either --data FOLDER or --synthetic N")
    training = ShortTraining(train_steps, keep=keep)
    run(
        slices,
        running.engine,
        output,
        about=about,
        training=training,
        encoder=encoder,
        json_file=json_file,
        offsets=offsets,
    )


@app.command()
def cohort(
    examinations: Annotated[int, typer.Option(min=6, help="Of one slice of 96 x 96 pixels each.")] = 1000,
    engine: Engine = "auto",
    json_file: JsonFile = None,
    plot: PlotFile = None,
) -> None:
    """Process a cohort with one worker, with two, and with two of which one is killed.

    Exit code 1 where anything is missing or processed twice, results differ, or a worker's memory grows.
    """
    require("distributed", "pyarrow")
    from bench.cohort import measure, show

    if not show(measure(examinations, engine), json_file, plot):
        raise typer.Exit(1)


def evaluate(
    data: DataFolder = None,
    kind: Annotated[str, typer.Option("--map", help="t1 or t2.")] = "t2",
    part: Annotated[
        Part | None,
        typer.Option("--part", help="Part of the labelled cases, as train splits them; all by default."),
    ] = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="Number of fresh synthetic slices, in place of labelled ones.")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of other weights, evaluated on the same synthetic slices."),
    ] = None,
    apices: Annotated[
        bool, typer.Option("--apices", help="Synthetic slices of 10 to 25 mm across alone, with their flags.")
    ] = False,
    json_file: JsonFile = None,
    plots: Annotated[
        Path | None, typer.Option(parser=path, callback=output_folder, help="Write figures into this folder.")
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Compare contours and values with those of readers, or with the truth of synthetic slices."""
    if (data is None) == (synthetic is None) or kind not in ("t1", "t2"):
        raise MyostreamError("give either --data FOLDER or --synthetic N, and --map t1 or t2")
    if part is not None and data is None:
        raise MyostreamError("--part goes with --data FOLDER")
    if beside and data is not None:
        raise MyostreamError("--beside goes with --synthetic N")
    if apices and (beside or synthetic is None):
        raise MyostreamError("--apices goes with --synthetic N, without --beside")
    require("monai", *(["matplotlib"] if plots is not None else []), extra="bench")
    from bench.evaluation import against_readers, against_truth
    from inline.engine_selection import build_pipeline, make_engine
    from model.weights import DEFAULT

    settings = load_settings(settings_file, engine=engine)
    running = build_pipeline(settings)
    if data is not None:
        weights = settings.weights or DEFAULT
        against_readers(data, kind, running, weights, part=part, json_file=json_file, plots=plots)
    elif synthetic is not None and apices:
        from bench.apices import evaluate_apices

        evaluate_apices(synthetic, kind, running, json_file)
    elif synthetic is not None:
        folders = beside or []
        names = [folder.name for folder in folders]
        if len(set(names)) < len(names):
            names = [str(folder) for folder in folders]
        others = {
            name: make_engine(load_settings(settings_file, engine=engine, weights=folder))
            for name, folder in zip(names, folders, strict=True)
        }
        against_truth(synthetic, kind, {running.engine.name: running.engine, **others}, json_file)


def engines(
    repeats: Annotated[int, typer.Option(min=3, help="Inferences of each engine that are timed.")] = 100,
    settings_file: SettingsFile = None,
    json_file: JsonFile = None,
) -> None:
    """Compare the engines of this host: time, agreement, memory, and which one is used."""
    from bench.engines import measure, show

    show(measure(load_settings(settings_file), repeats), json_file)


COMMANDS: Final = (evaluate, engines)
"""Commands of the top level."""
