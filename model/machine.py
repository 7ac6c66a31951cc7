"""What a figure was measured on."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from model.host import VNNI, cpu_flags, describe_host

_ROOT: Final = Path(__file__).parent.parent
_PACKAGES: Final = (
    "torch",
    "openvino",
    "nncf",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "ismrmrd",
    "monai",
)
"""Those that a time or a figure may hang on."""


def describe_machine() -> dict[str, str | int | None]:
    """Processor, cores, versions and commit, as they stand beside every figure."""
    return {
        **describe_host(),
        "vnni": bool(VNNI & cpu_flags()),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("myostream", *_PACKAGES)},
    }


def commit(folder: Path = _ROOT) -> str | None:
    """Commit of the checkout whose root is ``folder``, with ``-dirty`` where tracked files differ.

    Results of measurements do not count: the first of several must not make the next ones dirty.

    Returns:
        None outside a checkout, or without git.
    """
    if not (folder / ".git").exists():
        return None
    found = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = _git(
        folder, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)bench/results"
    )
    return f"{found}-dirty" if found and changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
