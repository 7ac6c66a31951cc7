"""Server that other hosts reach: who may connect, and what the log says of it."""

import socket

import pytest

from inline.data.errors import ConfigurationError
from inline.replay.client import exchange
from inline.serving.parameters import with_parameters
from inline.settings import load_settings


def answered(address):
    """Whether a server takes a connection: it says nothing, or closes at once."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.settimeout(1.0)
        try:
            return connection.recv(1) != b""
        except TimeoutError:
            return True
        except ConnectionError:
            return False


@pytest.mark.parametrize("host", ["0.0.0.0", ""])
def test_an_address_that_other_hosts_reach_is_warned_of_once_and_served(host, serving, caplog):
    with serving(server={"port": 0, "host": host}) as server:
        for _ in range(2):
            assert exchange(("127.0.0.1", server.address[1]), "", []).texts
    warnings = [line for line in caplog.messages if "neither encryption nor passwords" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"0.0.0.0:{server.address[1]} is reached by other hosts")


def test_this_host_is_not_warned_of(serving, caplog):
    with serving():
        pass
    assert "encryption" not in caplog.text


def test_hosts_that_are_not_listed_are_closed_with_a_line(serving, caplog):
    with serving(server={"port": 0, "peers": ["192.0.2.0/24", "2001:db8::/32"]}) as server:
        assert not answered(server.address)
    assert sum("is refused: it is not among server.peers" in line for line in caplog.messages) == 1


def test_hosts_that_are_listed_are_served(serving):
    with serving(server={"port": 0, "peers": ["192.0.2.0/24", "127.0.0.0/8"]}) as server:
        assert answered(server.address)
        assert exchange(server.address, "", []).texts


def test_a_connections_parameters_leave_the_networks_as_they_are():
    settings = load_settings(server={"peers": ["192.0.2.0/24", "::1/128"]})
    changed, problems = with_parameters(settings, {"t1_scale": 1.1})
    assert not problems
    assert changed.server == settings.server


@pytest.mark.parametrize("network", ["scanner", "192.0.2.5/8", "300.0.0.1", "192.0.2.0/33"])
def test_a_network_that_is_none_is_named(network):
    with pytest.raises(ConfigurationError, match=r"server\.peers"):
        load_settings(server={"peers": [network]})
