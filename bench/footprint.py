"""Footprint of an installation: disk by package, memory of its server: ``python -m bench.footprint FILE.h5``.

It measures the installation whose Python runs it and needs no torch. FILE is an examination, as of
``myostream synth``.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bench.values import write_results
from bench.watched import ClientTally, Measurement, usage
from inline.cli.errors import report_errors
from inline.cli.options import JsonFile
from inline.data.errors import MyostreamError
from inline.mrd.files import ImageFile
from inline.replay.local_server import started_server
from inline.terminal.tables import print_columns, print_values

_SHOWN: Final = 10
_QUIET_S: Final = 3.0
"""Pause after the start, before memory is read."""


def disk() -> dict[str, float]:
    """Return the size of each package of this interpreter, 10^6 bytes, largest first, and their ``total``.

    ``others`` is what lies there and belongs to no package.
    """
    prefix, sizes = Path(sys.prefix), dict[str, int]()
    for distribution in distributions():
        files = {Path(str(file.locate())).resolve() for file in distribution.files or ()}
        inside = [file for file in files if file.is_relative_to(prefix.resolve()) and file.is_file()]
        if inside:
            name = distribution.metadata["Name"]
            sizes[name] = sum(file.stat().st_size for file in inside)
    total = sum(file.lstat().st_size for file in prefix.rglob("*") if file.is_file() or file.is_symlink())
    largest = sorted(sizes.items(), key=lambda item: item[1], reverse=True)
    named = {**dict(largest), "others": total - sum(sizes.values()), "total": total}
    return {name: size / 1e6 for name, size in named.items()}


def memory(examination: Measurement, slices: int, arguments: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return resident memory of a server when idle and after slices, 10^6 bytes, and its time to start, s.

    Args:
        examination: sent until the server has returned as many maps as ``slices``.
        slices: least number of maps.
        arguments: further options of the server.

    Raises:
        MyostreamError: the server does not start, ends, or returns no map.
    """
    start = time.monotonic()
    with started_server(arguments) as server:
        started_s = time.monotonic() - start
        time.sleep(_QUIET_S)
        idle, tally = usage(server.process.pid), ClientTally()
        while tally.results < slices:
            before = tally.results
            tally.send(server.address, examination)
            if tally.results == before:
                raise MyostreamError("the examination gives no maps: " + "; ".join(tally.problems))
        after = usage(server.process.pid)
    if idle is None or after is None:
        raise MyostreamError("the server has ended")
    return {
        "idle_mb": idle["megabytes"],
        "after_mb": after["megabytes"],
        "peak_mb": after["peak_mb"],
        "start_s": started_s,
        "slices": tally.results,
        "lost": tally.lost,
    }


def main(
    file: Annotated[Path, typer.Argument(help="MRD file of an examination.", exists=True)],
    slices: Annotated[int, typer.Option(min=1, help="Slices before memory is read again.")] = 50,
    engine: Annotated[str, typer.Option(help="auto, or a name that myostream engines lists.")] = "auto",
    json_file: JsonFile = None,
) -> None:
    """Measure disk and memory."""
    with report_errors():
        with ImageFile(file) as opened:
            measurement = Measurement(opened.header_bytes.decode(), list(opened.images()), 0)
        used = memory(measurement, slices, ("--engine", engine))
        by_package = disk()
        write_results(json_file, {"disk": by_package, "memory": used, "engine": engine})
        shown = [*list(by_package)[:_SHOWN], "others", "total"]
        print_values(
            "Disk", "package", {name: {"megabytes": by_package[name]} for name in shown}, "megabytes .0f"
        )
        columns = "idle_mb .0f, after_mb .0f, peak_mb .0f, start_s .1f, slices d, lost d"
        print_columns("Server", {engine: used}, columns)


if __name__ == "__main__":
    typer.run(main)
