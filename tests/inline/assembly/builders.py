"""Images and series of them, as senders of several kinds make them, and their assembly."""

import base64
import json
from dataclasses import replace

import numpy as np

from inline.assembly.assembled import Ready
from inline.assembly.assembler import SeriesAssembler
from inline.mrd.header import MeasurementHeader
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image
from inline.settings import AssemblySettings

TIMES = {
    "5(3)3": [100, 1000, 1900, 2800, 3700, 180, 1080, 1980],
    "4(1)3(1)2": [100, 1000, 1900, 2800, 180, 1080, 1980, 260, 1160],
    "3(3)5": [100, 1000, 1900, 180, 1080, 1980, 2880, 3780],
    "3(3)3(3)5": [100, 1000, 1900, 180, 1080, 1980, 260, 1160, 2060, 2960, 3860],
}


def image(value=1.0, meta=None, *, shape=(16, 16), dtype=np.float32, **fields):
    header = ImageHeader(
        **{
            "field_of_view": (24.0, 24.0, 8.0),
            "read_dir": (1.0, 0.0, 0.0),
            "phase_dir": (0.0, 1.0, 0.0),
            "image_series_index": 3,
            **fields,
        }
    )
    return Image.from_pixels(np.full((1, 1, *shape), value, dtype), header, meta or {})


def molli(times=None, slice_index=0, description="T1map_MOLLI", **fields):
    times = TIMES["5(3)3"] if times is None else times
    return [
        image(
            i + 1.0,
            {"SequenceDescription": description, "InversionTime": time},
            slice=slice_index,
            set=i,
            **fields,
        )
        for i, time in enumerate(times)
    ]


def t2prep(times=(0, 25, 55), slice_index=0, **fields):
    return [
        image(
            i + 1.0,
            {"SequenceDescription": "T2map", "T2PrepDuration": time},
            slice=slice_index,
            set=i,
            **fields,
        )
        for i, time in enumerate(times)
    ]


AT_ONCE = AssemblySettings(corrected_wait_s=0.0)
"""No series waits for a motion-corrected one."""


def feed(images, header=None, settings=AT_ONCE, *, early=False):
    assembler = SeriesAssembler(header or MeasurementHeader(), settings)
    ready = [
        assembled for number, each in enumerate(images) for assembled in assembler.add(each, float(number))
    ]
    return ready, ready + assembler.finish(early=early)


def counted(number):
    return MeasurementHeader(maxima={"set": number - 1, "slice": 2})


def replace_type(each, kind):
    return replace(each, header=replace(each.header, image_type=kind))


def times_of(images, header):
    _, everything = feed(images, header)
    assert isinstance(everything[0], Ready)
    return everything[0].series.times_ms.tolist()


def as_json(**elements):
    content = {tag.strip("_"): value for tag, value in elements.items()}
    return {"DicomJson": base64.b64encode(json.dumps(content).encode()).decode()}


def mini_head(time):
    text = f'<ParamDouble."TI"> {{ <Precision> 6 {time:.6f} }}'
    return {"IceMiniHead": base64.b64encode(text.encode()).decode()}


def moco(**fields):
    return molli(description="T1map_MOLLI_MOCO", **fields)


def pixels_of(ready):
    """First pixel of each image of each series, by time."""
    return [series.series.images[:, 0, 0].tolist() for series in ready]


def acquired(times, *, quantity="T1", start=0, beat=400, value=1.0, counters=None, **fields):
    """Images with time stamps, one a beat of ``beat`` ticks; ``counters`` states those of image k."""
    name, key = {"T1": ("MOLLI", "InversionTime"), "T2": ("T2map", "T2PrepDuration")}[quantity]
    return [
        image(
            value + k,
            {"SequenceDescription": name, key: time},
            acquisition_time_stamp=start and start + beat * k,
            **(counters(k) if counters else {}),
            **fields,
        )
        for k, time in enumerate(times)
    ]


def stamped(each, stamp):
    return replace(each, header=replace(each.header, acquisition_time_stamp=stamp))


def by_set(k):
    return {"set": k, "image_index": k + 1}


def by_index(k):
    return {"image_index": k + 1}


def running_on(k):
    return {"image_index": k + 9}


LISTED = MeasurementHeader(inversion_times=tuple(map(str, TIMES["5(3)3"])))
