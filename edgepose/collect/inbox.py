"""Poses that devices bring: `PUT /poses/DEVICE/NAME.parquet` into a folder. Who sends it twice has it there once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from edgepose.files import replacing
from edgepose.fleet.messages import MOST_NAME
from edgepose.web.answers import answer
from edgepose.web.security import App, Receive, Scope, Send

ADDRESS = "/poses/"
MOST_FILE = 512 * 2**20  # bytes of a file
_PATH = re.compile(
    rf"{ADDRESS}(?P<device>[\w-][\w.-]{{0,{MOST_NAME - 1}}})/(?P<name>\w[\w.@-]{{0,160}}\.parquet)"
)


def device_password(key: str, device: str) -> str:
    """What a device must give: HMAC-SHA256 of its name under the centre's key, hexadecimal."""
    return hmac.new(key.encode(), device.encode(), hashlib.sha256).hexdigest()


class Inbox:
    """ASGI application: takes files of poses, passes all else on.

    Args:
        app: for all else. folder: files become FOLDER/DEVICE/NAME. key: of the devices' passwords.
    """

    def __init__(self, app: App, folder: Path, key: str) -> None:
        self._app, self._folder, self._key = app, folder, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a file, or pass the request on."""
        if scope["type"] != "http" or not scope["path"].startswith(ADDRESS):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await self._take(request)
        except HTTPException as e:
            response = await answer()(request, e)
        except ClientDisconnect:
            return
        except OSError as e:  # a full disk: the device keeps its file
            response = await answer(507)(request, e)
        await response(scope, receive, send)

    async def _take(self, request: Request) -> Response:
        if request.method != "PUT":
            raise HTTPException(405, "Files of poses are put here.")
        match = _PATH.fullmatch(request.scope["path"])
        if match is None:
            raise HTTPException(400, "A file is /poses/DEVICE/NAME.parquet.")
        self._admit(request, match["device"])
        wanted = request.headers.get("x-sha256", "").lower()
        if not re.fullmatch("[0-9a-f]{64}", wanted):
            raise HTTPException(400, "The header x-sha256 is missing.")
        path = self._folder / match["device"] / match["name"]
        await run_in_threadpool(path.parent.mkdir, parents=True, exist_ok=True)
        await self._store(request, path, wanted)
        return Response(status_code=201)

    def _admit(self, request: Request, device: str) -> None:
        """See that it is the device itself.

        Raises:
            HTTPException: it is not.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            login = base64.b64decode(given, validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            login = b""
        wanted = f"{device}:{device_password(self._key, device)}".encode()
        if not hmac.compare_digest(login, wanted):
            raise HTTPException(401, "The device's name and password are needed.")

    async def _store(self, request: Request, path: Path, wanted: str) -> None:
        digest, size = hashlib.sha256(), 0
        with replacing(path) as part, part.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_FILE:
                    raise HTTPException(413, f"A file may have at most {MOST_FILE} bytes.")
                digest.update(chunk)
                await run_in_threadpool(file.write, chunk)
            file.flush()
            if digest.hexdigest() != wanted:
                raise HTTPException(422, "The file is not what x-sha256 says; send it again.")
