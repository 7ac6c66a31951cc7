"""Checks of the host: processor, memory, clock, cache folder."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inline.doctor.finding import Finding, good, problem, warning
from inline.settings import Settings
from model.host import VNNI, cache_folder, computes_bfloat16, cpu_flags, describe_host
from model.ownership import objection

IDLE_BYTES: Final = 800_000_000
"""Resident memory of a server that waits (``python -m bench.footprint``)."""
FIT_BYTES: Final = 150_000_000
"""Most memory that the fit of a series takes beside what ``server.memory_bytes`` counts."""
PAGE_BYTES: Final = 160_000_000
"""Most memory of the live page: 64 MiB in the server, 92 MB in its process."""
_CACHE_BYTES: Final = 500_000_000
_UNSYNCHRONISED: Final = 5
"""TIME_ERROR of ntp_gettime(3)."""
_RELEASED: Final = 1_764_000_000
"""Time before this version was made, s since 1970: a clock that shows less is wrong."""
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


def processor() -> Iterator[Finding]:
    """Yield the processor; bfloat16 and the distributed int8 model need one that has them."""
    host = describe_host()
    bf16 = "with" if computes_bfloat16() else "without"
    vnni = "with" if VNNI & cpu_flags() else "without"
    yield good(
        "processor", f"{host['processor']}, {host['cores']} cores, {bf16} bfloat16, {vnni} VNNI (int8)"
    )


def memory(settings: Settings) -> Iterator[Finding]:
    """Yield whether the memory suffices for a server with all connections in use (``docs/protocol.md``)."""
    available = available_bytes()
    needed = IDLE_BYTES + settings.server.memory_bytes + settings.workers * FIT_BYTES
    needed += PAGE_BYTES * (settings.monitor.page_port is not None)
    text = f"{_gigabytes(available)} available; the server takes {_gigabytes(IDLE_BYTES)} idle"
    if available < IDLE_BYTES:
        yield problem("memory", text, "free memory, or use a host with 4 GB")
    elif available < needed:
        yield warning(
            "memory", f"{text} and up to {_gigabytes(needed)}", "set server.memory_bytes or workers lower"
        )
    else:
        yield good("memory", f"{text} and up to {_gigabytes(needed)}")


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return the memory that is available to this process: that of the host, or less by its control group.

    Inactive files in the page cache, which the kernel gives up when memory is needed, count as available.
    """
    line = next(each for each in meminfo.read_text().splitlines() if each.startswith("MemAvailable:"))
    available = int(line.split()[1]) * 1024
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        figures = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        used -= int(figures.get("inactive_file", 0))
    except (OSError, ValueError):
        return available
    return min(available, max(int(limit) - used, 0)) if limit.isdigit() else available


def clock(now: float | None = None, *, synchronised: bool | None = None) -> Iterator[Finding]:
    """Yield whether the clock is right, as far as that can be known.

    Args:
        now: s since 1970; None for the clock of the host.
        synchronised: whether it is; None to ask the kernel.
    """
    seconds = time.time() if now is None else now
    shown = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
    if seconds < _RELEASED:
        yield problem("clock", f"it shows {shown}, before this version was made", "set the clock")
    elif not (_synchronised() if synchronised is None else synchronised):
        yield warning(
            "clock",
            f"{shown}; it is not synchronised",
            "let chrony or systemd-timesyncd set it: results and log bear its time",
        )
    else:
        yield good("clock", f"{shown}, synchronised")


def _synchronised() -> bool:
    """Return whether the kernel takes its clock for synchronised (ntp_gettime(3))."""
    times = ctypes.create_string_buffer(256)  # struct ntptimeval
    return int(ctypes.CDLL(None).ntp_gettime(times)) not in (-1, _UNSYNCHRONISED)


def cache() -> Iterator[Finding]:
    """Yield whether the cache of compiled files can be written and is trusted."""
    try:
        folder = cache_folder()
    except OSError as error:
        yield warning("cache", f"each start compiles for some 20 s: {error}")
        return
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if existing != folder and os.access(existing, os.W_OK | os.X_OK):
        yield good("cache", f"{folder} is made at the first start")
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield warning(
            "cache",
            f"{existing} cannot be written: each start compiles for some 20 s",
            "name a folder of this user as MYOSTREAM_CACHE",
        )
        return
    for each in (folder, *(part for part in (folder / "engines", folder / "kernels") if part.exists())):
        if reason := objection(each):
            advice = "withdraw the permission (chmod go-w), or name another folder as MYOSTREAM_CACHE"
            yield warning("cache", f"{each} {reason}: compiled files in it are not used", advice)
            return
    free = shutil.disk_usage(folder).free
    if free < _CACHE_BYTES:
        advice = "make room on its disk"
        yield warning("cache", f"{folder} has {_gigabytes(free)} left", advice)
    else:
        yield good("cache", f"{folder} can be written and belongs to this user, {_gigabytes(free)} left")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
