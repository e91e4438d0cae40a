"""What a user names an input or output by: paths, URIs, device nodes, `-`.

Nothing here opens anything. Credentials never leave `Uri.user` and `Uri.password`: every text for
people or logs is `Uri.display`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, unquote

from edgepose.errors import UsageError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_DEVICE = re.compile(r"/dev/(video\d+|v4l/.+)")
_SECRET = re.compile(
    r"(?i)([?&;](?:[a-z_-]*(?:password|passwd|pwd|token|secret|signature|api_?key|auth)|key|sig)=)"
    r"[^&;#]*"
)


@dataclass(frozen=True)
class Uri:
    """A parsed input or output name.

    Attributes:
        text: what the user gave, credentials and all; for opening only.
        scheme: lower case: file, v4l2, csi, rtsp, http, ...; `stdin` for `-`.
        host: without brackets; "" where absent. port: 0 where absent.
        path: file and device: the path; else what follows host and port, with its slash, not decoded.
        query: decoded key-value pairs, the last of equal keys.
        user, password: percent-decoded, "" where absent.
        display: the text without credentials, for people, logs, JSON.
    """

    text: str = field(repr=False)
    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    display: str = ""

    @property
    def name(self) -> str:
        """A short name for `{name}` and titles: stem of the path, else host, else scheme."""
        stem = PurePosixPath(self.path.rstrip("/")).stem
        return stem or self.host or self.scheme

    def get(self, key: str, default: str = "") -> str:
        """Value of a query key."""
        return dict(self.query).get(key, default)


def parse(text: str) -> Uri:
    """Parse an input or output name.

    `-` is stdin (stdout for outputs), a bare number a CSI camera, `/dev/video0` and `/dev/v4l/...`
    V4L2 devices, `display` a window; everything without `scheme://` is a file.

    Raises:
        UsageError: empty, with a NUL character, or with a port that is no number 0..65535.
    """
    if not text or "\0" in text:
        raise UsageError("An input or output name is empty or holds a NUL character.")
    if text == "-":
        return Uri(text, "stdin", display=text)
    if text.isascii() and text.isdigit():
        return Uri(text, "csi", path=text, display=f"csi://{text}")
    if text == "display":
        return Uri(text, "display", path="0", display=text)
    if _DEVICE.fullmatch(text):
        return Uri(text, "v4l2", path=text, display=text)
    match = _SCHEME.fullmatch(text)
    if not match:
        return Uri(text, "file", path=text, display=text)
    scheme, rest = match[1].lower(), match[2]
    if scheme in ("file", "v4l2", "csi", "display"):
        return Uri(text, scheme, path=_local_path(scheme, rest), display=text)
    return _network(text, scheme, rest)


def _local_path(scheme: str, rest: str) -> str:
    if not rest and scheme == "file":
        raise UsageError("file:// names no file; write file:///absolute/path or just the path.")
    return rest.removeprefix("localhost") if rest.startswith("localhost/") else rest


def _network(text: str, scheme: str, rest: str) -> Uri:
    userinfo, at, rest = _split_userinfo(rest)
    shown = f"{'@' if at and not userinfo else ''}{rest}"
    if userinfo and "@" in rest:
        shown = f"***@{rest.rpartition('@')[2]}"  # all before may be part of a password
    display = _SECRET.sub(r"\1***", f"{scheme}://{shown}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _host_port(authority, display)
    path, _, query = rest[len(authority) :].partition("#")[0].partition("?")
    user, _, password = userinfo.partition(":")
    return Uri(
        text,
        scheme,
        host,
        port,
        path,
        tuple(parse_qsl(query, keep_blank_values=True)),
        unquote(user),
        unquote(password),
        display,
    )


def _split_userinfo(rest: str) -> tuple[str, str, str]:
    """(userinfo, "@" or "", the rest). Cameras' passwords hold `/`, `?`, `#` and `@` unescaped."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, host = authority.rpartition("@")
    port = (host.rpartition("]")[2] if host.startswith("[") else host).partition(":")[2]
    odd = (not host and userinfo) or (port and not port.isdecimal())
    if odd and "@" in rest[len(authority) :]:
        return rest.rpartition("@")
    return userinfo, at, rest[len(userinfo) + len(at) :]


def _host_port(authority: str, display: str) -> tuple[str, int]:
    host, _, port = authority.rpartition(":")
    if ":" not in authority or authority.endswith("]"):
        host, port = authority, ""
    if port and not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        raise UsageError(f"{display}: {port!r} is not a port; a port is a number from 0 to 65535.")
    return host.strip("[]"), int(port or 0)
