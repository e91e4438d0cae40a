"""What the server tells of stored events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.closing import Closing
from edgepose.errors import UsageError
from edgepose.events import snapshots
from edgepose.events.log import EventLog, Filter

if TYPE_CHECKING:
    from edgepose.events.log import NumberedPage


class NoEvents(UsageError):
    """Events are not stored here."""


class Recorded(Closing):
    """The stored events, or the answer that there are none.

    Args:
        database: their file; None = they are not stored.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, database: Path | None) -> None:
        self._database = database
        self._log = EventLog(database) if database is not None else None

    @property
    def log(self) -> EventLog:
        """The reader.

        Raises:
            NoEvents: they are not stored.
        """
        if self._log is None:
            raise NoEvents("Events are not stored here; start edgepose serve with --db FILE.")
        return self._log

    def visits(self, page: int, per_page: int) -> NumberedPage:
        """A page of enter and exit events of the whole picture, oldest first."""
        wanted = Filter(events=("enter", "exit"), zones=("",))
        return self.log.numbered(wanted, page=page, per_page=per_page, newest_first=False)

    def snapshot(self, number: int) -> bytes | None:
        """The picture stored with an event, None where there is none."""
        log = self.log
        all_of_them = Filter(examples="with")
        found = log.page(all_of_them, cursor=str(number - 1), limit=1, newest_first=False).events
        if self._database is None or not found or found[0].id != number:
            return None
        return snapshots.read(self._database, found[0].snapshot)

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()
