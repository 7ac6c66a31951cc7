"""Cache of compiled kernels on disk: numba's results in a private folder, each with a digest.

numba's own cache fails on a truncated file and runs any code in its files, which are pickles beside the
program or in ``NUMBA_CACHE_DIR``. Here a file is read only if no other user can have written it and its
digest is right; any other file is set aside and the kernel compiled again (some seconds).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult

from model.host import cache_folder
from model.output import atomic_output
from model.ownership import make_private, objection_to

_log = logging.getLogger(__name__)


def kernel_folder() -> Path:
    """Return the folder of compiled kernels: in ``NUMBA_CACHE_DIR``, or in the user's cache folder."""
    stated = os.environ.get("NUMBA_CACHE_DIR")
    return Path(stated) / "myostream" if stated else cache_folder() / "kernels"


def kept(options: dict[str, Any]) -> Callable[[Any], Any]:
    """Return numba's decorator with these options and this cache."""

    def decorate(function: Any) -> Any:
        made = numba.njit(**options)(function)
        made._cache = KernelCache(function)
        return made

    return decorate


class KernelCache(_Cache):  # type: ignore[misc]  # numba has no types
    """Cache of one function for numba's dispatcher; it raises no errors."""

    def __init__(self, function: Any) -> None:
        """Make the key; part of it is the function's source file, with all that it calls and the options."""
        self._name = function.__name__
        source = Path(function.__code__.co_filename).read_bytes()
        versions = (numba.__version__, version("llvmlite"), sys.version_info[:3])
        self._key = repr((self._name, versions, hashlib.sha256(source).hexdigest()))

    @property
    def cache_path(self) -> str:
        """Folder for numba's statistics; empty where the user has no home."""
        with suppress(OSError):
            return str(kernel_folder())
        return ""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function of a signature, or None without a usable one."""
        target_context.refresh()
        key = self._digest(sig, target_context.codegen())
        try:
            file = self._file(key)
        except OSError:  # the user has no home
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(_read(file, key)))
        except FileNotFoundError:
            return None
        except Exception as error:
            _log.warning("the compiled kernel %s is set aside and made anew: %s", file, error)
            with suppress(OSError):
                file.replace(file.with_suffix(".bad"))
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled function; where that fails, the next start compiles it again."""
        try:
            key = self._digest(sig, data.codegen)
            payload = pickle.dumps(data._reduce(), protocol=pickle.HIGHEST_PROTOCOL)
            file = self._file(key)
            make_private(file.parent)
            with atomic_output(file, private=True) as beside:
                beside.write_bytes(_mark(key, payload) + payload)
        except Exception as error:
            _log.warning(
                "the compiled kernel %s cannot be kept, each start compiles it: %s", self._name, error
            )

    def enable(self) -> None:
        """Do nothing: the cache is always enabled."""

    def disable(self) -> None:
        """Do nothing: the cache is always enabled."""

    def flush(self) -> None:
        """Keep the files; with another key they are unused."""

    def _digest(self, sig: Any, codegen: Any) -> bytes:
        return hashlib.sha256(repr((self._key, sig, codegen.magic_tuple())).encode()).digest()

    def _file(self, key: bytes) -> Path:
        return kernel_folder() / f"{self._name}-{key.hex()[:32]}.kernel"


def _mark(key: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(key + payload).digest()


def _read(file: Path, key: bytes) -> bytes:
    """Return the stored bytes of a key.

    Raises:
        OSError: it is not there, cannot be read, or another user can have written it.
        ValueError: it is damaged.
    """
    if found := objection_to(file.parent.stat()):
        raise PermissionError(f"its folder {found}")
    with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:  # noqa: PTH123
        if found := objection_to(os.fstat(opened.fileno())):
            raise PermissionError(f"it {found}")
        content = opened.read()
    payload = content[hashlib.sha256().digest_size :]
    if not hmac.compare_digest(_mark(key, payload), content[: hashlib.sha256().digest_size]):
        raise ValueError("it is damaged")
    return payload
