"""Commands of the product; ``inline/__main__.py`` adds those of calibration and benchmarks."""

from __future__ import annotations

from collections.abc import Callable

import typer

from inline.cli.cohort import cohort
from inline.cli.dicom import dicom_node, dicom_queue
from inline.cli.errors import ReportingGroup
from inline.cli.host import doctor, service_unit
from inline.cli.package import app as package
from inline.cli.process import process
from inline.cli.replay import demo, replay, synth
from inline.cli.serving import keys, listen, serve, stream
from inline.cli.training import train

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
