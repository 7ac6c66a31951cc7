"""Command cohort: all examinations below a folder, by many workers."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer import Argument, Option

from inline.cli.errors import INTERRUPTED, require
from inline.cli.options import EngineOption, SettingsFile, finite, output_folder, path
from inline.data.plural import counted
from inline.settings import Settings, load_settings
from inline.terminal.tables import make_table
from inline.terminal.text import make_console, print_text

if TYPE_CHECKING:
    from inline.cohort.discover import Discovered, ExaminationPath
    from inline.cohort.store import CohortSummary, Store
    from inline.cohort.task import CohortTask, TaskOutcome

_console = make_console()
_INCOMPLETE: Final = 3
"""Exit code of a run in which an examination gave no complete result."""
_MOST_SHOWN: Final = 20


def cohort(
    root: Annotated[Path, Argument(parser=path, help="Folder below which the examinations lie.")],
    output: Annotated[
        Path, Option("--output", "-o", parser=path, callback=output_folder, help="Folder for all results.")
    ],
    workers: Annotated[
        int | None, Option(min=1, help="Processes on this host; one a core by default.", show_default=False)
    ] = None,
    scheduler: Annotated[
        str, Option(help="Address of an existing Dask scheduler, such as tcp://HOST:8786.")
    ] = "",
    timeout_s: Annotated[
        float, Option(callback=finite, min=1, help="Longest time of an examination; then it is given up.")
    ] = 900.0,
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Process every examination below a folder; a second run goes on where the first one ended."""
    if scheduler and workers:
        raise typer.BadParameter(
            "--workers starts processes on this host; with --scheduler its own do the work"
        )
    require("distributed", "pyarrow")
    from inline.cohort.discover import discover
    from inline.cohort.haematocrits import with_lines
    from inline.cohort.lock import locked
    from inline.cohort.provenance import CohortProvenance
    from inline.cohort.store import Store
    from inline.cohort.task import CohortTask
    from inline.data.errors import CohortError
    from inline.examination.haematocrits import checked_haematocrits
    from inline.offline.mrd import MRD_SUFFIXES

    settings = _settings(settings_file, engine)
    haematocrits = checked_haematocrits(settings.ecv.haematocrits)
    # Links are kept: other hosts may reach the same folder by another one.
    root, output = (Path(os.path.abspath(each)) for each in (root, output))  # noqa: PTH100
    if root.is_dir() and root.samefile(output):
        raise CohortError(f"{output} holds the examinations; give another folder for the results")
    with _console.status("Looking for examinations"):
        found = discover(root, without=output)
    of_images = {each.key: each for each in found.examinations}
    found = replace(found, examinations=with_lines(found.examinations, haematocrits))
    if not found.examinations and not found.problems:
        raise CohortError(
            f"{root} holds no examinations: neither MRD files ({', '.join(MRD_SUFFIXES)}) nor DICOM images"
        )
    with locked(output) as has_locks:
        if not has_locks:
            _console.print("The file system of OUT has no locks: two runs into it at once are not noticed.")
        store = Store(output)
        provenance = CohortProvenance.of(settings)
        store.begin(root, provenance, settings)
        left = [each for each in found.examinations if not store.done(each, provenance)]
        _show_found(found, len(left))
        start = time.monotonic()
        outcomes: dict[str, TaskOutcome] = {}
        if left:
            try:
                task = CohortTask(settings, provenance, output)
                plain = [of_images[each.key] for each in left]
                outcomes = _process(plain, task, workers, scheduler, timeout_s)
            except KeyboardInterrupt:
                _console.print("Interrupted. The same command goes on where this run ended.")
                raise typer.Exit(INTERRUPTED) from None
        # A worker may have read another content of ecv.haematocrits.
        sources = {key: each.source for key, each in outcomes.items() if each.source}
        made = [replace(each, source=sources.get(each.key, each.source)) for each in found.examinations]
        failures = {key: each.failure for key, each in outcomes.items() if each.failure}
        summary = store.finish(made, provenance, found.problems, failures)
        _show_summary(summary, store, len(left), time.monotonic() - start)
        if summary.failures:
            raise typer.Exit(_INCOMPLETE)


def _settings(file: Path | None, engine: str | None) -> Settings:
    settings = load_settings(file, engine=engine)
    # Workers have another current folder than the one that paths of the environment mean.
    files = (settings.weights, settings.reference.file, settings.ecv.haematocrits)
    weights, ranges, haematocrits = (each and each.absolute() for each in files)
    reference = settings.reference.model_copy(update={"file": ranges})
    ecv = settings.ecv.model_copy(update={"haematocrits": haematocrits})
    return settings.model_copy(update={"weights": weights, "reference": reference, "ecv": ecv})


def _process(
    left: list[ExaminationPath], task: CohortTask, workers: int | None, scheduler: str, timeout_s: float
) -> dict[str, TaskOutcome]:
    """Process examinations; return the outcomes by key."""
    from inline.cohort.cluster import connected, process_all
    from inline.cohort.worker import PipelinePlugin
    from inline.engine_selection import build_pipeline

    with connected(workers, scheduler) as client:
        if "dashboard" in client.scheduler_info()["services"]:
            _console.print(f"Dashboard: {client.dashboard_link}", highlight=False)
        count = len(client.nthreads())
        _console.print(counted(count, "worker") if count else "No worker yet; waiting for workers to join.")
        columns = (
            TextColumn("examinations"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[bad]}"),
        )
        shown = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        with shown as progress:
            bar, failed = progress.add_task("", total=len(left), bad=""), list[str]()
            outcomes: dict[str, TaskOutcome] = {}

            def done(outcome: TaskOutcome) -> None:
                outcomes[outcome.key] = outcome
                if outcome.failure:
                    failed.append(outcome.key)
                progress.update(bar, advance=1, bad=f"{len(failed)} failed" if failed else "")

            plugin = PipelinePlugin(task, partial(build_pipeline, task.settings, threads=1), timeout_s)
            process_all(client, left, plugin, done)
    return outcomes


def _show_found(found: Discovered, left: int) -> None:
    studies = sum(each.file is None for each in found.examinations)
    files = counted(len(found.examinations) - studies, "MRD file")
    parts = [files, counted(studies, "DICOM study", "DICOM studies")]
    if found.others:
        parts.append(f"{counted(found.others, 'other file')} passed over")
    _console.print(f"{counted(len(found.examinations), 'examination')}: {', '.join(parts)}", highlight=False)
    if done := len(found.examinations) - left:
        _console.print(f"{done} are complete, of the same files, settings and weights", highlight=False)


def _show_summary(summary: CohortSummary, store: Store, processed: int, seconds: float) -> None:
    if summary.failures:
        # No more than a screen; all of them are in the file.
        shown = summary.failures[:_MOST_SHOWN]
        rows = [(" ".join(filter(None, (each.examination, each.study))), each.reason) for each in shown]
        columns = ("examination", "reason")
        _console.print(make_table("Not complete", columns, rows, texts=columns), crop=False)
    counts = [
        counted(summary.examinations, "examination"),
        f"{len(summary.failures)} not complete",
        f"{summary.without_series} without mapping series",
        f"{counted(summary.slices, 'slice')}, {summary.without_values} of them without values",
        f"ECV of {counted(summary.ecv, 'slice position')}",
    ]
    _console.print("; ".join(counts), highlight=False)
    for reason, number in islice(summary.unused.items(), _MOST_SHOWN):
        print_text(f"Not used: {number} {reason}")
    if processed:
        _console.print(f"{processed} processed in {seconds:.0f} s", highlight=False)
    if len(summary.engines) > 1:
        made = ", ".join(f"{counted(number, 'slice')} by {name}" for name, number in summary.engines.items())
        _console.print(f"The engines differ: {made}. Name one with --engine for values that compare.")
    print_text(f"Values: {store.table} and {store.spreadsheet.name}")
    if summary.failures:
        print_text(f"Not complete: {store.failures}")
