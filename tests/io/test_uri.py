"""Names of inputs and outputs."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import EdgeposeError, UnknownNameError, UsageError
from edgepose.io.base import OutputOptions, SourceOptions
from edgepose.io.outputs import open_output
from edgepose.io.sinks import open_sink
from edgepose.io.sources import SCHEMES, open_source
from edgepose.io.uri import hide, parse


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
        ("rtsp://h/user@2x", "h", 0, "/user@2x", "", "", "rtsp://***"),
        ("rtp://@:5004", "", 5004, "", "", "", "rtp://@:5004"),
        ("http://[::1]:80/a", "::1", 80, "/a", "", "", "http://[::1]:80/a"),
        ("http://[::1]/a", "::1", 0, "/a", "", "", "http://[::1]/a"),
        ("http://h/a?token=s3cret&x=1", "h", 0, "/a", "", "", "http://h/a?token=***&***"),
        ("http://h/a?x=1&user_pwd=s", "h", 0, "/a", "", "", "http://h/a?***&user_pwd=***"),
        ("http://h/a?q", "h", 0, "/a", "", "", "http://h/a?***"),
        ("rtsp://h/a?channel=1&pw=x", "h", 0, "/a", "", "", "rtsp://h/a?channel=1&pw=***"),
        (
            "rtsp://h/user=a_password=b_channel=1_stream=0.sdp",
            "h",
            0,
            "/user=a_password=b_channel=1_stream=0.sdp",
            "",
            "",
            "rtsp://h/***",
        ),
        ("rtsp://u:1/x@h:9/a", "u", 1, "/x@h:9/a", "", "", "rtsp://***"),
    ],
)
def test_network_names(
    text: str, host: str, port: int, path: str, user: str, password: str, display: str
) -> None:
    uri = parse(text)
    got = (uri.host, uri.port, uri.path, uri.user, uri.password, uri.display)
    assert got == (host, port, path, user, password, display)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://127.0.0.1/cam", 8080),
        ("http://127.0.0.1/cam?picture", 8080),
        ("http://@:9/cam", 9),
        ("http://@:0/cam", 0),
        ("http://me:pw@[::1]:0/cam?x", 0),
    ],
)
def test_where_to_listen(text: str, port: int) -> None:
    assert parse(text).port_or(8080) == port


def test_query_is_decoded() -> None:
    uri = parse("http://h/a?x=1%202&y&x=3")
    assert uri.get("x") == "3"
    assert uri.get("y", "?") == ""
    assert uri.get("z", "none") == "none"


@pytest.mark.parametrize("text", ["", "a\0b", "rtsp://h:70000/x", "rtsp://h:x/y", "file://"])
def test_names_that_cannot_be_meant(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


_FORMS = (
    "{s}://user:{p}@{h}/{x}",
    "{s}://user:1234/{p}@{h}/{x}",
    "{s}://:{p}@{h}",
    " {s}://user:{p}@{h}",
    "{s}:/user:{p}@{h}/{x}",
    "{s}:user:{p}@{h}",
    "{s}//user:{p}@{h}/{x}",
    "user:{p}@{h}/{x}",
    "{s}://{h}/video.cgi?user=admin&pass={p}",
    "{s}://{h}/v?channel=1&{k}={p}&size=640x480",
    "{s}://{h}/v?{p}",
    "{s}://{h}/v#{p}",
    "{s}://{h}/user=admin&password={p}&channel=1&stream=0.sdp?",
    "{s}://{h}/user=admin_password={p}_channel=1_stream=0.sdp",
    "{s}://{h}/admin/{p}/ch1",
    "{s}://{h}/admin:{p}/ch1",
    "srt://{h}:9000?passphrase={p}",
    "srt://{h}:9000?streamid=#!::u=admin,s={p}",
    "rtmp://{h}/live/{p}",
    "mqtt://user:{p}@{h}/topic?qos=1&spool=a.db",
    "webrtc://user:{p}@{h}",
)


@settings(max_examples=20)
@given(st.integers(0, 1 << 60))
def test_no_password_is_ever_shown(seed: int) -> None:
    """1000 each time; 20,000 in a run."""
    random = Random(seed)
    for _ in range(1000):
        letters = "aZ9@:/?#[]%&;=+ .,!_-\\'\"\u00e4"
        before, after = ("".join(random.choices(letters, k=random.randint(0, 6))) for _ in "12")
        text = random.choice(_FORMS).format(
            s=random.choice(["rtsp", "http", "HTTPS", "rtmp", "mqtt", "udp", "rtsps"]),
            p=f"{before}S3CRET{after}",
            h=random.choice(["h", "10.0.0.7:554", "[::1]:80", "cam.example.org"]),
            x=random.choice(["", "live", "a/b.sdp", "live?channel=1"]),
            k=random.choice(
                ["pwd", "psw", "Token", "loginpas", "sid", "key", "x-sig", "never_seen"]
            ),
        )
        try:
            uri = parse(text)
            shown = f"{uri.display} {uri!r} {uri.name}"
        except UsageError as e:
            shown = str(e)
        assert "S3CRET" not in shown, text
        assert "S3CRET" not in hide(text)


def test_a_forgotten_host_shows_no_password() -> None:
    with pytest.raises(UsageError, match=r"rtsp://user:\*\*\*: behind") as error:
        parse("rtsp://user:S3CRET")
    assert "S3CRET" not in str(error.value)


@pytest.mark.parametrize("lead", ["rtsp:/", "rtsp:", "RTSP :/", " http:\\\\", "mqtts:///"])
@pytest.mark.parametrize(
    "rest",
    [
        "cam/video?user=admin&pass=S3CRET",
        "cam:554/user=admin_password=S3CRET_channel=1",
        "[fe80::1%eth0]:80/?password=S3CRET",
        "u:S3CRET@cam/live",
        "cam/#S3CRET",
    ],
)
def test_an_address_without_its_slashes_shows_no_password(lead: str, rest: str) -> None:
    said = hide(lead + rest)
    try:
        said += repr(parse(lead + rest))
    except UsageError as e:
        said += str(e)
    assert "S3CRET" not in said


def test_what_is_no_secret_is_shown() -> None:
    for text in (
        "rtsp://10.0.0.7:554/cam/realmonitor?channel=1&subtype=0",
        "http://@:8080/door?picture",
        "test://people?rate=30&size=640x480&clock=wall",
        "mqtt://broker:1883/building/door?qos=1&spool=/var/lib/a.db",
        "rtp://@:5004?pt=97",
        "films/a b.mp4",
        "/dev/video0",
    ):
        assert parse(text).display == hide(text) == text
    assert parse("rtsp://u:p@h:1/x").display == hide("rtsp://u:p@h:1/x") == "rtsp://h:1/x"


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


@pytest.mark.parametrize("user", ["", "me:50%25@"])
def test_the_zone_of_an_ipv6_address_is_written_either_way(user: str) -> None:
    """RFC 6874 has %25 for the %, which no system call takes."""
    for zone in ("%25eth0", "%eth0"):
        uri = parse(f"rtsp://{user}[fe80::1{zone}]:554/x%25y")
        assert (uri.host, uri.port, uri.path) == ("fe80::1%eth0", 554, "/x%25y")
        assert uri.text == f"rtsp://{user}[fe80::1%eth0]:554/x%25y"


@pytest.mark.parametrize("text", ["rtsp:///x", "http://?pass=SECRET", "rtsp:///me:SECRET@host/x"])
def test_an_address_without_a_host_is_not_this_machine(text: str) -> None:
    with pytest.raises(UsageError, match="names no host") as e:
        parse(text)
    assert "SECRET" not in str(e.value)


def test_blanks_around_an_address_are_none_of_it() -> None:
    assert parse(" rtsp://host/x\n") == parse("rtsp://host/x")
    assert parse("file:///a ").path == "/a "
