"""Fetching one file over HTTP: mirrors in turn, retry, resume, and nothing believed unchecked.

A partial file lies beside the target as `<target>.part` with what the server said about it in
`<target>.part.json`, so that a broken transfer goes on where it ended, in this process or a later
one. Only the standard library is used; it honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY and verifies
certificates (SSL_CERT_FILE and SSL_CERT_DIR add authorities).
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import logging
import random
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepose.errors import DownloadError
from edgepose.files import file_digest, put_in_place
from edgepose.json_file import read_json
from edgepose.networks.connection import (
    Broken,
    Patience,
    Rejected,
    SafeRedirects,
    Watched,
    WatchedResponse,
    check_address,
    network_error,
    opener,
    shown,
)
from edgepose.networks.model_file import not_a_file
from edgepose.networks.progress import Progress, Silent
from edgepose.version import __version__

log = logging.getLogger(__name__)

CHUNK = 1 << 16
RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class TransferOptions:
    """How patient a transfer is.

    Attributes:
        timeout: seconds without a byte, and to connect.
        tries: attempts at one address that bring nothing new.
        backoff, backoff_max: seconds of the first and the longest wait between attempts; the
            waits double and each is drawn at random below its bound, or is the server's Retry-After
            up to the longest.
        slow_after, slow_rate: given up and tried again when fewer than `slow_rate` bytes a second
            came during `slow_after` seconds.
        max_bytes: the largest file accepted where no size is published.
        allow_http: accept http:// for hosts other than this machine.
    """

    timeout: float = 20.0
    tries: int = 4
    backoff: float = 1.0
    backoff_max: float = 30.0
    slow_after: float = 60.0
    slow_rate: float = 200.0
    max_bytes: int = 4 << 30
    allow_http: bool = False


@dataclass(frozen=True)
class Expected:
    """What is known about a file beforehand; 0 and "" = not published."""

    bytes: int = 0
    sha256: str = ""
    sha384: str = ""

    @property
    def hashed(self) -> bool:
        """True where a digest is published."""
        return bool(self.sha256 or self.sha384)


def mismatch(path: Path, expected: Expected) -> str:
    """How a file differs from what is expected, "" where it does not."""
    size = path.stat().st_size
    if expected.bytes and size != expected.bytes:
        return f"has {size} bytes, not the published {expected.bytes}"
    for algorithm in ("sha256", "sha384"):
        wanted = getattr(expected, algorithm)
        if wanted and (found := file_digest(path, algorithm)) != wanted:
            return f"has the {algorithm} {found[:16]}..., not the published {wanted[:16]}..."
    with path.open("rb") as f:
        kind = not_a_file(f.read(512))
    return f"is {kind}" if kind else ""


def fetch(
    urls: Sequence[str],
    target: Path,
    expected: Expected | None = None,
    *,
    label: str = "",
    check: Callable[[Path], str] | None = None,
    options: TransferOptions | None = None,
    progress: Progress | None = None,
) -> str:
    """Fetch a file from the first address that delivers it whole, and return that address.

    Args:
        urls: addresses of the same file, tried in turn.
        target: where it is put, in one step, once it is complete and verified.
        expected: published size and digests.
        label: how progress and messages call it.
        check: looks at the whole file before it is accepted and says what is wrong with it, or ""; a
            file that fails is given up and the next address tried.
        options: patience.
        progress: told about bytes.

    Raises:
        DownloadError: no address delivered it, or the disk did not take it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DownloadError(
            f"Cannot make the folder {target.parent}: {e.strerror or e}. "
            "Set EDGEPOSE_CACHE to a folder that you can write."
        ) from None
    transfer = _Transfer(
        target,
        expected or Expected(),
        label or target.name,
        check or (lambda path: ""),
        options or TransferOptions(),
        progress or Silent(),
    )
    reasons: list[str] = []
    for url in urls:
        if reasons:
            log.info("%s; trying %s", reasons[-1], shown(url))
        try:
            transfer.from_address(url)
        except Rejected as e:
            reasons.append(f"{shown(url)}: {e}")
            continue
        return url
    raise DownloadError(f"{transfer.label} could not be fetched: {'; '.join(reasons)}.")


class _Transfer:
    """The state of one file on its way."""

    def __init__(
        self,
        target: Path,
        expected: Expected,
        label: str,
        check: Callable[[Path], str],
        options: TransferOptions,
        progress: Progress,
    ) -> None:
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self.notes = target.with_name(target.name + ".part.json")
        self.expected = expected
        self.label = label
        self.check = check
        self.options = options
        self.progress = progress

    @cached_property
    def opener(self) -> urllib.request.OpenerDirector:
        """Opens addresses; see `connection.opener`."""
        o = self.options
        patience = Patience(o.timeout, o.slow_after, o.slow_rate)
        return opener(patience, SafeRedirects(o.allow_http))

    # one address ----------------------------------------------------------------------------
    def from_address(self, url: str) -> None:
        """Try one address until the file is there, or it is no good."""
        check_address(url, self.options.allow_http)
        failures, best, answered = 0, self._have(), False
        while True:
            try:
                answered = self._attempt(url)
                return
            except Broken as e:
                answered = answered or self._have() > best
                if self._have() >= best + (1 << 20):
                    failures = 0  # a flaky line that delivers may take as long as it needs
                best = max(best, self._have())
                failures += 1
                # an address that never answered is not worth as much patience
                if failures >= (self.options.tries if answered else min(2, self.options.tries)):
                    raise Rejected(f"{e}, {failures} attempts") from None
                wait = self._wait(failures, e.wait)
                log.info("%s: %s; trying again in %.2g s", shown(url), e, wait)
                time.sleep(wait)

    def _wait(self, failures: int, asked: float | None) -> float:
        if asked is not None:
            return min(asked, self.options.backoff_max)
        bound = min(self.options.backoff * 2 ** (failures - 1), self.options.backoff_max)
        return float(bound * (0.5 + 0.5 * random.random()))

    def _attempt(self, url: str) -> bool:
        start = self._resume_from(url)
        try:
            response = self._open(url, start)
        except (Rejected, Broken, DownloadError):
            raise
        except urllib.error.HTTPError as e:
            e.close()
            raise self._status(e, start) from None
        except urllib.error.URLError as e:
            raise network_error(e.reason, self.options.timeout) from None
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise network_error(e, self.options.timeout) from None
        with response:
            total = self._check_headers(response, start)
            if response.status != 206:
                start = 0
            self._note(url, response, total)
            self._receive(response, start, total)
        self._accept(resumed=start > 0)
        return True

    # resume ---------------------------------------------------------------------------------
    def _have(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    def _notes(self) -> dict[str, Any]:
        try:
            notes = read_json(self.notes)
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _resume_from(self, url: str) -> int:
        """How many bytes of the partial file can be kept for this address."""
        have, notes = self._have(), self._notes()
        too_long = self.expected.bytes and have > self.expected.bytes
        # without a published digest only the same server can say that it is the same file
        known = self.expected.hashed or (notes.get("url") == url and notes.get("validator"))
        return have if have and known and not too_long else 0

    def _note(self, url: str, response: WatchedResponse, total: int | None) -> None:
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        notes = {"url": url, "validator": validator, "total": total}
        if response.status != 206:
            self._disk(lambda: self.notes.write_text(json.dumps(notes), encoding="utf-8"))

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    # request and answer -----------------------------------------------------------------------
    def _open(self, url: str, start: int) -> Any:
        parts = urllib.parse.urlsplit(url)
        userinfo, _, host = parts.netloc.rpartition("@")
        request = urllib.request.Request(urllib.parse.urlunsplit(parts._replace(netloc=host)))
        request.add_header("User-Agent", f"edgepose/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        if userinfo:
            token = base64.b64encode(urllib.parse.unquote(userinfo).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        if start:
            request.add_header("Range", f"bytes={start}-")
            notes = self._notes()
            if notes.get("url") == url and notes.get("validator"):
                request.add_header("If-Range", str(notes["validator"]))
        return self.opener.open(request, timeout=self.options.timeout)

    def _status(self, error: urllib.error.HTTPError, start: int) -> Exception:
        if error.code == 416 and start:
            self._forget()
            return Broken("refused to go on where the last attempt ended", wait=0)
        reason = f"HTTP {error.code} {error.reason}".strip()
        if error.code in RETRY_STATUS:
            return Broken(reason, _retry_after(error.headers.get("Retry-After", "")))
        return Rejected(reason)

    def _check_headers(self, response: WatchedResponse, start: int) -> int | None:
        """The size of the whole file as the server tells it, None where it does not."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Rejected("sends the file in another encoding")
        if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise Rejected("answers with a web page instead of the file (a login page?)")
        length = _whole_number(response.headers.get("Content-Length"))
        if response.status == 206:
            first, total = _content_range(response.headers.get("Content-Range", ""))
            known = self._notes().get("total")
            if first != start or (total and known and total != known):
                self._forget()
                raise Broken("answers with another part than was asked for", wait=0)
            length = total
        elif response.status != 200:
            raise Rejected(f"HTTP {response.status}")
        if length is not None:
            self._check_size(length)
        return length

    def _check_size(self, size: int) -> None:
        if self.expected.bytes and size != self.expected.bytes:
            raise Rejected(f"offers {size} bytes, and {self.expected.bytes} are published")
        if size > self.options.max_bytes:
            raise Rejected(f"offers {size} bytes, more than {self.options.max_bytes}")
        free = shutil.disk_usage(self.part.parent).free
        if size - self._have() > free:
            raise DownloadError(
                f"{self.label} has {size} bytes and {self.part.parent} only {free} free; "
                "make room or set EDGEPOSE_HOME and EDGEPOSE_CACHE to another disk."
            )

    # the body ---------------------------------------------------------------------------------
    def _receive(self, response: WatchedResponse, start: int, total: int | None) -> None:
        limit = total or self.expected.bytes or self.options.max_bytes
        self.progress.begin(self.label, total or self.expected.bytes or None, start)
        try:
            # without a buffer: closing after a full disk has nothing left to fail with
            with self._disk(lambda: self.part.open("r+b" if start else "wb", 0)) as file:
                file.seek(start)
                end = self._copy(response, file, start, limit)
        finally:
            self.progress.end()
        if total is not None and end < total:
            raise Broken(f"ended after {end} of {total} bytes")
        if self.expected.bytes and end < self.expected.bytes:
            raise Broken(f"ended after {end} of {self.expected.bytes} bytes")

    def _copy(self, response: WatchedResponse, file: io.RawIOBase, at: int, limit: int) -> int:
        watched: Watched = response.watched
        watched.file_begins()
        while True:
            try:
                block = response.read1(CHUNK)
            except (Broken, Rejected):
                raise
            except (OSError, http.client.HTTPException, ValueError) as e:
                raise network_error(e, self.options.timeout) from None
            if not block:
                return at
            if at == 0 and (kind := not_a_file(block)):
                raise Rejected(f"answers with {kind} instead of the file")
            at += len(block)
            if at > limit:
                self._forget()
                raise Rejected(f"sends more than {limit} bytes")
            self._disk(lambda b=block: _write_all(file, b))  # type: ignore[misc]
            self.progress.advance(len(block))
            watched.delivered(len(block))

    def _accept(self, resumed: bool) -> None:
        wrong = self._disk(lambda: mismatch(self.part, self.expected)) or self.check(self.part)
        if not wrong:
            self._disk(lambda: put_in_place(self.part, self.target))
            self.notes.unlink(missing_ok=True)
            return
        self._forget()
        if resumed:  # two halves of different files: once more from the start
            raise Broken(f"the file put together from two transfers {wrong}", wait=0)
        raise Rejected(f"the file {wrong}")

    def _disk(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as e:
            raise DownloadError(
                f"{self.label}: cannot write {self.part}: {e.strerror or e}. "
                "What has arrived is kept; run the same command to go on."
            ) from None


def _write_all(file: io.RawIOBase, data: bytes) -> None:
    """Write all of it to a file without a buffer, which may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def _retry_after(value: str) -> float | None:
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _whole_number(value: str | None) -> int | None:
    """A length from a header; one of absurdly many digits is larger than every disk."""
    if not (value and value.isascii() and value.isdecimal()):
        return None
    return int(value) if len(value) < 20 else 1 << 64


def _content_range(value: str) -> tuple[int | None, int | None]:
    """First byte and total of `bytes 5-9/10`."""
    unit, _, rest = value.partition(" ")
    span, _, total = rest.partition("/")
    if unit != "bytes":
        return None, None
    return _whole_number(span.partition("-")[0]), _whole_number(total)
