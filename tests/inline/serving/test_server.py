"""Server over real sockets: the wiring of sessions, several clients at a time, and the end."""

import contextlib
import errno
import itertools
import re
import signal
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inline import addresses
from inline.assembly.account import Account
from inline.assembly.assembler import SeriesAssembler
from inline.data.errors import ConfigurationError
from inline.data.flags import Flag
from inline.emit.publisher import Publisher, decode, subscribe
from inline.mrd.image_header import DATA_TYPES, ImageHeader, ImageType
from inline.mrd.messages import Close, ConfigFile, ConfigText, Header, Image, Text
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.client import ConnectionFailedError, exchange
from inline.replay.local_server import started_server
from inline.replay.replies import records
from inline.serving import signals
from inline.serving.observers import Observer, Observers
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server, check_address
from inline.settings import load_settings
from model.relaxometry.t2prep import t2_map
from tests.inline.conftest import wait_until
from tests.inline.serving.gated import Gated
from tests.inline.serving.messages import of, originals, read_all, talk, texts
from tests.shapes import Raising


def test_images_come_back_bit_exact_with_maps_contours_and_values(serving, examination):
    slices, header, images = examination
    with serving() as server:
        result = exchange(server.address, header, images)
    assert Counter(originals(result.images)) == Counter(images)
    found = records(result.images)
    assert [(record["slice_index"], record["quantity"]) for record, _ in found] == [
        (0, "T1"),
        (0, "T2"),
        (1, "T1"),
        (1, "T2"),
    ]
    for record, image in found:
        assert record["contours"] is not None
        assert record["regions"][0]["pixels"] > 100
        assert set(record["flags"]) <= {Flag.POOR_FIT, Flag.IMPLAUSIBLE_VALUES}
        assert image.pixels.dtype == np.uint16
        assert "ROI_endo" in image.meta()
        drawn = image.meta()["ROI_epi"]
        assert len(drawn) == 6 + 2 * 97
        assert drawn[6:8] == drawn[-2:]  # closed, as consoles want it
        assert image.meta()["DataRole"] == ("Image", "Quantitative", record["quantity"])
        scale = float(image.meta()["GADGETRON_ScaleRatio"][0])
        assert float(image.meta()["RescaleSlope"][0]) == pytest.approx(1.0 / scale)
    by_series = Counter(image.header.image_series_index for image in result.images)
    assert by_series == {1: 16, 2: 6, 5010: 2, 5011: 2, 5012: 2, 5020: 2, 5021: 2, 5022: 2}
    rgb = next(image for image in result.images if image.header.image_series_index == 5012)
    assert rgb.header.image_type == ImageType.RGB
    assert rgb.pixels.shape == (3, 1, 128, 128)
    assert slices[0].labels.shape == (128, 128)
    record, image = found[1]
    assert record["quantity"] == "T2"
    sent = np.stack([each.pixels[0, 0] for each in images if each.header.image_series_index == 2][:3])
    fitted = t2_map(sent.astype(np.float32), slices[0].preparation_times_ms).values_ms
    assert np.abs(image.pixels[0, 0] / 10.0 - np.clip(fitted, 0, 409.5)).max() <= 0.0501


def test_a_client_written_with_the_ismrmrd_package_reads_the_answer(serving, examination):
    _, header, images = examination
    with serving() as server, socket.create_connection(server.address, timeout=30) as connection:
        data = b"".join(
            encode(message) for message in (ConfigFile("mapping"), Header(header), *images, Close())
        )
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        seen, texts = 0, []

        def read(size):
            parts = b""
            while len(parts) < size:
                parts += connection.recv(size - len(parts))
            return parts

        while (number := struct.unpack("<H", read(2))[0]) in (1022, 5):
            if number == 5:
                texts.append(read(struct.unpack("<I", read(4))[0]).decode())
                continue
            image = ismrmrd.Image.deserialize_from(read)
            seen += 1
            assert image.data.size
            if image.image_series_index == 5010:
                assert float(image.meta["GADGETRON_ScaleRatio"]) == 1.0
        assert number == 4
    assert seen == len(images) + 12
    assert len(texts) == 1


def test_nonsense_is_reported_and_hurts_nobody_else(serving, examination):
    _, header, images = examination
    with serving() as server, socket.create_connection(server.address, timeout=20) as good:
        good.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:5]))))
        messages = talk(server.address, encode(ConfigFile("mapping")) + b"GET / HTTP/1.1\r\n\r\n", shut=False)
        assert "not one of" in messages[0].text
        assert messages[-1] == Close()
        good.sendall(b"".join(map(encode, (*images[5:], Close()))))
        received = read_all(good)
    assert list(originals(received)) == images
    assert len(records(of(Image, received))) == 4


def test_a_client_that_reads_nothing_is_held_back_but_not_the_others(serving, examination):
    _, header, images = examination
    big = Image.from_pixels(np.zeros((1, 1, 512, 512), np.float32), ImageHeader(field_of_view=(512, 512, 8)))
    with (
        serving(server={"port": 0, "queue_bytes": 1 << 20}) as server,
        socket.create_connection(server.address, timeout=20) as mute,
    ):
        mute.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        mute.settimeout(0.3)
        sent = 0
        try:
            while sent < 200:
                mute.sendall(encode(big))
                sent += 1
        except TimeoutError:
            pass
        assert sent < 100
        result = exchange(server.address, header, images)
        assert len(records(result.images)) == 4


def test_a_client_that_stops_in_a_message_is_cut_off_with_an_error(serving, examination):
    _, header, images = examination
    with serving(server={"port": 0, "stalled_s": 0.2}) as server:
        start = b"".join(map(encode, (ConfigFile("mapping"), Header(header), images[0])))
        messages = talk(server.address, start + encode(images[1])[:-1], shut=False)
    assert messages[0] == images[0]
    assert "did not come within 0.2 s" in next(each.text for each in messages if isinstance(each, Text))
    assert messages[-1] == Close()


def test_a_client_beyond_the_limit_is_warned_and_served_later(serving, examination, caplog):
    _, header, images = examination
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    with serving(server={"port": 0, "connections": 1}) as server, caplog.at_level("INFO"):
        idle = socket.create_connection(server.address, timeout=20)
        wait_until(lambda: server._sessions)
        gone = socket.create_connection(server.address, timeout=20)
        chain = socket.create_connection(server.address, timeout=20)
        chain.sendall(encode(ConfigText("<configuration/>")) + encode(Header(header)) + encode(Close()))
        with socket.create_connection(server.address, timeout=20) as next_one:
            next_one.sendall(opening)
            decoder, messages = Decoder(), []
            while not messages:
                messages += decoder.receive(next_one.recv(1 << 16))
            assert messages[0].text.startswith("WRN myostream: all 1 connections of the server are taken")
            assert f"all 1 connections taken; 127.0.0.1:{next_one.getsockname()[1]} waits" in caplog.text
            gone.close()
            idle.close()
            next_one.sendall(b"".join(map(encode, images)) + encode(Close()))
            messages += read_all(next_one, decoder)
        with chain:  # Gadgetron ends its chain at a text
            answer = read_all(chain)
    received = of(Image, messages)
    assert originals(received) == images
    assert len(records(received)) == 4
    assert answer == [Close()]


def test_a_client_that_still_waits_when_the_server_stops_is_turned_away(serving, examination):
    _, header, images = examination
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    with (
        serving(server={"port": 0, "connections": 1}) as server,
        socket.create_connection(server.address, timeout=20),
        socket.create_connection(server.address, timeout=20) as next_one,
        socket.create_connection(server.address, timeout=20) as chain,
    ):
        wait_until(lambda: len(server._waiting) == 2)
        chain.sendall(encode(ConfigText("<configuration/>")))
        next_one.sendall(opening + b"".join(map(encode, images)))
        decoder, messages = Decoder(), []
        while not messages:
            messages += decoder.receive(next_one.recv(1 << 16))
        server.stop()
        messages += read_all(next_one, decoder)
        with pytest.raises(ConnectionResetError):  # no regular end, which a chain would take for success
            chain.recv(1)
    assert [type(each) for each in messages] == [Text, Text, Close]
    assert messages[1].text.startswith("ERR myostream: the server stops")


def test_two_hundred_clients_connect_before_the_first_is_accepted():
    """The queue of the kernel once held 64; what came beyond it was reset."""
    server = Server(None, load_settings(server={"port": 0}))  # it listens, and accepts nothing yet
    with server._socket, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(server.address, timeout=10))


def test_two_hundred_clients_at_once_are_all_served(serving, examination):
    _, header, images = examination
    ends = []

    def one():
        try:
            with socket.create_connection(server.address, timeout=100) as connection:
                connection.sendall(b"".join(map(encode, (ConfigFile("passthrough"), Header(header)))))
                connection.sendall(encode(images[0]) + encode(Close()))
                data = b""
                while part := connection.recv(1 << 16):
                    data += part
            ends.append([each for each in Decoder().receive(data) if not isinstance(each, Text)])
        except OSError as error:
            ends.append(error)

    with serving() as server:
        threads = [threading.Thread(target=one) for _ in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
    assert ends == [[images[0], Close()]] * 200


def test_without_descriptors_accepting_pauses_and_is_logged_once(serving, examination, monkeypatch, caplog):
    _, header, images = examination
    with serving() as server:
        accept, tries = server._socket.accept, []

        class Short:
            def __getattr__(self, name):
                return getattr(real, name)

            def accept(self):
                tries.append(time.monotonic())
                if len(tries) <= 3:
                    raise OSError(errno.EMFILE, "Too many open files")
                return accept()

        real = server._socket
        monkeypatch.setattr(addresses, "_SHORTAGE_S", 0.2)
        monkeypatch.setattr(server, "_socket", Short())
        while len(tries) < 3:
            time.sleep(0.02)
        result = exchange(server.address, header, images)
    assert len(records(result.images)) == 4
    assert min(later - earlier for earlier, later in itertools.pairwise(tries[:4])) >= 0.2
    assert caplog.text.count("connections cannot be accepted") == 1
    assert caplog.text.count("accepted again") == 1


def test_a_stop_says_what_is_in_flight_and_delivers_it(ring_engine, serving, examination, caplog):
    _, header, images = examination
    blocked = Gated(ring_engine)
    with (
        serving(blocked, assembly={"corrected_wait_s": 0}) as server,
        socket.create_connection(server.address, timeout=30) as connection,
    ):
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:-1])))
        connection.sendall(data + encode(images[-1])[:100])
        decoder, messages = Decoder(), []
        while len(messages) < len(images) - 1:
            messages += decoder.receive(connection.recv(1 << 16))
        (session,) = server._sessions.values()
        wait_until(lambda: session.tally.slices == 3)
        server.stop()
        while not isinstance(messages[-1], Text):
            messages += decoder.receive(connection.recv(1 << 16))
        blocked.open.set()
        messages += read_all(connection, decoder)
    text = next(each.text for each in messages if isinstance(each, Text))
    found = re.match(
        r"ERR myostream: the server stops; (\d+) images waiting in series and (\d) slices are in flight",
        text,
    )
    assert found is not None
    assert (int(found[1]) > 0, int(found[2])) == (True, 3)
    assert "a part has come is lost" in text
    assert found[0].removeprefix("ERR myostream: ") in caplog.text
    received = of(Image, messages)
    assert originals(received) == images[:-1]
    assert len(records(received)) == 4
    assert messages[-1] == Close()


@pytest.mark.parametrize("again", [False, True])
def test_the_time_to_finish_is_that_of_the_whole_server_and_a_second_stop_shortens_it(
    again, ring_engine, serving, examination, caplog, monkeypatch
):
    """Four clients that read nothing, and one whose slices hang."""
    _, header, images = examination
    big = Image.from_pixels(np.zeros((1, 1, 512, 512), np.float32), ImageHeader(field_of_view=(512, 512, 8)))
    blocked = Gated(ring_engine)
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    monkeypatch.setattr(signals, "_SAME_REQUEST_S", 0.0)
    # Without the second stop, the test would run into its own limit of time.
    limits = {"port": 0, "queue_bytes": 1 << 20, "drain_s": 600.0 if again else 4.0}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(blocked, server=limits, assembly={"corrected_wait_s": 0}))
        mute = [stack.enter_context(socket.create_connection(server.address, timeout=0.2)) for _ in range(4)]
        for each in mute:
            with contextlib.suppress(TimeoutError):
                each.sendall(opening + encode(big) * 40)
        hanging = stack.enter_context(socket.create_connection(server.address, timeout=30))
        hanging.sendall(opening + b"".join(map(encode, images)))
        decoder, messages = Decoder(), []
        while len(messages) < len(images):
            messages += decoder.receive(hanging.recv(1 << 16))
        server.stop()
        if again:
            server.stop()
        messages += read_all(hanging, decoder)
        wait_until(lambda: not server._sessions)
        blocked.open.set()
    assert any("4 slices were not finished when the server stopped" in text for text in texts(messages))
    assert messages[-1] == Close()
    assert "4 connections are cut off" in caplog.text or "5 connections are cut off" in caplog.text


def test_a_client_that_reads_late_holds_itself_back_and_gets_everything(serving, examination):
    _, header, images = examination
    sent = images * 12
    with (
        serving(server={"port": 0, "queue_bytes": 1 << 20}) as server,
        socket.create_connection(server.address, timeout=30) as late,
    ):
        late.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *sent, Close())))
        threading.Thread(target=late.sendall, args=(data,), daemon=True).start()
        wait_until(lambda: any(each._queue._bytes >= 1 << 20 for each in list(server._sessions.values())))
        received = read_all(late)
    assert received[-1] == Close()
    assert list(originals(received)) == sent
    assert len(records(of(Image, received))) == 4


def test_twenty_clients_at_once_among_them_bad_ones(serving, examination):
    """Sixteen are served at a time, the others wait their turn; those that misbehave hurt nobody."""
    _, header, images = examination
    results = {}
    bad = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 5000,
        encode(ConfigFile("mapping")) + b"\x03\x00\xff\xff\xff\xff",
    ]

    def client(number):
        if number % 5 == 0:
            results[number] = talk(server.address, bad[number // 5 % len(bad)], shut=False)
            return
        mine = [replace(image, header=replace(image.header, measurement_uid=number)) for image in images]
        results[number] = exchange(server.address, header, mine).images

    with serving() as server:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, result in results.items():
        if number % 5 == 0:
            assert result[-1] == Close()
            continue
        assert {image.header.measurement_uid for image in result} == {number}
        assert len(originals(result)) == len(images)
        assert len(records(result)) == 4
    assert len(results) == 20


def test_images_that_are_no_numbers_come_back_and_are_flagged(serving, examination):
    _, header, images = examination
    broken = [
        Image.from_pixels(np.full_like(each.pixels, np.nan, np.float32), each.header, each.meta())
        for each in images[:8]
    ]
    with serving() as server:
        result = exchange(server.address, header, broken + images[8:])
    assert Counter(originals(result.images)) == Counter(broken + images[8:])
    first = next(r for r, _ in records(result.images) if r["quantity"] == "T1" and r["slice_index"] == 0)
    assert "non-finite-pixels" in first["flags"]
    assert first["regions"][0]["median"] is None
    assert len(records(result.images)) == 4


def test_a_series_without_times_is_reported_and_disturbs_nothing(serving, examination):
    _, header, images = examination
    nameless = [
        Image.from_pixels(
            each.pixels, replace(each.header, image_series_index=7), {"SequenceDescription": "T1map_MOLLI"}
        )
        for each in images[:8]
    ]
    bare = re.sub(r"<TI>[^<]*</TI>", "", header)
    with serving() as server:
        result = exchange(server.address, bare, nameless + images)
    assert any("series 7 slice 0 (T1): no inversion times for the 8" in text for text in result.texts)
    levels = result.texts[-1].partition("Levels: ")[2]
    assert "series 1 slice 0 (T1)" in levels
    assert "series 7" not in levels  # it gave no map
    assert Counter(originals(result.images)) == Counter(nameless + images)
    assert len(records(result.images)) == 4


def test_slices_and_series_may_interleave(serving, examination):
    _, header, images = examination
    mixed = [each for pair in zip(images[:11], images[11:], strict=True) for each in reversed(pair)]
    with serving() as server:
        straight = records(exchange(server.address, header, images).images)
        shuffled = records(exchange(server.address, header, mixed).images)

    def values(found):
        return [(r["slice_index"], r["quantity"], r["contours"], r["regions"], r["flags"]) for r, _ in found]

    assert values(shuffled) == values(straight)


def test_a_stream_that_breaks_off_still_gives_its_complete_slices(serving, examination, published):
    _, header, images = examination
    publisher, subscriber = published
    with serving(publisher=publisher) as server:
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:17])))
        messages = talk(server.address, data[:-100])
    assert originals(messages) == images[:16]
    assert len(records(of(Image, messages))) == 3
    assert any("middle of a message" in message.text for message in messages if isinstance(message, Text))
    published = received(subscriber, 3)
    partial = next(message for message in published if message["slice_index"] == 1)
    assert "early-close" in partial["flags"]
    assert "missing-images" in partial["flags"]


def test_results_on_zeromq_are_those_on_the_socket(serving, examination, published):
    _, header, images = examination
    publisher, subscriber = published
    with serving(publisher=publisher) as server:
        found = records(exchange(server.address, header, images).images)
        messages = received(subscriber, 4)
    for message in messages:
        assert message.pop("session").startswith("127.0.0.1:")
    ordered = sorted(messages, key=lambda message: (message["slice_index"], message["quantity"]))
    assert ordered == [record for record, _ in found]


def own_series(images, series, slice_index, quantity_series):
    """The images of one slice as a sender sends them that counts no slices: a series of its own."""
    return [
        replace(image, header=replace(image.header, slice=0, image_series_index=series))
        for image in images
        if (image.header.slice, image.header.image_series_index) == (slice_index, quantity_series)
    ]


def moved(images, offset_mm):
    along = np.array(images[0].header.slice_dir)
    position = tuple(float(value) for value in offset_mm * along)
    return [replace(image, header=replace(image.header, position=position)) for image in images]


def stated(header, study):
    """A header without limits of the slice counter, of a study."""
    bare = re.sub(r"<slice>.*?</slice>", "", header, flags=re.DOTALL)
    information = f"<studyInformation><studyInstanceUID>{study}</studyInstanceUID></studyInformation>"
    return bare.replace("<acquisitionSystemInformation>", information + "<acquisitionSystemInformation>")


class Levels(Observer):
    def __init__(self):
        self.events = []

    def levels_known(self, levels):
        self.events.append(levels)


@pytest.fixture
def published():
    """A publisher, and a subscriber that it knows of."""
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    wait_until(lambda: publisher.subscribed)
    yield publisher, subscriber
    publisher.close()
    subscriber.close()


def received(subscriber, number):
    return [decode(subscriber.recv_multipart()) for _ in range(number)]


def of_schema(messages, name):
    return [message for message in messages if message["schema"].startswith(name)]


@pytest.mark.parametrize(
    ("studies", "levels", "final"),
    [
        # Each measurement of an examination is a connection of its own.
        (["1.2.3"] * 3, ["unknown", "unknown", "apical"], "apical"),
        (["1.2.3", "1.2.4", "1.2.3"], ["unknown"] * 3, "unknown"),
        (["XXXX"] * 3, ["unknown"] * 3, "unknown"),
    ],
)
def test_levels_come_from_all_connections_of_a_study(studies, levels, final, serving, examination, published):
    _, header, images = examination
    found, texts = [], []
    publisher, subscriber = published
    with serving(publisher=publisher) as server:
        for number, study in enumerate(studies):
            sent = moved(own_series(images, number + 1, 0, 1), 16.0 * number)
            result = exchange(server.address, stated(header, study), sent)
            found += records(result.images)
            texts += result.texts
        messages = received(subscriber, 6)
    assert [record["level"] for record, _ in found] == levels
    for record, _ in found:
        named = any(region["name"].startswith("AHA") for region in record["regions"])
        assert named == (record["level"] != "unknown")
    assert len(texts) == 3
    assert f"{final}" in texts[-1]
    last = of_schema(messages, "myostream.summary/1")[-1]
    assert [each["level"] for each in last["slices"]] == [final]
    if final == "apical":
        assert [each["level"] for each in last["earlier_slices"]] == ["basal", "mid"]


def test_a_connection_closes_with_the_final_level_of_every_slice(serving, examination, published):
    _, header, images = examination
    sent = []
    for number, offset in enumerate((0.0, 40.0, 20.0, 60.0)):
        sent += moved(own_series(images, 2 * number + 1, 0, 1), offset)
        sent += moved(own_series(images, 2 * number + 2, 0, 2), offset)
    publisher, subscriber = published
    watching = Levels()
    with serving(publisher=publisher, observers=Observers(watching)) as server:
        result = exchange(server.address, stated(header, ""), sent)
        messages = received(subscriber, 9)
    (summary,) = of_schema(messages, "myostream.summary/1")
    expected = ["basal", "basal", "mid", "mid", "mid", "mid", "apical", "apical"]
    # Nothing but the close completes the series: they know of each other.
    for found in (summary["slices"], [record for record, _ in records(result.images)]):
        levels = {each["series_index"]: each["level"] for each in found}
        assert [levels[number] for number in range(1, 9)] == expected
    assert summary["earlier_slices"] == []
    (levels,) = watching.events
    assert [each.record() for each in levels.levels] == summary["slices"]
    assert "basal: series 1 slice 0 (T1), series 2 slice 0 (T2)" in result.texts[-1]
    assert summary["text"] in result.texts[-1]
    assert summary["session"] == messages[0]["session"]


def accounted(monkeypatch, images, used, series, unused):
    monkeypatch.setattr(SeriesAssembler, "account", lambda self: Account(images, used, series, unused))


def test_every_image_is_accounted_for_at_the_close(serving, examination, monkeypatch, caplog, published):
    _, header, images = examination
    accounted(monkeypatch, 24, 22, 4, {"phase image": 2})
    extra = [replace(each, header=replace(each.header, image_type=ImageType.PHASE)) for each in images[:2]]
    caplog.set_level("INFO")
    publisher, subscriber = published
    with serving(publisher=publisher) as server:
        result = exchange(server.address, header, images + extra)
        messages = received(subscriber, 5)
    (text,) = result.texts
    expected = (
        "24 images came. 22 images made 4 series and 4 results. 2 images made no map: phase image (2). "
    )
    assert text.startswith(f"DBG myostream: {expected}")
    assert sum(expected in line for line in caplog.messages) == 1
    (summary,) = of_schema(messages, "myostream.summary/1")
    assert (summary["images"], summary["used"], summary["series"], summary["results"]) == (24, 22, 4, 4)
    assert (summary["errors"], summary["unused"]) == (0, {"phase image": 2})


def test_a_factor_on_t1_is_that_of_the_settings(serving, examination):
    _, header, images = examination
    with serving() as server:
        plain = records(exchange(server.address, header, images).images)
    with serving(mapping={"t1_scale": 1.0365}) as server:
        larger = records(exchange(server.address, header, images).images)
    for (before, _), (after, _) in zip(plain, larger, strict=True):
        factor = 1.0365 if before["quantity"] == "T1" else 1.0
        assert after["t1_scale"] == factor
        assert after["regions"][0]["median"] == pytest.approx(
            factor * before["regions"][0]["median"], rel=1e-4
        )
        assert any("1.0365" in note for note in after["notes"]) == (factor != 1.0)


def test_an_engine_that_fails_loses_no_image_and_says_why(serving, examination):
    _, header, images = examination
    with serving(engine=Raising()) as server:
        result = exchange(server.address, header, images)
    assert Counter(originals(result.images)) == Counter(images)
    assert all("no such kernel" in text for text in result.texts[:-1])
    assert "4 results (4 errors)" in result.texts[-1]
    found = records(result.images)
    assert len(found) == 4  # the maps themselves are there
    assert all(record["flags"] == ["processing-error"] for record, _ in found)


def test_connections_of_one_address_have_names_of_their_own(serving, examination):
    """A client with a fixed port that resets its connection connects from it again before that has ended."""
    _, header, images = examination
    opened, closed = [], []

    class Names(Observer):
        def opened(self, session, tally):
            opened.append(session)

        def closed(self, session, tally):
            closed.append(session)

    with serving(observers=Observers(Names())) as server:
        port = 0
        for number in range(3):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.bind(("127.0.0.1", port))
                port = client.getsockname()[1]
                client.connect(server.address)
                client.sendall(encode(ConfigFile("mapping")) + encode(Header(header)) + encode(images[0]))
                wait_until(lambda number=number: len(opened) > number)
        wait_until(lambda: len(closed) == 3)
    assert opened == [f"127.0.0.1:{port}", f"127.0.0.1:{port} #2", f"127.0.0.1:{port} #3"]
    assert sorted(closed) == opened


def test_a_server_on_ipv6(serving, examination):
    _, header, images = examination
    with serving(server={"port": 0, "host": "::1"}) as server:
        check_address(load_settings(server={"port": 0, "host": "::1"}).server)
        result = exchange(server.address, header, images)
    assert Counter(originals(result.images)) == Counter(images)


def test_a_taken_port_is_an_error_with_a_message():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load_settings(server={"port": port})
        message = rf"^port {port} of 127\.0\.0\.1 is taken, perhaps by .*; choose another with --port$"
        for bind in (partial(Server, None, settings), partial(check_address, settings.server)):
            with pytest.raises(ConfigurationError, match=message):
                bind()
    check_address(settings.server)
    with pytest.raises(
        ConfigurationError, match=r"^cannot listen on 192\.0\.2\.1:9002: Cannot assign requested address$"
    ):
        check_address(load_settings(server={"host": "192.0.2.1"}).server)


def test_results_reach_a_client_that_still_sends_when_its_stream_is_given_up(serving, examination):
    """Closing with unread bytes would reset the connection and discard what the client has not read yet."""
    _, header, images = examination
    with serving() as server, socket.create_connection(server.address, timeout=30) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images)))
        nonsense = b"\xff" * (8 << 20)

        def send():
            with contextlib.suppress(OSError):
                slow.sendall(data + nonsense)

        threading.Thread(target=send, daemon=True).start()
        wait_until(lambda: any(each.tally.error for each in list(server._sessions.values())))
        decoder, messages = Decoder(), []
        while part := slow.recv(1 << 14):
            messages += decoder.receive(part)
    assert messages[-1] == Close()
    assert list(originals(messages)) == images
    assert len(records([each for each in messages if isinstance(each, Image)])) == 4
    assert any("ERR" in each.text for each in messages if isinstance(each, Text))


def test_no_server_is_an_error_that_says_how_to_start_one():
    with pytest.raises(ConnectionFailedError, match="myostream serve"):
        exchange(("127.0.0.1", 1), "", [])


@pytest.fixture
def hang_up():
    """Let processes that a test starts end by SIGHUP, also under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("hang_up")
def test_a_signal_finishes_what_is_in_flight(number, examination):
    _, header, images = examination
    with (
        started_server(["--engine", "torch"]) as started,
        socket.create_connection(started.address, timeout=60) as connection,
    ):
        connection.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images))))
        decoder, received = Decoder(), []
        while len(originals(received)) < len(images):
            received += decoder.receive(connection.recv(1 << 16))
        started.process.send_signal(number)
        received += read_all(connection, decoder)
        assert started.process.wait(timeout=120) == 0
    assert received[-1] == Close()
    assert len(records(of(Image, received))) == 4


@pytest.mark.parametrize("number", sorted(DATA_TYPES))
@pytest.mark.parametrize("shape", [(1, 1, 16, 12), (3, 1, 16, 12), (2, 5, 16, 12)], ids=str)
def test_every_data_type_comes_back_bit_exact(number, shape, any_server):
    size = int(np.prod(shape)) * DATA_TYPES[number].itemsize
    header = ImageHeader(data_type=number, channels=shape[0], matrix_size=(shape[3], shape[2], shape[1]))
    image = Image(header, b"", np.random.default_rng(number).bytes(size))
    assert exchange(any_server.address, "", [image] * 3).images == [image] * 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_image_comes_back_bit_exact(data, any_server):
    """Every data type, channels, partitions, attributes that are no XML, whatever the bits of the pixels."""
    images = []
    for _ in range(data.draw(st.integers(1, 4))):
        shape = data.draw(st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 12)] * 2))
        number = data.draw(st.sampled_from(sorted(DATA_TYPES)))
        size = int(np.prod(shape)) * DATA_TYPES[number].itemsize
        header = ImageHeader(
            data_type=number,
            channels=shape[0],
            matrix_size=(shape[3], shape[2], shape[1]),
            image_type=data.draw(st.integers(0, 7)),
            image_series_index=data.draw(st.integers(0, 900)),
            flags=data.draw(st.integers(0, 2**64 - 1)),
        )
        attributes = data.draw(st.sampled_from([b"", b"<broken", b"\xff\xfe", b"<ismrmrdMeta/>"]))
        pixels = data.draw(st.binary(min_size=size, max_size=size))
        images.append(Image(replace(header, attribute_string_len=len(attributes)), attributes, pixels))
    result = exchange(any_server.address, "", images)
    assert originals(result.images) == images


@pytest.fixture(scope="module")
def any_server():
    scheduler = Scheduler(Pipeline(Raising()), 2, 2000.0)
    server = Server(scheduler, load_settings(server={"port": 0}))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(timeout=30)
    scheduler.close()


def test_a_stop_reaches_a_client_that_still_sends(serving, examination):
    _, header, images = examination

    def send(connection):
        with contextlib.suppress(OSError):
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
    messages = list(Decoder().receive(received))
    texts = [message.text for message in messages if isinstance(message, Text)]
    assert messages[-1] == Close()
    assert any(text.startswith("ERR myostream: the server stops") for text in texts)
