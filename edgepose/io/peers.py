"""WebRTC peers (aiortc, the extra `webrtc`) on an event loop in a thread of its own.

Signalling is one HTTP exchange: the page posts its offer, the answer comes back when all candidates
are known. No STUN server is asked unless EDGEPOSE_STUN names one (`stun:host:port`): in a local
network none is needed, and none learns of the viewers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import html
import json
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from edgepose.errors import BackendUnavailable
from edgepose.io import web
from edgepose.io.uri import Uri
from edgepose.json_file import parse_json

T = TypeVar("T")
DEFAULT_PORT = 8554
ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 12.0  # for which an offer may take a place without connecting
MAX_PEERS = 8  # each has an encoder of its own

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{margin:0;background:#111;color:#ccc;font-family:sans-serif}}
video{{display:block;margin:auto;max-width:100vw;max-height:96vh}}</style></head>
<body><video id="video" autoplay muted playsinline controls></video><p id="state"></p>
<script>
const state = text => document.getElementById("state").textContent = text;
const video = document.getElementById("video");
async function connect() {{
  const peer = new RTCPeerConnection({{iceServers: {ice}}});
  peer.onconnectionstatechange = () => {{
    state(peer.connectionState);
    if (peer.connectionState === "failed") setTimeout(connect, 2000);
  }};
  {media}
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise(done => {{
    if (peer.iceGatheringState === "complete") done();
    else peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
  }});
  const answer = await fetch(location.pathname, {{method: "POST",
    headers: {{"Content-Type": "application/json"}}, body: JSON.stringify(peer.localDescription)}});
  if (!answer.ok) throw new Error(await answer.text());
  await peer.setRemoteDescription(await answer.json());
}}
connect().catch(error => state(error));
</script></body></html>"""

_RECEIVE = """peer.addTransceiver("video", {direction: "recvonly"});
  peer.ontrack = event => video.srcObject = event.streams[0] || new MediaStream([event.track]);"""

_SEND = """const camera = await navigator.mediaDevices.getUserMedia({video: true});
  camera.getTracks().forEach(track => peer.addTrack(track, camera));
  video.srcObject = camera;"""


def page(title: str, sends: bool) -> bytes:
    """The page that shows our video, or (`sends`) that sends us the browser's camera."""
    stun = os.environ.get("EDGEPOSE_STUN", "")
    ice = json.dumps([{"urls": stun}] if stun else []).replace("<", "\\u003c")
    media = _SEND if sends else _RECEIVE
    return _PAGE.format(title=html.escape(title), ice=ice, media=media).encode(errors="replace")


def require() -> Any:
    """The aiortc package.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        import aiortc
    except ImportError as e:
        raise BackendUnavailable(
            f"webrtc:// needs aiortc ({e}). Install it: pip install edgepose[webrtc]"
        ) from None
    return aiortc


def send_video(peer: Any, track: Any, mime: str) -> None:
    """Send a track, in that codec where the browser takes it.

    Comes before the offer is read: else VP8 is sent, whatever was asked.
    """
    known = require().RTCRtpSender.getCapabilities("video").codecs
    wanted = [c for c in known if c.mimeType == mime]
    transceiver = peer.addTransceiver(track, direction="sendonly")
    transceiver.setCodecPreferences(wanted + [c for c in known if c not in wanted])


async def connect(
    sdp: str,
    prepare: Callable[[Any], Awaitable[None]],
    gone: Callable[[Any], None],
    seconds: float = CONNECT_SECONDS,
) -> tuple[Any, dict[str, str]]:
    """Answer an offer: the connection, and what to send back.

    Args:
        sdp: of the offer.
        prepare: called with the new connection before the offer is read; adds what is sent.
        gone: called with it once it has ended, or where it did not come about within `seconds`.

    Raises:
        ValueError: it is no offer of video.
    """
    a = require()
    stun = os.environ.get("EDGEPOSE_STUN", "")
    servers = [a.RTCIceServer(urls=stun)] if stun else []
    peer = a.RTCPeerConnection(a.RTCConfiguration(iceServers=servers))

    async def end() -> None:
        timer.cancel()
        gone(peer)
        await peer.close()

    # an offer whose candidates lead nowhere would stay "new" for ever, and its place taken
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, lambda: asyncio.ensure_future(end()))

    @peer.on("connectionstatechange")  # type: ignore[untyped-decorator,unused-ignore]
    async def changed() -> None:
        if peer.connectionState == "connected":
            timer.cancel()
        elif peer.connectionState in ("failed", "closed", "disconnected"):
            await end()

    try:
        await prepare(peer)
        await peer.setRemoteDescription(a.RTCSessionDescription(sdp=sdp, type="offer"))
        await peer.setLocalDescription(await peer.createAnswer())
    except Exception as e:  # aiortc has no error of its own for what it cannot read
        await end()
        raise ValueError(f"The offer cannot be used ({type(e).__name__}).") from e
    except BaseException:
        await end()
        raise
    return peer, {"sdp": peer.localDescription.sdp, "type": peer.localDescription.type}


class Loop:
    """An event loop in a thread; shared by all peers, ended with the last."""

    _shared: Loop | None = None
    _users = 0
    _lock = threading.Lock()

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="webrtc", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    @classmethod
    def acquire(cls) -> Loop:
        """The shared loop; `release` it."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            cls._users += 1
            return cls._shared

    @classmethod
    def release(cls) -> None:
        """The last release ends the thread."""
        with cls._lock:
            cls._users -= 1
            loop = cls._shared if cls._users == 0 else None
            if loop is not None:
                cls._shared = None
        if loop is not None:
            loop.loop.call_soon_threadsafe(loop.loop.stop)
            loop._thread.join(2)

    def run(self, work: Coroutine[Any, Any, T], seconds: float = ANSWER_SECONDS) -> T:
        """Run a coroutine and wait for it.

        Raises:
            TimeoutError: it took longer.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise TimeoutError from None


class Peers:
    """The page at an address, and the peer connections that are made there.

    Args:
        uri: `webrtc://user:password@host:port/path`.
        sends: the browser sends (else it receives).
        prepare: a coroutine called with each new connection before the offer is read.

    Attributes:
        open: the connections. port: where it listens.

    Raises:
        BackendUnavailable: no aiortc. OutputError: the port cannot be opened.
    """

    def __init__(self, uri: Uri, sends: bool, prepare: Any) -> None:
        require()
        self._prepare, self._page = prepare, page(uri.name, sends)
        self.open: set[Any] = set()
        self._path = uri.path
        credentials = f"{uri.user}:{uri.password}" if uri.user else ""
        self._loop = Loop.acquire()
        route = web.Route(self._answer, credentials, ("GET", "POST"))
        try:
            self._server = web.add(uri.host, uri.port_or(DEFAULT_PORT), self._path, route)
        except BaseException:
            Loop.release()
            raise
        self.port = self._server.port

    def _answer(self, request: web.Request, method: str) -> None:
        if method == "GET":
            request.reply(200, "text/html; charset=utf-8", self._page)
            return
        if len(self.open) >= MAX_PEERS:
            request.reply(503, "text/plain", b"there are too many viewers already\n")
            return
        try:
            offer = parse_json(request.body())
            if offer["type"] != "offer":
                raise ValueError(offer["type"])
            answer = self._loop.run(self._connect(str(offer["sdp"])))
        except (ValueError, KeyError, TypeError):
            request.reply(400, "text/plain", b"the body is no WebRTC offer\n")
        except TimeoutError:
            request.reply(503, "text/plain", b"no connection in time\n")
        else:
            request.reply(200, "application/json", json.dumps(answer).encode())

    async def _connect(self, sdp: str) -> dict[str, str]:
        async def prepare(peer: Any) -> None:
            self.open.add(peer)
            await self._prepare(peer)

        _, answer = await connect(sdp, prepare, self.open.discard)
        return answer

    def close(self) -> None:
        """Take the page away, and hang up on everybody."""
        web.remove(self._server, self._path)

        async def hang_up() -> None:
            await asyncio.gather(*(p.close() for p in list(self.open)), return_exceptions=True)

        try:
            self._loop.run(hang_up(), 2.0)
        except TimeoutError:
            pass
        finally:
            self.open.clear()
            Loop.release()
