"""Which store an address means."""

from __future__ import annotations

import os
from pathlib import Path

from edgepose.collect.store import FleetStore
from edgepose.collect.store_postgres import PostgresStore
from edgepose.collect.store_sqlite import SqliteStore
from edgepose.paths import home


def place(given: str) -> str:
    """Where a store is: what is given, else EDGEPOSE_FLEET_STORE (a password in it is in no list of processes),
    else fleet.db in EDGEPOSE_HOME."""
    return given or os.environ.get("EDGEPOSE_FLEET_STORE", "") or str(home() / "fleet.db")


def is_shared(where: str) -> bool:
    """Whether several collectors may write there."""
    return where.startswith(("postgresql://", "postgres://"))


def open_store(given: str, *, write: bool) -> FleetStore:
    """The store at postgresql://..., or in a file; see `place`.

    Raises:
        StoreError: it cannot be opened. BackendUnavailable: its client is not installed.
    """
    where = place(given)
    if is_shared(where):
        return PostgresStore(where, write=write)
    return SqliteStore(Path(where), write=write)
