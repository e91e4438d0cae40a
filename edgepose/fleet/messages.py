"""What devices and the collector say to each other over MQTT. The topic says who speaks, never the payload.

| topic | content |
|---|---|
| edgepose/v1/DEVICE/events | a batch of events with its number |
| edgepose/v1/DEVICE/ack | the collector has a batch in its store |
| edgepose/v1/DEVICE/state | how the device is, retained; the last will says offline |
| edgepose/v1/DEVICE/config | settings for the device, retained |

Unknown fields are passed over, so that versions next to each other understand each other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepose.errors import UsageError
from edgepose.events.event import Event, event_of
from edgepose.json_file import parse_json

VERSION = 1
ROOT_TOPIC = "edgepose/v1"
EVENTS, ACK, STATE, CONFIG = "events", "ack", "state", "config"
MOST_EVENTS = 200  # of a batch
MOST_BATCH = 64 * 1024  # bytes of one
MOST_NAME = 64  # characters of a device
_NAME = re.compile(rf"[\w.-]{{1,{MOST_NAME}}}")
_RUN = re.compile(r"[0-9A-Za-z-]{1,64}")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_SALVAGE = re.compile(rb'"(run|batch|last)"\s*:\s*"?([0-9A-Za-z-]{1,64})')


class BadMessage(ValueError):
    """A message that cannot be meant. `batch` is what could be read of it, for its acknowledgement."""

    def __init__(self, reason: str, batch: Batch | None = None) -> None:
        super().__init__(reason)
        self.batch = batch


@dataclass(frozen=True)
class Batch:
    """Events of one device, in the order of their numbers.

    Attributes:
        run: number of the device's database. number: of the batch, counted by the device.
        first, last: numbers of events that it covers.
        events: their ids are their numbers.
    """

    run: str
    number: int
    first: int = 0
    last: int = 0
    events: tuple[Event, ...] = field(default=(), repr=False)


def check_device(name: str) -> str:
    """A device's name, where it can be one.

    Raises:
        UsageError: it is no word of a topic, or too long.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name of a device: it has 1 to {MOST_NAME} letters, digits, '-', '_' and '.'."
        )
    return name


def topic_of(device: str, what: str) -> str:
    """The topic of a device for events, ack, state or config."""
    return f"{ROOT_TOPIC}/{device}/{what}"


def device_of(topic: str) -> tuple[str, str]:
    """(device, what) of a topic.

    Raises:
        BadMessage: it is none of ours, or names no device.
    """
    words = topic.split("/")
    if len(words) != 4 or "/".join(words[:2]) != ROOT_TOPIC or not _NAME.fullmatch(words[2]):
        raise BadMessage(f"topic {topic[:200]!r}")
    return words[2], words[3]


# events and their acknowledgement ------------------------------------------------------------------
def dump(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return _ENCODER.encode(message).encode("utf-8", "backslashreplace")


def fitting(events: Sequence[Event], most: int = MOST_BATCH - 512) -> list[str]:
    """The first events as JSON, as many as a batch may have; none where the first alone is too long."""
    found: list[str] = []
    for event in events[:MOST_EVENTS]:
        told = event.sent()
        told["seq"] = told.pop("id")
        text = dump(told).decode()
        most -= len(text.encode()) + 1
        if most < 0:
            break
        found.append(text)
    return found


def dump_batch(batch: Batch, texts: Iterable[str], sent: str) -> bytes:
    """A batch as it is sent.

    Args:
        texts: its events, from `fitting`. sent: time in ISO 8601.
    """
    head = {"v": VERSION, "run": batch.run, "batch": batch.number, "first": batch.first}
    text = dump({**head, "last": batch.last, "sent": sent}).decode()
    return f'{text[:-1]},"events":[{",".join(texts)}]}}'.encode()


def read_batch(payload: bytes) -> Batch:
    """The batch in a message.

    Raises:
        BadMessage: it is too long, not JSON, of another version, or a field is not what it should be.
    """
    try:
        if len(payload) > MOST_BATCH:
            raise ValueError(f"{len(payload)} bytes")
        data = _object(payload)
        batch, events = _head(data), data.get("events")
        if not isinstance(events, list) or len(events) > MOST_EVENTS:
            raise ValueError("events is no list, or too long")
        found = tuple(_numbered(event) for event in events)
        if any(not batch.first <= (event.id or 0) <= batch.last for event in found):
            raise ValueError("the number of an event is not in the batch")
        return Batch(batch.run, batch.number, batch.first, batch.last, found)
    except (ValueError, OverflowError) as e:
        raise BadMessage(str(e), _salvaged(payload)) from None


def _object(payload: bytes) -> dict[str, Any]:
    data = parse_json(payload)
    if not isinstance(data, dict):
        raise ValueError("no object")
    if data.get("v") != VERSION:
        raise ValueError(f"version {str(data.get('v'))[:20]!r}")
    return data


def _head(data: dict[str, Any]) -> Batch:
    run = data.get("run")
    if not isinstance(run, str) or not _RUN.fullmatch(run):
        raise ValueError(f"run is {str(run)[:40]!r}")
    number, first, last = (_count_in(data, name) for name in ("batch", "first", "last"))
    return Batch(run, number, first, last)


def _count_in(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {str(value)[:40]!r}")
    return value


def _numbered(data: Any) -> Event:
    if not isinstance(data, dict) or type(data.get("seq")) is not int:
        raise ValueError("an event has no number")
    return event_of({**data, "id": data["seq"]})


def _salvaged(payload: bytes) -> Batch | None:
    """What tells a device that its batch has arrived, out of a message that cannot be read whole."""
    found = {k.decode(): v.decode() for k, v in reversed(_SALVAGE.findall(payload[:4096]))}
    try:
        return Batch(found["run"], int(found["batch"]), last=int(found["last"]))
    except (KeyError, ValueError):
        return None


def dump_ack(batch: Batch, now: str) -> bytes:
    """The acknowledgement of a batch."""
    return dump({"run": batch.run, "batch": batch.number, "last": batch.last, "now": now})


# state and config ------------------------------------------------------------------------------------
def read_state(payload: bytes) -> dict[str, Any]:
    """What a device says of itself.

    Raises:
        BadMessage: it is too long, not JSON, or of another version.
    """
    try:
        if len(payload) > MOST_BATCH:
            raise ValueError(f"{len(payload)} bytes")
        return _object(payload)
    except ValueError as e:
        raise BadMessage(str(e)) from None


def digest_of(settings: dict[str, Any]) -> str:
    """SHA-256 of settings, however they were written."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def dump_config(version: int, settings: dict[str, Any]) -> bytes:
    """Settings as they are pushed."""
    head = {"v": VERSION, "version": version, "sha256": digest_of(settings)}
    return dump({**head, "settings": settings})


def read_config(payload: bytes) -> tuple[int, dict[str, Any]]:
    """(version, settings) of a config message.

    Raises:
        BadMessage: it is not what was pushed.
    """
    data = read_state(payload)
    version, settings = data.get("version"), data.get("settings")
    if type(version) is not int or not 0 < version < 2**63 or not isinstance(settings, dict):
        raise BadMessage("no version or no settings")
    if data.get("sha256") != digest_of(settings):
        raise BadMessage("the checksum is another one")
    return version, settings
