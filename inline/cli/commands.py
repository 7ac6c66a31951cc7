"""The ``myostream`` command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zipfile import BadZipFile

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.cli import app as bench_app
from calibration.cli import app as calibrate_app
from inline.cli.errors import ReportingGroup, require, told
from inline.cli.options import output_file, output_folder
from inline.data.errors import MyostreamError
from inline.serving.configuration import Configuration
from inline.settings import load_settings

if TYPE_CHECKING:
    from inline.mrd.messages import Image
    from inline.replay.client import Exchange
    from inline.replay.results import Record

app = typer.Typer(
    cls=ReportingGroup,
    help="Inline T1 and T2 mapping of the heart: maps, myocardial contours and values. For research only; "
    "not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(bench_app, name="bench")
app.add_typer(calibrate_app, name="calibrate")
_console = Console()
_UNHURRIED_MS = 600_000
"""Budget of a slice where nobody waits for it: a replay as fast as possible."""

EngineOption = Annotated[
    str | None,
    typer.Option(help="auto, or a name that myostream engines lists.", show_default=False),
]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="TOML file of settings.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 9002 by default, 0 for any free one.")] = None,
    zmq: Annotated[
        str | None, typer.Option(help="Publish results here, such as tcp://127.0.0.1:5560.")
    ] = None,
    zmq_keys: Annotated[
        Path | None, typer.Option(help="Publish to the clients of this folder of keys alone.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Publish to other hosts without keys.")
    ] = False,
    budget_ms: Annotated[
        float | None, typer.Option(min=1, help="Time for a slice, from its last image to its result.")
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
    until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve MRD clients until SIGTERM, SIGHUP or Ctrl-C, then finish what is in flight; again: hurry."""
    from inline.serving.signals import end_with_stdin, ended_by_signals, leave_hanging_threads

    with ended_by_signals() as signals, told():
        if until_stdin_ends:
            end_with_stdin()
        from inline.serving.logs import log_to_stderr
        from inline.serving.server import Server
        from inline.serving.service import service

        settings = load_settings(
            settings_file,
            engine=engine,
            budget_ms=budget_ms,
            server={"host": host, "port": port},
            emit={"zmq": zmq, "zmq_keys": zmq_keys, "zmq_insecure": insecure or None},
        )
        with log_to_stderr(settings.log, verbose=verbose):
            with service(settings) as made:
                server = Server(made.scheduler, settings, made.publisher)
                signals.call(server.stop)
                host, port = server.address
                print(f"myostream listening on {host}:{port} (engine: {made.engine.name})", flush=True)
                if made.publisher is not None:
                    print(f"myostream publishing on {made.publisher.address}", flush=True)
                server.serve()
                made.scheduler.close(max(server.left_s, 1.0))
            leave_hanging_threads()


@app.command()
def stream(
    source: Annotated[
        Path | None, typer.Option("--input", "-i", help="File or named pipe to read; else standard input.")
    ] = None,
    sink: Annotated[
        Path | None, typer.Option("--output", "-o", help="File or named pipe to write; else standard output.")
    ] = None,
    config: Annotated[
        Configuration | None, typer.Option(help="Configuration, in place of what the stream asks for.")
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Read an MRD stream and write it on with maps, contours and values: one step of a pipe."""
    from inline.serving.logs import log_to_stderr
    from inline.serving.pipe import run
    from inline.serving.signals import leave_hanging_threads

    with told():
        settings = load_settings(settings_file, engine=engine)
        with log_to_stderr(settings.log, verbose=verbose):
            taken = run(settings, source=source, sink=sink, configuration=config)
    leave_hanging_threads(0 if taken else 1)
    if not taken:
        raise typer.Exit(1)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file with images.", exists=True, dir_okay=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write what comes back here.")] = None,
    server: Annotated[str, typer.Option(help="HOST:PORT of a running server; else one is started.")] = "",
    config: Annotated[str, typer.Option(help="Configuration to ask for.")] = "mapping",
    realtime: Annotated[bool, typer.Option("--realtime", help="Send by the images' time stamps.")] = False,
    speed: Annotated[float, typer.Option(min=0.01, help="With --realtime: times faster.")] = 1.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results here.")] = None,
    overlays: Annotated[Path | None, typer.Option(help="Write a picture per slice into this folder.")] = None,
    group: Annotated[str, typer.Option(help="HDF5 group to read; by default the only one.")] = "",
    settings_file: SettingsFile = None,
) -> None:
    """Stream the images of a file to a server and collect maps, contours and values."""
    with told():
        _replay(
            file,
            output,
            address=_address(server) if server else None,
            config=config,
            pace_speed=speed if realtime else None,
            json_file=json_file,
            overlays=overlays,
            group=group,
            settings_file=settings_file,
        )


@app.command()
def synth(
    output: Annotated[Path, typer.Option("--output", "-o", help="MRD file to write.")],
    slices: Annotated[int, typer.Option(min=1, max=500)] = 3,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    scheme: Annotated[str, typer.Option(help="MOLLI scheme, such as 5(3)3 or 4(1)3(1)2.")] = "5(3)3",
    size: Annotated[int, typer.Option(min=96, max=512, help="Rows and columns, pixels of 1.5 mm.")] = 192,
) -> None:
    """Write a simulated examination (MOLLI and T2-prep, truth beside it) to replay."""
    from inline.replay.simulate import simulate_examination, truth_file, write_examination
    from model.output import check_outputs

    with told():
        check_outputs(output, truth_file(output))
        try:
            examination = simulate_examination(slices, seed, size=size, scheme=scheme)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        count = write_examination(output, examination)
    _console.print(f"{output}: {slices} slices, {count} images")


@app.command()
def keys(
    folder: Annotated[Path, typer.Argument(help="Folder of keys; made where there is none.")],
    client: Annotated[str, typer.Option(help="Name of the client that may read the results.")] = "reader",
) -> None:
    """Make keys, with which results are published to known clients alone, and encrypted."""
    from inline.emit.access import make_keys

    with told():
        public, secret = make_keys(folder, client)
    typer.echo(f"server: myostream serve --zmq tcp://ADDRESS:PORT --zmq-keys {folder}")
    typer.echo(f"client: myostream listen tcp://ADDRESS:PORT --server-key {public} --keys {secret}")
    typer.echo(f"Move {secret} to the client's host, with a copy of {public}.")


@app.command()
def listen(
    address: Annotated[str, typer.Argument(help="Where a server publishes.")] = "tcp://127.0.0.1:5560",
    json_lines: Annotated[bool, typer.Option("--json", help="Print whole messages, one per line.")] = False,
    count: Annotated[int | None, typer.Option(help="Stop after so many slices.")] = None,
    server_key: Annotated[Path | None, typer.Option(help="Public key file of a server with keys.")] = None,
    keys_file: Annotated[
        Path | None, typer.Option("--keys", help="Secret key file of this client, for such a server.")
    ] = None,
) -> None:
    """Print the results that a server publishes on ZeroMQ, and the summary of each connection."""
    from zmq import ZMQError

    from inline.emit.publisher import decode, subscribe
    from inline.replay.results import read_message
    from inline.replay.table import line, printable

    with told():
        try:
            socket = subscribe(address, server_key=server_key, keys=keys_file)
        except ZMQError as error:
            raise MyostreamError(f"{address} is no address to subscribe to: {error}") from error
    seen = 0
    try:
        while count is None or seen < count:
            try:
                message = read_message(decode(socket.recv_multipart()))
            except ValueError as error:
                typer.echo(f"skipped a message: {printable(str(error))}", err=True)
                continue
            seen += "regions" in message
            typer.echo(json.dumps(message) if json_lines else line(message))
    except KeyboardInterrupt:
        pass
    finally:
        socket.close(linger=0)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what it makes.")] = Path(
        "demo-output"
    ),
    slices: Annotated[int, typer.Option(min=1, max=30)] = 3,
) -> None:
    """Simulate an examination, stream it to a server process, show what comes back."""
    from inline.replay.simulate import simulate_examination, write_examination
    from model.output import check_folder

    file = output / "examination.h5"
    with told():
        check_folder(output)
        count = write_examination(file, simulate_examination(slices))
        _console.print(f"Simulated {slices} slices, T1 (MOLLI) and T2 (T2-prep): {count} images in {file}")
        _replay(
            file,
            output / "results.h5",
            address=None,
            config="mapping",
            pace_speed=None,
            json_file=output / "results.json",
            overlays=output,
            group="",
            settings_file=None,
        )
    _console.print(
        "MOLLI reads T1 some percent short of the tissue's (T2 decay and flip angle act during the readout), "
        "on a scanner as here."
    )


@app.command()
def evaluate(
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of labelled slices (docs/data.md).")
    ] = None,
    kind: Annotated[str, typer.Option("--map", help="t1 or t2.")] = "t2",
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="So many fresh synthetic slices instead.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=output_file, help="Write all figures here.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(callback=output_folder, help="Write pictures into this folder.")
    ] = None,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Compare contours and values with those of readers, or with the truth of synthetic slices."""
    # The command line alone knows every folder; nothing else in inline/ imports bench/.
    from bench import evaluation
    from bench import synthetic as synthetic_evaluation
    from inline.engine_selection import build_pipeline

    if (data is None) == (synthetic is None) or kind not in ("t1", "t2"):
        raise MyostreamError("give either --data FOLDER or --synthetic N, and --map t1 or t2")
    require("monai", *(["matplotlib"] if plots is not None else []))
    running = build_pipeline(load_settings(settings_file, engine=engine)).engine
    if data is not None:
        evaluation.run(data, kind, running, json_file=json_file, plots=plots)
    elif synthetic is not None:
        synthetic_evaluation.run(synthetic, kind, running, json_file)


@app.command()
def engines(
    repeats: Annotated[int, typer.Option(min=3, help="Inferences of each engine that are timed.")] = 100,
    settings_file: SettingsFile = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=output_file, help="Write all figures here.")
    ] = None,
) -> None:
    """Time the engines of this host beside each other, and say which is used and why."""
    from bench.engines import measure, show

    show(measure(load_settings(settings_file), repeats), json_file)


@app.command()
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
    seed: Annotated[int, typer.Option()] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="32-true or bf16-mixed.")] = "32-true",
) -> None:
    """Train a network on synthetic slices or on labelled cases."""
    from model.relaxometry.fits import PRODUCT_FITS
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
    with told(ValueError):
        figures = run(training, PRODUCT_FITS)
    for name, value in sorted(figures.items()):
        _console.print(f"{name}: {value:.4f}")


def _replay(
    file: Path,
    output: Path | None,
    *,
    address: tuple[str, int] | None,
    config: str,
    pace_speed: float | None,
    json_file: Path | None,
    overlays: Path | None,
    group: str,
    settings_file: Path | None,
) -> None:
    from inline.mrd.files import ImageFile
    from inline.replay.local_server import started_server
    from inline.replay.run import compare, records, unreadable
    from inline.replay.simulate import truth_file
    from inline.replay.table import notes, printable, results_table
    from model.output import check_folder, check_outputs

    with ImageFile(file, group) as opened:
        header, images, about = opened.header_bytes, list(opened.images()), opened.notes
    if not images:
        raise MyostreamError(f"{file} holds no images; raw data must be reconstructed first")
    check_outputs(output, json_file, inputs=[file, truth_file(file), settings_file])
    check_folder(overlays)
    truth, untrue = _truth(file)
    if address is None:
        # Images that come all at once queue for minutes where those of a scanner come one by one.
        arguments = [] if pace_speed else ["--budget-ms", str(_UNHURRIED_MS)]
        arguments += ["--settings", str(settings_file)] if settings_file else []
        with started_server(arguments) as started:
            result = _exchange(started.address, header, images, config, pace_speed)
    else:
        result = _exchange(address, header, images, config, pace_speed)

    compared = compare(images, result.images)
    found = records(compared.added)
    results = [record for record, _ in found]
    # Files before the terminal, which may be a pipe that nobody reads any more.
    said, problems = _write_results(header, result, found, output, json_file, overlays)
    earlier = len(records(result.images)) - len(found)
    if earlier:
        about = [*about, f"{earlier} results of an earlier run were among the images; they are not reported."]
    for text in (*about, *untrue, *result.texts, *unreadable(result.images)):
        _console.print(printable(text, lines=True), highlight=False, markup=False)
    _console.print(results_table(results, truth))
    for note in notes(results):
        _console.print(f"Note: {printable(note)}", highlight=False, markup=False)
    seconds = result.finished - result.first_sent
    _console.print(f"{compared}; {len(found)} maps back, first byte to close {seconds:.2f} s")
    for text in said:
        _console.print(text, markup=False)
    if compared.lost:
        problems.append(f"{compared.lost} of {len(images)} images did not come back")
    if problems:
        raise MyostreamError("; ".join(problems))


def _write_results(
    header: bytes,
    result: Exchange,
    found: list[tuple[Record, Image]],
    output: Path | None,
    json_file: Path | None,
    overlays: Path | None,
) -> tuple[list[str], list[str]]:
    """Write what is asked for; returns a line for each output, and one for each that could not be written."""
    from inline.mrd.files import write_images
    from inline.replay.run import picture_names, write_overlay
    from model.output import write_json

    said: list[str] = []
    problems: list[str] = []

    @contextmanager
    def noted(line: str = "") -> Iterator[None]:
        try:
            yield
        except MyostreamError as error:
            problems.append(str(error))
        else:
            said.extend([line] if line else [])

    results = [record for record, _ in found]
    if output is not None:
        with noted(f"Everything that came back: {output}"):
            write_images(output, header, result.images, private=True)
    if json_file is not None:
        with noted(f"Results: {json_file}"):
            write_json(json_file, {"results": results, "messages": result.texts}, private=True)
    if overlays is not None:
        failed = len(problems)
        earlier = {each.name for each in overlays.glob("slice-*.png")}
        names = picture_names(results)
        for name, (record, image) in zip(names, found, strict=True):
            with noted():
                write_overlay(overlays / name, record, image)
        said.append(f"Pictures: {len(names) - (len(problems) - failed)} in {overlays}")
        if older := earlier - set(names):
            said.append(f"{overlays} also holds {len(older)} pictures that are not of these results")
    return said, problems


def _exchange(
    address: tuple[str, int], header: bytes, images: list[Image], config: str, pace_speed: float | None
) -> Exchange:
    from inline.replay.client import exchange
    from inline.replay.run import realtime

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        sending = progress.add_task("sent", total=len(images))
        receiving = progress.add_task("received", total=None)
        return exchange(
            address,
            header,
            images,
            config=config,
            pace=None if pace_speed is None else realtime(images, pace_speed),
            sent=lambda _: progress.advance(sending),
            received=lambda _: progress.advance(receiving),
        )


def _truth(file: Path) -> tuple[dict[tuple[str, int], float], list[str]]:
    """Median of the true T1 and T2 over the true myocardium of each slice, and what kept it from being read.

    Both are empty where a file has no truth beside it.
    """
    import numpy as np

    from inline.replay.simulate import read_truth, truth_file

    try:
        truth = read_truth(file)
        return {
            (quantity, index): float(np.median(values[index][labels == 2]))
            for quantity, values in ((("T1", truth["t1_ms"]), ("T2", truth["t2_ms"])) if truth else ())
            for index, labels in enumerate(truth["labels"])
            if (labels == 2).any()
        }, []
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, BadZipFile) as error:
        return {}, [f"{truth_file(file)} is not the truth of an examination and is not shown: {error}"]


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise MyostreamError(f"{text!r} is not an address; give HOST:PORT, such as 127.0.0.1:9002")
    return host, int(port)
