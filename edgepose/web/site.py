"""What the sites of our servers share: a page with its files, figures for Prometheus, errors as answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from edgepose.errors import StoreError, UsageError
from edgepose.web.answers import answer
from edgepose.web.security import App, Guard

NEWEST = {"cache-control": "no-cache"}
MEDIA = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Page:
    """A page and the files that it loads.

    Args:
        folder: with index.html and its files. borrowed: files of other folders that it loads too.
    """

    def __init__(self, folder: Path, *borrowed: Path) -> None:
        self._index = folder / "index.html"
        self._files = {f.name: f for f in (*folder.iterdir(), *borrowed) if f.suffix in MEDIA}

    @property
    def routes(self) -> list[BaseRoute]:
        """The page at /, its files at /static/."""
        return [Route("/", self._page), Route("/static/{name}", self._file)]

    async def _page(self, request: Request) -> Response:
        return FileResponse(self._index, headers=NEWEST)

    async def _file(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404, "There is no such file.")
        return FileResponse(file, media_type=MEDIA[file.suffix], headers=NEWEST)


def prometheus(text: str) -> Response:
    """Figures as Prometheus reads them."""
    return Response(text, media_type="text/plain; version=0.0.4")


def site_app(
    routes: Sequence[BaseRoute], token: str, errors: Mapping[type[Exception], int] | None = None
) -> App:
    """The ASGI application of a site.

    Args:
        token: what requests beyond loopback must carry.
        errors: further kinds of errors, and the status that each is answered with.
    """
    known: dict[type[Exception], int] = {UsageError: 400, StoreError: 503, **(errors or {})}
    handlers: dict[Any, Any] = {kind: answer(status) for kind, status in known.items()}
    handlers[HTTPException] = answer()
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token)
