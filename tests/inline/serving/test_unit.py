"""Unit of systemd: its command, what systemd says of it, and limits that agree with those of the service."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inline.cli.commands import app
from inline.data.errors import ConfigurationError
from inline.serving.unit import installed_command, unit_text
from inline.settings import ServerSettings
from model.engines.fallback import IDLE_S

ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def value(name, text=None):
    return re.search(rf"^{name}=(.*)$", text or unit_text(["/opt/myostream/bin/myostream"]), re.MULTILINE)[1]


def analyzed(tmp_path, *arguments):
    file = tmp_path / "myostream.service"
    file.write_text(unit_text(["/bin/true"]))
    return subprocess.run([ANALYZE, *arguments, str(file)], capture_output=True, text=True, timeout=60)


@needs_systemd
def test_systemd_has_nothing_against_the_unit(tmp_path):
    done = analyzed(tmp_path, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_its_exposure_is_the_one_that_the_docs_state(tmp_path):
    done = analyzed(tmp_path, "security", "--offline=true", "--no-pager")
    score = re.search(r"exposure level for myostream.service: ([\d.]+)", done.stdout)[1]
    page = Path(__file__).parents[3] / "docs" / "service.md"
    stated = re.search(r"exposure level ([\d.]+)", page.read_text(encoding="utf-8"))[1]
    assert float(score) == pytest.approx(float(stated), abs=0.21)  # it differs by version
    assert float(score) < 2.0


def test_the_command_is_that_of_the_installation():
    assert value("ExecStart").startswith("/opt/myostream/bin/myostream serve --settings ${")
    assert "@COMMAND@" not in unit_text(["/x"])


@pytest.mark.parametrize(
    ("word", "read"),
    [("/a b/c", '"/a b/c"'), ("/100%", "/100%%"), ("/$x", "/$$x"), ('/a"b', '"/a\\"b"')],
)
def test_odd_paths_are_quoted(word, read):
    assert value("ExecStart", unit_text([word])).startswith(f"{read} serve")


def test_an_installation_that_the_service_cannot_see_is_refused():
    with pytest.raises(ConfigurationError, match="install myostream elsewhere, such as in /opt"):
        installed_command(Path("/home/someone/.venv/bin/python"))


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
