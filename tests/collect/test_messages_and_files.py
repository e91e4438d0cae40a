"""Names, batches, settings and files of a fleet, without a broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_peers import NOW, record

from edgepose.collect.store import Arrival
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.errors import EdgeposeError, StoreError, UsageError
from edgepose.events.event import Event
from edgepose.fleet.link import fleet_broker
from edgepose.fleet.messages import Batch, check_device, dump_batch, fitting


@pytest.mark.parametrize("name", ["a/b", "a+b", "#", "", "x" * 65, "a b", "a\n"])
def test_names_that_no_device_has(name: str) -> None:
    with pytest.raises(UsageError):
        check_device(name)


def test_who_a_device_is() -> None:
    assert fleet_broker("mqtts://cam-7:x@h/")[1] == "cam-7"
    assert fleet_broker("mqtts://cam-7:x@h/?device=door")[1] == "door"
    for target in (
        "mqtt://h/",
        "mqtt://h/?device=a%2Fb",
        "mqtt://h/?device=a+b",
        "http://h/?device=a",
    ):
        with pytest.raises(UsageError):
            fleet_broker(target)


def test_a_batch_fits() -> None:
    events = [Event("enter", NOW, i, "zone" * 200, id=i + 1) for i in range(300)]
    texts = fitting(events)
    assert 0 < len(texts) < 200
    payload = dump_batch(Batch("r" * 64, 2**62, 1, len(texts)), texts, "2026-11-21T07:16:50.123Z")
    assert len(payload) <= 64 * 1024
    assert len(payload) > 62 * 1024


def test_a_file_has_one_collector(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "fleet.db", write=True):
        with pytest.raises(StoreError, match="Another collector"):
            SqliteStore(tmp_path / "fleet.db", write=True)
    SqliteStore(tmp_path / "fleet.db", write=True).close()


def test_what_is_acknowledged_lies_in_the_file_of_that_name(tmp_path: Path) -> None:
    """A store that is moved away keeps what it has; what comes then is in the new one, and not in no file."""
    path, old = tmp_path / "fleet.db", tmp_path / "old.db"

    def arrival(number: int) -> Arrival:
        events = (Event("enter", NOW, number, id=number),)
        return Arrival("cam", NOW, batch=Batch("r" * 32, number, number, number, events))

    def tracks(file: Path) -> list[int]:
        with SqliteStore(file, write=False) as store:
            return [e["track"] for e in store.events()]

    with SqliteStore(path, write=True) as store:
        store.write([arrival(1)])
        path.rename(old)
        store.write([arrival(2)])
        path.unlink()
        path.mkdir()
        with pytest.raises(StoreError, match="is not a file"):
            store.write([arrival(3)])
        path.rmdir()
        store.write([arrival(3)])
    assert (tracks(old), tracks(path)) == ([1], [3])


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    record(database, 1)
    with pytest.raises(StoreError, match="another program"):
        SqliteStore(database, write=True)
    with pytest.raises(StoreError, match="does not exist"):
        SqliteStore(tmp_path / "no.db", write=False)
    (tmp_path / "text").write_text("not a database, but long enough to look like something" * 10)
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path / "text", write=True)


def test_what_serve_lets_the_centre_set() -> None:
    from edgepose.cli.serve import with_settings
    from edgepose.cli.serve_options import Serve

    asked, zones = with_settings(
        Serve(), {"exit_after": 4, "network": "fast", "zones": {"zones": []}}
    )
    assert (asked.events.exit_after, asked.network.network) == (4.0, "fast")
    assert zones is not None
    for bad in (
        {"source": "x"},
        {"db": "x"},
        {"exit_after": "x"},
        {"exit_after": -1},
        {"zones": 3},
        {"network": ["a"]},
    ):
        with pytest.raises(EdgeposeError):
            with_settings(Serve(), bad)
