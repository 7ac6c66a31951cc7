"""Simulated examination as an MRD file: images of T1 and T2 mapping as a scanner sends them, with truth."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import ismrmrd.xsd as xsd
import numpy as np
from numpy.typing import NDArray

from inline.mrd.files import write_images
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.mrd.meta import MetaValue
from model.output import atomic_output
from model.synthesis.examination import SimulatedSlice, simulate_slice

MOLLI_SERIES: Final = 1
T2PREP_SERIES: Final = 2
_TO_APEX: Final = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])
_SLICE_DISTANCE_MM: Final = 20.0
_THICKNESS_MM: Final = 8.0
_TICK_MS: Final = 2.5
_TRUTH: Final = ("t1_ms", "t2_ms", "labels")
_BREATH_MS: Final = 5000.0
"""Pause between two breath-holds."""
_GAIN: Final = 6.0
"""Pixel value per unit of the simulation, of all images: 12 bits full, with steps of 1/30 of the noise."""


def simulate_examination(
    slices: int, seed: int = 1, *, size: int = 192, scheme: str = "5(3)3", heartbeat_ms: float = 900.0
) -> list[SimulatedSlice]:
    """Return slices from base to apex, each of another usual heart.

    Raises:
        ValueError: fewer than one slice, or a scheme that cannot be read.
    """
    if slices < 1:
        raise ValueError("an examination needs at least one slice")
    return [
        simulate_slice(
            1000 * seed + index,
            size=size,
            scheme=scheme,
            heartbeat_ms=heartbeat_ms,
            level=(index + 0.5) / slices * 0.95,
            usual=True,
        )
        for index in range(slices)
    ]


def to_images(slices: list[SimulatedSlice], heartbeat_ms: float = 900.0) -> list[Image]:
    """Return the images in the order of acquisition: slice by slice, MOLLI, then T2-prep."""
    images: list[Image] = []
    clock_ms = 0.0
    for index, simulated in enumerate(slices):
        for series, stack, times in (
            (MOLLI_SERIES, simulated.molli, simulated.inversion_times_ms),
            (T2PREP_SERIES, simulated.t2prep, simulated.preparation_times_ms),
        ):
            for number, (pixels, time) in enumerate(zip(stack, times, strict=True)):
                clock_ms += heartbeat_ms
                # Numbers run on through the slices of a series, as a scanner's do.
                image_index = index * len(times) + number + 1
                images.append(
                    _image(pixels, float(time), series, index, number, len(slices), clock_ms, image_index)
                )
            clock_ms += _BREATH_MS
    return images


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
    header = xsd.ismrmrdHeader(
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName="myostream simulated mapping"
        ),
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
    header.encoding.append(
        xsd.encodingType(
            encodedSpace=space,
            reconSpace=space,
            encodingLimits=limits,
            trajectory=xsd.trajectoryType("cartesian"),
        )
    )
    document: str = header.toXML()
    return document


def truth_file(file: Path) -> Path:
    """Return the file of the truth, beside the MRD file: clients expect a single group in that."""
    return file.with_suffix(".truth.npz")


def write_examination(file: Path, slices: list[SimulatedSlice], heartbeat_ms: float = 900.0) -> int:
    """Write an examination and its truth; return the number of images.

    Raises:
        OutputError: one of the files cannot be written.
    """
    images = to_images(slices, heartbeat_ms)
    truth = {name: np.stack([getattr(each, name) for each in slices]) for name in _TRUTH}
    # Together: an examination must not lie beside the truth of another.
    with atomic_output(truth_file(file)) as beside:
        with beside.open("wb") as opened:
            np.savez_compressed(opened, allow_pickle=False, **truth)
        write_images(file, header_xml(slices), images)
    return len(images)


def read_truth(file: Path) -> dict[str, NDArray[np.generic]]:
    """Return ``t1_ms``, ``t2_ms``, ``labels`` ``(slices, rows, columns)``; empty for other files."""
    if not truth_file(file).exists():
        return {}
    with np.load(truth_file(file)) as stored:
        return {name: stored[name] for name in _TRUTH}


def _image(
    values: NDArray[np.float32],
    time_ms: float,
    series: int,
    slice_index: int,
    number: int,
    slice_count: int,
    clock_ms: float,
    image_index: int,
) -> Image:
    rows, columns = values.shape
    septum = np.array([-1.0, -1.0, 0.0]) / np.sqrt(2.0)
    septum -= (septum @ _TO_APEX) * _TO_APEX
    septum /= np.linalg.norm(septum)
    inferior = np.cross(_TO_APEX, septum)
    position = (slice_index - (slice_count - 1) / 2) * _SLICE_DISTANCE_MM * _TO_APEX
    pixel_mm = 1.5
    header = ImageHeader(
        field_of_view=(columns * pixel_mm, rows * pixel_mm, _THICKNESS_MM),
        position=_triple(position),
        read_dir=_triple(-septum),
        phase_dir=_triple(inferior),
        slice_dir=_triple(_TO_APEX),
        slice=slice_index,
        set=number,
        acquisition_time_stamp=round(clock_ms / _TICK_MS),
        image_index=image_index,
        image_series_index=series,
    )
    if series == MOLLI_SERIES:
        meta: dict[str, MetaValue] = {"SequenceDescription": "T1map_MOLLI", "InversionTime": f"{time_ms:g}"}
    else:
        meta = {"SequenceDescription": "T2map_T2prep", "T2PrepDuration": f"{time_ms:g}"}
    pixels = np.clip(np.round(values[None, None] * _GAIN), 0, 65535).astype(np.uint16)
    return Image.from_pixels(pixels, header, meta)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
