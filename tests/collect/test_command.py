"""`edgepose collect` as people run it: TLS with an authority of its own, rights per device, the page, settings, check."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker import MOSQUITTO, Broker, wait_for
from fleet_peers import QUICK, Running, drained, environment, link, record

from edgepose.cli.main import run_words
from edgepose.collect.receive import ReceivePace, Receiver
from edgepose.collect.report import device_rows, problems
from edgepose.collect.store import Arrival, Wanted
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.errors import OutputError, UsageError
from edgepose.fleet.config import RemoteConfig, Settle
from edgepose.fleet.link import FleetLink
from edgepose.fleet.messages import dump, dump_config
from tests.certificates import certify

httpx = pytest.importorskip("httpx", reason="httpx is not installed")
pytest.importorskip("starlette", reason="the serve extra is not installed")


# TLS and rights --------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca, other (an authority nobody knows), server and client, each NAME.crt and NAME.key."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ca", "other"):
        certify(folder, name, ())
    for name in ("server", "client"):
        certify(folder, name, by="ca")
    return folder


PASSWORDS = {"cam-a": "aa", "cam-b": "bb", "collector": "cc"}
COMPOSE = Path(__file__).parents[2] / "docker" / "fleet"


@pytest.fixture(scope="module", params=[True, False] if MOSQUITTO else [True])
def strict(
    request: pytest.FixtureRequest, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """TLS, a certificate of ours asked for, passwords, and the rights of docker/fleet; of both brokers."""
    folder = tmp_path_factory.mktemp("strict")
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{user}:{word}\n" for user, word in PASSWORDS.items()))
    if not request.param:
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    lines = ["allow_anonymous false", f"password_file {passwords}", f"acl_file {COMPOSE / 'acl'}"]
    lines += [f"cafile {keys}/ca.crt", f"certfile {keys}/server.crt", f"keyfile {keys}/server.key"]
    made = Broker(folder, *lines, "require_certificate true", small=request.param).start()
    yield made
    made.kill()


def secure(broker: Broker, keys: Path, user: str, **words: str) -> str:
    words = {"ca": "ca.crt", "cert": "client.crt", "key": "client.key", **words}
    query = "&".join(
        f"{k}={keys / v}" if k in ("ca", "cert", "key") else f"{k}={v}" for k, v in words.items()
    )
    password = PASSWORDS.get(user, "wrong")
    return f"mqtts://{user}:{password}@127.0.0.1:{broker.port}/?{query}"


def test_devices_speak_for_themselves_only(strict: Broker, keys: Path, tmp_path: Path) -> None:
    """Device A that calls itself B is heard by nobody, and keeps its events."""
    for n in "ab":
        record(tmp_path / f"{n}.db", 3)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        receiver = Receiver(secure(strict, keys, "collector"), store, pace=ReceivePace(gather=0.01))
        honest = FleetLink(secure(strict, keys, "cam-a"), tmp_path / "a.db", pace=QUICK)
        forged = FleetLink(
            secure(strict, keys, "cam-a", device="cam-b"), tmp_path / "b.db", pace=QUICK
        )
        drained(honest)
        wait_for(lambda: forged.resent, "a second try")
        assert forged.waiting == 3
        assert {row["device"] for row in store.events()} == {"cam-a"}
        assert [d.name for d in store.devices()] == ["cam-a"]
        for one in (honest, forged, receiver):
            one.close()


@pytest.mark.parametrize(
    ("user", "words", "why"),
    [
        ("cam-a", {"ca": "other.crt"}, "no secure connection .*certificate"),
        ("nobody", {}, "the broker refuses us"),
    ],
)
def test_a_wrong_authority_or_password_is_an_error_at_the_start(
    strict: Broker, keys: Path, tmp_path: Path, user: str, words: dict[str, str], why: str
) -> None:
    record(tmp_path / "events.db", 1)
    with pytest.raises(OutputError, match=why) as caught:
        FleetLink(secure(strict, keys, user, **words), tmp_path / "events.db")
    assert "aa" not in str(caught.value).split()
    with (
        SqliteStore(tmp_path / "fleet.db", write=True) as store,
        pytest.raises(OutputError, match=why),
    ):
        Receiver(secure(strict, keys, user, **words), store)


@pytest.mark.parametrize("strict", [MOSQUITTO is None], indirect=True)  # it takes seconds
def test_a_broker_that_wants_a_certificate(strict: Broker, keys: Path, tmp_path: Path) -> None:
    record(tmp_path / "events.db", 1)
    target = f"mqtts://cam-a:aa@127.0.0.1:{strict.port}/?ca={keys}/ca.crt"
    device = FleetLink(
        target, tmp_path / "events.db", pace=QUICK
    )  # TLS 1.3 refuses after the handshake
    time.sleep(0.3)
    assert device.waiting == 1
    assert not device._connected
    device.close()


# the command --------------------------------------------------------------------------------------
def test_the_page_and_its_data(broker: Broker, tmp_path: Path) -> None:
    record(tmp_path / "events.db", 60)
    file = tmp_path / "fleet.db"
    words = (f"mqtt://127.0.0.1:{broker.port}", "--store", str(file), "--listen", "127.0.0.1:0")
    running = Running(tmp_path, *words)
    try:
        source = {"name": "door", "up": True, "fps": 14.5}
        with link(
            broker,
            tmp_path / "events.db",
            "cam-p",
            state=lambda: {"version": "1", "sources": [source]},
        ) as device:
            drained(device)
            http = httpx.Client(base_url=running.url, trust_env=False)
            assert "edgepose fleet" in http.get("/").text
            for name in ("fleet.js", "style.css", "icon.svg"):
                assert http.get(f"/static/{name}").status_code == 200
            assert http.get("/static/../app.py").status_code == 404
            wait_for(lambda: row(http)["waiting"] == 0, "the state")
            assert (row(http)["state"], row(http)["fps"], row(http)["version"]) == ("up", 14.5, "1")
            page = http.get("/api/v1/events", params={"limit": 40, "device": "cam-p"}).json()
            assert [e["seq"] for e in page["events"]] == list(range(60, 20, -1))
            rest = http.get(
                "/api/v1/events", params={"limit": 40, "cursor": page["cursor"], "device": "cam-p"}
            ).json()
            assert [e["seq"] for e in rest["events"]] == list(range(20, 0, -1))
            assert rest["cursor"] == ""
            one = http.get(
                "/api/v1/events", params={"track": "7", "zone": "zone é", "event": "enter"}
            ).json()
            assert [e["seq"] for e in one["events"]] == [8]
            for bad in (
                {"limit": "0"},
                {"cursor": "x"},
                {"event": "x"},
                {"track": "x"},
                {"since": "x"},
            ):
                assert http.get("/api/v1/events", params=bad).status_code == 400
            assert http.get("/healthz").json() == {"ok": True, "reasons": []}
            metrics = http.get("/metrics").text
            assert "edgepose_fleet_events_total 60" in metrics
            assert 'edgepose_device_up{device="cam-p"} 1' in metrics
            assert http.get("/api/v1/devices", headers={"host": "evil.example"}).status_code == 421
            http.close()
        second = subprocess.run(
            [sys.executable, "-m", "edgepose", "collect", *words],
            capture_output=True,
            text=True,
            env=environment(tmp_path),
        )
        assert (second.returncode, "Another collector" in second.stderr) == (1, True)
    finally:
        assert running.end() == 0, "".join(running.said)


def row(http: Any) -> dict[str, Any]:
    return next(
        (d for d in http.get("/api/v1/devices").json()["devices"] if d["name"] == "cam-p"),
        {"waiting": None},
    )


def test_beyond_loopback_there_is_tls_and_a_token(
    broker: Broker, keys: Path, tmp_path: Path
) -> None:
    where = f"mqtt://127.0.0.1:{broker.port}"
    assert (
        run_words(["collect", where, "--store", str(tmp_path / "a.db"), "--listen", "0.0.0.0:0"])
        == 2
    )
    words = (
        "--listen",
        "0.0.0.0:0",
        "--cert",
        str(keys / "server.crt"),
        "--key",
        str(keys / "server.key"),
    )
    running = Running(tmp_path, where, "--store", str(tmp_path / "b.db"), *words)
    try:
        assert running.url.startswith("https://")
        token = next(m[1] for line in running.said if (m := re.search(r"token=(\S+)", line)))
        trust = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        port = running.url.rpartition(":")[2]
        with httpx.Client(
            base_url=f"https://127.0.0.1:{port}", verify=trust, trust_env=False
        ) as http:
            assert http.get("/api/v1/devices").status_code == 401
            assert (
                http.get(
                    "/api/v1/devices", headers={"authorization": f"Bearer {token}"}
                ).status_code
                == 200
            )
    finally:
        assert running.end() == 0


@pytest.mark.parametrize(
    "words",
    [
        ["collect"],
        ["collect", "http://host/"],
        ["collect", "mqtt://h/", "--listen", "x"],
        ["collect", "mqtt://h/", "--cert", "a"],
        ["collect", "mqtt://h/", "--group", "g"],
        ["collect", "config", "pull", "cam", "file"],
        ["collect", "config", "push", "a/b", "file", "--broker", "mqtt://h/"],
        ["collect", "config", "push", "cam", "no-such-file", "--broker", "mqtt://h/"],
    ],
)
def test_what_cannot_be_meant(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEPOSE_FLEET", raising=False)
    assert run_words(words) == 2
    assert capsys.readouterr().err.count("\n") <= 3


# check and devices -----------------------------------------------------------------------------------
def test_check_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {
        "v": 1,
        "state": "online",
        "run": "r",
        "outbox": {"delivered": 4, "dropped": 2, "events": 0},
    }
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        store.write([Arrival("cam", time.time(), state=state)])
        found = problems(store)
    assert [line.split(":")[0] for line in found] == ["cam", "cam"]
    assert "4 of the 4 events" in found[0]
    assert "2 events were lost" in found[1]
    assert run_words(["collect", "check", "--store", str(tmp_path / "fleet.db")]) == 1
    assert "2 problems" in capsys.readouterr().out
    assert run_words(["collect", "devices", "--store", str(tmp_path / "fleet.db")]) == 0
    assert "cam" in capsys.readouterr().out
    assert run_words(["collect", "devices", "--json", "--store", str(tmp_path / "fleet.db")]) == 0
    assert json.loads(capsys.readouterr().out)["devices"][0]["dropped"] == 2


def test_states_that_are_nonsense_are_shown_all_the_same(tmp_path: Path) -> None:
    odd = [
        {"sources": 3, "outbox": [], "clock_offset": "x"},
        {"sources": [1, {"fps": "x"}], "config": {"have": []}},
    ]
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        for n, state in enumerate(odd):
            store.write([Arrival(f"cam-{n}", time.time(), state={"v": 1, **state})])
        rows = device_rows(store.devices(), time.time())
        assert [r["state"] for r in rows] == ["up", "up"]
        assert problems(store) == []
        assert device_rows(store.devices(), time.time() + 1000)[0]["state"] == "silent"


# settings that are pushed --------------------------------------------------------------------------
class Camera:
    """What settings are applied to."""

    def __init__(self) -> None:
        self.now: dict[str, Any] = {}

    def apply(self, settings: dict[str, Any]) -> None:
        if "unknown" in settings:
            raise UsageError("There is no setting unknown.")
        self.now = settings

    def trouble(self) -> str:
        return "door did not come up" if self.now.get("network") == "bad" else ""


@pytest.fixture
def camera() -> Camera:
    return Camera()


def remote(path: Path, camera: Camera) -> RemoteConfig:
    made = RemoteConfig(path)
    made.settle(Settle(camera.apply, camera.trouble, patience=0.3))
    return made


def test_what_works_is_kept_and_what_does_not_is_taken_back(tmp_path: Path, camera: Camera) -> None:
    path = tmp_path / "settings.json"
    config = remote(path, camera)
    config.take(1, {"exit_after": 3})
    assert config.state == {"wanted": 1, "have": 1, "error": ""}
    config.take(2, {"network": "bad"})
    assert camera.now == {"exit_after": 3}
    assert config.state == {"wanted": 2, "have": 1, "error": "door did not come up"}
    config.take(3, {"unknown": 1})
    assert camera.now == {"exit_after": 3}
    again = RemoteConfig(path)  # after a restart
    assert again.good == {"exit_after": 3}
    assert (again.state["have"], again.state["wanted"]) == (1, 3)
    camera.now = {}
    again.settle(Settle(camera.apply, camera.trouble, patience=0.3))
    again.take(3, {"unknown": 1})  # the broker says it again at every connection
    assert camera.now == {}


def test_settings_during_which_the_program_died_are_not_tried_again(
    tmp_path: Path, camera: Camera
) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(
        dump({"version": 1, "settings": {"exit_after": 3}, "trying": 2, "failed": 0, "error": ""})
    )
    config = remote(path, camera)
    assert config.good == {"exit_after": 3}
    assert "the program ended" in config.state["error"]
    config.take(2, {"network": "x"})
    assert camera.now == {}
    config.take(4, {"network": "y"})
    assert camera.now == {"network": "y"}


def test_a_file_of_settings_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for text in ("", "[]", '{"version": 1}', "\0"):
        (tmp_path / "s.json").write_text(text)
        assert RemoteConfig(tmp_path / "s.json").good == {}
    assert "passed over" in caplog.text


def test_settings_are_pushed_over_the_broker(
    broker: Broker, tmp_path: Path, camera: Camera
) -> None:
    record(tmp_path / "events.db", 1)
    file = tmp_path / "settings.json"
    file.write_text('{"exit_after": 5}')
    words = [
        "collect",
        "config",
        "push",
        "cam-push",
        str(file),
        "--broker",
        f"mqtt://127.0.0.1:{broker.port}",
    ]
    assert run_words(words) == 0  # before the device is there: the broker keeps it
    config = remote(tmp_path / "kept.json", camera)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        receiver = Receiver(f"mqtt://127.0.0.1:{broker.port}", store, pace=ReceivePace(gather=0.01))
        state = {"config": config.state}
        with link(
            broker, tmp_path / "events.db", "cam-push", state=lambda: state, on_config=config.take
        ):
            wait_for(lambda: camera.now == {"exit_after": 5}, "the settings")
            forged = dump_config(99, {"exit_after": 6}).replace(b"6}", b"7}")
            receiver._line.publish([("edgepose/v1/cam-push/config", forged)])
            time.sleep(0.3)
            assert camera.now == {"exit_after": 5}
        receiver.close()
        assert store.events(Wanted(devices=["cam-push"]))
