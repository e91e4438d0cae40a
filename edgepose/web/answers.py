"""What our web applications answer with, and how they read what is asked."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from edgepose.events.event import KINDS
from edgepose.io.sinks.rows import to_json
from edgepose.json_file import parse_json

MAX_FILTERS = 100  # values of one filter


def answer(status: int = 0) -> Any:
    """What tells of an error as JSON."""

    async def tell(request: Request, error: Exception) -> Response:
        text = str(getattr(error, "detail", error))
        code = status or int(getattr(error, "status_code", 500))
        return Json({"error": text}, code, headers=getattr(error, "headers", None))

    return tell


class Json(Response):
    """JSON in ASCII: names of files need not be text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content).encode()


async def json_of(request: Request) -> Any:
    """The body.

    Raises:
        HTTPException: it is too long, or not JSON.
    """
    try:
        return parse_json(await request.body() or b"null")
    except ClientDisconnect:
        raise HTTPException(413, "The body is too long.") from None
    except ValueError:
        raise HTTPException(400, "The body is not JSON.") from None


def whole(request: Request, name: str, default: int, most: int) -> int:
    """A whole number in the query, from 1 to `most`.

    Raises:
        HTTPException: it is none.
    """
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= most):
        raise HTTPException(400, f"{name} is {text[:20]!r}; it is a number from 1 to {most}.")
    return int(text)


def word_of(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    """A word in the query; the first of those allowed where there is none.

    Raises:
        HTTPException: it is another one.
    """
    text = request.query_params.get(name, allowed[0])
    if text not in allowed:
        raise HTTPException(400, f"{name} is {text[:20]!r}; it is one of {', '.join(allowed)}.")
    return text


def time_of(text: str | None, name: str) -> float | None:
    """UTC seconds of an ISO 8601 time in a query, None where there is none.

    Raises:
        HTTPException: it is no time.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" 00:00", "+00:00"))
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        raise HTTPException(400, f"{name} is not an ISO 8601 time.") from None


def values_of(request: Request, names: tuple[str, ...]) -> dict[str, list[str]]:
    """All values of the filters in a query.

    Raises:
        HTTPException: one has too many, or a track is no number.
    """
    found = {name: request.query_params.getlist(name) for name in names}
    for name, given in found.items():
        if len(given) > MAX_FILTERS:
            raise HTTPException(400, f"{name} is given {len(given)} times.")
    if set(found["event"]) - set(KINDS):
        raise HTTPException(400, f"event is one of {', '.join(KINDS)}.")
    if not all(t.isascii() and t.isdigit() and len(t) < 12 for t in found["track"]):
        raise HTTPException(400, "track is a number.")
    return found
