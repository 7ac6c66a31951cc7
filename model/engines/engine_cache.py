"""Compiled networks on disk, each under a key of all that it depends on.

None is loaded that is not intact or that another user can have written. Several processes may share a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from model.errors import MyostreamError
from model.output import write_json
from model.ownership import make_private, objection, objection_to

_log = logging.getLogger(__name__)

_REVISION: Final = 1
"""Raised whenever conversion, quantisation or compile options change: what was made before is made anew."""
_KEY: Final = "key.json"
_REPORT: Final = "gate.json"
_MAKING: Final = ".making-"
_LEFT_OVER_S: Final = 3600.0
"""No entry takes so long to be made: what is older was left by a process that was killed."""

EXACT: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Flags of processors that add up products of eight bits in 32 bits: all of them get the same sums, so that
what the gate saw on one holds on the others. Without, sums of 16 bits may overflow."""

T = TypeVar("T")


def cache_folder() -> Path:
    """Where compiled networks lie: ``MYOSTREAM_CACHE``, or the user's cache folder."""
    stated = os.environ.get("MYOSTREAM_CACHE")
    if stated:
        return Path(stated)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "myostream"


def processor() -> str:
    """Model name of the CPU."""
    return _of_processor("model name") or platform.machine()


def processor_flags() -> frozenset[str]:
    """Extensions of the instruction set that the CPU says it has; none where it is not asked like this."""
    return frozenset(_of_processor("flags").split())


def _of_processor(what: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(what)), "")


def weights_digest(folder: Path) -> str:
    """SHA-256 of a folder of weights, names included."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("unet-*.safetensors")):
        digest.update(file.name.encode())
        digest.update(_sha256(file).encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that a compiled network depends on.

    Attributes:
        weights: digest of the weights.
        precision: ``int8``, ``tensorrt-f16``.
        device: the processor or GPU that it is compiled for.
        versions: of the packages that made it.
        file: that the model is written into; it may have others beside it.
        revision: of our own conversion.
    """

    weights: str
    precision: str
    device: str
    versions: str
    file: str = "model.xml"
    revision: int = _REVISION

    @classmethod
    def of(
        cls,
        weights: Path,
        precision: str,
        *,
        device: str | None = None,
        packages: Sequence[str] = ("torch", "openvino", "nncf"),
        file: str = "model.xml",
    ) -> EngineKey:
        """The key of a folder of weights on this machine, with the versions installed.

        Args:
            weights: folder of weights.
            precision: see above.
            device: None for the CPU.
            packages: whose versions matter; those that are not installed are left out.
            file: see above.
        """
        installed = ((package, _version(package)) for package in packages)
        return cls(
            weights=weights_digest(weights),
            precision=precision,
            device=processor() if device is None else device,
            versions=", ".join(f"{package} {found}" for package, found in installed if found),
            file=file,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the key."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class NotPassedError(MyostreamError):
    """A model that needs a gate's consent has none; says why."""


class EngineStore:
    """Entries of a cache folder. An entry holds the model, its key with the files' digests, and a report."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or cache_folder()) / "engines"

    def entry(self, key: EngineKey) -> Path:
        """Folder of an entry, whether it is there or not."""
        return self.folder / f"{key.precision}-{key.digest[:16]}"

    def find(self, key: EngineKey) -> Path | None:
        """The model of a key, or None where there is none, it is not intact, or another user can write it."""
        self._sweep()
        problem = self._problem(key)
        if problem:
            _log.warning("the compiled network in %s %s and is not used", self.entry(key), problem)
        return self.entry(key) / key.file if problem == "" else None

    def build(self, key: EngineKey, write: Callable[[Path], None]) -> Path:
        """Make an entry anew; whatever was there is replaced, its report included.

        Args:
            key: of the entry.
            write: writes the model into the file that it is given, and others beside it if there are.

        Returns:
            The model.

        Raises:
            OSError: the cache folder cannot be written, or belongs to another user.
        """
        return self._make(key, write, lambda stamp: False)

    def load(self, key: EngineKey, write: Callable[[Path], None], read: Callable[[Path], T]) -> T:
        """What ``read`` makes of the model of a key, which is made anew where it is missing or damaged.

        One that is intact and still cannot be read (a driver was replaced, say) is made anew once. Where
        another process has made the entry in the meantime, that one is read.

        Raises:
            OSError: as :meth:`build`; and whatever ``write`` and ``read`` raise.
        """
        found = self.find(key)
        unreadable = ""
        if found is not None:
            unreadable = self._stamp(key)
            try:
                return read(found)
            except Exception as error:
                _log.warning("the compiled network in %s does not load (%s); making it anew", found, error)
        return read(self._make(key, write, lambda stamp: stamp != unreadable))

    def _make(self, key: EngineKey, write: Callable[[Path], None], keep: Callable[[str], bool]) -> Path:
        """Make an entry; ``keep`` says of the stamp of an intact one in its place whether that one stays."""
        make_private(self.folder)
        self._sweep()
        # Made beside and moved into place: another process finds a whole entry or none.
        made = Path(tempfile.mkdtemp(prefix=_MAKING, dir=self.folder))
        entry = self.entry(key)
        try:
            write(made / key.file)
            content = {"key": asdict(key), "files": _digests(made), "stamp": secrets.token_hex(8)}
            (made / _KEY).write_text(json.dumps(content, indent=1), encoding="utf-8")
            for file in made.iterdir():
                file.chmod(0o600)
            with _locked(self.folder):
                if self._problem(key) != "" or not keep(self._stamp(key)):
                    if os.path.lexists(entry):
                        # A folder cannot be replaced by another: the old one goes into one that is removed.
                        aside = Path(tempfile.mkdtemp(prefix=_MAKING, dir=self.folder))
                        entry.rename(aside / entry.name)
                        shutil.rmtree(aside, ignore_errors=True)
                    made.rename(entry)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return entry / key.file

    def _problem(self, key: EngineKey) -> str | None:
        """Why an entry is not used; empty for one that is, None where there is none."""
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
            return f"cannot be read ({error})" if os.path.lexists(entry) else None

    def _stamp(self, key: EngineKey) -> str:
        """What tells an entry from others of the same key; empty where there is none."""
        with suppress(OSError, ValueError, TypeError, LookupError):
            return str(json.loads((self.entry(key) / _KEY).read_text(encoding="utf-8"))["stamp"])
        return ""

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they made an entry."""
        for left in self.folder.glob(f"{_MAKING}*"):
            with suppress(OSError):
                newest = max(path.lstat().st_mtime for path in (left, *left.iterdir()))
                if time.time() - newest > _LEFT_OVER_S and not objection(left):
                    shutil.rmtree(left, ignore_errors=True)

    def save_report(self, key: EngineKey, report: dict[str, Any]) -> Path:
        """Put a gate's report, which says whether the model ``passed``, beside it; returns its file."""
        file = self.entry(key) / _REPORT
        write_json(file, {"model": _digests(file.parent), "report": report}, private=True)
        return file

    def find_report(self, key: EngineKey) -> dict[str, Any] | None:
        """The report beside the model of a key; None where it is missing, about another model, or another
        user can have written it."""
        entry = self.entry(key)
        try:
            if objection_to(self.folder.stat()) or objection(entry) or objection(entry / _REPORT):
                return None
            stored = json.loads((entry / _REPORT).read_text(encoding="utf-8"))
            if stored["model"] != _digests(entry):
                return None
            report: dict[str, Any] = stored["report"]
            return report if isinstance(report["passed"], bool) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def passed(self, key: EngineKey) -> Path:
        """The model of a key, which its gate has let pass.

        Raises:
            NotPassedError: it has not, or there is none.
        """
        model, problem = self.find(key), self._problem(key)
        if model is None or problem:
            raise NotPassedError(
                "none is kept for this host" if problem is None else f"the one kept {problem}"
            )
        report = self.find_report(key)
        if report is None:
            raise NotPassedError("it was not put before its gate")
        if not report["passed"]:
            raise NotPassedError("it missed its gate: " + "; ".join(report.get("reasons", [])))
        return self.entry(key) / key.file


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from putting entries into a folder; without locks, nothing does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digests(entry: Path) -> dict[str, str]:
    """SHA-256 of each file that belongs to the model."""
    return {file.name: _sha256(file) for file in sorted(entry.iterdir()) if file.name not in (_KEY, _REPORT)}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
