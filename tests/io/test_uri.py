"""Names of inputs and outputs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import EdgeposeError, UnknownNameError, UsageError
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sinks import open_sink
from edgepose.io.sources import SCHEMES, open_source
from edgepose.io.uri import parse


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("a.jpg", "file", "a.jpg"),
        ("dir/with:colon.mp4", "file", "dir/with:colon.mp4"),
        ("file:///abs/a b.jpg", "file", "/abs/a b.jpg"),
        ("file://localhost/abs", "file", "/abs"),
        ("FILE://relative/x", "file", "relative/x"),
        ("-", "stdin", ""),
        ("0", "csi", "0"),
        ("csi://1", "csi", "1"),
        ("/dev/video12", "v4l2", "/dev/video12"),
        ("/dev/v4l/by-id/usb-Cam-index0", "v4l2", "/dev/v4l/by-id/usb-Cam-index0"),
        ("v4l2:///dev/video0", "v4l2", "/dev/video0"),
        ("display", "display", "0"),
        ("display://0", "display", "0"),
        ("img_%04d.png", "file", "img_%04d.png"),
        ("~/x/*.{jpg,png}", "file", "~/x/*.{jpg,png}"),
    ],
)
def test_local_names(text: str, scheme: str, path: str) -> None:
    uri = parse(text)
    assert (uri.scheme, uri.path) == (scheme, path)


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "user", "password", "display"),
    [
        ("rtsp://h/p", "h", 0, "/p", "", "", "rtsp://h/p"),
        ("RTSP://h:8554/p", "h", 8554, "/p", "", "", "rtsp://h:8554/p"),
        ("rtsp://u:p@h:1/x", "h", 1, "/x", "u", "p", "rtsp://h:1/x"),
        ("rtsp://u:p%40%2F@h/x", "h", 0, "/x", "u", "p@/", "rtsp://h/x"),
        ("rtsp://u:a@b@h/x", "h", 0, "/x", "u", "a@b", "rtsp://h/x"),
        ("rtsp://u:a/b@h:1/x", "h", 1, "/x", "u", "a/b", "rtsp://h:1/x"),
        ("rtsp://u:a#b?c@h/x", "h", 0, "/x", "u", "a#b?c", "rtsp://h/x"),
        ("rtsp://h/user@2x", "h", 0, "/user@2x", "", "", "rtsp://h/user@2x"),
        ("rtp://@:5004", "", 5004, "", "", "", "rtp://@:5004"),
        ("http://[::1]:80/a", "::1", 80, "/a", "", "", "http://[::1]:80/a"),
        ("http://[::1]/a", "::1", 0, "/a", "", "", "http://[::1]/a"),
        ("http://h/a?token=s3cret&x=1", "h", 0, "/a", "", "", "http://h/a?token=***&x=1"),
        ("http://h/a?x=1&user_pwd=s", "h", 0, "/a", "", "", "http://h/a?x=1&user_pwd=***"),
    ],
)
def test_network_names(
    text: str, host: str, port: int, path: str, user: str, password: str, display: str
) -> None:
    uri = parse(text)
    got = (uri.host, uri.port, uri.path, uri.user, uri.password, uri.display)
    assert got == (host, port, path, user, password, display)


def test_query_is_decoded() -> None:
    uri = parse("http://h/a?x=1%202&y&x=3")
    assert uri.get("x") == "3"
    assert uri.get("y", "?") == ""
    assert uri.get("z", "none") == "none"


@pytest.mark.parametrize("text", ["", "a\0b", "rtsp://h:70000/x", "rtsp://h:x/y", "file://"])
def test_names_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


_WORD = st.text("abcXYZ019@:/?#&=%[].-_ ", min_size=1, max_size=12)


@given(
    st.sampled_from(["rtsp", "http", "rtp", "rtmp"]),
    _WORD.filter(lambda w: not set(w) <= set("0123456789")),
    st.from_regex(r"[a-z][a-z0-9]{0,8}(:[0-9]{1,4})?/[a-z]{0,5}", fullmatch=True),
)
def test_no_password_is_ever_shown(scheme: str, password: str, rest: str) -> None:
    secret = f"S3CRET{password}"
    uri = parse(f"{scheme}://user:{secret}@{rest}")
    assert "S3CRET" not in uri.display
    assert "S3CRET" not in repr(uri)
    if "@" not in password:  # u:a@b/c@h has two readings
        assert uri.display == f"{scheme}://{rest}"


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{1,5}://[^\0]{0,30}", fullmatch=True))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        uri = parse(text)
    except UsageError:
        return
    assert uri.scheme == uri.scheme.lower()
    assert 0 <= uri.port <= 65535
    assert uri.name


@given(
    st.text(max_size=40) | st.from_regex(r"(file://)?[*?\[\]{},%i0-9d/~.a-z]{1,30}", fullmatch=True)
)
def test_any_file_name_opens_or_is_refused(text: str) -> None:
    try:
        scheme = parse(text).scheme
    except UsageError:
        return
    if scheme == "file":
        with contextlib.suppress(EdgeposeError):
            open_source(text, SourceOptions()).close()


@given(st.text(min_size=1, max_size=30))
def test_any_output_name_is_open_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with contextlib.suppress(EdgeposeError):
        open_output(f"{folder}/{text}", OutputOptions()).close()


def test_an_unknown_scheme_gets_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'rtsp'"):
        open_source("rtspp://h/x")
    with pytest.raises(UnknownNameError, match="Did you mean 'file'"):
        open_output("fille:///x.jpg")
    with pytest.raises(UnknownNameError, match="Did you mean 'json'"):
        open_sink("jsn", "-")
    assert "file" in SCHEMES
