"""RTSP in against a real server, which dies, stalls, changes its size and asks for a password."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from peers import SMALL_RTSP, RtspPeer, free_port, wait_for

from edgepose.errors import SourceError, SourceLost, SourceTimeout, UnknownNameError
from edgepose.io.base import SourceOptions
from edgepose.io.ffmpeg import network_url
from edgepose.io.sources import open_source
from edgepose.io.uri import parse


def opened(url: str, **options: Any) -> Any:
    return open_source(url, SourceOptions(**{"timeout": 10.0, **options}))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_arrive(rtsp_peer: RtspPeer, transport: str, nothing_left: None) -> None:
    with opened(rtsp_peer.url("live"), frames=5, transport=transport) as source:
        frames = list(source)
        assert (source.live, source.rate, source.name) == (True, 15.0, "live")
    assert [f.pixels.shape for f in frames] == [(240, 320, 3)] * 5
    assert all(a.index < b.index for a, b in pairwise(frames))
    assert frames[0].pts == 0.0
    assert frames[0].captured is not None


def renaming(port: int, old: bytes, new: bytes) -> Iterator[int]:
    """A port that leads to another one; in what comes from there, one word becomes another of its length."""
    assert len(old) == len(new)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
        client, _ = server.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=_carry, args=(there, client, old, new))
            back.start()
            _carry(client, there, b"", b"")
            back.join()


def _carry(a: socket.socket, b: socket.socket, old: bytes, new: bytes) -> None:
    with contextlib.suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data.replace(old, new) if old else data)
    with contextlib.suppress(OSError):
        b.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("title", [b"S\xe9ssion", b"\xc9\xe3\xcf\xf1\xbb\xfa\xff"])
def test_a_title_need_not_be_utf8(rtsp_peer: RtspPeer, title: bytes, nothing_left: None) -> None:
    way = renaming(rtsp_peer.port, b"s=Session", b"s=" + title)
    port = next(way)
    thread = threading.Thread(target=lambda: list(way))
    thread.start()
    with opened(f"rtsp://127.0.0.1:{port}/live", frames=2, transport="tcp") as source:
        assert [f.pixels.shape for f in source] == [(240, 320, 3)] * 2
    thread.join()


def test_a_killed_server_is_a_loss_and_its_return_is_noticed(
    rtsp_peer: RtspPeer, nothing_left: None
) -> None:
    events: list[dict[str, Any]] = []
    with opened(rtsp_peer.url("live"), on_event=events.append) as source:
        frames = iter(source)
        for kill in range(2):
            next(frames)
            rtsp_peer.kill()
            taker = threading.Thread(target=lambda: [next(frames) for _ in range(3)])
            taker.start()
            wait_for(lambda: len(events) == 2 + 2 * kill)  # noqa: B023
            assert events[-1]["event"] == "lost"
            rtsp_peer.start()
            taker.join(30)
            assert not taker.is_alive()
            wait_for(lambda: events[-1]["event"] == "back")
        assert source.counters.reconnects == 2
    assert events[0]["event"] == "connected"


def test_a_silent_server_is_a_timeout(rtsp_peer: RtspPeer) -> None:
    with opened(rtsp_peer.url("live"), timeout=1.0, reconnect=False) as source:
        frames = iter(source)
        next(frames)
        rtsp_peer.stop()
        with pytest.raises(SourceTimeout, match="nothing arrived for 1 s"):
            list(frames)
        assert rtsp_peer.process is not None
        rtsp_peer.process.send_signal(signal.SIGCONT)


def test_a_change_of_size_in_mid_stream(rtsp_peer: RtspPeer) -> None:
    sizes = set()
    with opened(rtsp_peer.url("switch")) as source:
        for frame in source:
            sizes.add(frame.pixels.shape)
            if len(sizes) == 2:
                break
    assert sizes == {(240, 320, 3), (120, 160, 3)}


def test_asked_size_and_flip(rtsp_peer: RtspPeer) -> None:
    with opened(rtsp_peer.url("live"), frames=1, width=100, height=50, flip="clockwise") as source:
        assert [f.pixels.shape for f in source] == [(50, 100, 3)]


def test_the_compressed_stream_is_stored(rtsp_peer: RtspPeer, tmp_path: Path) -> None:
    import av

    path = tmp_path / "kept.mp4"
    path.write_bytes(b"an older file")
    with opened(rtsp_peer.url("live"), frames=20, save=str(path)) as source:
        taken = len(list(source))
    assert path.read_bytes() == b"an older file"
    pictures = 0
    with av.open(str(tmp_path / "kept-1.mp4")) as kept:
        for packet in kept.demux(video=0):
            with contextlib.suppress(
                av.error.InvalidDataError
            ):  # servers drop parts for slow readers
                pictures += len(packet.decode())
    assert pictures >= taken - 15  # from the first key frame on


@pytest.mark.parametrize("program", [None, SMALL_RTSP], ids=["", "small"])
def test_passwords_are_used_and_never_shown(program: tuple[str, Path] | None) -> None:
    peer = RtspPeer("--user", "us er", "--password", "p@ss/w:rd?", program=program).start()
    try:
        with opened(peer.url("live", "us%20er:p%40ss%2Fw%3Ard%3F@"), frames=1) as source:
            frame = next(iter(source))
        assert frame.source == peer.url("live")
        for credentials in ("us%20er:hunter2@", ""):
            with pytest.raises(SourceError, match="wrong or missing user name") as caught:
                opened(peer.url("live", credentials), wait=True).__iter__().__next__()
            assert "hunter2" not in str(caught.value)
    finally:
        peer.kill()


def test_addresses_that_cannot_work(rtsp_peer: RtspPeer) -> None:
    with pytest.raises(SourceLost, match="no such path"):
        opened(rtsp_peer.url("nothing"))
    with pytest.raises(SourceError):
        opened(rtsp_peer.url("sound"))
    with pytest.raises(SourceLost, match="nothing listens"):
        opened(f"rtsp://127.0.0.1:{free_port()}/live")
    with pytest.raises(UnknownNameError, match="'tcp'"):
        opened(rtsp_peer.url("live"), transport="tpc")


def test_a_host_that_never_answers_is_a_timeout(nothing_left: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/live"
        with pytest.raises(SourceTimeout, match=r"within 1 s|for 1 s"):
            opened(url, timeout=1.0)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("rtsp://h/p?q=a@b", "rtsp://h/p?q=a@b"),
        ("rtsp://u:p@h:1/p?q=1", "rtsp://u:p@h:1/p?q=1"),
        ("rtsp://u:p%40@[::1]:5/p", "rtsp://u:p%40@[::1]:5/p"),
        ("rtsp://u:p#1@h/p", "rtsp://u:p%231@h/p"),
        ("rtsp://u@h", "rtsp://u@h"),
    ],
)
def test_the_address_for_the_library(text: str, url: str) -> None:
    assert network_url(parse(text)) == url


def test_an_ambiguous_password_is_not_shown_in_part() -> None:
    shown = parse("rtsp://me:p@ss/w:rd?@127.0.0.1:554/live").display
    assert shown == "rtsp://***"
