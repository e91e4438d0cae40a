"""Settings that the centre pushes: tried, kept where they work, taken back where they do not.

What worked last is kept in a file beside the events, so that a device without its centre starts as it was. A
version that failed is not tried again, and neither is one during which the program died.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import EdgeposeError
from edgepose.files import write_atomically
from edgepose.fleet.messages import dump
from edgepose.json_file import read_json

log = logging.getLogger(__name__)
PATIENCE = 60.0
LOOK = 0.2
Settings = dict[str, Any]


@dataclass(frozen=True)
class Settle:
    """How settings are tried.

    Attributes:
        apply: makes them work; raises EdgeposeError where they cannot be meant, and changes nothing then.
        trouble: what does not work now, "" where all does.
        patience: seconds until it must be "".
    """

    apply: Callable[[Settings], None]
    trouble: Callable[[], str]
    patience: float = PATIENCE


class RemoteConfig:
    """The settings of a device.

    Args:
        path: of the file.

    Attributes:
        good: settings that worked last, {} = those of the command line.
        state: {"wanted": version, "have": version, "error": text}, 0 = none.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._guard = path, threading.Lock()
        self._settle: Settle | None = None
        self.good: Settings = {}
        self.state: dict[str, Any] = {"wanted": 0, "have": 0, "error": ""}
        self._failed = 0
        self._load()

    def _load(self) -> None:
        try:
            kept = read_json(self._path, 1 << 20)
            self.good, have = dict(kept["settings"]), int(kept["version"])
            self._failed, error = int(kept["failed"]), str(kept["error"])
            if int(kept["trying"]):
                self._failed = int(kept["trying"])
                error = "the program ended while it was tried"
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as e:
            log.warning("Settings %s are passed over: %s.", self._path, e)
            return
        self.state = {"wanted": max(have, self._failed), "have": have, "error": error}

    def settle(self, settle: Settle) -> None:
        """Begin to take settings."""
        self._settle = settle

    def take(self, version: int, settings: Settings) -> None:
        """Try settings that were pushed; waits until they work or are taken back."""
        with self._guard:
            if self._settle is None or version in (self.state["have"], self._failed):
                return
            self.state = {**self.state, "wanted": version, "error": ""}
            self._keep(trying=version)
            error = self._tried(self._settle, settings)
            if error:
                self._failed = version
                self.state = {**self.state, "error": error}
                log.warning("Settings of version %d are taken back: %s", version, error)
            else:
                self.good = settings
                self.state = {"wanted": version, "have": version, "error": ""}
                log.info("Settings of version %d are in use.", version)
            self._keep()

    def _tried(self, settle: Settle, settings: Settings) -> str:
        """Apply settings; why they do not work, "" where they do."""
        try:
            settle.apply(settings)
        except EdgeposeError as e:
            return str(e)
        trouble, end = settle.trouble(), time.monotonic() + settle.patience
        while trouble and time.monotonic() < end:
            time.sleep(LOOK)
            trouble = settle.trouble()
        if trouble:
            settle.apply(self.good)
        return trouble

    def _keep(self, trying: int = 0) -> None:
        told = {"version": self.state["have"], "settings": self.good, "trying": trying}
        try:
            write_atomically(
                self._path, dump({**told, "failed": self._failed, "error": self.state["error"]})
            )
        except OSError as e:
            log.warning("Settings cannot be kept in %s: %s.", self._path, e)
