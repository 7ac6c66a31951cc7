"""Server of the page: access, headers, streams, and browsers that are slow, silent or hostile."""

import http.client
import json
import re
import socket
import threading
import time
from contextlib import closing, contextmanager
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inline.serving.page import web
from inline.serving.page.board import Board
from inline.serving.page.web import Access, PageServer, Streams

TOKEN = "0123456789abcdef"
LOOPBACK = Access(hosts=("127.0.0.1", "localhost"))


@contextmanager
def serving(access=LOOPBACK):
    streams = Streams(Board())
    server = PageServer(socket.create_server(("127.0.0.1", 0), backlog=64), streams, access)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server, streams
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def page():
    with serving() as made:
        yield made


def result(number, size=4, **more):
    event = {"kind": "slice", "number": number, "study": 1, "replaces": [], **more}
    return {"event": event, "images": {"map": bytes(size)}}


def get(server, path="/", method="GET", **headers):
    with closing(http.client.HTTPConnection(*server.server_address, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers


def stream(server):
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    connection.request("GET", "/events")
    return connection, connection.getresponse()


def events(reply, number):
    found = []
    while len(found) < number:
        line = reply.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
    return found


def test_files_load_nothing_from_elsewhere(page):
    server, _ = page
    status, body, headers = get(server)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(rb'(?:src|href)="([^"]*)"', body)
    assert named == [b"page.css", b"maps.js", b"bullseye.js", b"page.js"]
    assert not re.search(rb"<script>|<style|\sstyle=|\son\w+=", body), "the policy admits nothing inline"
    for name in named:
        status, body, headers = get(server, f"/{name.decode()}")
        assert status == 200
        assert b"//" not in body.replace(b"http://www.w3.org/2000/svg", b"")
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_scripts_work_in_a_browser_of_2018(page):
    newer = rb"\?\.|\?\?|\|\|=|\breplace(All|Children)\b|\.at\(|flatMap|structuredClone|\b(im|ex)port\b"
    for name in ("maps.js", "bullseye.js", "page.js"):
        assert not re.search(newer, get(page[0], f"/{name}")[1]), name


@pytest.mark.parametrize(
    "path", ["/x", "/results/", "/results/1", "/results/1/map", "/results/x/map", "/../web.py"]
)
def test_what_is_not_there_is_not_found(page, path):
    assert get(page[0], path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_the_page_is_read_only(page, method):
    assert get(page[0], method=method)[0] == 501


def test_head_has_the_reply_of_get_without_its_body(page):
    server, _ = page
    for path in ("/", "/page.js", "/x"):
        (status, body, headers), whole = get(server, path, "HEAD"), get(server, path)
        assert (status, body, headers["Content-Length"]) == (whole[0], b"", str(len(whole[1])))
        for name in ("Content-Type", "Content-Security-Policy"):
            assert headers[name] == whole[2][name]
    status, body, headers = get(server, "/events", "HEAD")
    assert (status, body, headers["Content-Type"]) == (200, b"", "text/event-stream")


def test_images_are_kept_as_they_came(page):
    server, streams = page
    streams.add({**result(7), "images": {"map": b"\x01\x02"}})
    status, body, headers = get(server, "/results/7/map")
    assert (status, body, headers["Content-Type"]) == (200, b"\x01\x02", "application/octet-stream")
    assert get(server, "/results/7/uncertainty")[0] == 404


def test_a_foreign_site_cannot_lead_a_browser_here(page):
    assert get(page[0], Host="evil.example")[0] == 403
    assert get(page[0], Host="localhost:80")[0] == 200


def test_a_token_opens_the_page_and_a_cookie_keeps_it_open():
    with serving(Access(TOKEN)) as (server, _):
        assert get(server)[0] == 401
        assert get(server, "/events")[0] == 401
        assert get(server, "/?token=wrong")[0] == 401
        assert get(server, Authorization=f"Bearer {TOKEN}")[0] == 200
        status, _, headers = get(server, f"/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/")
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert get(server, Cookie=cookie.partition(";")[0])[0] == 200
        name, _, value = cookie.partition(";")[0].partition("=")
        assert get(server, Cookie=f'{name}="{value}"')[0] == 200  # RFC 6265, 4.1.1
        assert get(server, Cookie=f"{name}=wrong")[0] == 401
        assert get(server, Cookie="=;=\x7f")[0] == 401


@pytest.mark.parametrize(
    "foreign",
    ['a={"x":1}', 'a="b', "a=\xe9", "theme", "a=b c", "a,b=c", "user@x=1", "=v", "Path=/", "NAME=wrong"],
)
def test_a_cookie_of_another_program_of_the_host_does_not_close_the_page(foreign):
    with serving(Access(TOKEN)) as (server, _):
        own = get(server, f"/?token={TOKEN}")[2]["Set-Cookie"].partition(";")[0]
        foreign = foreign.replace("NAME", own.partition("=")[0])
        assert get(server, Cookie=f"{foreign}; {own}")[0] == 200
        assert get(server, Cookie=f"{own}; {foreign}")[0] == 200
        assert get(server, Cookie=foreign)[0] == 401


def test_pages_on_two_ports_of_a_host_stay_open_beside_each_other():
    with serving(Access(TOKEN)) as (one, _), serving(Access(f"{TOKEN}-other")) as (other, _):
        # A browser sends the cookies of a host to all of its ports, and keeps one of each name.
        given = [
            get(server, f"/?token={token}")[2]["Set-Cookie"].partition(";")[0]
            for server, token in ((one, TOKEN), (other, f"{TOKEN}-other"))
        ]
        kept = "; ".join({each.partition("=")[0]: each for each in given}.values())
        assert get(one, Cookie=kept)[0] == get(other, Cookie=kept)[0] == 200


@pytest.mark.parametrize(
    "token",
    [
        "8f+/Zk3q+Xw1mPz0Rb7c+A==",
        'semicolon;and "quotes" %41',
        "Schl\u00fcssel-der-Seite",
        "\u4ee4\u724c" * 8,
    ],
    ids=["base64", "punctuation", "latin-1", "other"],
)
def test_any_token_opens_the_page_in_every_way(token):
    typed = quote(token, safe="+/=")  # a browser leaves these as they are typed
    with serving(Access(token)) as (server, _):
        for address in (typed, quote(token, safe="")):
            status, _, headers = get(server, f"/?token={address}")
            assert status == 303
            assert get(server, Cookie=headers["Set-Cookie"].partition(";")[0])[0] == 200
        assert get(server, Authorization=f"Bearer {token}".encode())[0] == 200


def test_a_malformed_host_or_path_has_a_reply(page):
    server, _ = page
    assert get(server, Host="[::1")[0] == 403
    assert get(server, "//[x")[0] == 404


def test_a_stream_begins_with_what_is_there_and_goes_on(page):
    server, streams = page
    streams.add(result(1))
    connection, reply = stream(server)
    with closing(connection):
        assert reply.headers["Content-Type"] == "text/event-stream"
        assert [each.get("number") for each in events(reply, 2)] == [None, 1]  # a reset before it
        streams.add(result(2))
        assert events(reply, 1)[0]["number"] == 2


def test_streams_are_limited_and_come_free_again(page, monkeypatch):
    monkeypatch.setattr(web, "MOST_STREAMS", 2)
    monkeypatch.setattr(web, "_HEARTBEAT_S", 0.05)
    server, _ = page
    first, second = stream(server), stream(server)
    for _, reply in (first, second):
        events(reply, 1)
    assert get(server, "/events")[0] == 503
    first[1].close()
    first[0].close()
    for _ in range(100):
        third, reply = stream(server)
        if reply.status == 200:
            break
        third.close()
        time.sleep(0.05)
    assert reply.status == 200
    third.close()
    second[0].close()


def test_a_browser_that_reads_nothing_is_disconnected_and_the_others_get_everything(page, monkeypatch):
    monkeypatch.setattr(web._Handler, "timeout", 0.3)
    server, streams = page
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(server.server_address)
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    connection, reply = stream(server)
    with closing(slow), closing(connection):
        assert events(reply, 1)
        for number in range(1, 61):
            streams.add(result(number, text="x" * 200_000))
            assert events(reply, 1)[0]["number"] == number
        end = time.monotonic() + 10
        while len(streams._open) > 1 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(streams._open) == 1


def test_connections_that_say_nothing_are_closed_and_make_room(page, monkeypatch):
    monkeypatch.setattr(PageServer, "most_open", 3)
    monkeypatch.setattr(PageServer, "longest_s", 0.5)
    monkeypatch.setattr(web, "_CHECK_S", 0.05)
    server, _ = page
    silent = [socket.create_connection(server.server_address) for _ in range(3)]
    end = time.monotonic() + 10
    while True:
        try:
            assert get(server)[0] == 200
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < end
            time.sleep(0.05)
    for each in silent:
        each.settimeout(5)
        assert each.recv(1) == b""
        each.close()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda text: b"GET /" + text + b"\r\n\r\n"))
)
def test_arbitrary_bytes_do_no_harm(page, data):
    server, _ = page
    with socket.create_connection(server.server_address, timeout=5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
    assert get(server)[0] == 200
