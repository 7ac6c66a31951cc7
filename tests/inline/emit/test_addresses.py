import ipaddress
import socket
from contextlib import closing

import pytest

from inline.emit.addresses import admitted, bound, host_port


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
