"""Version of this software."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """Return the version of myostream; ``unknown`` where it runs without being installed."""
    try:
        return version("myostream")
    except PackageNotFoundError:
        return "unknown"
