"""The OpenAPI document of the HTTP interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgepose.events.event import KINDS
from edgepose.events.zones import REFERENCES
from edgepose.version import __version__

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
BOOL: Schema = {"type": "boolean"}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
EVENT = _object(
    id=WHOLE,
    event={"type": "string", "enum": list(KINDS)},
    time={"type": "string", "format": "date-time"},
    track=MAYBE_WHOLE,
    zone=TEXT,
    direction=TEXT,
    gesture=TEXT,
    score=MAYBE_NUMBER,
    dwell=MAYBE_NUMBER,
    frame=MAYBE_WHOLE,
    box={"type": ["array", "null"], "items": NUMBER},
    source=TEXT,
    session=TEXT,
    camera=TEXT,
    snapshot=TEXT,
    note=TEXT,
)
PERSON = _object(
    track=WHOLE,
    id=MAYBE_WHOLE,
    score=MAYBE_NUMBER,
    since={"type": "string", "format": "date-time"},
    gestures=_list(TEXT),
)
STATUS = _object(
    time={"type": "string", "format": "date-time"},
    source=TEXT,
    input=TEXT,
    state={"type": "string", "enum": ["idle", "connecting", "live", "lost", "ended", "failed"]},
    reason=TEXT,
    viewers=WHOLE,
    frames=WHOLE,
    fps=NUMBER,
    inference_ms=NUMBER,
    stages_ms={"type": "object", "additionalProperties": NUMBER},
    what=TEXT,
    people=WHOLE,
    inside=_list(PERSON),
    zones={"type": "object", "additionalProperties": WHOLE},
    network=TEXT,
    engine=TEXT,
)
POINTS = _list(_list(NUMBER))
ZONE: Schema = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "polygon": POINTS,
        "line": POINTS,
        "reference": {"type": "string", "enum": list(REFERENCES)},
        "enter_after": MAYBE_NUMBER,
        "exit_after": MAYBE_NUMBER,
        "fine": _list(TEXT),
        "right": TEXT,
        "left": TEXT,
    },
    "required": ["name"],
}
ZONES = _object(source=TEXT, zones=_list(ZONE), revision=TEXT, kept=BOOL, held=TEXT)
NEW_ZONES: Schema = {
    "type": "object",
    "properties": {"zones": _list(ZONE), "revision": TEXT},
    "required": ["zones"],
}
ERROR = _object(error=TEXT)
HEALTH = _object(
    ok=BOOL,
    reasons=_list(TEXT),
    failed=_list(TEXT),
    lost=_list(TEXT),
    events_written=BOOL,
    events_damaged=WHOLE,
)
STATS = _object(
    source=TEXT,
    sources=_list(_object(name=TEXT, input=TEXT)),
    network=TEXT,
    uptime_s=NUMBER,
    channels=_list(STATUS),
    events=_object(
        stored=BOOL,
        dropped=WHOLE,
        put_aside=WHOLE,
        without_picture=WHOLE,
        damaged=WHOLE,
        error=TEXT,
    ),
)
OFFER = _object(
    sdp={"type": "string", "pattern": "^v=0\\r?\\n"}, type={"type": "string", "enum": ["offer"]}
)
NETWORK = _object(
    name=TEXT,
    family=TEXT,
    description=TEXT,
    installed={"type": "boolean"},
    current={"type": "boolean"},
)


PAGE_SCHEMA: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
TIME: Schema = {"type": "string", "format": "date-time"}
TEXTS = {
    204: "There is none now.",
    400: "A parameter or the body cannot be meant.",
    401: "A token is needed.",
    403: "It came from another origin.",
    404: "There is no such thing.",
    409: "Somebody else has changed it, or it is set elsewhere.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    501: "An optional package is missing.",
    503: "Not now.",
}
Query = dict[str, tuple[Schema, str]]


@dataclass(frozen=True)
class Operation:
    """What may be asked at a path.

    Attributes:
        path, method, summary: of it.
        answer: JSON of it. kind: media type, where it is no JSON.
        query: parameters by name. inside: those in the path. body: JSON that it takes.
        errors: status codes of what may go wrong. token: whether it needs one.
    """

    path: str
    summary: str
    answer: Schema
    query: Query | None = None
    errors: tuple[int, ...] = ()
    method: str = "get"
    kind: str = "application/json"
    inside: Query | None = None
    body: Schema | None = None
    token: bool = True

    def as_dict(self) -> Schema:
        """As in the document."""
        parameters = [
            {"name": name, "in": place, "schema": schema, "description": text}
            | ({"required": True} if place == "path" else {})
            for place, given in (("query", self.query), ("path", self.inside))
            for name, (schema, text) in (given or {}).items()
        ]
        row: Schema = {"summary": self.summary, "parameters": parameters}
        if self.body is not None:
            row["requestBody"] = {"required": True, "content": _json(self.body)}
        answers = {"200": {"description": "Done.", "content": {self.kind: {"schema": self.answer}}}}
        codes = (401, 403, *self.errors) if self.token else self.errors
        for code in codes:
            schema = ERROR if self.token else self.answer
            told = {} if code == 204 else {"content": _json(schema)}
            answers[str(code)] = {"description": TEXTS[code], **told}
        return {**row, "responses": answers}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _operations(sources: list[str]) -> tuple[Operation, ...]:
    """The table."""
    name: Schema = {"type": "string", "enum": sources}
    kinds: Schema = {"type": "string", "enum": list(KINDS)}
    track: Schema = {"type": "integer", "minimum": 0, "maximum": 99999999999}
    filters: Query = {
        "event": (_list(kinds), "Kinds."),
        "zone": (_list(TEXT), 'Zones by name, "" = the whole picture.'),
        "gesture": (_list(TEXT), "Gestures, of begins and ends."),
        "track": (_list(track), "Track ids."),
        "source": (_list(name), "Inputs."),
        "since": (TIME, "Not before."),
        "until": (TIME, "Before."),
    }
    paging: Query = {
        "cursor": ({"type": "string", "pattern": "^[0-9]{0,18}$"}, "Of the page before."),
        "limit": (PAGE_SCHEMA, "Events in a page."),
        "order": ({"type": "string", "enum": ["newest", "oldest"]}, "Which first."),
    }
    numbered: Query = {
        "page": ({"type": "integer", "minimum": 1, "maximum": 2147483647}, "From 1."),
        "per-page": (PAGE_SCHEMA, "Events in a page."),
    }
    which: Query = {"source": (name, "Which input.")}
    size: Schema = {"type": "integer", "minimum": 1, "maximum": 8192}
    small: Query = {"size": (size, "Longest side in pixels.")}
    number: Query = {"number": ({"type": "integer", "minimum": 0}, "Of the event.")}
    current = _object(source=name, sources=_list(TEXT), webrtc=BOOL)
    result: Schema = {"type": ["object", "null"], "description": "As in docs/json.md."}
    poses = {**STATUS, "properties": {**STATUS["properties"], "result": result}}
    hour = _object(start=TIME, enter=WHOLE, exit=WHOLE, cross=WHOLE)
    row = _object(id=WHOLE, session_name=TEXT, event_name=TEXT, create_date_time=TEXT)
    pages = _object(count=WHOLE, page=WHOLE, per_page=WHOLE, pages=WHOLE)
    detections = _object(results=_list(row), pagination=pages)
    events = _object(events=_list(EVENT), cursor=TEXT)
    hours, networks = _object(hours=_list(hour)), _object(networks=_list(NETWORK))
    api, stored = "/api/v1/", (400, 404, 503)
    return (
        Operation(api + "events", "Events, page by page", events, {**filters, **paging}, stored),
        Operation(api + "events/hours", "Counts by hour", hours, filters, stored),
        Operation(
            api + "events/{number}/snapshot", "The picture stored with an event", TEXT, small,
            (400, 404, 503), kind="image/jpeg", inside=number,
        ),
        Operation(
            api + "picture", "A picture of now", TEXT, {**which, **small}, (204, 400, 404, 503),
            kind="image/jpeg",
        ),
        Operation(api + "poses", "Poses of the newest frame", poses, which, (400, 404)),
        Operation(api + "stats", "States and speed", STATS),
        Operation(api + "networks", "Networks", networks),
        Operation(api + "source", "The current source", current),
        Operation(
            api + "source", "Switch the current source", current, None, (400, 413, 415),
            method="put", body=_object(source=name),
        ),
        Operation(api + "zones", "Zones and lines of a source", ZONES, which, (404,)),
        Operation(
            api + "zones", "Take other zones and lines", ZONES, which, (400, 404, 409, 413, 415, 503),
            method="put", body=NEW_ZONES,
        ),
        Operation(
            api + "webrtc", "The live view over WebRTC: an answer to an offer",
            _object(sdp=TEXT, type=TEXT), which, (400, 404, 413, 415, 501, 503),
            method="post", body=OFFER,
        ),
        Operation("/detections", "Visits as the OpenVINO demo told them", detections, numbered, stored),
        Operation("/healthz", "Is all well? Needs no token", HEALTH, None, (503,), token=False),
        Operation("/metrics", "For Prometheus", TEXT, kind="text/plain"),
    )  # fmt: skip


def document(sources: list[str]) -> Schema:
    """The document, for a server with these sources."""
    paths: dict[str, Schema] = {}
    for operation in _operations(sources):
        paths.setdefault(operation.path, {})[operation.method] = operation.as_dict()
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgepose", "version": __version__},
        "paths": paths,
    }
