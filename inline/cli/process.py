"""``myostream process``: files through the pipeline, without a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from inline.cli.errors import NOTHING_FOUND, require
from inline.cli.options import (
    PREPARING,
    EngineOption,
    HaematocritOption,
    ReportOption,
    SettingsFile,
    output_folder,
    path,
    settings_of_patient,
)
from inline.data.errors import MyostreamError
from inline.data.plural import counted
from inline.terminal.results import (
    ecv_notes,
    notes,
    print_results,
    result_counts,
    slice_names,
    unknown_levels,
    unused_haematocrit,
)
from inline.terminal.text import print_progress, print_text
from model.nifti import is_nifti
from model.output import check_outputs

if TYPE_CHECKING:
    from inline.assembly.examination import AcquiredExamination
    from inline.mrd.header import StudyKey
    from inline.offline.arrays import ArrayOptions
    from inline.offline.process import Output, Processed


def process(
    paths: Annotated[
        list[Path],
        Argument(
            parser=path,
            help="DICOM files, folders or DICOMDIR; MRD files; BIDS NIfTI; npz, npy or BART arrays.",
        ),
    ],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            parser=path,
            callback=output_folder,
            help="Folder for one JSON record per slice and ECV.",
        ),
    ] = None,
    dicom: Annotated[
        Path | None,
        Option(
            "--dicom",
            parser=path,
            callback=output_folder,
            help="Folder for the results of DICOM images as DICOM.",
        ),
    ] = None,
    report: ReportOption = None,
    haematocrit: HaematocritOption = None,
    ti: Annotated[str, Option(help="Inversion times of an array, ms: 100,180,...")] = "",
    te: Annotated[str, Option(help="T2 preparation times of an array, ms: 0,25,55.")] = "",
    spacing: Annotated[str, Option(help="Pixel size of an array, mm: 1.5 or X,Y.")] = "",
    group: Annotated[str, Option(help="HDF5 group of an MRD file; by default the only one.")] = "",
    engine: EngineOption = None,
    settings_file: SettingsFile = None,
) -> None:
    """Fit maps, find contours, print values and ECV of files: DICOM, MRD, NIfTI, arrays."""
    from inline.examination.haematocrits import checked_haematocrits
    from inline.offline.arrays import is_array
    from inline.offline.sources import Sources

    options = array_options(ti, te, spacing)
    # A path that does not exist is named below.
    if (ti or te or spacing) and not any(is_array(each) or not each.exists() for each in paths):
        raise MyostreamError("--ti, --te and --spacing are of arrays (npz, npy, cfl), and none is given")
    if dicom is not None:
        require("pydicom", "highdicom")
    settings = settings_of_patient(settings_file, engine, haematocrit)
    checked_haematocrits(settings.ecv.haematocrits)  # an error before the work
    sources = Sources(settings.assembly, options, group, shared=settings.ecv.haematocrits is not None)
    reports = tuple(report or ())
    if reports:
        require("cmcrameri", "matplotlib")
        check_outputs(*checked(reports), inputs=[*paths, settings_file])
    examinations = sources.examinations(paths)
    if haematocrit is not None:
        examinations = of_one_patient(examinations)
    print_progress(PREPARING)
    from inline.engine_selection import build_pipeline
    from inline.offline.left_over import folders_left_over
    from inline.offline.process import json_output, process_examinations

    given, problems, ecv = 0, [], []
    outputs: list[Output] = [json_output(output)] if output is not None else []
    processed: Processed | None = None
    pipeline = build_pipeline(settings)
    if dicom is not None:
        from inline.offline.dicom_output import dicom_output

        outputs.append(dicom_output(dicom, settings, pipeline.engine))
    if reports:
        from inline.offline.report_output import report_output

        outputs.append(report_output(reports, settings, pipeline.engine))
    for processed in process_examinations(examinations, pipeline, settings):
        # Files before the terminal, which may be a pipe that nobody reads any more.
        written, unwritten = write(processed, outputs)
        problems += unwritten
        show(processed)
        for line in written:
            print_text(line)
        given += sum(not result.error for result in processed.results)
        ecv += processed.ecv_records
    for note in unused_haematocrit(haematocrit, ecv):
        print_text(f"Note: {note}")
    for folder in filter(None, (output, dicom)):
        if line := folders_left_over(folder, processed.number if processed else 0):
            print_text(line)
    for name, number in sources.skipped.items():
        print_text(f"Skipped: {counted(number, 'file')}: {name}")
    for problem in sources.problems:
        print_text(f"Problem: {problem}")
    if sources.problems:
        unread = counted(len(sources.problems), "file or image", "files or images")
        problems.append(f"{unread} could not be read; listed above")
    if problems:
        raise MyostreamError("; ".join(problems))
    if not given:
        raise typer.Exit(NOTHING_FOUND)


def checked(reports: Iterable[Path]) -> list[Path]:
    """Return the files among the places of reports; a folder has been checked.

    Raises:
        ReportError: a name is neither that of a folder nor ends in .png or .pdf.
    """
    from inline.report.output import check_suffix

    files = [each for each in reports if not each.is_dir()]
    for each in files:
        check_suffix(each)
    return files


def of_one_patient(examinations: Iterator[AcquiredExamination]) -> Iterator[AcquiredExamination]:
    """Return the examination that ``--haematocrit`` is meant for, or the files of one study.

    Raises:
        MyostreamError: there are several, and nothing says whose haematocrit it is.
    """
    from inline.offline.arrays import is_array
    from inline.offline.process import file_study, fits_all

    found: list[AcquiredExamination] = []
    studies: set[StudyKey | None] = set()
    for each in examinations:
        found.append(each)
        study = file_study(each)
        if not fits_all(study, studies):
            files = [Path(examination.name) for examination in (found[0], each)]
            raise MyostreamError(
                f"--haematocrit is of one patient, and there are several examinations ({found[0].name}, "
                f"{each.name}): "
                + (
                    "arrays and NIfTI images state no study; myostream.ecv in Python takes two results"
                    if any(is_array(file) or is_nifti(file) for file in files)
                    else "their headers state no common study UID, or differ in frame of reference or "
                    "patientID or patientName; give one of them, or set ecv.haematocrits, the file "
                    "with that of each study"
                )
            )
        studies.add(study)
    return iter(found)


def array_options(ti: str, te: str, spacing: str) -> ArrayOptions:
    """Return the options of arrays.

    Raises:
        BadParameter: one is no list of numbers above 0, or of times from 0 on.
    """
    from inline.data.series import Quantity
    from inline.offline.arrays import ArrayOptions

    given = ((Quantity.T1, ti, "--ti"), (Quantity.T2, te, "--te"))
    times = tuple((quantity, numbers(text, name)) for quantity, text, name in given if text)
    sizes = numbers(spacing, "--spacing") if spacing else ()
    if len(sizes) > 2 or any(size <= 0.0 for size in sizes):
        raise typer.BadParameter("--spacing is one size in mm, or two as X,Y")
    return ArrayOptions(times, (sizes[0], sizes[-1]) if sizes else None)


def numbers(text: str, name: str) -> tuple[float, ...]:
    """Return the numbers of a list with commas, finite and not negative.

    Raises:
        BadParameter: it is none.
    """
    try:
        found = tuple(float(each) for each in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0.0 <= each < float("inf") for each in found):
        raise typer.BadParameter(f"{name} is a list of numbers with commas between them, not {text!r}")
    return found


def write(processed: Processed, outputs: Iterable[Output]) -> tuple[list[str], list[str]]:
    """Write the outputs of an examination; return a line for each, and the errors of those that failed."""
    written, problems = [], []
    for output in outputs:
        try:
            written.append(output(processed))
        except MyostreamError as error:
            problems.append(str(error))
    return written, problems


def show(processed: Processed) -> None:
    """Print the table of an examination as ``replay`` prints its results."""
    examination, records, ecv = processed.examination, processed.records, processed.ecv_records
    same = f" (of one study with {processed.study})" if processed.study < processed.number else ""
    print_text(f"{processed.number}: {examination.name}{same}")
    for text in examination.notes:
        print_text(text)
    print_results(records, ecv)
    for record, name in zip(records, slice_names(records), strict=True):
        if record["error"]:
            print_text(f"Error: {name}: {record['error']}")
    for reason in unknown_levels(records):
        print_text(f"Level unknown: {reason}")
    for note in [*notes(records), *ecv_notes(ecv)]:
        print_text(f"Note: {note}")
    rest = "".join(f"; {number} {reason}" for reason, number in examination.unused.items())
    print_text(f"{counted(examination.images, 'image')}; {result_counts(records)}{rest}")
