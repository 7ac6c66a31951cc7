"""Access to published results, and messages of subscribers."""

import time

import pytest
import zmq
import zmq.auth

from inline.data.errors import ConfigurationError
from inline.emit.access import check_address, check_exposure, make_keys, public_key, secret_pair
from inline.emit.publisher import SUMMARY_TOPIC, Publisher, decode, subscribe
from inline.serving.summary import Summary

SUMMARY = Summary(0, 0, 0, 0, 0, {})


def received(publisher, subscriber, seconds=5.0):
    """The session of a message that is published until it arrives; None if none does."""
    subscriber.setsockopt(zmq.RCVTIMEO, 100)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        publisher.summarise(SUMMARY.record(), session="here")
        try:
            return decode(subscriber.recv_multipart())["session"]
        except zmq.Again:
            continue
    return None


@pytest.fixture
def keys(tmp_path):
    make_keys(tmp_path / "keys", "reader")
    return tmp_path / "keys"


@pytest.mark.parametrize(
    "address",
    [
        "tcp://*:5560",
        "tcp://0.0.0.0:*",
        "tcp://192.0.2.1:5560",
        "tcp://[::]:5560",
        "tcp://eth0:5560",
        "ws://127.0.0.1:1",
    ],
)
def test_results_do_not_leave_the_host_without_keys(address, keys):
    with pytest.raises(ConfigurationError, match="--insecure"):
        check_exposure(address, keys=False, insecure=False)
    check_exposure(address, keys=True, insecure=False)
    check_exposure(address, keys=False, insecure=True)


@pytest.mark.parametrize("address", ["tcp://*:*", "tcp://0.0.0.0:*"])
def test_a_publisher_for_other_hosts_needs_keys_or_the_wish(address, keys):
    with pytest.raises(ConfigurationError, match="could be read by every host"):
        Publisher(address)
    Publisher(address, insecure=True).close()
    Publisher(address, keys=keys).close()


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:5560", "tcp://[::1]:5560", "ipc:///tmp/x", "inproc://x"]
)
def test_this_host_is_no_exposure(address):
    check_exposure(address, keys=False, insecure=False)


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "", "5560x", "\u0661"])
def test_a_port_that_does_not_exist_is_refused(port):
    with pytest.raises(ConfigurationError, match="no port from 0 to 65535"):
        Publisher(f"tcp://127.0.0.1:{port}")
    with pytest.raises(ConfigurationError, match="no port from 0 to 65535"):
        subscribe(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["127.0.0.1:5961", "localhost:5961", "[::1]:5961", "*:5961"])
def test_an_address_without_a_transport_is_named_with_it(address):
    for use in (Publisher, subscribe):
        with pytest.raises(ConfigurationError) as caught:
            use(address)
        assert str(caught.value) == f"the address {address!r} names no transport; give tcp://{address}"
    with pytest.raises(ConfigurationError, match=r"give tcp://127\.0\.0\.1:5961$"):
        subscribe("5961")


def test_ports_that_exist_are_taken():
    for port in ("*", "0", "5560", "65535"):
        check_address(f"tcp://127.0.0.1:{port}")
    check_address("ipc:///tmp/99999")


def test_known_clients_alone_receive_results(keys, tmp_path):
    make_keys(tmp_path / "others", "stranger")
    publisher = Publisher("tcp://127.0.0.1:*", keys=keys)
    server_key, own = keys / "server.key", keys / "clients" / "reader.key_secret"
    known = subscribe(publisher.address, server_key=server_key, keys=own)
    stranger = subscribe(
        publisher.address,
        server_key=server_key,
        keys=tmp_path / "others" / "clients" / "stranger.key_secret",
    )
    without = subscribe(publisher.address)
    assert received(publisher, known) == "here"
    assert received(publisher, stranger, seconds=1.0) is None
    assert received(publisher, without, seconds=1.0) is None
    for socket in (known, stranger, without):
        socket.close(linger=0)
    start = time.monotonic()
    publisher.close()
    assert time.monotonic() - start < 5.0


def test_a_second_publisher_with_keys_works_beside_and_after_the_first(keys):
    for _ in range(2):
        publishers = [Publisher("tcp://127.0.0.1:*", keys=keys) for _ in range(2)]
        for publisher in publishers:
            subscriber = subscribe(
                publisher.address,
                server_key=keys / "server.key",
                keys=keys / "clients" / "reader.key_secret",
            )
            assert received(publisher, subscriber) == "here"
            subscriber.close(linger=0)
        for publisher in publishers:
            publisher.close()


def test_keys_are_secret_and_are_never_overwritten(keys):
    secrets = [keys / "server.key_secret", keys / "clients" / "reader.key_secret"]
    assert [file.stat().st_mode & 0o077 for file in secrets] == [0, 0]
    before = secret_pair(keys / "server.key_secret")
    with pytest.raises(ConfigurationError, match="already"):
        make_keys(keys, "reader")
    public, secret = make_keys(keys, "second")
    assert secret_pair(keys / "server.key_secret") == before
    assert public_key(public) == before[0]
    assert secret_pair(secret)[0] != before[0]


@pytest.mark.parametrize("name", ["../x", "", "a/b", "x.key"])
def test_a_client_is_no_path(name, keys):
    with pytest.raises(ConfigurationError, match="no name for keys"):
        make_keys(keys, name)


def test_keys_that_cannot_be_used_are_named(keys, tmp_path):
    with pytest.raises(ConfigurationError, match=r"server\.key_secret cannot be read"):
        Publisher("tcp://127.0.0.1:*", keys=tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="both --server-key and --keys"):
        subscribe("tcp://127.0.0.1:5560", server_key=keys / "server.key")
    with pytest.raises(ConfigurationError, match="no secret key"):
        subscribe("tcp://127.0.0.1:5560", server_key=keys / "server.key", keys=keys / "server.key")
    (keys / "bad.key").write_text('public-key = "short"\n')
    with pytest.raises(ConfigurationError, match="40 characters"):
        public_key(keys / "bad.key")
    for file in (keys / "clients").iterdir():
        file.unlink()
    with pytest.raises(ConfigurationError, match="holds no key"):
        Publisher("tcp://127.0.0.1:*", keys=keys)


def test_a_subscriber_that_sends_more_than_a_topic_is_cut_off():
    publisher = Publisher("tcp://127.0.0.1:*")
    large: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    large.setsockopt(zmq.SUBSCRIBE, b"x" * 10_000)
    large.setsockopt(zmq.SUBSCRIBE, SUMMARY_TOPIC)
    large.connect(publisher.address)
    assert received(publisher, large, seconds=1.0) is None
    good = subscribe(publisher.address)
    assert received(publisher, good) == "here"
    for socket in (large, good):
        socket.close(linger=0)
    publisher.close()
