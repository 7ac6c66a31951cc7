"""Clients that do harm: each sends what a broken or hostile peer would send, and says what it saw."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np
import zmq

from bench.watched import Address, Examination, Tally, Watched
from inline.data.errors import ProtocolError
from inline.emit.publisher import subscribe
from inline.mrd.image_header import ImageHeader
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Message, Text
from inline.mrd.meta import MetaValue, format_meta
from inline.mrd.protocol import Decoder, MessageId, encode

_EMPTY_HEADER: Final = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"/>'
_OPENING: Final = encode(ConfigFile("mapping")) + encode(Header(_EMPTY_HEADER))
_ENTITIES: Final = (
    "<!DOCTYPE a [<!ENTITY b '" + "b" * 4000 + "'>]><ismrmrdMeta><meta><name>x</name><value>"
    "{}</value></meta></ismrmrdMeta>"
)
_RESULTS_FROM: Final = 5000
_GIGABIT: Final = 1.25e8
"""Bytes a second."""
_PACED_BYTES: Final = 1 << 20
_PAUSE_S: Final = 1.0
"""Between two rounds of an attack that is none by its number of messages."""
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an attack takes place.

    Attributes:
        server: under attack.
        examination: of the good client beside it.
        seconds: about how long the attack shall last.
        stalled_s: setting of the server.
    """

    server: Watched
    examination: Examination
    seconds: float
    stalled_s: float

    @property
    def address(self) -> Address:
        """Address of the server."""
        return self.server.address

    def over(self) -> Callable[[], bool]:
        """Return a function that says whether the attack's time has run out."""
        end = time.monotonic() + self.seconds
        return lambda: time.monotonic() > end


@dataclass(frozen=True, slots=True)
class Seen:
    """What an attack saw, in a sentence, and whether that is what must hold."""

    text: str
    holds: bool


def texts(scene: Scene) -> Seen:
    """Comments on which a backtracking expression would work for hours, in attributes and mini headers."""
    blank = " " * 10_000
    mini = base64.b64encode(f'<ParamString."ImageComments"> {{ "T2prep{blank}" }}'.encode()).decode()
    metas: list[dict[str, MetaValue]] = [
        {"ImageComments": "T2prep" + blank},
        {"ImageComments": "TI" + blank * 3},
        {"ImageComment": "T2prep" + blank + "=", "SequenceDescription": "T2map" + blank},
        {"IceMiniHead": mini},
    ]
    return _pass(scene, [_image(meta) for meta in metas] * 5)


def entities(scene: Scene) -> Seen:
    """Attributes and headers that declare entities, in UTF-8 and UTF-16."""
    document = _ENTITIES.format("&b;" * 20_000)
    attributes = [document.encode(codec) for codec in ("utf-8", "utf-16", "utf-16-le", "utf-16-be")]
    images = [_image(attributes=each) for each in attributes] * 3
    header = Header.from_bytes(document.replace("ismrmrdMeta", "ismrmrdHeader").encode("utf-16"))
    return _pass(scene, images, encode(ConfigFile("mapping")) + encode(header))


def surrogates(scene: Scene) -> Seen:
    """Descriptions with half a surrogate pair; ZeroMQ must go on publishing."""
    with contextlib.closing(subscribe(scene.server.publishing)) as reader:
        time.sleep(1.0)
        for _ in range(3):
            dicom = b'{"0008103E": {"vr": "LO", "Value": ["T1map_MOLLI \\ud800"]}}'
            more: dict[str, MetaValue] = {"DicomJson": base64.b64encode(dicom).decode()}
            images = _molli(64, named=False, meta=more)
            _talk(scene.address, _OPENING + b"".join(map(encode, images)) + encode(Close()), 10.0)
        # The good client is published meanwhile, so there is no silence to wait for.
        _published(reader, 2.0)
        Tally().examine(scene.address, scene.examination)
        after = _published(reader, 2.0)
    return Seen(
        f"{after} results published after it, of {scene.examination.slices} slices at least",
        after >= scene.examination.slices,
    )


def _published(reader: zmq.Socket[bytes], seconds: float) -> int:
    """Receive for some seconds; return the number of results."""
    end, count = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0:
        if reader.poll(int(left * 1000) + 1):
            count += reader.recv_multipart()[0].startswith(b"myostream.slice")
    return count


def large_texts(scene: Scene) -> Seen:
    """Large legal XML: headers and attributes of four million characters in small elements."""
    over, answered, sent = scene.over(), 0, 0
    header = Header("<ismrmrdHeader>" + "<a/>" * 1_000_000 + "</ismrmrdHeader>")
    attributes = (
        b"<ismrmrdMeta>" + b"<meta><name>a</name><value>b</value></meta>" * 90_000 + b"</ismrmrdMeta>"
    )
    data = encode(ConfigFile("mapping")) + encode(header) + encode(_image(attributes=attributes))
    while not over() or not sent:
        sent += 1
        said, _ = _talk(scene.address, data + encode(Close()), 30.0)
        answered += _originals(said) == 1
        time.sleep(_PAUSE_S)
    return Seen(f"{answered} of {sent} images returned", answered == sent)


def growing_series(scene: Scene) -> Seen:
    """A series of 2048 x 2048 float64 that never becomes complete: 32 MB an image."""
    over, sent = scene.over(), 0
    header = _EMPTY_HEADER.replace(
        "/>",
        "><encoding><encodingLimits><set><maximum>1999</maximum></set></encodingLimits></encoding>"
        "</ismrmrdHeader>",
    )
    rows = 2048
    pixels = bytes(rows * rows * 8)
    came: Counter[str] = Counter()
    with _connected(scene.address) as connection:
        reader = threading.Thread(target=_count, args=(connection, came))
        reader.start()
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        while not over() and sent < 160:
            meta: dict[str, MetaValue] = {"SequenceDescription": "T1map_MOLLI", "InversionTime": 100 + sent}
            image = _image(meta, size=rows, data_type=6, pixels=pixels, number=sent)
            _send_paced(connection, encode(image))
            sent += 1
        connection.sendall(encode(Close()))
        reader.join(60.0)
    back = came["original"]
    return Seen(f"{sent} images of 32 MB sent, {back} returned", back == sent and came["Close"] == 1)


def huge_fits(scene: Scene) -> Seen:
    """Two T2 series of 8192 x 8192, 384 MB each; they may be refused, in a message."""
    rows = 8192
    pixels = np.full(rows * rows, 500, np.uint16).tobytes()
    told: list[bool] = []

    def send(_: int) -> int:
        came: Counter[str] = Counter()
        with _connected(scene.address, 120.0) as connection:
            reader = threading.Thread(target=_count, args=(connection, came))
            reader.start()
            connection.sendall(_OPENING)
            for number in range(3):
                meta: dict[str, MetaValue] = {
                    "SequenceDescription": "T2map_T2prep", "T2PrepDuration": 25 * number,
                }  # fmt: skip
                image = _image(meta, size=rows, data_type=1, pixels=pixels, number=number)
                _send_paced(connection, encode(image), share=2)
            connection.sendall(encode(Close()))
            reader.join(120.0)
        told.append(bool(came["Text"]) or came["result"] > 0)
        return came["original"]

    with ThreadPoolExecutor(2) as pool:
        back = sum(pool.map(send, range(2)))
    return Seen(
        f"{back} of 6 images returned; {sum(told)} of 2 got a result or a message", back == 6 and all(told)
    )


def mute_peers(scene: Scene) -> Seen:
    """Four peers that send images without end and read nothing."""
    over = scene.over()
    data = encode(_image(size=512, data_type=5))
    ended: list[float] = []

    def send(_: int) -> None:
        start = time.monotonic()
        with _connected(scene.address, 2.0) as connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            connection.sendall(_OPENING)
            left = memoryview(data)
            while not over():
                # A sender that the server holds up is not given up yet.
                with contextlib.suppress(TimeoutError):
                    sent = connection.send(left[:_PACED_BYTES])
                    left = left[sent:] or memoryview(data)
                    time.sleep(4 * sent / _GIGABIT)
            return
        ended.append(time.monotonic() - start)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    return _given_up(scene, ended, 4)


def slow_peers(scene: Scene) -> Seen:
    """Eight peers that send one byte a second in the middle of a message."""
    over = scene.over()
    start, ended = time.monotonic(), list[float]()
    peers = [socket.create_connection(scene.address, 5.0) for _ in range(8)]
    for peer in peers:
        peer.sendall(_OPENING + struct.pack("<H", MessageId.IMAGE) + b"\0")
    open_ = list(peers)
    while open_ and not over():
        for peer in list(open_):
            if _gone(peer):
                ended.append(time.monotonic() - start)
                open_.remove(peer)
        time.sleep(1.0)
    for peer in peers:
        peer.close()
    return _given_up(scene, ended, 8)


def idle_peers(scene: Scene) -> Seen:
    """Peers that take every place and say nothing more; the next client must be told."""
    peers = [socket.create_connection(scene.address, 5.0) for _ in range(16)]
    for peer in peers:
        peer.sendall(_OPENING)
    time.sleep(1.0)
    said, end = _talk(scene.address, _OPENING, scene.seconds)
    logged = re.search(r"(?i)\b(taken|busy|waits?|full)\b", scene.server.text())
    for peer in peers:
        peer.close()
    told = [message.text for message in said if isinstance(message, Text)]
    return Seen(
        f"the 17th client: {told[0][:60] if told else f'no message ({end})'}; "
        f"{'a' if logged else 'no'} line in the log",
        bool(told) and bool(logged),
    )


def resets(scene: Scene) -> Seen:
    """Clients that reset or close the connection in the middle of an image."""
    over, count, dice = scene.over(), 0, random.Random(1)
    while not over() or count < 20:
        break_off(scene.address, scene.examination, dice)
        count += 1
        time.sleep(0.05)
    return Seen(f"{count} connections broken off", True)


def break_off(address: Address, examination: Examination, dice: random.Random) -> None:
    """Send a part of an examination, and close or reset the connection.

    Raises:
        OSError: no connection.
    """
    data = _OPENING + b"".join(map(encode, examination.images[:9]))
    with _connected(address) as connection, contextlib.suppress(OSError):
        connection.sendall(data[: dice.randrange(len(_OPENING), len(data))])
        if dice.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


def nonsense(scene: Scene) -> Seen:
    """Bytes that are nothing, and other protocols: HTTP, TLS, DICOM."""
    dice = random.Random(2)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(506)
    associate = b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00" + b"ORTHANC".ljust(16) + bytes(180)
    kinds = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello, associate, b"\xff\xff", bytes(64),
        *(dice.randbytes(dice.randrange(2, 4000)) for _ in range(20)),
    ]  # fmt: skip
    served = 0
    for data in kinds:
        said, end = _talk(scene.address, data, scene.stalled_s + 10.0, half_close=True)
        served += end in ("eof", "reset") and not _originals(said)
    return Seen(f"{served} of {len(kinds)} connections ended by the server", served == len(kinds))


def announced(scene: Scene) -> Seen:
    """Lengths that no memory holds."""
    head = bytearray(_image(size=8).header.pack())
    struct.pack_into("<3H", head, 16, 65535, 65535, 65535)
    attributes = _image(size=8).header.pack() + struct.pack("<Q", 1 << 60)
    acquisition = bytearray(340)
    struct.pack_into("<34xH2xH136xH", acquisition, 0, 65535, 65535, 3)
    kinds = [
        struct.pack("<HI", MessageId.TEXT, 0xFFFFFFFF), struct.pack("<HI", MessageId.CONFIG_TEXT, 0x7FFFFFFF),
        struct.pack("<H", MessageId.IMAGE) + bytes(head), struct.pack("<H", MessageId.IMAGE) + attributes,
        struct.pack("<H", MessageId.ACQUISITION) + bytes(acquisition),
    ]  # fmt: skip
    told = 0
    for data in kinds * 3:
        said, _ = _talk(scene.address, _OPENING + data, 10.0)
        told += any(isinstance(message, Text) and "limit" in message.text for message in said)
    return Seen(f"{told} of {3 * len(kinds)} refused in a message", told == 3 * len(kinds))


def crowd(scene: Scene, clients: int = 200) -> Seen:
    """Two hundred good clients at once."""
    tallies = [Tally() for _ in range(clients)]
    threads = [
        threading.Thread(
            target=tally.examine, args=(scene.address, scene.examination), kwargs={"timeout_s": 240}
        )
        for tally in tallies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exact = sum(not tally.lost and not tally.problems for tally in tallies)
    results = sum(tally.results for tally in tallies)
    return Seen(f"{exact} of {clients} exact, {results} maps", exact == clients)


def deep_json(scene: Scene) -> Seen:
    """JSON nested a hundred thousand times, as parameters and as a DICOM header."""
    deep = "[" * 100_000 + "]" * 100_000
    dicom = base64.b64encode(deep.encode()).decode()
    opening = encode(ConfigText(f'{{"parameters": {deep[:60_000]}}}')) + _OPENING + encode(Text(deep))
    return _pass(scene, [_image({"DicomJson": dicom, "SequenceDescription": "T1map_MOLLI"})] * 10, opening)


def text_flood(scene: Scene) -> Seen:
    """Short texts with unknown configurations as fast as the server takes them, the answers unread."""
    over, before, sent = scene.over(), len(scene.server.text()), 0
    data = encode(Text('{"parameters": {"config": "x\\ny"}}')) * 1000
    with _connected(scene.address, 2.0) as connection, contextlib.suppress(OSError):
        connection.sendall(_OPENING)
        left = memoryview(data)
        while not over():
            with contextlib.suppress(TimeoutError):
                count = connection.send(left)
                sent += count
                left = left[count:] or memoryview(data)
    grown = len(scene.server.text()) - before
    return Seen(f"{1000 * sent // len(data)} texts, log grown by {grown / 1e6:.2f} MB", grown < 1_000_000)


def termination(scene: Scene) -> Seen:
    """SIGTERM while a client sends: everything that it sent comes back, and it is told."""
    images = scene.examination.images
    came: Counter[str] = Counter()
    sent = 0
    with _connected(scene.address, 30.0) as connection:
        reader = threading.Thread(target=_count, args=(connection, came))
        reader.start()
        connection.sendall(encode(ConfigFile("mapping")) + encode(Header(scene.examination.header)))
        for image in images[:9]:
            _send_paced(connection, encode(image))
            sent += 1
        time.sleep(1.0)
        scene.server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        reader.join(30.0)
        took = time.monotonic() - start
    told = "told" if came["stopping"] else "not told why"
    seen = (
        f"{came['original']} of {sent} images and {came['result']} results back within {took:.0f} s, {told}"
    )
    return Seen(seen, came["original"] == sent and came["Close"] == 1 and came["stopping"] > 0)


def unread(scene: Scene) -> Seen:
    """A client that reads slowly and goes on sending after an error: what was finished still arrives."""
    images = scene.examination.images
    data = encode(ConfigFile("mapping")) + encode(Header(scene.examination.header))
    data += b"".join(map(encode, images)) + b"\xff\xff" + bytes(4_000_000)
    decoder, came = Decoder(), Counter[str]()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        connection.settimeout(20.0)
        connection.connect(scene.address)
        sender = threading.Thread(target=_send_quietly, args=(connection, data), daemon=True)
        sender.start()
        with contextlib.suppress(OSError, ProtocolError):
            while part := connection.recv(1 << 15):
                came.update(_kind(message) for message in decoder.receive(part))
                time.sleep(0.002)
    complete = came["original"] == len(images) and came["Close"] == 1 and came["Text"] > 0
    seen = f"{came['original']} of {len(images)} originals, {came['result']} results, {came['Text']} texts"
    return Seen(seen, complete and came["result"] >= scene.examination.slices)


def module_runs(scene: Scene, runs: int = 6) -> Seen:
    """The module that Gadgetron starts: with and without images, it ends with code 0."""
    codes = Counter[int | None]()
    configuration = b"<configuration/>"
    header = scene.examination.header.encode()
    opening = struct.pack("<HI", MessageId.CONFIG_TEXT, len(configuration)) + configuration
    opening += struct.pack("<HI", MessageId.HEADER, len(header)) + header
    with socket.create_server(("localhost", 0)) as listening:
        listening.settimeout(60.0)
        for number, count in zip(range(runs), cycle((0, 8, 3))):
            port = listening.getsockname()[1]
            command = [sys.executable, "-P", "-m", "inline.serving.gadgetron", str(port)]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(30.0)
                    images = b"".join(map(encode, scene.examination.images[:count]))
                    end = b"" if number % 2 else encode(Close())
                    connection.sendall(opening + images + end)
                    connection.shutdown(socket.SHUT_WR)
                    _read(connection, 30.0)
                codes[process.wait(30.0)] += 1
            except (OSError, subprocess.TimeoutExpired):
                codes[None] += 1
            finally:
                process.kill()
                process.wait()
    return Seen(f"{codes[0]} of {runs} runs ended with code 0", codes[0] == runs)


def _image(
    meta: dict[str, MetaValue] | None = None,
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


def _molli(size: int, *, named: bool = True, meta: dict[str, MetaValue] | None = None) -> list[Image]:
    """A series of eight images of a phantom with a T1 of 1000 ms."""
    images = []
    for number in range(8):
        time_ms = 100.0 + 400.0 * number
        value = abs(1.0 - 2.0 * np.exp(-time_ms / 1000.0)) * 1000.0
        about: dict[str, MetaValue] = {"InversionTime": f"{time_ms:g}", **(meta or {})}
        if named:
            about["SequenceDescription"] = "T1map_MOLLI"
        pixels = np.full(size * size, value, np.float32).tobytes()
        images.append(_image(about, size=size, pixels=pixels, number=number))
    return images


@contextlib.contextmanager
def _connected(address: Address, timeout_s: float = 20.0) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout_s) as connection:
        yield connection


def _read(connection: socket.socket, seconds: float) -> tuple[list[Message], str]:
    """Everything that comes within a time, and how it ended: ``eof``, ``reset`` or ``silent``."""
    decoder, said, end = Decoder(), list[Message](), time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(1 << 20)
            if not data:
                return said, "eof"
            said += decoder.receive(data)
    except TimeoutError:
        pass
    except OSError:
        return said, "reset"
    except ProtocolError:
        return said, "nonsense"
    return said, "silent"


def _talk(
    address: Address, data: bytes, seconds: float, *, half_close: bool = False
) -> tuple[list[Message], str]:
    """Send bytes and read all that comes, as :func:`_read`."""
    with _connected(address) as connection:
        sender = threading.Thread(target=_send_quietly, args=(connection, data, half_close), daemon=True)
        sender.start()
        return _read(connection, seconds)


def _send_paced(connection: socket.socket, data: bytes, share: int = 1) -> None:
    """Send at the rate of a network that so many senders share; loopback would be a dozen times faster."""
    start = time.monotonic()
    for at in range(0, len(data), _PACED_BYTES):
        connection.sendall(memoryview(data)[at : at + _PACED_BYTES])
        time.sleep(max(start + (at + _PACED_BYTES) * share / _GIGABIT - time.monotonic(), 0.0))


def _send_quietly(connection: socket.socket, data: bytes, half_close: bool = False) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)


def _kind(message: Message) -> str:
    match message:
        case Image(header) if header.image_series_index < _RESULTS_FROM:
            return "original"
        case Image():
            return "result"
        case Text(text) if re.search(r"(?i)\b(stops?|stopping|stopped|shut|ends|interrupted)\b", text):
            return "stopping"
        case _:
            return type(message).__name__


def _count(connection: socket.socket, came: Counter[str]) -> None:
    """Count the messages of a connection by kind until it ends; they are not kept."""
    decoder = Decoder()
    with contextlib.suppress(OSError, ProtocolError):
        while data := connection.recv(1 << 20):
            came.update(_kind(message) for message in decoder.receive(data))


def _originals(said: Sequence[Message]) -> int:
    return sum(_kind(message) == "original" for message in said)


def _pass(scene: Scene, images: Sequence[Image], opening: bytes = _OPENING) -> Seen:
    """Send images over and over; each must come back bit for bit, at once."""
    over, sent, back, slowest = scene.over(), 0, 0, 0.0
    while not over() or not sent:
        start = time.monotonic()
        said, _ = _talk(scene.address, opening + b"".join(map(encode, images)) + encode(Close()), 20.0)
        slowest = max(slowest, time.monotonic() - start)
        sent += len(images)
        came = Counter(message for message in said if isinstance(message, Image))
        back += len(images) - sum((Counter(images) - came).values())
        time.sleep(_PAUSE_S)
    return Seen(f"{back} of {sent} images returned, {slowest:.1f} s at most for {len(images)}", back == sent)


def _given_up(scene: Scene, after: Sequence[float], peers: int) -> Seen:
    latest = f" after at most {max(after):.0f} s" if after else ""
    return Seen(
        f"{len(after)} of {peers} given up{latest} (stalled_s {scene.stalled_s:g})", len(after) == peers
    )


def _gone(peer: socket.socket) -> bool:
    """Send one byte; say whether the server has closed the connection."""
    try:
        peer.sendall(b"\0")
        peer.setblocking(False)
        while data := peer.recv(1 << 16):
            del data
    except BlockingIOError:
        return False
    except OSError:
        pass
    finally:
        peer.setblocking(True)
    return True
