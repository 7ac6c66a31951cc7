"""Report of each examination of files, as PNG or PDF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from inline.data.examination import Examination
from inline.offline.process import Output, Processed
from inline.report.content import ExaminationInfo, page
from inline.report.maps import report_maps
from inline.report.output import report_files, write_report
from inline.settings import Settings
from model.engines.base import Engine
from model.output import check_folder
from model.weights import DEFAULT, weights_digest


def report_output(places: Iterable[Path], settings: Settings, engine: Engine) -> Output:
    """Return the output of a report (``docs/report.md``), mode 0600.

    In a folder, each examination has a folder with a PNG and a PDF. A file is that of the first examination;
    the number of a further one is added to its name.

    Args:
        places: folders, and files that end in .png or .pdf.
        settings: of the program.
        engine: that runs; each report states the one in use after its examination.

    Raises:
        OSError: the weights cannot be read.
    """
    places = tuple(places)
    weights = weights_digest(settings.weights or DEFAULT)

    def write(processed: Processed) -> str:
        header = processed.examination.header
        info = ExaminationInfo.of_header(header, weights=weights, engine=engine.name)
        content = page(report_maps(Examination(processed.results, processed.ecv)), info)
        files = list(_files(places, processed.number))
        for each in files:
            write_report(each, content)
        return f"Report: {', '.join(map(str, files))}"

    return write


def _files(places: Iterable[Path], number: int) -> Iterator[Path]:
    """Yield the files of an examination."""
    for each in places:
        if each.is_dir():
            own = each / f"{number:03d}"
            check_folder(own)
            yield from report_files([own])
        else:
            yield each if number == 1 else each.with_stem(f"{each.stem}-{number:03d}")
