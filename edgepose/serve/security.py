"""Who may ask, and what browsers may do with the answers.

Beyond loopback every request needs the token: `Authorization: Bearer`, a cookie, or once `/?token=`, which
sets the cookie. On loopback the Host header must be a loopback name, so that a foreign page that has
its name resolve to this machine gets nothing. Requests that change something must come from the same
origin and carry JSON.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "edgepose_token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_BODY = 64 * 1024
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """True where only this machine can reach the address."""
    return host in LOOPBACK or host.startswith("127.")


class Guard:
    """ASGI middleware.

    Args:
        app: the application behind it.
        token: what requests must carry; "" = none is needed (loopback).
    """

    def __init__(self, app: App, token: str = "") -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        problem = self._problem(scope, headers)
        if problem:
            await self._refuse(scope, send, *problem)
            return
        if self._token and scope["type"] == "http" and self._query_token(scope):
            await self._redirect(scope, send)
            return
        await self._app(scope, _bounded(receive), _with_headers(send))

    def _problem(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = _host_name(headers.get("host", ""))
        if not self._token and not is_loopback(host):
            return 400, "This server answers to loopback names only."
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope.get("method") not in (
            "GET",
            "HEAD",
            "OPTIONS",
        )
        if changes and origin and urlsplit(origin).netloc != headers.get("host", ""):
            return 403, "Requests from other origins may change nothing."
        if changes and scope["type"] == "http":
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return 415, "Send JSON (Content-Type: application/json)."
        if (
            headers.get("content-length", "0").isdigit()
            and int(headers.get("content-length", "0")) > MAX_BODY
        ):
            return 413, f"A body may have at most {MAX_BODY} bytes."
        if self._token and scope["path"] != "/healthz" and not self._allowed(scope, headers):
            return (
                401,
                "A token is needed: open /?token=... once, or send Authorization: Bearer ...",
            )
        return None

    def _allowed(self, scope: Scope, headers: dict[str, str]) -> bool:
        bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except Exception:  # a browser sent something that is no cookie
            cookies = SimpleCookie()
        cookie = cookies[COOKIE].value if COOKIE in cookies else ""
        given = (bearer, cookie, self._query_token(scope))
        return any(g and hmac.compare_digest(g.encode(), self._token.encode()) for g in given)

    @staticmethod
    def _query_token(scope: Scope) -> str:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return query.get("token", [""])[0] if scope.get("path") == "/" else ""

    async def _redirect(self, scope: Scope, send: Send) -> None:
        """Put the token into a cookie and take it out of the address."""
        cookie = f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), *HEADERS]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, scope: Scope, send: Send, status: int, text: str) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000 + status, "reason": text})
            return
        body = f'{{"error": "{text}"}}\n'.encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *HEADERS,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _host_name(header: str) -> str:
    """Host without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _bounded(receive: Receive) -> Receive:
    """`receive` that ends a body longer than it may be (chunked bodies name no length)."""
    size = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                return {"type": "http.disconnect"}
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    """`send` that adds the security headers to every answer."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sending
