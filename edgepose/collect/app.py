"""The collector's page, its data as JSON, and its figures for Prometheus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgepose.collect.receive import Receiver
from edgepose.collect.report import device_rows, metrics
from edgepose.collect.store import MAX_PAGE, FleetStore, Wanted
from edgepose.events.event import iso_time
from edgepose.web.answers import Json, time_of, values_of, whole, word_of
from edgepose.web.security import App
from edgepose.web.site import Page, prometheus, site_app

FLEET_PAGE = Path(__file__).parent / "page"
LOOKS = Path(__file__).parents[1] / "serve" / "page"  # the same as those of `edgepose serve`


def fleet_app(receiver: Receiver, store: FleetStore, token: str = "") -> App:
    """The ASGI application.

    Args:
        receiver: what collects. store: to read from. token: what requests beyond loopback must carry.
    """
    site = _Site(receiver, store)
    page = Page(FLEET_PAGE, *(LOOKS / name for name in ("style.css", "icon.svg", "base.js")))
    routes = [
        *page.routes,
        Route("/healthz", site.healthz),
        Route("/metrics", site.metrics),
        Route("/api/v1/devices", site.devices),
        Route("/api/v1/events", site.events),
        Route("/api/v1/rejected", site.rejected),
    ]
    return site_app(routes, token)


class _Site:
    """The answers."""

    def __init__(self, receiver: Receiver, store: FleetStore) -> None:
        self._receiver, self._store = receiver, store

    async def healthz(self, request: Request) -> Response:
        receiver = self._receiver
        reasons = [] if receiver.connected else ["the broker is away"]
        reasons += ["nothing can be stored"] if receiver.error else []
        return Json({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200)

    async def metrics(self, request: Request) -> Response:
        devices = await run_in_threadpool(self._store.devices)
        return prometheus(metrics(self._receiver, devices, time.time()))

    async def devices(self, request: Request) -> Response:
        devices = await run_in_threadpool(self._store.devices)
        receiver = self._receiver
        about = {"connected": receiver.connected, "error": receiver.error}
        return Json({"devices": device_rows(devices, time.time()), **about})

    async def events(self, request: Request) -> Response:
        given = values_of(request, ("event", "zone", "track", "device", "gesture", "camera"))
        query = request.query_params
        wanted = Wanted(
            given["device"],
            given["event"],
            given["zone"],
            [int(t) for t in given["track"]],
            time_of(query.get("since"), "since"),
            time_of(query.get("until"), "until"),
            given["gesture"],
            given["camera"],
        )
        limit, oldest = whole(request, "limit", 50, MAX_PAGE), word_of(request, "order", ORDERS)
        rows = await run_in_threadpool(
            lambda: self._store.events(
                wanted, cursor=query.get("cursor", ""), limit=limit, oldest=oldest == ORDERS[1]
            )
        )
        more = len(rows) == limit or oldest == ORDERS[1]
        cursor = str(rows[-1]["id"]) if rows and more else ""
        return Json({"events": [_event(row) for row in rows], "cursor": cursor})

    async def rejected(self, request: Request) -> Response:
        rows = await run_in_threadpool(self._store.rejected)
        return Json({"rejected": [{**r, "received": iso_time(r["received"])} for r in rows]})


ORDERS = ("newest", "oldest")


def _event(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "time": iso_time(row["time"]), "received": iso_time(row["received"])}
