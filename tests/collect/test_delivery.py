"""From a device's database into the store: each event once, whoever is killed at whatever step."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker import Broker, Subscriber, wait_for
from fleet_peers import NOW, Collector, drained, link, record
from postgres import Postgres

from edgepose.collect.receive import ReceivePace, Receiver
from edgepose.collect.store import Arrival, FleetStore, Wanted
from edgepose.collect.store_postgres import PostgresStore
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.events.event import Event, iso_time
from edgepose.events.log import EventLog
from edgepose.events.store import EventStore
from edgepose.fleet.messages import Batch


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetStore]:
    """An empty store."""
    if request.param == "sqlite":
        made: FleetStore = SqliteStore(tmp_path / "fleet.db", write=True)
    else:
        address = request.getfixturevalue("postgres")
        empty(address)
        made = PostgresStore(address, write=True)
    with made:
        yield made


def empty(address: str) -> None:
    import psycopg

    with psycopg.connect(address, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")


def collector(broker: Broker, store: FleetStore, **more: Any) -> Receiver:
    pace = ReceivePace(gather=0.01, retry=0.1)
    return Receiver(f"mqtt://127.0.0.1:{broker.port}", store, pace=pace, **more)


def tracks(store: FleetStore, device: str = "cam-1") -> list[int]:
    rows = store.events(Wanted(devices=[device]), limit=1000, oldest=True)
    return sorted(row["track"] for row in rows)


def test_events_arrive_once_and_whole(broker: Broker, store: FleetStore, database: Path) -> None:
    record(database, 450)
    with collector(broker, store) as receiver, link(broker, database) as device:
        drained(device)
        record(database, 3, 450)
        device.wake()
        drained(device)
        assert receiver.counts["events"] == 453
    assert tracks(store) == list(range(453))
    event = store.events(limit=1, oldest=True)[0]
    wanted = {
        "device": "cam-1",
        "seq": 1,
        "event": "enter",
        "time": NOW,
        "track": 0,
        "zone": "zone é",
    }
    assert wanted.items() <= event.items()
    assert (event["box"], event["frame"], event["source"]) == ([1.5, 2.0, 3.0, 4.0], 0, "cam")
    (counts,) = store.counts().values()
    assert counts == (453, 0)


def test_the_cursor_is_kept_and_nothing_is_sent_twice(
    broker: Broker, database: Path, tmp_path: Path
) -> None:
    record(database, 5)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        with collector(broker, store) as receiver:
            with link(broker, database) as device:
                drained(device)
            record(database, 2, 5)
            with link(broker, database) as device:
                drained(device)
            assert (receiver.counts["events"], receiver.counts["duplicates"]) == (7, 0)


STEPS = ("before commit", "before ack", "after ack")


@pytest.mark.parametrize("step", STEPS)
def test_the_collector_is_killed(broker: Broker, database: Path, tmp_path: Path, step: str) -> None:
    record(database, 700)
    file = tmp_path / "fleet.db"
    dying = Collector(broker.port, file, step, passes=2)
    with link(broker, database) as device:
        dying.died()
        assert device.waiting
        alive = Collector(broker.port, file)
        drained(device)
        alive.kill()
    with SqliteStore(file, write=False) as store:
        assert tracks(store) == list(range(700))


def test_one_of_two_that_share_the_work_is_killed(
    broker: Broker, database: Path, postgres: str
) -> None:
    empty(postgres)
    record(database, 700)
    first = Collector(broker.port, postgres, "before ack", passes=2, group="g")
    second = Collector(broker.port, postgres, group="g")
    with link(broker, database) as device:
        first.died()
        drained(device)
    second.kill()
    with PostgresStore(postgres, write=False) as store:
        assert tracks(store) == list(range(700))


def test_two_share_the_work(broker: Broker, postgres: str, tmp_path: Path) -> None:
    empty(postgres)
    with PostgresStore(postgres, write=True) as a, PostgresStore(postgres, write=True) as b:
        with collector(broker, a, group="two") as one, collector(broker, b, group="two") as other:
            for n in range(6):
                record(tmp_path / f"{n}.db", 100)
            devices = [link(broker, tmp_path / f"{n}.db", f"cam-{n}") for n in range(6)]
            for device in devices:
                drained(device)
            for device in devices:
                device.close()
            assert one.counts["events"] + other.counts["events"] == 600
            assert one.counts["events"]
            assert other.counts["events"]


DEVICE = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:5]
from broker import Broker
from fleet_peers import QUICK, record
from edgepose.fleet.link import FleetLink
link = FleetLink(f"mqtt://127.0.0.1:{sys.argv[1]}/?device=cam-1", Path(sys.argv[2]), pace=QUICK)
print("up", flush=True)
first = 0
while first < 100000:
    record(Path(sys.argv[2]), 40, first)
    first += 40
    link.wake()
"""


def test_the_device_is_killed(broker: Broker, database: Path, tmp_path: Path) -> None:
    here = Path(__file__).parent
    words = [str(broker.port), str(database), str(here), str(here.parent / "io")]
    with (
        SqliteStore(tmp_path / "fleet.db", write=True) as store,
        collector(broker, store) as receiver,
    ):
        for round_ in range(2):
            seen = receiver.counts["events"]
            running = subprocess.Popen(
                [sys.executable, "-c", DEVICE, *words], stdout=subprocess.PIPE
            )
            wait_for(
                lambda seen=seen: receiver.counts["events"] > seen + 100, f"events, round {round_}"
            )
            running.kill()
            running.communicate()
        with link(broker, database) as device:
            drained(device)
        with FleetReader(database) as recorded:
            assert sorted(recorded) == [e["seq"] for e in all_of(store)]


class FleetReader:
    """Numbers of the events in a device's database."""

    def __init__(self, path: Path) -> None:
        self._log = EventLog(path)

    def __enter__(self) -> list[int]:
        return [e.id or 0 for e in self._log.all()]

    def __exit__(self, *_: object) -> None:
        self._log.close()


def all_of(store: FleetStore) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while page := store.events(cursor=str(rows[-1]["id"]) if rows else "", limit=1000, oldest=True):
        rows += page
    return rows


def test_the_broker_is_killed(database: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    broker = Broker(tmp_path / "b").start()
    try:
        record(database, 300)
        with SqliteStore(tmp_path / "fleet.db", write=True) as store:
            with collector(broker, store) as receiver, link(broker, database) as device:
                wait_for(lambda: receiver.counts["events"], "the first events")
                broker.kill()
                record(database, 300, 300)
                device.wake()
                broker.start()
                drained(device)
            assert tracks(store) == list(range(600))
    finally:
        broker.kill()


def test_the_database_is_killed(broker: Broker, database: Path) -> None:
    """A PostgreSQL that dies under the collector: nothing is acknowledged until it is there again."""
    record(database, 300)
    server = Postgres()
    try:
        server.start()
        with (
            PostgresStore(server.address, write=True) as store,
            collector(broker, store) as receiver,
            link(broker, database, "killed") as device,
        ):
            drained(device)
            server.end(signal.SIGKILL)
            record(database, 300, 300)
            device.wake()
            wait_for(lambda: receiver.counts["failures"], "a failure")
            assert device.waiting == 300
            server.start()
            drained(device, 60)
            assert tracks(store, "killed") == list(range(600))
            assert receiver.error == ""
    finally:
        server.remove()


def test_a_full_disk_at_the_centre_is_not_acknowledged(
    broker: Broker, database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(database, 400)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages + 1}")  # as a full disk answers
        with collector(broker, store) as receiver, link(broker, database) as device:
            wait_for(lambda: receiver.counts["failures"] >= 2, "failures")
            assert device.waiting == 400
            assert receiver.error
            store._db.execute("PRAGMA max_page_count=100000")
            drained(device)
            assert receiver.error == ""
        assert caplog.text.count("Nothing is acknowledged") == 1
        assert tracks(store) == list(range(400))


def test_acknowledgements_with_a_hole(broker: Broker, database: Path) -> None:
    """The second of three batches is acknowledged alone: the cursor stays."""
    record(database, 500)
    seen = Subscriber(broker.port)
    with link(broker, database, "holed") as device:
        topic = "edgepose/v1/holed"
        wait_for(lambda: len(set(seen.texts(f"{topic}/events"))) == 3, "three batches")
        batches = {b["first"]: b for b in map(json.loads, seen.texts(f"{topic}/events"))}
        first, second, third = (batches[k] for k in sorted(batches))

        def ack(batch: dict[str, Any], **more: Any) -> None:
            told = {"run": batch["run"], "batch": batch["batch"], "last": batch["last"], **more}
            seen.client.publish(f"{topic}/ack", json.dumps(told), qos=1).wait_for_publish(5)

        ack(second)
        ack(first, run="another")  # not ours
        ack(third, last=7)  # not what was sent
        seen.client.publish(f"{topic}/ack", "not JSON", qos=1).wait_for_publish(5)
        time.sleep(0.3)
        assert device.waiting == 500
        ack(first)
        wait_for(lambda: device.waiting == 100, "the cursor over two batches")
        ack(third)
        wait_for(lambda: device.waiting == 0, "the end")
    seen.close()


# state, clock, two of one name -----------------------------------------------------------------------
def test_the_state_of_a_device(broker: Broker, database: Path, tmp_path: Path) -> None:
    record(database, 3)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store, collector(broker, store):
        device = link(broker, database, "cam-s", state=lambda: {"version": "9", "sources": []})
        wait_for(lambda: state(store, "cam-s").get("outbox", {}).get("delivered") == 3, "the state")
        device.close()
        wait_for(
            lambda: not next(d.up for d in store.devices() if d.name == "cam-s"), "the goodbye"
        )
        assert state(store, "cam-s")["version"] == "9"  # what it last said is kept


def state(store: FleetStore, device: str) -> dict[str, Any]:
    return next((d.state for d in store.devices() if d.name == device), {})


def test_what_happened_last_is_delivered_and_told(
    broker: Broker, database: Path, tmp_path: Path
) -> None:
    """Who is inside leaves when the program ends: those exits do not wait for its next start."""
    record(database, 3)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store, collector(broker, store):
        device = link(broker, database, "cam-e")
        drained(device)
        record(database, 2, 3)  # nobody wakes it
        device.close(20)
        wait_for(
            lambda: not next(d.up for d in store.devices() if d.name == "cam-e"), "the goodbye"
        )
        assert tracks(store, "cam-e") == list(range(5))
        assert state(store, "cam-e")["outbox"]["events"] == 0


def test_two_devices_of_one_name(broker: Broker, tmp_path: Path) -> None:
    for n in range(2):
        record(tmp_path / f"{n}.db", 20)
    with SqliteStore(tmp_path / "fleet.db", write=True) as store, collector(broker, store):
        one, other = (link(broker, tmp_path / f"{n}.db", "twin") for n in range(2))
        drained(one)
        drained(other)
        assert len(all_of(store)) == 40
        wait_for(lambda: any(d.twice for d in store.devices() if d.name == "twin"), "the mark")
        one.close()
        other.close()


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_is_a_day_off(
    broker: Broker, database: Path, jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    record(database, 1)
    seen = Subscriber(broker.port)
    name = f"clock{jump:.0f}"
    with link(broker, database, name) as device:
        topic = f"edgepose/v1/{name}"
        wait_for(lambda: seen.texts(f"{topic}/events"), "the batch")
        batch = json.loads(seen.texts(f"{topic}/events")[0])
        told = {"run": batch["run"], "batch": batch["batch"], "last": batch["last"]}
        told["now"] = iso_time(time.time() + jump)
        seen.client.publish(f"{topic}/ack", json.dumps(told), qos=1)
        wait_for(lambda: device.offset is not None, "the offset")
        assert device.offset == pytest.approx(jump, abs=30)
        drained(device)
    assert "the collector's" in caplog.text
    seen.close()


# what cannot be meant -----------------------------------------------------------------------------
def batch_of(number: int, **change: Any) -> dict[str, Any]:
    event = {"event": "enter", "time": "2026-11-21T07:16:50.123Z", "seq": 5}
    head = {"v": 1, "run": "r", "batch": number, "first": 1, "last": 9}
    return {**head, "events": [event], **change}


BAD: dict[str, bytes] = {
    "not JSON": b'{"v":1,"run":"r","batch":7,"last":9,',
    "another version": json.dumps(batch_of(7, v=2)).encode(),
    "no run": json.dumps(batch_of(7, run=3)).encode(),
    "a number that is none": json.dumps(batch_of(7, first="x")).encode(),
    "no events": json.dumps(batch_of(7, events=3)).encode(),
    "an event that is none": json.dumps(batch_of(7, events=[3])).encode(),
    "a kind that is none": json.dumps(batch_of(7, events=[{"event": "x", "seq": 5}])).encode(),
    "deep": b"[" * 60000,
    "too long": json.dumps(batch_of(7, note="x" * 70000)).encode(),
    "a huge number": b'{"v":1,"run":"r","batch":' + b"9" * 5000 + b"}",
    "no text": b"\xff\xfe\x00",
    "empty": b"",
}


def test_what_cannot_be_meant_is_kept_acknowledged_and_holds_up_nobody(
    broker: Broker, store: FleetStore, database: Path
) -> None:
    seen = Subscriber(broker.port)
    record(database, 3)

    def acked() -> list[int]:
        return sorted(json.loads(t)["batch"] for t in seen.texts("edgepose/v1/odd/ack"))

    with collector(broker, store) as receiver:
        for payload in BAD.values():
            seen.client.publish("edgepose/v1/odd/events", payload, qos=1)
        good = json.dumps(batch_of(8, new_field={"a": 1})).encode()
        seen.client.publish("edgepose/v1/odd/events", good, qos=1)
        seen.client.publish("edgepose/v1/odd/state", b"{", qos=1)
        with link(broker, database, "after") as device:
            drained(device)
        wait_for(lambda: receiver.counts["rejected"] == len(BAD) + 1, "the rejected ones")
        hopeless = ("deep", "a huge number", "no text", "empty")
        wait_for(lambda: len(acked()) == len(BAD) - len(hopeless) + 1, "acknowledgements")
        assert acked() == [7] * (len(BAD) - len(hopeless)) + [8]
    assert {r["device"] for r in store.rejected()} == {"odd"}
    assert len(store.rejected()) == len(BAD) + 1
    assert [r["seq"] for r in all_of(store) if r["device"] == "odd"] == [5]
    seen.close()


def test_an_event_that_no_message_can_carry_holds_up_no_other(
    broker: Broker, database: Path, tmp_path: Path
) -> None:
    with EventStore(database) as recorder:
        session = recorder.begin("cam", NOW)
        long = Event("enter", NOW, 1, "z" * 70_000)
        recorder.record(session, [Event("enter", NOW, 0), long, Event("enter", NOW, 2)])
    with SqliteStore(tmp_path / "fleet.db", write=True) as store, collector(broker, store):
        with link(broker, database) as device:
            drained(device)
            assert device.too_long == 1
        assert tracks(store) == [0, 2]


def test_retention_at_the_centre_is_counted(
    broker: Broker, store: FleetStore, database: Path
) -> None:
    record(database, 5)
    with collector(broker, store), link(broker, database) as device:
        drained(device)
    assert store.clean(time.time() + 1) == 5
    assert list(store.counts().values()) == [(0, 5)]


def test_retention_at_the_centre_waits_where_the_clock_may_be_wrong(
    broker: Broker, store: FleetStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    def came(number: int, ago: float) -> None:
        batch = Batch("run", number, number, number, (Event("enter", NOW, number, id=number),))
        store.write([Arrival("cam-1", time.time() - ago, batch)])

    came(1, 4000 * 86400)
    with collector(broker, store, keep_days=30):
        wait_for(lambda: "the clock (" in caplog.text, "a word about the clock")
    assert tracks(store) == [1]
    came(2, 7200)  # it was on in the hours before
    with collector(broker, store, keep_days=30):
        wait_for(lambda: tracks(store) == [2], "what is old to go")
