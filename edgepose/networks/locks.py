"""One process at a time: a lock beside the file or folder that is about to change."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from edgepose.errors import DownloadError
from edgepose.files import locked

log = logging.getLogger(__name__)


@contextmanager
def exclusive(target: Path, *, timeout: float = 3600.0) -> Iterator[None]:
    """Hold the lock `.<name>.lock` beside `target`, waiting while another process holds it.

    Raises:
        DownloadError: the folder cannot be written, or the lock was not free in `timeout` seconds.
    """
    lock = locked(
        target.with_name(f".{target.name}.lock"),
        timeout=timeout,
        waiting=lambda: log.info("Another process is at work on %s; waiting for it.", target),
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except TimeoutError as e:
            raise DownloadError(
                f"{target} is locked by another process ({e}); try again."
            ) from None
        except OSError as e:
            raise DownloadError(
                f"Cannot lock {target}: {e}. Set EDGEPOSE_HOME to a folder that you can write."
            ) from None
        yield
