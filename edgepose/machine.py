"""What this machine is: its GPU, the memory of this process, versions of the packages."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from functools import cache
from pathlib import Path

# the driver's own files: desktop and server, Jetson (two generations), Windows' Linux
GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/dxg")


def has_nvidia_gpu(nodes: Iterable[str] = GPU_NODES) -> bool:
    """True where the driver of an NVIDIA GPU is at work; loads no library."""
    return any(os.path.exists(node) for node in nodes)


def has_int8_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True on x86 CPUs that multiply bytes in one instruction (VNNI): int8 networks are fast there.

    Elsewhere they may be slower than float32, and older CPUs overflow in the sums.
    """
    try:
        words = set(cpuinfo.read_text().split())
    except (OSError, UnicodeDecodeError):
        return False
    return bool(words & {"avx512_vnni", "avx_vnni"})


def usable_cores() -> int:
    """Cores that this process may use."""
    mine = getattr(os, "sched_getaffinity", None)  # Linux alone tells
    return len(mine(0)) if mine else os.cpu_count() or 1


@cache
def cpu_name() -> str:
    """What the board or the processor calls itself, "" where it does not."""
    for path, key in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            text = Path(path).read_text(errors="replace")
        except OSError:
            continue
        if not key:
            return text.strip("\0 \n")
        for line in text.splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def resident_mb() -> float:
    """Resident memory of this process in MB, 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    from importlib import metadata  # as slow as half the program's own start

    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
