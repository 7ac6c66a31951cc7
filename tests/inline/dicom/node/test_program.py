"""The program as a user starts it: killed in the middle, and searched for what a sender wrote."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from inline.dicom.node.spool import inspect
from tests.inline.serving.manager import Manager

from .. import scanner
from .conftest import PLANTED, associated, everywhere, send, wait_for

ROOT = Path(__file__).parents[4]
OBJECTS = 4
pytestmark = pytest.mark.slow


@contextmanager
def started(tmp_path, archive, **variables):
    """The program with a log file; yields its process and address."""
    settings = tmp_path / "settings.toml"
    spool = tmp_path / "spool"
    settings.write_text(
        f'engine = "torch"\n[dicom]\nport = 0\nidle_s = 2.0\nretry_s = 0.5\nspool = "{spool}"\n'
        '[[dicom.destinations]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\n'
        f"port = {archive.port}\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "inline", "dicom-node", "--settings", str(settings), "--verbose"],
            stdout=subprocess.PIPE, stderr=log, env=environment, cwd=tmp_path, text=True,
        )  # fmt: skip
        try:
            line = process.stdout.readline()
            port = int(re.search(r":(\d+) as MYOSTREAM", line).group(1))
            yield process, ("127.0.0.1", port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            process.stdout.close()


def queue(spool):
    """Output of dicom-queue."""
    command = [sys.executable, "-m", "inline", "dicom-queue", "--spool", str(spool), "--retry"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_killed_program_loses_nothing_and_its_log_holds_no_text_of_a_sender(tmp_path, archive, scanned):
    objects = everywhere(scanner.series_of(scanned, 1))
    spool = tmp_path / "spool"
    with started(tmp_path, archive) as (process, address):
        assert set(send(address, objects, calling="PLANTED-4711")) == {0}
        with associated(address, called="Planted") as stranger:
            assert stranger is None
        process.kill()
        process.wait()
    assert archive.stored == []
    assert inspect(spool).objects == len(objects)
    archive.stop()
    with started(tmp_path, archive) as (process, _):
        wait_for(lambda: inspect(spool).errors, 120)
        shown = queue(spool)
        process.kill()
        process.wait()
    assert "0 objects of 0 series to process" in shown
    assert f"archive: {OBJECTS} objects to deliver (127.0.0.1:{archive.port} does not answer)" in shown
    archive.start()
    with started(tmp_path, archive) as (process, _):
        wait_for(lambda: len(archive.stored) == OBJECTS)
        wait_for(lambda: not inspect(spool).deliveries)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert len({str(each.SOPInstanceUID) for each in archive.stored}) == OBJECTS

    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "processed series=1" in log
    assert "delivered objects=4" in log
    for word in PLANTED:
        assert word not in log.lower()
        for file in spool.glob("spool.sqlite*"):
            assert word.encode() not in file.read_bytes().lower()
    holders = {
        file.name for file in tmp_path.rglob("*") if file.is_file() and b"Planted" in file.read_bytes()
    }
    assert holders == {file.name for file in spool.glob("*.dcm")}


def test_the_program_offers_metrics_and_health_and_names_the_page_that_it_lacks(tmp_path, archive):
    variables = {"MYOSTREAM_MONITOR__PORT": "0", "MYOSTREAM_MONITOR__PAGE_PORT": "0"}
    with started(tmp_path, archive, **variables) as (process, _):
        url = re.search(r"metrics on (http://127.0.0.1:\d+)/metrics", process.stdout.readline())[1]
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as reply:
            assert 'myostream_results_waiting{destination="archive"} 0.0' in reply.read().decode()
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as reply:
            assert reply.status == 200
    assert "a DICOM node has no live page" in (tmp_path / "log").read_text(encoding="utf-8")


def test_the_program_reports_to_its_service_manager(tmp_path, archive):
    manager = Manager(tmp_path / "notify", 4.0)
    with started(tmp_path, archive, **manager.environment) as (process, _):
        manager.wait("STATUS=starting")
        manager.wait("READY=1")
        manager.wait("STATUS=ready: 0 series to process, 0 results to deliver")
        manager.wait("WATCHDOG=1", 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
