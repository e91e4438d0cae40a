"""How much memory is free, and how large a picture may be for it."""

from __future__ import annotations

from pathlib import Path

# one above 20,000 x 20,000; its RGB pixels are 1.6 GB
MAX_PIXELS = 1 << 29


def available_memory() -> int | None:
    """Bytes that can be had without swapping, within the container's limit; None where unknown."""
    found = [v for v in (_available_of_machine(), _available_of_container()) if v is not None]
    return min(found, default=None)


def _available_of_machine() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def _available_of_container(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii")
        # cached file pages count as used, but the kernel gives them back
        cached = int(f"\n{stat}".partition("\ninactive_file ")[2].split()[0])
        return max(0, limit - used + cached)
    except (OSError, ValueError, IndexError):
        return None


def pixel_limit() -> int:
    """The most pixels that a picture may have: `MAX_PIXELS`, and as RGB with a copy it must fit into
    the memory that is free now."""
    free = available_memory()
    return MAX_PIXELS if free is None else max(1, min(MAX_PIXELS, free // 6))
