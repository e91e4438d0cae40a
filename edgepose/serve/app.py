"""The web application: routes and what they answer. What runs behind them is a `Studio`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected

from edgepose.errors import BackendUnavailable, OutputError, UsageError
from edgepose.events.event import iso_time
from edgepose.events.log import Filter
from edgepose.io.sinks.rows import to_json
from edgepose.serve import report
from edgepose.serve.channel import BOUNDARY, Channel, jpeg_of
from edgepose.serve.feed import FeedClosed, Listener
from edgepose.serve.openapi import document
from edgepose.serve.pictures import smaller
from edgepose.serve.recorded import NoEvents
from edgepose.serve.studio import Studio
from edgepose.serve.webrtc import Peers, TooMany, available
from edgepose.serve.zone_book import ZonesHeld
from edgepose.web.answers import Json, json_of, time_of, values_of, whole, word_of
from edgepose.web.security import App
from edgepose.web.site import Page, prometheus, site_app

if TYPE_CHECKING:
    from edgepose.events.event import Event

PAGE = Path(__file__).parent / "page"
# the words of the application that edgepose replaces, for the same two events
DEMO_NAMES = {"enter": "appeared", "exit": "disappeared"}
MAX_PER_PAGE = 1000
NEWS = ("state", "figures", "event", "source", "zones")
ERRORS: dict[type[Exception], int] = {
    NoEvents: 404,
    TooMany: 503,
    ZonesHeld: 409,
    OutputError: 503,
    BackendUnavailable: 501,
}
PING = 15.0  # seconds of silence on a WebSocket
STILL = 3.0  # seconds that a picture of a live input may take
REPEAT = 5.0  # seconds after which a still picture is sent again, so that proxies keep the stream


def make_app(studio: Studio, token: str = "") -> App:
    """The ASGI application around a studio; `token` = what requests beyond loopback must carry."""
    site = _Site(studio)
    routes = [
        *Page(PAGE).routes,
        Route("/camera_feed", site.camera_feed),
        Route("/example_video", site.example_video),
        WebSocketRoute("/ws", site.live),
        Route("/detections", site.detections),
        Route("/healthz", site.healthz),
        Route("/metrics", site.metrics),
        Route("/api/v1/openapi.json", site.openapi),
        Route("/api/v1/events", site.events),
        Route("/api/v1/events/hours", site.hours),
        Route("/api/v1/events/{number}/snapshot", site.snapshot),
        Route("/api/v1/picture", site.picture),
        Route("/api/v1/poses", site.poses),
        Route("/api/v1/stats", site.stats),
        Route("/api/v1/networks", site.networks),
        Route("/api/v1/source", site.source, methods=["GET", "PUT"]),
        Route("/api/v1/zones", site.zones, methods=["GET", "PUT"]),
        Route("/api/v1/webrtc", site.webrtc, methods=["POST"]),
    ]
    return site_app(routes, token, ERRORS)


class _Site:
    """The answers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.peers = Peers()

    # pictures -----------------------------------------------------------------------------------
    async def camera_feed(self, request: Request) -> Response:
        return await self._feed(request, request.query_params.get("source", self.studio.cameras[0]))

    async def example_video(self, request: Request) -> Response:
        return await self._feed(request, "example")

    async def _feed(self, request: Request, name: str) -> Response:
        channel = await self._channel(name, request)
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type=kind, headers=headers)
        self._check_room(channel.pictures.listeners)
        # joined here, not when the stream begins: the next one counts us
        listener = channel.pictures.listen()
        channel.look()
        return StreamingResponse(_parts(listener), media_type=kind, headers=headers)

    def _check_room(self, viewers: int) -> None:
        if viewers >= self.studio.max_viewers:
            raise HTTPException(503, f"There are {self.studio.max_viewers} viewers already.")

    async def _channel(self, name: str, request: Request | WebSocket) -> Channel:
        """The channel of a source, with the device and precision that the request names."""
        query = request.query_params
        device = query.get("device-name", query.get("device_name", ""))
        precision = query.get("precision", "")
        try:
            return await run_in_threadpool(self.studio.channel, name, device, precision)
        except KeyError:
            there = ", ".join(self.studio.sources)
            raise HTTPException(404, f"There is no source {name[:40]!r}, only {there}.") from None

    # data ---------------------------------------------------------------------------------------
    async def live(self, socket: WebSocket) -> None:
        """States, figures and events as JSON, with poses=1 the poses too; newest of each for the slow."""
        try:
            await self._tell(socket)
        except (WebSocketDisconnect, RuntimeError):
            # gone, perhaps while it was opened: so uvicorn writes nothing of it
            raise ClientDisconnected from None

    async def _tell(self, socket: WebSocket) -> None:
        query = socket.query_params
        try:
            channel = await self._channel(query.get("source", self.studio.current), socket)
            self._check_room(channel.messages.listeners)
        except (HTTPException, UsageError) as e:
            # only an open WebSocket can tell a browser why it is closed
            await socket.accept()
            await socket.close(
                4000 + getattr(e, "status_code", 400), str(getattr(e, "detail", e))[:120]
            )
            return
        kinds = (*NEWS, "poses") if query.get("poses") in ("1", "true") else NEWS
        await socket.accept()
        with channel.messages.listen(kinds) as listener:
            channel.look()
            await socket.send_text(to_json({"type": "state", **channel.status()}))
            await socket.send_text(to_json({"type": "history", "people": channel.history()}))
            await _converse(socket, listener)

    async def detections(self, request: Request) -> Response:
        """Enter and exit events in the shape of the web application that edgepose replaces."""
        page = whole(request, "page", 1, 2**31 - 1)
        per_page = whole(request, "per-page", 100, MAX_PER_PAGE)
        found = await run_in_threadpool(self.studio.recorded.visits, page, per_page)
        if page > max(1, found.pages):
            raise HTTPException(404, f"There are {found.pages} pages.")
        pagination = {
            "count": found.count,
            "page": found.page,
            "per_page": found.per_page,
            "pages": found.pages,
        }
        results = [_demo_row(e) for e in found.events]
        return Json({"results": results, "pagination": pagination})

    async def events(self, request: Request) -> Response:
        limit = whole(request, "limit", 50, MAX_PER_PAGE)
        order = word_of(request, "order", ("newest", "oldest"))
        cursor = request.query_params.get("cursor", "")
        wanted = _filter(request, self.studio.displays)
        page = await run_in_threadpool(
            lambda: self.studio.recorded.log.page(
                wanted, cursor=cursor, limit=limit, newest_first=order == "newest"
            )
        )
        return Json({"events": [e.as_dict() for e in page.events], "cursor": page.cursor})

    async def hours(self, request: Request) -> Response:
        wanted = _filter(request, self.studio.displays)
        rows = await run_in_threadpool(lambda: self.studio.recorded.log.hours(wanted))
        hours = [
            {"start": iso_time(r.start), "enter": r.enter, "exit": r.exit, "cross": r.cross}
            for r in rows
        ]
        return Json({"hours": hours})

    async def snapshot(self, request: Request) -> Response:
        text = request.path_params["number"]
        if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text)):
            raise HTTPException(404, "There is no such event.")
        picture = await run_in_threadpool(self.studio.recorded.snapshot, int(text))
        if picture is None:
            raise HTTPException(404, "There is no picture of that event.")
        if "size" in request.query_params:
            picture = await run_in_threadpool(smaller, picture, whole(request, "size", 160, 8192))
        return Response(picture, media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def picture(self, request: Request) -> Response:
        """One picture, taken for who asks; nothing (204) while the input gives none."""
        name = request.query_params.get("source", self.studio.current)
        size = whole(request, "size", 0, 8192) if "size" in request.query_params else 0
        channel = await self._channel(name, request)
        self._check_room(channel.pictures.listeners)
        channel.look()
        items: list[bytes] = []
        if channel.state == "live":
            with channel.pictures.listen(replay=False) as listener, contextlib.suppress(FeedClosed):
                items = await listener.get(STILL)
        if not items:
            return Response(status_code=204)
        jpeg = jpeg_of(items[-1])
        if size:
            jpeg = await run_in_threadpool(smaller, jpeg, size)
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def poses(self, request: Request) -> Response:
        name = request.query_params.get("source", self.studio.current)
        channel = await self._channel(name, request)
        channel.look()
        return Json({**channel.status(), "result": channel.poses})

    async def stats(self, request: Request) -> Response:
        return Json(report.stats(self.studio))

    async def networks(self, request: Request) -> Response:
        return Json({"networks": await run_in_threadpool(report.networks, self.studio)})

    async def source(self, request: Request) -> Response:
        if request.method == "PUT":
            body = await json_of(request)
            name = body.get("source") if isinstance(body, dict) else None
            if not isinstance(name, str) or name not in self.studio.sources:
                raise HTTPException(400, f"'source' is one of {', '.join(self.studio.sources)}.")
            await run_in_threadpool(self.studio.switch, name)
        return Json(
            {
                "source": self.studio.current,
                "sources": list(self.studio.sources),
                "webrtc": available(),
            }
        )

    async def zones(self, request: Request) -> Response:
        """Zones and lines of a source, as the page edits them."""
        name = request.query_params.get("source", self.studio.current)
        if name not in self.studio.sources:
            raise HTTPException(404, f"There is no source {name[:40]!r}.")
        if request.method == "PUT":
            body = await json_of(request)
            return Json(await run_in_threadpool(self.studio.change_zones, name, body))
        return Json(self.studio.zones.document(name))

    async def webrtc(self, request: Request) -> Response:
        """The answer to a WebRTC offer."""
        name = request.query_params.get("source", self.studio.current)
        channel = await self._channel(name, request)
        self._check_room(channel.pictures.listeners)
        return Json(await self.peers.answer(channel, await json_of(request)))

    async def openapi(self, request: Request) -> Response:
        return Json(document(list(self.studio.sources)))

    # operation ----------------------------------------------------------------------------------
    async def healthz(self, request: Request) -> Response:
        health = report.health(self.studio)
        return Json(health, 503 if health["status"] == "failing" else 200)

    async def metrics(self, request: Request) -> Response:
        return prometheus(report.metrics(self.studio))


async def _parts(listener: Listener[bytes]) -> AsyncIterator[bytes]:
    """Multipart pictures, the newest each time."""
    with listener, contextlib.suppress(FeedClosed):
        yield f"--{BOUNDARY}\r\n".encode()
        last = b""
        while True:
            items = await listener.get(REPEAT)
            last = items[-1] if items else last
            if last:
                yield last


async def _converse(socket: WebSocket, listener: Listener[str]) -> None:
    """Send what comes until the client goes away; what it says is not needed."""
    hearing = asyncio.ensure_future(_until_gone(socket))
    try:
        while not hearing.done():
            getting = asyncio.ensure_future(listener.get(PING))
            await asyncio.wait({hearing, getting}, return_when=asyncio.FIRST_COMPLETED)
            if not getting.done():
                getting.cancel()
                return
            for text in getting.result() or ['{"type":"ping"}']:
                await socket.send_text(text)
    except FeedClosed:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(1001, "The server is ending.")
    finally:
        hearing.cancel()


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


def _filter(request: Request, displays: dict[str, str]) -> Filter:
    """The filter that the query asks for; sources by their names here."""
    query = request.query_params
    values = values_of(request, ("event", "zone", "gesture", "track", "source"))
    if set(values["source"]) - set(displays):
        raise HTTPException(400, f"source is one of {', '.join(displays)}.")
    # by address where that tells them apart: so earlier events are found under a new name, too
    addresses = list(displays.values())
    shared = any(addresses.count(displays[name]) > 1 for name in values["source"])
    return Filter(
        events=tuple(values["event"]),
        zones=tuple(values["zone"]),
        gestures=tuple(values["gesture"]),
        tracks=tuple(map(int, values["track"])),
        sources=() if shared else tuple(displays[name] for name in values["source"]),
        cameras=tuple(values["source"]) if shared else (),
        since=time_of(query.get("since"), "since"),
        until=time_of(query.get("until"), "until"),
    )


def _demo_row(event: Event) -> dict[str, Any]:
    moment = datetime.fromtimestamp(event.time, timezone.utc)
    return {
        "id": event.id,
        "session_name": event.session,
        "event_name": DEMO_NAMES.get(event.event, event.event),
        "create_date_time": format_datetime(moment, usegmt=True),
    }
