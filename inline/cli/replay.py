"""``myostream replay``: a file to a server, and the results that come back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typer import Argument, Option

from inline.cli.errors import NOTHING_FOUND, require
from inline.cli.options import (
    PREPARING,
    HaematocritOption,
    ReportOption,
    SettingsFile,
    existing_file,
    finite,
    output_file,
    output_folder,
    path,
)
from inline.data.errors import MyostreamError
from inline.serving.configuration import OPENRECON, Configuration
from inline.terminal.results import ecv_notes, notes, print_results, result_counts, unused_haematocrit
from inline.terminal.text import make_console, print_progress, print_text
from model.output import check_outputs, write_json

if TYPE_CHECKING:
    from inline.emit.record import Record
    from inline.mrd.messages import Image
    from inline.replay.client import Exchange
    from inline.report.maps import ReportMap

_console = make_console()
_REMARK: Final = "DBG myostream: "
"""Beginning of a text of the server that is neither a warning nor an error."""
_UNHURRIED_MS: Final = 600_000
"""Budget of a slice in a replay as fast as possible: images that come at once queue for minutes."""


def replay(
    file: Annotated[
        Path, Argument(parser=path, callback=existing_file, help="ISMRMRD HDF5 file with images.")
    ],
    output: Annotated[
        Path | None,
        Option("--output", "-o", callback=output_file, help="File for everything that comes back."),
    ] = None,
    server: Annotated[str, Option(help="HOST:PORT of a running server; else one is started.")] = "",
    config: Annotated[str, Option(help="Configuration of the connection.")] = "mapping",
    realtime: Annotated[bool, Option("--realtime", help="Send by the images' time stamps.")] = False,
    speed: Annotated[float, Option(callback=finite, min=0.01, help="With --realtime: times faster.")] = 1.0,
    json_file: Annotated[
        Path | None, Option("--json", callback=output_file, help="Write all results here.")
    ] = None,
    overlays: Annotated[
        Path | None, Option(parser=path, callback=output_folder, help="Write overlays into this folder.")
    ] = None,
    report: ReportOption = None,
    group: Annotated[str, Option(help="HDF5 group to read; by default the only one.")] = "",
    haematocrit: HaematocritOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Stream the images of a file to a server and collect maps, contours and values."""
    from inline.emit.record import in_order
    from inline.mrd.files import ImageFile
    from inline.replay.local_server import started_server
    from inline.replay.replies import compare, ecv_records, records, unreadable, without_result
    from inline.replay.report import returned_maps
    from inline.replay.simulate import true_medians, truth_file
    from inline.report.output import report_files

    address = _address(server) if server else None
    _check_options(config, speed, settings_file, realtime=realtime, started=address is None)
    reports = report_files(report or ())
    if reports:
        require("cmcrameri", "matplotlib")
    with ImageFile(file, group) as opened:
        header, images, about = opened.header_bytes, list(opened.images()), opened.notes
        facts = opened.header
    check_outputs(output, json_file, *reports, inputs=[file, truth_file(file), settings_file])
    truth, untrue = true_medians(file)
    parameters: dict[str, object] = {} if haematocrit is None else {"haematocrit": haematocrit}
    exchanged = partial(_exchange, header, images, config, parameters, speed if realtime else None)
    if address is None:
        arguments = [] if realtime else ["--budget-ms", str(_UNHURRIED_MS)]
        arguments += ["--settings", str(settings_file)] if settings_file else []
        print_progress(PREPARING)
        with started_server(arguments) as started:
            result = exchanged(started.address)
    else:
        result = exchanged(address)

    compared = compare(images, result.images)
    found, ecv_maps = records(compared.added), ecv_records(compared.added)
    ecv = [record for record, _ in ecv_maps]
    # Files before the terminal, which may be a pipe that nobody reads any more.
    written, problems = _write_results(header, result, found, ecv, output, json_file, overlays)
    if reports:
        unfinished = without_result(result.texts, [record for record, _ in found])
        maps = returned_maps(found, ecv_maps, unfinished, result.texts)
        lines, failed = _write_reports(reports, maps, facts)
        written, problems = [*written, *lines], [*problems, *failed]
    earlier = len(records(result.images)) - len(found)
    if earlier:
        about = [*about, f"{earlier} results of an earlier run were among the images; they are not reported."]
    said = [text.removeprefix(_REMARK) for text in result.texts]
    for text in (*about, *untrue, *said, *unreadable(result.images)):
        print_text(text, lines=True)
    results = [record for record, _ in found]
    missing = without_result(result.texts, results)
    rows = sorted([*results, *missing], key=in_order)
    print_results(rows, ecv, truth)
    for note in [*notes(rows), *ecv_notes(ecv), *unused_haematocrit(haematocrit, ecv)]:
        print_text(f"Note: {note}")
    seconds = result.finished - result.first_sent
    _console.print(
        f"{compared}; {result_counts(rows)}; {seconds:.2f} s from the first image to the last reply"
    )
    for text in written:
        _console.print(text, markup=False)
    if compared.lost:
        problems.append(f"{compared.lost} of {len(images)} images did not come back")
    if problems:
        raise MyostreamError("; ".join(problems))
    if all(record["error"] for record in rows) and config != Configuration.PASSTHROUGH:
        raise typer.Exit(NOTHING_FOUND)


def _write_results(
    header: bytes,
    result: Exchange,
    found: list[tuple[Record, Image]],
    ecv: list[Record],
    output: Path | None,
    json_file: Path | None,
    overlays: Path | None,
) -> tuple[list[str], list[str]]:
    """Write the outputs; return a line for each of them, and one for each that could not be written."""
    from inline.emit.record import file_names
    from inline.mrd.files import write_images
    from inline.replay.replies import write_overlay

    written: list[str] = []
    problems: list[str] = []
    done = partial(_done, problems)
    results = [record for record, _ in found]
    if output and done(partial(write_images, output, header, result.images, private=True)):
        written.append(f"Images and results: {output}")
    content = {"results": results, "ecv": ecv, "messages": result.texts}
    if json_file and done(partial(write_json, json_file, content, private=True)):
        written.append(f"Results: {json_file}")
    if overlays:
        older = {each.name for each in overlays.glob("slice-*.png")}
        names = file_names(results, ".png")
        drawn = [
            partial(write_overlay, overlays / name, *each) for name, each in zip(names, found, strict=True)
        ]
        written.append(f"Overlays: {sum(map(done, drawn))} in {overlays}")
        if older := older - set(names):
            written.append(f"{overlays} also holds {len(older)} overlays of other results")
    return written, problems


def _write_reports(files: list[Path], maps: list[ReportMap], header: str) -> tuple[list[str], list[str]]:
    """Write the reports; return as :func:`_write_results`."""
    from inline.mrd.header import MeasurementHeader, parse_header
    from inline.report.content import ExaminationInfo, page
    from inline.report.output import write_report

    try:
        facts = parse_header(header) if header else MeasurementHeader()
    except MyostreamError:  # the server has reported it
        facts = MeasurementHeader()
    content = page(maps, ExaminationInfo.of_header(facts))
    problems: list[str] = []
    written = [f"Report: {file}" for file in files if _done(problems, partial(write_report, file, content))]
    return written, problems


def _done(problems: list[str], write: Callable[[], None]) -> bool:
    """Return whether an output could be written; else its error is a further problem."""
    try:
        write()
    except MyostreamError as error:
        problems.append(str(error))
        return False
    return True


def _exchange(
    header: bytes,
    images: list[Image],
    config: str,
    parameters: dict[str, object],
    speed: float | None,
    address: tuple[str, int],
) -> Exchange:
    """Exchange the images, paced by their time stamps where a speed is given, and show the progress."""
    from inline.replay.client import exchange
    from inline.replay.replies import paced

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        sending = progress.add_task("images sent")
        replies = progress.add_task("replies", total=None)
        timed = images if speed is None else paced(images, speed)
        sent = progress.track(timed, len(images), task_id=sending)
        return exchange(
            address,
            header,
            sent,
            config=config,
            parameters=parameters,
            received=lambda _: progress.advance(replies),
        )


def _check_options(
    config: str, speed: float, settings_file: Path | None, *, realtime: bool, started: bool
) -> None:
    """Raise MyostreamError for options that the started server refuses, or that have no effect.

    Servers that run already may have configurations of other names.
    """
    from inline.examination.haematocrits import checked_haematocrits
    from inline.settings import load_settings

    if speed != 1.0 and not realtime:
        raise MyostreamError("--speed goes with --realtime")
    if settings_file is not None and not started:
        raise MyostreamError("--settings is for the server that is started; --server has its own")
    if started:
        checked_haematocrits(load_settings(settings_file).ecv.haematocrits)
        if config not in {*Configuration, OPENRECON}:
            raise MyostreamError(
                f"there is no configuration {config!r}; there are {', '.join(Configuration)}"
            )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise MyostreamError(f"{text!r} is not an address; give HOST:PORT, such as 127.0.0.1:9002")
    return host.strip("[]"), int(port)
