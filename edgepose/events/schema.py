"""The SQLite file: its tables as numbered migrations, and how a connection to it is opened."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from edgepose.errors import StoreError

# marks the file as ours: "epev"
APPLICATION_ID = 0x65706576
# seconds to wait for another process that writes
BUSY = 10.0

# The n-th script makes version n of version n - 1. Never change one that was released: add another.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE session (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        source TEXT NOT NULL,
        started REAL NOT NULL,
        seen REAL NOT NULL,
        ended REAL
    );
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session INTEGER NOT NULL REFERENCES session (id),
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        time REAL NOT NULL,
        track INTEGER,
        zone TEXT NOT NULL,
        direction TEXT NOT NULL,
        frame INTEGER,
        dwell REAL,
        left REAL,
        top REAL,
        right REAL,
        bottom REAL,
        note TEXT NOT NULL,
        snapshot TEXT NOT NULL,
        UNIQUE (session, number)
    );
    CREATE INDEX event_time ON event (time);
    CREATE INDEX event_track ON event (session, track, zone);
    """,
    """
    ALTER TABLE event ADD COLUMN gesture TEXT NOT NULL DEFAULT '';
    ALTER TABLE event ADD COLUMN score REAL;
    """,
    """
    ALTER TABLE session ADD COLUMN camera TEXT NOT NULL DEFAULT '';
    CREATE TABLE database (uuid TEXT NOT NULL);
    INSERT INTO database VALUES (lower(hex(randomblob(16))));
    CREATE TABLE delivery (
        target TEXT PRIMARY KEY,
        upto INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        dropped INTEGER NOT NULL,
        seen REAL NOT NULL
    );
    """,
)


def inodes(path: Path) -> tuple[int, int]:
    """Which files have the name of the database and that of its log (inodes), 0 where there is none.

    The log is there as long as a connection that has read anything.
    """
    found = []
    for suffix in ("", "-wal"):
        try:
            found.append(path.with_name(path.name + suffix).stat().st_ino)
        except OSError:
            found.append(0)
    return found[0], found[1]


def part_from(db: sqlite3.Connection, path: Path, found: tuple[int, int]) -> None:
    """Close a file that lost its name: all that was written goes into it, and none of it into the next one there.

    Args:
        found: `inodes` of the path when it was opened.
    """
    with contextlib.suppress(sqlite3.Error):  # where it was deleted, this is in vain
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    db.close()
    if inodes(path)[1] == found[1]:  # else the new file came with a log of its own
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def check_path(path: Path) -> None:
    """Refuse what is there but is no file: opening a FIFO waits for ever, a device has no end.

    Raises:
        StoreError: it is a FIFO, a device, a socket or a folder.
    """
    if path.exists() and not path.is_file():
        raise StoreError(f"Events {path} cannot be opened: it is not a file. Choose another file.")


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection in autocommit mode, in WAL mode where it writes. Threads may share it under a lock.

    Raises:
        StoreError: the file is missing (to read), not a database, or cannot be opened.
    """
    if not write and not path.exists():
        raise StoreError(
            f"Events {path} do not exist. `edgepose serve --db {path}` records them, "
            "`edgepose events import` brings those of another database."
        )
    check_path(path)
    try:
        # "+" and other characters of a path mean themselves in a file: URI once quoted
        uri = f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}"
        db = sqlite3.connect(
            uri, timeout=BUSY, isolation_level=None, check_same_thread=False, uri=True
        )
    except sqlite3.Error as e:
        raise StoreError(f"Events {path} cannot be opened: {e}.") from None
    try:
        _check_owner(db, path)
        if write:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only has a meaning in a new file
            db.execute("PRAGMA journal_mode = WAL")
            # a commit is on the disk when it returns: batches make that cheap
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as e:
        db.close()
        raise StoreError(f"Events {path} cannot be opened: {e}.") from None
    except StoreError:
        db.close()
        raise
    return db


def _check_owner(db: sqlite3.Connection, path: Path) -> None:
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if owner != APPLICATION_ID and tables:
        advice = "Choose another file."
        if "person_detection" in tables:
            advice = f"Bring its events over with `edgepose events import {path}`."
        raise StoreError(f"{path} is a database of another program. {advice}")


def migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> int:
    """Bring the tables to the newest version, each step in a transaction; the version they had.

    Raises:
        StoreError: a newer edgepose made the file, or a step failed (nothing of it remains).
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise StoreError(
            f"Events {path} have version {version}, this edgepose knows {len(migrations)}. "
            "Update edgepose, or choose another file."
        )
    for number, script in enumerate(migrations[version:], version + 1):
        try:
            db.execute("BEGIN IMMEDIATE")
            # another process may have been faster
            if int(db.execute("PRAGMA user_version").fetchone()[0]) < number:
                for statement in script.split(";"):  # executescript would commit
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("COMMIT")
        except sqlite3.Error as e:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StoreError(f"Events {path} cannot be brought to version {number}: {e}.") from None
    return version


def damage(path: Path) -> str:
    """What SQLite's quick check finds wrong with an existing file of ours, "" where all is well."""
    try:
        with open(path, "rb") as file:
            header = file.read(72)
    except OSError:
        return ""  # `connect` says what is wrong
    if not header.startswith(b"SQLite format 3\0") or header[68:] != APPLICATION_ID.to_bytes(
        4, "big"
    ):
        return ""  # not ours to judge
    db = sqlite3.connect(path, timeout=BUSY)
    try:
        found = db.execute("PRAGMA quick_check(1)").fetchone()
        return "" if found == ("ok",) else str(found[0]).splitlines()[-1]
    except sqlite3.OperationalError:
        return ""  # busy or not readable
    except sqlite3.DatabaseError as e:
        return str(e)
    finally:
        db.close()


def put_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it; the new path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
