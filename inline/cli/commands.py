"""Commands of the product; ``inline/__main__.py`` adds those of calibration and benchmarks."""

from __future__ import annotations

import typer

from inline.cli.cohort import cohort
from inline.cli.errors import ReportingGroup
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
for command in (serve, stream, process, cohort, replay, synth, keys, listen, demo, train):
    app.command()(command)
