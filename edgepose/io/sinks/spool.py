"""The queue of messages that wait for a broker: in a file, which a later run goes on sending, or in memory."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from edgepose.errors import OutputError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Spool:
    """A bounded first-in first-out queue of messages in a file or in memory (SQLite).

    Args:
        path: the file, "" = memory. limit: messages kept; the oldest is dropped beyond.

    Raises:
        OutputError: the file is no spool, in use, or cannot be written.
    """

    def __init__(self, path: str, limit: int) -> None:
        self._path, self._limit = path, limit
        self._lock = threading.Lock()
        self.dropped = 0
        self._failing = False
        try:
            self._open()
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError) or not self._is_spool():
                raise OutputError(
                    f"The MQTT spool {path} cannot be used ({e}). Name another file, one for each run."
                ) from None
            self._start_anew(e)

    def _open(self) -> None:
        base = sqlite3.connect(self._path or ":memory:", check_same_thread=False, timeout=1.0)
        try:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=OFF")  # a crash of the machine may lose some
            base.execute("PRAGMA locking_mode=EXCLUSIVE")
            with base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS messages "
                    "(id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, payload BLOB)"
                )
                # reads every page that matters: damage shows now, and not in the middle of a run
                self._count = base.execute(
                    "SELECT count(*) FROM messages WHERE length(topic) + length(payload) >= 0"
                ).fetchone()[0]
        except sqlite3.Error:
            base.close()
            raise
        self._base = base

    def _is_spool(self) -> bool:
        """Whether the damaged file was ours, as far as its beginning tells: others are left alone."""
        try:
            with open(self._path, "rb") as file:
                return file.read(16) in (b"SQLite format 3\0", b"", bytes(16))
        except OSError:
            return False

    def _start_anew(self, error: sqlite3.Error) -> None:
        """Put a damaged file aside and begin another.

        Raises:
            OutputError: that cannot be done.
        """
        aside = f"{self._path}.damaged-{int(time.time())}"
        try:
            os.replace(self._path, aside)
            for tail in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(self._path + tail)
            self._open()
        except (OSError, sqlite3.Error) as e:
            raise OutputError(f"The MQTT spool {self._path} is damaged ({error}): {e}.") from None
        self.dropped += 1
        log.warning(
            "The MQTT spool %s is damaged (%s). It is put aside as %s, a new one is begun.",
            self._path,
            error,
            aside,
        )

    def __len__(self) -> int:
        return int(self._count)

    def add(self, topic: str, payload: bytes) -> None:
        """Append a message; one that cannot be stored (a full disk) is dropped and counted."""

        def insert(base: sqlite3.Connection) -> bool:
            base.execute("INSERT INTO messages (topic, payload) VALUES (?, ?)", (topic, payload))
            oldest = "SELECT id FROM messages ORDER BY id LIMIT ?"
            base.execute(f"DELETE FROM messages WHERE id IN ({oldest})", (over,))
            return True

        with self._lock:
            over = max(0, self._count + 1 - self._limit)
            if self._do("stored", insert):
                self._count += 1 - over
                self.dropped += over
            else:
                self.dropped += 1

    def after(self, number: int, count: int) -> list[tuple[int, str, bytes]]:
        """Up to `count` messages (id, topic, payload) that follow a number."""
        query = "SELECT id, topic, payload FROM messages WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            return self._do("read", lambda base: list(base.execute(query, (number, count)))) or []

    def remove(self, number: int) -> None:
        """Take a message away."""
        query = "DELETE FROM messages WHERE id = ?"
        with self._lock:
            gone = self._do("taken away", lambda base: base.execute(query, (number,)).rowcount)
            self._count -= gone or 0

    def _do(self, what: str, work: Callable[[sqlite3.Connection], T]) -> T | None:
        """A transaction that ends no run: where it fails (None), that is said once, and a damaged file
        is put aside."""
        try:
            with self._base:
                result = work(self._base)
        except sqlite3.Error as e:
            if not self._failing:
                log.warning("The MQTT spool %s: messages cannot be %s (%s).", self._path, what, e)
            self._failing = True
            if self._path and not isinstance(e, sqlite3.OperationalError):
                self._base.close()
                self._go_on(e)
            return None
        self._failing = False
        return result

    def _go_on(self, error: sqlite3.Error) -> None:
        """With a new file, or without one where that cannot be made."""
        try:
            self._start_anew(error)
        except OutputError as e:
            log.warning("%s Messages are kept in memory.", e)
            self._path = ""
            self._open()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._base.close()
