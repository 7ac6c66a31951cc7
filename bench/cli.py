"""``myostream bench``: the measurements of the stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure throughput and latency.", no_args_is_help=True)

Json = Annotated[Path | None, typer.Option("--json", help="Write all figures here.")]
Engine = Annotated[str, typer.Option(help="auto, openvino-int8, openvino-bf16, openvino-f32, torch.")]


@app.command()
def throughput(
    slices: Annotated[int, typer.Option(min=2, help="Half MOLLI, half T2-prep.")] = 100,
    connections: Annotated[int, typer.Option(min=1, help="Clients at a time, each with its share.")] = 1,
    config: Annotated[str, typer.Option(help="mapping or passthrough.")] = "mapping",
    engine: Engine = "auto",
    json_file: Json = None,
) -> None:
    """Send slices as fast as the server takes them; first byte sent to last result received."""
    from bench.throughput import measure, show

    figures = measure(slices, connections=connections, config=config, engine=engine)
    show(figures, json_file)


@app.command()
def latency(
    slices: Annotated[int, typer.Option(min=2)] = 100,
    interval_ms: Annotated[float, typer.Option(min=1, help="Between two slices: a scanner's pace.")] = 2000.0,
    engine: Engine = "auto",
    json_file: Json = None,
    plot: Annotated[Path | None, typer.Option(help="Histogram as PNG.")] = None,
) -> None:
    """Send one slice at a time; last byte of its last image to last byte of its results."""
    from bench.latency import measure, show

    show(measure(slices, interval_ms, engine), json_file, plot)


@app.command()
def peers(engine: Engine = "auto", json_file: Json = None) -> None:
    """The published pipeline done plainly beside ours, stage by stage, as ratios."""
    from bench.peers import measure, show

    show(measure(engine), json_file)
