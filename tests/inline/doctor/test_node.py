"""Checks of a DICOM node, against spools that cannot be used, ports that are taken, and nodes that run."""

import fcntl
import os
import socket
from types import SimpleNamespace

import pytest

from inline.doctor import checks, computing, network
from inline.doctor.finding import Verdict
from inline.settings import load_settings

from .test_network import free_port, verdicts

pytest.importorskip("pynetdicom")
GOOD, WARNING, PROBLEM = Verdict.GOOD, Verdict.WARNING, Verdict.PROBLEM


@pytest.fixture(autouse=True)
def _no_engines(monkeypatch):
    monkeypatch.setattr(computing, "engines", lambda _: ())


@pytest.fixture
def examined(tmp_path):
    """Findings on a node of a spool of the test, with one destination that listens."""

    def examine(dicom=None, **settings):
        with socket.create_server(("127.0.0.1", 0)) as archive:
            url = f"http://127.0.0.1:{archive.getsockname()[1]}/dicom-web"
            values = {
                "port": free_port(),
                "spool": tmp_path / "state" / "spool",
                "free_bytes": 0,
                "destinations": [{"name": "archive", "url": url}],
                **(dicom or {}),
            }
            return verdicts(checks.check_host(load_settings(dicom=values, **settings)))

    return examine


def test_a_node_that_can_start_and_leaves_no_trace_of_its_examination(examined, tmp_path):
    found = examined(monitor={"port": free_port()})
    for part in ("spool", "port of DICOM", "port of metrics", "DICOM destination archive"):
        assert found[part][0] is GOOD, found[part]
    assert "can be made" in found["spool"][1]
    assert not {"port of MRD", "DICOM node"} & set(found)
    assert not list(tmp_path.iterdir())


def test_a_server_is_examined_where_the_settings_state_one_or_no_node(examined):
    assert examined(server={"port": free_port()})["port of MRD"][0] is GOOD
    assert "port of MRD" in examined(monitor={"page_port": free_port()})
    found = verdicts(checks.check_host(load_settings()))
    assert "port of MRD" in found
    assert not {"spool", "port of DICOM"} & set(found)
    port = free_port()
    found = examined(server={"port": free_port()}, monitor={"port": port})
    assert found["port of metrics"] == (
        WARNING,
        f"127.0.0.1:{port} is that of the server and of the DICOM node",
    )


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/spool", "file"])
def test_a_spool_that_cannot_be_made(examined, tmp_path, place):
    (tmp_path / "file").touch()
    found = examined({"spool": tmp_path / place})["spool"]  # an absolute one replaces the folder
    assert found[0] is PROBLEM
    assert "cannot be used" in found[1]


def test_a_spool_that_others_may_write_or_own(examined, tmp_path, monkeypatch):
    folder = tmp_path / "spool"
    folder.mkdir()
    folder.chmod(0o770)
    assert examined({"spool": folder})["spool"][0] is WARNING
    folder.chmod(0o700)
    assert "can be written" in examined({"spool": folder})["spool"][1]
    (folder / "spool.sqlite").touch()
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert examined({"spool": folder})["spool"][0] is PROBLEM


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may give files to others")
def test_to_root_the_owner_of_a_spool_is_that_of_its_folder(examined, tmp_path):
    (tmp_path / "spool.sqlite").touch()
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 61184, 61184)
    verdict, text = examined({"spool": tmp_path})["spool"]
    assert verdict is PROBLEM
    assert "spool.sqlite belongs to user number 0, not to 61184" in text
    os.chown(tmp_path / "spool.sqlite", 61184, 61184)
    assert examined({"spool": tmp_path})["spool"][0] is GOOD


def test_where_no_spool_is_set_the_finding_is_not_that_of_a_unit(examined, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    verdict, text = examined({"spool": None})["spool"]
    assert verdict is GOOD
    assert text.startswith(f"{tmp_path / 'myostream' / 'dicom'} can be made, ")
    assert text.endswith("left; dicom.spool is not set here, and the unit of a node sets its own")
    assert "dicom.spool is not set" not in examined()["spool"][1]


def test_a_disk_without_the_room_that_stays_free(examined):
    found = examined({"free_bytes": 1 << 60})["spool"]
    assert found[0] is PROBLEM
    assert "every image is refused" in found[1]


def test_a_port_of_another_program_and_one_of_a_node_that_runs(examined, tmp_path, monkeypatch):
    monkeypatch.setattr(network, "_PATIENCE_S", 0.5)
    spool = tmp_path / "spool"
    spool.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as other, (spool / "lock").open("w") as lock:
        port = other.getsockname()[1]
        settings = {"port": port, "spool": spool}
        found = examined(settings)["port of DICOM"]
        assert found == (PROBLEM, f"127.0.0.1:{port} cannot be used: Address already in use")
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = examined(settings)
    assert "is used by a node that runs" in found["spool"][1]
    assert found["port of DICOM"] == (GOOD, f"127.0.0.1:{port} is taken while the node runs")


def test_a_node_of_another_spool_answers_for_itself(examined):
    from pynetdicom import AE

    entity = AE("MYOSTREAM")
    entity.add_supported_context("1.2.840.10008.1.1")
    running = entity.start_server(("127.0.0.1", 0), block=False)
    found = examined({"port": running.socket.getsockname()[1]})["port of DICOM"]
    running.shutdown()
    assert found[0] is GOOD
    assert "MYOSTREAM, which returns C-ECHO" in found[1]


@pytest.mark.parametrize(
    ("dicom", "text"),
    [
        ({"destinations": []}, "needs a destination"),
        ({"outputs": []}, "names no kind of object"),
        ({"tls_certificate": "/none.pem", "tls_key": "/none.pem"}, "cannot be used"),
    ],
)
def test_settings_with_which_a_node_ends_at_once(examined, dicom, text):
    verdict, found = examined(dicom)["DICOM node"]
    assert verdict is PROBLEM
    assert text in found


def test_a_node_without_the_extra_comes_with_the_command_that_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "inline.extras.find_spec", lambda name: None if name == "pynetdicom" else SimpleNamespace()
    )
    settings = load_settings(dicom={"spool": tmp_path})
    (found,) = (each for each in checks.check_host(settings) if each.part == "DICOM node")
    assert (found.verdict, found.text) == (PROBLEM, "pynetdicom of the extra dicom cannot be found")
    assert found.advice == 'pip install -e ".[dicom]" in the clone'
