"""Many viewers, and a slow one."""

from __future__ import annotations

import asyncio
import hashlib
import socket

from served import Served, wait_for

VIEWERS, PICTURES = 50, 12
REQUEST = b"GET /camera_feed HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


async def watch(port: int, count: int) -> list[str]:
    """Digests of the first pictures that a viewer gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(REQUEST)
    digests = []
    try:
        while len(digests) < count:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(x[16:]) for x in head.split(b"\r\n") if x.startswith(b"Content-Length: ")), 0
            )
            if length:
                # chunks end only behind a whole part, so a picture is in one piece
                digests.append(hashlib.sha256(await reader.readexactly(length)).hexdigest())
    finally:
        writer.close()
    return digests


async def watch_all(port: int) -> list[list[str]]:
    watching = [watch(port, PICTURES) for _ in range(VIEWERS)]
    return await asyncio.wait_for(asyncio.gather(*watching), 60)


def test_fifty_viewers_share_one_inference_and_a_slow_one_holds_nobody(server: Served) -> None:
    # one who never reads: its socket fills up
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(REQUEST)
        wait_for(lambda: server.state("camera").get("state") == "live", "the camera")
        before = server.frames("camera")
        seen = asyncio.run(watch_all(server.port))
        frames = server.frames("camera") - before
        assert server.state("camera")["viewers"] >= 1
    for digests in seen:
        # none is cut; one is sent again only where a stalled machine gave none for seconds
        assert len(set(digests)) >= PICTURES - 1
    # all of them saw pictures of the same few frames: those that were inferred once
    assert len(set().union(*map(set, seen))) <= frames + 2


def test_viewers_are_bounded(server: Served) -> None:
    """The 101st viewer of a source is told so, and there is room again when others have gone."""
    open_ = []
    try:
        for _ in range(100):
            viewer = socket.create_connection(("127.0.0.1", server.port))
            viewer.sendall(REQUEST)
            open_.append(viewer)
        wait_for(lambda: server.state("camera").get("viewers") == 100, "a hundred viewers")
        answer = server.http.get("/camera_feed")
        assert answer.status_code == 503
        assert "100 viewers" in answer.json()["error"]
    finally:
        for viewer in open_:
            viewer.close()
    wait_for(lambda: server.state("camera")["viewers"] == 0, "their going away")
