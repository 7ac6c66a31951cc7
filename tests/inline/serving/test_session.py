"""Session of one peer: order of what goes back, patience, memory, and the end. Without sockets."""

import json
import re
import struct
import threading
from collections import deque
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from inline.assembly.assembler import SeriesAssembler
from inline.data.memory import MemoryBudget
from inline.emit import mrd
from inline.mrd.image_header import ImageHeader, ImageType
from inline.mrd.messages import Acquisition, Close, ConfigFile, Header, Image, Text, Waveform
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.replies import records
from inline.serving import session as module
from inline.serving import slices as slices_module
from inline.serving.configuration import Configuration
from inline.serving.dialect import PIPE
from inline.serving.scheduler import Scheduler
from inline.serving.service import Service
from inline.serving.session import Session
from inline.serving.slices import Slices
from inline.serving.summary import Summary
from inline.serving.transport import Patience
from inline.settings import load_settings
from tests.inline.serving.messages import of, originals, parameters, texts


class Memory:
    """Transport from a list of chunks to a list of bytes; the stream ends after the last chunk."""

    def __init__(self, chunks, patience=None, clock=None):
        self.chunks, self.patience, self.clock = deque(chunks), patience or Patience(), clock
        self.sent, self.unread, self.reading = b"", None, threading.Event()
        self.reading.set()

    def receive(self):
        if self.clock is not None:
            self.clock.now += 0.05
        return self.chunks.popleft() if self.chunks else b""

    def send(self, data):
        assert self.reading.wait(60)
        self.sent += data

    def finish(self):
        pass

    def close(self, *, unread):
        self.unread = unread

    def abort(self):
        self.reading.set()


class Clock(SimpleNamespace):
    """Clock of a session that its sleeps and its transport move."""

    def __init__(self):
        super().__init__(now=0.0)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def decoded(data):
    decoder = Decoder()
    messages = list(decoder.receive(data))
    assert decoder.at_boundary
    return messages


def encoded(messages):
    return [each if isinstance(each, bytes) else encode(each) for each in messages]


def results(messages):
    return [record for record, _ in records(of(Image, messages))]


@pytest.fixture(scope="module")
def scheduler(ring_engine):
    made = Scheduler(Pipeline(ring_engine), 2, 60_000.0)
    yield made
    made.close()


@pytest.fixture
def run(scheduler):
    """Runs a session on some messages; returns what goes back, and the session."""

    def run_(messages, *, on=None, transport=None, settings=None, memory=None, **more):
        transport = transport or Memory(encoded(messages))
        # A busy machine must not make slices late where lateness is not tested.
        made = load_settings(**(settings or {})).model_copy(update={"budget_ms": 60_000.0})
        service = Service(on or scheduler, made)
        service.memory = memory or service.memory
        session = Session(transport, service, **more)
        session.run()
        return decoded(transport.sent), session

    return run_


@pytest.fixture
def client(run, examination):
    """As ``run``, for an examination with texts after its header; returns what goes back."""
    _, header, images = examination

    def client_(*texts_, sent=None, config="mapping", **settings):
        given = images if sent is None else sent
        return run([ConfigFile(config), Header(header), *texts_, *given, Close()], settings=settings)[0]

    return client_


def test_parameters_are_those_of_one_connection(client):
    asking, other = client(parameters(overlay="false", t1_scale="1.0365")), client()
    assert [each["t1_scale"] for each in results(asking)] == [1.0365, 1.0, 1.0365, 1.0]
    assert [each["t1_scale"] for each in results(other)] == [1.0] * 4
    for scaled, plain in zip(results(asking), results(other), strict=True):
        ratio = scaled["regions"][0]["median"] / plain["regions"][0]["median"]
        assert ratio == pytest.approx(scaled["t1_scale"], rel=1e-4)
    rgb = [[each.header.image_type == ImageType.RGB for each in of(Image, each)] for each in (asking, other)]
    assert [sum(each) for each in rgb] == [0, 4]


def test_a_client_may_wait_for_less_time_than_the_program(client):
    messages = client(parameters(budget_ms="0.001"))
    assert all("late" in each["flags"] for each in results(messages))
    assert any("not ready within 0 ms" in text for text in texts(messages))


def test_every_problem_is_a_text_and_loses_nothing(client, examination):
    _, _, images = examination
    messages = client(parameters(x=1), sent=[Acquisition(bytes(340)), *images, b"\x07\x00garbage"])
    warning, raw, nonsense, summary = texts(messages)
    assert re.match(r"WRN myostream: no parameter is named 'x'", warning)
    assert raw.startswith("ERR myostream: raw data is not reconstructed")
    assert nonsense.startswith("ERR myostream: ")
    assert "identifier 7" in nonsense
    assert summary.startswith("DBG myostream: 22 images came")
    assert originals(messages) == images
    assert len(results(messages)) == 4
    assert messages[-1] == Close()


def test_a_header_that_comes_twice_loses_no_series(client, examination):
    _, header, images = examination
    messages = client(sent=[*images[:3], Header(header), *images[3:]])
    assert len(results(messages)) == 4
    assert all("missing-images" not in each["flags"] for each in results(messages))


class Backwards:
    """Works on slices once it has all of them, the last one first."""

    def __init__(self, engine, number):
        self._pipeline, self._number, self._waiting = Pipeline(engine), number, []

    def submit(self, assembled, deliver, context=None, **_):
        self._waiting.append((assembled, deliver, context))
        if len(self._waiting) == self._number:
            threading.Thread(target=self._work).start()

    def _work(self):
        for assembled, deliver, context in reversed(self._waiting):
            deliver(self._pipeline.process(assembled, context), latecomer=False)


def test_results_go_out_in_the_order_of_their_slices_whichever_is_ready_first(run, ring_engine, examination):
    _, header, images = examination
    messages, _ = run(
        [ConfigFile("mapping"), Header(header), *images, Close()],
        on=Backwards(ring_engine, 4),
        settings={"assembly": {"corrected_wait_s": 0}},
    )
    order = [(each["series_index"], each["slice_index"]) for each in results_as_sent(messages)]
    assert order == [(1, 0), (2, 0), (1, 1), (2, 1)]


def results_as_sent(messages):
    """Records in the order in which they came; ``records`` sorts them."""
    attributes = [each.meta() for each in of(Image, messages)]
    return [json.loads(each["MYOSTREAM_RESULT"][0]) for each in attributes if "ROI_endo" in each]


def test_slices_belong_to_their_connection(run, ring_engine, examination):
    """The scheduler gives each owner a share."""
    _, header, images = examination
    owners = []

    class Recording(Backwards):
        def submit(self, *given, owner=None, **more):
            owners.append(owner)
            super().submit(*given, owner=owner, **more)

    for _ in range(2):
        run([ConfigFile("mapping"), Header(header), *images, Close()], on=Recording(ring_engine, 4))
    first, second = dict.fromkeys(owners)
    assert None not in (first, second)
    assert owners == [first] * 4 + [second] * 4


def test_slices_that_are_complete_together_go_in_slice_order(run, ring_engine, examination):
    """Without a stated number of images every series ends with the stream."""
    _, header, images = examination
    root = ElementTree.fromstring(header)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("encodingLimits", "TI")) or "userParameter" in child.tag:
                parent.remove(child)
    bare = ElementTree.tostring(root, encoding="unicode")
    later_first = sorted(images, key=lambda image: -image.header.slice)
    messages, _ = run(
        [ConfigFile("mapping"), Header(bare), *later_first, Close()], on=Backwards(ring_engine, 4)
    )
    order = [
        (each.header.image_series_index, each.header.slice)
        for each in of(Image, messages)
        if each.header.image_series_index >= 5000
    ]
    assert len(order) == 12
    assert order[::3] == [(5010, 0), (5010, 1), (5020, 0), (5020, 1)]


def test_a_result_that_cannot_be_encoded_is_reported_and_holds_up_no_other(client, monkeypatch):
    made = mrd.images

    def failing(result, *more):
        if result.identity.slice_index == 0 and result.quantity == "T1":
            raise struct.error("does not fit")
        return made(result, *more)

    monkeypatch.setattr(mrd, "images", failing)
    messages = client()
    assert len(results(messages)) == 3
    assert any(text.startswith("ERR") and "could not be sent" in text for text in texts(messages))


def test_an_unexpected_error_of_one_message_does_not_end_the_stream(client, examination, monkeypatch):
    def failing(self, measurement):
        raise KeyError("a bug")

    monkeypatch.setattr(Slices, "begin", failing)
    messages = client()
    assert originals(messages) == examination[2]
    assert any("a message could not be taken: KeyError" in text for text in texts(messages))


def test_an_assembly_that_fails_loses_no_image_and_no_other_slice(client, examination, monkeypatch):
    _, _, images = examination
    add = SeriesAssembler.add

    def failing(self, image, now):
        if image == images[3]:
            raise ZeroDivisionError
        return add(self, image, now)

    monkeypatch.setattr(SeriesAssembler, "add", failing)
    messages = client()
    assert originals(messages) == images
    assert "could not be sorted" in texts(messages)[0]
    assert len(results(messages)) == 4  # one of them without the image that failed


def test_a_summary_that_fails_does_not_keep_the_close_back(client, monkeypatch):
    def failing(self):
        raise ZeroDivisionError

    monkeypatch.setattr(Summary, "text", failing)
    messages = client()
    assert len(results(messages)) == 4
    assert messages[-1] == Close()


def test_an_endless_connection_states_the_levels_of_its_last_slices_and_accounts_for_all(
    run, examination, monkeypatch
):
    monkeypatch.setattr("inline.serving.slices._MOST_SLICES", 3)
    _, header, images = examination
    other = header.replace("simulated mapping", "another one")
    assert other != header
    sent = [ConfigFile("mapping"), Header(header), *images, Header(other), *images, Close()]
    messages, _ = run(sent)
    (summary,) = [each.text for each in messages if isinstance(each, Text) and "came" in each.text]
    assert f"{2 * len(images)} images came. {2 * len(images)} images made 8 series and 8 results" in summary
    assert len(re.findall(r"series \d+ slice \d+", summary)) == 3


def test_images_that_are_only_passed_on_are_accounted_for(client, examination):
    messages = client(config="passthrough")
    assert originals(messages) == examination[2]
    assert texts(messages) == [
        "DBG myostream: 22 images came. 22 images made no map: passed on, not worked on (22)."
    ]


def test_a_connection_without_images_says_so(client):
    assert texts(client(sent=[])) == ["DBG myostream: No image came."]


@pytest.mark.parametrize("sent", [[ConfigFile("mapping"), Close()], []])
def test_a_connection_that_closes_before_any_header_is_answered_by_a_close(run, sent):
    assert run(sent)[0] == [Close()]


def test_a_second_close_is_no_error(run, examination):
    _, header, images = examination
    messages, session = run([ConfigFile("mapping"), Header(header), *images, Close(), Close()])
    assert len(results(messages)) == 4
    assert all("early-close" not in each["flags"] for each in results(messages))
    assert session.tally.closed
    assert session.tally.error == ""
    assert not any(text.startswith("ERR") for text in texts(messages))


# Pipes.


def test_a_pipe_gets_the_header_first_no_texts_and_the_close_last(run, examination):
    _, header, images = examination
    wave = Waveform(bytes(28) + struct.pack("<HH", 2, 1) + bytes(8 + 8))
    raw = Acquisition(bytes(340))
    before = [ConfigFile("nonsense"), Header(header), Header(header), Text("hello"), parameters(x=1)]
    messages, session = run([*before, wave, raw, *images, Header(header), Close()], dialect=PIPE)
    assert messages[:3] == [Header(header), wave, raw]
    assert messages[-1] == Close()
    assert all(isinstance(each, Image) for each in messages[3:-1])
    assert originals(messages) == images
    assert len(results(messages)) == 4
    assert session.tally.closed
    assert session.tally.error == ""


def test_a_pipe_may_begin_with_an_image(run, examination):
    _, _, images = examination
    messages, _ = run([*images, Close()], dialect=PIPE)
    assert isinstance(messages[0], Image)
    assert len(results(messages)) == 4


@pytest.mark.parametrize("cut", [-1, -2, -100])
def test_a_pipe_that_breaks_off_has_passed_what_came(cut, run, examination):
    _, header, images = examination
    data = b"".join(map(encode, (Header(header), *images[:17], Close())))
    passed = {"dialect": PIPE, "configuration": Configuration.PASSTHROUGH}
    messages, session = run([data[:cut]], **passed)
    whole = 17 if cut > -100 else 16
    assert messages == [Header(header), *images[:whole], Close()]
    assert not session.tally.closed
    assert (session.tally.error != "") is (cut != -2)


def test_pixels_of_any_bits_pass_a_pipe(run):
    rng = np.random.default_rng(3)
    images = [
        Image(ImageHeader(data_type=5, channels=2, matrix_size=(7, 5, 3)), b"\xff<", rng.bytes(2 * 105 * 4))
        for _ in range(5)
    ]
    assert run([*images, Close()], dialect=PIPE)[0] == [*images, Close()]


# Patience, by a clock that only the transport moves.


PATIENCE = Patience(0.5, 16384.0)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([None] * 20, "did not come within 0.5 s"),
        ([encode(ConfigFile("mapping"))[:-1], *[None] * 20], "did not come within 0.5 s"),
        ([b"\x03\x00", b"\xff\x00\x00\x00", *[b"x"] * 40], "it must come with at least 16384 bytes/s"),
    ],
    ids=["silent", "stops", "drips"],
)
def test_a_peer_that_is_silent_or_slow_in_a_message_is_cut_off(run, clock, chunks, reason):
    transport = Memory(chunks, PATIENCE, clock)
    messages, session = run([], transport=transport)
    assert reason in session.tally.error
    assert transport.chunks  # what came later is not received
    assert messages[-1] == Close()


def test_a_peer_may_be_silent_between_messages(run, clock):
    image = Image.from_pixels(np.ones((1, 1, 4, 4), np.uint16), ImageHeader())
    chunks = [encode(ConfigFile("passthrough")), *[None] * 100, encode(image) + encode(Close())]
    messages, session = run([], transport=Memory(chunks, PATIENCE, clock))
    assert of(Image, messages) == [image]
    assert session.tally.closed


class Paused(Memory):
    """The process is paused for a minute before the chunk with this number, which comes at once then."""

    def __init__(self, chunks, number, patience=None, clock=None):
        super().__init__(chunks, patience, clock)
        self.after = len(chunks) - number

    def receive(self):
        if len(self.chunks) == self.after:
            self.clock.now += 60.0
        return super().receive()


@pytest.mark.parametrize("number", [4, 10, 18])
def test_images_that_came_in_a_pause_of_the_process_are_of_their_series(
    run, clock, monkeypatch, examination, number
):
    monkeypatch.setattr(slices_module, "time", clock)
    _, header, images = examination
    mixed = sorted(images, key=lambda each: each.header.image_index)  # all series are open at once
    chunks = encoded([Header(header), *mixed, Close()])
    messages, session = run([], transport=Paused(chunks, number, clock=clock))
    assert session.tally.slices == 4
    assert all("missing-images" not in each["flags"] for each in results(messages))


def test_an_image_that_came_in_a_pause_after_long_silence_is_of_its_series(
    run, clock, monkeypatch, examination
):
    monkeypatch.setattr(slices_module, "time", clock)
    _, header, images = examination
    chunks = [*encoded([Header(header), *images[:7]]), *[None] * 590, *encoded([images[7], Close()])]
    messages, _ = run([], transport=Paused(chunks, len(chunks) - 2, clock=clock))
    assert ["missing-images" in each["flags"] for each in results(messages)] == [False]


def test_corrected_images_that_came_in_a_pause_replace_the_others(run, clock, monkeypatch, examination):
    monkeypatch.setattr(slices_module, "time", clock)
    _, header, images = examination
    corrected = [
        replace(
            each,
            attributes=each.attributes.replace(b"T1map_MOLLI", b"T1map_MOLLI_MOCO"),
            header=replace(each.header, image_series_index=77),
        )
        for each in images[:8]
    ]
    chunks = encoded([Header(header), *images[:8], *corrected, Close()])
    messages, session = run([], transport=Paused(chunks, 9, clock=clock))
    assert len(results(messages)) == session.tally.slices == 1


def test_a_series_whose_sender_is_silent_for_long_is_complete(run, clock, monkeypatch, examination):
    monkeypatch.setattr(slices_module, "time", clock)
    _, header, images = examination
    chunks = [*encoded([Header(header), *images[:7]]), *[None] * 630, *encoded([images[7], Close()])]
    messages, _ = run([], transport=Memory(chunks, clock=clock))
    assert ["missing-images" in each["flags"] for each in results(messages)] == [True]


def test_a_pause_of_the_process_in_a_message_is_not_of_the_peer(run, clock):
    whole = encode(ConfigFile("mapping"))
    chunks = [whole[:9], whole[9:99], whole[99:], encode(Close())]
    _, session = run([], transport=Paused(chunks, 1, Patience(2.0, 16384.0), clock))
    assert (session.tally.error, session.tally.closed) == ("", True)


def test_a_flood_of_texts_slows_itself_down_and_an_image_ends_it(run, clock):
    image = Image.from_pixels(np.ones((1, 1, 4, 4), np.uint16), ImageHeader())
    run([*[Text("hello")] * 300, image, *[Text("hello")] * 256, Close()])
    assert clock.now == pytest.approx((300 - 256) * 0.005)


# Memory.


@pytest.mark.parametrize("slowly", [False, True])
def test_a_connection_that_holds_too_much_loses_maps_and_no_image_and_is_warned_once(
    run, examination, slowly
):
    _, header, images = examination
    # Series that never end: the header announces eight and three images.
    growing = [
        replace(each, header=replace(each.header, image_series_index=3 + number))
        for number in range(40)
        for each in images[:7]
    ]
    transport = Memory(encoded([ConfigFile("mapping"), Header(header), *growing, *images, Close()]))
    if slowly:
        transport.reading.clear()
        threading.Timer(0.3, transport.reading.set).start()
    limits = {"memory_bytes": 1 << 27, "connection_bytes": 1 << 23, "queue_bytes": 1 << 20}
    messages, _ = run([], transport=transport, settings={"server": limits})
    assert originals(messages) == growing + images
    assert sum(text.startswith("WRN myostream: the memory limit") for text in texts(messages)) == 1
    assert "memory limit of the connection reached (" in texts(messages)[-1]
    # The latest series are whole.
    assert sum("missing-images" not in each["flags"] for each in results(messages)) >= 4


def test_images_too_large_for_a_map_pass_and_are_reported(client, examination):
    messages = client(assembly={"fitted_pixels": 1 << 12})
    assert originals(messages) == examination[2]
    assert sum("assembly.fitted_pixels allows 4096 pixels" in text for text in texts(messages)) == 4


def test_nothing_is_counted_after_a_connection_has_ended(run, examination):
    _, header, images = examination
    memory = MemoryBudget(1 << 26, connections=2)
    free = memory.free
    for sent in ([*images, Close()], images[:5], [*images, Text("{" * 9)], [Acquisition(bytes(340))]):
        _, session = run([ConfigFile("mapping"), Header(header), *sent], memory=memory)
        assert session._memory.held == 0
    assert memory.free == free


@pytest.mark.parametrize("freed", [True, False])
def test_a_large_message_waits_while_others_hold_all_of_the_memory(run, clock, freed):
    memory = MemoryBudget(1 << 26, connections=16)
    hog = memory.connection()
    hog.take(1 << 26)
    image = Image.from_pixels(np.ones((1, 1, 2048, 4096), np.uint16), ImageHeader())
    data = encode(image)
    parts = [data[start : start + (1 << 20)] for start in range(0, len(data), 1 << 20)]
    sleep = clock.sleep

    def freeing(seconds):
        if freed and hog.held:
            hog.release(1 << 26)
        sleep(seconds)

    clock.sleep = freeing
    messages, session = run([*parts, Close()], memory=memory)
    assert of(Image, messages) == ([image] if freed else [])
    assert session.tally.error == ("" if freed else "there is no memory for a large message; send it later")


def test_texts_that_nobody_reads_are_bounded(run, clock, caplog):
    transport = Memory([encode(ConfigFile("mapping")), encode(parameters(x=1)) * 15_000])
    transport.reading.clear()
    # The sender waits in its first text until all messages are taken.
    received = transport.receive

    def receive():
        data = received()
        if not data:
            transport.reading.set()
        return data

    transport.receive = receive
    _, session = run([], transport=transport)
    assert session._queue.texts_dropped > 5_000
    assert "texts were not sent" in caplog.text
