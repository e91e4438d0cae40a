"""The store in a SQLite file, for one collector."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgepose.collect.store import FleetStore
from edgepose.errors import StoreError
from edgepose.events.schema import BUSY, check_path, inodes, part_from

APPLICATION = 0x6570666C  # marks the file as ours: "epfl"


class SqliteStore(FleetStore):
    """A file.

    Args:
        path: it is made where it is missing. write: collect into it; one process at a time may.
    """

    id_column, real_column = "INTEGER PRIMARY KEY AUTOINCREMENT", "REAL"

    def __init__(self, path: Path, *, write: bool) -> None:
        super().__init__()
        self.shown, self._path, self._write = str(path), path, write
        check_path(path)
        if not write and not path.exists():
            raise StoreError(f"{path} does not exist. `edgepose collect --store {path}` makes it.")
        try:
            with contextlib.ExitStack() as opened:
                if write:
                    opened.enter_context(_held_for_us(path))
                self._connect()
                self._held = opened.pop_all()
        except sqlite3.Error as e:
            raise StoreError(f"{path} cannot be opened: {e}.") from None

    def _connect(self) -> None:
        uri = f"{self._path.resolve().as_uri()}?mode={'rwc' if self._write else 'ro'}"
        self._db = sqlite3.connect(
            uri, timeout=BUSY, isolation_level=None, check_same_thread=False, uri=True
        )
        try:
            self._open(self._write)
        except BaseException:
            self._db.close()
            raise
        self._inodes = inodes(self._path)

    def _follow(self) -> None:
        """Open the file anew where another one, or none, has its name: what is acknowledged must be found there."""
        if inodes(self._path)[0] != self._inodes[0]:
            part_from(self._db, self._path, self._inodes)
            self._origins.clear()
            check_path(self._path)
            self._connect()

    def _open(self, write: bool) -> None:
        tables = {r[0] for r in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        there = self._rows("PRAGMA application_id") == [(APPLICATION,)]
        if tables and not there:
            raise StoreError(f"{self.shown} is a database of another program. Choose another file.")
        if write:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
            self._db.execute("BEGIN IMMEDIATE")
        self._make_tables(there)
        if write:
            self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            self._end(keep=True)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values).fetchall()

    def _run(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        if sql.startswith("CREATE"):
            self._db.execute(sql)
            return 0
        return self._db.executemany(sql, rows).rowcount

    def _begin(self) -> None:
        self._follow()
        self._db.execute("BEGIN IMMEDIATE")

    def _end(self, *, keep: bool) -> None:
        if keep:
            self._db.execute("COMMIT")
            return
        with contextlib.suppress(sqlite3.Error):  # also where it is closed
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file and let others collect into it."""
        self._db.close()
        self._held.close()


def _held_for_us(path: Path) -> Any:
    """Hold the file for this process.

    Raises:
        StoreError: another one does, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = open(path.with_name(path.name + ".lock"), "a")  # noqa: SIM115 - held until `close`
    except OSError as e:
        raise StoreError(f"{path} cannot be made: {e}.") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise StoreError(
            f"Another collector writes into {path}. Several share a PostgreSQL (--store postgresql://..., --group)."
        ) from None
    return held
