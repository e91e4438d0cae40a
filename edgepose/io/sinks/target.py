"""What sinks write into: a file or stdout, whole pieces at a time.

Each piece goes to the file at once, so that a killed program leaves whole rows; where a piece does
not fit on the disk, its beginning is taken back.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import BinaryIO

from edgepose.errors import OutputError
from edgepose.files import refuse_input
from edgepose.io.base import Closing
from edgepose.io.targets import check_folder, claim


class Target(Closing):
    """A file ("-" is stdout) that takes text piece by piece.

    Args:
        path: file or "-". inputs: files that must not be written over.
        tail: text that always ends the file and is overwritten by the next piece: a bracket, so that
            an array is complete at any moment. On stdout and pipes it is written once, at the end.

    Raises:
        UsageError: the file is an input. OutputError: it cannot be written.
    """

    def __init__(self, path: str, inputs: Iterable[str] = (), tail: str = "") -> None:
        self.path = os.path.expanduser(path)
        self.is_stdout = path == "-"
        self._tail = tail.encode("ascii")
        self._end = 0
        self._lock = threading.Lock()
        self._file: BinaryIO | None = self._stdout() if self.is_stdout else self._open(inputs)
        self._flows = self.is_stdout or not self._file.seekable()

    def _stdout(self) -> BinaryIO:
        if sys.stdout is None or getattr(sys.stdout, "name", "") == os.devnull:
            raise OutputError("Data go to the standard output (-), which is closed. Name a file.")
        sys.stdout.flush()
        return sys.stdout.buffer

    def _open(self, inputs: Iterable[str]) -> BinaryIO:
        refuse_input(self.path, inputs)
        if not os.path.exists(self.path) or os.path.isfile(self.path):
            check_folder(os.path.dirname(self.path), create=True)
        try:
            file = claim(self.path)
            with suppress(OSError):  # pipes and devices have no length
                file.truncate(0)
            return file
        except OutputError:
            raise
        except OSError as e:
            raise OutputError(f"{self.path} cannot be written: {e.strerror or e}.") from None

    def write(self, text: str) -> None:
        """Append a piece.

        Raises:
            OutputError: it cannot be written; the file ends with the piece before.
            BrokenPipeError: the reader of stdout is gone.
        """
        if self._file is None:
            raise OutputError(f"{self.path} is closed; nothing more can be written.")
        data = text.encode("utf-8", "backslashreplace")  # names need not be valid text
        with self._lock:  # events of sources come from other threads than results
            self._write(data)

    def _write(self, data: bytes) -> None:
        try:
            self._put(data if self._flows else data + self._tail)
        except BrokenPipeError:
            raise
        except OSError as e:
            self._take_back()
            raise OutputError(
                f"{self.path} cannot be written further: {e.strerror or e}."
            ) from None
        self._end += len(data)

    def _put(self, data: bytes) -> None:
        assert self._file is not None
        if not self._flows:
            self._file.seek(self._end)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._file.flush()

    def _take_back(self) -> None:
        """End the file after the last whole piece."""
        if self._flows or self._file is None:
            return
        try:
            self._file.truncate(self._end)
            self._put(self._tail)
        except OSError:
            pass  # not even the tail fits

    def close(self) -> None:
        """Finish; safe to call twice."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._flows and self._tail:
                file.write(self._tail)
                file.flush()
        finally:
            if not self.is_stdout:
                file.close()
