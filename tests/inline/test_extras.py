"""Modules of extras: the table follows the project file, and Python's errors name the extra."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import inline
from inline import extras
from inline.extras import EXTRAS

ROOT = Path(inline.__path__[0]).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"scikit-learn": "sklearn", "torch-tensorrt-rtx": "torch_tensorrt"}
"""Modules that are not called like their package."""


def module_of(requirement):
    package = re.match(r"[\w-]+", requirement)[0]
    return MODULES.get(package, package.replace("-", "_"))


def test_every_module_of_an_extra_is_in_the_table_with_an_extra_that_brings_it():
    brought = {
        extra: {module_of(each) for each in requirements}
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra not in ("dev", "fuzz")  # no command imports what these bring
    }
    assert set(EXTRAS) == set().union(*brought.values())
    for module, extra in EXTRAS.items():
        assert module in brought[extra]


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [("pydicom", "dicom", "read_dicom('.')"), ("matplotlib", "report", "write_report([], 'a.png')")],
)
def test_the_error_of_python_names_the_extra(module, extra, call, hiding, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", f"import myostream; myostream.{call}"],
        env=hiding(module),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert f"ModuleNotFoundError: No module named '{module}'" in done.stderr
    assert done.stderr.rstrip().endswith(
        f'it comes with myostream[{extra}]: pip install -e ".[{extra}]" in the clone'
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cloned", [False, True])
def test_an_installation_names_its_own_python_and_a_clone_itself(tmp_path, cloned):
    package = tmp_path / "inline"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(extras.__file__, package)
    if cloned:
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = "from inline.extras import missing; print(missing(ModuleNotFoundError(name='pynetdicom')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd="/",
        check=True,
    )
    command = 'pip install -e ".[dicom]" in the clone'
    if not cloned:
        command = f'{shlex.quote(sys.executable)} -m pip install "myostream[dicom]"'
    assert done.stdout == f"pynetdicom is not installed; it comes with myostream[dicom]: {command}\n"
