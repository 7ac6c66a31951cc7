"""Inline T1 and T2 mapping of the heart: the Python API of myostream (``docs/python.md``).

Images and maps are arrays ``(rows, columns)``, times are in ms, lengths in mm. Points are (x, y) in pixels of
the image; whole numbers are pixel centres. Where myostream is installed, ``import myostream`` gives the same.

Nothing is loaded before its first use, so that the command line starts fast.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Final

from inline.extras import naming_extras as _naming_extras

# The threads of an operation wait for each other hundreds of times in a fit. By default they spin meanwhile;
# where the cores have other work too, as beside a reconstruction, a fit then takes seconds in place of tens
# of milliseconds. torch reads this when it is loaded, which nothing does before this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import SupportsFloat

    from numpy.typing import ArrayLike

    from inline.assembly.assembled import Failed, Ready
    from inline.assembly.examination import AcquiredExamination
    from inline.contouring.segment import Segmentation
    from inline.data.errors import MyostreamError
    from inline.data.examination import EcvRegion, EcvResult, Examination, Haematocrit
    from inline.data.flags import Flag
    from inline.data.geometry import SliceGeometry
    from inline.data.results import (
        Contours,
        InsertionPoint,
        Insertions,
        RegionValues,
        SliceLevel,
        SliceResult,
    )
    from inline.data.series import Enhancement, MappingSeries, MapSeries, Quantity, SeriesIdentity
    from inline.engine_selection import build_pipeline
    from inline.pipeline import Pipeline
    from inline.reference import ReferenceRanges
    from inline.report.content import ExaminationInfo
    from inline.settings import EcvSettings, RegionSettings, Settings, load_settings
    from model.relaxometry.parametric_map import ParametricMap

# Written out for type checkers, which do not follow the table below.
__all__ = [
    "AcquiredExamination", "Contours", "EcvRegion", "EcvResult", "Enhancement", "Examination",
    "ExaminationInfo", "Failed", "Flag", "Haematocrit", "InsertionPoint", "Insertions", "MapSeries",
    "MappingSeries", "MyostreamError", "ParametricMap", "Pipeline", "Quantity", "Ready", "RegionValues",
    "Segmentation", "SeriesIdentity", "Settings", "SliceGeometry", "SliceLevel", "SliceResult",
    "build_pipeline", "ecv", "examine", "fit_molli", "fit_t2prep", "load_settings", "measure", "process",
    "read_dicom", "read_mrd", "segment", "write_report",
]  # fmt: skip
_MODULES: Final = {
    "inline.assembly.assembled": "Failed Ready",
    "inline.assembly.examination": "AcquiredExamination",
    "inline.contouring.segment": "Segmentation",
    "inline.data.errors": "MyostreamError",
    "inline.data.examination": "EcvRegion EcvResult Examination Haematocrit",
    "inline.data.flags": "Flag",
    "inline.data.geometry": "SliceGeometry",
    "inline.data.results": "Contours InsertionPoint Insertions RegionValues SliceLevel SliceResult",
    "inline.data.series": "Enhancement MapSeries MappingSeries Quantity SeriesIdentity",
    "inline.engine_selection": "build_pipeline",
    "inline.pipeline": "Pipeline",
    "inline.report.content": "ExaminationInfo",
    "inline.settings": "Settings load_settings",
    "model.relaxometry.parametric_map": "ParametricMap",
}
"""Public names that other modules define, loaded at their first use."""
_LAZY: Final = {name: module for module, names in _MODULES.items() for name in names.split()}
_building: Final = Lock()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            return getattr(import_module(_LAZY[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def fit_molli(images: ArrayLike, ti_ms: ArrayLike, *, signed: bool = False) -> ParametricMap:
    """Return the T1 map of a MOLLI series, ms: polarity restored, Look-Locker corrected.

    Args:
        images: magnitude images of one slice ``(n, rows, columns)``, n at least 4, in any order.
        ti_ms: inversion time of each image, ms, ``(n,)``.
        signed: the images are phase-sensitive, with the polarity of the signal.

    Raises:
        ValueError: too few images, images and times that do not match, or times that are negative, not finite
            or in seconds.
    """
    from inline.arguments import images_and_times
    from inline.data.series import Quantity
    from model.relaxometry.molli import molli_map

    return molli_map(*images_and_times(images, ti_ms, Quantity.T1), signed=signed)


def fit_t2prep(images: ArrayLike, te_ms: ArrayLike) -> ParametricMap:
    """Return the T2 map of T2-prepared images, ms.

    Args:
        images: magnitude images of one slice ``(n, rows, columns)``, n at least 2, in any order.
        te_ms: T2 preparation time (effective TE) of each image, ms, ``(n,)``.

    Raises:
        ValueError: too few images, images and times that do not match, or times that are negative, not finite
            or in seconds.
    """
    from inline.arguments import images_and_times
    from inline.data.series import Quantity
    from model.relaxometry.t2prep import t2_map

    return t2_map(*images_and_times(images, te_ms, Quantity.T2))


def segment(
    values: ParametricMap | ArrayLike,
    spacing: Iterable[SupportsFloat],
    quantity: str,
    *,
    pipeline: Pipeline | None = None,
) -> Segmentation:
    """Return labels and contours of the LV myocardium in a map, drawn by the pipeline's contour convention.

    ``found.contours`` is in pixels of the map, ``found.contours.in_mm(spacing)`` in mm.

    Args:
        values: map, as fitted or as an array of ms ``(rows, columns)`` with 0 or NaN where there is no value.
        spacing: pixel size (x, y), mm.
        quantity: ``"T1"`` or ``"T2"``, in either case; it decides which values tissue can have.
        pipeline: whose engine runs the network and whose convention holds; None for that of the settings.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
        ValueError: another quantity, a spacing that is no pair, no map, or one in seconds.
    """
    from inline.arguments import map_of, pixel_size, quantity_named
    from inline.contouring.convention import draw
    from inline.contouring.segment import contour_slice, network_input
    from model.frame import Frame

    measured = quantity_named(quantity)
    pixel = pixel_size(spacing)
    parametric = map_of(values)
    rows, columns = parametric.values_ms.shape
    frame = Frame((rows, columns), pixel)
    image = network_input(parametric, measured, frame)
    running = pipeline or _own_pipeline()
    borders = contour_slice(running.engine.infer(image[None])[0], frame)
    drawn = draw(borders, pixel, running.offsets)
    return borders._replace(
        labels=drawn.labels,
        contours=drawn.contours,
        flags=(*borders.flags, *drawn.flags),
        offsets=drawn.offsets,
    )


def measure(
    values: ParametricMap | ArrayLike,
    contours: Contours | None,
    *,
    inset: float = 0.1,
    level: str | None = None,
    geometry: SliceGeometry | None = None,
    septum_degrees: float | None = None,
    insertions: Insertions | None = None,
) -> tuple[RegionValues, ...]:
    """Return median, quartiles, mean and SD of a map in the myocardium, in the unit of the map.

    The whole ring comes first. Septum and AHA segments follow where the position of the septum is known: from
    ``septum_degrees``, or else ``insertions``, or else ``geometry``; the segments need the ``level`` too.

    Args:
        values: map, as for :func:`segment`, or one of another unit, as of partition coefficients.
        contours: in pixels of the map; None, as of a map without contours, is an error.
        inset: share of the wall's thickness left out at either border, 0 to below 0.5.
        level: ``"basal"``, ``"mid"``, ``"apical"`` or ``"unknown"``.
        geometry: orientation of the slice in the patient, where it is known, and its pixel size; without a
            geometry pixels are square.
        septum_degrees: direction of the middle of the septum in the image, degrees anticlockwise from the
            right.
        insertions: of the segmentation, whose contours these are.

    Raises:
        ValueError: no contours; a level, an inset, a septum, a geometry or a map that is none; a geometry of
            another shape than the map.
    """
    from inline.arguments import contours_of, geometry_of, insertions_of, map_of, number
    from inline.contouring.regions import measure
    from inline.contouring.septum import slice_reference
    from inline.data.geometry import SliceGeometry
    from inline.data.results import SliceLevel

    contours = contours_of(contours)
    septum = None if septum_degrees is None else number("septum_degrees", septum_degrees)
    if level and level not in list(SliceLevel):
        raise ValueError(f'level is "basal", "mid", "apical" or "unknown", not {level!r}')
    parametric = map_of(values, in_ms=False)
    rows, columns = parametric.values_ms.shape
    given = geometry or SliceGeometry.unoriented((1.0, 1.0), (rows, columns))
    plane = geometry_of(given, (rows, columns))
    reference, _ = slice_reference(plane, insertions_of(insertions), contours, septum)
    named = SliceLevel(level) if level else None
    return measure(parametric, contours, named, reference, inset=number("inset", inset))


def read_mrd(file: str | Path, group: str = "", *, settings: Settings | None = None) -> list[Ready | Failed]:
    """Return the series of an ISMRMRD file: the images of one slice each, with their times.

    Args:
        file: HDF5 file with reconstructed images.
        group: HDF5 group to read; empty takes ``dataset``, else the only one with images.
        settings: how images become series; None for those of the program.

    Returns:
        ``Ready`` with its ``series``, or ``Failed`` with the ``error`` that prevents it. Images of no mapping
        series (localisers, results of an earlier run) are left out.

    Raises:
        MyostreamError: the file, its header or its images cannot be read.
    """
    from inline.data.paths import path as path_of
    from inline.offline import mrd
    from inline.settings import load_settings

    return list(mrd.read_mrd(path_of(file), (settings or load_settings()).assembly, group).series)


@_naming_extras()
def read_dicom(path: str | Path, *, settings: Settings | None = None) -> list[AcquiredExamination]:
    """Return the examinations of DICOM images: their series, as :func:`read_mrd` returns those of a file.

    Args:
        path: DICOM file, folder or DICOMDIR.
        settings: how images become series; None for those of the program.

    Returns:
        One for each study, patient and frame of reference, with its ``series`` and its ``problems``. Files
        and folders that cannot be read are among those of the first one: no header states where they belong.

    Raises:
        MyostreamError: there is nothing at the path, or none of its files is a DICOM image that can be read.
        ImportError: the extra ``dicom`` is not installed.
    """
    from dataclasses import replace

    from inline.data.errors import DicomError
    from inline.data.paths import path as path_of
    from inline.dicom.read import open_dicom
    from inline.settings import load_settings

    opened = open_dicom([path_of(path)], (settings or load_settings()).assembly)
    found = list(opened.examinations())
    if not found:
        reasons = (*opened.problems, *(f"{number} {name}" for name, number in opened.skipped.items()))
        raise DicomError(f"{path} holds no DICOM image that is read: {'; '.join(reasons) or 'it is empty'}")
    return [replace(found[0], problems=(*opened.problems, *found[0].problems)), *found[1:]]


def process(
    series: Ready | Failed | MappingSeries | MapSeries,
    *,
    study: Iterable[Ready | Failed | MappingSeries | MapSeries] = (),
    pipeline: Pipeline | None = None,
) -> SliceResult:
    """Return map, contours, values by region, confidence and flags of one slice, as the server does.

    Args:
        series: of :func:`read_mrd`, or one made of arrays.
        study: all series of the same study, likewise, for the slice level where only positions give it.
        pipeline: of :func:`build_pipeline`; None for that of the settings.

    Returns:
        The result; ``error`` states why a slice could not be processed.

    Raises:
        ConfigurationError: the weights cannot be used, or no engine loads.
        ValueError: this is no series, or images, times and geometry of one made of arrays do not match or are
            none; likewise of the study.
    """
    from inline.arguments import assembled, listed
    from inline.pipeline import SliceContext

    running = pipeline or _own_pipeline()
    ready = assembled(series, running.assembly)
    others = [assembled(each, running.assembly) for each in listed("study", study) if each is not series]
    places = tuple(each.slice_place() for each in (*others, ready))
    return running.process(ready, SliceContext(study=places))


@_naming_extras()
def write_report(
    results: Examination | Iterable[SliceResult], file: str | Path, *, info: ExaminationInfo | None = None
) -> None:
    """Write the report of an examination: one page, PNG or PDF by the name of the file, with mode 0600.

    Args:
        results: of :func:`process`, of all slices; or of :func:`examine`, with their ECV.
        file: ends in .png or .pdf.
        info: protocol, date and scanner, for the header; None states them as unknown.

    Raises:
        MyostreamError: the file has another name, or cannot be written.
        ValueError: these are no results.
        ImportError: the extra ``report`` is not installed.
    """
    from pathlib import Path

    from inline.arguments import results_of
    from inline.data.examination import Examination
    from inline.report.content import page
    from inline.report.maps import report_maps
    from inline.report.output import write_report as write

    examination = results if isinstance(results, Examination) else Examination(results_of(results))
    write(Path(file), page(report_maps(examination), info))


def ecv(
    native: SliceResult,
    post: SliceResult,
    haematocrit: float | None = None,
    *,
    settings: Settings | None = None,
) -> EcvResult:
    """Return partition coefficient and ECV of a slice position.

    Args:
        native: T1 of :func:`process`, without contrast agent.
        post: likewise, with contrast agent.
        haematocrit: a fraction from 0.2 to 0.65; None for ``ecv.haematocrit`` of the settings.
        settings: of ECV, regions and reference ranges; None for those of the program.

    Returns:
        The result; ``error`` states why there is none. Without haematocrit, it has no ECV.

    Raises:
        ValueError: the haematocrit is outside its range, or these are no results.
        ConfigurationError: the settings or the reference ranges cannot be used.
    """
    from inline.arguments import results_of
    from inline.examination.ecv import ecv_of_pair
    from inline.examination.pairing import Pair

    native, post = results_of((native, post))
    ecv_settings, regions, ranges = _of_ecv(haematocrit, settings)
    return ecv_of_pair(Pair(native, post, "user"), ecv_settings, regions, ranges)


def examine(
    results: Iterable[SliceResult], haematocrit: float | None = None, *, settings: Settings | None = None
) -> Examination:
    """Return an examination with the ECV of each slice position that has native and post-contrast T1.

    Args:
        results: of :func:`process`, in the order of acquisition.
        haematocrit, settings: as of :func:`ecv`.

    Raises:
        ValueError, ConfigurationError: as :func:`ecv` does.
    """
    from inline.arguments import results_of
    from inline.examination.examine import examine as examine_slices

    return examine_slices(results_of(results), *_of_ecv(haematocrit, settings))


def _of_ecv(
    haematocrit: float | None, settings: Settings | None
) -> tuple[EcvSettings, RegionSettings, ReferenceRanges]:
    from inline.arguments import number
    from inline.reference import ReferenceRanges
    from inline.settings import load_settings
    from model.relaxometry.ecv import check_haematocrit

    made = settings or load_settings()
    given = None if haematocrit is None else check_haematocrit(number("haematocrit", haematocrit))
    return made.ecv.of_patient(given), made.regions, ReferenceRanges.load(made.reference.file)


def _own_pipeline() -> Pipeline:
    """Return the pipeline of the settings, which the first of all threads builds."""
    with _building:
        return _pipeline()


@cache
def _pipeline() -> Pipeline:
    from inline.engine_selection import build_pipeline
    from inline.settings import load_settings

    return build_pipeline(load_settings())
