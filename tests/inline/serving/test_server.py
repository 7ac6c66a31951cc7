"""The whole chain over a real socket."""

import contextlib
import errno
import itertools
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inline.assembly.assembler import Account, SeriesAssembler
from inline.data.flags import Flag
from inline.emit.publisher import Publisher, decode, subscribe
from inline.mrd.image_header import DATA_TYPES, ImageHeader, ImageType
from inline.mrd.messages import Acquisition, Close, ConfigFile, ConfigText, Header, Image, Text, Waveform
from inline.mrd.protocol import Decoder, encode
from inline.pipeline import Pipeline
from inline.replay.client import ConnectionFailedError, exchange
from inline.replay.local_server import started_server
from inline.replay.run import records
from inline.serving import server as module
from inline.serving.scheduler import Scheduler
from inline.serving.server import Server
from inline.serving.slices import Slices
from inline.serving.summary import Summary
from inline.settings import load_settings


def talk(address, data, *, shut=True):
    """Everything that a server says to some bytes."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        decoder, messages = Decoder(), []
        while received := connection.recv(1 << 16):
            messages += decoder.receive(received)
    return messages


def without_texts(messages):
    return [message for message in messages if not isinstance(message, Text)]


def originals(images):
    return [image for image in images if image.header.image_series_index < 1000]


def test_images_come_back_bit_for_bit_with_maps_contours_and_values(serving, examination):
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
        assert record["flags"] == [] or record["flags"] == [Flag.POOR_FIT]
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


def test_the_map_on_the_wire_is_the_fit(serving, examination):
    from model.relaxometry.t2prep import t2_map

    slices, header, images = examination
    with serving() as server:
        found = records(exchange(server.address, header, images).images)
    record, image = found[1]
    assert record["quantity"] == "T2"
    sent = np.stack([each.pixels[0, 0] for each in images if each.header.image_series_index == 2][:3])
    expected = t2_map(sent.astype(np.float32), slices[0].preparation_times_ms).values_ms
    got = image.pixels[0, 0] / 10.0
    assert np.abs(got - np.clip(expected, 0, 409.5)).max() <= 0.0501


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


def test_passthrough_only_passes(serving, examination):
    _, header, images = examination
    with serving() as server:
        result = exchange(server.address, header, images, config="passthrough")
    assert result.images == images


def test_an_unknown_configuration_is_named_and_never_imported(serving, examination, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    _, header, images = examination
    with serving() as server:
        result = exchange(server.address, header, images, config="evil")
    assert "there is no configuration 'evil'" in result.texts[0]
    assert "mapping, passthrough" in result.texts[0]
    assert "evil" not in sys.modules
    assert len(records(result.images)) == 4


def test_parameters_after_the_header_choose_the_configuration(serving, examination):
    _, header, images = examination
    with serving() as server:
        messages = talk(
            server.address,
            b"".join(
                map(
                    encode,
                    (
                        ConfigFile("mapping"),
                        Header(header),
                        Text('{"parameters": {"config": "passthrough", "customconfig": ""}}'),
                        *images[:2],
                        Close(),
                    ),
                )
            ),
        )
    assert without_texts(messages) == [*images[:2], Close()]


@pytest.mark.parametrize(
    ("parameters", "passed_only"),
    [
        ({"config": "openrecon", "customconfig": "passthrough"}, True),
        ({"config": "passthrough", "customconfig": ""}, True),
        ({"config": "passthrough", "customconfig": "mapping"}, False),
        ({"config": 7}, False),
    ],
)
def test_a_custom_configuration_goes_before_the_configuration(parameters, passed_only, serving, examination):
    _, header, images = examination
    text = Text(json.dumps({"version": "1.1.0", "parameters": parameters}))
    with serving() as server:
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), text, *images, Close())))
        messages = talk(server.address, data)
    assert (without_texts(messages) == [*images, Close()]) is passed_only
    assert list(originals_of(messages)) == images


@pytest.mark.parametrize("text", ["[" * 100_000, "{broken", "[1, 2]", '{"parameters": []}', "hello"])
def test_a_text_that_is_no_parameters_changes_nothing(text, serving, examination):
    _, header, images = examination
    with serving() as server:
        data = b"".join(map(encode, (ConfigFile("passthrough"), Header(header), Text(text), *images[:2])))
        assert without_texts(talk(server.address, data + encode(Close()))) == [*images[:2], Close()]


def test_gadgetron_xml_may_choose_it_too(serving, examination):
    _, header, images = examination
    xml = '<configuration><myostream config="passthrough"/></configuration>'
    with serving() as server:
        data = b"".join(map(encode, (ConfigText(xml), Header(header), *images, Close())))
        assert talk(server.address, data) == [*images, Close()]


def test_a_connection_that_closes_before_any_header_is_answered(serving):
    with serving() as server:
        assert talk(server.address, encode(ConfigFile("mapping")) + encode(Close())) == [Close()]
        assert talk(server.address, b"") == [Close()]


def test_a_line_in_place_of_the_header_is_no_obstacle(serving, examination):
    _, _, images = examination
    with serving() as server:
        result = exchange(server.address, "Dummy XML header", images)
    assert len(records(result.images)) == 4


def test_raw_data_and_waveforms_are_skipped_with_a_word(serving, examination):
    _, header, images = examination
    raw = ismrmrd.Acquisition.from_array(np.ones((2, 8), np.complex64))
    body = bytes(raw.getHead()) + raw.data.tobytes()
    wave = bytearray(40)
    struct.pack_into("<HH", wave, 28, 4, 1)
    with serving() as server:
        messages = talk(
            server.address,
            b"".join(
                map(
                    encode,
                    (
                        ConfigFile("mapping"),
                        Header(header),
                        Waveform(bytes(wave) + bytes(16)),
                        Acquisition(body),
                        images[0],
                        Close(),
                    ),
                )
            ),
        )
    assert images[0] in messages
    assert any(
        "raw data is not reconstructed" in message.text for message in messages if isinstance(message, Text)
    )
    assert not any(isinstance(message, Acquisition | Waveform) for message in messages)


def test_nonsense_is_told_and_hurts_nobody_else(serving, examination):
    _, header, images = examination
    with serving() as server, socket.create_connection(server.address, timeout=20) as good:
        good.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:5]))))
        messages = talk(server.address, encode(ConfigFile("mapping")) + b"GET / HTTP/1.1\r\n\r\n", shut=False)
        assert "not one of" in messages[0].text
        assert messages[-1] == Close()
        good.sendall(b"".join(map(encode, (*images[5:], Close()))))
        decoder, received = Decoder(), []
        while data := good.recv(1 << 16):
            received += decoder.receive(data)
    assert list(originals_of(received)) == images
    assert len(records([message for message in received if isinstance(message, Image)])) == 4


def originals_of(messages):
    return originals([message for message in messages if isinstance(message, Image)])


def test_several_clients_at_once_get_their_own_results(serving, examination):
    _, header, images = examination
    results = {}

    def client(number):
        mine = [replace(image, header=replace(image.header, measurement_uid=number)) for image in images]
        results[number] = exchange(server.address, header, mine)

    with serving() as server:
        threads = [threading.Thread(target=client, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number, result in results.items():
        assert {image.header.measurement_uid for image in result.images} == {number}
        assert len(records(result.images)) == 4


def test_a_client_that_reads_nothing_is_held_back_but_not_the_others(serving, examination):
    _, header, images = examination
    big = Image.from_pixels(np.zeros((1, 1, 512, 512), np.float32), ImageHeader(field_of_view=(512, 512, 8)))
    with (
        serving(server={"port": 0, "queue_bytes": 1 << 20}) as server,
        socket.create_connection(server.address, timeout=20) as mute,
    ):
        mute.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        mute.settimeout(1.0)
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


def test_a_client_that_stops_in_a_message_is_cut_off_and_told(serving, examination):
    _, header, images = examination
    with serving(server={"port": 0, "stalled_s": 0.5}) as server:
        start = b"".join(map(encode, (ConfigFile("mapping"), Header(header), images[0])))
        messages = talk(server.address, start + encode(images[1])[:-1], shut=False)
    assert messages[0] == images[0]
    assert "did not come within 0.5 s" in next(each.text for each in messages if isinstance(each, Text))
    assert messages[-1] == Close()


def test_a_client_that_never_says_a_word_is_cut_off(serving):
    with serving(server={"port": 0, "stalled_s": 0.5}) as server:
        assert talk(server.address, b"", shut=False) == [Close()]


def test_a_client_may_be_silent_between_messages(serving, examination):
    _, header, images = examination
    with (
        serving(server={"port": 0, "stalled_s": 0.3}) as server,
        socket.create_connection(server.address, timeout=20) as patient,
    ):
        patient.sendall(encode(ConfigFile("mapping")) + encode(Header(header)))
        time.sleep(1.2)
        patient.sendall(b"".join(map(encode, (*images, Close()))))
        decoder, received = Decoder(), []
        while data := patient.recv(1 << 16):
            received += decoder.receive(data)
    assert received[-1] == Close()
    assert len(records([message for message in received if isinstance(message, Image)])) == 4


def test_a_client_that_drips_is_cut_off_however_steadily(serving, examination):
    """One byte at a time, it is never silent, and would hold one of the connections for ever."""
    _, header, images = examination
    with serving(server={"port": 0, "stalled_s": 0.5}) as server:
        connection = socket.create_connection(server.address, timeout=20)
        with connection:
            connection.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header)))))
            ended = threading.Event()

            def drip():
                with contextlib.suppress(OSError):
                    for byte in encode(images[0]):
                        if ended.wait(0.05):
                            return
                        connection.sendall(bytes([byte]))

            dripping = threading.Thread(target=drip)
            dripping.start()
            decoder, messages = Decoder(), []
            while data := connection.recv(1 << 16):
                messages += decoder.receive(data)
            ended.set()
            dripping.join(timeout=10)
    assert "it must come with at least 16384 bytes/s" in messages[0].text
    assert messages[-1] == Close()


def test_who_finds_all_places_taken_is_told_and_served_later(serving, examination, caplog):
    _, header, images = examination
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    with serving(server={"port": 0, "connections": 1}) as server, caplog.at_level("INFO"):
        idle = socket.create_connection(server.address, timeout=20)
        idle.sendall(opening)
        time.sleep(0.5)
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
            while data := next_one.recv(1 << 16):
                messages += decoder.receive(data)
        with chain:  # Gadgetron ends its chain at a text
            answer, decoder = [], Decoder()
            while data := chain.recv(1 << 16):
                answer += decoder.receive(data)
    received = [message for message in messages if isinstance(message, Image)]
    assert originals(received) == images
    assert len(records(received)) == 4
    assert answer == [Close()]


def test_who_still_waits_when_the_server_stops_is_turned_away(serving, examination):
    _, header, images = examination
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    with (
        serving(server={"port": 0, "connections": 1}) as server,
        socket.create_connection(server.address, timeout=20) as idle,
        socket.create_connection(server.address, timeout=20) as next_one,
        socket.create_connection(server.address, timeout=20) as chain,
    ):
        idle.sendall(opening)
        time.sleep(0.3)
        chain.sendall(encode(ConfigText("<configuration/>")))
        next_one.sendall(opening + b"".join(map(encode, images)))
        decoder, messages = Decoder(), []
        while not messages:
            messages += decoder.receive(next_one.recv(1 << 16))
        server.stop()
        while data := next_one.recv(1 << 16):
            messages += decoder.receive(data)
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
        monkeypatch.setattr(module, "_SHORTAGE_S", 0.2)
        monkeypatch.setattr(server, "_socket", Short())
        while len(tries) < 3:
            time.sleep(0.02)
        result = exchange(server.address, header, images)
    assert len(records(result.images)) == 4
    assert min(later - earlier for earlier, later in itertools.pairwise(tries[:4])) >= 0.2
    assert caplog.text.count("connections cannot be accepted") == 1
    assert caplog.text.count("accepted again") == 1


class Blocked:
    """An engine that returns only when it is let go."""

    name = "blocked"

    def __init__(self, engine):
        self.engine, self.go = engine, threading.Event()

    def infer(self, images):
        self.go.wait(timeout=60)
        return self.engine.infer(images)


def test_a_stop_says_what_is_in_flight_and_delivers_it(ring_engine, serving, examination, caplog):
    _, header, images = examination
    blocked = Blocked(ring_engine)
    with (
        serving(blocked) as server,
        socket.create_connection(server.address, timeout=30) as connection,
    ):
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:-1])))
        connection.sendall(data + encode(images[-1])[:100])
        decoder, messages = Decoder(), []
        while len(messages) < len(images) - 1:
            messages += decoder.receive(connection.recv(1 << 16))
        time.sleep(1.5)  # complete series wait for images that are corrected for motion
        server.stop()
        while not isinstance(messages[-1], Text):
            messages += decoder.receive(connection.recv(1 << 16))
        blocked.go.set()
        while data := connection.recv(1 << 16):
            messages += decoder.receive(data)
    said = next(each.text for each in messages if isinstance(each, Text))
    found = re.match(
        r"ERR myostream: the server stops; (\d+) images waiting in series and (\d) slices are in flight", said
    )
    assert found is not None
    assert (int(found[1]) > 0, int(found[2])) == (True, 3)
    assert "a part has come is lost" in said
    assert found[0].removeprefix("ERR myostream: ") in caplog.text
    received = [message for message in messages if isinstance(message, Image)]
    assert originals(received) == images[:-1]
    assert len(records(received)) == 4
    assert messages[-1] == Close()


@pytest.mark.parametrize("again", [False, True])
def test_the_time_to_finish_is_that_of_the_whole_server_and_a_second_stop_shortens_it(
    again, ring_engine, serving, examination, caplog
):
    """Four clients that read nothing, and one whose slices hang."""
    _, header, images = examination
    big = Image.from_pixels(np.zeros((1, 1, 512, 512), np.float32), ImageHeader(field_of_view=(512, 512, 8)))
    blocked = Blocked(ring_engine)
    opening = encode(ConfigFile("mapping")) + encode(Header(header))
    limits = {"port": 0, "queue_bytes": 1 << 20, "drain_s": 30.0 if again else 4.0}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(blocked, server=limits))
        mute = [stack.enter_context(socket.create_connection(server.address, timeout=0.5)) for _ in range(4)]
        for each in mute:
            with contextlib.suppress(TimeoutError):
                each.sendall(opening + encode(big) * 40)
        hanging = stack.enter_context(socket.create_connection(server.address, timeout=30))
        hanging.sendall(opening + b"".join(map(encode, images)))
        decoder, messages = Decoder(), []
        while len(messages) < len(images):
            messages += decoder.receive(hanging.recv(1 << 16))
        start = time.monotonic()
        server.stop()
        if again:
            time.sleep(0.6)
            server.stop()
        while data := hanging.recv(1 << 16):
            messages += decoder.receive(data)
        while server._sessions:
            time.sleep(0.05)
        took = time.monotonic() - start
        blocked.go.set()
    assert took < 12.0
    texts = [each.text for each in messages if isinstance(each, Text)]
    assert any("4 slices were not finished when the server stopped" in text for text in texts)
    assert messages[-1] == Close()
    assert "4 connections are cut off" in caplog.text or "5 connections are cut off" in caplog.text


def test_a_bug_that_one_message_meets_does_not_end_its_stream(serving, examination, monkeypatch):
    _, header, images = examination

    def failing(self, measurement):
        raise KeyError("a bug")

    monkeypatch.setattr(Slices, "begin", failing)
    with serving() as server:
        result = exchange(server.address, header, images)
    assert originals(result.images) == images
    assert any("a message could not be taken: KeyError" in text for text in result.texts)


def test_a_client_that_reads_slowly_gets_everything(serving, examination):
    _, header, images = examination
    with (
        serving(server={"port": 0, "queue_bytes": 1 << 20}) as server,
        socket.create_connection(server.address, timeout=30) as slow,
    ):
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images * 3, Close())))
        threading.Thread(target=slow.sendall, args=(data,), daemon=True).start()
        decoder, received = Decoder(), []
        while data := slow.recv(1 << 14):
            received += decoder.receive(data)
            time.sleep(0.002)
    assert received[-1] == Close()
    assert list(originals_of(received)) == images * 3
    assert len(records([message for message in received if isinstance(message, Image)])) == 4


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


def test_a_series_without_times_is_told_and_disturbs_nothing(serving, examination):
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
    assert any("no inversion times for the 8 images" in text for text in result.texts)
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


def test_a_stream_that_breaks_off_still_gives_its_complete_slices(serving, examination):
    _, header, images = examination
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    time.sleep(0.3)
    with serving(publisher=publisher) as server:
        data = b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images[:17])))
        messages = talk(server.address, data[:-100])
    publisher.close()
    assert originals_of(messages) == images[:16]
    assert len(records([message for message in messages if isinstance(message, Image)])) == 3
    assert any("middle of a message" in message.text for message in messages if isinstance(message, Text))
    published = received(subscriber, 3)
    subscriber.close()
    partial = next(message for message in published if message["slice_index"] == 1)
    assert "early-close" in partial["flags"]
    assert "missing-images" in partial["flags"]


def test_results_on_zeromq_are_those_on_the_socket(serving, examination):
    _, header, images = examination
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    time.sleep(0.3)
    with serving(publisher=publisher) as server:
        found = records(exchange(server.address, header, images).images)
        messages = received(subscriber, 4)
    publisher.close()
    subscriber.close()
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
def test_levels_come_from_all_connections_of_an_examination(studies, levels, final, serving, examination):
    _, header, images = examination
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    time.sleep(0.3)
    found, texts = [], []
    with serving(publisher=publisher) as server:
        for number, study in enumerate(studies):
            sent = moved(own_series(images, number + 1, 0, 1), 16.0 * number)
            result = exchange(server.address, stated(header, study), sent)
            found += records(result.images)
            texts += result.texts
        messages = received(subscriber, 6)
    publisher.close()
    subscriber.close()
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


def test_a_connection_closes_with_the_final_level_of_every_slice(serving, examination):
    _, header, images = examination
    sent = []
    for number, offset in enumerate((0.0, 40.0, 20.0, 60.0)):
        sent += moved(own_series(images, 2 * number + 1, 0, 1), offset)
        sent += moved(own_series(images, 2 * number + 2, 0, 2), offset)
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    time.sleep(0.3)
    with serving(publisher=publisher) as server:
        result = exchange(server.address, stated(header, ""), sent)
        messages = received(subscriber, 9)
    publisher.close()
    subscriber.close()
    so_far = {record["series_index"]: record["level"] for record, _ in records(result.images)}
    expected = ["unknown", "unknown", "apical", "apical", "mid", "mid", "apical", "apical"]
    assert [so_far[number] for number in range(1, 9)] == expected
    (summary,) = of_schema(messages, "myostream.summary/1")
    final = {each["series_index"]: each["level"] for each in summary["slices"]}
    expected = ["basal", "basal", "mid", "mid", "mid", "mid", "apical", "apical"]
    assert [final[number] for number in range(1, 9)] == expected
    assert summary["earlier_slices"] == []
    assert "basal: series 1 slice 1 (T1), series 2 slice 1 (T2)" in result.texts[-1]
    assert summary["text"] in result.texts[-1]
    assert summary["session"] == messages[0]["session"]


def accounted(monkeypatch, images, used, series, unused):
    monkeypatch.setattr(SeriesAssembler, "account", lambda self: Account(images, used, series, unused))


def test_every_image_is_accounted_for_at_the_close(serving, examination, monkeypatch, caplog):
    _, header, images = examination
    accounted(monkeypatch, 24, 22, 4, {"phase image": 2})
    extra = [replace(each, header=replace(each.header, image_type=ImageType.PHASE)) for each in images[:2]]
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    time.sleep(0.3)
    caplog.set_level("INFO")
    with serving(publisher=publisher) as server:
        result = exchange(server.address, header, images + extra)
        messages = received(subscriber, 5)
    publisher.close()
    subscriber.close()
    (text,) = result.texts
    said = "24 images came. 22 images made 4 series and 4 results. 2 images made no map: phase image (2). "
    assert text.startswith(f"DBG myostream: {said}")
    assert sum(said in line for line in caplog.messages) == 1
    (summary,) = of_schema(messages, "myostream.summary/1")
    assert (summary["images"], summary["used"], summary["series"], summary["results"]) == (24, 22, 4, 4)
    assert (summary["errors"], summary["unused"]) == (0, {"phase image": 2})


def test_images_that_are_only_passed_on_are_accounted_for(serving, examination):
    _, header, images = examination
    with serving() as server:
        result = exchange(server.address, header, images, config="passthrough")
    assert result.texts == [
        "DBG myostream: 22 images came. 22 images made no map: passed on, not worked on (22)."
    ]


def test_a_connection_without_images_says_so(serving, examination):
    _, header, _ = examination
    with serving() as server:
        assert exchange(server.address, header, []).texts == ["DBG myostream: No image came."]


def test_a_summary_that_fails_does_not_keep_the_close_back(serving, examination, monkeypatch):
    _, header, images = examination

    def broken(self):
        raise ZeroDivisionError

    monkeypatch.setattr(Summary, "text", broken)
    with serving() as server:
        result = exchange(server.address, header, images)
    assert len(records(result.images)) == 4


def test_a_second_header_keeps_the_images_before_it(serving, examination, monkeypatch):
    _, header, images = examination
    start = [ConfigFile("mapping"), Header(header), *images[:8]]
    with serving() as server:
        data = b"".join(map(encode, (*start, Header(header), *images[8:], Close())))
        messages = talk(server.address, data)
    assert len(records(message for message in messages if isinstance(message, Image))) == 4
    (text,) = (message.text for message in messages if isinstance(message, Text))
    assert "22 images came" in text
    assert "passed on, not worked on" not in text


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


class BrokenEngine:
    name = "broken"

    def infer(self, images):
        raise RuntimeError("no such kernel")


def test_an_engine_that_fails_loses_no_image_and_says_why(serving, examination):
    _, header, images = examination
    with serving(engine=BrokenEngine()) as server:
        result = exchange(server.address, header, images)
    assert Counter(originals(result.images)) == Counter(images)
    assert all("no such kernel" in text for text in result.texts[:-1])
    assert "4 results (4 errors)" in result.texts[-1]
    found = records(result.images)
    assert len(found) == 4  # the maps themselves are there
    assert all(record["flags"] == ["processing-error"] for record, _ in found)


def test_an_assembly_that_fails_loses_no_image_and_no_other_slice(serving, examination, monkeypatch):
    _, header, images = examination
    add = SeriesAssembler.add

    def failing(self, image, now):
        if image == images[3]:
            raise ZeroDivisionError
        return add(self, image, now)

    monkeypatch.setattr(SeriesAssembler, "add", failing)
    with serving() as server:
        result = exchange(server.address, header, images)
    assert Counter(originals(result.images)) == Counter(images)
    assert "could not be sorted" in result.texts[0]
    assert len(records(result.images)) == 4  # one of them without the image that failed


def test_no_server_is_an_error_that_says_how_to_start_one():
    with pytest.raises(ConnectionFailedError, match="myostream serve"):
        exchange(("127.0.0.1", 1), "", [])


@pytest.fixture
def hang_up():
    """Let processes that a test starts end by SIGHUP, also under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("hang_up")
def test_a_signal_finishes_what_is_in_flight(number, examination):
    _, header, images = examination
    with started_server() as started, socket.create_connection(started.address, timeout=60) as connection:
        connection.sendall(b"".join(map(encode, (ConfigFile("mapping"), Header(header), *images))))
        decoder, received = Decoder(), []
        while len(originals_of(received)) < len(images):
            received += decoder.receive(connection.recv(1 << 16))
        started.process.send_signal(number)
        while data := connection.recv(1 << 16):
            received += decoder.receive(data)
        assert started.process.wait(timeout=30) == 0
    assert received[-1] == Close()
    assert len(records([message for message in received if isinstance(message, Image)])) == 4


def test_a_taken_port_is_an_error_with_a_message():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "inline", "serve", "--port", str(taken.getsockname()[1])]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "cannot listen on" in ended.stderr


@pytest.mark.parametrize("number", sorted(DATA_TYPES))
@pytest.mark.parametrize("shape", [(1, 1, 16, 12), (3, 1, 16, 12), (2, 5, 16, 12)], ids=str)
def test_every_data_type_comes_back_bit_for_bit(number, shape, any_server):
    size = int(np.prod(shape)) * DATA_TYPES[number].itemsize
    header = ImageHeader(data_type=number, channels=shape[0], matrix_size=(shape[3], shape[2], shape[1]))
    image = Image(header, b"", np.random.default_rng(number).bytes(size))
    assert exchange(any_server.address, "", [image] * 3).images == [image] * 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_image_comes_back_bit_for_bit(data, any_server):
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
    scheduler = Scheduler(Pipeline(BrokenEngine()))
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
