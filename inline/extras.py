"""Extras of the package, and what a module that one of them brings is missing for."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_BROUGHT: Final = {
    "ahead-of-time": ("onnx", "onnxscript", "tensorrt_rtx"),
    "bench": ("monai", "pandas", "pingouin", "qmri", "scikit_posthocs"),
    "calibrate": ("nncf", "sklearn"),
    "cohort": ("bokeh", "distributed", "pyarrow"),
    "dicom": ("highdicom", "pydicom", "pynetdicom"),
    "gadgetron": ("gadgetron", "multimethod", "pyfftw"),
    "report": ("cmcrameri", "matplotlib"),
    "tensorrt": ("torch_tensorrt",),
    "train": ("lightning", "nibabel", "torchmetrics"),
    "nifti": ("nibabel",),
}
EXTRAS: Final = {module: extra for extra, modules in _BROUGHT.items() for module in modules}
"""Modules that a core install does not bring, and the extra of each where the command states none."""


def missing(error: ImportError, extra: str = "") -> str:
    """Return the sentence on a package that is not installed, with the command that installs it.

    Args:
        error: of the import.
        extra: that brings the package; by default the one in :data:`EXTRAS`.
    """
    module = (error.name or "").partition(".")[0]
    extra = extra or EXTRAS.get(module, "")
    if not extra:
        return f"{error}; {remedy()} installs what is needed"
    what = f"{module} is not installed" if isinstance(error, ModuleNotFoundError) and module else str(error)
    return f"{what}; it comes with myostream[{extra}]: {remedy(extra)}"


def remedy(extra: str = "") -> str:
    """Return the command that installs what this installation lacks, of an extra where one is stated.

    Outside a clone pip takes the names of the packages from the installation itself.
    """
    wanted = f"[{extra}]" if extra else ""
    if (Path(__file__).parents[1] / "pyproject.toml").exists():
        return f'pip install -e ".{wanted}" in the clone'
    return f'{shlex.quote(sys.executable)} -m pip install "myostream{wanted}"'


def absent(extra: str) -> str:
    """Return the modules of an extra that are not installed, as a list in words; empty where all are."""
    return ", ".join(module for module in _BROUGHT[extra] if find_spec(module) is None)


@contextmanager
def naming_extras() -> Iterator[None]:
    """Add that sentence as a note to the error of a package of an extra, for callers in Python."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] in EXTRAS:
            error.add_note(missing(error))
        raise
