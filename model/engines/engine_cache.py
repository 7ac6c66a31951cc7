"""Compiled networks on disk, each under a key of all that it depends on.

An entry is used only if it is intact and no other user can write to it. Several processes may share a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeVar

from model.errors import MyostreamError
from model.host import cache_folder, cpu_arithmetic
from model.output import abandoned
from model.ownership import make_private, objection, objection_to
from model.weights import weights_digest

_log = logging.getLogger(__name__)

_REVISION: Final = 4
"""Raised whenever conversion, quantisation or compile options change: earlier entries are then not used."""
_KEY: Final = "key.json"

T = TypeVar("T")


class UnusableModelError(MyostreamError):
    """A compiled or quantised model is missing or must not be used; says why."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that a compiled network depends on.

    Attributes:
        weights: digest of the weights.
        precision: ``int8``, ``tensorrt-f16``.
        device: the CPU or GPU that it is compiled for.
        versions: of the packages that load it.
        revision: of our own conversion.
    """

    weights: str
    precision: str
    device: str
    versions: str
    revision: int = _REVISION

    @classmethod
    def of(
        cls,
        weights: Path,
        precision: str,
        *,
        device: str | None = None,
        packages: Sequence[str] = ("openvino",),
    ) -> EngineKey:
        """Return the key of a folder of weights on this machine, with the versions installed.

        Args:
            weights: folder of weights.
            precision: see above.
            device: None for the CPU, with its flags: the gate's report holds for sums of their kind.
            packages: that load the engine; their versions are part of the key. Those that are not installed
                are left out.
        """
        installed = ((package, _version(package)) for package in packages)
        return cls(
            weights=weights_digest(weights),
            precision=precision,
            device=cpu_arithmetic() if device is None else device,
            versions=", ".join(f"{package} {found}" for package, found in installed if found),
        )

    @property
    def name(self) -> str:
        """Name of the entry's folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.precision}-{digest[:16]}"


class EngineCache:
    """Entries of a cache folder: each a folder with the files of a model and its key with their digests."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / "engines"

    def entry(self, key: EngineKey) -> Path:
        """Return the folder of an entry, whether it exists or not."""
        return self.folder / key.name

    def find(self, key: EngineKey) -> Path:
        """Return the folder of an entry.

        Raises:
            UnusableModelError: there is none, it is not intact, or another user can write to it.
        """
        entry = self.entry(key)
        if not os.path.lexists(entry):
            raise UnusableModelError("none was made on this host")
        problem = self._problem(key)
        if problem:
            raise UnusableModelError(f"{entry} {problem}")
        return entry

    def check(self) -> None:
        """Check before the work that an entry can be made.

        Raises:
            OSError: as :meth:`build`.
        """
        make_private(self.folder)
        with tempfile.TemporaryFile(dir=self.folder):
            pass

    def build(self, key: EngineKey, write: Callable[[Path], None]) -> Path:
        """Make an entry and return its folder; an earlier one is replaced once this one is complete.

        Args:
            key: of the entry.
            write: writes the files of the model into the folder that it is given.

        Raises:
            OSError: the cache folder cannot be written, or belongs to another user.
        """
        with self._locked(key):
            return self._write(key, write)

    def load(self, key: EngineKey, write: Callable[[Path], None], read: Callable[[Path], T]) -> T:
        """Return the result of ``read`` for an entry, which is made first where it cannot be used or read.

        Other processes that need the same entry wait meanwhile.

        Raises:
            OSError: as :meth:`build`; and whatever ``write`` and ``read`` raise.
        """
        with self._locked(key):
            try:
                return read(self.find(key))
            except Exception as error:  # such as by a driver that was replaced
                if os.path.lexists(self.entry(key)):
                    _log.warning("a compiled network is made again: %s", error)
            return read(self._write(key, write))

    def _write(self, key: EngineKey, write: Callable[[Path], None]) -> Path:
        entry, made = self.entry(key), self.folder / f".making-{key.name}"
        for left in (made, *abandoned(self.folder, ".making-*")):  # of processes that were killed
            _remove(left)
        made.mkdir(mode=0o700)
        try:
            write(made)
            content = {"key": asdict(key), "files": _digests(made)}
            (made / _KEY).write_text(json.dumps(content, indent=1), encoding="utf-8")
            for file in made.iterdir():
                file.chmod(0o600)
            _remove(entry)
            made.rename(entry)
        finally:
            _remove(made)
        return entry

    def _problem(self, key: EngineKey) -> str:
        """Return why an entry is not used; empty for one that is."""
        entry = self.entry(key)
        try:
            if found := objection_to(self.folder.stat()):
                return f"lies in a folder that {found}"
            for path in (entry, *entry.iterdir()):
                if found := objection(path):
                    return found if path == entry else f"holds {path.name}, which {found}"
            stored = json.loads((entry / _KEY).read_text(encoding="utf-8"))
            if stored["key"] != asdict(key):
                return "belongs to another key"
            return "" if stored["files"] == _digests(entry) else "is damaged"
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            return f"cannot be read ({error})"

    @contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        """Exclude other processes from an entry; the lock of a process ends with it."""
        make_private(self.folder)
        descriptor = os.open(self.folder / f".{key.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digests(entry: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of the model."""
    digests = {}
    for file in sorted(entry.iterdir()):
        if file.name != _KEY:
            with file.open("rb") as opened:
                digests[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return digests


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
