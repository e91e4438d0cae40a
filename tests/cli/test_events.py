"""`edgepose events` as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.events import bar, parse_time
from edgepose.cli.main import make_app
from edgepose.errors import UsageError
from edgepose.events.event import Event
from edgepose.events.store import EventStore, default_path

NOON = datetime(2026, 3, 5, 12).timestamp()


def run(*words: str) -> int:
    return run_app(make_app(), ["events", *words], "edgepose")


@pytest.fixture
def recorded() -> Path:
    """Six visits, one an hour from noon, in the default place; every other one crosses the door."""
    path = default_path()
    with EventStore(path) as recorder:
        session = recorder.begin("/dev/video0", NOON)
        for k in range(6):
            at = NOON + 3600 * k
            recorder.record(session, [Event("enter", at, k + 1, box=(1.0, 2.0, 3.25, 4.0))])
            if k % 2:
                recorder.record(
                    session, [Event("cross", at + 5, k + 1, "door, left", direction="in")]
                )
            recorder.record(session, [Event("exit", at + 10, k + 1, dwell=10.0)])
    return path


def test_the_default_place_is_in_the_home_folder(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert recorded.name == "events.db"
    monkeypatch.setenv("EDGEPOSE_EVENTS", str(tmp_path / "other.db"))
    assert default_path() == tmp_path / "other.db"


def test_the_list_shows_the_newest_first(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", "--limit", "3") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == "time event track zone dwell source session note".split()
    assert re.match(r"2026-03-05 17:00:10\s+exit\s+#6\s+10\.0 s\s+/dev/video0", lines[1])
    assert "cross in" in lines[2]
    assert len(lines) == 4
    cursor = captured.err.split()[-1]
    assert run("list", "--limit", "100", "--cursor", cursor) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1 + 12
    assert captured.err == ""


def test_json_and_filters(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--event", "enter", "--event", "exit", "--track", "2", "--track", "3")
    assert (
        run("list", "--json", *words, "--since", "2026-03-05T13:30", "--until", "2026-03-06") == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert [(e["event"], e["track"]) for e in answer["events"]] == [("exit", 3), ("enter", 3)]
    assert answer["cursor"] == ""
    assert answer["events"][1]["box"] == [1.0, 2.0, 3.2, 4.0]
    assert run("list", "--json", "--zone", "door, left", "--source", "/dev/video0") == 0
    assert len(json.loads(capsys.readouterr().out)["events"]) == 3


def test_nothing_found_is_no_error(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--track", "99") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "No events.\n")
    assert run("hours", "--track", "99") == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_what_is_said_beside_an_answer_needs_no_room(recorded: Path) -> None:
    command = [sys.executable, "-m", "edgepose", "events", "list", "--track", "99"]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stderr=full).returncode == 0


def test_export_to_every_format(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 15
    assert rows[0]["event"] == "enter"
    assert (rows[0]["left"], rows[0]["right"], rows[0]["dwell"]) == ("1.0", "3.2", "")
    assert {row["zone"] for row in rows} == {"", "door, left"}
    for name in ("a.json", "a.jsonl", "a.csv"):
        assert run("export", str(tmp_path / name), "--event", "cross") == 0
        assert f"3 events in {tmp_path / name}" in capsys.readouterr().err
    whole = json.loads((tmp_path / "a.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert whole == lines
    assert [e["track"] for e in whole] == [2, 4, 6]
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 4
    assert run("export", "--format", "json", "--track", "99") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json", "a.jsonl"]


def test_hours_as_a_plot_and_as_data(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("hours", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["enter"], r["exit"], r["cross"]) for r in rows] == [(1, 1, 0)] * 6
    assert run("hours") == 0
    plot = capsys.readouterr().out.splitlines()
    assert [line[:16] for line in plot[1:]] == [f"2026-03-05 {h}:00" for h in range(12, 18)]
    assert all("█" in line for line in plot[1:])
    assert run("hours", "--of-day", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["hour"] for r in rows] == list(range(24))
    assert [r["enter"] for r in rows] == [0] * 12 + [1] * 6 + [0] * 6
    assert run("hours", "--zone", "door, left", "--of-day") == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["hour", "cross"]


def test_a_long_gap_in_the_plot_is_one_line(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EventStore(recorded) as recorder:
        recorder.record(recorder.begin("b"), [Event("enter", NOON + 86400 * 30, 9)])
    assert run("hours") == 0
    plot = capsys.readouterr().out.splitlines()
    assert len(plot) == 1 + 6 + 1 + 1
    assert plot[7].strip() == "..."


def test_import_of_a_seed_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = tmp_path / "database.db"
    db = sqlite3.connect(seed)
    db.execute(
        "CREATE TABLE person_detection (id INTEGER PRIMARY KEY, session_name VARCHAR(100), "
        "event_name VARCHAR(50), create_date_time DATETIME)"
    )
    db.execute("INSERT INTO person_detection VALUES (1, 's', 'appeared', '2021-11-05 10:12:13')")
    db.commit()
    db.close()
    assert run("import", str(seed)) == 0
    assert "1 events of 1 sessions into" in capsys.readouterr().err
    assert run("import", str(seed), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "new": 0,
        "known": 1,
        "skipped": 0,
        "sessions": 1,
    }
    assert run("list", "--json") == 0
    (event,) = json.loads(capsys.readouterr().out)["events"]
    assert (event["event"], event["time"]) == ("enter", "2021-11-05T10:12:13.000Z")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["list", "--event", "entr"], 2, "Did you mean 'enter'"),
        (["list", "--since", "soon"], 2, "'soon' is not a time"),
        (["list", "--cursor", "x"], 2, "not a cursor"),
        (["list", "--limit", "0"], 2, "1 to 1000"),
        (["export", "out.xml"], 2, "*.csv, *.json or *.jsonl"),
        (["export", "--format", "jsn"], 2, "Did you mean 'json"),
        (["export", "nowhere/out.csv"], 1, "cannot be written"),
        (["list", "--db", "none.db"], 1, "edgepose serve"),
        (["import", "none.db"], 1, "does not exist"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    recorded: Path,
    words: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_traceback(recorded: Path) -> None:
    with EventStore(recorded) as recorder:
        session = recorder.begin("b")
        recorder.record(session, [Event("enter", NOON, k) for k in range(3000)])
    child = subprocess.Popen(
        [sys.executable, "-m", "edgepose", "events", "export", "--db", str(recorded)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline().startswith("id,event,time")
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.wait()


def test_times() -> None:
    now = NOON
    assert parse_time("90m", now) == now - 5400
    assert parse_time(" 1.5 h", now) == now - 5400
    assert parse_time("7d", now) == now - 7 * 86400
    assert parse_time("today", now) == now - 12 * 3600
    assert parse_time("Yesterday", now) == datetime(2026, 3, 4).timestamp()
    assert parse_time("2026-03-05", now) == now - 12 * 3600
    assert parse_time("2026-03-05 11:00", now) == now - 3600
    assert parse_time("1970-01-01T00:00:10Z", now) == 10
    assert parse_time("1970-01-01T01:00:10+01:00", now) == 10
    for bad in ("", "soon", "12", "5y", "2026-13-01", "99999-01-01"):
        with pytest.raises(UsageError, match="is not a time"):
            parse_time(bad, now)


def test_bars() -> None:
    assert bar(0) == ""
    assert bar(0.01) == "▏"
    assert bar(2) == "██"
    assert bar(2.5) == "██▌"
