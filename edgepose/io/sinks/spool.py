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
TAILS = ("-wal", "-shm")  # of the names of what SQLite keeps beside a file


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
        self._newest = 0  # number of the last message: a file in another's place counts on from it
        try:
            self._open()
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError) or not self._is_spool():
                raise OutputError(
                    f"The MQTT spool {path} cannot be used ({e}). Name another file, one for each run."
                ) from None
            self._start_anew(e)

    def _open(self, journal: str = "WAL") -> None:
        base = sqlite3.connect(self._path or ":memory:", check_same_thread=False, timeout=1.0)
        try:
            base.execute(f"PRAGMA journal_mode={journal}")
            base.execute("PRAGMA synchronous=OFF")  # a crash of the machine may lose some
            base.execute("PRAGMA locking_mode=EXCLUSIVE")
            with base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS messages "
                    "(id INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT, payload BLOB)"
                )
                if self._newest:
                    base.execute("INSERT OR IGNORE INTO messages (id) VALUES (?)", (self._newest,))
                    base.execute("DELETE FROM messages WHERE topic IS NULL")
                # reads every page that matters: damage shows now, and not in the middle of a run
                self._count = base.execute(
                    "SELECT count(*) FROM messages WHERE length(topic) + length(payload) >= 0"
                ).fetchone()[0]
        except sqlite3.Error:
            base.close()
            raise
        self._base = base
        self._inodes = self._named()

    def _named(self) -> list[int]:
        """Which files have our names now: the queue, its log and what goes with that."""
        return [_inode(self._path + tail) if self._path else 0 for tail in ("", *TAILS)]

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
            for tail in TAILS:
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
            values = (topic, payload)
            done = base.execute("INSERT INTO messages (topic, payload) VALUES (?, ?)", values)
            self._newest = done.lastrowid or 0
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
            if self._path and _inode(self._path) != self._inodes[0]:
                self._follow()
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

    def _follow(self) -> None:
        """Go on in a new file where ours lost its name, else in memory; what waits goes along."""
        name, old = self._path, self._base
        for tail, mine in zip(TAILS, self._inodes[1:], strict=True):
            if mine and _inode(name + tail) == mine:  # else it would be read as the new one's
                with suppress(OSError):
                    os.unlink(name + tail)
        try:
            # without a log, whose name `old` deletes when it is closed
            self._take_over(old, "DELETE")
        except sqlite3.Error:
            self._path = ""
            self._take_over(old, "WAL")
        old.close()
        self._base.execute("PRAGMA journal_mode=WAL")
        self._inodes = self._named()
        where = "in a new one" if self._path else "in memory"
        log.warning("The MQTT spool %s was deleted or moved away. Messages wait %s.", name, where)

    def _take_over(self, old: sqlite3.Connection, journal: str) -> None:
        """Open our file, or memory, and copy what waits in another.

        Raises:
            sqlite3.Error: neither changes.
        """
        self._open(journal)
        try:
            rows = old.execute("SELECT id, topic, payload FROM messages")
            with self._base:
                self._base.executemany("INSERT OR IGNORE INTO messages VALUES (?, ?, ?)", rows)
                (self._count,) = self._base.execute("SELECT count(*) FROM messages").fetchone()
        except sqlite3.Error:
            self._base.close()
            raise

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


def _inode(path: str) -> int:
    """Which file has a name, 0 where there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
