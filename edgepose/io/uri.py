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
_LOCAL = ("file", "v4l2", "csi", "display")
_REMOTE = ("rtsp", "rtsps", "http", "https", "rtmp", "srt", "tcp")
_DEVICE = re.compile(r"/dev/(video\d+|v4l/.+)")
HIDDEN = "***"
# compiled where they are needed, which most runs never do
# words of queries whose values are no secrets, and the values that they may have; what is not known to
# be harmless is hidden
_HARMLESS = (
    r"(?i)(size|rate|frames|people|clock|pt|pkt_size|channel|subtype|stream|streamtype|profile|"
    r"resolution|width|height|fps|codec|camera|ch|id|mode|latency|transport|qos|queue|retain|wait|"
    r"video|audio|quality|picture|listen|timeout|ttl|reuse|fifo_size|overrun_nonfatal)"
    r"(=([0-9]{1,9}([x:.][0-9]{1,9})?|[a-z0-9]{0,10}))?|(spool|ca|image)=[\w./-]{0,200}"
)
_SECRET_WORD = (
    r"(?i)[a-z0-9_-]{0,16}(pass|pwd|psw|passwd|password|passphrase|token|secret|sig|signature|key|auth|user|"
    r"usr|name|account|loginuse|loginpas|pw|sid|session|code|credentials?|jwt|streamid)"
)
_ADDRESS_WORDS = "rtsps?|https?|rtp|rtmps?|srt|mqtts?|udp|tcp|webrtc|hls|mjpeg"
_MISSPELT = rf"(?i)\s*({_ADDRESS_WORDS})\s*(:|//|:\\\\)"


# host or [IPv6 address] or an IPv6 address without brackets, then the port
_ZONE = re.compile(
    r"(//(?:[^/?#]*@)?\[[0-9a-fA-F:.]+)%25"
)  # of an IPv6 address, as RFC 6874 writes it
_AUTHORITY = re.compile(
    r"([^:\[\]]*|\[[^\[\]]*\]|[0-9a-fA-F]*(?::[0-9a-fA-F.]*){2,}?)(?::([0-9]{0,5}))?"
)


def hide(text: str) -> str:
    """A text for people and logs: where it is an address, without its credentials.

    Hidden is everything between the scheme and the last @ (and what follows, where the @ may belong to a
    path), every value of a query that is not known to be
    harmless, fragments, and what cameras take in their paths (`user=admin_password=...`, `/admin/...`).
    A text that is no address comes back as it is.
    """
    match = _SCHEME.fullmatch(text.lstrip())
    if match and match[1].lower() not in _LOCAL:
        return _hidden(match[1].lower(), match[2])
    before, at, after = text.rpartition("@")
    if at and (":" in before or re.match(_MISSPELT, text)):
        return f"{HIDDEN}@{_hidden('', after).removeprefix('://')}"
    if misspelt := re.match(rf"{_MISSPELT}[/\\]*", text):
        rest = _hidden("", text[misspelt.end() :]).removeprefix("://")
        return misspelt[0] + rest
    return text


def _hidden(scheme: str, rest: str) -> str:
    userinfo, at, rest = _split_userinfo(rest)
    if "@" in rest or "=" in userinfo:
        return f"{scheme}://{HIDDEN}"  # it has two readings, and either may hold the password
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path, hash_, _ = rest[len(authority) :].partition("#")
    path, mark, query = path.partition("?")
    if not _AUTHORITY.fullmatch(authority):
        host = authority.partition(":")[0]
        authority = f"{host}:{HIDDEN}"  # a user and password whose host is missing
    words = mark + "".join(_hidden_word(w) for w in re.split(r"([&;?])", query))
    lead = "@" if at and not userinfo else ""
    return (
        f"{scheme}://{lead}{authority}{_hidden_path(scheme, path)}{words}{hash_ and '#' + HIDDEN}"
    )


def _hidden_word(word: str) -> str:
    if not word or word in "&;?" or re.fullmatch(_HARMLESS, word):
        return word
    key, equals, _ = word.partition("=")
    return f"{key}={HIDDEN}" if equals and re.fullmatch(_SECRET_WORD, key) else HIDDEN


def _hidden_path(scheme: str, path: str) -> str:
    """The path without what cameras take in it; behind a secret nothing is shown, it may hold a slash."""
    shown: list[str] = []
    for segment in path.split("/"):
        secret = "=" in segment and not re.fullmatch(_HARMLESS, segment)
        after_user = {"admin", "root", "user"} & {s.lower() for s in shown}
        key = scheme.startswith("rtmp") and any(shown)
        if segment and (secret or after_user or key or ":" in segment):
            return "/".join([*shown, HIDDEN])
        shown.append(segment)
    return "/".join(shown)


@dataclass(frozen=True)
class Uri:
    """A parsed input or output name.

    Attributes:
        text: what the user gave, credentials and all; for opening only.
        scheme: lower case: file, v4l2, csi, rtsp, http, ...; `stdin` for `-`.
        host: without brackets; "" where absent. port: 0 where absent; free: `:0` asks for any.
        path: file and device: the path; else what follows host and port, with its slash, not decoded.
        query: decoded key-value pairs, the last of equal keys.
        user, password: percent-decoded, "" where absent.
        display: the text without credentials, for people, logs, JSON.
    """

    text: str = field(repr=False)
    scheme: str
    host: str = field(default="", repr=False)
    port: int = 0
    path: str = field(default="", repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    display: str = ""
    free: bool = False

    def port_or(self, default: int) -> int:
        """Where to listen: the port that is stated, 0 for any free one, else `default`."""
        return self.port if self.free else self.port or default

    @property
    def name(self) -> str:
        """A short name for `{name}` and titles: stem of the path, else host, else scheme."""
        path = hide(self.path)
        if self.scheme not in (*_LOCAL, "stdin"):
            shown = self.display.partition("://")[2].partition("?")[0].partition("#")[0]
            path = shown.partition("/")[2].removesuffix(HIDDEN)
        stem = PurePosixPath(path.rstrip("/")).stem
        host = "" if self.display.endswith(f"://{HIDDEN}") else self.host
        return stem or host or self.scheme

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
    match = _SCHEME.fullmatch(text.strip())
    if not match:
        if word := re.match(_MISSPELT, text):
            raise UsageError(f"{hide(text)} is no address; one begins with {word[1].lower()}://")
        return Uri(text, "file", path=text, display=hide(text))
    scheme = match[1].lower()
    if scheme in _LOCAL:
        text = text.lstrip()
        return Uri(text, scheme, path=_local_path(scheme, text.partition("://")[2]), display=text)
    text = _ZONE.sub(r"\1%", text.strip())
    return _network(text, scheme, text.partition("://")[2])


def _local_path(scheme: str, rest: str) -> str:
    if not rest and scheme == "file":
        raise UsageError("file:// names no file; write file:///absolute/path or just the path.")
    return rest.removeprefix("localhost") if rest.startswith("localhost/") else rest


def _network(text: str, scheme: str, rest: str) -> Uri:
    display = _hidden(scheme, rest)
    userinfo, _, rest = _split_userinfo(rest)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host, port = _host_port(authority, display)
    number = int(port or 0)
    if not (authority or userinfo) and scheme in _REMOTE:
        raise UsageError(f"{display} names no host; an address is {scheme}://HOST/...")
    path, _, query = rest[len(authority) :].partition("#")[0].partition("?")
    user, _, password = userinfo.partition(":")
    return Uri(
        text,
        scheme,
        host,
        number,
        path,
        tuple(parse_qsl(query, keep_blank_values=True)),
        unquote(user),
        unquote(password),
        display,
        bool(port) and not number,
    )


def _split_userinfo(rest: str) -> tuple[str, str, str]:
    """(userinfo, "@" or "", the rest). Cameras' passwords hold `/`, `?`, `#` and `@` unescaped."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    userinfo, at, host = authority.rpartition("@")
    port = (host.rpartition("]")[2] if host.startswith("[") else host).partition(":")[2]
    odd = (
        (not host and userinfo)
        or (port and not port.isdecimal())
        or (host + userinfo).endswith(":")
    )
    if odd and "@" in rest[len(authority) :]:
        return rest.rpartition("@")
    return userinfo, at, rest[len(userinfo) + len(at) :]


def _host_port(authority: str, display: str) -> tuple[str, str]:
    match = _AUTHORITY.fullmatch(authority)
    if not match or int(match[2] or 0) > 65535:
        raise UsageError(
            f"{display}: behind the host stands no port, a number from 0 to 65535. Credentials are given "
            "as scheme://user:password@host."
        )
    return match[1].strip("[]"), match[2] or ""
