"""The library compiled for the host (`host_build.py`), loaded by ctypes."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

from edgepose.cuda import host_build
from edgepose.errors import BackendUnavailable

log = logging.getLogger(__name__)

ADVICE = "run 'pip install' again where g++ is installed, or decode with numpy"


def load(path: Path) -> ctypes.CDLL:
    """The library in a file.

    Raises:
        BackendUnavailable: it is not there, does not load, or was built from other sources.
    """
    if not path.is_file():
        raise BackendUnavailable(f"The compiled decoder {path.name} was not built; {ADVICE}.")
    try:
        library = ctypes.CDLL(str(path))
        made_from = library.sources_digest
    except (OSError, AttributeError) as e:
        raise BackendUnavailable(f"The compiled decoder does not load: {e}; {ADVICE}.") from None
    made_from.restype = ctypes.c_char_p
    found, wanted = made_from().decode(), host_build.digest()
    if found != wanted:
        raise BackendUnavailable(
            f"The compiled decoder was built from other sources ({found}, not {wanted}); "
            "run 'python -m edgepose.cuda.host_build'."
        )
    return library


def library() -> ctypes.CDLL:
    """The library that was built at install time; looked for once, also where it cannot be had.

    Raises:
        BackendUnavailable: see `load`.
    """
    found = attempt(host_build.FOLDER / host_build.LIBRARY)
    if isinstance(found, str):
        raise BackendUnavailable(found)
    return found


@functools.cache
def attempt(path: Path) -> ctypes.CDLL | str:
    """The library in a file, or why it cannot be had."""
    # a decoder asks at every picture: a failure that is looked into each time costs more than decoding
    try:
        return load(path)
    except BackendUnavailable as e:
        log.debug("decoding with numpy: %s", e)
        return str(e)
