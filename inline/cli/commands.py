"""Commands of the product; ``inline/__main__.py`` adds those of calibration and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from typer import Option

from inline.cli.cohort import cohort
from inline.cli.dicom import dicom_node, dicom_queue
from inline.cli.errors import ReportingGroup
from inline.cli.host import doctor, service_unit
from inline.cli.package import app as package
from inline.cli.process import process
from inline.cli.replay import replay
from inline.cli.serving import keys, listen, serve, stream
from inline.cli.simulate import demo, synth
from inline.cli.training import train
from inline.data.version import software_version

app = typer.Typer(
    cls=ReportingGroup,
    help="Inline T1 and T2 mapping of the heart: maps, myocardial contours and values. For research only; "
    "not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(serve, stream, process, replay, cohort, dicom_node, dicom_queue),
    *(synth, demo, train, keys, listen, doctor, service_unit),
)
for command in COMMANDS:
    app.command()(command)
app.add_typer(package, name="package")


def _print_version(wanted: bool) -> None:
    if wanted:
        from model.machine import commit

        source = commit()
        typer.echo(f"myostream {software_version()}" + (f", commit {source}" if source else ""))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        Option("--version", callback=_print_version, is_eager=True, help="Print version and commit."),
    ] = False,
) -> None:
    pass
