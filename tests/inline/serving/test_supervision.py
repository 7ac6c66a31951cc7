"""Supervision: what the service manager receives, and a restart where the engine hangs."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import inline
from inline.data.errors import ConfigurationError
from inline.replay.client import exchange
from inline.serving.health import Checkup, State, judge
from inline.serving.supervision import ServiceManager, Sign, reports, supervision
from inline.settings import MonitorSettings
from tests.inline.serving.manager import Manager


@pytest.fixture
def manager(tmp_path):
    return lambda watchdog_s=2.0: Manager(tmp_path / "notify", watchdog_s)


def test_where_the_port_of_metrics_is_taken_the_service_goes_on_without_them(caplog):
    """As of a server and a node with one settings file: each must take its images."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MonitorSettings(port=taken.getsockname()[1])
        with supervision(settings, {}) as supervised:
            assert supervised.address is None
    assert "(Address already in use)" in caplog.text
    assert "goes on without metrics and health" in caplog.text
    elsewhere = MonitorSettings(host="192.0.2.1", port=0, token="0123456789abcdef")
    with pytest.raises(ConfigurationError, match="cannot listen"), supervision(elsewhere, {}):
        pass


def test_without_a_manager_nothing_is_sent_and_nothing_watched():
    manager = ServiceManager({})
    manager.notify("READY=1")
    assert (manager.present, manager.watchdog_s) == (False, None)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),  # of another process
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_of_the_environment(variables, expected):
    assert ServiceManager({"NOTIFY_SOCKET": "/x", **variables}).watchdog_s == expected
    assert ServiceManager(variables).watchdog_s is None


def test_a_socket_that_nobody_reads_is_one_line_of_the_log(tmp_path, caplog):
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify("READY=1")
    assert "takes no messages" in caplog.text


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"myostream-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).notify("READY=1", "STATUS=x")
        assert listening.recv(100) == b"READY=1\nSTATUS=x"


def test_reports_follow_the_health():
    ready, silent = Sign(True, False, "ready"), Sign(False, False, "nothing for 61 s")
    stopping = Sign(True, True, "stopping")
    assert reports(ready, ready) == ["WATCHDOG=1"]
    assert reports(ready, silent) == ["STATUS=nothing for 61 s"]
    assert reports(silent, silent) == []
    assert reports(ready, stopping) == ["WATCHDOG=1", "STOPPING=1", "STATUS=stopping"]
    assert reports(stopping, stopping) == ["WATCHDOG=1"]


def test_a_health_that_cannot_be_determined_once_stops_nothing(manager, monkeypatch):
    made, working = manager(0.4), judge(State(True, engine="e"), 60.0)
    states = iter([working, working, RuntimeError("no"), *[working] * 1000])

    def health(self):
        answer = next(states)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(Checkup, "health", health)
    with supervision(MonitorSettings(), made.environment) as supervised:
        supervised.begin(None)
        made.wait("WATCHDOG=1", number=5)


def test_a_recovery_is_logged_as_the_silence_was(manager, monkeypatch, caplog):
    made = manager(0.4)
    working, silent = (judge(State(True, engine="e", unproven_s=each), 60.0) for each in (1.0, 61.0))
    # As after a stop of the whole process (SIGSTOP, a paused container).
    states = iter([working, working, silent, silent, *[working] * 1000])
    monkeypatch.setattr(Checkup, "health", lambda self: next(states))
    with supervision(MonitorSettings(), made.environment) as supervised:
        supervised.begin(None)
        made.wait("WATCHDOG=1", number=3)
    found = [each.message for each in caplog.records if "watchdog" in each.message]
    assert [("fed no more" in each, "fed again" in each) for each in found] == [(True, False), (False, True)]


def status(address, page):
    try:
        with urllib.request.urlopen("http://{}:{}".format(*address) + page, timeout=20) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_pages_from_the_start_to_the_end_of_a_server(serving, manager, examination):
    made = manager()
    _, header, images = examination
    with supervision(MonitorSettings(port=0), made.environment) as supervised:
        assert status(supervised.address, "/healthz")[0] == 200
        code, health = status(supervised.address, "/readyz")
        assert (code, health["summary"]) == (503, "starting: the network is loaded")
        with serving(observers=supervised.observers) as server:
            assert "READY=1" not in made.texts()
            supervised.begin(server)
            made.wait("READY=1")
            code, health = status(supervised.address, "/readyz")
            assert (code, health["engine"]) == (200, "ring")
            exchange(server.address, header, images)
            made.wait("WATCHDOG=1", number=2)
            held = socket.create_connection(server.address)
            server.stop()
            made.wait("STOPPING=1")
            assert status(supervised.address, "/readyz")[0] == 503
            assert status(supervised.address, "/healthz")[0] == 200
            held.close()
        with urllib.request.urlopen("http://{}:{}/metrics".format(*supervised.address)) as reply:
            assert f"myostream_images_received_total {float(len(images))}" in reply.read().decode()
    assert made.texts()[0] == "STATUS=starting: the network is loaded"


def test_without_a_port_nothing_listens():
    with supervision(MonitorSettings(), {}) as supervised:
        assert supervised.address is None


SERVE = """
import sys, time
from pathlib import Path
import numpy as np
from inline import engine_selection
from inline.__main__ import app
from model.engines.fallback import FallbackEngine
from model.engines.self_test import Reference, self_test_images

HANG = Path(sys.argv.pop(1))

class Stub:
    name = "stub"
    def infer(self, images):
        while HANG.exists():
            time.sleep(0.1)
        return np.full((len(images), 3, 224, 224), 1 / 3, np.float32)

def stub_engine(settings, **_kwargs):
    images = self_test_images()
    return FallbackEngine([("stub", Stub)], Reference(images, Stub().infer(images)))

engine_selection.make_engine = stub_engine
app()
"""


@contextmanager
def supervised_server(manager, hang):
    """A server process under a manager; returns it and its metrics' address."""
    command = [sys.executable, "-c", SERVE, str(hang), "serve", "--port", "0", "--monitor-port", "0"]
    environment = {**os.environ, **manager.environment, "PYTHONPATH": str(Path(inline.__path__[0]).parent)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        process.stdout.readline()
        host, _, port = process.stdout.readline().split()[3].removeprefix("http://").partition(":")
        yield SimpleNamespace(process=process, address=(host, int(port.partition("/")[0])))
    finally:
        process.kill()
        process.communicate()


def test_start_and_stop_are_lines_of_a_json_log(tmp_path):
    command = [sys.executable, "-c", SERVE, str(tmp_path / "none"), "serve", "--port", "0"]
    command += ["--monitor-port", "0"]
    environment = {**os.environ, "MYOSTREAM_LOG__FORMAT": "json"}
    environment["PYTHONPATH"] = str(Path(inline.__path__[0]).parent)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        try:
            lines = [json.loads(process.stderr.readline()) for _ in range(2)]
            process.terminate()
            output, rest = process.communicate(timeout=30)
        finally:
            process.kill()
    lines += map(json.loads, rest.splitlines())
    assert (process.returncode, output) == (0, "")
    assert [each["message"].split("127.0.0.1")[0] for each in lines] == [
        "myostream listening on ",
        "myostream metrics on http://",
        "stops accepting; open connections: 0",
        "stopped by SIGTERM",
    ]
    assert all(each["level"] == "info" and "peer" not in each for each in lines)


@pytest.mark.slow
def test_a_server_whose_engine_hangs_is_restarted(manager, tmp_path):
    made, hang = manager(watchdog_s=2.0), tmp_path / "hang"
    with supervised_server(made, hang) as first:
        made.wait("READY=1")
        made.wait("WATCHDOG=1", number=10)  # idle: it verifies its engine by itself
        assert status(first.address, "/healthz")[0] == 200
        hang.touch()
        made.wait_for_silence()
        code, health = status(first.address, "/healthz")
        assert code == 503
        assert "the engine stub has returned nothing" in health["summary"]
        first.process.send_signal(signal.SIGABRT)  # as systemd does, which then starts it again
        assert first.process.wait(timeout=20) == -signal.SIGABRT
        assert "the watchdog is fed no more" in first.process.stderr.read()
    hang.unlink()
    made.received.clear()
    with supervised_server(made, hang) as second:
        made.wait("READY=1")
        made.wait("WATCHDOG=1", number=10)
        assert status(second.address, "/readyz")[0] == 200
        second.process.terminate()
        assert second.process.wait(timeout=30) == 0
        assert "STOPPING=1" in made.texts()
