"""One process at a time: a lock beside the file or folder that is about to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepose.errors import DownloadError
from edgepose.networks.progress import Progress, Silent


@contextmanager
def exclusive(
    target: Path, *, progress: Progress | None = None, timeout: float = 3600.0
) -> Iterator[None]:
    """Hold the lock `.<name>.lock` beside `target`, waiting while another process holds it.

    Raises:
        DownloadError: the folder cannot be written, or the lock was not free in `timeout` seconds.
    """
    from filelock import FileLock, Timeout

    file = target.with_name(f".{target.name}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            (progress or Silent()).note(f"Another process is at work on {target}; waiting for it.")
            lock.acquire(timeout=timeout)
    except Timeout:
        raise DownloadError(
            f"{target} is locked by another process for {timeout:.0f} s (lock {file}); "
            "try again when it has ended."
        ) from None
    except (OSError, NotImplementedError) as e:
        raise DownloadError(
            f"Cannot lock {target}: {e}. Set EDGEPOSE_HOME to a folder that you can write."
        ) from None
    try:
        yield
    finally:
        lock.release()
