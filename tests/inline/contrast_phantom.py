"""Round heart of known T1 before and after contrast agent, where the ring engine finds it.

Noise-free MOLLI images: the fit has the T1 stated here, and so ECV follows by hand.
"""

from dataclasses import replace

import numpy as np

from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Image

SIZE, PIXEL_MM = 96, 1.5
TIMES_MS = (100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0, 4600.0)
NATIVE = {"blood": 1600.0, "wall": 1000.0}
POST = {"blood": 320.0, "wall": 450.0}
"""T1, ms."""
HAEMATOCRIT = 0.42
PARTITION = (1 / 450.0 - 1 / 1000.0) / (1 / 320.0 - 1 / 1600.0)
ECV = 100.0 * (1.0 - HAEMATOCRIT) * PARTITION
"""Percent: 28.36."""
# The rings have neither texture nor noise, which the search for motion is not made for.
QUICK = {"assembly": {"images": len(TIMES_MS)}, "mapping": {"motion_correction": "off"}}
ONE_BY_ONE = {**QUICK, "assembly": {"images": len(TIMES_MS), "corrected_wait_s": 0}}
"""Each series is complete with its last image, whatever follows."""
AXES = {"read_dir": (0.6, 0.8, 0.0), "phase_dir": (0.0, 0.0, -1.0)}
"""Directions of a short axis whose normal (0.8, -0.6, 0) points to the apex."""


def molli(t1, series, *, slice_=0, along=30.0, name, series_clock=0):
    """MOLLI images of a slice; the ring has its wall between 20 and 28 pixels around the centre."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2.0
    radius = np.hypot(x, y)
    # Wider than the contours by half a pixel at least: no pixel inside them is mixed.
    values = np.where(radius < 19.5, t1["blood"], np.where(radius < 29.5, t1["wall"], 0.6 * t1["wall"]))
    images = []
    for number, time in enumerate(TIMES_MS):
        # T1 = T1* (B / A - 1) with B = 1.9 A.
        signal = np.abs(1.0 - 1.9 * np.exp(-time / (values / 0.9)))
        header = ImageHeader(
            field_of_view=(SIZE * PIXEL_MM, SIZE * PIXEL_MM, 8.0),
            position=(0.0, 0.0, along + 20.0 * slice_),
            read_dir=(1.0, 0.0, 0.0),
            phase_dir=(0.0, 1.0, 0.0),
            slice_dir=(0.0, 0.0, 1.0),
            slice=slice_,
            set=number,
            image_series_index=series,
            image_index=slice_ * len(TIMES_MS) + number + 1,
            acquisition_time_stamp=400 * (1000 * series_clock + number) + 4000 * slice_,
        )
        pixels = np.round(30_000.0 * signal).astype(np.uint16)[None, None]
        images.append(
            Image.from_pixels(pixels, header, {"SequenceDescription": name, "InversionTime": f"{time:g}"})
        )
    return images


def native_and_post(slices=1, post_slices=None):
    """Series 1 is native, series 3 post-contrast."""
    native = [
        image for each in range(slices) for image in molli(NATIVE, 1, slice_=each, name="T1map_MOLLI_native")
    ]
    post = [
        image
        for each in range(slices if post_slices is None else post_slices)
        for image in molli(POST, 3, slice_=each, name="T1map_MOLLI_post-contrast", series_clock=1)
    ]
    return native + post


def at_places(images, series, along):
    """The images as a series of its own at each place, mm towards the apex."""
    for number, place in enumerate(along):
        for image in images:
            position = (0.8 * place + 1.0, -0.6 * place + 1.0, 1.0)
            stamp = image.header.acquisition_time_stamp + 9000 * number
            moved = {"position": position, "image_series_index": series + number}
            header = replace(image.header, acquisition_time_stamp=stamp, **moved, **AXES)
            yield Image(header, image.attributes, image.data)
