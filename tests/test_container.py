"""Containerfile and requirements: what they name exists, the user has no rights, and the steps install."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from inline.settings import Settings

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> dict[str, list[str]]:
    """Instructions of each stage, without comments, on one line each."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.M).replace("\\\n", " ")
    stages: dict[str, list[str]] = {"": []}
    for line in filter(None, map(str.strip, text.splitlines())):
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            stages[match[2]] = [line]
        else:
            stages[list(stages)[-1]].append(line)
    return stages


STAGES = instructions()


def test_requirements_are_those_of_the_project_without_torch() -> None:
    names = {file.stem for file in (ROOT / "requirements").glob("*.txt")}
    assert names == {"inference", "dicom"}
    for name in names:
        lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
        stated = {line for line in lines if line and not line.startswith("#")}
        wanted = PROJECT["dependencies"] if name == "inference" else PROJECT["optional-dependencies"][name]
        assert stated == {each for each in wanted if not each.startswith("torch")}, name


def ignored(path: str) -> bool:
    """Whether .containerignore leaves a file or folder out; the last pattern that matches decides."""
    out = False
    for line in (ROOT / ".containerignore").read_text().split():
        pattern = line.removeprefix("!").removeprefix("**/")
        if (
            fnmatch(path, pattern)
            or fnmatch(path.rpartition("/")[2], pattern)
            or path.startswith(f"{pattern}/")
        ):
            out = not line.startswith("!")
    return out


def test_what_is_copied_exists_and_is_all_that_a_wheel_needs() -> None:
    for stage in STAGES.values():
        for source in (line.split()[1] for line in stage if re.match(r"COPY [^-]", line)):
            assert (ROOT / source).exists(), source
            assert source == "." or not ignored(source), source
    packages = ["inline", "model", "calibration", "bench"]
    for name in ["pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], *packages, "requirements"]:
        assert (ROOT / name).exists()
        assert not ignored(name)
    for name in (".git", ".venv", "tests", "demo-output", "bench/results", "model/__pycache__"):
        assert ignored(name), name


def test_stages_follow_from_each_other_and_the_last_one_is_for_the_cpu() -> None:
    assert list(STAGES)[-1] == "cpu"
    for stage, lines in STAGES.items():
        for name in re.findall(r"--from=(\S+)|^FROM (?!\$)(\S+)", "\n".join(lines), flags=re.M):
            assert "".join(name) in STAGES, stage


def test_the_server_runs_without_rights_and_is_checked() -> None:
    runtime = "\n".join(STAGES["runtime"])
    user = re.findall(r"^USER (\S+)", runtime, flags=re.M)
    assert user == ["10001:10001"]
    for stage in ("gpu", "cpu"):
        assert STAGES[stage][0] == f"FROM runtime AS {stage}"
        assert not any(line.startswith(("USER", "RUN")) for line in STAGES[stage])
    assert f"EXPOSE {Settings().server.port}" in runtime
    assert "For research use only" in runtime
    port = re.search(r'"--monitor-port", "(\d+)"', runtime)
    assert port
    assert f"127.0.0.1:{port[1]}/healthz" in runtime
    everything = "\n".join(line for lines in STAGES.values() for line in lines)
    assert not re.search(r"(?i)passw|token|secret|--index-url|trusted-host", everything)


def test_kernels_are_compiled_for_the_cpu_that_the_image_states() -> None:
    """The key of a compiled kernel holds name and features of the CPU: at run time they must be the same."""
    variables = [
        [line for line in STAGES[stage] if line.startswith("ENV NUMBA")] for stage in ("install", "cpu")
    ]
    assert variables[0] == variables[1]
    assert len(variables[0]) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)  # 0.9 GB are installed
def test_the_steps_install_what_inference_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps themselves, in folders of their own, with pip."""
    shutil.copytree(
        ROOT, tmp_path / "source", ignore=lambda folder, names: _left_out(Path(folder), names), symlinks=True
    )
    places = {"/opt/myostream": "installed", "/builder": "builder", "/wheels": "wheels"}
    monkeypatch.setenv("REQUIREMENTS", "inference")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    steps = [line for stage in ("wheel", "install") for line in STAGES[stage] if line.startswith("RUN")]
    for step in (each for each in steps if "/bin/pip " in each):
        command = step.removeprefix("RUN ").replace("/requirements/", f"{ROOT}/requirements/")
        for place, name in places.items():
            command = command.replace(place, str(tmp_path / name))
        command = command.replace("python3 -m venv", f"{sys.executable} -m venv")
        done = subprocess.run(
            ["sh", "-ec", command], cwd=tmp_path / "source", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    python = tmp_path / "installed" / "bin" / "python"
    script = (
        "import importlib.util as u, inline;"
        "print(inline.__file__, [u.find_spec(name) for name in ('torch', 'pip')]);"
        "pipeline = inline.build_pipeline(inline.load_settings(engine='openvino-f32'));"
        "pipeline.warm_up(); print(pipeline.engine.name)"
    )
    done = subprocess.run([python, "-c", script], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith(str(tmp_path / "installed"))
    assert done.stdout.split("\n")[0].endswith("[None, None]")
    assert done.stdout.split("\n")[1] == "openvino-f32"


def _left_out(folder: Path, names: list[str]) -> list[str]:
    return [name for name in names if ignored(str((folder / name).relative_to(ROOT)))]
