"""Pixels that are not plain magnitudes: signed, phase-sensitive (REAL), complex, with slope and offset."""

import base64
import json

import numpy as np
import pytest

from inline.data.flags import Flag

from .outcomes import PHANTOM, expect, never_silently_wrong, no_map, only_map, right
from .phantom import MOLLI_TIMES, T2_TIMES, whole
from .wire import COMPLEX, IMAGINARY, MAGNITUDE, PHASE, REAL, described, header_xml, series

LIMITS = header_xml(limits={"set": 7})
MAGNITUDES, SIGNED = PHANTOM.molli(), PHANTOM.molli(signed=True)
RAMP = np.exp(1j * np.linspace(0.0, 6.0, PHANTOM.columns))
"""Phase over the image, as coils leave it."""


def short(images):
    return np.round(images).astype(np.int16)


def stream(server, stack, kind=MAGNITUDE, **more):
    attributes = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES, **more)
    return server.exchange(series(stack, attributes, image_type=kind), LIMITS)


def dicom_scale(slope, intercept):
    content = {"00281053": {"vr": "DS", "Value": [slope]}, "00281052": {"vr": "DS", "Value": [intercept]}}
    return {"DicomJson": base64.b64encode(json.dumps(content).encode()).decode()}


@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f4", "f8"])
def test_magnitudes_of_any_type(server, kind):
    stack = MAGNITUDES if kind[0] == "f" else np.round(MAGNITUDES)
    only_map(stream(server, stack.astype(f"<{kind}")))


def test_magnitudes_a_little_below_zero(server):
    only_map(stream(server, short(np.where(MAGNITUDES < 5, -3, MAGNITUDES))))


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_signed_values_that_the_header_calls_magnitudes(server, kind):
    only_map(stream(server, np.round(SIGNED).astype(kind)))


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_real(server, kind):
    only_map(stream(server, np.round(SIGNED).astype(kind), REAL))


def test_real_of_the_opposite_polarity(server):
    """The sign of a phase-sensitive image depends on its reference: fitted all the same, or flagged."""
    never_silently_wrong(stream(server, short(-SIGNED), REAL))


@pytest.mark.parametrize("role", [{}, {"GADGETRON_DataRole": "PSIR"}], ids=["no role", "PSIR"])
def test_real_with_an_offset(server, role):
    only_map(stream(server, whole(SIGNED + 4096), REAL, GADGETRON_ScaleOffset=4096.0, **role))


def test_signed_with_an_offset_that_the_header_calls_magnitudes(server):
    only_map(stream(server, whole(SIGNED + 4096), GADGETRON_ScaleOffset=4096.0))


@pytest.mark.parametrize(
    "stated",
    [{"RescaleSlope": 1, "RescaleIntercept": -4096}, dicom_scale(1, -4096)],
    ids=["attributes", "DicomJson"],
)
@pytest.mark.parametrize(
    ("stack", "kind"), [(MAGNITUDES, MAGNITUDE), (SIGNED, REAL)], ids=["magnitude", "real"]
)
def test_rescale_intercept(server, stack, kind, stated):
    only_map(stream(server, whole(stack + 4096), kind, **stated))


@pytest.mark.parametrize(
    ("stack", "stated"),
    [
        (MAGNITUDES / 2, {"RescaleSlope": 2}),
        (MAGNITUDES / 2, {"RescaleSlope": 2, "RescaleIntercept": 0}),
        (MAGNITUDES * 4 + 100, {"GADGETRON_ScaleRatio": 4.0, "GADGETRON_ScaleOffset": 100.0}),
        ((MAGNITUDES - 10) / 0.5, dicom_scale(0.5, 10)),
    ],
    ids=["slope", "slope and no intercept", "Gadgetron's ratio and offset", "DicomJson"],
)
def test_a_scale_that_all_images_state(server, stack, stated):
    only_map(stream(server, np.float32(stack), **stated))


@pytest.mark.parametrize(
    "attributes",
    [
        lambda factor: {"RescaleSlope": factor},
        lambda factor: {"GADGETRON_ScaleRatio": 1 / factor, "GADGETRON_ScaleOffset": 0.0},
        lambda factor: dicom_scale(factor, 0),
    ],
    ids=["RescaleSlope", "GADGETRON_ScaleRatio", "DicomJson"],
)
@pytest.mark.parametrize("every", [True, False], ids=["on all images", "on one image"])
def test_one_image_is_scaled_and_says_so(server, attributes, every):
    factors = [2.0 if k == 3 else 1.0 for k in range(8)]
    own = [
        {"SequenceDescription": "T1map_MOLLI", "InversionTime": time}
        | (attributes(factor) if every or factor != 1 else {})
        for time, factor in zip(MOLLI_TIMES, factors, strict=True)
    ]
    stack = whole(MAGNITUDES / np.array(factors)[:, None, None])
    only_map(server.exchange(series(stack, own), LIMITS))


def test_one_image_is_scaled_and_does_not_say_so(server):
    """No fit can be right; it must not end the slice or the connection."""
    stack = np.array(MAGNITUDES)
    stack[3] /= 2
    reply = stream(server, whole(stack))
    expect(len(reply.results) == 1, "one result is right", reply)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [(np.complex64, COMPLEX), (np.complex64, MAGNITUDE), (np.complex128, 0)],
    ids=["complex", "called magnitude", "double, called nothing"],
)
def test_complex(server, dtype, kind):
    only_map(stream(server, (SIGNED * RAMP).astype(dtype), kind))


def test_t2_with_slope_and_intercept(server):
    attributes = described("T2map", "T2PrepDuration", T2_TIMES, RescaleSlope=0.5, RescaleIntercept=-20)
    stack = whole((PHANTOM.t2prep() + 20) * 2)
    only_map(server.exchange(series(stack, attributes), header_xml(limits={"set": 2})), "T2")


@pytest.mark.parametrize("kind", [PHASE, IMAGINARY], ids=["phase", "imaginary"])
def test_phase_and_imaginary_images_are_not_fitted(server, kind):
    no_map(stream(server, short(np.angle(SIGNED * RAMP) * 1000), kind))


def test_phase_images_beside_magnitudes(server):
    attributes = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES)
    magnitudes = series(whole(MAGNITUDES), attributes)
    phases = series(short(np.angle(SIGNED * RAMP) * 1000), attributes, image_type=PHASE)
    pairs = [image for pair in zip(magnitudes, phases, strict=True) for image in pair]
    only_map(server.exchange(pairs, LIMITS))


@pytest.mark.parametrize("index", [1, 2], ids=["same series", "series of their own"])
def test_phase_sensitive_images_beside_magnitudes(server, index):
    attributes = described("T1map_MOLLI", "InversionTime", MOLLI_TIMES)
    magnitudes = series(whole(MAGNITUDES), attributes)
    reals = series(short(SIGNED), attributes, image_type=REAL, image_series_index=index)
    pairs = [image for pair in zip(magnitudes, reals, strict=True) for image in pair]
    reply = server.exchange(pairs, LIMITS)
    expect(1 <= len(reply.results) <= 2, "one or two results are right", reply)
    for result in reply.results:
        right(result, reply, may={Flag.DUPLICATE_IMAGES})
