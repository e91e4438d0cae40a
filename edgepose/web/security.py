"""Who may ask, and what browsers may do with the answers.

Beyond loopback every request needs the token: `Authorization: Bearer`, a cookie, or once `/?token=`, which
sets the cookie. On loopback the Host header must be a loopback name, so that a foreign page that has
its name resolve to this machine gets nothing. What changes something must come from the same origin
and carry JSON, and other sites may embed nothing.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers

from edgepose.web.access import MAX_BODY, is_loopback

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "edgepose_token"
COOKIE_SECONDS = 30 * 86400
OPEN = (
    "/healthz",
    "/static/style.css",
    "/static/icon.svg",
)  # the form for the token needs its looks
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
        b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
LOGIN = b"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>edgepose</title>
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/style.css"></head>
<body class="login"><main class="card"><h1><img src="/static/icon.svg" alt="" width="28" height="28">edgepose</h1><form action="/"><label>Token <input name="token" type="password" required
autocomplete="current-password"></label> <button>Open</button></form>
<p class="quiet">It was printed when the server started.</p></main></body></html>
"""


class Refusal(Exception):
    """An answer instead of what was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


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
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except Refusal as e:
            await _refuse(scope, headers, send, e)
            return
        if self._token and scope["type"] == "http" and _query_token(scope):
            await self._redirect(scope, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _bounded(receive), _with_headers(send))

    def _check(self, scope: Scope, headers: Headers) -> None:
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        self._check_host(headers)
        _check_origin(scope, headers, changes)
        if scope["type"] == "http":
            _check_body(headers, changes)
        if self._token and scope["path"] not in OPEN and not self._has_token(scope, headers):
            raise Refusal(
                401, "A token is needed: open /?token=... once, or send Authorization: Bearer ..."
            )

    def _check_host(self, headers: Headers) -> None:
        if len(headers.getlist("host")) > 1:
            raise Refusal(400, "There is more than one Host header.")
        if not self._token and not is_loopback(_host_name(headers.get("host", ""))):
            raise Refusal(421, "This server answers to loopback names only.")

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:  # what some other program on this host set
            cookies = SimpleCookie()
        cookie = cookies[COOKIE].value if COOKIE in cookies else ""
        given = (bearer.strip() if scheme.lower() == "bearer" else "", cookie, _query_token(scope))
        wanted = self._token.encode()
        return any(hmac.compare_digest(g.encode(), wanted) for g in given if g)

    async def _redirect(self, scope: Scope, send: Send) -> None:
        """Put the token into a cookie and take it out of the address."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        rest = urlencode([(k, v) for k, v in query if k != "token"])
        cookie = (
            f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={COOKIE_SECONDS}"
        )
        if scope.get("scheme") == "https":
            cookie += "; Secure"
        headers = [
            (b"location", f"/?{rest}".rstrip("?").encode()),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
            *HEADERS,
        ]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _check_origin(scope: Scope, headers: Headers, changes: bool) -> None:
    origin = headers.get("origin", "")
    if changes and origin and _place(origin) != headers.get("host", "").lower():
        raise Refusal(403, "Requests from other origins may change nothing.")
    # a foreign page must not even start the camera with an <img>; links to the page are welcome
    navigates = (
        headers.get("sec-fetch-mode", "") == "navigate"
        and headers.get("sec-fetch-dest", "") == "document"
    )
    if headers.get("sec-fetch-site", "") in ("cross-site", "same-site") and not (
        navigates and scope.get("method") == "GET"
    ):
        raise Refusal(403, "Pages of other origins may embed nothing of this server.")


def _place(origin: str) -> str:
    """Host and port of an origin; "null", which is no host's, where it is none."""
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"


def _check_body(headers: Headers, changes: bool) -> None:
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY:
        raise Refusal(413, f"A body may have at most {MAX_BODY} bytes.")
    if length and "transfer-encoding" in headers:  # a proxy before us may believe the other one
        raise Refusal(400, "A body has a length or is chunked, not both.")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = length not in ("", "0") or headers.get("transfer-encoding", "") != ""
    if changes and has_body and kind != "application/json":
        raise Refusal(415, "Send JSON (Content-Type: application/json).")


def _query_token(scope: Scope) -> str:
    if scope.get("path") != "/":
        return ""
    query: bytes = scope.get("query_string", b"")
    return dict(parse_qsl(query.decode("latin-1"))).get("token", "")


async def _refuse(scope: Scope, headers: Headers, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        code = 4000 + refusal.status
        await send({"type": "websocket.close", "code": code, "reason": refusal.text})
        return
    asks_for_page = refusal.status == 401 and "text/html" in headers.get("accept", "")
    body = LOGIN if asks_for_page else (json.dumps({"error": refusal.text}) + "\n").encode()
    kind = b"text/html; charset=utf-8" if asks_for_page else b"application/json"
    answer = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *HEADERS,
    ]
    if refusal.status == 401:
        answer.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": answer})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _host_name(header: str) -> str:
    """Host without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _bounded(receive: Receive) -> Receive:
    """`receive` that ends a body longer than it may be (chunked bodies name no length)."""
    size = 0

    async def bounded() -> Message:
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

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sending
