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
STATUS = _object(
    source=TEXT,
    input=TEXT,
    state={"type": "string", "enum": ["idle", "connecting", "live", "lost", "ended", "failed"]},
    reason=TEXT,
    viewers=WHOLE,
    frames=WHOLE,
    fps=NUMBER,
    inference_ms=NUMBER,
    stages_ms={"type": "object"},
    people=WHOLE,
    network=TEXT,
    engine=TEXT,
)
ERROR = _object(error=TEXT)


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _answers(schema: Schema, *errors: int) -> Schema:
    texts = {400: "A parameter cannot be meant.", 404: "There is no such thing.", 503: "Not well."}
    answers: Schema = {
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    }
    for code in errors:
        content = {"application/json": {"schema": ERROR if code != 503 else {"type": "object"}}}
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
    from edgepose import __version__

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
        _query("since", time_text, "Not before."),
        _query("until", time_text, "Before."),
    ]
    source_schema = _object(source={"type": "string", "enum": sources}, sources=_list(TEXT))
    paths: Schema = {
        "/api/v1/events": _get(
            "Events, page by page",
            _object(events=_list(EVENT), cursor=TEXT),
            [
                *filters,
                _query("cursor", TEXT, "Of the page before."),
                _query("limit", page, "Events in a page."),
                _query("order", {"type": "string", "enum": ["newest", "oldest"]}, "Which first."),
            ],
            400,
        ),
        "/api/v1/events/hours": _get(
            "Counts by hour",
            _object(hours=_list(_object(start=time_text, enter=WHOLE, exit=WHOLE, cross=WHOLE))),
            filters,
            400,
        ),
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
        "/api/v1/stats": _get("States and speed", {"type": "object"}),
        "/api/v1/networks": _get("Networks", _object(networks=_list({"type": "object"}))),
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
                "responses": _answers(source_schema, 400),
            },
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
        ),
        "/healthz": _get("Is all well?", {"type": "object"}, None, 503),
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgepose", "version": __version__},
        "paths": paths,
    }
