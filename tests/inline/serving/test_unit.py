"""Unit of systemd: its command, what systemd says of it, and limits that agree with those of the service."""

import re
import shutil
import subprocess
import sys
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.data.errors import ConfigurationError
from inline.dicom.node.node import CLOSE_S
from inline.replay.client import exchange
from inline.replay.replies import records
from inline.serving.unit import installed_command, unit_text
from inline.settings import ServerSettings
from model.engines.fallback import IDLE_S

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


PROGRAMS = pytest.mark.parametrize("program", ["serve", "dicom-node"])


def value(name, text=None):
    return re.search(rf"^{name}=(.*)$", text or unit_text(["/opt/myostream/bin/myostream"]), re.MULTILINE)[1]


def analyzed(tmp_path, program, *arguments):
    file = tmp_path / "myostream.service"
    file.write_text(unit_text(["/bin/true"], program))
    return subprocess.run([ANALYZE, *arguments, str(file)], capture_output=True, text=True, timeout=60)


@PROGRAMS
@needs_systemd
def test_systemd_has_nothing_against_the_unit(tmp_path, program):
    done = analyzed(tmp_path, program, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@PROGRAMS
@needs_systemd
def test_its_exposure_is_the_one_that_the_docs_state(tmp_path, program):
    done = analyzed(tmp_path, program, "security", "--offline=true", "--no-pager")
    score = re.search(r"exposure level for myostream.service: ([\d.]+)", done.stdout)[1]
    page = Path(__file__).parents[3] / "docs" / "service.md"
    stated = re.search(r"exposure level ([\d.]+)", page.read_text(encoding="utf-8"))[1]
    assert float(score) == pytest.approx(float(stated), abs=0.21)  # it differs by version
    assert float(score) < 2.0


def test_the_command_is_that_of_the_installation():
    assert value("ExecStart").startswith("/opt/myostream/bin/myostream serve --settings ${")


@PROGRAMS
def test_nothing_is_left_open(program):
    assert not re.search(r"@[A-Z]+@", unit_text(["/x"], program))
    assert f"/x {program} --settings" in unit_text(["/x"], program)


def test_the_queue_of_a_node_outlasts_restarts_and_is_its_own():
    text = unit_text(["/x"], "dicom-node")
    assert value("StateDirectory", text) == value("CacheDirectory", text) == "myostream-dicom"
    assert value("StateDirectoryMode", text) == "0700"
    assert "Environment=MYOSTREAM_DICOM__SPOOL=%S/myostream-dicom\n" in text
    assert int(value("TimeoutStopSec", text)) > CLOSE_S + 10
    # Two users of one folder of a DynamicUser would take it from each other.
    assert value("CacheDirectory") == "myostream"


@pytest.mark.parametrize(
    ("word", "read"),
    [("/a b/c", '"/a b/c"'), ("/100%", "/100%%"), ("/$x", "/$$x"), ('/a"b', '"/a\\"b"')],
)
def test_odd_paths_are_quoted(word, read):
    assert value("ExecStart", unit_text([word])).startswith(f"{read} serve")


@PROGRAMS
def test_an_address_may_come_minutes_after_the_start(program):
    """By DHCP, or where the switch needs its time; without it, each start fails at once."""
    text = unit_text(["/x"], program)
    assert "network-online.target" in value("After", text).split()
    assert value("Wants", text) == value("After", text)  # else systemd may not start the target
    pause_s, starts = int(value("RestartSec", text)), int(value("StartLimitBurst", text))
    assert pause_s * starts >= 300
    # The limit holds for starts that load the network before they fail too.
    assert (pause_s + 20) * starts < int(value("StartLimitIntervalSec", text))


def test_an_installation_that_the_service_cannot_see_is_refused():
    with pytest.raises(ConfigurationError, match="install myostream elsewhere, such as in /opt"):
        installed_command(Path("/home/someone/.venv/bin/python"))


@pytest.mark.parametrize("folder", ["a'b", 'a"b', "a\\b", "a$b", "a\nb"])
def test_a_path_that_systemd_rejects_is_refused(monkeypatch, folder):
    monkeypatch.setattr("inline.serving.unit._HIDDEN", ())
    with pytest.raises(
        ConfigurationError, match=r"systemd starts no program at .* install myostream elsewhere"
    ):
        installed_command(Path("/opt") / folder / "python")


@needs_systemd
@pytest.mark.parametrize("folder", ["a b", "a%b", "a;b"])
def test_systemd_finds_the_program_of_an_odd_path(tmp_path, folder):
    program = tmp_path / folder / "myostream"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    file = tmp_path / "myostream.service"
    file.write_text(unit_text([str(program)]))
    done = subprocess.run([ANALYZE, "verify", str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_script_python_starts_the_module(tmp_path, monkeypatch):
    monkeypatch.setattr("inline.serving.unit._HIDDEN", ())
    assert installed_command(tmp_path / "python") == (str(tmp_path / "python"), "-P", "-m", "inline")
    (tmp_path / "myostream").touch()
    assert installed_command(tmp_path / "python") == (str(tmp_path / "myostream"),)


def test_times_leave_room_for_those_of_the_service():
    assert int(value("TimeoutStopSec")) > ServerSettings().drain_s + 10
    # Verified every quarter, judged after half: an engine must have been replaced by then.
    assert int(value("WatchdogSec")) / 4 <= IDLE_S
    assert int(value("LimitCORE")) == 0


def test_the_command_prints_or_writes_the_unit(tmp_path, monkeypatch):
    monkeypatch.setattr("inline.serving.unit._HIDDEN", ())
    shown = CliRunner().invoke(app, ["service-unit"])
    assert (shown.exit_code, shown.output) == (0, unit_text(installed_command()))
    file = tmp_path / "myostream.service"
    assert CliRunner().invoke(app, ["service-unit", "-o", str(file)]).exit_code == 0
    assert file.read_text() == shown.output
    node = CliRunner().invoke(app, ["service-unit", "--for", "dicom-node"])
    assert (node.exit_code, node.output) == (0, unit_text(installed_command(), "dicom-node"))


def test_a_unit_whose_node_cannot_start_comes_with_a_warning(monkeypatch):
    monkeypatch.setattr("inline.serving.unit._HIDDEN", ())
    whole = CliRunner().invoke(app, ["service-unit", "--for", "dicom-node"])
    assert whole.stderr == ""
    monkeypatch.setattr(
        "inline.extras.find_spec", lambda name: None if name == "pynetdicom" else find_spec(name)
    )
    lacking = CliRunner().invoke(app, ["service-unit", "--for", "dicom-node"])
    assert (lacking.exit_code, lacking.stdout) == (0, whole.stdout)
    assert "the service will not start without pynetdicom of the extra dicom: " in lacking.stderr
    assert 'pip install -e ".[dicom]" in the clone' in lacking.stderr
    assert CliRunner().invoke(app, ["service-unit"]).stderr == ""


FILTERED = """
import ctypes, os, sys

calls = sys.argv.pop(1).split()
library = ctypes.CDLL("libseccomp.so.2")
library.seccomp_init.restype = ctypes.c_void_p
library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
library.seccomp_load.argtypes = [ctypes.c_void_p]
made = library.seccomp_init(0x00050000 | 1)  # all others return EPERM
for number in map(library.seccomp_syscall_resolve_name, [name.encode() for name in calls]):
    if number >= 0:
        library.seccomp_rule_add(made, 0x7FFF0000, number, 0)
assert library.seccomp_load(made) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


def system_calls(*sets):
    """Names of the system calls in sets of systemd, which hold further sets."""
    found, waiting = set(), list(sets)
    while waiting:
        shown = subprocess.run([ANALYZE, "syscall-filter", waiting.pop()], capture_output=True, text=True)
        for line in map(str.strip, shown.stdout.splitlines()[1:]):
            if line.startswith("@"):
                waiting.append(line)
            elif line and not line.startswith("#"):
                found.add(line)
    return found


@pytest.mark.slow
@needs_systemd
@pytest.mark.skipif(find_library("seccomp") is None, reason="libseccomp is not installed")
def test_a_server_works_with_the_system_calls_that_the_unit_leaves(examination):
    _, header, images = examination
    filters = re.findall(r"^SystemCallFilter=(.*)$", unit_text(["/x"]), re.MULTILINE)
    assert filters == ["@system-service", "~@privileged @obsolete"]
    calls = system_calls("@system-service") - system_calls("@privileged", "@obsolete") | {"execve"}
    assert {"read", "mmap"} < calls
    assert not {"chroot", "setuid", "ptrace", "mount"} & calls
    server = [sys.executable, "-m", "inline", "serve", "--port", "0", "--budget-ms", "60000"]
    command = [sys.executable, "-c", FILTERED, " ".join(calls), *server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            host, _, port = process.stdout.readline().split()[3].rpartition(":")
            found = records(exchange((host, int(port)), header, images).images)
            assert [record["contours"] is not None for record, _ in found] == [True] * 4
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
