"""HTTP with bounds on everything that a server can repeat or draw out, on the standard library.

`opener` gives what `urllib.request` gives; underneath, every byte passes `Watched`, which knows how long a
header may take, how much may come around the file's own bytes, and when a transfer only drips.
"""

from __future__ import annotations

import errno
import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgepose.errors import printable

HEADER_BYTES = 1 << 18  # status lines, headers and bodies of redirects until the file itself begins
FRAMING = 16  # bytes on the wire for one of the file: chunks of one byte need six


@dataclass(frozen=True)
class Patience:
    """How long a server may take.

    Attributes:
        timeout: seconds to connect, for the whole header, and without a byte.
        slow_after, slow_rate: given up when fewer than `slow_rate` bytes of the file a second came
            during `slow_after` seconds.
    """

    timeout: float
    slow_after: float = 60.0
    slow_rate: float = 0.0


class Rejected(Exception):
    """This address is no good; asking again does not help."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason))


class Broken(Exception):
    """It went wrong this time; asking again may help, after `wait` seconds where that is known."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(printable(reason))
        self.wait = wait


def shown(url: str) -> str:
    """An address as it may be printed: without user, password, query and fragment."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "an unreadable address"
    host = parts.netloc.rpartition("@")[2]
    return printable(urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", "")))


class Watched(io.RawIOBase):
    """The bytes of one answer as they come from the socket; gives up where a bound is passed."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, patience: Patience) -> None:
        self._raw, self._sock, self._patience = raw, sock, patience
        self._deadline: float | None = time.monotonic() + patience.timeout
        self._left = HEADER_BYTES
        self._begun = False
        self._since, self._bytes = 0.0, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there; waits no longer than the bounds allow.

        Raises:
            Broken, Rejected: a bound is passed. TimeoutError: silence.
        """
        wait = self._patience.timeout
        if self._deadline is None:
            self._check_rate()
        else:
            wait = self._deadline - time.monotonic()
        if wait <= 0:
            raise self._late()
        self._sock.settimeout(wait)
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            if self._deadline is not None and self._begun:
                raise self._late() from None
            raise
        self._begun = True
        self._left -= count or 0
        if self._left < 0:
            raise Rejected("sends more around the file than a file needs")
        return count

    def _late(self) -> Broken:
        return Broken(f"its header was not complete within {self._patience.timeout:g} s")

    def file_begins(self) -> None:
        """The header is over, and it was for the file."""
        self._deadline = None
        self._since = time.monotonic()

    def delivered(self, count: int) -> None:
        """So many bytes of the file itself have arrived."""
        self._left = max(self._left, HEADER_BYTES) + FRAMING * count
        self._bytes += count
        self._check_rate()

    def _check_rate(self) -> None:
        elapsed = time.monotonic() - self._since
        if elapsed < self._patience.slow_after:
            return
        if self._bytes < elapsed * self._patience.slow_rate:
            raise Broken(f"only {self._bytes} bytes in {elapsed:.0f} s")
        self._since, self._bytes = time.monotonic(), 0

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class WatchedResponse(http.client.HTTPResponse):
    """An answer that is read through `Watched`.

    Attributes:
        watched: the bounds.
    """

    def __init__(self, patience: Patience, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.watched = Watched(self.fp.detach(), sock, patience)
        self.fp = io.BufferedReader(self.watched)


def opener(
    patience: Patience,
    redirects: urllib.request.HTTPRedirectHandler,
    context: ssl.SSLContext | None = None,
) -> urllib.request.OpenerDirector:
    """Opens addresses through the proxies of the environment, certificates verified.

    Args:
        redirects: what becomes of them. context: of TLS, None = the system's authorities.
    """
    context = context or ssl.create_default_context()
    answer = partial(WatchedResponse, patience)

    def connect(kind: Callable[..., http.client.HTTPConnection], host: str, **more: Any) -> Any:
        connection: Any = kind(host, **more)
        connection.response_class = answer
        return connection

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(partial(connect, http.client.HTTPConnection), req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            kind = partial(http.client.HTTPSConnection, context=context)
            return self.do_open(partial(connect, kind), req)

    return urllib.request.build_opener(redirects, Http(), Https(context=context))


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never from https to http and never to another kind of address."""

    def __init__(self, allow_http: bool) -> None:
        self.allow_http = allow_http

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any
    ) -> Any:
        secure = req.full_url.startswith("https://")
        if secure and not newurl.startswith("https://"):
            raise Rejected(f"redirects from https to {shown(newurl)}")
        check_address(newurl, self.allow_http)
        code = 307 if code == 308 else code  # Python 3.10 does not know 308
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is delivered goes where the user said, nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def check_address(url: str, allow_http: bool) -> None:
    """Accept https, and http where allowed or to this machine.

    Raises:
        Rejected: anything else.
    """
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as e:
        raise Rejected(f"is not an address ({e})") from None
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and (allow_http or _is_loopback(parts.hostname or "")):
        return
    raise Rejected("is not an https address")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network_error(reason: Any, timeout: float) -> Exception:
    """What a failed connection means, and whether asking again may help."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return Rejected(
            f"its certificate cannot be verified ({reason.verify_message}); "
            "SSL_CERT_FILE names further authorities"
        )
    if isinstance(reason, socket.gaierror):
        return Rejected("its name cannot be resolved (no network?)")
    if isinstance(reason, TimeoutError):
        return Broken(f"no answer for {timeout:g} s")
    if isinstance(reason, OSError) and reason.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return Rejected("cannot be reached (no network?)")
    if isinstance(reason, http.client.InvalidURL):
        return Rejected(f"is not an address ({reason})")
    if isinstance(reason, http.client.IncompleteRead):
        return Broken("the connection broke")
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return Broken(str(text))
