"""The web application: routes and what they answer. What runs behind them is a `Studio`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgepose.errors import UsageError
from edgepose.serve.openapi import document
from edgepose.serve.security import App, Guard

if TYPE_CHECKING:
    from edgepose.events.event import Event
    from edgepose.events.log import Filter
    from edgepose.serve.channel import Channel
    from edgepose.serve.studio import Studio

PAGE = Path(__file__).parent / "page"
BOUNDARY = b"frame"
# the seed's words for the same two events
SEED_NAMES = {"enter": "appeared", "exit": "disappeared"}
MAX_PER_PAGE = 1000


def make_app(studio: Studio, token: str = "") -> App:
    """The ASGI application around a studio; `token` = what requests beyond loopback must carry."""
    site = _Site(studio)
    routes = [
        Route("/", site.index),
        Route("/static/{name}", site.static),
        Route("/camera_feed", site.camera_feed),
        Route("/example_video", site.example_video),
        WebSocketRoute("/ws", site.live),
        Route("/detections", site.detections),
        Route("/healthz", site.healthz),
        Route("/metrics", site.metrics),
        Route("/api/v1/openapi.json", site.openapi),
        Route("/api/v1/events", site.events),
        Route("/api/v1/events/hours", site.hours),
        Route("/api/v1/poses", site.poses),
        Route("/api/v1/stats", site.stats),
        Route("/api/v1/networks", site.networks),
        Route("/api/v1/source", site.source, methods=["GET", "PUT"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _http_error, UsageError: _usage_error},
    )
    return Guard(app, token)


async def _http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    detail = getattr(error, "detail", "")
    return JSONResponse({"error": detail}, status, headers=getattr(error, "headers", None))


async def _usage_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


class _Site:
    """The answers."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    # pages --------------------------------------------------------------------------------------
    async def index(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        kinds = {"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
        if name not in kinds:
            raise HTTPException(404, "There is no such file.")
        headers = {"cache-control": "no-cache"}
        return FileResponse(PAGE / name, media_type=kinds[name], headers=headers)

    # pictures -----------------------------------------------------------------------------------
    async def camera_feed(self, request: Request) -> Response:
        return await self._feed(request, "camera")

    async def example_video(self, request: Request) -> Response:
        return await self._feed(request, "example")

    async def _feed(self, request: Request, name: str) -> Response:
        channel = await self._channel(name, request)
        if channel.pictures.viewers >= self.studio.max_viewers:
            raise HTTPException(503, f"There are {self.studio.max_viewers} viewers already.")
        kind = f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}"
        headers = {"cache-control": "no-store"}
        return StreamingResponse(_mjpeg(channel), media_type=kind, headers=headers)

    async def _channel(self, name: str, request: Request | WebSocket) -> Channel:
        """The channel of a source, with the device and precision that the request names."""
        query = request.query_params
        device = query.get("device-name", query.get("device_name", ""))
        try:
            return await run_in_threadpool(
                self.studio.channel, name, device, query.get("precision", "")
            )
        except KeyError:
            raise HTTPException(404, f"There is no source {name!r}.") from None

    # data ---------------------------------------------------------------------------------------
    async def live(self, socket: WebSocket) -> None:
        """Results, events and states as JSON; a slow client gets only the newest of each."""
        name = socket.query_params.get("source", self.studio.current)
        try:
            channel = await self._channel(name, socket)
        except (HTTPException, UsageError) as e:
            await socket.close(4404, getattr(e, "detail", str(e)))
            return
        if channel.messages.viewers >= self.studio.max_viewers:
            await socket.close(4503, "There are too many viewers already.")
            return
        await socket.accept()
        channel.look()
        try:
            await socket.send_json({"type": "state", **channel.status()})
            await socket.send_json({"type": "history", "people": channel.history()})
            async for message in channel.messages.items(idle=15.0):
                await socket.send_json(message or {"type": "ping"})
        except (WebSocketDisconnect, RuntimeError):
            return

    async def detections(self, request: Request) -> Response:
        """Enter and exit events in the shape of the web application that edgepose replaces."""
        page = _whole(request, "page", 1, 2**31)
        per_page = _whole(request, "per-page", 100, MAX_PER_PAGE)
        found = await run_in_threadpool(self.studio.numbered, page, per_page)
        if page > max(1, found.pages):
            raise HTTPException(404, f"There are {found.pages} pages.")
        return JSONResponse(
            {
                "results": [_seed_row(e) for e in found.events],
                "pagination": {
                    "count": found.count,
                    "page": found.page,
                    "per_page": found.per_page,
                    "pages": found.pages,
                },
            }
        )

    async def events(self, request: Request) -> Response:
        limit = _whole(request, "limit", 50, MAX_PER_PAGE)
        newest_first = request.query_params.get("order", "newest") != "oldest"
        wanted = _filter(request)
        page = await run_in_threadpool(
            self.studio.page, wanted, request.query_params.get("cursor", ""), limit, newest_first
        )
        return JSONResponse({"events": [e.as_dict() for e in page.events], "cursor": page.cursor})

    async def hours(self, request: Request) -> Response:
        rows = await run_in_threadpool(self.studio.hours, _filter(request))
        return JSONResponse(
            {
                "hours": [
                    {"start": _iso(r.start), "enter": r.enter, "exit": r.exit, "cross": r.cross}
                    for r in rows
                ]
            }
        )

    async def poses(self, request: Request) -> Response:
        channel = await self._channel(
            request.query_params.get("source", self.studio.current), request
        )
        channel.look()
        return JSONResponse({**channel.status(), "result": channel.result})

    async def stats(self, request: Request) -> Response:
        return JSONResponse(self.studio.stats())

    async def networks(self, request: Request) -> Response:
        return JSONResponse({"networks": await run_in_threadpool(self.studio.networks)})

    async def source(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                body = json.loads(await request.body() or b"null")
            except (ValueError, RecursionError):
                raise HTTPException(400, "The body is not JSON.") from None
            name = body.get("source") if isinstance(body, dict) else None
            if not isinstance(name, str) or name not in self.studio.sources:
                raise HTTPException(400, f"'source' is one of {', '.join(self.studio.sources)}.")
            self.studio.switch(name)
        return JSONResponse({"source": self.studio.current, "sources": list(self.studio.sources)})

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document(list(self.studio.sources)))

    # operation ----------------------------------------------------------------------------------
    async def healthz(self, request: Request) -> Response:
        health = self.studio.health()
        return JSONResponse(health, 200 if health["ok"] else 503)

    async def metrics(self, request: Request) -> Response:
        return Response(self.studio.metrics(), media_type="text/plain; version=0.0.4")


async def _mjpeg(channel: Channel) -> AsyncIterator[bytes]:
    """Multipart pictures, the newest each time."""
    channel.look()
    async for jpeg in channel.pictures.items(idle=5.0):
        if jpeg is None:
            if channel.pictures.latest is None:
                continue
            jpeg = channel.pictures.latest  # keeps proxies from closing a still picture
        head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
            BOUNDARY,
            len(jpeg),
        )
        yield head + jpeg + b"\r\n"


def _whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it is a number from 1 to {most}.")
    return int(text)


def _filter(request: Request) -> Filter:
    from edgepose.events.event import KINDS
    from edgepose.events.log import Filter

    query = request.query_params
    kinds = tuple(query.getlist("event"))
    if set(kinds) - set(KINDS):
        raise HTTPException(400, f"event is one of {', '.join(KINDS)}.")
    tracks = query.getlist("track")
    if not all(t.isascii() and t.isdigit() and len(t) < 12 for t in tracks):
        raise HTTPException(400, "track is a number.")
    return Filter(
        events=kinds,
        zones=tuple(query.getlist("zone")),
        tracks=tuple(map(int, tracks)),
        since=_time(query.get("since"), "since"),
        until=_time(query.get("until"), "until"),
    )


def _time(text: str | None, name: str) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        raise HTTPException(400, f"{name} is not an ISO 8601 time.") from None


def _iso(seconds: float) -> str:
    from edgepose.events.event import iso_time

    return iso_time(seconds)


def _seed_row(event: Event) -> dict[str, Any]:
    moment = datetime.fromtimestamp(event.time, timezone.utc)
    return {
        "id": event.id,
        "session_name": event.session,
        "event_name": SEED_NAMES.get(event.event, event.event),
        "create_date_time": format_datetime(moment, usegmt=True),
    }
