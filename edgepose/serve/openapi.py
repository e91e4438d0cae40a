"""The OpenAPI document of the HTTP interface."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
EVENT = _object(
    id=WHOLE,
    event={"type": "string", "enum": ["enter", "exit", "cross"]},
    time={"type": "string", "format": "date-time"},
    track=MAYBE_WHOLE,
    zone=TEXT,
    direction=TEXT,
    dwell=MAYBE_NUMBER,
    frame=MAYBE_WHOLE,
    box={"type": ["array", "null"], "items": NUMBER},
    source=TEXT,
    session=TEXT,
    snapshot=TEXT,
    note=TEXT,
)
PERSON = _object(
    track=WHOLE,
    order=MAYBE_WHOLE,
    score=MAYBE_NUMBER,
    since={"type": "string", "format": "date-time"},
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
    people=WHOLE,
    inside=_list(PERSON),
    network=TEXT,
    engine=TEXT,
)
ERROR = _object(error=TEXT)
HEALTH = _object(ok={"type": "boolean"}, failed=_list(TEXT), events_written={"type": "boolean"})
STATS = _object(
    source=TEXT,
    sources=_list(_object(name=TEXT, input=TEXT)),
    network=TEXT,
    uptime_s=NUMBER,
    channels=_list(STATUS),
    events=_object(stored={"type": "boolean"}, dropped=WHOLE, error=TEXT),
)
OFFER = _object(sdp=TEXT, type={"type": "string", "enum": ["offer"]})
NETWORK = _object(
    name=TEXT,
    family=TEXT,
    description=TEXT,
    installed={"type": "boolean"},
    current={"type": "boolean"},
)


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _answers(schema: Schema, *errors: int) -> Schema:
    texts = {
        400: "A parameter or the body cannot be meant.",
        401: "A token is needed.",
        403: "It came from another origin.",
        404: "There is no such thing.",
        413: "The body is too long.",
        415: "The body is not JSON.",
        501: "An optional package is missing.",
        503: "Not now.",
    }
    answers: Schema = {
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    }
    for code in (401, 403, *errors):
        content = {"application/json": {"schema": ERROR}}
        answers[str(code)] = {"description": texts[code], "content": content}
    return answers


def _get(
    summary: str, schema: Schema, parameters: list[Schema] | None = None, *errors: int
) -> Schema:
    return {
        "get": {
            "summary": summary,
            "parameters": parameters or [],
            "responses": _answers(schema, *errors),
        }
    }


def document(sources: list[str]) -> Schema:
    """The document, for a server with these sources."""
    from edgepose.version import __version__

    page = {"type": "integer", "minimum": 1, "maximum": 1000}
    time_text = {"type": "string", "format": "date-time"}
    filters = [
        _query(
            "event",
            {"type": "array", "items": {"type": "string", "enum": ["enter", "exit", "cross"]}},
            "Kinds.",
        ),
        _query("zone", _list(TEXT), 'Zones by name, "" = the whole picture.'),
        _query(
            "track",
            {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99999999999}},
            "Track ids.",
        ),
        _query("source", _list({"type": "string", "enum": sources}), "Inputs."),
        _query("since", time_text, "Not before."),
        _query("until", time_text, "Before."),
    ]
    source_schema = _object(
        source={"type": "string", "enum": sources}, sources=_list(TEXT), webrtc={"type": "boolean"}
    )
    paths: Schema = {
        "/api/v1/events": _get(
            "Events, page by page",
            _object(events=_list(EVENT), cursor=TEXT),
            [
                *filters,
                _query(
                    "cursor", {"type": "string", "pattern": "^[0-9]{0,18}$"}, "Of the page before."
                ),
                _query("limit", page, "Events in a page."),
                _query("order", {"type": "string", "enum": ["newest", "oldest"]}, "Which first."),
            ],
            400,
            404,
            503,
        ),
        "/api/v1/events/hours": _get(
            "Counts by hour",
            _object(hours=_list(_object(start=time_text, enter=WHOLE, exit=WHOLE, cross=WHOLE))),
            filters,
            400,
            404,
            503,
        ),
        "/api/v1/events/{number}/snapshot": {
            "get": {
                "summary": "The picture stored with an event",
                "parameters": [
                    {
                        "name": "number",
                        "in": "path",
                        "required": True,
                        "schema": {"type": "integer", "minimum": 0},
                    }
                ],
                "responses": {
                    **_answers(ERROR, 404, 503),
                    "200": {
                        "description": "Done.",
                        "content": {"image/jpeg": {"schema": {"type": "string"}}},
                    },
                },
            }
        },
        "/api/v1/poses": _get(
            "Poses of the newest frame",
            {
                **STATUS,
                "properties": {**STATUS["properties"], "result": {"type": ["object", "null"]}},
            },
            [_query("source", {"type": "string", "enum": sources}, "Which input.")],
            400,
            404,
        ),
        "/api/v1/stats": _get("States and speed", STATS),
        "/api/v1/networks": _get("Networks", _object(networks=_list(NETWORK))),
        "/api/v1/source": {
            **_get("The current source", source_schema),
            "put": {
                "summary": "Switch the current source",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": _object(source={"type": "string", "enum": sources})
                        }
                    },
                },
                "responses": _answers(source_schema, 400, 413, 415),
            },
        },
        "/api/v1/webrtc": {
            "post": {
                "summary": "The live view over WebRTC: an answer to an offer",
                "parameters": [
                    _query("source", {"type": "string", "enum": sources}, "Which input.")
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": OFFER}},
                },
                "responses": _answers(_object(sdp=TEXT, type=TEXT), 400, 404, 413, 415, 501, 503),
            }
        },
        "/detections": _get(
            "Enter and exit events in the shape of the application that edgepose replaces",
            _object(
                results=_list(
                    _object(id=WHOLE, session_name=TEXT, event_name=TEXT, create_date_time=TEXT)
                ),
                pagination=_object(count=WHOLE, page=WHOLE, per_page=WHOLE, pages=WHOLE),
            ),
            [
                _query("page", {"type": "integer", "minimum": 1, "maximum": 2147483647}, "From 1."),
                _query("per-page", page, "Events in a page."),
            ],
            400,
            404,
            503,
        ),
        "/healthz": {
            "get": {
                "summary": "Is all well? Needs no token",
                "responses": {
                    str(code): {
                        "description": text,
                        "content": {"application/json": {"schema": HEALTH}},
                    }
                    for code, text in ((200, "Yes."), (503, "No."))
                },
            }
        },
        "/metrics": {
            "get": {
                "summary": "For Prometheus",
                "responses": {
                    "200": {"description": "Done.", "content": {"text/plain": {"schema": TEXT}}}
                },
            }
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgepose", "version": __version__},
        "paths": paths,
    }
