"""HTTP server of metrics and health: pages, access, and clients that are slow, silent or hostile."""

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inline.data.errors import ConfigurationError
from inline.serving import listening
from inline.serving import monitor as module
from inline.serving.listening import check_distinct
from inline.serving.monitor import Kept, Monitor, Reply, json_reply
from inline.settings import MonitorSettings, load_settings

TOKEN = "0123456789abcdef"


@pytest.fixture
def started():
    made = []

    def start(pages=None, **values):
        pages = pages or {"/metrics": lambda: Reply(b"up 1\n"), "/readyz": lambda: json_reply({}, good=False)}
        made.append(Monitor(MonitorSettings(port=0, **values), pages))
        return made[-1]

    yield start
    for each in made:
        each.close()


def get(monitor, path="/metrics", method="GET", **headers):
    connection = http.client.HTTPConnection(*monitor.address, timeout=20)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, body, reply.headers


def test_pages_and_their_status(started):
    monitor = started()
    status, body, headers = get(monitor)
    assert (status, body) == (200, b"up 1\n")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert headers["Server"] == "myostream"
    assert get(monitor, "/readyz")[0] == 503
    assert json.loads(get(monitor, "/readyz?verbose")[1]) == {}
    assert get(monitor, "/secret")[:2] == (404, b"there is /metrics /readyz\n")
    assert get(monitor, method="HEAD")[:2] == (200, b"")
    assert get(monitor, method="POST")[0] == 501


@pytest.mark.parametrize(("lines", "status"), [([15_000], b"200"), ([17_000], b"431"), ([4000] * 5, b"431")])
def test_headers_are_bounded_in_all(lines, status, started):
    (client,) = opened(started(), 1)
    with client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n" + b"".join(b"X: %s\r\n" % (b"a" * n) for n in lines))
        client.sendall(b"\r\n" if status == b"200" else b"")
        assert client.recv(12)[9:] == status


def test_a_token_is_needed_where_one_is_set(started):
    monitor = started(token=TOKEN)
    assert get(monitor)[0] == 401
    assert get(monitor, Authorization=f"Bearer {TOKEN[:-1]}")[0] == 401
    assert get(monitor, Authorization="Bearer \xe9")[0] == 401
    assert get(monitor, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_token_may_have_any_characters(started):
    monitor = started(token="Schl\u00fcssel-der-\u4ee4\u724c")
    assert get(monitor, Authorization="Bearer Schl\u00fcssel-der-\u4ee4\u724c".encode())[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_other_hosts_need_a_token(host, started):
    with pytest.raises(ConfigurationError, match=r"give monitor\.token"):
        started(host=host)
    assert started(host=host, token=TOKEN).address[1]


def test_a_port_that_is_taken_and_a_host_that_is_none_are_one_line(started):
    taken = started().address[1]
    with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{taken} .*in use"):
        Monitor(MonitorSettings(port=taken), {})
    with pytest.raises(ConfigurationError, match=r"choose another with --monitor-port or monitor\.port$"):
        Monitor(MonitorSettings(port=0, host="192.0.2.1"), {})


@pytest.mark.parametrize(
    ("server", "monitor", "named"),
    [
        ({"port": 9312}, {"page_port": 9312}, "--port and --page-port are both 9312"),
        ({}, {"port": 9002}, "--port and --monitor-port are both 9002"),
        ({"host": "0.0.0.0"}, {"port": 9002}, "--port and --monitor-port are both 9002"),
        ({}, {"port": 9101, "page_port": 9101}, "--monitor-port and --page-port are both 9101"),
        ({"port": 0}, {"port": 0, "page_port": 0}, ""),
        ({"host": "192.0.2.1"}, {"port": 9002, "page_port": 9003}, ""),
        ({}, {}, ""),
    ],
)
def test_ports_of_one_address_are_distinct(server, monitor, named):
    settings = load_settings(server=server, monitor=monitor)
    if not named:
        check_distinct(settings)
        return
    with pytest.raises(ConfigurationError, match=named):
        check_distinct(settings)


def test_a_socket_that_cannot_listen_is_closed(monkeypatch):
    class Taken(socket.socket):
        def listen(self, *_):
            raise OSError(98, "Address already in use")

    made = Taken()
    monkeypatch.setattr(listening, "bound", lambda *_: made)
    with pytest.raises(ConfigurationError, match="Address already in use"):
        listening.listening_socket(MonitorSettings(port=0), "port", 1)
    assert made.fileno() == -1


def test_a_short_token_is_refused_and_not_shown():
    with pytest.raises(ConfigurationError, match=r"monitor\.token: .*16") as caught:
        load_settings(monitor={"token": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert TOKEN not in repr(load_settings(monitor={"token": TOKEN}))


def test_an_error_of_a_page_ends_its_request_alone(started):
    def fail():
        raise RuntimeError("no")

    monitor = started({"/bad": fail, "/good": lambda: Reply(b"")})
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        get(monitor, "/bad")
    assert get(monitor, "/good")[0] == 200


def test_a_page_is_made_anew_once_in_a_time(monkeypatch):
    now, made = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    page = Kept(lambda: made.append(now[0]) or Reply(str(len(made)).encode()), every_s=1.0)
    assert [page().body, page().body] == [b"1", b"1"]
    now[0] = 100.9
    assert page().body == b"1"
    now[0] = 101.0
    assert page().body == b"2"


def opened(monitor, number):
    return [socket.create_connection(monitor.address, timeout=20) for _ in range(number)]


def got_in_the_end(monitor):
    """Whether a page comes once the places of others are free, which takes a moment after they are closed."""
    for _ in range(100):
        with suppress(http.client.HTTPException, ConnectionError):
            return get(monitor)[0] == 200
        time.sleep(0.05)
    return False


def test_silent_clients_are_bounded_and_closed(started, monkeypatch):
    monkeypatch.setattr(module._Server, "longest_s", 1.0)
    monitor = started()
    silent = opened(monitor, 30)
    before = threading.active_count()
    assert before < 60
    assert [each.recv(1) for each in silent] == [b""] * 30  # closed, at once or in the end
    assert got_in_the_end(monitor)
    for each in silent:
        each.close()


def test_a_client_that_sends_a_byte_at_a_time_is_closed_in_the_end(started, monkeypatch):
    monkeypatch.setattr(module._Server, "longest_s", 1.0)
    monitor = started()
    (slow,) = opened(monitor, 1)
    start = time.monotonic()
    with slow, suppress(OSError):  # reset, or a broken pipe
        while time.monotonic() - start < 20:
            slow.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - start < 15
    assert get(monitor)[0] == 200


def test_a_client_that_reads_nothing_holds_up_no_other(started):
    monitor = started({"/large": lambda: Reply(b"x" * (64 << 20)), "/metrics": lambda: Reply(b"up 1\n")})
    (greedy,) = opened(monitor, 1)
    greedy.sendall(b"GET /large HTTP/1.0\r\n\r\n")
    assert get(monitor)[0] == 200
    greedy.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"GET {text}\r\n\r\n".encode()))
def test_no_request_ends_the_server(data, started, capfd):
    monitor = started()
    (client,) = opened(monitor, 1)
    with client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while client.recv(1 << 16):
                pass
    assert got_in_the_end(monitor)
    assert capfd.readouterr().err == ""
    monitor.close()


def test_it_stops_with_clients_that_are_still_there(started):
    monitor = started()
    there = opened(monitor, 3)
    monitor.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("http://{}:{}/metrics".format(*monitor.address), timeout=5)
    for each in there:
        each.close()
