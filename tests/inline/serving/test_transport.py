"""Sockets whose other end is slow, mute or gone."""

import contextlib
import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inline.data.errors import ProtocolError
from inline.serving import transport as module
from inline.serving.transport import Patience, SocketTransport


@pytest.fixture
def pair():
    """A connected pair of TCP sockets with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 13)
        theirs = socket.create_connection(listening.getsockname(), timeout=20)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 13)
        ours, _ = listening.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
    with ours, theirs:
        yield ours, theirs


def read_slowly(connection, size, pause):
    """Read in the background; the bytes that came, once it has ended."""
    received = bytearray()

    def read():
        with contextlib.suppress(OSError):
            while data := connection.recv(size):
                received.extend(data)
                time.sleep(pause)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread, received


def test_a_peer_that_takes_nothing_is_given_up_after_the_limit_and_not_after_several(pair, monkeypatch):
    """Each partial send once began the time anew: 60 s were 179."""
    ours, theirs = pair
    now, wait = [0.0], SocketTransport._wait_for_room

    def wait_for_room(self):
        monkeypatch.setattr(module, "_TICK_S", 0.002)
        wait(self)
        now[0] += 0.05

    monkeypatch.setattr(SocketTransport, "_wait_for_room", wait_for_room)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    transport = SocketTransport(ours, Patience(5.0, 1.0), must_read=False)
    with pytest.raises(TimeoutError, match=r"took nothing for 5 s"):
        transport.send(bytes(1 << 24))
    assert now[0] < 7.5
    # Without the kernel's own limit, the other direction goes on.
    theirs.sendall(b"more")
    assert transport.receive() == b"more"


def test_the_limit_of_a_peer_that_takes_nothing_is_counted_once(pair, monkeypatch):
    """On a clock of the test, which moves only while there is no room."""
    ours, _ = pair
    now = [1000.0]

    def wait(self):
        now[0] += 0.25

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(SocketTransport, "_wait_for_room", wait)
    with pytest.raises(TimeoutError, match=r"took nothing for 60 s"):
        SocketTransport(ours, Patience(60.0, 1.0)).send(bytes(1 << 24))
    assert 1060.0 < now[0] < 1090.0


def test_a_peer_that_takes_too_little_is_given_up(pair):
    ours, theirs = pair
    read_slowly(theirs, 100, 0.05)
    transport = SocketTransport(ours, Patience(0.5, 1e9))
    with pytest.raises(TimeoutError, match=r"it took \d+ bytes in|it took nothing"):
        transport.send(bytes(1 << 24))


def test_a_peer_that_takes_at_the_least_rate_gets_everything_in_more_than_the_limit(pair):
    ours, theirs = pair
    thread, received = read_slowly(theirs, 1 << 13, 0.005)
    transport = SocketTransport(ours, Patience(0.7, 1 << 16))
    data = bytes(range(256)) * (1 << 10)
    transport.send(data)
    transport.finish()
    thread.join(timeout=60)
    assert received == data


def test_what_a_peer_has_not_taken_reaches_it_after_the_close(pair):
    """It still sends: closing would reset the connection, and throw away what waits to be sent."""
    ours, theirs = pair
    transport = SocketTransport(ours, Patience(20.0, 1.0))
    sending = threading.Thread(target=theirs.sendall, args=(bytes(1 << 22),), daemon=True)
    sending.start()
    data = bytes(range(256)) * 150
    transport.send(data)
    transport.finish()
    closing = threading.Thread(target=transport.close, kwargs={"unread": True})
    closing.start()
    received = b""
    while part := theirs.recv(1 << 9):
        received += part
        time.sleep(0.03)  # 2 s for all: longer than a silent peer alone would be waited for
    closing.join(timeout=20)
    assert received == data


@pytest.mark.parametrize("size", [2, 1 << 18])
def test_bytes_after_a_close_message_do_not_reset_the_connection(size, pair, monkeypatch):
    """They have come and are not received any more: closing would throw away what the peer has not read."""
    monkeypatch.setattr(module, "_LINGER_S", 1.0)
    ours, theirs = pair
    transport = SocketTransport(ours, Patience(20.0, 1.0))
    data = bytes(range(256)) * 150
    sending = threading.Thread(target=theirs.sendall, args=(bytes(size),), daemon=True)
    sending.start()
    sending.join(0.1)  # the rest of many bytes comes as the others are received
    transport.send(data)
    transport.finish()
    transport.close(unread=False)
    time.sleep(0.05)
    received = b""
    while part := theirs.recv(1 << 9):
        received += part
    assert received == data


def test_an_abort_ends_whatever_waits(pair):
    ours, _ = pair
    transport = SocketTransport(ours, Patience(600.0, 1.0))
    ended = []

    def send():
        try:
            transport.send(bytes(1 << 26))
        except OSError as error:
            ended.append(error)

    threads = [threading.Thread(target=send), threading.Thread(target=lambda: ended.append(receive()))]

    def receive():
        while (data := transport.receive()) is None:
            pass
        return data

    for thread in threads:
        thread.start()
    time.sleep(0.3)
    transport.abort()
    for thread in threads:
        thread.join(timeout=10)
    assert len(ended) == 2
    assert b"" in ended


@pytest.mark.parametrize(("must_read", "milliseconds"), [(True, 60_000), (False, 0)])
def test_the_kernel_notices_hosts_that_vanish(must_read, milliseconds, pair):
    ours, _ = pair
    SocketTransport(ours, Patience(30.0, 1.0), must_read=must_read)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    assert [ours.getsockopt(socket.IPPROTO_TCP, each) for each in options] == [30, 10, 3, milliseconds]


def test_a_peer_that_resets_ends_the_close_at_once(pair, monkeypatch):
    """Else the test would run into its own limit of time."""
    monkeypatch.setattr(module, "_LINGER_S", 600.0)
    monkeypatch.setattr(module, "_SILENT_S", 600.0)
    ours, theirs = pair
    transport = SocketTransport(ours, Patience(600.0, 1.0))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    transport.close(unread=True)


# Limits on the time of a message.


TIMES = st.floats(0, 1e4)
LIMITS = Patience(60.0, 1000.0)


@given(TIMES, TIMES, st.integers(0, 10**9))
def test_a_message_must_come_at_the_least_rate_and_without_long_silence(waited, silent, received):
    good = silent <= 60.0 and waited <= 60.0 + received / 1000.0
    if good:
        LIMITS.check_rest(waited, silent, received)
    else:
        with pytest.raises(ProtocolError, match="message"):
            LIMITS.check_rest(waited, silent, received)


@given(TIMES, TIMES, st.integers(-10, 10**9))
def test_a_message_must_be_taken_alike(waited, still, taken):
    if still <= 60.0 and waited <= 60.0 + max(taken, 0) / 1000.0:
        LIMITS.check_taken(waited, still, taken)
    else:
        with pytest.raises(TimeoutError, match="it took"):
            LIMITS.check_taken(waited, still, taken)
