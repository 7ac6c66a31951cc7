"""MRD on the wire, written a second time: packer, raw socket client and reader of what comes back.

Nothing here uses myostream's code. A fault that its encoder and decoder share cannot hide.
"""

import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("image_type", "<u2"),
        ("image_index", "<u2"),
        ("image_series_index", "<u2"),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
"""Image header of MRD version 1, 198 bytes, with the member names of the HDF5 files."""
assert HEADER.itemsize == 198

PIXELS = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}
MAGNITUDE, PHASE, REAL, IMAGINARY, COMPLEX = 1, 2, 3, 4, 5
CLOSE = struct.pack("<H", 4)

# Directions of a usual short-axis slice (LPS): rows run from the septum to the lateral wall.
_apex = np.array([0.62, -0.60, -0.50]) / np.linalg.norm([0.62, -0.60, -0.50])
_right = np.array([1.0, 1.0, 0.0]) - np.array([1.0, 1.0, 0.0]) @ _apex * _apex
READ = _right / np.linalg.norm(_right)
DOWN = np.cross(READ, _apex)
TO_APEX = _apex
NORMAL = np.cross(READ, DOWN)
"""Slice direction; of the right-handed frame that scanners state, and so towards the base here."""


class WireImage(NamedTuple):
    """The three parts of an image message."""

    head: bytes
    attributes: bytes
    data: bytes

    def __repr__(self):
        header = self.header
        return f"<image {header['image_index']} of series {header['image_series_index']}>"

    @property
    def header(self):
        return np.frombuffer(self.head, HEADER)[0]

    @property
    def pixels(self):
        """Pixels as they are stored (channels, partitions, rows, columns)."""
        columns, rows, partitions = self.header["matrix_size"]
        shape = (self.header["channels"], partitions, rows, columns)
        return np.frombuffer(self.data, PIXELS[int(self.header["data_type"])]).reshape(shape)


def image(pixels, attributes=None, *, spacing=(1.5, 1.5), **fields):
    """An image of pixels (rows, columns); ``attributes`` is a dict, bytes as they are, or None for none."""
    pixels = np.ascontiguousarray(pixels)
    text = attributes if isinstance(attributes, bytes) else meta_xml(attributes) if attributes else b""
    rows, columns = pixels.shape
    header = np.zeros((), HEADER)
    given = {
        "version": 1,
        "data_type": next(code for code, kind in PIXELS.items() if np.dtype(kind) == pixels.dtype),
        "measurement_uid": 31,
        "matrix_size": (columns, rows, 1),
        "field_of_view": (columns * spacing[0], rows * spacing[1], 8.0),
        "channels": 1,
        "read_dir": READ,
        "phase_dir": DOWN,
        "slice_dir": NORMAL,
        "image_type": MAGNITUDE,
        "image_index": 1,
        "image_series_index": 1,
        "attribute_string_len": len(text),
        **fields,
    }
    for name, value in given.items():
        header[name] = value
    return WireImage(header.tobytes(), text, pixels.tobytes())


def series(stack, attributes=None, *, counter="set", **fields):
    """Images of one series, numbered by a counter of the header (None: by the image index alone).

    ``attributes`` is one dict (or bytes, or None) for all, or a list with one for each image.
    """
    each = attributes if isinstance(attributes, list) else [attributes] * len(stack)
    return [
        image(pixels, own, **{"image_index": k + 1, **({counter: k} if counter else {}), **fields})
        for k, (pixels, own) in enumerate(zip(stack, each, strict=True))
    ]


def described(description, key, times, **more):
    """Attributes of each image of a series: its description and its time."""
    return [{"SequenceDescription": description, key: time, **more} for time in times]


def meta_xml(meta, declaration='<?xml version="1.0"?>\n'):
    """The attributes as the ismrmrd libraries write them."""
    document = [declaration, "<ismrmrdMeta>"]
    for name, values in meta.items():
        listed = values if isinstance(values, list | tuple) else [values]
        items = "".join(f"<value>{escape(str(value))}</value>" for value in listed)
        document.append(f"<meta><name>{name}</name>{items}</meta>")
    return "".join([*document, "</ismrmrdMeta>"]).encode()


def header_xml(
    protocol="", *, ti=(), te=(), limits=None, doubles=None, encodings=1, declaration='<?xml version="1.0"?>'
):
    """An MRD header. ``limits`` gives the largest value of counters, for each encoding the same or a list."""
    each = limits if isinstance(limits, list) else [limits or {}] * encodings
    encoding = "".join(
        "<encoding><encodingLimits>"
        + "".join(
            f"<{name}><minimum>0</minimum><maximum>{last}</maximum><center>0</center></{name}>"
            for name, last in ranges.items()
        )
        + "</encodingLimits><trajectory>cartesian</trajectory></encoding>"
        for ranges in each
    )
    times = "".join(f"<TI>{time}</TI>" for time in ti) + "".join(f"<TE>{time}</TE>" for time in te)
    parameters = "".join(
        f"<userParameterDouble><name>{name}</name><value>{value}</value></userParameterDouble>"
        for name, value in (doubles or {}).items()
    )
    return (
        f'{declaration}<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><measurementInformation>'
        f"<patientPosition>HFS</patientPosition><protocolName>{protocol}</protocolName>"
        f"</measurementInformation>{encoding}<sequenceParameters>{times}</sequenceParameters>"
        f"<userParameters>{parameters}</userParameters></ismrmrdHeader>"
    )


def configuration_file(name="mapping"):
    """Message 1; ``name`` may be bytes."""
    text = name if isinstance(name, bytes) else name.encode()
    return struct.pack("<H", 1) + text.ljust(1024, b"\0")


def text_message(number, text, *, nul=True):
    """Message 2 (configuration), 3 (header) or 5 (text); clients end them with NUL, Gadgetron does not."""
    content = (text if isinstance(text, bytes) else text.encode()) + (b"\0" if nul else b"")
    return struct.pack("<HI", number, len(content)) + content


def image_message(sent):
    length = struct.pack("<Q", len(sent.attributes))
    return struct.pack("<H", 1022) + sent.head + length + sent.attributes + sent.data


@dataclass(repr=False)
class Result:
    """The result of one slice: record, map in ms, and all attributes of the map."""

    record: dict
    values: np.ndarray
    attributes: dict

    @property
    def flags(self):
        return set(self.record["flags"])

    @property
    def ring(self):
        """Median over the myocardium that myostream found, or None."""
        return next(
            (region["median"] for region in self.record["regions"] if region["name"] == "global"), None
        )

    def median(self, pixels):
        return float(np.median(self.values[pixels])) if self.values.shape == pixels.shape else float("nan")


@dataclass(repr=False)
class Reply:
    """Everything that came back on a connection."""

    sent: list
    images: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    closed: bool = False
    broken: str = ""

    @cached_property
    def results(self):
        found = []
        for one in self.images:
            if b"MYOSTREAM_RESULT" not in one.attributes:
                continue
            meta = read_meta(one.attributes)
            scale = float(meta["GADGETRON_ScaleRatio"][0])
            offset = float(meta.get("GADGETRON_ScaleOffset", ["0"])[0])
            values = (one.pixels[0, 0].astype(float) - offset) / scale
            found.append(Result(json.loads(meta["MYOSTREAM_RESULT"][0]), values, meta))
        return sorted(found, key=lambda each: (each.record["slice_index"], each.record["quantity"]))

    @property
    def lost(self):
        """Number of images that did not come back bit for bit."""
        return (Counter(self.sent) - Counter(self.images)).total()

    @property
    def added(self):
        """Images that were not sent."""
        return list((Counter(self.images) - Counter(self.sent)).elements())

    def says(self, pattern):
        """Whether a text, an error or a note of a result matches, upper and lower case alike."""
        said = list(self.texts)
        for result in self.results:
            said += [result.record["error"], *result.record["notes"]]
        return any(re.search(pattern, each, re.IGNORECASE) for each in said)

    def __repr__(self):
        return f"<reply of {len(self.images)} images and {len(self.texts)} texts>"

    def __str__(self):
        lines = [
            f"  {len(self.images)} images back, of {len(self.sent)} sent {self.lost} not bit for bit; "
            f"close message {self.closed}; stream {self.broken or 'in order'}"
        ]
        lines += [f"  text: {text}" for text in self.texts]
        for result in self.results:
            record = result.record
            lines.append(
                f"  result: series {record['series_index']} slice {record['slice_index']} "
                f"{record['quantity']} {record['description']!r} scanner's={record['scanner_made_map']} "
                f"motion-corrected={record['motion_corrected']} "
                f"spacing={record['pixel_spacing_mm']} ring={result.ring} "
                f"values={_range(result.values)} flags={record['flags']} notes={record['notes']} "
                f"error={record['error']!r}"
            )
        return "\n".join(lines)


def _range(values):
    return "all 0" if not values.any() else f"{values.min():.1f} to {values.max():.1f}"


def read_meta(attributes):
    """Values of each attribute of an image that came back; its XML must be well-formed."""
    root = ElementTree.fromstring(attributes.rstrip(b"\0"))
    return {
        entry.findtext("name"): [value.text or "" for value in entry.findall("value")]
        for entry in root.findall("meta")
    }


def parse(data, sent=()):
    """What a stream of bytes holds, as far as it can be read."""
    reply = Reply(list(sent))
    place = 0
    while place + 2 <= len(data):
        (number,) = struct.unpack_from("<H", data, place)
        if number == 4:
            reply.closed = True
            place += 2
        elif number in (2, 3, 5):
            if place + 6 > len(data):
                break
            (size,) = struct.unpack_from("<I", data, place + 2)
            if place + 6 + size > len(data):
                break
            reply.texts.append(data[place + 6 : place + 6 + size].rstrip(b"\0").decode("utf-8", "replace"))
            place += 6 + size
        elif number == 1022:
            if place + 208 > len(data):
                break
            head = data[place + 2 : place + 200]
            (size,) = struct.unpack_from("<Q", data, place + 200)
            header = np.frombuffer(head, HEADER)[0]
            count = int(np.prod(header["matrix_size"].astype(np.int64))) * int(header["channels"])
            first, length = place + 208 + size, count * np.dtype(PIXELS[int(header["data_type"])]).itemsize
            if first + length > len(data):
                break
            reply.images.append(WireImage(head, data[place + 208 : first], data[first : first + length]))
            place = first + length
        else:
            reply.broken = f"broken: message {number} at byte {place}"
            return reply
    if place < len(data):
        reply.broken = f"broken: {len(data) - place} bytes of an unfinished message at the end"
    return reply


class Conversation:
    """One connection: messages go out, and a thread takes what comes back."""

    def __init__(self, connection):
        self._connection = connection
        self._received = bytearray()
        self._sent = []
        self._failure = ""
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def to(cls, port):
        return cls(socket.create_connection(("127.0.0.1", port), timeout=60))

    def _read(self):
        try:
            while data := self._connection.recv(1 << 20):
                self._received += data
        except OSError as error:
            self._failure = repr(error)
        self._ended.set()

    def send(self, *messages):
        """Send images and other messages; a peer that has hung up is noticed in the reply."""
        for message in messages:
            if isinstance(message, WireImage):
                self._sent.append(message)
            try:
                self._connection.sendall(
                    image_message(message) if isinstance(message, WireImage) else message
                )
            except OSError as error:
                self._failure = self._failure or repr(error)

    @property
    def reply(self):
        """What has come back so far."""
        reply = parse(bytes(self._received), self._sent)
        if self._failure:
            reply.broken = f"broken: {self._failure}"
        return reply

    def wait_for(self, condition, seconds):
        """Whether a condition on the reply is met within some seconds."""
        end = time.monotonic() + seconds
        while not condition(self.reply):
            if time.monotonic() > end or self._ended.is_set():
                return condition(self.reply)
            time.sleep(0.05)
        return True

    def finish(self, *, close=True, shut=False, seconds=60.0):
        """End the stream and return all that came back."""
        if close:
            self.send(CLOSE)
        if shut:
            self._connection.shutdown(socket.SHUT_WR)
        if not self._ended.wait(seconds):
            self._failure = f"no end within {seconds:g} s"
        reply = self.reply
        self._connection.close()
        return reply

    def reset(self):
        """Break the connection as a killed process does."""
        # While the reader waits for data, closing the socket would reset nothing.
        self._connection.shutdown(socket.SHUT_RD)
        self._ended.wait(10.0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()
