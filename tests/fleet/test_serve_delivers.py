"""A real `edgepose serve` that tells everybody at once: a broker, a web hook and a collector; settings pushed to it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, Subscriber, wait_for
from published import check_messages

from edgepose.collect.receive import Receiver
from edgepose.collect.store import Wanted
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.errors import UsageError
from edgepose.events.event import Event
from edgepose.events.log import EventLog, Filter
from edgepose.events.store import EventStore
from edgepose.fleet.link import FleetLink
from edgepose.fleet.messages import CONFIG, dump_config, topic_of
from edgepose.fleet.webhook import WebHook, secret_of, signature
from tests.conftest import hearing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Hook:
    """A web hook's other side.

    Attributes:
        got: (headers, body) of every request. answers: status codes to give first, then 204.
    """

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                code = hook.answers.pop(0) if hook.answers else 204
                self.send_response(code)
                if code == 302:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=b"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in list(self.got)]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def record(path: Path, count: int, first: int = 0) -> None:
    with EventStore(path) as store:
        session = store.begin("cam")
        store.record(session, [Event("enter", 1e9 + i, i) for i in range(first, first + count)])


def test_each_event_is_posted_once_signed_and_in_order(hook: Hook, tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    record(database, 3)  # a new hook is told what comes from now on
    with WebHook(hook.url, SECRET, database) as sender:
        record(database, 4, 3)
        sender.wake()
        wait_for(lambda: len(hook.got) == 4, "four posts")
    record(database, 2, 7)
    with WebHook(hook.url, SECRET, database):  # it goes on where it stood
        wait_for(lambda: len(hook.got) == 6, "two more")
    assert [e["data"]["track"] for e in hook.events()] == [3, 4, 5, 6, 7, 8]
    assert {e["type"] for e in hook.events()} == {"person.enter"}
    for headers, body in hook.got:
        number, stamp = headers["webhook-id"], headers["webhook-timestamp"]
        assert headers["webhook-signature"] == signature(secret_of(SECRET), number, stamp, body)
    assert len({headers["webhook-id"] for headers, _ in hook.got}) == 6


def test_gestures_go_the_same_ways(broker: Broker, hook: Hook, tmp_path: Path) -> None:
    """A begin and an end reach a web hook and the centre, with what they say."""
    database, seen = tmp_path / "events.db", Subscriber(broker.port)
    told = {"gesture": "wave", "score": 0.875, "track": 3}
    with (
        SqliteStore(tmp_path / "fleet.db", write=True) as centre,
        Receiver(f"mqtt://127.0.0.1:{broker.port}", centre),
        FleetLink(f"mqtt://127.0.0.1:{broker.port}/?device=waves", database) as device,
        WebHook(hook.url, SECRET, database) as sender,
    ):
        with EventStore(database) as store:
            session = store.begin("cam")
            events = [Event("begin", 1e9, **told), Event("end", 1e9 + 2, dwell=2.0, **told)]
            store.record(session, events)
        device.wake()
        sender.wake()
        wait_for(lambda: len(hook.got) == 2 and not device.waiting, "both ways")
        rows = centre.events(Wanted(devices=["waves"], gestures=["wave"]), oldest=True)
        assert centre.events(Wanted(devices=["waves"], gestures=["clap"])) == []
    assert [e["type"] for e in hook.events()] == ["person.begin", "person.end"]
    for both in ([e["data"] for e in hook.events()], rows):
        assert [{k: e[k] for k in told} for e in both] == [told, told]
        assert both[1]["dwell"] == 2.0
    assert {"events", "ack"} <= check_messages(list(seen.messages), "waves")
    seen.close()


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification's libraries."""
    body = b'{"test": 2432232314}'
    made = signature(secret_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


HOSTILE = {
    "100 without end": b"HTTP/1.1 100 Continue\r\n\r\n",
    "a header without end": b"x",
    "nothing": b"",
}


@pytest.mark.parametrize("beginning", sorted(HOSTILE))
def test_an_answer_without_end_is_given_up(tmp_path: Path, beginning: str) -> None:
    """The other side drips or pours for as long as it lives; the sender says so and tries again."""
    database, ended = tmp_path / "events.db", threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def pour(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            while not ended.wait(0.01):
                connection.sendall(HOSTILE[beginning])

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=pour, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    with (
        hearing() as lines,
        WebHook(url, SECRET, database, first_delay=0.01, timeout=0.3) as sender,
    ):
        record(database, 1)
        sender.wake()
        wait_for(lambda: "tried again" in "".join(lines), "a word about it")
    ended.set()
    listening.close()


def test_an_address_may_hold_any_character(hook: Hook, tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    with hearing() as lines, WebHook(f"{hook.url}&token=a b\xe4%20", SECRET, database) as sender:
        record(database, 1)
        sender.wake()
        wait_for(lambda: hook.got, "a post")
    assert not lines


@pytest.mark.parametrize("answer", [500, 404, 302, 429])
def test_what_is_not_taken_comes_again(hook: Hook, tmp_path: Path, answer: int) -> None:
    database = tmp_path / "events.db"
    hook.answers = [answer, answer]
    with WebHook(hook.url, SECRET, database, first_delay=0.01) as sender:
        record(database, 2)
        sender.wake()
        wait_for(lambda: len(hook.got) == 4, "two tries, then both")
    assert [e["data"]["track"] for e in hook.events()] == [0, 0, 0, 1]
    assert len({headers["webhook-id"] for headers, _ in hook.got}) == 2


def test_who_wants_no_more_gets_no_more(hook: Hook, tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    hook.answers = [410]
    with WebHook(hook.url, SECRET, database, first_delay=0.01) as sender:
        record(database, 3)
        sender.wake()
        wait_for(lambda: sender.gone, "the answer")
    assert len(hook.got) == 1


def test_a_login_goes_into_the_header_and_into_no_message(
    hook: Hook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [500]
    url = hook.url.replace("://", "://me:hunter2@")
    with WebHook(url, SECRET, tmp_path / "events.db", first_delay=0.01) as sender:
        record(tmp_path / "events.db", 1)
        sender.wake()
        wait_for(lambda: sender.sent, "the post")
    assert hook.got[0][0]["authorization"] == "Basic bWU6aHVudGVyMg=="
    assert caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("secret", ["", "short", "whsec_!!", "whsec_MfKQ"])
def test_secrets_that_are_none(secret: str) -> None:
    with pytest.raises(UsageError, match="EDGEPOSE_WEBHOOK_SECRET"):
        secret_of(secret)


def test_no_web_address(tmp_path: Path) -> None:
    for url in ("mqtt://host", "example.org/hook"):
        with pytest.raises(UsageError, match="no web address"):
            WebHook(url, SECRET, tmp_path / "events.db")


# the whole program ---------------------------------------------------------------------------------
HALF = {"name": "left half", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}


def test_serve_tells_everybody_and_takes_settings(
    broker: Broker, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served_module = pytest.importorskip("served", reason="the serve extra is not installed")
    film = served_module.make_film(tmp_path / "film.mp4", 30)
    seen = Subscriber(broker.port)
    monkeypatch.setattr(served_module, "SECRETS", {"EDGEPOSE_WEBHOOK_SECRET": SECRET})
    words = [f"hall={film}", f"desk={film}", "--always", "--db", str(tmp_path / "events.db")]
    words += ["--mqtt", broker.url("site"), "--mqtt-discovery", "--webhook", hook.url]
    words += ["--fleet", f"mqtt://127.0.0.1:{broker.port}/?device=cam-9", "--exit-after", "1"]
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        receiver = Receiver(f"mqtt://127.0.0.1:{broker.port}", store)
        served = served_module.Served(tmp_path / "home", *words)
        try:
            wait_for(lambda: store.events(Wanted(devices=["cam-9"])), "an event in the centre", 60)
            wait_for(lambda: hook.got, "an event at the hook")
            wait_for(lambda: seen.texts("site/hall/people"), "an event on the broker")
            wait_for(lambda: seen.texts("site/desk/people"), "one of the other camera")
            state = json.loads(seen.texts("site/hall/state")[-1])
            assert state.keys() == {"people", "zones", "up"}
            found = [
                t for t, _, _ in seen.messages if t.startswith("homeassistant/") and "site" in t
            ]
            assert len(set(found)) >= 4
            told = next(d.state for d in store.devices() if d.name == "cam-9")
            assert {s["name"] for s in told["sources"]} == {"hall", "desk"}
            push(seen, "cam-9", 7, {"zones": {"zones": [HALF]}, "exit_after": 1.5})
            wait_for(lambda: config(store)["have"] == 7, "the settings", 60)
            wait_for(
                lambda: store.events(Wanted(devices=["cam-9"], zones=["left half"])), "the zone", 60
            )
            push(seen, "cam-9", 8, {"exit_after": "never"})
            wait_for(lambda: config(store)["error"], "the refusal", 60)
            assert (config(store)["wanted"], config(store)["have"]) == (8, 7)
            kinds = check_messages(list(seen.messages), "cam-9")
            assert kinds == {"events", "ack", "state", "config"}
        finally:
            assert served.end() == 0, "".join(served.said)
            receiver.close()
        wait_for(lambda: json.loads(seen.texts("site/hall/state")[-1])["people"] >= 0, "the end")
        assert seen.texts("site/status")[-1] == "offline"
    seen.close()


def test_a_killed_device_loses_nothing_and_tells_nothing_twice(
    broker: Broker, tmp_path: Path
) -> None:
    """A real `edgepose serve`, killed while it delivers and started again: the store has what its database has."""
    served_module = pytest.importorskip("served", reason="the serve extra is not installed")
    film, database = served_module.make_film(tmp_path / "film.mp4", 6), tmp_path / "events.db"
    target = f"mqtt://127.0.0.1:{broker.port}/?device=killed"
    words = [f"door={film}", "--always", "--no-pace", "--db", str(database), "--fleet", target]
    words += ["--enter-after", "0", "--exit-after", "0.2"]
    mine = Wanted(devices=["killed"])
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        with Receiver(f"mqtt://127.0.0.1:{broker.port}", store):
            for run in (1, 2):
                served = served_module.Served(tmp_path / "home", *words)
                wait_for(
                    lambda run=run: len(store.events(mine, limit=500)) > 20 * run, "events", 60
                )
                served.process.kill()
                served.end()
            with FleetLink(target, database) as device:  # what was left waits on the disk
                wait_for(lambda: not device.waiting, "the rest")
        rows = [{k: row[k] for k in ("event", "track", "time")} for row in events_of(store)]
    recorded = [
        {"event": e.event, "track": e.track, "time": e.time}
        for e in EventLog(database).page(Filter(), limit=1000, newest_first=False).events
    ]
    assert len(recorded) > 40
    assert [{**row, "time": pytest.approx(row["time"], abs=1e-3)} for row in rows] == recorded


def events_of(store: SqliteStore) -> list[dict[str, Any]]:
    return sorted(store.events(Wanted(devices=["killed"]), limit=1000), key=lambda row: row["seq"])


@pytest.mark.long
def test_settings_under_which_a_camera_stays_away_are_taken_back(
    broker: Broker, tmp_path: Path
) -> None:
    """With the minute that a camera has in truth."""
    served_module = pytest.importorskip("served", reason="the serve extra is not installed")
    film, seen = served_module.make_film(tmp_path / "film.mp4", 30), Subscriber(broker.port)
    words = [f"hall={film}", "--always", "--db", str(tmp_path / "events.db")]
    words += ["--fleet", f"mqtt://127.0.0.1:{broker.port}/?device=cam-9"]
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        receiver = Receiver(f"mqtt://127.0.0.1:{broker.port}", store)
        served = served_module.Served(tmp_path / "home", *words)
        try:
            wait_for(lambda: store.devices() and served.frames("hall"), "frames", 60)
            push(seen, "cam-9", 1, {"exit_after": 1.5})
            wait_for(lambda: config(store)["have"] == 1, "settings that work", 60)
            film.rename(tmp_path / "away.mp4")
            push(seen, "cam-9", 2, {"exit_after": 3})
            wait_for(lambda: config(store)["error"], "settings that do not", 120)
            assert config(store) == {"wanted": 2, "have": 1, "error": "hall did not come up"}
            (tmp_path / "away.mp4").rename(film)
            wait_for(lambda: served.state("hall").get("state") == "live", "the camera")
        finally:
            assert served.end() == 0, "".join(served.said)
            receiver.close()
    kept = json.loads((tmp_path / "events-settings.json").read_text())
    assert (kept["version"], kept["settings"]) == (1, {"exit_after": 1.5})
    seen.close()


def push(seen: Subscriber, device: str, version: int, settings: dict[str, Any]) -> None:
    message = dump_config(version, settings)
    seen.client.publish(topic_of(device, CONFIG), message, qos=1, retain=True).wait_for_publish(5)


def config(store: SqliteStore) -> dict[str, Any]:
    state = next(d.state for d in store.devices() if d.name == "cam-9")
    return {"have": 0, "error": "", **state.get("config", {})}
