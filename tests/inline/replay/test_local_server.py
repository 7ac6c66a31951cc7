"""Processes of our own start in any folder."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import inline
from inline.replay.local_server import ServerNotStartedError, started_server

ROOT = inline.__path__[0].rpartition("/")[0]


@pytest.fixture
def crowded(tmp_path):
    """A folder of a user with files and folders that have the names of our modules and of Python's own."""
    for name in ("model.py", "bench.py", "calibration.py", "random.py", "inline/__init__.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise SystemExit('imported from the current folder')\n")
    return tmp_path


def test_the_demo_runs_in_a_folder_that_holds_a_model_and_without_benchmarks_and_calibration(crowded, hiding):
    # As the installed command: that one never looks into the current folder, the server that it starts might.
    script = f"import sys; sys.path[0] = {ROOT!r}; from inline.__main__ import app; app()"
    command = [sys.executable, "-c", script, "demo", "-o", "out", "--slices", "1"]
    environment = {**hiding("bench", "calibration"), "MYOSTREAM_ENGINE": "torch"}  # it compiles nothing
    done = subprocess.run(
        command, cwd=crowded, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert " 0 lost; 3 results;" in done.stdout.replace("\n", " ")
    assert {"report.png", "report.pdf"} <= {each.name for each in (crowded / "out").iterdir()}
    (ecv,) = json.loads((crowded / "out" / "results.json").read_text())["ecv"]
    assert ecv["regions"][0]["median"] == pytest.approx(27.0, abs=1.5)


@pytest.mark.slow
def test_the_demo_runs_without_the_extra_of_the_report_and_names_it(hiding, tmp_path):
    command = [sys.executable, "-m", "inline", "demo", "-o", str(tmp_path / "out"), "--slices", "1"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=hiding("cmcrameri", "matplotlib"),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'pip install -e ".[report]"' in " ".join(done.stdout.split())
    assert not (tmp_path / "out" / "report.png").exists()


def test_a_server_that_does_not_start_is_one_line_with_the_reason():
    line = r"^the server did not start: the settings file /nowhere\.toml cannot be read: .*"
    with (
        pytest.raises(ServerNotStartedError, match=line) as error,
        started_server(["--settings", "/nowhere.toml"]),
    ):
        pass
    assert "\n" not in str(error.value)


def test_the_host_of_an_address_has_no_brackets(tmp_path, monkeypatch):
    server = tmp_path / "server"
    server.write_text('#!/bin/sh\necho "myostream listening on [::1]:9002 (engine: torch)"\nexec cat\n')
    server.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(server))
    with started_server() as started:
        assert (started.address, started.engine) == (("::1", 9002), "torch")


STARTER = """
import os, signal, sys
from inline.replay.local_server import started_server
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
with started_server() as server:
    print(server.process.pid, flush=True)
    os.kill(os.getpid(), signal.{how})
    signal.pause()
"""


@pytest.mark.parametrize(
    "how",
    ["SIGKILL", *(pytest.param(each, marks=pytest.mark.slow) for each in ("SIGTERM", "SIGHUP"))],
)
def test_a_server_ends_with_its_starter_however_that_dies(how):
    done = subprocess.run(
        [sys.executable, "-c", STARTER.format(how=how)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == -getattr(signal, how)
    server = int(done.stdout)
    end = time.monotonic() + 60
    while alive(server):
        assert time.monotonic() < end
        time.sleep(0.1)


def alive(number):
    """Return true if a process runs: one that has ended may wait for its new parent."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
