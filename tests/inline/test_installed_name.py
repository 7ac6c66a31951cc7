"""``import myostream`` in an editable install and in a wheel, both made without the network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
IGNORED = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.bin", "results")
USE = """
import sys
import myostream
assert "numpy" not in sys.modules
import inline
assert myostream.fit_molli is inline.fit_molli
assert myostream.SliceResult is inline.SliceResult
assert set(myostream.__all__) == set(inline.__all__)
loaded = [name for name in sys.modules if name.startswith("myostream")]
assert loaded == ["myostream"], loaded
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="myostream")
script.load()
print(myostream.__file__, inline.__file__)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The packages without weights and results, which take time and are not used."""
    made = tmp_path_factory.mktemp("source")
    for name in ("inline", "model", "calibration", "bench"):
        shutil.copytree(ROOT / name, made / name, ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, made)
    return made


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_the_installed_name_is_the_api(kind, source, tmp_path):
    build = f"import sys; from setuptools.build_meta import build_{kind}; print(build_{kind}(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path / "site")
    if kind == "wheel":
        assert {"myostream/__init__.py", "inline/__init__.py"} <= names
        # Without the marker, type checkers take all of a package for Any.
        assert {
            f"{name}/py.typed" for name in ("myostream", "inline", "model", "calibration", "bench")
        } <= names
        assert not any(name.startswith("inline/_alias") for name in names)
    # As site-packages: an editable install consists of a .pth file and a finder. The packages it needs come
    # from here, without the .pth files: the finder of this environment's own install has the same name.
    needed = [each for each in sys.path if each and Path(each) != ROOT]
    script = f"import site, sys; site.addsitedir({str(tmp_path / 'site')!r}); sys.path += {needed!r}\n{USE}"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where = tmp_path / "site" if kind == "wheel" else source
    assert all(file.startswith(str(where)) for file in done.stdout.split()), done.stdout
