"""Subscribers that are slow, absent or strange."""

import logging
import resource
import socket
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq

from inline.data.errors import ConfigurationError
from inline.data.geometry import SliceGeometry
from inline.data.results import SliceResult
from inline.data.series import Quantity, SeriesIdentity
from inline.emit import publisher as publisher_module
from inline.emit.publisher import TOPIC, Publisher, decode, subscribe
from tests.inline.conftest import wait_until


@pytest.fixture
def result():
    geometry = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.5, 1.5), (8, 8))
    return SliceResult(
        identity=SeriesIdentity(1, 0),
        quantity=Quantity.T1,
        geometry=geometry,
        map=None,
        scanner_made=False,
        labels=np.zeros((8, 8), np.uint8),
        contours=None,
    )


def becomes(publisher, *, subscribed):
    """Wait until the publisher knows of a subscriber, or of none; a subscriber misses what is sent before."""
    end = time.monotonic() + 20
    while publisher.subscribed is not subscribed and time.monotonic() < end:
        time.sleep(0.02)
    return publisher.subscribed is subscribed


def test_a_subscriber_that_reads_nothing_slows_nobody(result):
    publisher = Publisher("tcp://127.0.0.1:*")
    deaf: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    deaf.setsockopt(zmq.RCVHWM, 1)
    deaf.setsockopt(zmq.SUBSCRIBE, b"")
    deaf.connect(publisher.address)
    assert becomes(publisher, subscribed=True)
    start = time.perf_counter()
    for _ in range(2000):
        publisher.publish(result, session="x" * 10_000)
    took = time.perf_counter() - start
    publisher.close()
    deaf.close(linger=0)
    assert took < 10.0


def test_it_knows_whether_anyone_subscribes_to_results():
    publisher = Publisher("tcp://127.0.0.1:*")

    other: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    other.setsockopt(zmq.SUBSCRIBE, b"myostream.summary/1")
    other.connect(publisher.address)
    time.sleep(0.6)
    assert not publisher.subscribed
    other.setsockopt(zmq.SUBSCRIBE, b"myostream.ecv/1")
    assert becomes(publisher, subscribed=True)
    other.setsockopt(zmq.UNSUBSCRIBE, b"myostream.ecv/1")
    assert becomes(publisher, subscribed=False)
    readers = [subscribe(publisher.address) for _ in range(2)]
    assert becomes(publisher, subscribed=True)
    readers[0].close(linger=0)
    time.sleep(0.6)
    assert publisher.subscribed
    readers[1].close(linger=0)
    assert becomes(publisher, subscribed=False)
    other.close(linger=0)
    publisher.close()


def test_without_subscribers_messages_go_nowhere(result):
    publisher = Publisher("tcp://127.0.0.1:*")
    for _ in range(10):
        publisher.publish(result)
    publisher.close()
    assert publisher.dropped == 0


def test_what_is_published_is_received_as_it_was(result):
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    assert becomes(publisher, subscribed=True)
    publisher.publish(result, session="here")
    message = decode(subscriber.recv_multipart())
    publisher.close()
    subscriber.close(linger=0)
    assert message["session"] == "here"
    assert message["quantity"] == "T1"
    assert message["contours"] is None


def test_half_a_surrogate_pair_is_replaced_and_published(result):
    """A description as in the JSON text "MOLLI \\ud800", which UTF-8 cannot express."""
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    subscriber.setsockopt(zmq.RCVTIMEO, 10_000)
    assert becomes(publisher, subscribed=True)
    publisher.publish(replace(result, error="MOLLI \ud800"), session="first")
    publisher.publish(result, session="second")
    messages = [decode(subscriber.recv_multipart()) for _ in range(2)]
    publisher.close()
    subscriber.close(linger=0)
    assert messages[0]["error"] == "MOLLI ?"
    assert [each["session"] for each in messages] == ["first", "second"]


@pytest.mark.parametrize("what", [2**80, object(), float("nan"), "x" * 1_000_000, [[[]]] * 10])
def test_what_cannot_be_packed_is_counted_and_does_not_end_the_stream(what, result, caplog):
    publisher = Publisher("tcp://127.0.0.1:*")
    subscriber = subscribe(publisher.address)
    subscriber.setsockopt(zmq.RCVTIMEO, 10_000)
    assert becomes(publisher, subscribed=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            publisher.publish(result, session=what)
        publisher.publish(result, session="good")
        seen = []
        while "good" not in seen:
            seen.append(decode(subscriber.recv_multipart())["session"])
        publisher.close()
    subscriber.close(linger=0)
    packs = what not in (2**80,) and type(what) is not object
    assert (len(seen), publisher.failed) == ((4, 0) if packs else (1, 3))
    assert ("was not published" in caplog.text) != packs


def test_a_result_without_record_is_counted_and_raises_nothing(result):
    publisher = Publisher("tcp://127.0.0.1:*")
    publisher.publish(replace(result, identity=None))
    publisher.close()
    assert publisher.failed == 1


def test_results_on_an_ipv6_address_are_received(result):
    publisher = Publisher("tcp://[::1]:*")
    receiver = subscribe(publisher.address)
    assert becomes(publisher, subscribed=True)
    publisher.publish(result, session="a")
    assert receiver.poll(10_000)
    assert decode(receiver.recv_multipart())["session"] == "a"
    receiver.close(linger=0)
    publisher.close()


def refuses(address):
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return True
    return False


def ended(connection):
    """Whether the other side ends a connection, after its greeting."""
    connection.settimeout(10)
    with suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return True


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:*", "tcp://[::1]:*", "ipc://{}/results"])
def test_connections_beyond_the_limit_are_ended_and_subscribers_stay(
    address, result, tmp_path, monkeypatch, caplog
):
    """A program that forgets its sockets would use up the descriptors.

    libzmq ends those without a handshake by itself, as those of this test, but 30 s later.
    """
    monkeypatch.setattr(publisher_module, "_MOST_OPEN", 8)
    publisher = Publisher(address.format(tmp_path))
    place = publisher.address.partition("://")[2]
    host, _, port = place.rpartition(":")

    def connected():
        if not host:
            made = socket.socket(socket.AF_UNIX)
            made.connect(place)
            return made
        return socket.create_connection((host.strip("[]"), int(port)))

    subscriber = subscribe(publisher.address)
    assert becomes(publisher, subscribed=True)
    silent = [connected() for _ in range(7)]
    wait_until(lambda: len(publisher._open) == 8)
    for _ in range(3):
        with connected() as further:
            assert ended(further)
    publisher.publish(result, session="still")
    assert subscriber.poll(10_000)
    assert decode(subscriber.recv_multipart())["session"] == "still"
    for each in silent:
        each.setblocking(False)
        each.recv(1 << 16)  # the greeting
        with pytest.raises(BlockingIOError):
            each.recv(1)
        each.close()
    wait_until(lambda: len(caplog.records) == 2)
    later = subscribe(publisher.address)
    wait_until(lambda: len(publisher._open) == 2)
    later.close(linger=0)
    subscriber.close(linger=0)
    publisher.close()
    assert [each.getMessage() for each in caplog.records] == [
        f"8 connections to {publisher.address} are open; further ones are ended at once",
        f"further connections to {publisher.address} are accepted again",
    ]


def test_a_descriptor_of_another_connection_is_left_alone():
    """The number of a connection that has ended may be that of the scanner's."""
    publisher = Publisher("tcp://127.0.0.1:*")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as scanner,
        listening.accept()[0] as served,
        Path("/dev/null").open() as file,
    ):
        for each in (served, file):
            publisher._end(each.fileno())
        served.sendall(b"x")
        assert scanner.recv(1) == b"x"
    publisher.close()


def test_half_of_the_descriptors_are_left_to_others(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60, 60))
    publisher = Publisher("tcp://127.0.0.1:*")
    subscribers = [subscribe(publisher.address) for _ in range(40)]
    wait_until(lambda: len(publisher._open) >= 30)
    assert publisher.subscribed
    wait_until(lambda: publisher._full)
    for each in subscribers:
        each.close(linger=0)
    publisher.close()


def test_connections_that_end_are_not_counted():
    publisher = Publisher("tcp://127.0.0.1:*")
    address = "127.0.0.1", int(publisher.address.rpartition(":")[2])
    for _ in range(600):
        assert not refuses(address)
    wait_until(lambda: not publisher._open)
    publisher.close()


def test_an_address_that_is_taken_is_named():
    first = Publisher("tcp://127.0.0.1:*")
    with pytest.raises(ConfigurationError, match=first.address):
        Publisher(first.address)
    first.close()


@pytest.mark.parametrize(
    "parts", [[TOPIC], [b"other/1", msgpack.packb({})], [TOPIC, msgpack.packb([1])], [TOPIC, b"", b""]]
)
def test_other_messages_are_refused(parts):
    with pytest.raises(ValueError, match="message"):
        decode(parts)


def test_a_taken_address_is_the_same_error_however_often_it_is_tried():
    """The next publisher may get the place in memory of one that could not bind."""
    with closing(Publisher("tcp://127.0.0.1:*")) as first:
        for _ in range(200):
            with pytest.raises(ConfigurationError, match="cannot be published"):
                Publisher(first.address)
