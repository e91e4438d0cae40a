"""The live view over WebRTC, with aiortc as the viewer."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httpx
import pytest
from served import Served, wait_for

from edgepose.io.peers import MAX_PEERS
from edgepose.io.sources.testsrc import read_clock
from edgepose.serve.feed import Feed
from edgepose.serve.webrtc import Peers, TooMany

aiortc = pytest.importorskip("aiortc", reason="the webrtc extra is not installed")


def test_pictures_move(server: Served) -> None:
    async def watch() -> list[float | None]:
        peer = aiortc.RTCPeerConnection()
        arrived: asyncio.Queue[object] = asyncio.Queue()
        peer.on("track", arrived.put_nowait)
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
        async with httpx.AsyncClient(base_url=server.url, timeout=20, trust_env=False) as http:
            answer = await http.post("/api/v1/webrtc?source=camera", json=offer)
        assert answer.status_code == 200, answer.text
        assert "H264" in answer.json()["sdp"]
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(**answer.json()))
        track = await arrived.get()
        clocks: list[float | None] = []
        while len({c for c in clocks if c is not None}) < 3:
            frame = await track.recv()  # type: ignore[attr-defined]
            assert (frame.width, frame.height) == (320, 240)
            clocks.append(read_clock(frame.to_ndarray(format="rgb24")))
        await peer.close()
        return [c for c in clocks if c is not None]

    clocks = asyncio.run(asyncio.wait_for(watch(), 60))
    # in order; the film begins anew at most once meanwhile
    assert sum(later < earlier for earlier, later in pairwise(clocks)) <= 1  # type: ignore[operator]
    wait_for(lambda: server.state("camera")["viewers"] == 0, "the viewer's going away")


@pytest.mark.parametrize(
    "offer",
    [None, [], {"type": "answer", "sdp": ""}, {"type": "offer"}, {"type": "offer", "sdp": "v=9"}],
)
def test_what_is_no_offer_is_refused_and_leaves_no_viewer(server: Served, offer: object) -> None:
    answer = server.http.post("/api/v1/webrtc?source=example", json=offer)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
    assert server.state("example").get("viewers", 0) == 0


def test_an_offer_that_never_connects_gives_its_place_back() -> None:
    """Nine offers without candidates: eight places, all free again after the time for connecting."""

    class Channel:
        pictures: Feed[bytes] = Feed(replay=True)

        def look(self) -> None: ...

    async def knock() -> None:
        peer = aiortc.RTCPeerConnection()
        peer.addTransceiver("video", direction="recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        lines = peer.localDescription.sdp.split("\r\n")
        sdp = "\r\n".join(x for x in lines if not x.startswith("a=candidate"))
        await peer.close()
        peers, channel = Peers(seconds=3.0), Channel()
        for _ in range(MAX_PEERS):
            await peers.answer(channel, {"type": "offer", "sdp": sdp})  # type: ignore[arg-type]
        assert channel.pictures.listeners == MAX_PEERS
        with pytest.raises(TooMany):
            await peers.answer(channel, {"type": "offer", "sdp": sdp})  # type: ignore[arg-type]
        while peers.open or channel.pictures.listeners:
            await asyncio.sleep(0.05)
        answer = await peers.answer(channel, {"type": "offer", "sdp": sdp})  # type: ignore[arg-type]
        assert answer["type"] == "answer"
        await asyncio.gather(*(p.close() for p in list(peers.open)))

    asyncio.run(asyncio.wait_for(knock(), 60))
