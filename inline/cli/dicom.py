"""Commands of the DICOM node: dicom-node, dicom-queue."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from inline.addresses import host_port
from inline.cli.errors import require
from inline.cli.options import EngineOption, SettingsFile, Verbose, path
from inline.data.errors import ConfigurationError
from inline.data.plural import counted
from inline.settings import load_settings
from inline.terminal.text import printable

if TYPE_CHECKING:
    from inline.dicom.node.studies import StoredSeries, StoredStudy, WaitingResults

_log = logging.getLogger(__name__)


def dicom_node(
    host: Annotated[str | None, Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, Option(help="Port; 11112 by default, 0 for any free one.")] = None,
    ae_title: Annotated[str | None, Option("--ae-title", help="AE title; MYOSTREAM by default.")] = None,
    spool: Annotated[Path | None, Option(parser=path, help="Folder of the queue.")] = None,
    engine: EngineOption = None,
    monitor_port: Annotated[
        int | None, Option(help="Port of metrics and health, on 127.0.0.1; without it, there are none.")
    ] = None,
    settings_file: SettingsFile = None,
    verbose: Verbose = False,
) -> None:
    """Receive series by C-STORE, process them, and send the results on, until SIGTERM, SIGHUP or Ctrl-C.

    Destinations are set in the section dicom of the settings (docs/dicom-node.md).
    """
    from inline.serving.signals import ended_by_signals, leave_hanging_threads

    with ended_by_signals() as signals:
        require("pydicom", "highdicom", "pynetdicom")
        from inline.dicom.node.health import supervision
        from inline.dicom.node.metrics import NodeMetrics
        from inline.dicom.node.node import DicomNode
        from inline.dicom.node.quiet import silence_libraries
        from inline.engine_selection import build_pipeline
        from inline.pipeline import Pipeline
        from inline.serving.logs import announce, log_to_stderr
        from inline.serving.supervision import ServiceManager, monitored

        def pipeline() -> Pipeline:
            made = build_pipeline(settings)
            made.warm_up()
            return made

        settings = load_settings(
            settings_file,
            engine=engine,
            dicom={"host": host, "port": port, "ae_title": ae_title, "spool": spool},
            monitor={"port": monitor_port},
        )
        _check_place(settings.dicom.spool, settings_file or os.environ.get("MYOSTREAM_SETTINGS"))
        silence_libraries()
        with log_to_stderr(settings.log, verbose=verbose):
            if settings.monitor.page_port is not None:
                _log.warning("monitor.page_port is set, but a DICOM node has no live page")
            manager, metrics = ServiceManager(), NodeMetrics()
            manager.notify("STATUS=starting: the network is loaded")
            with monitored(settings.monitor, metrics.text, metrics.health) as address:
                node = DicomNode(settings, pipeline, metrics)
                signals.call(node.stop)
                begun = [f"listening for DICOM on {host_port(*node.address)} as {settings.dicom.ae_title}"]
                if address is not None:
                    begun.append(f"metrics on http://{host_port(*address)}/metrics")
                for each in begun:
                    announce(f"myostream {each}", settings.log)
                with supervision(node, manager):
                    node.serve()
            _log.info("stopped by %s", signals.came)
            leave_hanging_threads()


def _check_place(spool: Path | None, settings_file: Path | str | None) -> None:
    """Refuse a spool beside the settings file where the current folder has another one of the same name.

    Earlier versions took a relative path from there; what waits in that one would stay there.
    """
    from inline.dicom.node.store import DATABASE

    if spool is None or not settings_file:
        return
    beside = Path(settings_file).absolute().parent
    earlier = spool.relative_to(beside) if spool.is_relative_to(beside) else spool
    if (earlier / DATABASE).exists() and not (spool.exists() and spool.samefile(earlier)):
        raise ConfigurationError(
            f"dicom.spool is {spool}, beside the settings file, but the current folder has the spool "
            f"{earlier.absolute()}; to go on with that, state its full path in dicom.spool, else remove it"
        )


def dicom_queue(
    retry: Annotated[bool, Option("--retry", help="Try everything again now.")] = False,
    move: Annotated[
        tuple[str, str] | None,
        Option("--move", metavar="NAME OTHER", help="Send what waits for a destination to another one."),
    ] = None,
    drop: Annotated[
        str, Option("--drop", metavar="NAME", help="Remove what waits for a destination, while no node runs.")
    ] = "",
    forget: Annotated[
        str | None,
        Option("--forget", metavar="STUDY", help="Remove everything of a study (UID), while no node runs."),
    ] = None,
    listed: Annotated[
        bool, Option("--list", help="List studies with patient ID, series and results.")
    ] = False,
    json_output: Annotated[bool, Option("--json", help="Print the list as JSON; with --list.")] = False,
    spool: Annotated[Path | None, Option(parser=path, help="Folder of the queue.")] = None,
    settings_file: SettingsFile = None,
) -> None:
    """Show what the queue of a DICOM node holds, whether it runs or not."""
    from inline.dicom.node.quiet import silence_libraries
    from inline.dicom.node.spool import drop_results, inspect, move_results, spool_folder
    from inline.dicom.node.studies import forget_study, list_studies

    if json_output and not listed:
        raise ConfigurationError("--json prints the list of studies; give --list too")
    changes = {"--retry": retry, "--move": move, "--drop": drop, "--forget": forget is not None}
    if listed and (given := [name for name, value in changes.items() if value]):
        raise ConfigurationError(f"--list changes nothing; give {given[0]} in a command of its own")

    settings = load_settings(settings_file, dicom={"spool": spool})
    folder, known = spool_folder(settings.dicom), {each.name for each in settings.dicom.destinations}
    if move is not None:
        if move[1] not in known:
            named = f"has {', '.join(sorted(known))}" if known else "is empty; give the settings of the node"
            raise ConfigurationError(f"--move: {move[1]} is no destination; dicom.destinations {named}")
        moved = move_results(folder, *move)
        typer.echo(f"{counted(moved, 'object')} moved from {move[0]} to {move[1]}")
    if drop:
        typer.echo(f"{counted(drop_results(folder, drop), 'object')} for {drop} dropped")
    if forget is not None:
        gone = forget_study(folder, forget)
        typer.echo(
            f"study {forget} forgotten: {counted(gone.objects, 'received object')}, "
            f"{counted(gone.results, 'result')}"
        )
    backlog = inspect(folder, retry=retry)
    if listed:
        silence_libraries()
        _print_studies(list_studies(folder), as_json=json_output)
        return
    if retry:
        typer.echo("everything in the queue is due now; a node that runs tries it again at once")
    typer.echo(f"{counted(backlog.objects, 'object')} of {backlog.series} series to process")
    for error in backlog.failed:
        typer.echo(f"a series could not be processed: {error}; --retry processes it again")
    typer.echo(f"{backlog.kept} processed series kept for later ones")
    for name, number in sorted(backlog.deliveries.items()):
        problem = f" ({backlog.errors[name]})" if name in backlog.errors else ""
        typer.echo(f"{name}: {counted(number, 'object')} to deliver{problem}")
        if known and name not in known:
            typer.echo(f"{name} is none of dicom.destinations: --move {name} OTHER, or --drop {name}")
    typer.echo(f"{backlog.bytes / 1e6:.1f} MB in the spool")


def _print_studies(studies: Sequence[StoredStudy], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in studies], indent=1))
        return
    for study in studies:
        patient = f", patient {study.patient_id}" if study.patient_id else ""
        typer.echo(printable(f"study {study.uid}{patient}"))
        for series in study.series:
            state = f"{series.state}, last one {series.since}"
            typer.echo(f"  series {series.uid}: {_amount(series)}, {state}{_reason(series)}")
        for waiting in study.results:
            since = f" since {waiting.since}" if waiting.since else ""
            typer.echo(f"  {waiting.destination}: {_amount(waiting)} to deliver{since}{_reason(waiting)}")
    if not studies:
        typer.echo("no study in the spool")


def _amount(stored: StoredSeries | WaitingResults) -> str:
    missing = f" ({stored.missing} without a file)" if stored.missing else ""
    return counted(stored.objects, "object") + missing


def _reason(stored: StoredSeries | WaitingResults) -> str:
    return f" ({stored.error})" if stored.error else ""
