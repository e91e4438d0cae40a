"""Events to a web address: one signed POST each, in order, again and again until it is taken.

The form is that of https://www.standardwebhooks.com: `webhook-id` (the same at every try, so that the other
side can tell what it has already), `webhook-timestamp` and `webhook-signature` (HMAC-SHA256 of
"id.timestamp.body"), for which there are libraries in most languages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import random
import time
import urllib.request
from pathlib import Path
from typing import Any

from edgepose.errors import UsageError
from edgepose.events.event import Event, iso_time
from edgepose.events.outbox import Outbox
from edgepose.fleet.delivery import Delivery, deliver, quoted
from edgepose.io.uri import parse
from edgepose.networks.connection import NoRedirect, Patience, opener
from edgepose.version import __version__

TIMEOUT = 10.0
LONGEST_DELAY = 300.0
LEAST_SECRET = 16
GONE = 410


def secret_of(text: str) -> bytes:
    """The key in a secret: `whsec_` and base64, or any text of 16 characters or more.

    Raises:
        UsageError: there is none, or it is too short.
    """
    if text.startswith("whsec_"):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise UsageError(
                "EDGEPOSE_WEBHOOK_SECRET begins with whsec_, but is not base64."
            ) from None
    else:
        key = text.encode()
    if len(key) < LEAST_SECRET:
        raise UsageError(
            f"--webhook needs EDGEPOSE_WEBHOOK_SECRET, {LEAST_SECRET} bytes or more, to sign what it sends: "
            'export EDGEPOSE_WEBHOOK_SECRET="whsec_$(openssl rand -base64 24)"'
        )
    return key


def signature(key: bytes, number: str, stamp: str, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{number}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class WebHook(Delivery):
    """Delivers events to an address; see the module's text.

    Args:
        url: http:// or https://, credentials in it are sent as Basic. secret: see `secret_of`.
        database: the recorded events. first_delay: seconds after a try that failed; doubled to 5 minutes.
        timeout: seconds for an answer.

    Attributes:
        sent: events that were taken. gone: the other side wants no more (410).

    Raises:
        UsageError: the address or the secret cannot be meant. StoreError: the events cannot be read.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        database: Path,
        *,
        first_delay: float = 1.0,
        timeout: float = TIMEOUT,
    ) -> None:
        uri = parse(url)
        if uri.scheme not in ("http", "https") or not uri.host:
            raise UsageError(
                f"--webhook {uri.display} is no web address. Example: https://host/path"
            )
        super().__init__(f"webhook {uri.display}")
        self._key, self._first = secret_of(secret), first_delay
        port = f":{uri.port}" if uri.port else ""
        query = url.partition("?")[1] + url.partition("?")[2].partition("#")[0]
        host = f"[{uri.host}]" if ":" in uri.host else uri.host
        self._url = f"{uri.scheme}://{host}{port}{quoted((uri.path or '/') + query)}"
        self._login = ""
        if uri.user:
            login = base64.b64encode(f"{uri.user}:{uri.password}".encode()).decode()
            self._login = f"Basic {login}"
        self._opener = opener(Patience(timeout), NoRedirect())
        self._timeout = timeout
        self._delay, self.sent, self.gone = 0.0, 0, False
        self._outbox = Outbox(database, f"webhook {self._url}", from_start=False)
        self._thread.start()

    def _work(self) -> float:
        self._outbox.renew()
        self._outbox.touch()
        for event in self._outbox.after(self._outbox.upto, 100):
            trouble = self._post(event)
            if self.gone:
                self._trouble(
                    "the other side wants no more events (410); they are not sent any more"
                )
                self._stop.set()
                return 0.0
            if trouble:
                self._delay = min(LONGEST_DELAY, self._delay * 2 or self._first)
                self._trouble(f"{trouble}; tried again, events wait")
                # whoever records wakes us: a target that is away is not asked for each event
                self._stop.wait(self._delay * random.uniform(0.8, 1.2))
                return 0.0
            self._delay = 0.0
            self.sent += 1
            self._outbox.confirm(event.id or 0, 1)
            if self._stop.is_set():
                break
        return 0.0 if self._outbox.after(self._outbox.upto, 1) else 30.0

    def _post(self, event: Event) -> str:
        """Send an event; what went wrong, "" where it was taken."""
        stamp, number = str(int(time.time())), f"{self._outbox.run}-{event.id}"
        told: dict[str, Any] = {"type": f"person.{event.event}", "timestamp": iso_time(event.time)}
        body = json.dumps({**told, "data": event.sent()}).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": f"edgepose/{__version__}",
            "webhook-id": number,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._key, number, stamp, body),
        }
        if self._login:
            headers["authorization"] = self._login
        request = urllib.request.Request(self._url, body, headers)
        trouble, code = deliver(self._opener, request, self._timeout)
        self.gone = code == GONE
        return trouble

    def close(self) -> None:
        """End; what waits is sent at the next start."""
        super().close()
        self._outbox.close()
