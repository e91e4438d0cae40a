"""The store in a PostgreSQL, which several collectors may share (psycopg, extra `collect`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from edgepose.collect.store import FleetStore
from edgepose.errors import BackendUnavailable, StoreError
from edgepose.io.uri import hide

LOCK = 0x6570666C  # of whoever makes the tables


class PostgresStore(FleetStore):
    """A database.

    Args:
        address: postgresql://user:password@host/database, as libpq takes it.
        write: make the tables where they are missing.

    Raises:
        BackendUnavailable: psycopg is not installed.
    """

    id_column, real_column = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "DOUBLE PRECISION"

    def __init__(self, address: str, *, write: bool) -> None:
        super().__init__()
        self._address, self._write = address, write
        self.shown = hide(address)
        try:
            import psycopg
        except ImportError:
            raise BackendUnavailable(
                "PostgreSQL needs psycopg. Install it: pip install 'edgepose[collect]'"
            ) from None
        self._library: Any = psycopg
        self._db: Any = None
        try:
            self._connection()
        except psycopg.Error as e:
            raise StoreError(f"{self.shown} cannot be opened: {_one_line(e)}") from None

    def _connection(self) -> Any:
        """The connection, made anew where it is broken."""
        if self._db is not None and not self._db.closed:
            return self._db
        self._db = self._library.connect(self._address, autocommit=True, connect_timeout=5)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise
        return self._db

    def _prepare(self) -> None:
        there = self._rows("SELECT to_regclass('fleet_version') IS NOT NULL") == [(True,)]
        if there or not self._write:
            if not there:
                raise StoreError(
                    f"{self.shown} holds no fleet. `edgepose collect --store ...` makes it."
                )
            self._make_tables(True)
            return
        self._begin()
        self._rows(f"SELECT pg_advisory_xact_lock({LOCK})")  # another collector may start just now
        self._make_tables(
            self._rows("SELECT to_regclass('fleet_version') IS NOT NULL") == [(True,)]
        )
        self._end(keep=True)

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._connection().execute(_marks(sql), values).fetchall()
        return found

    def _run(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        cursor = self._connection().cursor()
        cursor.executemany(_marks(sql), [tuple(map(_plain, row)) for row in rows])
        return int(cursor.rowcount)

    def _begin(self) -> None:
        self._connection().execute("BEGIN")

    def _end(self, *, keep: bool) -> None:
        if keep:
            self._connection().execute("COMMIT")
        elif self._db is not None and not self._db.closed:
            with contextlib.suppress(self._library.Error):
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()


def _marks(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def _plain(value: Any) -> Any:
    """PostgreSQL's text has no NUL."""
    return value.replace("\0", "") if isinstance(value, str) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
