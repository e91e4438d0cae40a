"""The MQTT sink against a real mosquitto, which is killed, restarted, and asks for a password."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, Subscriber
from hypothesis import given
from hypothesis import strategies as st
from peers import free_port, wait_for

from edgepose.errors import OutputError, UnknownNameError, UsageError
from edgepose.io.sinks import open_sink
from edgepose.io.sinks.mqtt import settings
from edgepose.io.sinks.spool import Spool
from edgepose.types import Result

paho = pytest.importorskip("paho.mqtt.client", reason="the mqtt extra is not installed")


def result(frame: int) -> Result:
    return Result(frame, 64, 48, source="test", name="test")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path).start()
    yield made
    made.kill()


@pytest.fixture
def subscribe() -> Iterator[Callable[[int], Subscriber]]:
    made: list[Subscriber] = []

    def subscriber(port: int) -> Subscriber:
        made.append(Subscriber(port))
        return made[-1]

    yield subscriber
    for one in made:
        one.close()


Subscribe = Callable[[int], Subscriber]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_results_events_and_status(broker: Broker, subscribe: Subscribe, qos: int) -> None:
    seen = subscribe(broker.port)
    with open_sink("mqtt", broker.url("cam/door") + f"?qos={qos}") as sink:
        for i in range(50):
            sink.write(result(i))
        sink.event({"event": "lost", "source": "test"})  # type: ignore[attr-defined]
        wait_for(lambda: len(seen.frames()) == 50 and seen.texts("cam/door/events"))
    assert seen.frames() == list(range(50))
    assert json.loads(seen.texts("cam/door/events")[0])["event"] == "lost"
    wait_for(lambda: seen.texts("cam/door/status") == ["online", "offline"])


def test_a_killed_broker_misses_nothing(broker: Broker, subscribe: Subscribe) -> None:
    with open_sink("mqtt", broker.url("cam/door") + "?qos=1") as sink:
        seen = subscribe(broker.port)
        sink.write(result(0))
        wait_for(lambda: seen.frames() == [0])
        broker.kill()
        for i in range(1, 40):
            sink.write(result(i))
        wait_for(lambda: sink.counters["waiting"] == 39)  # type: ignore[attr-defined]
        seen.ready.clear()
        broker.start()
        wait_for(seen.ready.is_set, 60)
        for i in range(40, 60):
            sink.write(result(i))
        wait_for(lambda: set(seen.frames()) >= set(range(40, 60)), 60)
        wait_for(lambda: sink.counters == {"sent": 60, "waiting": 0, "dropped": 0})  # type: ignore[attr-defined]
    # what the sink sends before the subscriber is back, mosquitto acknowledges and has nobody to give
    # to; the order of what arrives is kept
    frames = seen.frames()
    assert frames == sorted(frames)


def test_a_full_queue_drops_the_oldest(broker: Broker) -> None:
    sink: Any = open_sink("mqtt", broker.url("cam/door") + "?qos=1&queue=10")
    broker.kill()
    wait_for(lambda: not sink._connected.is_set())
    for i in range(25):
        sink.write(result(i))
    assert sink.counters == {"sent": 0, "waiting": 10, "dropped": 15}
    kept = [json.loads(p)["frame"] for _, _, p in sink._spool.after(0, 99)]
    assert kept == list(range(15, 25))
    sink.close()


def test_a_spool_outlives_the_program(broker: Broker, subscribe: Subscribe, tmp_path: Path) -> None:
    target = broker.url("cam/door") + f"?qos=1&spool={tmp_path}/queue.db&wait=1"
    broker.kill()
    with open_sink("mqtt", target) as sink:
        for i in range(5):
            sink.write(result(i))
    broker.start()
    seen = subscribe(broker.port)
    with open_sink("mqtt", target) as sink:
        sink.write(result(5))
        wait_for(lambda: seen.frames() == list(range(6)))


def test_the_last_will_speaks_for_a_killed_program(broker: Broker, subscribe: Subscribe) -> None:
    import sys

    seen = subscribe(broker.port)
    script = (
        "import sys, time; from edgepose.io.sinks import open_sink; "
        "open_sink('mqtt', sys.argv[1]); print('up', flush=True); time.sleep(60)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", script, broker.url("cam/door")], stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"up\n"
    wait_for(lambda: seen.texts("cam/door/status") == ["online"])
    program.kill()
    program.communicate()
    wait_for(lambda: seen.texts("cam/door/status") == ["online", "offline"])


def test_a_broker_that_is_absent_or_refuses(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no broker answers"):
        open_sink("mqtt", f"mqtt://127.0.0.1:{free_port()}/x")
    passwords = tmp_path / "passwords"
    passwords.touch()
    strict = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}").start()
    try:
        with pytest.raises(OutputError, match="refuses us") as caught:
            open_sink("mqtt", strict.url("x", "me:hunter2@"))
        assert "hunter2" not in str(caught.value)
    finally:
        strict.kill()


def test_nothing_is_left(broker: Broker, nothing_left: None) -> None:
    for _ in range(2):
        open_sink("mqtt", broker.url("x")).close()


@pytest.mark.parametrize(
    "target",
    ["mqtt://host", "mqtt:///topic", "http://host/topic", "mqtt://h/a/#", "mqtt://h/t?qos=3"],
)
def test_targets_that_cannot_be_meant(target: str) -> None:
    with pytest.raises(UsageError):
        settings(target)


def test_the_words_of_a_target() -> None:
    s = settings("mqtts://u:p%40@h/a/b?qos=2&queue=5&retain=1&client=me&wait=1")
    b = s.broker
    assert (b.host, b.port, s.topic, b.user, b.password) == ("h", 8883, "a/b", "u", "p@")
    assert (b.tls, s.qos, s.queue, s.retain, b.client, s.wait) == (True, 2, 5, True, "me", True)
    with pytest.raises(UnknownNameError, match="Did you mean 'queue'"):
        settings("mqtt://h/t?quue=3")


def test_a_spool_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look like something" * 10)
    with pytest.raises(OutputError, match="cannot be used"):
        Spool(str(path), 10)


def test_a_full_disk_drops_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(str(tmp_path / "queue.db"), 1000)
    pages = spool._base.execute("PRAGMA page_count").fetchone()[0]
    spool._base.execute(f"PRAGMA max_page_count={pages + 2}")  # as a full disk answers
    for i in range(20):
        spool.add("t", bytes(2000) + str(i).encode())
    assert len(spool) + spool.dropped == 20
    assert spool.dropped > 10
    assert len(spool.after(0, 99)) == len(spool)
    assert caplog.text.count("cannot be stored") == 1
    spool._base.execute("PRAGMA max_page_count=10000")
    spool.add("t", b"again")
    assert spool.after(0, 99)[-1][2] == b"again"
    spool.close()


@pytest.mark.parametrize("damage", ["cut", "zeros", "middle", "root"])
def test_a_damaged_spool_is_put_aside(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    spool = Spool(str(path), 1000)
    for i in range(100):
        spool.add("t", bytes([i]) * 500)
    spool.close()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    start = {"zeros": 0, "middle": 4096, "root": 100}.get(damage, len(data))
    data[start : start + 4000] = bytes(len(data[start : start + 4000]))
    path.write_bytes(data)
    spool = Spool(str(path), 1000)
    spool.add("t", b"new")
    assert [payload for _, _, payload in spool.after(0, 99)] == [b"new"]
    assert spool.dropped == 1
    spool.close()
    assert len(list(tmp_path.glob("queue.db.damaged-*"))) == 1


def test_damage_in_the_middle_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    spool = Spool(str(path), 1000)
    for i in range(100):
        spool.add("t", bytes([i]) * 500)
    spool._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._base.execute("PRAGMA cache_size=1")
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    for i in range(50):
        spool.after(0, 99)
        spool.add("t", str(i).encode())
    assert spool.dropped
    assert spool.after(0, 999)[-1][2] == b"49"
    spool.close()


@pytest.mark.parametrize("way", ["deleted", "moved", "whole", "folder"])
def test_a_spool_that_loses_its_name_goes_on_in_a_new_one(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spools"
    folder.mkdir()
    path = folder / "queue.db"
    spool = Spool(str(path), 1000)
    for i in range(5):
        spool.add("t", b"%d" % i)
    spool.remove(1)
    if way == "deleted":
        path.unlink()
    elif way == "moved":
        path.rename(tmp_path / "old.db")
    else:
        shutil.rmtree(folder)
    if way == "whole":
        folder.mkdir()
    spool.add("t", b"new")
    assert [(n, p) for n, _, p in spool.after(2, 99)] == [
        (3, b"2"), (4, b"3"), (5, b"4"), (6, b"new"),
    ]  # fmt: skip
    assert (len(spool), spool.dropped) == (5, 0)
    assert caplog.text.count("was deleted or moved away") == 1
    spool.close()
    if way != "folder":  # then in memory
        assert len(Spool(str(path), 1000)) == 5


def test_numbers_go_on_in_a_file_that_takes_the_place_of_a_damaged_one(tmp_path: Path) -> None:
    """Who sends has come to a number, and asks for what follows it."""
    path = tmp_path / "queue.db"
    spool = Spool(str(path), 1000)
    for i in range(100):
        spool.add("t", bytes([i]) * 500)
    last = spool.after(0, 999)[-1][0]
    spool._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._base.execute("PRAGMA cache_size=1")
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    for i in range(20):
        spool.add("t", b"%d" % i)
    assert spool.dropped
    assert spool.after(last, 999)[-1][2] == b"19"
    spool.close()


@given(st.lists(st.one_of(st.just("add"), st.integers(0, 30))), st.integers(1, 8))
def test_the_spool_is_a_bounded_queue(steps: list[str | int], limit: int) -> None:
    """Against a plain list: what is kept, in which order, and how much was dropped."""
    spool, model, added, dropped = Spool("", limit), [], 0, 0
    for step in steps:
        if step == "add":
            added += 1
            spool.add("t", str(added).encode())
            model.append(added)
            if len(model) > limit:
                model.pop(0)
                dropped += 1
        else:
            spool.remove(int(step))
            model = [m for m in model if m != step]
    assert [number for number, _, _ in spool.after(0, 99)] == model
    assert (len(spool), spool.dropped) == (len(model), dropped)
    spool.close()
