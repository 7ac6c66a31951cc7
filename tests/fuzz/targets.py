"""Fuzz targets: one function of bytes for each reader of foreign input and for each computation on it.

A target raises where a property does not hold: another exception than the documented ones, an output without
bound, a number that is not finite, an input that was changed. Hypothesis (``test_targets.py``) and atheris
(``run.py``) call the same functions.
"""

from __future__ import annotations

import base64
import os
import resource
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from inline.assembly import dicom_json, minihead
from inline.assembly.assembled import Failed
from inline.assembly.assembler import SeriesAssembler
from inline.assembly.image_metadata import read_metadata
from inline.contouring.segment import contour_slice
from inline.data.errors import ConfigurationError, ProtocolError
from inline.data.series import MappingSeries
from inline.dicom.read import open_dicom
from inline.mrd.files import FileError, ImageFile
from inline.mrd.header import MeasurementHeader, parse_header
from inline.mrd.image_header import DATA_TYPES, ImageHeader
from inline.mrd.messages import Acquisition, Close, ConfigFile, Header, Image, Waveform
from inline.mrd.meta import format_meta, parse_meta
from inline.mrd.protocol import Decoder, Limits, encode
from inline.serving.parameters import PARAMETERS, read_parameters, with_parameters
from inline.settings import AssemblySettings, Settings, load_settings
from model.evaluation.contours_in.outlines import MapImage, PixelGrid
from model.evaluation.errors import CaseError
from model.evaluation.labels import read_labels
from model.frame import FRAME_PIXELS, Frame
from model.relaxometry import molli, t2prep

LIMITS = Limits(text_bytes=1 << 14, attribute_bytes=1 << 13, pixel_bytes=1 << 16, raw_bytes=1 << 14)
_SETTINGS = Settings()
_LIBRARY_S = 2
_MAP = MapImage(
    Path("map.dcm"),
    (30, 24),
    frozenset(["2.25.10", "2.25.11"]),
    PixelGrid((-100.0, 40.0, 20.0), (0.8, 0.6, 0.0), (0.0, 0.0, -1.0), (1.5, 1.25)),
)
_SCRATCH = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())


class Draw:
    """Numbers and texts from bytes; zeros once these are used up."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def take(self, count: int) -> bytes:
        taken, self._left = self._left[:count], self._left[count:]
        return taken.ljust(count, b"\0")

    def rest(self) -> bytes:
        return self.take(len(self._left))

    def below(self, bound: int) -> int:
        return int.from_bytes(self.take(1), "little") % bound

    def choose(self, choices):
        return choices[self.below(len(choices))]

    def floats(self, shape) -> np.ndarray:
        """Any 32-bit floats, NaN and infinity among them: the rest of the bytes, repeated."""
        raw = self.rest()
        values = np.frombuffer(raw.ljust(max(len(raw) + -len(raw) % 4, 4), b"\0"), "<f4")
        return np.resize(values, shape).astype(np.float32)

    def fields(self, count: int, size: int) -> np.ndarray:
        """Smooth fields ``(count, size, size)`` between 0 and 1, from 8 x 8 bytes each."""
        coarse = np.frombuffer(self.take(64 * count), np.uint8).reshape(count, 8, 8) / np.float32(255.0)
        return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in coarse])


# Readers of what peers send


def decoder(data: bytes) -> None:
    """Bytes to messages: any split gives the same ones, and they are the bytes again."""
    whole, end, left = _decoded(data, [len(data)])
    cuts = sorted({len(data) // 3, len(data) // 2, max(len(data) - 1, 0), len(data)})
    assert _decoded(data, cuts) == (whole, end, left)
    at = 0
    for message in whole:
        if isinstance(message, Image | Acquisition | Waveform | Close):
            again = encode(message)
            assert data[at : at + len(again)] == again
            at += len(again)
        elif isinstance(message, ConfigFile):
            at += 1026
        else:
            at += 6 + int.from_bytes(data[at + 2 : at + 6], "little")
        if isinstance(message, Image):
            assert message.pixels.nbytes == len(message.data) <= LIMITS.pixel_bytes


def _short(error: Exception, most: int = 400) -> None:
    """An error message is one line, whatever it is about."""
    assert len(str(error)) < most


def _decoded(data: bytes, cuts: list[int]):
    reader, messages, last = Decoder(LIMITS), [], 0
    for cut in cuts:
        try:
            messages.extend(reader.receive(data[last:cut]))
        except ProtocolError:
            return messages, "refused", None
        last = cut
    return messages, "taken", reader.at_boundary


def header(data: bytes) -> None:
    """An XML header: read, or refused; nothing of it is longer than it was."""
    text = Header.from_bytes(data).xml
    assert len(text) <= len(data)
    try:
        found = parse_header(text)
    except ProtocolError as error:
        _short(error)
        return
    lengths = [
        len(each) for each in (found.protocol_name, found.series_description, *found.parameters.values())
    ]
    assert sum(lengths) <= len(text)
    assert np.isfinite(found.field_strength)
    assert all(0 <= value < 10**9 for value in found.maxima.values())


def attributes(data: bytes) -> None:
    """An attribute string: read, or refused; what was read can be written and read again."""
    try:
        meta = parse_meta(data)
    except ProtocolError as error:
        _short(error)
    else:
        assert sum(len(value) for values in meta.values() for value in values) <= 2 * len(data)
        kept = {name: values for name, values in meta.items() if values}
        again = parse_meta(format_meta(kept))
        assert set(again) <= set(kept)
    _metadata(data)


def _metadata(attribute_string: bytes) -> None:
    """All that is concluded from an image with these attributes."""
    head = ImageHeader(data_type=1, matrix_size=(8, 8, 1), attribute_string_len=len(attribute_string))
    image = Image(head, attribute_string, bytes(128))
    before = encode(image)
    read_metadata(image, MeasurementHeader())
    assert encode(image) == before


def mini_head(data: bytes) -> None:
    """Siemens' IceMiniHead: values are parts of the text, and few."""
    text = data.decode("latin-1")
    for name in ("TI", "ImageType", "SeriesDescription"):
        assert sum(map(len, minihead.values(text, name))) <= len(text)
    encoded = base64.b64encode(data).decode()
    assert minihead.decode(encoded) == text
    minihead.decode(text)
    _metadata(format_meta({"SequenceDescription": "T1map_MOLLI", "IceMiniHead": encoded}))


def dicom(data: bytes) -> None:
    """DICOM JSON: read or passed over, whatever it is and however deep."""
    header = dicom_json.parse(base64.b64encode(data).decode())
    dicom_json.parse(data.decode("latin-1"))
    for name in ("SeriesDescription", "InversionTime", "RescaleSlope"):
        assert all(isinstance(text, str) for text in header.texts(name))
        for count in (1, 2):
            found = header.numbers(name, count)
            assert found is None or (len(found) == count and np.isfinite(found).all())
    plane = dicom_json.plane(header)
    assert plane is None or np.isfinite(plane.spacing).all()
    _metadata(format_meta({"DicomJson": base64.b64encode(data).decode()}))


def parameters(data: bytes) -> None:
    """JSON parameters of a client: set, refused or reported, and never outside the listed places."""
    try:
        given = read_parameters(data.decode("utf-8", "replace"))
    except ProtocolError as error:
        _short(error)
        return
    before = _SETTINGS.model_dump()
    settings, problems = with_parameters(_SETTINGS, given)
    assert _SETTINGS.model_dump() == before
    assert len(problems) <= len(PARAMETERS) + 1
    assert all(len(problem) < 2000 for problem in problems)
    after = settings.model_dump()
    for section, name in (("server", None), ("regions", None), ("emit", "zmq")):
        assert (
            after[section] == before[section]
            if name is None
            else after[section][name] == before[section][name]
        )
    assert Settings.model_validate(after) == settings


def settings_file(data: bytes) -> None:
    """A settings file: valid, or refused in a message."""
    with _File(data, ".toml") as file:
        try:
            settings = load_settings(file)
        except ConfigurationError as error:
            _short(error, 4000)
            return
    assert Settings.model_validate(settings.model_dump()) == settings


def hdf5(data: bytes) -> None:
    """An HDF5 file: images, or a message; no image larger than what its header states.

    It is read in a process of its own. On a damaged file the HDF5 library itself may loop without end or
    crash, which passes here; an exception does not.
    """
    with _File(data, ".h5") as file:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (_LIBRARY_S, _LIBRARY_S))
                _read_images(file)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "see the traceback on standard error"


def _read_images(file: Path) -> None:
    try:
        with ImageFile(file) as opened:
            assert isinstance(opened.header, str)
            for _, image in zip(range(16), opened.images(), strict=False):
                size = DATA_TYPES[image.header.data_type].itemsize * image.header.pixels
                assert len(image.data) == size
    except FileError as error:
        _short(error)


def dicom_file(data: bytes) -> None:
    """A DICOM file: an examination within its bounds, or a problem that names the file."""
    with _File(data, ".dcm") as file:
        opened = open_dicom([file])
        for examination in opened.examinations():
            assert examination.images <= 1 << 16
            for each in examination.series:
                if isinstance(each, Failed):
                    assert 0 < len(each.error) < 2000
                elif isinstance(each.series, MappingSeries):
                    assert np.isfinite(each.series.times_ms).all()
        for problem in opened.problems:
            assert str(file) in problem
            assert len(problem) < 1000


def contour_file(data: bytes) -> None:
    """A reader's file of any kind, beside a map of 30 x 24 pixels: labels, or a message."""
    for suffix in (".con", ".cvi42wsx", ".json", ".dcm"):
        with _File(data, suffix) as file:
            try:
                labels = read_labels(file, _MAP)
            except CaseError as error:
                _short(error, 2000)
            else:
                assert labels is None or (labels.shape == _MAP.shape and set(np.unique(labels)) <= {0, 1, 2})


class _File:
    """A file with these bytes, for as long as a target needs it."""

    def __init__(self, data: bytes, suffix: str) -> None:
        self._path = _SCRATCH / f"myostream-fuzz-{os.getpid()}{suffix}"
        self._path.write_bytes(data)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_) -> None:
        self._path.unlink()


# Computations on what peers send


def contours(data: bytes) -> None:
    """The search on arbitrary output: contours that are finite and closed, or a reason; finite points."""
    draw = Draw(data)
    mode = draw.below(4)
    spacing = (0.5 + draw.below(64) / 16, 0.5 + draw.below(64) / 16)
    frame = Frame((32 + draw.below(200), 32 + draw.below(200)), spacing)
    if mode == 0:
        probabilities = draw.floats((3, 56, 56)).repeat(4, axis=1).repeat(4, axis=2)
    else:
        probabilities = draw.fields(3, FRAME_PIXELS)
        if mode == 1:
            probabilities /= np.maximum(probabilities.sum(axis=0), 1e-6)
        elif mode == 2:
            classes = probabilities.argmax(axis=0)
            probabilities = np.stack([(classes == k).astype(np.float32) for k in range(3)])
    output = np.concatenate([probabilities, probabilities[1:].swapaxes(1, 2)]) if mode else probabilities
    before = output.tobytes()
    labels, found, flags, insertions, *_ = contour_slice(output, frame)
    assert output.tobytes() == before
    for point in (insertions.anterior, insertions.inferior):
        assert point is None or np.isfinite([point.x, point.y, point.confidence]).all()
    assert labels.shape == frame.shape
    assert set(np.unique(labels)) <= {0, 1, 2}
    if found is None:
        assert flags
        assert not labels.any()
    else:
        for points in (found.endo, found.epi):
            assert points.shape[1] == 2
            assert len(points) >= 3
            assert np.isfinite(points).all()
            assert np.abs(points).max() < 10 * max(frame.shape) * max(1.0, *(1.5 / s for s in spacing))


_EXTREME = (0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 1e-38, 3.4e38, -3.4e38, 1.0, 65535.0, 1e-3)


def _stack(draw: Draw, count: int) -> np.ndarray:
    """Images ``(count, 6, 7)``: any floats, small numbers, or usual signals with extreme ones among them."""
    mode = draw.below(3)
    if mode == 0:
        return draw.floats((count, 6, 7))
    raw = np.frombuffer(draw.take(count * 42), np.uint8).reshape(count, 6, 7).astype(np.float32)
    if mode == 1:
        for _ in range(draw.below(8)):
            raw[draw.below(count), draw.below(6), draw.below(7)] = draw.choose(_EXTREME)
        return raw
    return raw * np.float32(draw.choose((1e-44, 1e-30, 1e-3, 16.0, 1e30, 1e36)))


def _times(draw: Draw, count: int) -> np.ndarray:
    """Times that a series may have: finite, not negative, not all the same."""
    times = np.array([draw.below(256) * draw.choose((0.1, 1.0, 16.0, 40.0)) for _ in range(count)])
    times[0] = times.max() + 1.0
    return times


def t1_fit(data: bytes) -> None:
    """The T1 fit on arbitrary pixels: a T1 in its range, or none."""
    draw = Draw(data)
    count, signed = 4 + draw.below(8), draw.below(2) == 1
    times = _times(draw, count)
    _fitted(molli.molli_map, _stack(draw, count), times, (0.0, molli.LONGEST_MS), signed=signed)


def t2_fit(data: bytes) -> None:
    """The T2 fit on arbitrary pixels: a T2 in its range, or none."""
    draw = Draw(data)
    count = 2 + draw.below(7)
    times = _times(draw, count)
    _fitted(t2prep.t2_map, _stack(draw, count), times, (0.0, t2prep.LONGEST_MS * 1.001))


def _fitted(fit, images, times, bounds, **more) -> None:
    before = images.tobytes(), times.tobytes()
    found = fit(images, times, **more)
    assert (images.tobytes(), times.tobytes()) == before
    for values in (found.values_ms, found.sd_ms, found.r_squared):
        assert values.shape == images.shape[1:]
        assert np.isfinite(values).all()
        assert not values[found.failed].any()
    assert (found.values_ms >= bounds[0]).all()
    assert (found.values_ms <= bounds[1]).all()
    assert ((found.r_squared >= 0) & (found.r_squared <= 1)).all()
    assert found.failed[~np.isfinite(images).all(axis=0)].all()


_NAMES = ("T1map_MOLLI", "T2map_T2prep", "SASHA", "localizer", "", "T1_MOLLI_MOCO", "PSIR", "T1map_MOLLI_T1")
_TIME_NAMES = (
    "InversionTime",
    "T2PrepDuration",
    "GADGETRON_TI",
    "TI",
    "ImageComments",
    "IceMiniHead",
    "DicomJson",
)
_HEADERS = (
    MeasurementHeader(),
    MeasurementHeader(maxima={"set": 7, "slice": 2}, protocol_name="MOLLI"),
    MeasurementHeader(inversion_times=("0.1", "x", "0.3", "", "900", "inf", "-5", "0.2")),
    MeasurementHeader(maxima={"contrast": 999_999_999}, echo_times=("0", "25", "55")),
    MeasurementHeader(parameters={f"T2PrepDuration_{k}": time for k, time in enumerate(("0", "nan", "55"))}),
)


def _model(draw: Draw) -> Callable[[int], Image]:
    """Images of a series by their number: a counter runs, and for many a time."""
    data_type = 1 + draw.below(8)
    columns, rows = draw.choose((8, 8, 8, 9, 3, 16)), draw.choose((8, 8, 8, 12, 0))
    meta = {}
    if name := draw.choose(_NAMES):
        meta["SequenceDescription"] = name
    for _ in range(draw.below(3)):
        number = str(100 * draw.below(40))
        meta[draw.choose(_TIME_NAMES)] = draw.choose((number, number, number, draw.take(6).decode("latin-1")))
    if draw.below(6) == 5:
        meta["RescaleSlope"] = draw.choose(("0", "1e-300", "nan", "1e6", "-3", "0.1"))
        meta["RescaleIntercept"] = draw.choose(("0", "-4096", "inf", "1e300"))
    triple = (lambda: tuple(np.frombuffer(draw.take(12), "<f4").tolist())) if draw.below(8) == 7 else None
    header = ImageHeader(
        image_type=draw.choose((1, 1, 1, 3, 5, 2, 0, 65535)),
        field_of_view=triple() if triple else (12.0, 12.0, 8.0),
        position=triple() if triple else (0.0, 0.0, float(draw.below(3))),
        read_dir=triple() if triple else (1.0, 0.0, 0.0),
        phase_dir=triple() if triple else (0.0, 1.0, 0.0),
        slice_dir=triple() if triple else (0.0, 0.0, 1.0),
        slice=draw.choose((0, 0, 1, 65535)),
        set=draw.below(12),
        contrast=draw.choose((0, 0, 1, 65535)),
        repetition=draw.choose((0, 0, 1)),
        image_index=draw.below(16),
        image_series_index=draw.choose((0, 1, 1, 2, 65535)),
        acquisition_time_stamp=draw.choose((0, 1, 4_294_967_295)),
    )  # fmt: skip
    size = rows * columns * DATA_TYPES[data_type].itemsize
    raw = draw.take(16) or b"\0"
    pixels = np.frombuffer((raw * (size // 16 + 1))[:size], DATA_TYPES[data_type]).reshape(
        1, 1, rows, columns
    )
    runs = draw.choose(("InversionTime", "InversionTime", "T2PrepDuration", ""))
    step = draw.choose((80, 400))

    def image(number: int) -> Image:
        counted = replace(header, set=(header.set + number) % 65536)
        return Image.from_pixels(pixels, counted, {**meta, runs: 100 + step * number} if runs else meta)

    return image


def assembler(data: bytes) -> None:
    """The assembly on arbitrary images: no exception, an account of every image, usable series."""
    draw = Draw(data)
    measurement = draw.choose(_HEADERS)
    settings = AssemblySettings(
        open_images=16,
        images=draw.choose((None, None, 4)),
        motion=draw.choose(("prefer-corrected", "both", "corrected", "uncorrected")),
    )
    assembly = SeriesAssembler(measurement, settings)
    ready, now, count = [], 0.0, 1 + draw.below(28)
    model = _model(draw)
    for number in range(count):
        if draw.below(8) == 7:
            model = _model(draw)
        image = model(number)
        before = encode(image)
        ready += assembly.add(image, now)
        assert encode(image) == before
        now += draw.choose((0.0, 0.1, 2.0, 7.0))
        if draw.below(4) == 0:
            ready += assembly.expire(now)
        assert assembly.account().images == number + 1
    ready += assembly.finish(early=draw.below(2) == 1)
    account = assembly.account()
    assert account.used + sum(account.unused.values()) == account.images == count
    assert account.series == len(ready) <= count
    for each in ready:
        assert sum(map(len, each.notes)) < 8000
        if isinstance(each, Failed):
            assert 0 < len(each.error) < 2000
        elif isinstance(each.series, MappingSeries):
            assert np.isfinite(each.series.times_ms).all()
            assert len(each.series.images) == len(each.series.times_ms) <= count
            fit = molli.molli_map if each.quantity == "T1" else t2prep.t2_map
            values = fit(each.series.images, each.series.times_ms).values_ms
            assert np.isfinite(values).all()


_READERS = (
    decoder, header, attributes, mini_head, dicom, parameters, settings_file, hdf5, dicom_file, contour_file,
)  # fmt: skip
_COMPUTATIONS = (contours, t1_fit, t2_fit, assembler)
TARGETS: dict[str, Callable[[bytes], None]] = {each.__name__: each for each in (*_READERS, *_COMPUTATIONS)}

torch.set_num_threads(1)
