import math
from types import UnionType
from typing import get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from inline.__main__ import app
from model.errors import MyostreamError

COMMANDS = [
    ("bench", "throughput", "--json"),
    ("bench", "latency", "--json"),
    ("bench", "latency", "--plot"),
    ("bench", "peers", "--json"),
    ("bench", "tables", "--json"),
    ("bench", "scaling", "--plot"),
    ("calibrate", "confidence", "--json"),
    ("calibrate", "confidence", "--output"),
    ("calibrate", "confidence", "--plot"),
    ("calibrate", "budget", "--json"),
    ("calibrate", "budget", "--output"),
    ("evaluate", "--json"),
    ("engines", "--json"),
    ("synth", "-o"),
    ("replay", "x.h5", "-o"),
    ("replay", "x.h5", "--json"),
]
FOLDERS = [
    ("bench", "tables", "--output"),
    ("bench", "tables", "--keep"),
    ("evaluate", "--plots"),
    ("demo", "-o"),
    ("process", "x.h5", "-o"),
    ("process", "x.h5", "--dicom"),
    ("process", "x.h5", "--report"),
    ("replay", "x.h5", "--report"),
    ("replay", "x.h5", "--overlays"),
    ("cohort", ".", "-o"),
    ("train", "-o"),
]


def error_line(arguments, monkeypatch):
    # Nothing is begun: an engine would be the first.
    monkeypatch.setattr("inline.engine_selection.make_engine", lambda *_: pytest.fail("begun"))
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_outputs_are_tried_before_the_work(command, tmp_path, monkeypatch):
    assert "there is no folder" in error_line([*command, str(tmp_path / "no" / "out")], monkeypatch)


@pytest.mark.parametrize("command", FOLDERS, ids=" ".join)
def test_folders_are_tried_before_the_work(command, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    assert "is no folder" in error_line([*command, str(tmp_path / "file")], monkeypatch)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("command", ["process", "replay"])
def test_a_folder_for_reports_is_made(command, tmp_path, monkeypatch):
    pytest.importorskip("cmcrameri")
    line = error_line(
        [command, str(tmp_path / "none.h5"), "--report", str(tmp_path / "new" / "r")], monkeypatch
    )
    assert "none.h5" in line
    assert list((tmp_path / "new" / "r").iterdir()) == []


def test_settings_are_not_written_over(tmp_path, monkeypatch):
    (tmp_path / "settings.toml").write_text("budget_ms = 500\n")
    command = ["calibrate", "budget", "--output", str(tmp_path / "settings.toml")]
    assert "is there already" in error_line(command, monkeypatch)
    assert (tmp_path / "settings.toml").read_text() == "budget_ms = 500\n"


def test_options_reach_a_timed_training(tmp_path, monkeypatch):
    seen = []

    def train_within(training, *_):
        seen.append(training)
        return {"steps": 1, "slices": 2, "seconds": 3.0}

    monkeypatch.setattr("model.training.timed.train_within", train_within)
    command = ["train", "-o", str(tmp_path / "run"), "--apices", "0", "--learning-rate", "2e-4"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert (seen[0].apices, seen[0].learning_rate) == (0.0, 2e-4)


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--maps", "t3", 1),
        ("--minutes", "inf", 2),
        ("--apices", "1.5", 2),
        ("--seed", "-1", 2),
        ("--seed", str(2**64), 2),
    ],
)
def test_a_timed_training_refuses_what_it_would_ignore_or_never_end(
    option, value, code, tmp_path, monkeypatch
):
    monkeypatch.setattr("model.training.timed.train_within", lambda *_: pytest.fail("begun"))
    result = CliRunner().invoke(app, ["train", "-o", str(tmp_path / "run"), option, value])
    assert result.exit_code == code
    assert option in result.output


def functions_of(commands):
    """The function of every command, of groups too."""
    yield from (each.callback for each in commands.registered_commands)
    for group in commands.registered_groups:
        yield from functions_of(group.typer_instance)


def floats_of(function):
    """The float options of a command, by name."""
    for name, hint in get_type_hints(function, include_extras=True).items():
        kind, *described = get_args(hint) or (hint,)
        kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        if float in kinds and described:
            yield name, described[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_every_option_that_is_a_number_refuses_one_that_is_not_finite(value):
    """A lower limit lets infinity through, and NaN by the oldest typer."""
    options = [each for function in functions_of(app) for each in floats_of(function)]
    assert {"margin", "speed", "minutes", "budget_ms", "bias_mm"} <= dict(options).keys()
    for _, option in options:
        with pytest.raises((typer.BadParameter, MyostreamError)):
            option.callback(value)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_margin_that_is_not_finite_is_an_error_before_anything_is_timed(monkeypatch, value):
    monkeypatch.setattr("calibration.budget.measure", lambda *_: pytest.fail("timed"))
    result = CliRunner().invoke(app, ["calibrate", "budget", "--margin", value])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    "command",
    [
        *FOLDERS,
        ("package", "openrecon", "-o"),
        ("stream", "-o"),
        ("dicom-node", "--spool"),
        ("serve", "--zmq-keys"),
        ("evaluate", "--data"),
        ("calibrate", "contours", "--data"),
        ("train", "-o", "run", "--start"),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_working_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "an empty path is given" in error_line([*command, ""], monkeypatch)
    assert not list(tmp_path.iterdir())
