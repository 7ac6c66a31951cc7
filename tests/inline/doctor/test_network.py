"""Checks of ports and destinations, against sockets that are free, taken, or another program's."""

import socket
import threading
from types import SimpleNamespace

import pytest

from inline.doctor import network
from inline.doctor.finding import Verdict
from inline.settings import load_settings


def verdicts(findings):
    return {each.part: (each.verdict, each.text) for each in findings}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_free_ports():
    settings = load_settings(
        server={"port": free_port()}, monitor={"port": free_port()}, emit={"zmq": f"tcp://*:{free_port()}"}
    )
    found = verdicts(network.ports(settings))
    assert set(found) == {"port of MRD", "port of metrics", "port of ZeroMQ"}
    assert all(verdict is Verdict.GOOD for verdict, _ in found.values())


def test_a_port_of_another_program_is_a_problem_and_one_of_a_server_is_none(serving):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        found = verdicts(network.ports(load_settings(server={"port": port})))
    assert {verdict for verdict, _ in found.values()} == {Verdict.PROBLEM}
    assert "Address already in use" in found["port of MRD"][1]
    with serving() as server, socket.create_server(("127.0.0.1", 0)) as other:
        settings = load_settings(server={"port": server.address[1]}, monitor={"port": other.getsockname()[1]})
        found = verdicts(network.ports(settings))
    assert "taken by an MRD server that answers" in found["port of MRD"][1]
    assert found["port of metrics"][0] is Verdict.GOOD


def test_a_port_for_two_services_is_a_problem():
    port, other = free_port(), free_port()
    settings = load_settings(server={"port": port}, monitor={"port": port, "page_port": other})
    found = verdicts(network.ports(settings))
    assert found["port of metrics"] == (Verdict.PROBLEM, f"127.0.0.1:{port} is also the port of MRD")
    assert found["port of the live page"][0] is Verdict.GOOD
    settings = load_settings(server={"port": 0}, monitor={"port": 0, "page_port": 0})
    assert {verdict for verdict, _ in verdicts(network.ports(settings)).values()} == {Verdict.GOOD}


def test_a_running_server_that_refuses_this_host_is_no_problem(serving):
    peers = ["192.0.2.0/24"]
    with serving(server={"peers": peers}) as server, socket.create_server(("127.0.0.1", 0)) as other:
        other_port = other.getsockname()[1]
        settings = load_settings(
            server={"port": server.address[1], "peers": peers}, monitor={"port": other_port}
        )
        found = verdicts(network.ports(settings))
    assert found["port of MRD"][0] is Verdict.WARNING
    assert "server.peers" in found["port of MRD"][1]
    assert found["port of metrics"][0] is Verdict.WARNING


def test_networks_of_ipv4_admit_this_host_where_the_server_listens_on_a_mapped_address():
    with socket.create_server(("127.0.0.1", 0)) as other:
        for peers, admits in ((["127.0.0.1/32"], True), (["192.0.2.0/24"], False), ([], True)):
            server = {"host": "::ffff:127.0.0.1", "port": other.getsockname()[1], "peers": peers}
            assert network._admits_this_host(load_settings(server=server).server) == admits


def test_a_server_with_all_connections_taken_and_a_silent_program_are_no_problem(serving, monkeypatch):
    """Neither replies to a new connection. To end the program would end the server of the scanner."""
    monkeypatch.setattr(network, "_PATIENCE_S", 0.5)
    with serving(server={"connections": 1}) as server, socket.create_connection(server.address) as only:
        only.sendall(b"\x01\x00")  # a message that goes on
        settings = load_settings(server={"port": server.address[1]})
        found = [verdicts(network.ports(settings))]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = load_settings(server={"port": silent.getsockname()[1]})
        found.append(verdicts(network.ports(settings)))
    for each in found:
        verdict, text = each["port of MRD"]
        assert verdict is Verdict.WARNING
        assert "is taken, perhaps by a busy server" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.77"])
def test_other_addresses(host):
    settings = load_settings(server={"host": host, "port": free_port()})
    found = verdicts(network.ports(settings))
    assert found["access"][0] is Verdict.WARNING
    assert (found["port of MRD"][0] is Verdict.GOOD) == (host == "0.0.0.0")
    settings = load_settings(server={"host": host, "port": free_port(), "peers": ["192.0.2.0/24"]})
    assert "access" not in verdicts(network.ports(settings))


def test_gadgetrons_module_can_be_imported():
    (found,) = network.gadgetron()
    assert found.verdict is Verdict.GOOD


def target(port, title="PACS", **more):
    made = {"name": "archive", "ae_title": title, "host": "127.0.0.1", "port": port, "tls": False, "url": ""}
    return SimpleNamespace(**made | more)


def test_destinations():
    pynetdicom = pytest.importorskip("pynetdicom")
    entity = pynetdicom.AE(ae_title="PACS")
    entity.add_supported_context("1.2.840.10008.1.1")
    entity.require_called_aet = True
    archive = entity.start_server(("127.0.0.1", 0), block=False)
    port = archive.socket.getsockname()[1]
    targets = [
        target(port),
        target(port, title="OTHER"),
        target(free_port()),
        target(0, url=f"http://127.0.0.1:{port}/dicom-web"),
        target(port, tls=True),
    ]
    found = list(network.destinations(targets, "MYOSTREAM"))
    archive.shutdown()
    assert [each.verdict for each in found] == [
        Verdict.GOOD,
        Verdict.PROBLEM,
        Verdict.PROBLEM,
        Verdict.GOOD,
        Verdict.GOOD,
    ]
    assert "returns C-ECHO" in found[0].text
    assert "rejected" in found[1].text
    assert "'OTHER'" in found[1].advice
    assert "is not reached" in found[2].text
    assert all("nothing was sent" in each.text for each in found[3:])


def test_a_destination_that_stops_within_its_acceptance_is_a_problem(monkeypatch):
    pytest.importorskip("pynetdicom")
    monkeypatch.setattr(network, "_PATIENCE_S", 1.0)
    opened, found = [], []
    with socket.create_server(("127.0.0.1", 0)) as archive:

        def serve():
            opened.extend(archive.accept()[0] for _ in range(2))  # the first one is closed at once
            opened[1].sendall(bytes.fromhex("0200 000000b8 0001 0000"))  # of an A-ASSOCIATE-AC

        threading.Thread(target=serve, daemon=True).start()
        targets = [target(archive.getsockname()[1])]
        checks = threading.Thread(
            target=lambda: found.extend(network.destinations(targets, "MYOSTREAM")), daemon=True
        )
        checks.start()
        checks.join(15)
        for each in opened:
            each.close()
    assert [each.verdict for each in found] == [Verdict.PROBLEM]
    assert "no association" in found[0].text
