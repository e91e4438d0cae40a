"""The HTTP interface of a real server on loopback."""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import jsonschema
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import Served, pictures, wait_for
from websockets.sync.client import connect

from edgepose.events.event import Event
from edgepose.events.store import EventStore
from edgepose.io.sinks import metrics
from edgepose.io.sources.testsrc import read_clock
from edgepose.serve.report import quoted

NOW = 1_790_000_000.0
RESULT_SCHEMA = Path(metrics.__file__).with_name("result.schema.json")


def decoded(jpeg: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)


def schema_of(server: Served, path: str, method: str = "get") -> dict[str, Any]:
    document = server.get("/api/v1/openapi.json")
    content = document["paths"][path][method]["responses"]["200"]["content"]
    return dict(content["application/json"]["schema"])


@pytest.fixture
def events(server: Served) -> list[dict[str, Any]]:
    """Events of both kinds: somebody looked until figures had entered, and all left at the end."""

    def some() -> list[dict[str, Any]]:
        asked = server.get("/api/v1/events", source="example", limit=1000)
        found: list[dict[str, Any]] = asked["events"]
        return found if {"enter", "exit"} <= {e["event"] for e in found} else []

    with server.http.stream("GET", "/example_video"):
        return list(wait_for(some, "an enter and an exit"))


def test_the_page_and_its_files(server: Served) -> None:
    page = server.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for kind, name in (("text/javascript", "app.js"), ("text/css", "style.css")):
        assert f"/static/{name}" in page.text
        assert server.http.get(f"/static/{name}").headers["content-type"].startswith(kind)
    assert server.http.get("/static/icon.svg").headers["content-type"] == "image/svg+xml"
    # nothing from elsewhere, nothing inline
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "<style" not in page.text
    assert " style=" not in page.text


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/index.html"]
)
def test_there_are_no_other_files(server: Served, path: str) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["x-frame-options"] == "DENY"


def test_pictures_move_and_show_skeletons(server: Served) -> None:
    jpegs = list(pictures(server.http, "/camera_feed", 4))
    assert len(set(jpegs)) == 4
    assert {decoded(j).shape for j in jpegs} == {(240, 320, 3)}
    clocks = [read_clock(decoded(j)) for j in jpegs]
    assert all(c is not None for c in clocks)
    assert clocks == sorted(clocks)  # type: ignore[type-var]


def test_the_example_is_another_picture(server: Served) -> None:
    (jpeg,) = pictures(server.http, "/example_video", 1)
    assert decoded(jpeg).shape == (240, 320, 3)
    assert server.state("example")["input"].endswith("figures.mp4")


def test_head_of_a_feed_ends(server: Served) -> None:
    assert server.http.head("/camera_feed").status_code == 200


def test_messages_come_over_a_websocket(server: Served) -> None:
    kinds: dict[str, dict[str, Any]] = {}
    with connect(f"ws://127.0.0.1:{server.port}/ws?source=camera&poses=1") as socket:
        while not {"state", "history", "figures", "poses"} <= set(kinds):
            message = json.loads(socket.recv(timeout=20))
            kinds[message["type"]] = message
        # figures come once people have entered
        while not kinds["figures"]["people"]:
            message = json.loads(socket.recv(timeout=20))
            kinds[message["type"]] = message
    figures, poses = kinds["figures"], kinds["poses"]
    assert figures["state"] == "live"
    assert {"network", "track", "postprocess"} <= set(figures["stages_ms"])
    assert {p["track"] for p in figures["inside"]} <= set(range(1, 10))
    assert (poses["width"], poses["height"]) == (320, 240)
    nose = poses["poses"][0]["keypoints"]["nose"]
    assert 0 <= nose["x"] <= 320
    assert 0 <= nose["y"] <= 240
    schema = json.loads(RESULT_SCHEMA.read_text())
    jsonschema.validate({k: v for k, v in poses.items() if k != "type"}, schema)


def test_poses_are_not_sent_to_who_did_not_ask(server: Served) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/ws?source=camera") as socket:
        kinds = [json.loads(socket.recv(timeout=20))["type"] for _ in range(5)]
    assert "poses" not in kinds
    assert kinds[:2] == ["state", "history"]


def test_an_event_arrives_over_a_websocket_once_it_is_stored(server: Served) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/ws?source=example") as socket:
        while (message := json.loads(socket.recv(timeout=30)))["type"] != "event":
            continue
    event = message["event"]
    asked = {"order": "oldest", "cursor": event["id"] - 1, "limit": 1}
    found = server.get("/api/v1/events", source="example", **asked)
    assert found["events"] == [event]
    jsonschema.validate(event, schema_of(server, "/api/v1/events")["properties"]["events"]["items"])


def test_a_websocket_says_why_it_closes(server: Served) -> None:
    from websockets.exceptions import ConnectionClosedError

    for query, reason in (("source=roof", "no source 'roof'"), ("device-name=x", "Unknown device")):
        with connect(f"ws://127.0.0.1:{server.port}/ws?{query}") as socket:
            with pytest.raises(ConnectionClosedError) as caught:
                socket.recv(timeout=20)
        assert reason in str(caught.value)


def test_foreign_pages_get_no_websocket(server: Served) -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://127.0.0.1:{server.port}/ws", origin="http://evil.example")  # type: ignore[arg-type]
    assert caught.value.response.status_code == 403


@pytest.fixture
def real(server: Served) -> None:
    """Events of a camera, beside those of the example."""
    with EventStore(server.home / "events.db") as store:
        session = store.begin("rtsp://door/")
        for k in range(8):
            store.record(session, [Event(("enter", "exit")[k % 2], NOW + k, k // 2)])


def test_examples_are_not_among_the_real_events(
    server: Served, real: None, events: list[dict[str, Any]]
) -> None:
    listed = server.get("/api/v1/events", limit=1000)["events"]
    assert {e["source"] for e in listed} == {"rtsp://door/"}
    names = {r["session_name"] for r in server.get("/detections")["results"]}
    assert all(name.startswith("session-") for name in names)
    assert all(e["session"].startswith("example-") for e in events)
    hours = server.get("/api/v1/events/hours")["hours"]
    assert sum(h["enter"] for h in hours) == sum(e["event"] == "enter" for e in listed)


def test_detections_have_the_shape_of_the_application_before(server: Served, real: None) -> None:
    answer = server.get("/detections", page=1, **{"per-page": 2})
    assert set(answer) == {"results", "pagination"}
    assert answer["pagination"]["page"] == 1
    assert answer["pagination"]["per_page"] == 2
    assert answer["pagination"]["count"] >= 2
    assert answer["pagination"]["pages"] == -(-answer["pagination"]["count"] // 2)
    for row in answer["results"]:
        assert set(row) == {"id", "session_name", "event_name", "create_date_time"}
        assert row["session_name"].startswith("session-2")
        assert row["event_name"] in ("appeared", "disappeared")
        assert row["create_date_time"].endswith("GMT")
        assert parsedate_to_datetime(row["create_date_time"])
    second = server.get("/detections", page=2, **{"per-page": 1})["results"]
    assert second == answer["results"][1:]
    assert server.get("/detections")["pagination"]["per_page"] == 100


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page=0", 400),
        ("page=-1", 400),
        ("page=x", 400),
        ("page=99999999999999999999", 400),
        ("page=1000000", 404),
        ("per-page=0", 400),
        ("per-page=1001", 400),
        ("per-page=١", 400),
    ],
)
def test_pages_are_bounded(server: Served, query: str, code: int) -> None:
    answer = server.http.get(f"/detections?{query}")
    assert answer.status_code == code
    assert answer.json()["error"]


def test_events_by_cursor(server: Served, real: None) -> None:
    oldest = server.get("/api/v1/events", order="oldest", limit=3)
    first = [e["id"] for e in oldest["events"]]
    more = server.get("/api/v1/events", order="oldest", limit=3, cursor=oldest["cursor"])
    assert first == sorted(first)
    assert all(e["id"] > first[-1] for e in more["events"])
    newest = server.get("/api/v1/events", limit=2)
    assert newest["events"][0]["id"] > newest["events"][1]["id"]


def test_events_by_filter(server: Served, events: list[dict[str, Any]]) -> None:
    only = server.get("/api/v1/events", event="exit", source="example", limit=1000)["events"]
    assert {e["event"] for e in only} == {"exit"}
    assert all(e["dwell"] >= 0 for e in only)
    assert {e["source"] for e in only} == {server.state("example")["input"]}
    assert server.get("/api/v1/events", since="2100-01-01T00:00:00Z")["events"] == []
    until = server.get("/api/v1/events", source="example", until=only[0]["time"], limit=1000)[
        "events"
    ]
    assert all(e["time"] < only[0]["time"] for e in until)
    track = only[0]["track"]
    tracks = server.get("/api/v1/events", source="example", track=track)["events"]
    assert {e["track"] for e in tracks} == {track}


@pytest.mark.parametrize(
    "query",
    [
        "event=dance", "limit=0", "limit=1001", "cursor=x", "cursor=-1", "since=yesterday",
        "until=2026-13-01", "track=-1", "track=1e3", "order=best", "source=roof",
        "&".join(["track=1"] * 101),
    ],
)  # fmt: skip
def test_filters_that_cannot_be_meant(server: Served, query: str) -> None:
    answer = server.http.get(f"/api/v1/events?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]


def test_snapshots_by_the_number_of_their_event(
    server: Served, events: list[dict[str, Any]]
) -> None:
    seen = next(e for e in events if e["snapshot"])
    answer = server.http.get(f"/api/v1/events/{seen['id']}/snapshot")
    assert answer.headers["content-type"] == "image/jpeg"
    assert decoded(answer.content).shape == (240, 320, 3)
    for number in ("0", "99999999", "9" * 30, "9" * 5000, "-1", "1e5", "%C2%B2", "%00", "a"):
        assert server.http.get(f"/api/v1/events/{number}/snapshot").status_code == 404


def test_answers_are_as_openapi_says(server: Served, events: list[dict[str, Any]]) -> None:
    document = server.get("/api/v1/openapi.json")
    for path, operations in document["paths"].items():
        if "{" in path or "post" in operations:
            continue  # test_snapshots..., test_webrtc.py
        for method, operation in operations.items():
            body: dict[str, Any] = {"source": server.get("/api/v1/source")["source"]}
            if path.endswith("/zones"):
                body = {"zones": []}
            answer = server.http.request(method, path, json=body if method == "put" else None)
            if answer.status_code == 204:  # a picture of who has been idle: test_cameras.py
                assert "204" in operation["responses"]
                continue
            assert answer.status_code == 200, path
            content = operation["responses"]["200"]["content"]
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in content, path
            if kind == "application/json":
                schema = content[kind]["schema"]
                jsonschema.Draft202012Validator.check_schema(schema)
                jsonschema.validate(answer.json(), schema)


def test_the_current_source_is_switched_for_all(server: Served) -> None:
    there = server.get("/api/v1/source")
    assert (there["source"], there["sources"]) == ("camera", ["camera", "example"])
    with connect(f"ws://127.0.0.1:{server.port}/ws?source=camera") as socket:
        assert json.loads(socket.recv(timeout=20))["type"] == "state"
        answer = server.http.put("/api/v1/source", json={"source": "example"})
        assert answer.json()["source"] == "example"
        while (message := json.loads(socket.recv(timeout=20)))["type"] != "source":
            continue
    assert message["source"] == "example"
    assert server.get("/api/v1/poses")["source"] == "example"
    server.http.put("/api/v1/source", json={"source": "camera"})


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"source": 1}', b'{"source": "roof"}', b"[" * 10_000, b"\xff"]
)
def test_switches_that_cannot_be_meant(server: Served, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = server.http.put("/api/v1/source", content=body, headers=headers)
    assert answer.status_code == 400
    assert server.get("/api/v1/source")["source"] == "camera"


def test_long_bodies_are_cut_off(server: Served) -> None:
    headers = {"content-type": "application/json"}

    def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1024

    for content in (b" " * 100_000, chunks()):
        try:
            answer = server.http.put("/api/v1/source", content=content, headers=headers)
            assert answer.status_code == 413
        except httpx.TransportError:
            continue  # closed while we were still sending


def test_device_and_precision_of_the_address(server: Served) -> None:
    # the CPU is what this server runs on: the same channel, no second engine
    (jpeg,) = pictures(server.http, "/camera_feed?device-name=CPU", 1)
    assert jpeg
    (jpeg,) = pictures(server.http, "/camera_feed?device_name=AUTO", 1)
    cameras = [c for c in server.get("/api/v1/stats")["channels"] if c["source"] == "camera"]
    assert len(cameras) == 1
    for query, word in (
        ("device-name=TOASTER", "TOASTER"),
        ("device-name=MYRIAD", "dropped"),
        ("precision=FP7", "FP7"),
        ("precision=FP16-INT8", "no FP16-INT8 weights"),
    ):
        answer = server.http.get(f"/camera_feed?{query}")
        assert answer.status_code == 400
        assert word in answer.json()["error"]


def test_health_and_metrics(server: Served) -> None:
    list(pictures(server.http, "/camera_feed", 1))
    well = {
        "ok": True,
        "status": "ok",
        "reasons": [],
        "failed": [],
        "lost": [],
        "events_written": True,
        "events_damaged": 0,
    }
    assert server.get("/healthz") == well
    lines = server.http.get("/metrics").text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    frames = [float(v) for k, v in values.items() if k.startswith("edgepose_frames_total")]
    assert max(frames) >= 1
    assert values["edgepose_events_dropped_total"] == "0"


def test_any_name_of_a_zone_can_be_a_label() -> None:
    name = 'the "back\\slash"\nroom'
    (family,) = text_string_to_metric_families(f'inside{{zone="{quoted(name)}"}} 1\n')
    assert family.samples[0].labels["zone"] == name


def test_metrics_have_the_names_of_posenet(server: Served) -> None:
    list(pictures(server.http, "/camera_feed", 1))
    families = {f.name: f for f in text_string_to_metric_families(server.http.get("/metrics").text)}
    told = re.findall(r"^\| (edgepose_\w+) \|", str(metrics.__doc__), re.M)
    known = {name.removesuffix("_total") for name in told}
    own = {"edgepose_viewers", "edgepose_people_inside"} | {
        n for n in families if n.startswith("edgepose_events_")
    }
    assert set(families) - own <= known
    wanted = {"edgepose_frames", "edgepose_poses_found", "edgepose_people_found"}
    assert wanted | {"edgepose_source_up"} <= set(families)
    assert "" in {s.labels["zone"] for s in families["edgepose_people_inside"].samples}
    stages = families["edgepose_stage_seconds"]
    assert stages.type == "histogram"
    counts = [s.value for s in stages.samples if s.labels.get("stage") == "network"]
    assert counts
    assert {"source", "channel"} <= set(stages.samples[0].labels)


def test_networks(server: Served) -> None:
    networks = server.get("/api/v1/networks")["networks"]
    assert [n["name"] for n in networks if n["current"]] == ["edgepose-lite-body"]
    assert all(n["family"] for n in networks)


def test_hours(server: Served, events: list[dict[str, Any]]) -> None:
    hours = server.get("/api/v1/events/hours", source="example")["hours"]
    assert sum(h["enter"] for h in hours) >= 1


def test_only_the_methods_there_are(server: Served) -> None:
    assert server.http.post("/api/v1/events", json={}).status_code == 405
    assert server.http.delete("/api/v1/source").status_code == 405


def test_zones_are_changed_while_the_camera_runs(tmp_path: Path) -> None:
    served = Served(tmp_path, "test://people?size=160x120&rate=15", "--db", str(tmp_path / "e.db"))
    whole = {"name": "all", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}

    def put(**body: Any) -> httpx.Response:
        return served.http.put("/api/v1/zones", json=body)

    def told(event: str) -> list[dict[str, Any]]:
        found = served.get("/api/v1/events", source="camera", zone="all", event=event)
        return list(found["events"])

    try:
        with served.http.stream("GET", "/camera_feed"):
            wait_for(lambda: served.state("camera").get("people"), "people")
            frames = served.frames("camera")
            before = served.get("/api/v1/zones", source="camera")
            assert (before["zones"], before["kept"], before["held"]) == ([], True, "")
            assert put(zones=[whole]).json()["zones"] == [whole]
            wait_for(lambda: served.state("camera")["zones"].get("all"), "people in the zone")
            wait_for(lambda: told("enter"), "the enters")
            assert put(zones=[], revision=before["revision"]).status_code == 409
            assert put(zones=[{}]).status_code == 400
            assert served.http.get("/api/v1/zones?source=roof").status_code == 404
            put(zones=[])
            left = wait_for(lambda: told("exit"), "the exits")
            assert {e["note"] for e in left} == {"zones changed"}
            # one session, one run: nobody else was interrupted
            assert served.frames("camera") > frames
            everything = served.get("/api/v1/events", source="camera")["events"]
            assert len({e["session"] for e in everything}) == 1
        assert json.loads((tmp_path / "e-zones.json").read_text()) == {"zones": []}
    finally:
        assert served.end() == 0
