"""This host: CPU, GPU, cores, cache folder."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path
from threadpoolctl import threadpool_limits

_GPU_FILES: Final = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")
"""Files of NVIDIA's driver; the last one is that of a virtual machine of Windows (WSL)."""
VNNI: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""CPU flags that imply 32-bit int8 accumulation: sums are exact, so all such CPUs return the same output.
Elsewhere sums of 16 bits may overflow."""
BF16: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""CPU flags of arithmetic in bfloat16."""


def cache_folder() -> Path:
    """Return the folder of compiled files: ``MYOSTREAM_CACHE``, or the user's cache folder.

    Raises:
        OSError: there is no home folder for it.
    """
    stated = os.environ.get("MYOSTREAM_CACHE")
    try:
        return Path(stated or user_cache_path("myostream")).expanduser().absolute()
    except RuntimeError as error:
        reason = f"there is no home folder for {stated or 'the cache'}; name a folder as MYOSTREAM_CACHE"
        raise FileNotFoundError(reason) from error


def gpu_present() -> bool:
    """Return whether the driver of an NVIDIA GPU is loaded, even one that no torch here can use."""
    return any(Path(file).exists() for file in _GPU_FILES)


def release_freed_memory() -> None:
    """Return memory that this process has freed to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def use_one_blas_thread() -> None:
    """Limit the linear algebra of numpy and scipy in this process to one thread.

    The others of OpenBLAS wait actively for some 30 ms after each product, on the cores that the network
    needs next.
    """
    threadpool_limits(1, user_api="blas")


def describe_host() -> dict[str, str | int]:
    """Return the CPU model and the number of cores that this process may use."""
    return {"processor": cpu_model(), "cores": len(os.sched_getaffinity(0))}


def cpu_model() -> str:
    """Return the model name of the CPU."""
    return _cpuinfo("model name") or platform.machine()


def cpu_arithmetic() -> str:
    """Return the model name of the CPU, and its int8 and bfloat16 flags, which virtual machines may mask."""
    return " ".join([cpu_model(), *sorted((VNNI | BF16) & cpu_flags())])


def cpu_flags() -> frozenset[str]:
    """Return the instruction set extensions of the CPU; empty where ``/proc/cpuinfo`` does not list them."""
    return frozenset(_cpuinfo("flags").split())


def computes_bfloat16() -> bool:
    """Return whether the CPU computes in bfloat16 itself."""
    return bool(BF16 & cpu_flags())


def _cpuinfo(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
