"""Which store an address means."""

from __future__ import annotations

from pathlib import Path

from edgepose.collect.store import FleetStore
from edgepose.collect.store_postgres import PostgresStore
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.paths import home


def open_store(where: str, *, write: bool) -> FleetStore:
    """The store at postgresql://..., or in a file; "" = fleet.db in EDGEPOSE_HOME.

    Raises:
        StoreError: it cannot be opened. BackendUnavailable: its client is not installed.
    """
    if where.startswith(("postgresql://", "postgres://")):
        return PostgresStore(where, write=write)
    return SqliteStore(Path(where) if where else home() / "fleet.db", write=write)
