"""What a session does for clients, chains and pipes beyond passing images on."""

import json
import os
import re
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Acquisition, Close, ConfigFile, ConfigText, Header, Image, Text, Waveform
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.run import records
from inline.serving.configuration import Configuration
from inline.serving.deadlines import Patience
from inline.serving.dialect import PIPE
from inline.serving.examinations import Examinations
from inline.serving.memory import MemoryBudget
from inline.serving.scheduler import Processor
from inline.serving.session import Session
from inline.serving.transport import PipeTransport, SocketTransport
from inline.settings import load_settings

PREFIXED = re.compile(r"(DBG|WRN|ERR) myostream: \S")


def decoded(data):
    decoder = Decoder()
    messages = list(decoder.receive(data))
    assert decoder.at_boundary
    return messages


def talk(address, messages, *, pause=0.0):
    """Everything that a server sends to a client that sends these messages and reads after a pause."""
    with socket.create_connection(address, timeout=30) as connection:
        data = b"".join(each if isinstance(each, bytes) else encode(each) for each in messages)
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        time.sleep(pause)
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    return decoded(received)


def texts(messages):
    return [message.text for message in messages if isinstance(message, Text)]


def of_images(messages):
    return [message for message in messages if isinstance(message, Image)]


def parameters(**values):
    return Text(json.dumps({"version": "1.1.0", "parameters": values}))


def results(messages):
    return [record for record, _ in records(of_images(messages))]


@pytest.fixture
def client(serving, examination):
    """Sends the examination with texts after the header, and returns what comes back."""
    _, header, images = examination

    def send(*texts_, config="mapping", sent=None, pause=0.0, **settings):
        with serving(**settings) as server:
            given = images if sent is None else sent
            messages = [ConfigFile(config), Header(header), *texts_, *given, Close()]
            return talk(server.address, messages, pause=pause)

    return send


def test_parameters_are_those_of_one_connection(serving, examination):
    _, header, images = examination
    start = [ConfigFile("mapping"), Header(header)]
    with serving() as server:
        asking = talk(
            server.address, [*start, parameters(overlay="false", t1_scale="1.0365"), *images, Close()]
        )
        other = talk(server.address, [*start, *images, Close()])
    assert [each["t1_scale"] for each in results(asking)] == [1.0365, 1.0, 1.0365, 1.0]
    assert [each["t1_scale"] for each in results(other)] == [1.0] * 4
    for scaled, plain in zip(results(asking), results(other), strict=True):
        ratio = scaled["regions"][0]["median"] / plain["regions"][0]["median"]
        assert ratio == pytest.approx(scaled["t1_scale"], rel=1e-4)
    rgb = [[each.header.image_type == ImageType.RGB for each in of_images(each)] for each in (asking, other)]
    assert [sum(each) for each in rgb] == [0, 4]


def test_a_client_may_wait_for_less_time_than_the_program(client):
    messages = client(parameters(budget_ms="0.001"))
    assert all("late" in each["flags"] for each in results(messages))
    assert any("not ready within 0 ms" in text for text in texts(messages))


def test_the_inner_object_alone_is_understood_and_a_chain_may_send_it_too(client, serving, examination):
    assert results(client(Text('{"t1_scale": 1.1}')))[0]["t1_scale"] == 1.1
    _, header, images = examination
    xml = '<configuration><myostream t1_scale="1.1" overlay="true"/></configuration>'
    with serving() as server:
        messages = talk(server.address, [ConfigText(xml), Header(header), *images, Close()])
    assert results(messages)[0]["t1_scale"] == 1.1
    assert sum(each.header.image_type == ImageType.RGB for each in of_images(messages)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (Text("[" * 60_000), "nested too deeply"),
        (Text('{"parameters": ' * 2_000), "nested too deeply"),
        (Text('{"parameters": {"t1_scale": 1.1'), "cannot be read"),
        (Text('{"parameters": 5}'), "holds no object of parameters"),
        (Text("[1, 2]"), "holds no object of parameters"),
        (Text('{"a": "' + "x" * 100_000 + '"}'), "characters is not read"),
        (parameters(weights="/etc/passwd"), "no parameter is named 'weights'"),
        (parameters(t1_scale="three"), "t1_scale cannot be 'three'"),
        (parameters(config="evil"), "there is no configuration 'evil'"),
        (parameters(config=7), "config is no text"),
    ],
    ids=range(10),
)
def test_what_cannot_be_used_is_said_and_nothing_is_lost(text, said, client, examination):
    messages = client(text)
    assert any(each.startswith("WRN myostream:") and said in each for each in texts(messages))
    assert [each for each in of_images(messages) if each.header.image_series_index < 10] == examination[2]
    assert len(results(messages)) == 4


def test_a_client_that_names_no_configuration_is_told_too(serving, examination):
    _, header, images = examination
    with serving() as server:
        messages = talk(server.address, [Header(header), parameters(t1_scale=9), *images, Close()])
    assert any("t1_scale cannot be 9" in text for text in texts(messages))


def test_plain_words_are_no_parameters(client):
    assert len(texts(client(Text("scan started")))) == 1  # the summary


def test_motion_after_the_first_image_is_too_late_and_said(client, examination):
    _, _, images = examination
    messages = client(sent=[images[0], parameters(motion="uncorrected", t1_scale=1.1), *images[1:]])
    assert any("motion came after the first image" in text for text in texts(messages))
    assert results(messages)[0]["t1_scale"] == 1.1


@pytest.mark.parametrize("broken", [b"", b"\x07\x00garbage"])
def test_every_text_begins_with_what_consoles_colour_by(broken, client, examination):
    _, _, images = examination
    acquisition = Acquisition(bytes(340))
    messages = client(parameters(x=1), sent=[acquisition, *images, *([broken] if broken else [])])
    said = texts(messages)
    assert len(said) == 3 + bool(broken)
    assert all(PREFIXED.match(text) for text in said)
    assert [text[:3] for text in said if "raw data" in text or "identifier 7" in text] == ["ERR"] * (
        1 + bool(broken)
    )


def test_originals_may_stay_away_where_results_alone_are_wanted(client, examination):
    messages = client(emit={"originals": "none"})
    assert len(of_images(messages)) == 12
    assert len(results(messages)) == 4
    assert of_images(client(config="passthrough", emit={"originals": "none"})) == examination[2]
    assert len(of_images(client(parameters(originals="none")))) == 12


def test_originals_may_keep_their_geometry_at_the_console(client, examination):
    _, _, images = examination
    odd = Image(ImageHeader(matrix_size=(4, 4, 1), data_type=1), b"<broken", bytes(32))
    messages = client(sent=[*images, odd], emit={"originals": "keep-geometry"})
    came = [each for each in of_images(messages) if each.header.image_series_index < 10]
    assert came[-1] == odd
    for original, back in zip(images, came, strict=False):
        assert back.data == original.data
        assert (
            replace(back.header, attribute_string_len=original.header.attribute_string_len) == original.header
        )
        assert back.header.attribute_string_len == len(back.attributes)
        meta = dict(back.meta())
        assert meta.pop("Keep_image_geometry") == ("1",)
        assert meta == original.meta()
    assert len(results(messages)) == 4


def test_a_comment_in_a_chains_configuration_changes_nothing(serving, examination):
    _, header, images = examination
    xml = '<configuration><!-- Pr\u00fcfung --><myostream config="passthrough"/></configuration>'
    raw = Acquisition(bytes(340))
    with serving() as server:
        messages = talk(server.address, [ConfigText(xml), Header(header), raw, *images, Close()])
    assert messages == [raw, *images, Close()]


def test_a_header_that_comes_twice_loses_no_series(client, examination):
    _, header, images = examination
    messages = client(sent=[*images[:3], Header(header), *images[3:]])
    assert len(results(messages)) == 4
    assert all("missing-images" not in each["flags"] for each in results(messages))


class Backwards:
    """Works on slices once it has all of them, the last one first."""

    def __init__(self, engine, number):
        self.examinations = Examinations()
        self._pipeline, self._number, self._waiting = Pipeline(engine), number, []

    def submit(self, assembled, done, context=None, *, budget_ms=None, owner=None):
        self._waiting.append((assembled, done, context))
        if len(self._waiting) == self._number:
            threading.Thread(target=self._work).start()

    def _work(self):
        for assembled, done, context in reversed(self._waiting):
            done(self._pipeline.process(assembled, context), latecomer=False)


def served(processor, messages, **settings):
    """What a session sends to a client, over a socket pair."""
    ours, theirs = socket.socketpair()
    with theirs:
        session = Session(
            SocketTransport(ours, Patience(30.0, 16384.0)), processor, load_settings(**settings)
        )
        thread = threading.Thread(target=session.run)
        thread.start()
        threading.Thread(target=theirs.sendall, args=(b"".join(map(encode, messages)),)).start()
        received = b""
        while part := theirs.recv(1 << 16):
            received += part
        thread.join(timeout=30)
    return decoded(received)


def test_results_go_out_in_the_order_of_their_slices_whichever_is_ready_first(ring_engine, examination):
    _, header, images = examination
    messages = served(
        Backwards(ring_engine, 4),
        [ConfigFile("mapping"), Header(header), *images, Close()],
        assembly={"corrected_wait_s": 0},
    )
    maps = [
        json.loads(each.meta()["MYOSTREAM_RESULT"][0])
        for each in of_images(messages)
        if "ROI_endo" in each.meta()
    ]
    assert [(each["series_index"], each["slice_index"]) for each in maps] == [(1, 0), (2, 0), (1, 1), (2, 1)]


def test_slices_belong_to_their_connection(ring_engine, examination):
    """The scheduler gives each owner a share."""
    _, header, images = examination
    owners = []

    class Recording(Backwards):
        def submit(self, *given, owner=None, **more):
            owners.append(owner)
            super().submit(*given, owner=owner, **more)

    for _ in range(2):
        served(Recording(ring_engine, 4), [ConfigFile("mapping"), Header(header), *images, Close()])
    first, second = dict.fromkeys(owners)
    assert None not in (first, second)
    assert owners == [first] * 4 + [second] * 4


def test_slices_that_are_complete_together_go_in_slice_order(ring_engine, examination):
    """Without a stated number of images every series ends with the stream."""
    _, header, images = examination
    root = ElementTree.fromstring(header)
    for parent in list(root.iter()):
        for child in list(parent):
            if (
                child.tag.endswith("encodingLimits")
                or child.tag.endswith("TI")
                or "userParameter" in child.tag
            ):
                parent.remove(child)
    bare = ElementTree.tostring(root, encoding="unicode")
    later_first = sorted(images, key=lambda image: -image.header.slice)
    messages = served(Backwards(ring_engine, 4), [ConfigFile("mapping"), Header(bare), *later_first, Close()])
    order = [
        (each.header.image_series_index, each.header.slice)
        for each in of_images(messages)
        if each.header.image_series_index >= 5000
    ]
    assert len(order) == 12
    assert order[::3] == [(5010, 0), (5010, 1), (5020, 0), (5020, 1)]


def test_a_result_that_cannot_be_made_is_said_and_holds_up_no_other(serving, examination, monkeypatch):
    from inline.emit import mrd

    made = mrd.images

    def failing(result, *more):
        if result.identity.slice_index == 0 and result.quantity == "T1":
            raise struct.error("does not fit")
        return made(result, *more)

    monkeypatch.setattr(mrd, "images", failing)
    _, header, images = examination
    with serving() as server:
        messages = talk(server.address, [ConfigFile("mapping"), Header(header), *images, Close()])
    assert len(results(messages)) == 3
    assert any(text.startswith("ERR") and "could not be sent" in text for text in texts(messages))


def test_results_reach_a_client_that_still_sends_when_its_stream_is_given_up(serving, examination):
    """Closing with unread bytes would reset the connection and discard what the client has not read yet."""
    _, header, images = examination
    with serving() as server, socket.create_connection(server.address, timeout=30) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images)))
        nonsense = b"\xff" * (8 << 20)
        threading.Thread(target=slow.sendall, args=(data + nonsense,), daemon=True).start()
        received = b""
        while part := slow.recv(1 << 14):
            received += part
            time.sleep(0.001)
    messages = decoded(received)
    assert messages[-1] == Close()
    assert [each for each in of_images(messages) if each.header.image_series_index < 10] == images
    assert len(results(messages)) == 4
    assert any("ERR" in text for text in texts(messages))


def test_a_stop_reaches_a_client_that_still_sends(serving, examination):
    _, header, images = examination

    def send(connection):
        with suppress(OSError):
            while True:
                connection.sendall(encode(images[0]))

    with (
        serving(server={"port": 0, "queue_bytes": 1 << 20}) as server,
        socket.create_connection(server.address, timeout=30) as slow,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        threading.Thread(target=send, args=(slow,), daemon=True).start()
        received = slow.recv(1 << 16)
        server.stop()
        while part := slow.recv(1 << 14):
            received += part
            time.sleep(0.001)
    messages = decoded(received)
    assert messages[-1] == Close()
    assert any(text.startswith("ERR myostream: the server stops") for text in texts(messages))


@pytest.fixture
def pipe(ring_engine):
    """Runs a session over two pipes, and returns what comes out and the tally."""

    def run(messages, **more):
        processor = Processor(Pipeline(ring_engine), 2, 60_000.0)
        into, source = os.pipe()[::-1]
        out, sink = os.pipe()
        session = Session(PipeTransport(source, sink), processor, load_settings(), dialect=PIPE, **more)
        tally = []
        threads = [threading.Thread(target=lambda: tally.append(session.run()))]
        data = b"".join(each if isinstance(each, bytes) else encode(each) for each in messages)

        def send():
            with os.fdopen(into, "wb") as file:
                file.write(data)

        threads.append(threading.Thread(target=send))
        for thread in threads:
            thread.start()
        with os.fdopen(out, "rb") as file:
            received = file.read()
        for thread in threads:
            thread.join(timeout=30)
        processor.close()
        return decoded(received), tally[0]

    return run


def test_a_pipe_gets_the_header_first_no_texts_and_the_close_last(pipe, examination):
    _, header, images = examination
    wave = Waveform(bytes(28) + struct.pack("<HH", 2, 1) + bytes(8 + 8))
    raw = Acquisition(bytes(340))
    before = [ConfigFile("nonsense"), Header(header), Header(header), Text("hello"), parameters(x=1)]
    sent = [*before, wave, raw, *images, Header(header), Close()]
    messages, tally = pipe(sent)
    assert messages[0] == Header(header)
    assert messages[1:3] == [wave, raw]
    assert messages[-1] == Close()
    assert not any(isinstance(each, Text | ConfigFile | ConfigText) for each in messages)
    assert sum(isinstance(each, Header) for each in messages) == 1
    assert [each for each in of_images(messages) if each.header.image_series_index < 10] == images
    assert len(results(messages)) == 4
    assert tally.closed
    assert tally.error == ""


def test_a_pipe_may_begin_with_an_image(pipe, examination):
    _, _, images = examination
    messages, _ = pipe([*images, Close()])
    assert isinstance(messages[0], Image)
    assert len(results(messages)) == 4


def test_the_command_line_goes_before_what_a_pipe_asks_for(pipe, examination):
    _, header, images = examination
    sent = [ConfigFile("mapping"), Header(header), parameters(config="mapping"), *images, Close()]
    messages, _ = pipe(sent, configuration=Configuration.PASSTHROUGH)
    assert messages == [Header(header), *images, Close()]


@pytest.mark.parametrize("cut", [-1, -2, -100])
def test_a_pipe_that_breaks_off_has_passed_what_came(cut, pipe, examination):
    _, header, images = examination
    data = b"".join(map(encode, (Header(header), *images[:17], Close())))
    messages, tally = pipe([data[:cut]])
    whole = 17 if cut > -100 else 16
    assert [each for each in of_images(messages) if each.header.image_series_index < 10] == images[:whole]
    assert messages[-1] == Close()
    assert not tally.closed
    assert (tally.error != "") is (cut != -2)


def test_pixels_that_no_one_has_seen_pass_a_pipe(pipe):
    rng = np.random.default_rng(3)
    images = [
        Image(ImageHeader(data_type=5, channels=2, matrix_size=(7, 5, 3)), b"\xff<", rng.bytes(2 * 105 * 4))
        for _ in range(5)
    ]
    messages, _ = pipe([*images, Close()])
    assert messages == [*images, Close()]


# Memory.


def budget(**more):
    return {"port": 0, "memory_bytes": 1 << 27, **more}


@pytest.mark.parametrize("pause", [0.0, 2.0])
def test_a_connection_that_holds_too_much_loses_maps_and_no_image_and_is_told_once(
    client, examination, pause
):
    _, _, images = examination
    # Series that never end: the header announces eight and three images.
    growing = [
        replace(image, header=replace(image.header, image_series_index=3 + number))
        for number in range(40)
        for image in images[:7]
    ]
    messages = client(sent=growing + images, pause=pause, server=budget(connection_bytes=1 << 23))
    assert [each for each in of_images(messages) if each.header.image_series_index < 1000] == growing + images
    told = [text for text in texts(messages) if text.startswith("WRN myostream: the memory limit")]
    assert len(told) == 1
    assert "memory limit of the connection reached (" in texts(messages)[-1]
    # The latest series are whole.
    assert sum("missing-images" not in each["flags"] for each in results(messages)) >= 4


def test_what_is_too_large_for_a_map_passes_and_is_reported(client, examination):
    _, _, images = examination
    messages = client(assembly={"fitted_pixels": 1 << 12})
    assert [each for each in of_images(messages) if each.header.image_series_index < 1000] == images
    assert sum("assembly.fitted_pixels allows 4096 pixels" in text for text in texts(messages)) == 4


def test_nothing_is_counted_after_a_connection_has_ended(ring_engine, examination):
    _, header, images = examination
    processor = Processor(Pipeline(ring_engine), 2, 60_000.0)
    memory = MemoryBudget(1 << 26, connections=2)
    free = memory.free
    for sent in ([*images, Close()], images[:5], [*images, Text("{" * 9)], [Acquisition(bytes(340))]):
        ours, theirs = socket.socketpair()
        session = Session(
            SocketTransport(ours, Patience(30.0, 16384.0)), processor, load_settings(), memory=memory
        )
        thread = threading.Thread(target=session.run)
        thread.start()
        with theirs:
            theirs.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header), *sent))))
            theirs.shutdown(socket.SHUT_WR)
            while theirs.recv(1 << 16):
                pass
        thread.join(timeout=30)
        assert session._memory.held == 0
    processor.close()
    assert memory.free == free


def test_a_large_message_waits_while_others_hold_all_of_the_memory(ring_engine):
    processor = Processor(Pipeline(ring_engine), 2, 60_000.0)
    memory = MemoryBudget(1 << 26, connections=16)
    hog = memory.connection()
    hog.take(1 << 26)
    image = Image.from_pixels(np.ones((1, 1, 2048, 4096), np.uint16), ImageHeader())
    outcomes = []
    for free in (True, False):
        ours, theirs = socket.socketpair()
        made = load_settings(server={"stalled_s": 30.0 if free else 0.5})
        session = Session(SocketTransport(ours, Patience(30.0, 16384.0)), processor, made, memory=memory)
        threads = [
            threading.Thread(target=session.run),
            threading.Thread(target=swallowed, args=(theirs, b"".join(map(encode, (image, Close()))))),
        ]
        for thread in threads:
            thread.start()
        if free:
            time.sleep(0.5)
            hog.release(1 << 26)
        received = b""
        while part := theirs.recv(1 << 20):
            received += part
        outcomes.append(decoded(received))
        for thread in threads:
            thread.join(timeout=30)
        theirs.close()
        hog.take(1 << 26)
    processor.close()
    assert outcomes[0][0] == image
    assert of_images(outcomes[1]) == []
    assert session.tally.error == "there is no memory for a large message; send it later"


def swallowed(connection, data):
    with suppress(OSError):
        connection.sendall(data)


def test_texts_that_nobody_reads_are_bounded(ring_engine, caplog, monkeypatch):
    monkeypatch.setattr("inline.serving.session._TEXT_PAUSE_S", 0.0)
    processor = Processor(Pipeline(ring_engine), 2, 60_000.0)
    ours, theirs = socket.socketpair()
    session = Session(SocketTransport(ours, Patience(60.0, 16384.0)), processor, load_settings())
    thread = threading.Thread(target=session.run)
    thread.start()
    with theirs:
        theirs.sendall(encode(ConfigFile("mapping")) + encode(parameters(x=1)) * 30_000)
        theirs.shutdown(socket.SHUT_WR)
        while theirs.recv(1 << 16):
            pass
        thread.join(timeout=60)
    assert session._outbox.texts_dropped > 10_000
    assert "texts were not sent" in caplog.text
    processor.close()
