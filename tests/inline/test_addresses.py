import ipaddress
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

from inline.addresses import accepted, admitted, bound, host_port


@pytest.mark.parametrize(
    ("host", "networks", "expected"),
    [
        ("192.0.2.7", [], True),
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24", "198.51.100.0/24"], False),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("2001:db8::1", ["192.0.2.0/24"], False),
    ],
)
def test_hosts_are_admitted_by_their_networks(host, networks, expected):
    assert admitted(host, [ipaddress.ip_network(each) for each in networks]) is expected


def test_an_ipv6_address_is_written_with_brackets():
    assert host_port("127.0.0.1", 9002) == "127.0.0.1:9002"
    assert host_port("::1", 9002) == "[::1]:9002"


@pytest.mark.parametrize(
    ("host", "callers"),
    [("127.0.0.1", ["127.0.0.1"]), ("::1", ["::1"]), ("::", ["127.0.0.1", "::1"])],
)
def test_an_address_is_bound_in_its_family(host, callers):
    with closing(bound(host, 0)) as listening:
        listening.listen()
        for each in callers:
            socket.create_connection((each, listening.getsockname()[1]), timeout=5).close()


SHORT = """
import logging, os, resource, socket, sys, threading, time
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from inline.serving.page.board import Board
from inline.serving.page.web import Access, PageServer, Streams

def page():
    listening = socket.create_server(("127.0.0.1", 0))
    return PageServer(listening, Streams(Board()), Access())

def node():
    from pynetdicom import AE
    from inline.dicom.node.receiver import _server_class
    from inline.settings import DicomSettings
    entity = AE("NODE")
    entity.add_supported_context("1.2.840.10008.1.1")
    kind = _server_class(DicomSettings(), lambda: None, lambda: None)
    return entity.make_server(("127.0.0.1", 0), server_class=kind)

server = {"page": page, "node": node}[sys.argv[1]]()
threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
client = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
client.connect(server.server_address[:2])
begun = time.process_time()
time.sleep(2)
used = time.process_time() - begun
assert used < 0.1, used
for each in held:
    os.close(each)
client.settimeout(10)
if sys.argv[1] == "page":
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert client.recv(100).startswith(b"HTTP/1.0 200")
else:
    client.sendall(b"\\x06\\x00\\x00\\x00\\x00\\x04" + bytes(4))  # a release, before any association
    assert client.recv(100)[:1] == b"\\x07"  # abort
print("served", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("server", ["page", "node"])
def test_a_server_without_descriptors_waits_for_one_without_spinning(server):
    """The shortage lasts for two attempts at least."""
    if server == "node":
        pytest.importorskip("pynetdicom")
    made = subprocess.run([sys.executable, "-c", SHORT, server], capture_output=True, text=True, timeout=60)
    *log, end = made.stdout.splitlines() or [""]
    assert end == "served", made.stderr
    if server == "node":
        assert [line for line in log if "accepted" in line] == [
            "connections cannot be accepted: [Errno 24] Too many open files; tried again every second",
            "connections are accepted again",
        ]


def test_where_no_connection_waits_nothing_is_short():
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(0.01)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            accepted(listening)
        assert time.monotonic() - begun < 0.5
