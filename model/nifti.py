"""Names of NIfTI files."""

from __future__ import annotations

from pathlib import Path


def is_nifti(path: Path) -> bool:
    """Return whether a file is named as NIfTI, in either case."""
    return path.name.lower().endswith((".nii", ".nii.gz"))
