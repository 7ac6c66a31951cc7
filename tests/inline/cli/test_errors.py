"""Errors that a user can mend: one line on standard error and exit code 1, for every command."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from inline.__main__ import app
from inline.cli.errors import ReportingGroup, report_errors
from inline.data.errors import ConfigurationError
from inline.extras import EXTRAS
from inline.serving import gadgetron
from model.errors import MyostreamError
from model.evaluation.cases import CaseError
from model.weights import DEFAULT, WeightsError


def reported(error, **options):
    """Exit code and standard error of a command that raises."""
    made = typer.Typer(cls=ReportingGroup)

    @made.command()
    def fails():
        with report_errors(**options):
            raise error

    made.command()(lambda: None)  # with one command there would be no group
    return CliRunner().invoke(made, ["fails"])


def test_an_error_holds_no_control_characters_of_its_data():
    line = reported(ConfigurationError("a\x1b]0;x\x07\x9b\u202e ö")).stderr
    assert line == "myostream: a\\x1b]0;x\\x07\\x9b\\u202e ö\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConfigurationError("[server] is wrong"), "[server] is wrong"),
        (CaseError("no cases"), "no cases"),
        (WeightsError("first\n\tsecond\n\n  third"), "first second third"),
        (PermissionError(13, "Permission denied", "/a/b.json"), "/a/b.json: Permission denied"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (
            ModuleNotFoundError("No module named 'sklearn.isotonic'", name="sklearn.isotonic"),
            "sklearn is not installed; it comes with myostream[calibrate]: "
            'pip install -e ".[calibrate]" in the clone',
        ),
        (
            ImportError("cannot import name 'x' from 'monai'", name="monai"),
            "cannot import name 'x' from 'monai'; it comes with myostream[bench]: "
            'pip install -e ".[bench]" in the clone',
        ),
        (
            ModuleNotFoundError("No module named 'zmq'", name="zmq"),
            "No module named 'zmq'; pip install -e \".\" in the clone installs what is needed",
        ),
    ],
)
def test_an_error_of_the_users_is_one_line(error, line):
    found = reported(error)
    assert found.exit_code == 1
    assert found.stderr == f"myostream: {line}\n"
    assert found.stdout == ""


def test_an_extra_that_is_stated_goes_before_the_table():
    error = ModuleNotFoundError("No module named 'onnx'", name="onnx")
    found = reported(error, extra="tensorrt,ahead-of-time")
    assert 'pip install -e ".[tensorrt,ahead-of-time]" in the clone' in found.stderr


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), ImportError("cannot import name", name="inline.contouring.contours")]
)
def test_an_error_of_ours_keeps_its_traceback(error):
    assert reported(error).exception is error


def test_errors_of_every_folder_have_one_base():
    for error in (CaseError, WeightsError, ConfigurationError):
        assert issubclass(error, MyostreamError)


RUN = """
import json, sys
from typer.testing import CliRunner
from inline.__main__ import app

found = []
for arguments in json.load(sys.stdin):
    result = CliRunner().invoke(app, arguments)
    found.append([arguments, result.exit_code, result.stdout, result.stderr, repr(result.exception)])
json.dump(found, open("found.json", "w"))
"""

HELP = [
    [],
    *(
        [name]
        for name in ("serve", "process", "replay", "synth", "listen", "demo", "evaluate", "engines", "train")
    ),
    *(["bench", name] for name in ("", "throughput", "latency", "peers", "tables", "scaling")),
    *(["calibrate", name] for name in ("", "precision", "confidence", "contours", "ranges", "budget")),
]
NEEDS = {
    ("evaluate", "--synthetic", "1", "--map", "t1"): ("monai", "bench"),
    ("train", "-o", "run", "--minutes", "1"): ("monai", "train"),
    ("train", "-o", "run", "--recipe", "published", "--data", "."): ("lightning", "train"),
    ("bench", "tables", "--synthetic", "1"): ("matplotlib", "bench"),
    ("bench", "peers"): ("qmri", "bench"),
    ("bench", "latency", "--plot", "plot.png"): ("matplotlib", "bench"),
    ("bench", "scaling", "--plot", "plot.png"): ("matplotlib", "bench"),
    ("calibrate", "precision"): ("nncf", "calibrate"),
    ("calibrate", "confidence"): ("sklearn", "calibrate"),
    ("calibrate", "contours", "--data", "."): ("monai", "calibrate"),
    ("process", "image.dcm"): ("pydicom", "dicom"),
    ("process", "sub-01_T1map.nii"): ("nibabel", "nifti"),
}


@pytest.fixture
def core(tmp_path, hiding):
    """Runs commands in a process that finds no module of any extra."""
    environment = hiding(*EXTRAS, "tensorrt")

    def run(*commands):
        subprocess.run(
            [sys.executable, "-P", "-c", RUN],
            input=json.dumps(commands),
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=280,
            check=True,
        )
        return json.loads((tmp_path / "found.json").read_text())

    return run


def test_a_core_install_has_every_help_and_names_the_extra_that_a_command_needs(core, tmp_path):
    (tmp_path / "image.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "sub-01_T1map.nii").touch()
    helps = [[*filter(None, each), "--help"] for each in HELP]
    for arguments, code, _, stderr, exception in core(*helps):
        assert (code, stderr) == (0, ""), (arguments, exception)
    for arguments, code, _, stderr, exception in core(*map(list, NEEDS)):
        module, extra = NEEDS[tuple(arguments)]
        advice = f'it comes with myostream[{extra}]: pip install -e ".[{extra}]" in the clone'
        line = f"myostream: {module} is not installed; {advice}\n"
        assert (code, stderr) == (1, line), (arguments, exception)


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["bench", "latency", "--plot", "plot.png"], "bench"),
        (["bench", "tables", "--synthetic", "1"], "bench"),
        (["evaluate", "--synthetic", "1", "--plots", "plots"], "bench"),
        (["calibrate", "confidence", "--plot", "plot.png"], "calibrate"),
        (["process", "image.dcm", "--report", "report.pdf"], "report"),
        (["replay", "one.h5", "--report", "report.pdf"], "report"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else each,
)
def test_a_missing_matplotlib_is_named_with_the_extra_of_the_command(arguments, extra, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("one.h5").touch()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert f'it comes with myostream[{extra}]: pip install -e ".[{extra}]" in the clone' in found.stderr


@pytest.mark.slow
def test_a_core_install_times_its_engines(core, tmp_path):
    ((_, code, stdout, stderr, exception),) = core(["engines", "--repeats", "3", "--json", "engines.json"])
    assert code == 0, (stderr, exception)
    assert "in use: " in stdout
    rows = json.loads((tmp_path / "engines.json").read_text())["engines"]
    assert {"openvino-f32", "torch"} <= set(rows)
    assert rows["openvino-f32"]["dice_with_f32"] > 0.999


# Settings and weights that cannot be used.


@pytest.fixture(params=["settings", "weights"])
def bad(request, tmp_path):
    """A settings file that cannot be used, or whose weights cannot, and the error message."""
    file = tmp_path / "bad.toml"
    if request.param == "settings":
        file.write_text("server = 5\n")
        return file, "server: Input should be a valid dictionary"
    for part in DEFAULT.glob("unet-*.safetensors"):
        (tmp_path / part.name).write_bytes(part.read_bytes()[:500])
    file.write_text(f'weights = "{tmp_path}"\n')
    return file, "unet-01-of-06.safetensors is damaged"


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "0"],
        ["engines"],
        ["evaluate", "--synthetic", "1"],
        ["calibrate", "precision"],
        ["calibrate", "confidence"],
        ["calibrate", "budget"],
    ],
    ids=" ".join,
)
def test_bad_settings_and_weights_are_one_line(arguments, bad, tmp_path, monkeypatch):
    file, message = bad
    monkeypatch.setenv("MYOSTREAM_CACHE", str(tmp_path / "cache"))
    found = CliRunner().invoke(app, [*arguments, "--settings", str(file)])
    assert found.exit_code == 1, found.exception
    stderr = found.stderr
    assert message in stderr
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("myostream: ")


def test_the_module_that_gadgetron_starts_reports_them_too(bad, monkeypatch, capfd, tmp_path):
    file, message = bad
    monkeypatch.setenv("MYOSTREAM_SETTINGS", str(file))
    monkeypatch.setattr(gadgetron.socket, "create_connection", lambda *_, **__: socket.socket())
    assert gadgetron.main(["9003"]) == 1
    stderr = capfd.readouterr().err
    assert message in stderr
    assert len(stderr.splitlines()) == 1
