"""Simulated examination as an MRD file: images of T1 and T2 mapping as a scanner sends them, with truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from inline.assembly.image_metadata import TIME_NAMES
from inline.contouring.septum import RIGHT_ANTERIOR
from inline.contouring.slice_level import TO_APEX
from inline.data.series import Quantity
from inline.mrd.files import write_images
from inline.mrd.image_header import ImageHeader
from inline.mrd.library import xsd
from inline.mrd.messages import Image
from model.output import atomic_output

if TYPE_CHECKING:
    from model.synthesis.contrast_agent import ContrastAgent
    from model.synthesis.examination import SimulatedSlice

MOLLI_SERIES: Final = 1
T2PREP_SERIES: Final = 2
POST_CONTRAST_SERIES: Final = 3
_SLICE_DISTANCE_MM: Final = 20.0
_HEART_MM: Final = np.array([30.0, -20.0, 10.0])
"""Middle of the slices (LPS): left of the middle of the magnet, as senders write zeros for no position."""
_THICKNESS_MM: Final = 8.0
_TICK_MS: Final = 2.5
_HEARTBEAT_MS: Final = 900.0
_BREATH_MS: Final = 5000.0
"""Pause between two breath-holds."""
_EQUILIBRIUM_MS: Final = 15 * 60_000.0
"""Pause between contrast agent and post-contrast images."""
_TRUTHS: Final = {"T1": "t1_ms", "T2": "t2_ms", "T1 post-contrast": "t1_post_ms", "ECV": "ecv_percent"}
"""Name of each true map, and of its array in the file."""
_GAIN: Final = 6.0
"""Pixel value per unit of the simulation, of all images: 12 bits full, with steps of 1/30 of the noise."""


def _usual_axes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return unit vectors (LPS) of a usual heart: away from the septum, to the inferior wall."""
    septum = RIGHT_ANTERIOR - (RIGHT_ANTERIOR @ TO_APEX) * TO_APEX
    septum /= np.linalg.norm(septum)
    return -septum, np.cross(TO_APEX, septum)


_FROM_SEPTUM, _TO_INFERIOR = _usual_axes()


def simulate_examination(
    slices: int,
    seed: int = 1,
    *,
    size: int = 192,
    scheme: str = "5(3)3",
    motion_mm: float | Sequence[float] = 0.0,
    agent: ContrastAgent | None = None,
) -> list[SimulatedSlice]:
    """Return slices from base to apex, each of another usual heart.

    Args:
        slices: number.
        seed: fixes everything random; with another agent or motion, hearts are the same.
        size: rows and columns.
        scheme: MOLLI scheme.
        motion_mm: largest displacement of the heart by breathing, of all slices or of each from the base on;
            0 for breath-holds, as of slices for which none is stated.
        agent: contrast agent; None for native images.

    Raises:
        ValueError: fewer than one slice, or a scheme that cannot be read.
        ImportError: torch is not installed; the other functions need none.
    """
    from model.synthesis.examination import simulate_slice

    if slices < 1:
        raise ValueError("an examination needs at least one slice")
    levels = [(index + 0.5) / slices * 0.95 for index in range(slices)]
    displacements = chain(motion_mm, repeat(0.0)) if isinstance(motion_mm, Sequence) else repeat(motion_mm)
    return [
        simulate_slice(
            1000 * seed + index,
            size=size,
            scheme=scheme,
            heartbeat_ms=_HEARTBEAT_MS,
            level=level,
            usual=True,
            motion_mm=moved,
            agent=agent,
        )
        for index, (level, moved) in enumerate(zip(levels, displacements, strict=False))
    ]


def to_images(slices: list[SimulatedSlice], post: Sequence[SimulatedSlice] = ()) -> list[Image]:
    """Return the images in the order of acquisition: slice by slice, MOLLI, then T2-prep.

    MOLLI after contrast agent follows, of each slice of ``post``.
    """
    images: list[Image] = []
    clock_ms = 0.0

    def add(index: int, each: SimulatedSlice, series: int) -> None:
        nonlocal clock_ms
        name, quantity, stack, times = {
            MOLLI_SERIES: (
                "T1map_MOLLI_native" if post else "T1map_MOLLI",
                Quantity.T1,
                each.molli,
                each.inversion_times_ms,
            ),
            T2PREP_SERIES: ("T2map_T2prep", Quantity.T2, each.t2prep, each.preparation_times_ms),
            POST_CONTRAST_SERIES: (
                "T1map_MOLLI_post-contrast",
                Quantity.T1,
                each.molli,
                each.inversion_times_ms,
            ),
        }[series]
        for number, (values, time) in enumerate(zip(stack, times, strict=True)):
            clock_ms += _HEARTBEAT_MS
            header = replace(
                _place(each, index, len(slices)),
                set=number,
                acquisition_time_stamp=round(clock_ms / _TICK_MS),
                # Numbers run on through the slices of a series, as a scanner's do.
                image_index=index * len(times) + number + 1,
                image_series_index=series,
            )
            meta = {"SequenceDescription": name, TIME_NAMES[quantity]: f"{float(time):g}"}
            pixels = np.clip(np.round(values[None, None] * _GAIN), 0, 65535).astype(np.uint16)
            images.append(Image.from_pixels(pixels, header, meta))
        clock_ms += _BREATH_MS

    for index, each in enumerate(slices):
        add(index, each, MOLLI_SERIES)
        add(index, each, T2PREP_SERIES)
    clock_ms += _EQUILIBRIUM_MS
    for index, each in enumerate(post):
        add(index, each, POST_CONTRAST_SERIES)
    return images


def _place(each: SimulatedSlice, index: int, number: int) -> ImageHeader:
    """Return the header of a slice's images, as far as it is that of all."""
    rows, columns = each.labels.shape
    distance_mm = 2 * _SLICE_DISTANCE_MM if number == 2 else _SLICE_DISTANCE_MM  # two are base and apex
    return ImageHeader(
        field_of_view=(columns * each.pixel_mm, rows * each.pixel_mm, _THICKNESS_MM),
        position=tuple((_HEART_MM + (index - (number - 1) / 2) * distance_mm * TO_APEX).tolist()),
        read_dir=tuple(_FROM_SEPTUM.tolist()),
        phase_dir=tuple(_TO_INFERIOR.tolist()),
        slice_dir=tuple(TO_APEX.tolist()),
        slice=index,
    )


def header_xml(slices: list[SimulatedSlice]) -> str:
    """Return the header of the measurement: times, field strength, counters."""
    first = slices[0]
    rows, columns = first.labels.shape
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=columns, y=rows, z=1),
        fieldOfView_mm=xsd.fieldOfViewMm(
            x=columns * first.pixel_mm, y=rows * first.pixel_mm, z=_THICKNESS_MM
        ),
    )
    limits = xsd.encodingLimitsType(
        slice=xsd.limitType(minimum=0, maximum=len(slices) - 1, center=0),
        set=xsd.limitType(minimum=0, maximum=len(first.molli) - 1, center=0),
    )
    encoding = xsd.encodingType(
        encodedSpace=space,
        reconSpace=space,
        encodingLimits=limits,
        trajectory=xsd.trajectoryType("cartesian"),
    )
    header = xsd.ismrmrdHeader(
        encoding=[encoding],
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName="myostream simulated mapping"
        ),
        studyInformation=xsd.studyInformationType(studyDate="2000-01-01", studyTime="12:00:00"),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="simulated", systemFieldStrength_T=1.5
        ),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_870_000),
        sequenceParameters=xsd.sequenceParametersType(TI=[float(time) for time in first.inversion_times_ms]),
        userParameters=xsd.userParametersType(
            userParameterDouble=[
                xsd.userParameterDoubleType(name=f"T2PrepDuration_{i}", value=float(time))
                for i, time in enumerate(first.preparation_times_ms)
            ]
        ),
    )
    return str(header.toXML())


def truth_file(file: Path) -> Path:
    """Return the file of the truth, beside the MRD file: clients expect a single group in that."""
    return file.with_suffix(".truth.npz")


def write_examination(
    file: Path,
    slices: list[SimulatedSlice],
    post: Sequence[SimulatedSlice] = (),
    agent: ContrastAgent | None = None,
) -> int:
    """Write an examination and its truth; return the number of images.

    Args:
        file: to write.
        slices: native.
        post: the same slices after contrast agent; empty without.
        agent: contrast agent of ``post``.

    Raises:
        OutputError: one of the files cannot be written.
    """
    images = to_images(slices, post)
    names = ("t1_ms", "t2_ms", "labels")
    truth = {name: np.stack([getattr(each, name) for each in slices]) for name in names}
    if post and agent is not None:
        truth["t1_post_ms"] = np.stack([each.t1_ms for each in post])
        truth["ecv_percent"] = np.full_like(truth["t1_ms"], 100.0 * agent.ecv)
    # Together: an examination must not lie beside the truth of another.
    with atomic_output(truth_file(file)) as beside:
        with beside.open("wb") as opened:
            np.savez_compressed(opened, allow_pickle=False, **truth)
        write_images(file, header_xml(slices), images)
    return len(images)


def true_medians(file: Path) -> tuple[dict[tuple[str, int], float], list[str]]:
    """Return the medians over the true myocardium, by name and slice index, and problems.

    The names are T1, T2 (ms) and, with contrast agent, T1 post-contrast (ms) and ECV (%). Both are empty
    where a file has no truth beside it.
    """
    beside = truth_file(file)
    if not beside.exists():
        return {}, []
    try:
        with np.load(beside) as stored:
            wall = stored["labels"] == 2
            return {
                (shown, index): float(np.median(values[inside]))
                for shown, name in _TRUTHS.items()
                if name in stored
                for index, (values, inside) in enumerate(zip(stored[name], wall, strict=True))
                if inside.any()
            }, []
    except Exception as error:  # numpy and zipfile raise many kinds for a file that is none of ours
        return {}, [f"{beside} is not the truth of an examination and is not shown: {error}"]
