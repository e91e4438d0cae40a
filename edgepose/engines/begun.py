"""An engine that is loaded in a thread of its own while whoever will use it opens something else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgepose.closing import Worker
from edgepose.engines.base import Choice, Engine
from edgepose.engines.options import EngineOptions
from edgepose.engines.table import choose, load_chosen


class BegunEngine:
    """An engine that is being loaded.

    Its library is imported here, where it is asked for; what takes time then, fitting the graph to the machine,
    needs no interpreter and goes on beside whatever the program does next.

    Args:
        model, options: as of `load_engine`.

    Raises:
        NetworkFileError, UnknownNameError, UsageError, BackendUnavailable: as `choose`.
    """

    def __init__(self, model: Path, options: EngineOptions) -> None:
        self._model = model
        self._engines: list[Engine] = []
        choice = choose(model, options)
        self._worker = Worker(lambda: self._load(choice, options), "engine")
        self._worker.start()

    def _load(self, choice: Choice, options: EngineOptions) -> None:
        with suppress(Exception):  # whatever it is: `load_engine`, which is asked next, says it
            self._engines.append(load_chosen(choice, self._model, options))

    def take(self, model: Path) -> Engine | None:
        """The engine where it is that of the model and could be loaded; it is given once."""
        if model != self._model:
            return None
        self._worker.join()
        return self._engines.pop() if self._engines else None
