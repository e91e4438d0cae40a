"""A broker as people name it, and a client of it (paho-mqtt, extra `mqtt`): who we are, TLS, how we come back.

`mqtt://user:password@host:1883/path?word=value`, `mqtts://` with TLS. The words that every address may have:

| word | meaning |
|---|---|
| client | client id; random by default |
| ca | file of certificates for mqtts:// instead of the system's |
| cert, key | files of our own certificate and its key, where the broker asks for one |
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepose.errors import BackendUnavailable, OutputError, UnknownNameError, UsageError
from edgepose.files import valid
from edgepose.io.uri import parse

KEEPALIVE_SECONDS = 20
FIRST_DELAY, LONGEST_DELAY = 1, 30
COMMON = ("client", "ca", "cert", "key")


@dataclass(frozen=True)
class Broker:
    """A broker and how to log in.

    Attributes:
        path: what stands behind the host. words: those of the query that are not common to all.
        shown: the address without credentials, for people.
    """

    host: str
    port: int
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    client: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    shown: str = ""


def broker_of(target: str, words: Sequence[str] = ()) -> Broker:
    """The broker that an address names.

    Args:
        words: of the query that it may hold beside the common ones.

    Raises:
        UsageError: no mqtt:// URI, no host, an unknown word, or files for TLS without TLS.
    """
    uri = parse(target)
    if uri.scheme not in ("mqtt", "mqtts") or not uri.host:
        raise UsageError(
            f"{uri.display!r} is no MQTT target. Example: mqtt://broker:1883/building/door?qos=1"
        )
    given = dict(uri.query)
    known = [*words, *COMMON]
    for word, value in given.items():
        if word not in known:
            # a bare word may be a part of a password
            raise UnknownNameError("word in an mqtt:// URI", word if value else "***", known)
    secure = uri.scheme == "mqtts"
    common = {word: given.pop(word, "") for word in COMMON}
    files = [word for word in ("ca", "cert", "key") if common[word]]
    if files and not secure:
        raise UsageError(
            f"{uri.display}: {files[0]}= is for TLS; write mqtts:// instead of mqtt://."
        )
    if common["key"] and not common["cert"]:
        raise UsageError(f"{uri.display}: key= goes with cert=.")
    port = uri.port or (8883 if secure else 1883)
    path = uri.path.strip("/")
    return Broker(
        uri.host,
        port,
        path,
        uri.user,
        uri.password,
        secure,
        **common,
        words=given,
        shown=uri.display,
    )


def publish_topic(broker: Broker, target: str) -> str:
    """The topic that an address names.

    Raises:
        UsageError: there is none, or nobody can publish to it.
    """
    if not broker.path:
        raise UsageError(
            f"{broker.shown!r} is no MQTT target. Example: mqtt://broker:1883/building/door?qos=1"
        )
    if "#" in target or "+" in broker.path:
        raise UsageError(f"{broker.shown}: a topic to publish to holds no # and no +.")
    if valid(broker.path) != broker.path:
        raise UsageError(f"{valid(broker.shown)}: the topic is no valid text.")
    return broker.path


def number(broker: Broker, word: str, default: int, least: int, most: int) -> int:
    """A whole number in the query.

    Raises:
        UsageError: it is none, or out of bounds.
    """
    text = broker.words.get(word, str(default))
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        raise UsageError(f"{broker.shown}: {word}={text} is not a number from {least} to {most}.")
    return int(text)


def paho() -> Any:
    """The client library.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        import paho.mqtt.client as client
    except ImportError:
        raise BackendUnavailable(
            "MQTT needs paho-mqtt. Install it: pip install edgepose[mqtt]"
        ) from None
    return client


def make_client(broker: Broker, client_id: str = "") -> Any:
    """A paho client that logs in and comes back by itself, not at the same moment as all others.

    Raises:
        BackendUnavailable: no paho-mqtt. OutputError: a file for TLS cannot be read.
    """
    library = paho()
    client = library.Client(
        library.CallbackAPIVersion.VERSION2,
        client_id=broker.client or client_id,
        clean_session=True,  # the queue is ours; the broker need not remember us
    )
    if broker.user:
        client.username_pw_set(broker.user, broker.password)
    if broker.tls:
        try:
            client.tls_set(broker.ca or None, broker.cert or None, broker.key or None)
        except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
            named = ", ".join(f"{w}={v}" for w in COMMON[1:] if (v := getattr(broker, w)))
            raise OutputError(f"{broker.shown}: {named} cannot be read: {e}.") from None
    client.reconnect_delay_set(FIRST_DELAY, LONGEST_DELAY - random.randint(0, LONGEST_DELAY // 3))
    return client


def leave_word(client: Any, topic: str, payload: str | bytes, seconds: float) -> bool:
    """Publish a message that the broker keeps; whether it has it within so many seconds."""
    said = client.publish(topic, payload, qos=1, retain=True)
    try:
        said.wait_for_publish(seconds)
        return bool(said.is_published())
    except (RuntimeError, ValueError):  # the broker left first
        return False


def certificate_trouble(error: BaseException | None) -> str:
    """What is wrong with the broker's certificate, or with ours; "" where it is something else."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message or str(error)
    return str(error.reason or error) if isinstance(error, ssl.SSLError) else ""
