"""`edgepose serve` as a process: errors, secrets, signals, SIGKILL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from served import NETWORK, Served, pictures, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from edgepose.events.log import EventLog, Filter

TOKEN = "a-token-for-the-tests"


def run(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EDGEPOSE_")}
    return subprocess.run(
        [sys.executable, "-m", "edgepose", "serve", "--no-download", *words],
        env={**clean, "EDGEPOSE_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nofile.mp4"], 1, "nofile.mp4 does not exist"),
        (["foo://x"], 2, "Unknown input scheme 'foo'"),
        (["--host", "192.0.2.1"], 2, "no address of this machine"),
        (["--network", "nonet"], 2, "Unknown network 'nonet'"),
        (["--overlay", "bones"], 2, "Did you mean 'boxes'?"),
        (["--zones", "nofile.json"], 2, "nofile.json does not exist"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path: Path, words: list[str], code: int, says: str) -> None:
    done = run(tmp_path, "--port", "0", "--db", "none", *words)
    lines = done.stderr.splitlines()
    assert says in lines[-1]
    assert lines[-1].startswith("edgepose: ")
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.db"))


def test_a_missing_extra_is_said_with_the_command_that_brings_it() -> None:
    script = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['edgepose', 'serve']; "
        "from edgepose.cli.door import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'edgepose[serve]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_weak_token_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "0", EDGEPOSE_TOKEN="letmein")
    assert done.returncode == 2
    assert "EDGEPOSE_TOKEN" in done.stderr
    assert "letmein" not in done.stderr


def test_beyond_loopback_a_token_is_made_and_shown_once(tmp_path: Path) -> None:
    served = Served(tmp_path, "--host", "0.0.0.0", "--db", "none")
    try:
        token = served.url.partition("?token=")[2]
        assert len(token) >= 32
        assert sum(token in line for line in served.said) == 1
        base = f"http://127.0.0.1:{served.port}"
        assert served.http.get(base + "/api/v1/stats").status_code == 401
        first = served.http.get(base + f"/?token={token}")
        assert first.status_code == 303
        assert served.http.get(base + "/api/v1/stats").status_code == 200  # the cookie
    finally:
        assert served.end() == 0
    assert sum(token in line for line in served.said) == 1


def test_the_password_of_a_camera_appears_nowhere(tmp_path: Path) -> None:
    uri = "rtsp://admin:hunter2@127.0.0.1:9/cam?token=hunter3"
    served = Served(tmp_path, uri, "--db", str(tmp_path / "e.db"), token=TOKEN)
    paths = ["/", "/detections", "/healthz", "/metrics", "/api/v1/events", "/api/v1/poses"]
    paths += ["/api/v1/stats", "/api/v1/source", "/api/v1/openapi.json", "/api/v1/events/hours"]
    try:
        served.get("/api/v1/poses")  # looks, so that the camera is tried
        wait_for(lambda: served.state("camera").get("state") == "lost", "the missing camera")
        answers = [served.http.get(p) for p in paths]
        assert {a.status_code for a in answers} == {200}
        texts = [a.text + str(a.headers) for a in answers]
        ws = f"ws://127.0.0.1:{served.port}/ws"
        with connect(ws, additional_headers={"authorization": f"Bearer {TOKEN}"}) as socket_:
            texts.append(str(socket_.recv(timeout=20)))
    finally:
        served.end()
    texts += served.said
    assert any("rtsp://127.0.0.1:9/cam" in t for t in texts)
    for secret in ("hunter2", "hunter3", TOKEN):
        assert not any(secret in t for t in texts)
    stored = b"".join(p.read_bytes() for p in tmp_path.glob("e.db*"))
    assert b"hunter" not in stored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_while_people_look(tmp_path: Path, number: int) -> None:
    served = Served(tmp_path, "--db", str(tmp_path / "e.db"), "--enter-after", "0.1")
    with connect(f"ws://127.0.0.1:{served.port}/ws") as socket_:
        looking = pictures(served.http, "/example_video", 100_000)
        assert next(looking)
        while json.loads(socket_.recv(timeout=30))["type"] != "event":
            continue
        served.process.send_signal(number)
        with contextlib.suppress(ConnectionClosed):
            while True:  # until it is closed; a hanging one ends in TimeoutError
                socket_.recv(timeout=20)
        with contextlib.suppress(Exception):  # the stream ends, in order or not
            for _ in looking:
                pass
    assert served.process.wait(20) == 0
    served.end()
    assert not any("Traceback" in line for line in served.said)
    with EventLog(tmp_path / "e.db") as log:
        assert list(log.all()) == []  # test figures are no people
        events = list(log.all(Filter(examples="with")))
        (session,) = log.sessions()
    assert session.ended is not None
    assert {e.event for e in events} == {"enter", "exit"}
    assert {e.note for e in events if e.event == "exit"} == {"end of stream"}


def test_a_killed_server_loses_no_event_that_it_told_and_doubles_none(tmp_path: Path) -> None:
    """Killed in the middle of many events, started again, killed again."""
    database = tmp_path / "e.db"
    # three people enter and leave twice a second
    words = ["test://people?size=160x120&rate=15&frames=8", "--always", "--enter-after", "0.1"]
    told: dict[int, dict[str, Any]] = {}
    for _ in range(2):
        served = Served(tmp_path, *words, "--db", str(database))
        before = len(told)
        with connect(f"ws://127.0.0.1:{served.port}/ws") as socket_:
            with contextlib.suppress(ConnectionClosed):
                while len(told) < before + 12:
                    message = json.loads(socket_.recv(timeout=30))
                    if message["type"] == "event":
                        told[message["event"]["id"]] = message["event"]
                served.process.kill()
                while True:
                    message = json.loads(socket_.recv(timeout=20))
                    if message["type"] == "event":
                        told[message["event"]["id"]] = message["event"]
        assert served.end() == -signal.SIGKILL
    last = Served(tmp_path, "--db", str(database))
    assert last.end() == 0
    with EventLog(database) as log:
        stored = [e.as_dict() for e in log.all(Filter(examples="with"))]
    assert len(told) >= 24
    by_id = {e["id"]: e for e in stored}
    assert {i: by_id.get(i) for i in told} == told
    keys = [(e["session"], e["event"], e["track"], e["time"]) for e in stored]
    assert len(set(keys)) == len(keys)
    # nobody is inside for ever
    enters = sum(e["event"] == "enter" for e in stored)
    assert enters == sum(e["event"] == "exit" for e in stored)


def test_the_default_shows_test_figures(tmp_path: Path) -> None:
    served = Served(tmp_path, "--db", "none", network=NETWORK)
    try:
        assert served.get("/api/v1/source")["sources"] == ["example"]
        assert served.get("/api/v1/stats")["sources"][0]["input"] == "test://people"
        answer = served.http.get("/api/v1/events")
        assert answer.status_code == 404
        assert "--db" in answer.json()["error"]
    finally:
        assert served.end() == 0
