"""Transfers against a real server on loopback that stalls, lies, redirects, resets and disappears."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import DownloadError
from edgepose.networks.connection import shown
from edgepose.networks.transfer import Expected, TransferOptions, fetch
from tests.certificates import certify
from tests.networks.web import (
    Behaviour,
    Handler,
    Web,
    chunked,
    drip,
    file,
    nonsense,
    other_range,
    redirect,
    status,
)

DATA = bytes(range(256)) * 400  # 102,400 bytes, no text
SHA = hashlib.sha256(DATA).hexdigest()
KNOWN = Expected(len(DATA), SHA)


class Ear:
    """Remembers what a `Progress` is told."""

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, int]] = []
        self.bytes = 0
        self.ends = 0

    def begin(self, label: str, total: int | None, done: int = 0) -> None:
        self.starts.append((total, done))

    def advance(self, count: int) -> None:
        self.bytes += count

    def end(self) -> None:
        self.ends += 1


def quick(**changes: object) -> TransferOptions:
    """Short time-outs; waits are not slept."""
    settings: dict[str, object] = {"timeout": 0.4, "backoff_max": 0.0}
    return TransferOptions(**{**settings, **changes})  # type: ignore[arg-type]


def get(urls: str | list[str], folder: Path, expected: Expected | None = None, **options: object):
    ear = Ear()
    target = folder / "net.onnx"
    urls = [urls] if isinstance(urls, str) else urls
    url = fetch(urls, target, expected, options=quick(**options), progress=ear)
    assert target.read_bytes() == DATA
    assert [p.name for p in folder.iterdir()] == ["net.onnx"], "a leftover beside the file"
    assert len(ear.starts) == ear.ends
    return url, ear


def fails(urls: str | list[str], folder: Path, expected: Expected | None = None, **options: object):
    with pytest.raises(DownloadError) as e:
        fetch(
            [urls] if isinstance(urls, str) else urls,
            folder / "net.onnx",
            expected,
            options=quick(**options),
        )
    assert not (folder / "net.onnx").exists()
    assert str(e.value).count("\n") <= 1
    return str(e.value)


# what goes well ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "expected", [None, KNOWN, Expected(sha384=hashlib.sha384(DATA).hexdigest())]
)
def test_a_good_server(web: Web, tmp_path: Path, expected: Expected | None) -> None:
    url, ear = get(web.on("/a", file(DATA)), tmp_path, expected)
    assert url == web.url("/a")
    assert ear.starts == [(len(DATA), 0)]
    assert ear.bytes == len(DATA)
    agent = web.requests[0][1]
    assert agent["User-Agent"].startswith("edgepose/")
    assert agent["Accept-Encoding"] == "identity"


def test_without_a_length(web: Web, tmp_path: Path) -> None:
    _, ear = get(web.on("/a", chunked(DATA)), tmp_path)
    assert ear.starts == [(None, 0)]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: Web, tmp_path: Path, code: int) -> None:
    web.on("/real", file(DATA))
    get(web.on("/a", redirect("/real", code)), tmp_path, KNOWN)


def test_an_empty_folder_of_any_depth_is_made(web: Web, tmp_path: Path) -> None:
    target = tmp_path / "x" / "y" / "net.onnx"
    fetch([web.on("/a", file(DATA))], target, options=quick())
    assert target.read_bytes() == DATA


# resume -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("then", ["end", "reset", "stall"])
def test_goes_on_where_it_broke(web: Web, tmp_path: Path, then: str, heard: list[str]) -> None:
    url = web.on("/a", file(DATA, stop=40_000, then=then), file(DATA))
    _, ear = get(url, tmp_path)
    asked = web.ranges()
    assert asked[0] is None
    assert asked[1] is not None
    assert asked[1].startswith("bytes=")
    kept = int(asked[1][6:-1])
    assert 0 < kept <= 40_000
    assert web.requests[1][1]["If-Range"] == web.requests[1][1]["If-Range"].strip()
    assert ear.starts[1] == (len(DATA), kept)
    assert heard, "the user hears why it is tried again"


def test_dies_half_way_again_and_again(web: Web, tmp_path: Path) -> None:
    stops = [file(DATA, stop=n, then="end") for n in (20_000, 40_000, 60_000, 80_000)]
    get(web.on("/a", *stops, file(DATA)), tmp_path, tries=6)
    assert [r for r in web.ranges() if r] == [
        f"bytes={n}-" for n in (20_000, 40_000, 60_000, 80_000)
    ]


def test_goes_on_in_another_process(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, stop=50_000, then="end"))
    fails(url, tmp_path, tries=1)
    assert (tmp_path / "net.onnx.part").stat().st_size == 50_000
    web.on("/a", file(DATA))
    get(url, tmp_path)
    assert web.ranges()[-1] == "bytes=50000-"


def test_a_file_that_changed_meanwhile_starts_again(web: Web, tmp_path: Path) -> None:
    other = bytes(reversed(DATA))
    url = web.on("/a", file(other, stop=50_000, then="end"), file(DATA))
    _, ear = get(url, tmp_path)
    assert web.ranges()[1] == "bytes=50000-"  # asked for, and refused by If-Range
    assert ear.starts[1] == (len(DATA), 0)


def test_a_changed_file_behind_a_server_that_ignores_conditions(web: Web, tmp_path: Path) -> None:
    """Two halves of different files must never pass where a digest is published."""
    other = bytes(len(DATA))
    url = web.on("/a", file(other, stop=50_000, then="end", tag=""), file(DATA, tag=""))
    get(url, tmp_path, KNOWN)
    assert web.ranges() == [None, "bytes=50000-", None]


def test_without_validator_and_digest_it_starts_again(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, stop=50_000, then="end", tag=""), file(DATA, tag=""))
    get(url, tmp_path)
    assert web.ranges() == [None, None]


def test_weak_etags_are_no_validators(web: Web, tmp_path: Path) -> None:
    weak = 'W/"1"'
    url = web.on("/a", file(DATA, stop=50_000, then="end", tag=weak), file(DATA, tag=weak))
    get(url, tmp_path)
    assert web.ranges() == [None, None]


def test_last_modified_is_a_validator(web: Web, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    first = file(DATA, stop=50_000, then="end", tag="", modified=date)
    url = web.on("/a", first, file(DATA, tag=date))
    get(url, tmp_path)
    assert web.requests[1][1]["If-Range"] == date


def test_a_server_that_ignores_ranges(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, stop=50_000, then="end", resume=False), file(DATA, resume=False))
    _, ear = get(url, tmp_path, KNOWN)
    assert ear.starts == [(len(DATA), 0), (len(DATA), 0)]


def test_a_server_that_answers_another_range(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, stop=50_000, then="end"), other_range(DATA))
    get(url, tmp_path, KNOWN)


def test_a_partial_file_longer_than_the_file(web: Web, tmp_path: Path) -> None:
    (tmp_path / "net.onnx.part").write_bytes(DATA + b"more")
    get(web.on("/a", file(DATA)), tmp_path, KNOWN)
    (tmp_path / "net.onnx").unlink()
    (tmp_path / "net.onnx.part").write_bytes(DATA + b"more")
    get(web.url("/a"), tmp_path, Expected(sha256=SHA))  # 416 from the server


def test_a_partial_file_that_is_complete_already(web: Web, tmp_path: Path) -> None:
    (tmp_path / "net.onnx.part").write_bytes(DATA)
    get(web.on("/a", file(DATA)), tmp_path, KNOWN)


@pytest.mark.parametrize("junk", ["", "{", "[]", '{"url": 3, "validator": [], "total": "x"}'])
def test_damaged_notes_beside_a_partial_file(web: Web, tmp_path: Path, junk: str) -> None:
    (tmp_path / "net.onnx.part").write_bytes(b"rubbish")
    (tmp_path / "net.onnx.part.json").write_text(junk)
    get(web.on("/a", file(DATA)), tmp_path)


def test_mirrors_share_a_partial_file_only_with_a_digest(web: Web, tmp_path: Path) -> None:
    first = web.on("/a", file(DATA, stop=30_000, then="end"))
    second = web.on("/b", file(DATA))
    get([first, second], tmp_path, KNOWN, tries=1)
    assert web.ranges() == [None, "bytes=30000-"]
    (tmp_path / "net.onnx").unlink()
    get([first, second], tmp_path, tries=1)
    assert web.ranges()[2:] == [None, None]


# retry ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again(web: Web, tmp_path: Path, code: int) -> None:
    get(web.on("/a", status(code), file(DATA)), tmp_path)


def test_waits_double_with_jitter_and_obey_retry_after(
    web: Web, tmp_path: Path, heard: list[str]
) -> None:
    answers = [status(503), status(503, Retry_After=0), status(503, Retry_After=999)]
    url = web.on("/a", file(DATA, stop=9), *answers, file(DATA))
    get(url, tmp_path, tries=9, backoff=0.02, backoff_max=0.06)
    waits = [float(text.rpartition("in ")[2][:-2]) for text in heard]
    assert 0.01 <= waits[0] <= 0.02
    assert 0.02 <= waits[1] <= 0.04
    assert waits[2:] == [0.0, 0.06]


def test_gives_up_after_some_attempts(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, stop=10), status(503))
    text = fails(url, tmp_path, tries=3)
    assert len(web.requests) == 3
    assert "HTTP 503" in text
    assert "3 attempts" in text


def test_an_address_that_never_answers_gets_two_attempts(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", status(503))
    fails(url, tmp_path, tries=9)
    assert len(web.requests) == 2


def test_progress_earns_more_attempts(web: Web, tmp_path: Path) -> None:
    """A line that breaks every two megabytes still brings the file."""
    big = os.urandom(1 << 20) * 9
    stops = [file(big, stop=(2 << 20) * n, then="end") for n in (1, 2, 3, 4)]
    target = tmp_path / "big"
    fetch([web.on("/a", *stops, file(big))], target, options=quick(tries=2))
    assert target.read_bytes() == big


# what is no good ----------------------------------------------------------------------------------
@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204])
def test_refusals_go_to_the_next_mirror_at_once(
    web: Web, tmp_path: Path, code: int, heard: list[str]
) -> None:
    url, _ = get([web.on("/a", status(code)), web.on("/b", file(DATA))], tmp_path)
    assert url == web.url("/b")
    assert [path for path, _ in web.requests] == ["/a", "/b"]
    assert f"HTTP {code}" in heard[0]


PAGE = b"\r\n <!DOCTYPE HTML><html><body>Please log in</body></html>" + bytes(2000)


@pytest.mark.parametrize(
    "behaviour",
    [
        file(PAGE, kind="text/html; charset=utf-8"),
        file(PAGE),
        file(b"<HTML>" + bytes(100), kind="application/gzip"),
        file(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
        file(b"", kind="text/html"),
    ],
)
def test_a_page_instead_of_the_file(web: Web, tmp_path: Path, behaviour: object) -> None:
    text = fails(web.on("/a", behaviour), tmp_path)  # type: ignore[arg-type]
    assert "web page" in text or "Git LFS pointer" in text
    assert len(web.requests) == 1
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "net.onnx").exists()


def test_a_length_that_promises_too_much(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, length=len(DATA) + 1000, resume=False))
    text = fails(url, tmp_path, tries=3)
    assert f"ended after {len(DATA)} of {len(DATA) + 1000} bytes" in text
    assert len(web.requests) == 3


def test_a_length_that_promises_too_little(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA, length=1000))
    assert "offers 1000 bytes, and 102400 are published" in fails(url, tmp_path, KNOWN)
    text = fails(url, tmp_path, Expected(sha256=SHA))
    assert "sha256" in text


def test_a_truncated_file_without_length(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", file(DATA[:5000], length=-1, resume=False)), tmp_path, KNOWN, tries=2)
    assert "ended after 5000 of 102400 bytes" in text
    text = fails(web.on("/b", chunked(DATA, broken=True)), tmp_path, tries=2)
    assert "could not be fetched" in text


def test_more_bytes_than_published(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", chunked(DATA + b"x")), tmp_path, KNOWN)
    assert "more than 102400 bytes" in text
    assert list(tmp_path.iterdir()) == []


def test_endless_files_are_refused(web: Web, tmp_path: Path) -> None:
    assert "more than 4096" in fails(web.on("/a", file(DATA)), tmp_path, max_bytes=4096)
    assert "more than 4096" in fails(web.on("/b", chunked(DATA)), tmp_path, max_bytes=4096)


def test_a_file_too_large_for_the_disk(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", file(b"", length=1 << 60)), tmp_path, max_bytes=1 << 61)
    assert "free" in text


def test_another_file_than_published(web: Web, tmp_path: Path) -> None:
    wrong = web.on("/a", file(bytes(len(DATA))))
    text = fails(wrong, tmp_path, KNOWN)
    assert SHA[:16] in text
    assert list(tmp_path.iterdir()) == []
    assert get([wrong, web.on("/b", file(DATA))], tmp_path, KNOWN)[0] == web.url("/b")


def test_a_compressed_answer(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", status(200, Content_Encoding="gzip")), tmp_path)
    assert "encoding" in text


def test_a_redirect_that_never_ends(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", redirect("/a")), tmp_path)
    assert "HTTP 302" in text
    assert len(web.requests) < 15


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://192.0.2.1/x"])
def test_redirects_to_other_kinds_of_address(web: Web, tmp_path: Path, to: str) -> None:
    assert "could not be fetched" in fails(web.on("/a", redirect(to)), tmp_path)


def test_something_that_is_not_http(web: Web, tmp_path: Path) -> None:
    fails(web.on("/a", nonsense), tmp_path)


def test_a_stalled_and_a_dripping_server(web: Web, tmp_path: Path) -> None:
    text = fails(web.on("/a", file(DATA, stop=0, then="stall")), tmp_path, tries=1, timeout=0.2)
    assert "no answer for 0.2 s" in text
    slow = web.on("/b", drip(DATA, every=0.05))
    text = fails(slow, tmp_path, tries=1, slow_after=0.3, slow_rate=1000.0)
    assert "bytes in" in text


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    assert "refused" in fails(f"http://127.0.0.1:{port}/a", tmp_path).lower()


def test_a_server_that_accepts_and_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        text = fails(f"http://127.0.0.1:{s.getsockname()[1]}/a", tmp_path, timeout=0.2)
    assert "no answer for 0.2 s" in text


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.1/net.onnx",
        "http://localhost.example.com/x",
        "http://127.0.0.1.example.com/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https:///x",
        "",
        "nonsense",
    ],
)
def test_addresses_that_are_not_asked(url: str, tmp_path: Path) -> None:
    assert "not an https address" in fails(url, tmp_path)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999/x", "http://127.0.0.1:x/", "http://[::1/x"]
)
def test_malformed_addresses(url: str, tmp_path: Path) -> None:
    assert "could not be fetched" in fails(url, tmp_path)


def test_a_folder_that_cannot_be_written(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="Cannot make the folder"):
        fetch([web.on("/a", file(DATA))], tmp_path / "file" / "net", options=quick())
    (tmp_path / "net.onnx.part").mkdir()
    with pytest.raises(DownloadError, match="cannot write"):
        fetch([web.url("/a")], tmp_path / "net.onnx", options=quick())


def test_a_full_disk_keeps_what_arrived(web: Web, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, before[1]))
    try:
        text = fails(web.on("/a", file(DATA)), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert "cannot write" in text
    get(web.url("/a"), tmp_path)
    assert (web.ranges()[-1] or "").startswith("bytes=")


def test_a_check_that_refuses_goes_to_the_next_mirror(web: Web, tmp_path: Path) -> None:
    seen: list[int] = []

    def check(path: Path) -> str:
        seen.append(path.stat().st_size)
        return "" if path.read_bytes() == DATA else "is not mine"

    urls = [web.on("/a", file(b"no" * 20)), web.on("/b", file(DATA))]
    target = tmp_path / "net.onnx"
    assert fetch(urls, target, check=check, options=quick()) == urls[1]
    assert seen == [40, len(DATA)]


def test_interrupted_it_keeps_what_arrived(web: Web, tmp_path: Path) -> None:
    class Impatient(Ear):
        def advance(self, count: int) -> None:
            raise KeyboardInterrupt

    url = web.on("/a", file(DATA))
    with pytest.raises(KeyboardInterrupt):
        fetch([url], tmp_path / "net.onnx", options=quick(), progress=Impatient())
    assert (tmp_path / "net.onnx.part").stat().st_size > 0
    get(url, tmp_path)
    assert (web.ranges()[-1] or "").startswith("bytes=")


# secrets, proxies, certificates -------------------------------------------------------------------
def test_passwords_are_sent_but_not_shown(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA)).replace("http://", "http://me:se%20cret@")
    get(url, tmp_path)
    assert web.requests[0][1]["Authorization"] == "Basic bWU6c2UgY3JldA=="
    (tmp_path / "net.onnx").unlink()
    text = fails(web.on("/b", status(404)).replace("http://", "http://me:se%20cret@"), tmp_path)
    assert "cret" not in text
    assert shown("https://me:x@host:8443/a/b?token=1#f") == "https://host:8443/a/b"


def test_passwords_do_not_follow_redirects(web: Web, tmp_path: Path) -> None:
    web.on("/real", file(DATA))
    get(web.on("/a", redirect(web.url("/real"))).replace("http://", "http://me:x@"), tmp_path)
    assert "Authorization" not in web.requests[1][1]


def test_a_proxy_from_the_environment(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Web() as proxy:
        asked = web.url("/a")
        proxy.on(asked, file(DATA))  # a proxy sees the whole address
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.setenv("no_proxy", "")
        get(asked, tmp_path)
        assert [path for path, _ in proxy.requests] == [asked]
    assert web.requests == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key."""
    folder = tmp_path_factory.mktemp("tls")
    certify(folder, "c", ("127.0.0.1",))
    both = folder / "both.pem"
    both.write_bytes((folder / "c.key").read_bytes() + (folder / "c.crt").read_bytes())
    return both


def test_certificates_are_verified(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Web(tls=certificate) as web:
        url = web.on("/a", file(DATA))
        text = fails(url, tmp_path)
        assert "certificate cannot be verified" in text
        assert web.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "c.crt"))
        get(url, tmp_path)


def test_https_never_becomes_http(
    web: Web, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "c.crt"))
    plain = web.on("/a", file(DATA))
    with Web(tls=certificate) as secure:
        text = fails(secure.on("/a", redirect(plain)), tmp_path)
    assert "redirects from https" in text
    assert web.requests == []


def test_threads_do_not_disturb_each_other(web: Web, tmp_path: Path) -> None:
    url = web.on("/a", file(DATA))
    folders = [tmp_path / str(n) for n in range(4)]
    threads = [
        threading.Thread(target=fetch, args=([url], f / "net"), kwargs={"options": quick()})
        for f in folders
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert all((f / "net").read_bytes() == DATA for f in folders)


# servers that never end --------------------------------------------------------------------------
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + DATA
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def raw(start: bytes, again: bytes, end: bytes, pause: float = 0.02, times: int = 500) -> Behaviour:
    """Sends `start`, then `again` for about ten seconds, and only then what would be right."""

    def behave(handler: Handler) -> None:
        handler.wfile.write(start)
        for _ in range(times):
            handler.wfile.write(again)
            time.sleep(pause)
        handler.wfile.write(end)
        handler.close_connection = True

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(b"HTTP/1.1 200 ", b"x", b"\r\n" + WHOLE.partition(b"\r\n")[2]),
        raw(b"HTTP/1.1 200 OK\r\nX-a: ", b"x", b"\r\n" + WHOLE.partition(b"\r\n")[2]),
        raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE),
        raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, WHOLE, pause=0, times=3000),
        raw(b"HTTP/1.1 200 OK\r\n", b"X-%d: y\r\n" % 7, b"\r\n" + DATA, pause=0.01),
        raw(CHUNKED + b"5;", b"x", b"\r\nhello\r\n0\r\n\r\n"),
        raw(CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n", b"\r\n"),
        raw(CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 999, b"\r\n", pause=0, times=999),
        raw(b"HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n", b"x" * 999, b"", pause=0, times=9999),
    ],
    ids=[
        "status drips",
        "header drips",
        "100 Continue drips",
        "100 Continue floods",
        "many headers",
        "chunk extension drips",
        "trailers drip",
        "trailers flood",
        "a redirect with an endless page",
    ],
)
def test_what_never_ends_is_given_up(web: Web, tmp_path: Path, behaviour: Behaviour) -> None:
    url = web.on("/a", behaviour)
    web.on("/b", file(DATA))
    fails(url, tmp_path, tries=1, timeout=0.5, slow_after=0.5, slow_rate=1000.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"Content_Length": "9" * 5000},
        {"Content_Length": "\u0663"},
        {"Content_Range": "bytes 0-1/" + "9" * 5000},
        {"Retry_After": "9" * 5000},
        {"Retry_After": "1 Jan 99999999999999999999 00:00:00 GMT"},
        {"Retry_After": "Sun, 06 Nov 0001 08:49:37 -2359"},
    ],
)
@pytest.mark.parametrize("code", [200, 206, 503])
def test_numbers_without_end(web: Web, tmp_path: Path, answer: dict[str, str], code: int) -> None:
    lines = [f"{k.replace('_', '-')}: {v}" for k, v in answer.items()]
    head = "\r\n".join([f"HTTP/1.1 {code} X", *lines, "", ""]).encode("utf-8")
    url = web.on("/a", raw(head, b"", b"x" * 100, pause=0, times=1))
    expected = Expected(bytes=len(DATA))
    with pytest.raises(DownloadError) as e:
        fetch([url], tmp_path / "net.onnx", expected, options=quick(tries=1))
    assert len(str(e.value)) < 1000


@given(st.binary(max_size=60))
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reason_of_any_bytes_is_printed_as_text(
    web: Web, tmp_path: Path, heard: list[str], reason: bytes
) -> None:
    heard.clear()
    head = b"HTTP/1.1 404 \x1b[31m\x07" + reason.replace(b"\n", b" ") + b"\r\n\r\n"
    url = web.on("/a", raw(head, b"", b"", pause=0, times=1))
    moved = web.on("/m", redirect("https://h/\x1b]0;owned\x07", 302))
    with pytest.raises(DownloadError) as e:
        fetch([url, moved], tmp_path / "net.onnx", options=quick(tries=1))
    assert str(e.value).isprintable()
    assert all(line.isprintable() for line in heard)
