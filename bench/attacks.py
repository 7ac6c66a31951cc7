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
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import zmq

from bench.watched import RESULTS_FROM, Address, Measurement, Tally, receive
from inline.emit.publisher import subscribe
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Message, Text
from inline.mrd.meta import MetaValue, format_meta
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

    @property
    def address(self) -> Address:
        """Address of the server."""
        return self.server.address

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
            _talk(target.address, _OPENING + _encoded(images) + encode(Close()), 10.0)
        # The results of the good client are published as well: there is no silence to wait for.
        _published(subscriber, 2.0)
        Tally().send(target.address, target.measurement)
        after, expected = _published(subscriber, 2.0), target.measurement.slices
    text = f"{after} results published after it, of {expected} slices at least"
    return Observation(text, after >= expected)


def _published(subscriber: zmq.Socket[bytes], seconds: float) -> int:
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
    pixels = bytes(rows * rows * 8)
    with _replies(_connect(target.address), target.seconds + 120.0) as (connection, replies):
        connection.sendall(_MAPPING + encode(Header(header)))
        for sent in itertools.takewhile(lambda number: number <= 160, target.rounds(0.0)):
            meta: Meta = {"SequenceDescription": "T1map_MOLLI", "InversionTime": 99 + sent}
            image = _image(meta, size=rows, data_type=6, pixels=pixels, number=sent - 1)
            _send_paced(connection, encode(image))
        connection.sendall(encode(Close()))
    returned = replies.count["original"]
    text = f"{sent} images of 32 MB sent, {returned} returned"
    return Observation(text, returned == sent and replies.count["Close"] == 1)


def huge_fits(target: Target) -> Observation:
    """Send two T2 series of 8192 x 8192, 384 MB each; they may be refused, in a message."""
    rows = 8192
    pixels = np.full(rows * rows, 500, np.uint16).tobytes()

    def send(_: int) -> Counter[str]:
        with _replies(_connect(target.address), 240.0) as (connection, replies):
            connection.sendall(_OPENING)
            for number in range(3):
                meta: Meta = {"SequenceDescription": "T2map_T2prep", "T2PrepDuration": 25 * number}
                image = _image(meta, size=rows, data_type=1, pixels=pixels, number=number)
                _send_paced(connection, encode(image), share=2)
            connection.sendall(encode(Close()))
        return replies.count

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(send, range(2)))
    returned = sum(count["original"] for count in counts)
    reported = sum(count["Text"] > 0 or count["result"] > 0 for count in counts)
    text = f"{returned} of 6 images returned; {reported} of 2 got a result or a message"
    return Observation(text, returned == 6 and reported == 2)


def mute_peers(target: Target) -> Observation:
    """Connect four peers that send images without end and read nothing."""
    start, data = time.monotonic(), encode(_image(size=512, data_type=5))

    def send(_: int) -> float | None:
        _, ended = _send_endlessly(target, data, share=4)
        return time.monotonic() - start if ended else None

    with ThreadPoolExecutor(4) as pool:
        ended = [after for after in pool.map(send, range(4)) if after is not None]
    return _dropped(target, ended, 4)


def slow_peers(target: Target) -> Observation:
    """Connect eight peers that send one byte a second in the middle of a message."""
    start, ended = time.monotonic(), list[float]()
    with _peers(target, 8, _OPENING + struct.pack("<H", MessageId.IMAGE) + b"\0") as connected:
        for _ in target.rounds(1.0):
            remaining = [peer for peer in connected if not _closed_by_server(peer)]
            ended += [time.monotonic() - start] * (len(connected) - len(remaining))
            connected = remaining
            if not connected:
                break
    return _dropped(target, ended, 8)


def idle_peers(target: Target) -> Observation:
    """Take every place with a silent peer; the next client must receive a message."""
    with _peers(target, 16, _OPENING):
        time.sleep(1.0)
        replies = _talk(target.address, _OPENING, target.seconds)
        logged = re.search(r"(?i)\b(taken|busy|waits?|full)\b", target.server.log_text())
    received = replies.texts[0][:60] if replies.texts else f"no message ({replies.end})"
    text = f"the 17th client: {received}; {'a' if logged else 'no'} line in the log"
    return Observation(text, bool(replies.texts) and bool(logged))


def resets(target: Target) -> Observation:
    """Reset or close the connection in the middle of an image."""
    count, generator = 0, random.Random(1)
    for _ in target.rounds(0.05, least=20):
        break_off(target.address, target.measurement, generator)
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
    found = [_talk(target.address, data, target.stalled_s + 10.0, half_close=True) for data in kinds]
    refused = sum(each.end in ("eof", "reset") and not each.count["original"] for each in found)
    return Observation(f"{refused} of {len(kinds)} connections ended by the server", refused == len(kinds))


def announced(target: Target) -> Observation:
    """Announce lengths that no memory holds."""
    head = bytearray(_image(size=8).header.pack())
    struct.pack_into("<3H", head, 16, 65535, 65535, 65535)
    attributes = _image(size=8).header.pack() + struct.pack("<Q", 1 << 60)
    acquisition = bytearray(340)
    struct.pack_into("<34xH2xH136xH", acquisition, 0, 65535, 65535, 3)
    kinds = [
        struct.pack("<HI", MessageId.TEXT, 0xFFFFFFFF), struct.pack("<HI", MessageId.CONFIG_TEXT, 0x7FFFFFFF),
        struct.pack("<H", MessageId.IMAGE) + bytes(head), struct.pack("<H", MessageId.IMAGE) + attributes,
        struct.pack("<H", MessageId.ACQUISITION) + bytes(acquisition),
    ] * 3  # fmt: skip
    found = [_talk(target.address, _OPENING + data, 10.0) for data in kinds]
    refused = sum(any("limit" in text for text in each.texts) for each in found)
    return Observation(f"{refused} of {len(kinds)} refused in a message", refused == len(kinds))


def crowd(target: Target, clients: int = 200) -> Observation:
    """Connect two hundred good clients at once."""
    tallies = [Tally() for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        for tally in tallies:
            pool.submit(tally.send, target.address, target.measurement, timeout_s=240.0)
    exact = sum(not tally.lost and not tally.problems for tally in tallies)
    results = sum(tally.results for tally in tallies)
    return Observation(f"{exact} of {clients} exact, {results} maps", exact == clients)


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
    with _replies(_connect(target.address), 40.0) as (connection, replies):
        connection.sendall(_MAPPING + encode(Header(target.measurement.header)))
        for image in images:
            _send_paced(connection, encode(image))
        time.sleep(1.0)
        target.server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
    count = replies.count
    text = (
        f"{count['original']} of {len(images)} images and {count['result']} results back within "
        f"{time.monotonic() - start:.0f} s, {'a' if count['stopping'] else 'no'} message about the end"
    )
    complete = count["original"] == len(images) and count["Close"] == 1
    return Observation(text, complete and count["stopping"] > 0)


def unread(target: Target) -> Observation:
    """Read slowly and go on sending after an error: finished results still arrive."""
    images = target.measurement.images
    data = _MAPPING + encode(Header(target.measurement.header))
    data += _encoded(images) + b"\xff\xff" + bytes(4_000_000)
    slowly = _connect(target.address, receive_buffer=1 << 15)
    with _replies(slowly, 60.0, at_once=1 << 15, pause_s=0.002) as (connection, replies):
        connection.sendall(data)
    count = replies.count
    text = f"{count['original']} of {len(images)} originals, {count['result']} results, {count['Text']} texts"
    complete = count["original"] == len(images) and count["Close"] == 1 and count["Text"] > 0
    return Observation(text, complete and count["result"] >= target.measurement.slices)


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
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                end = b"" if number % 2 else encode(Close())
                data = opening + _encoded(target.measurement.images[:images]) + end
                _talk(listening.accept()[0], data, 30.0, half_close=True)
                codes[process.wait(30.0)] += 1
            except (OSError, subprocess.TimeoutExpired):
                codes[None] += 1
            finally:
                process.kill()
                process.wait()
    return Observation(f"{codes[0]} of {runs} runs ended with code 0", codes[0] == runs)


def _image(
    meta: Meta | None = None,
    *,
    attributes: bytes | None = None,
    size: int = 32,
    data_type: int = 5,
    pixels: bytes | None = None,
    number: int = 0,
) -> Image:
    data = attributes if attributes is not None else format_meta(meta or {})
    header = ImageHeader(
        data_type=data_type,
        matrix_size=(size, size, 1),
        field_of_view=(1.5 * size, 1.5 * size, 8.0),
        attribute_string_len=len(data),
        image_series_index=1,
        set=number,
        image_index=number + 1,
    )
    bytes_each = {1: 2, 5: 4, 6: 8}[data_type]
    return Image(header, data, pixels or bytes(size * size * bytes_each))


def _molli(size: int, meta: Meta) -> list[Image]:
    """Return a series of eight images of a phantom with a T1 of 1000 ms."""
    images = []
    for number in range(8):
        time_ms = 100.0 + 400.0 * number
        value = abs(1.0 - 2.0 * np.exp(-time_ms / 1000.0)) * 1000.0
        pixels = np.full(size * size, value, np.float32).tobytes()
        images.append(
            _image({"InversionTime": f"{time_ms:g}", **meta}, size=size, pixels=pixels, number=number)
        )
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
def _peers(target: Target, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Give so many connections on which some bytes were sent; close them at the end of the block."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(_connect(target.address, 5.0)) for _ in range(count)]
        for peer in peers:
            peer.sendall(data)
        yield peers


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


def _send_endlessly(target: Target, data: bytes, share: int = 0) -> tuple[int, bool]:
    """Send bytes over and over and read nothing, at a share of a gigabit network or (0) without a pause.

    Returns:
        Number of bytes sent, and whether the server ended the connection.
    """
    sent, left = 0, memoryview(data)
    with _connect(target.address, 2.0, receive_buffer=1 << 16) as connection, contextlib.suppress(OSError):
        connection.sendall(_OPENING)
        for _ in target.rounds(0.0):
            # A sender that the server holds up still has its connection.
            with contextlib.suppress(TimeoutError):
                count = connection.send(left[:_PACED_BYTES])
                sent += count
                left = left[count:] or memoryview(data)
                time.sleep(share * count / _GIGABIT)
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
        replies = _talk(target.address, opening + _encoded(images) + encode(Close()), 30.0)
        slowest = max(slowest, time.monotonic() - start)
        sent += len(images)
        received = Counter(message for message in replies.messages if isinstance(message, Image))
        returned += len(images) - (Counter(images) - received).total()
    text = f"{returned} of {sent} images returned, {slowest:.1f} s at most for {len(images)}"
    return Observation(text, returned == sent)


def _dropped(target: Target, after: Sequence[float], peers: int) -> Observation:
    latest = f" after at most {max(after):.0f} s" if after else ""
    text = f"{len(after)} of {peers} disconnected{latest} (stalled_s {target.stalled_s:g})"
    return Observation(text, len(after) == peers)


def _closed_by_server(peer: socket.socket) -> bool:
    """Send one byte; return whether the server has closed the connection."""
    try:
        peer.sendall(b"\0")
        peer.setblocking(False)
        while peer.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    finally:
        peer.setblocking(True)
    return True
