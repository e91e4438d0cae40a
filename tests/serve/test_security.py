"""Who may ask: the guard around an application that answers everything."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import UsageError
from edgepose.web.access import MAX_BODY, checked_token, is_loopback, new_token
from edgepose.web.security import COOKIE, Guard

TOKEN = "a-token-of-sixteen-or-more"


async def answer_all(scope: Any, receive: Any, send: Any) -> None:
    """Reads the body and answers with its length."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            size = -1
            break
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    head = {"type": "http.response.start", "status": 200, "headers": [(b"x-size", b"%d" % size)]}
    await send(head)
    await send({"type": "http.response.body", "body": b"ok"})


def ask(
    method: str = "GET",
    path: str = "/",
    *,
    token: str = "",
    host: str = "127.0.0.1:5000",
    content: Any = None,
    **headers: str,
) -> httpx.Response:
    named = {k.replace("_", "-"): v for k, v in headers.items()}

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(answer_all, token))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, headers=named, content=content)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:5000", "localhost:5000", "[::1]:5000", "LOCALHOST", "127.8.8.8"],
)
def test_loopback_names_are_served(host: str) -> None:
    assert ask(host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
    ],
)
def test_a_name_that_was_made_to_resolve_to_us_gets_nothing(host: str) -> None:
    answer = ask(host=host)
    assert answer.status_code == 421
    assert answer.text != "ok"


def test_every_answer_forbids_frames_foreign_scripts_and_referrers() -> None:
    for answer in (ask(), ask(host="evil.example"), ask(token=TOKEN)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_without_the_token_nothing_is_served() -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"{COOKIE}=wrong"}):
        answer = ask(path="/api/v1/stats", token=TOKEN, **headers)
        assert answer.status_code == 401
        assert TOKEN not in answer.text
    assert ask(path="/?token=wrong", token=TOKEN).status_code == 401
    # only the page takes it from the address, which ends in histories and logs
    assert ask(path=f"/api/v1/stats?token={TOKEN}", token=TOKEN).status_code == 401
    assert ask(path="/healthz", token=TOKEN).status_code == 200


def test_the_token_comes_as_bearer_cookie_or_once_in_the_address() -> None:
    assert ask(token=TOKEN, authorization=f"Bearer {TOKEN}").status_code == 200
    assert ask(token=TOKEN, authorization=f"bearer {TOKEN}").status_code == 200
    assert ask(token=TOKEN, cookie=f"other=1; {COOKIE}={TOKEN}").status_code == 200
    answer = ask(path=f"/?device-name=CPU&token={TOKEN}", token=TOKEN)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?device-name=CPU"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_a_browser_without_the_token_gets_a_form() -> None:
    answer = ask(token=TOKEN, accept="text/html,*/*")
    assert answer.status_code == 401
    assert '<input name="token"' in answer.text
    assert ask(path="/static/style.css", token=TOKEN).status_code == 200
    assert ask(path="/static/app.js", token=TOKEN).status_code == 401


def test_a_token_in_use_lets_other_host_names_in() -> None:
    assert ask(token=TOKEN, host="camera.lan", authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_other_origins_change_nothing(method: str) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:6000"):
        assert ask(method, origin=origin).status_code == 403
    assert ask(method, origin="http://127.0.0.1:5000").status_code == 200
    assert ask(method).status_code == 200  # no browser


@pytest.mark.parametrize(
    "origin",
    [
        "http://[", "http://[::1", "http://[evil]", "http://[fe80::1%25eth0", "//[x", "http://a]b",
        "http://\u2100".encode().decode("latin-1"), "[", "", "://", "http://" + "9" * 5000, "\xb2",
    ],
)  # fmt: skip
def test_an_origin_that_is_none_is_foreign(origin: str) -> None:
    async def run() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1:5000"), (b"origin", origin.encode("latin-1"))]
        scope = {"type": "http", "method": "PUT", "path": "/", "headers": headers}
        await Guard(answer_all)(scope, nothing, send)
        return int(sent[0]["status"])

    assert asyncio.run(run()) == (403 if origin else 200)


async def nothing() -> Any:
    return {"type": "http.request", "body": b""}


@given(
    st.sampled_from(["host", "origin", "content-length", "content-type", "cookie", "authorization",
                     "sec-fetch-site", "sec-fetch-mode", "transfer-encoding", "accept"]),
    st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["GET", "PUT"]),
)  # fmt: skip
def test_no_header_and_no_query_is_a_defect(
    name: str, value: bytes, query: bytes, method: str
) -> None:
    async def run() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (name.encode(), value)]
        scope = {
            "type": "http", "method": method, "path": "/", "query_string": query, "headers": headers
        }  # fmt: skip
        await Guard(answer_all, TOKEN)(scope, nothing, send)
        return int(sent[0]["status"])

    assert asyncio.run(run()) < 500


def test_other_sites_embed_nothing_but_may_link_here() -> None:
    embed = {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
    link = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    for site in ("cross-site", "same-site"):
        assert ask(path="/camera_feed", sec_fetch_site=site, **embed).status_code == 403
        assert ask(sec_fetch_site=site, **link).status_code == 200
    assert ask(path="/camera_feed", sec_fetch_site="same-origin", **embed).status_code == 200


def test_what_changes_something_is_json() -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert ask("PUT", content=b"{}", content_type=kind).status_code == 415
    answer = ask("PUT", content=b"{}", content_type="application/json; charset=utf-8")
    assert answer.status_code == 200


def test_long_bodies_are_refused_with_and_without_a_stated_length() -> None:
    json = {"content_type": "application/json"}
    assert ask("PUT", content=b"x" * (MAX_BODY + 1), **json).status_code == 413
    assert ask("PUT", content=b"x" * MAX_BODY, **json).headers["x-size"] == str(MAX_BODY)

    async def chunks() -> Any:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    assert ask("PUT", content=chunks(), **json).headers["x-size"] == "-1"


def test_two_hosts_are_one_too_many() -> None:
    async def run() -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        await Guard(answer_all)(scope, None, send)  # type: ignore[arg-type]
        return int(sent[0]["status"])

    assert asyncio.run(run()) == 400


def test_tokens() -> None:
    assert len({new_token() for _ in range(10)}) == 10
    assert checked_token(new_token())
    for bad in ("", "short", "with spaces in a long word", "semi;colons-are-no-cookie", "ü" * 20):
        with pytest.raises(UsageError, match="EDGEPOSE_TOKEN"):
            checked_token(bad)


def test_loopback() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.x")))
