"""The ground floor of PyAV: how everything that is read is opened, and addresses as FFmpeg takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import av

from edgepose.io.uri import Uri

# FFmpeg demuxers that draw text as if it were a film
NOT_PICTURES = frozenset(("tty", "bin", "xbin", "adf", "idf"))


def network_url(uri: Uri) -> str:
    """The address for FFmpeg with user and password percent-encoded (FFmpeg decodes them)."""
    if not (uri.user or uri.password):
        return uri.text.replace("://@", "://", 1)
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    rest = uri.text.partition("://")[2]
    tail = next((t for t in _behind_at(rest) if t.startswith(host)), host)
    secret = f":{quote(uri.password, safe='')}" if uri.password else ""
    return f"{uri.scheme}://{quote(uri.user, safe='')}{secret}@{tail}"


def _behind_at(text: str) -> Iterator[str]:
    """What follows each @."""
    for i, letter in enumerate(text):
        if letter == "@":
            yield text[i + 1 :]


def open_container(what: Any, **options: Any) -> Any:
    """Open something for reading: a path, an address or a binary file object.

    Titles and comments need not be UTF-8: what is not is replaced. `file_name` says how a path is given.

    Args:
        what: as `av.open` takes it. options: its other arguments.

    Raises:
        av.FFmpegError, OSError, ValueError: it cannot be opened.
    """
    try:
        return av.open(what, metadata_errors="replace", **options)
    except TypeError:  # PyAV 19 has no such option and needs none
        return av.open(what, **options)


def file_name(path: str) -> str:
    """A path as FFmpeg takes it: "file:" keeps a name with a colon from being taken for a protocol."""
    return f"file:{path}"
