"""Attacks of broken and hostile clients on a live server; each returns an observation."""

from __future__ import annotations

import base64
import contextlib
import itertools
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import zmq
from numpy.typing import NDArray

from bench.watched import RESULTS_FROM, Address, ClientTally, Measurement, receive
from inline.emit.publisher import subscribe
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Message, Text
from inline.mrd.meta import MetaValue
from inline.mrd.protocol import MessageId, encode
from inline.replay.local_server import StartedServer

Meta = dict[str, MetaValue]

_EMPTY_HEADER: Final = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"/>'
_MAPPING: Final = encode(ConfigFile("mapping"))
_OPENING: Final = _MAPPING + encode(Header(_EMPTY_HEADER))
_ENTITIES: Final = (
    "<!DOCTYPE a [<!ENTITY b '" + "b" * 4000 + "'>]><ismrmrdMeta><meta><name>x</name><value>"
    "{}</value></meta></ismrmrdMeta>"
)
_GIGABIT: Final = 1.25e8
"""Bytes a second."""
_PACED_BYTES: Final = 1 << 20
_PAUSE_S: Final = 1.0
"""Pause between rounds of attacks whose number of messages does not matter."""
_BLACK: Final = np.zeros((32, 32), np.float32)
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Target:
    """Server under attack.

    Attributes:
        server: its process.
        measurement: sent by the good client beside the attack.
        seconds: approximate duration of the attack.
        stalled_s: setting of the server.
    """

    server: StartedServer
    measurement: Measurement
    seconds: float
    stalled_s: float

    def rounds(self, pause_s: float = _PAUSE_S, least: int = 1) -> Iterator[int]:
        """Yield 1, 2, ... until the duration has passed, at least so many, with a pause after each."""
        end = time.monotonic() + self.seconds
        for number in itertools.count(1):
            yield number
            time.sleep(pause_s)
            if number >= least and time.monotonic() > end:
                return


@dataclass(frozen=True, slots=True)
class Observation:
    """Observation of an attack as a sentence, and whether the server kept its promise."""

    text: str
    holds: bool

    @classmethod
    def of(cls, done: int, total: int, text: str, holds: bool = True) -> Observation:
        """Return an observation of ``done`` of ``total``; it holds only if all were done."""
        return cls(f"{done} of {total} {text}", done == total and holds)


@dataclass(slots=True)
class Replies:
    """Replies of a server on one connection.

    Attributes:
        count: messages by kind: ``original``, ``result``, ``stopping``, or the name of their type.
        messages: themselves, where they are kept.
        end: as :func:`bench.watched.receive` returns it.
    """

    count: Counter[str] = field(default_factory=Counter)
    messages: list[Message] = field(default_factory=list)
    end: str = "silent"

    @property
    def texts(self) -> list[str]:
        """Texts among the messages."""
        return [message.text for message in self.messages if isinstance(message, Text)]


def texts(target: Target) -> Observation:
    """Send comments that keep a backtracking expression busy for hours, in attributes and mini headers."""
    blank = " " * 10_000
    mini = base64.b64encode(f'<ParamString."ImageComments"> {{ "T2prep{blank}" }}'.encode()).decode()
    metas: list[Meta] = [
        {"ImageComments": "T2prep" + blank},
        {"ImageComments": "TI" + blank * 3},
        {"ImageComment": "T2prep" + blank + "=", "SequenceDescription": "T2map" + blank},
        {"IceMiniHead": mini},
    ]
    return _pass(target, [_image(meta) for meta in metas] * 5)


def entities(target: Target) -> Observation:
    """Send attributes and headers that declare entities, in UTF-8 and UTF-16."""
    document = _ENTITIES.format("&b;" * 20_000)
    codecs = ("utf-8", "utf-16", "utf-16-le", "utf-16-be")
    images = [_image(attributes=document.encode(codec)) for codec in codecs] * 3
    header = Header.from_bytes(document.replace("ismrmrdMeta", "ismrmrdHeader").encode("utf-16"))
    return _pass(target, images, _MAPPING + encode(header))


def surrogates(target: Target) -> Observation:
    """Send descriptions with half a surrogate pair; ZeroMQ must go on publishing."""
    address = re.findall(r"publishing on (\S+)", target.server.log_text())[0]
    with contextlib.closing(subscribe(address)) as subscriber:
        time.sleep(1.0)
        dicom = b'{"0008103E": {"vr": "LO", "Value": ["T1map_MOLLI \\ud800"]}}'
        images = _molli(64, {"DicomJson": base64.b64encode(dicom).decode()})
        for _ in range(3):
            _talk(target.server.address, _OPENING + _encoded(images) + encode(Close()), 10.0)
        # The results of the good client are published as well: there is no silence to wait for.
        published(subscriber, 2.0)
        ClientTally().send(target.server.address, target.measurement)
        after, expected = published(subscriber, 2.0), target.measurement.slices
    text = f"{after} results published after it, of {expected} slices at least"
    return Observation(text, after >= expected)


def published(subscriber: zmq.Socket[bytes], seconds: float) -> int:
    """Receive for some seconds; return the number of results."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if subscriber.poll(int(left * 1000) + 1):
            count += subscriber.recv_multipart()[0].startswith(b"myostream.slice")
    return count


def large_texts(target: Target) -> Observation:
    """Send large legal XML: headers and attributes of four million characters in small elements."""
    header = Header("<ismrmrdHeader>" + "<a/>" * 1_000_000 + "</ismrmrdHeader>")
    elements = b"<meta><name>a</name><value>b</value></meta>" * 90_000
    image = _image(attributes=b"<ismrmrdMeta>" + elements + b"</ismrmrdMeta>")
    return _pass(target, [image], _MAPPING + encode(header))


def growing_series(target: Target) -> Observation:
    """Send a series of 2048 x 2048 float64 that never becomes complete: 32 MB an image."""
    sent, rows = 0, 2048
    limits = "<encoding><encodingLimits><set><maximum>1999</maximum></set></encodingLimits></encoding>"
    header = _EMPTY_HEADER.replace("/>", f">{limits}</ismrmrdHeader>")
    pixels = np.zeros((rows, rows))
    with _replies(_connect(target.server.address), target.seconds + 120.0) as (connection, replies):
        connection.sendall(_MAPPING + encode(Header(header)))
        for sent in itertools.takewhile(lambda number: number <= 160, target.rounds(0.0)):
            meta: Meta = {"SequenceDescription": "T1map_MOLLI", "InversionTime": 99 + sent}
            image = _image(meta, pixels=pixels, number=sent - 1)
            _send_paced(connection, encode(image))
        connection.sendall(encode(Close()))
    count = replies.count
    return Observation.of(count["original"], sent, "images of 32 MB returned", count["Close"] == 1)


def huge_fits(target: Target) -> Observation:
    """Send two T2 series of 8192 x 8192, 384 MB each; they may be refused, in a message."""
    rows = 8192
    pixels = np.full((rows, rows), 500, np.uint16)

    def send(_: int) -> Counter[str]:
        with _replies(_connect(target.server.address), 240.0) as (connection, replies):
            connection.sendall(_OPENING)
            for number in range(3):
                meta: Meta = {"SequenceDescription": "T2map_T2prep", "T2PrepDuration": 25 * number}
                image = _image(meta, pixels=pixels, number=number)
                _send_paced(connection, encode(image), share=2)
            connection.sendall(encode(Close()))
        return replies.count

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(send, range(2)))
    returned = sum(count["original"] for count in counts)
    reported = sum(count["Text"] > 0 or count["result"] > 0 for count in counts)
    text = f"images returned; {reported} of 2 got a result or a message"
    return Observation.of(returned, 6, text, reported == 2)


def mute_peers(target: Target) -> Observation:
    """Connect four peers that send images without end and read nothing."""
    return _dropped(
        target, 4, encode(_image(pixels=np.zeros((512, 512), np.float32))), seconds_each=4 / _GIGABIT
    )


def slow_peers(target: Target) -> Observation:
    """Connect eight peers that send one byte a second in the middle of a message."""
    opening = _OPENING + struct.pack("<H", MessageId.IMAGE)
    return _dropped(target, 8, bytes(1000), opening=opening, at_once=1, seconds_each=1.0)


def idle_peers(target: Target) -> Observation:
    """Take every place with a silent peer; the next client must receive a message."""
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(_connect(target.server.address)).sendall(_OPENING)
        time.sleep(1.0)
        replies = _talk(target.server.address, _OPENING, target.seconds)
        logged = re.search(r"(?i)\b(taken|busy|waits?|full)\b", target.server.log_text())
    received = replies.texts[0][:60] if replies.texts else f"no message ({replies.end})"
    text = f"the 17th client: {received}; {'a' if logged else 'no'} line in the log"
    return Observation(text, bool(replies.texts) and bool(logged))


def resets(target: Target) -> Observation:
    """Reset or close the connection in the middle of an image."""
    count, generator = 0, random.Random(1)
    for _ in target.rounds(0.05, least=20):
        break_off(target.server.address, target.measurement, generator)
        count += 1
    return Observation(f"{count} connections broken off", True)


def break_off(address: Address, measurement: Measurement, generator: random.Random) -> None:
    """Send a part of a measurement, and close or reset the connection.

    Raises:
        OSError: no connection.
    """
    data = _OPENING + _encoded(measurement.images[:9])
    with _connect(address) as connection, contextlib.suppress(OSError):
        connection.sendall(data[: generator.randrange(len(_OPENING), len(data))])
        if generator.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def nonsense(target: Target) -> Observation:
    """Send random bytes and other protocols: HTTP, TLS, DICOM."""
    generator = random.Random(2)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + generator.randbytes(506)
    associate = b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00" + b"ORTHANC".ljust(16) + bytes(180)
    kinds = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello, associate, b"\xff\xff", bytes(64),
        *(generator.randbytes(generator.randrange(2, 4000)) for _ in range(20)),
    ]  # fmt: skip
    found = [_talk(target.server.address, data, target.stalled_s + 10.0, half_close=True) for data in kinds]
    refused = sum(each.end in ("eof", "reset") and not each.count["original"] for each in found)
    return Observation.of(refused, len(kinds), "connections ended by the server")


def announced(target: Target) -> Observation:
    """Announce lengths that no memory holds."""
    head = bytearray(_image().header.pack())
    struct.pack_into("<3H", head, 16, 65535, 65535, 65535)
    attributes = _image().header.pack() + struct.pack("<Q", 1 << 60)
    acquisition = bytearray(340)
    struct.pack_into("<34xH2xH136xH", acquisition, 0, 65535, 65535, 3)
    kinds = [
        struct.pack("<HI", MessageId.TEXT, 0xFFFFFFFF), struct.pack("<HI", MessageId.CONFIG_TEXT, 0x7FFFFFFF),
        struct.pack("<H", MessageId.IMAGE) + bytes(head), struct.pack("<H", MessageId.IMAGE) + attributes,
        struct.pack("<H", MessageId.ACQUISITION) + bytes(acquisition),
    ] * 3  # fmt: skip
    found = [_talk(target.server.address, _OPENING + data, 10.0) for data in kinds]
    refused = sum(any("limit" in text for text in each.texts) for each in found)
    return Observation.of(refused, len(kinds), "refused in a message")


def crowd(target: Target, clients: int = 200) -> Observation:
    """Connect two hundred good clients at once."""
    tallies = [ClientTally() for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        for tally in tallies:
            pool.submit(tally.send, target.server.address, target.measurement, timeout_s=240.0)
    exact = sum(not tally.lost and not tally.problems for tally in tallies)
    return Observation.of(exact, clients, f"exact, {sum(tally.results for tally in tallies)} maps")


def deep_json(target: Target) -> Observation:
    """Send JSON nested a hundred thousand times, as parameters and as a DICOM header."""
    deep = "[" * 100_000 + "]" * 100_000
    dicom = base64.b64encode(deep.encode()).decode()
    opening = encode(ConfigText(f'{{"parameters": {deep[:60_000]}}}')) + _OPENING + encode(Text(deep))
    return _pass(target, [_image({"DicomJson": dicom, "SequenceDescription": "MOLLI"})] * 10, opening)


def text_flood(target: Target) -> Observation:
    """Send short texts with unknown configurations without a pause, and read no reply."""
    before = len(target.server.log_text())
    data = encode(Text('{"parameters": {"config": "x\\ny"}}')) * 1000
    sent, _ = _send_endlessly(target, data)
    grown = len(target.server.log_text()) - before
    text = f"{1000 * sent // len(data)} texts, log grown by {grown / 1e6:.2f} MB"
    return Observation(text, grown < 1_000_000)


def termination(target: Target) -> Observation:
    """Send SIGTERM to the server while a client sends: its images come back with a message."""
    images = target.measurement.images[:9]
    with _replies(_connect(target.server.address), 40.0) as (connection, replies):
        connection.sendall(_MAPPING + encode(Header(target.measurement.header)))
        for image in images:
            _send_paced(connection, encode(image))
        time.sleep(1.0)
        target.server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
    count = replies.count
    text = (
        f"images and {count['result']} results back within {time.monotonic() - start:.0f} s, "
        f"{'a' if count['stopping'] else 'no'} message about the end"
    )
    holds = count["Close"] == 1 and count["stopping"] > 0
    return Observation.of(count["original"], len(images), text, holds)


def unread(target: Target) -> Observation:
    """Read slowly and go on sending after an error: finished results still arrive."""
    images = target.measurement.images
    data = _MAPPING + encode(Header(target.measurement.header))
    data += _encoded(images) + b"\xff\xff" + bytes(4_000_000)
    slowly = _connect(target.server.address, receive_buffer=1 << 15)
    with _replies(slowly, 60.0, at_once=1 << 15, pause_s=0.002) as (connection, replies):
        connection.sendall(data)
    count = replies.count
    text = f"originals, {count['result']} results, {count['Text']} texts"
    holds = count["Close"] == 1 and count["Text"] > 0 and count["result"] >= target.measurement.slices
    return Observation.of(count["original"], len(images), text, holds)


def module_runs(target: Target, runs: int = 6) -> Observation:
    """Start the module as Gadgetron does, with and without images: it ends with code 0."""
    codes = Counter[int | None]()
    configuration, header = b"<configuration/>", target.measurement.header.encode()
    opening = struct.pack("<HI", MessageId.CONFIG_TEXT, len(configuration)) + configuration
    opening += struct.pack("<HI", MessageId.HEADER, len(header)) + header
    with socket.create_server(("localhost", 0)) as listening:
        listening.settimeout(60.0)
        command = [sys.executable, "-P", "-m", "inline.serving.gadgetron", str(listening.getsockname()[1])]
        for number, images in zip(range(runs), itertools.cycle((0, 8, 3))):
            end = b"" if number % 2 else encode(Close())
            data = opening + _encoded(target.measurement.images[:images]) + end
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                try:
                    _talk(listening.accept()[0], data, 30.0, half_close=True)
                    codes[process.wait(30.0)] += 1
                except (OSError, subprocess.TimeoutExpired):
                    codes[None] += 1
                    process.kill()
    return Observation.of(codes[0], runs, "runs ended with code 0")


def _image(
    meta: Meta | None = None,
    *,
    attributes: bytes | None = None,
    pixels: NDArray[np.generic] = _BLACK,
    number: int = 0,
) -> Image:
    """Return the image ``number`` of a series, of pixels ``(rows, columns)``, with attributes or raw ones."""
    rows, columns = pixels.shape
    field = (1.5 * columns, 1.5 * rows, 8.0)
    header = ImageHeader(field_of_view=field, image_series_index=1, set=number, image_index=number + 1)
    image = Image.from_pixels(pixels[None, None], header, meta)
    if attributes is None:
        return image
    return replace(
        image, header=replace(image.header, attribute_string_len=len(attributes)), attributes=attributes
    )


def _molli(size: int, meta: Meta) -> list[Image]:
    """Return a series of eight images of a phantom with a T1 of 1000 ms."""
    images = []
    for number, time_ms in enumerate(np.arange(100.0, 3300.0, 400.0)):
        pixels = np.full((size, size), abs(1.0 - 2.0 * np.exp(-time_ms / 1000.0)) * 1000.0, np.float32)
        images.append(_image({"InversionTime": f"{time_ms:g}", **meta}, pixels=pixels, number=number))
    return images


def _encoded(images: Sequence[Image]) -> bytes:
    return b"".join(map(encode, images))


def _connect(address: Address, timeout_s: float = 20.0, receive_buffer: int = 0) -> socket.socket:
    """Return a connection, with a smaller receive buffer (bytes) for a peer that does not read."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(timeout_s)
    connection.connect(address)
    return connection


@contextlib.contextmanager
def _replies(
    connection: socket.socket,
    seconds: float,
    *,
    keep: bool = False,
    at_once: int = 1 << 20,
    pause_s: float = 0.0,
) -> Iterator[tuple[socket.socket, Replies]]:
    """Collect the replies on a connection while the block sends, for so many seconds or until it ends.

    Args:
        connection: closed at the end. An end of it by the server ends the block.
        seconds: from the start of the block.
        keep: whether messages are kept: without it they may be of any size.
        at_once: bytes read at once.
        pause_s: pause after each message.
    """
    replies = Replies()

    def handle(message: Message) -> None:
        replies.count[_kind(message)] += 1
        if keep:
            replies.messages.append(message)
        time.sleep(pause_s)

    with connection, ThreadPoolExecutor(1) as pool:
        ended = pool.submit(receive, connection, seconds, handle, at_once)
        with contextlib.suppress(OSError):
            yield connection, replies
        replies.end = ended.result()


def _talk(peer: Address | socket.socket, data: bytes, seconds: float, *, half_close: bool = False) -> Replies:
    """Send bytes to an address or on a connection, and return the replies within a time."""
    connection = peer if isinstance(peer, socket.socket) else _connect(peer)
    with _replies(connection, seconds, keep=True) as (_, replies):
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
    return replies


def _send_paced(connection: socket.socket, data: bytes, share: int = 1) -> None:
    """Send at the rate of a gigabit network that so many senders share; loopback is a dozen times faster."""
    start = time.monotonic()
    for at in range(0, len(data), _PACED_BYTES):
        connection.sendall(memoryview(data)[at : at + _PACED_BYTES])
        time.sleep(max(start + (at + _PACED_BYTES) * share / _GIGABIT - time.monotonic(), 0.0))


def _send_endlessly(
    target: Target,
    data: bytes,
    *,
    opening: bytes = _OPENING,
    at_once: int = _PACED_BYTES,
    seconds_each: float = 0.0,
) -> tuple[int, bool]:
    """Send bytes over and over and read nothing.

    Args:
        target: for its duration, or until the server ends the connection.
        data: to send, at most ``at_once`` bytes at a time.
        opening: sent before.
        at_once: bytes.
        seconds_each: pause for each byte.

    Returns:
        Number of bytes sent, and whether the server ended the connection.
    """
    sent, left = 0, memoryview(data)
    connection = _connect(target.server.address, 2.0, receive_buffer=1 << 16)
    with connection, contextlib.suppress(OSError):
        connection.sendall(opening)
        for _ in target.rounds(0.0):
            # A sender that the server holds up still has its connection.
            with contextlib.suppress(TimeoutError):
                count = connection.send(left[:at_once])
                sent += count
                left = left[count:] or memoryview(data)
                time.sleep(seconds_each * count)
        return sent, False
    return sent, True


def _kind(message: Message) -> str:
    match message:
        case Image(header) if header.image_series_index < RESULTS_FROM:
            return "original"
        case Image():
            return "result"
        case Text(text) if re.search(r"(?i)\b(stops?|stopping|stopped|shut|ends|interrupted)\b", text):
            return "stopping"
        case _:
            return type(message).__name__


def _pass(target: Target, images: Sequence[Image], opening: bytes = _OPENING) -> Observation:
    """Send images over and over; each must come back bit-exact, at once."""
    sent, returned, slowest = 0, 0, 0.0
    for _ in target.rounds():
        start = time.monotonic()
        replies = _talk(target.server.address, opening + _encoded(images) + encode(Close()), 30.0)
        slowest = max(slowest, time.monotonic() - start)
        sent += len(images)
        received = Counter(message for message in replies.messages if isinstance(message, Image))
        returned += len(images) - (Counter(images) - received).total()
    return Observation.of(returned, sent, f"images returned, {slowest:.1f} s at most for {len(images)}")


def _dropped(target: Target, peers: int, data: bytes, **options: Any) -> Observation:
    """Connect peers that :func:`_send_endlessly`; the server must disconnect them."""
    start = time.monotonic()

    def send(_: int) -> float | None:
        _, ended = _send_endlessly(target, data, **options)
        return time.monotonic() - start if ended else None

    with ThreadPoolExecutor(peers) as pool:
        after = [seconds for seconds in pool.map(send, range(peers)) if seconds is not None]
    latest = f" after at most {max(after):.0f} s" if after else ""
    return Observation.of(len(after), peers, f"disconnected{latest} (stalled_s {target.stalled_s:g})")
