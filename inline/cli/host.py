"""Commands for the host: doctor, service-unit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.text import Text
from typer import Option

from inline.cli.options import EngineOption, SettingsFile, output_file
from inline.extras import absent, remedy
from inline.serving.unit import Program, installed_command, unit_text
from inline.settings import load_settings

if TYPE_CHECKING:
    from inline.doctor.finding import Finding

_MARKS: Final = {
    "good": ("good   ", "green"),
    "warning": ("warning", "yellow"),
    "problem": ("PROBLEM", "red"),
}


def doctor(
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
    json_output: Annotated[bool, Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Examine this host: what works, what does not, what to do. Ends with code 1 where there is a problem."""
    import logging

    from inline.doctor.checks import check_host, passed

    settings = load_settings(settings_file, engine=engine)
    logging.disable(logging.CRITICAL)  # the findings state what engines log
    try:
        findings = _shown(check_host(settings), quiet=json_output)
    finally:
        logging.disable(logging.NOTSET)
    good = passed(findings)
    if json_output:
        typer.echo(json.dumps({"passed": good, "findings": [asdict(each) for each in findings]}, indent=1))
    else:
        typer.echo("myostream works on this host." if good else "myostream does not work here as set.")
    if not good:
        raise typer.Exit(1)


def _shown(findings: Iterable[Finding], *, quiet: bool) -> list[Finding]:
    """Return the findings, and print each as soon as it is there."""
    console, shown = Console(highlight=False, quiet=quiet), []
    for each in findings:
        mark, colour = _MARKS[each.verdict.value]
        advice = f". To do: {each.advice}" if each.advice else ""
        console.print(Text.assemble((mark, colour), f"  {each.part}: {each.text}{advice}"), soft_wrap=True)
        shown.append(each)
    return shown


def service_unit(
    program: Annotated[
        Program, Option("--for", help="Command that the service runs: serve or dicom-node.")
    ] = "serve",
    output: Annotated[
        Path | None, Option("--output", "-o", callback=output_file, help="File; else standard output.")
    ] = None,
) -> None:
    """Print the systemd unit that runs this installation as a service (docs/service.md)."""
    from model.output import write_text

    text = unit_text(installed_command(), program)
    if program == "dicom-node" and (modules := absent("dicom")):
        message = f"the service will not start without {modules} of the extra dicom: {remedy('dicom')}"
        typer.echo(f"myostream: {message}", err=True)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
