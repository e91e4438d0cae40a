"""manifest.parquet: a row a source, and what the whole job comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgepose.batch.files import Folder, Task
from edgepose.batch.finish import DAMAGED, DONE, FAILED, WAITING, check_file, finals
from edgepose.batch.plan import Item
from edgepose.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PARTLY,
    OutputError,
    SourceError,
    UsageError,
)
from edgepose.files import file_digest, replacing, valid
from edgepose.io.sinks.parquet import arrow, read_metadata

COLUMNS = (
    "path",
    "key",
    "kind",
    "frames",
    "poses",
    "segments",
    "status",
    "message",
    "engine",
    "seconds",
    "sha256",
)
Row = dict[str, Any]


@dataclass
class Manifest:
    """The rows by key.

    Attributes:
        rows: of all sources that the job ever had.
    """

    folder: Folder
    rows: dict[str, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Folder) -> Manifest:
        """As it was last written; empty where it never was, or cannot be read."""
        pa, parquet = arrow()
        try:
            with parquet.ParquetFile(folder.manifest) as file:  # read_table would load pandas
                if file.schema_arrow.names != list(COLUMNS):
                    return cls(folder)
                rows = file.read().to_pylist()
            return cls(folder, {row["key"]: row for row in rows})
        except (OSError, pa.ArrowException, KeyError):
            return cls(folder)

    def write(self) -> None:
        """Put it in its place.

        Raises:
            OutputError: the disk is full.
        """
        pa, parquet = arrow()
        kinds = (
            [pa.string()] * 3 + [pa.int64()] * 3 + [pa.string()] * 3 + [pa.float64(), pa.string()]
        )
        schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        rows = [{name: row.get(name) for name in COLUMNS} for row in self.rows.values()]
        try:
            with replacing(self.folder.manifest) as part:
                parquet.write_table(pa.Table.from_pylist(rows, schema), part)
        except OSError as e:
            raise OutputError(
                f"{self.folder.manifest} cannot be written: {e.strerror or e}."
            ) from None

    def add(self, item: Item) -> Row:
        """The row of a source, by what lies in the folder."""
        tasks = item.tasks(bool(self.folder.why_recut(item.key)))
        row: Row = {"path": valid(item.path), "key": item.key, "kind": item.kind}
        row |= {"frames": item.frames, "poses": 0, "segments": len(tasks)}
        row["message"] = valid(item.problem)
        row |= {"status": FAILED if item.problem else WAITING, "engine": "", "seconds": 0.0}
        row["sha256"] = ""
        final = self.folder.poses(item.kind, item.key)
        if final.exists():
            row |= self._final(read_metadata(final))
            row["sha256"] = self._written(item.key) or file_digest(final)
        else:
            row |= self._set_aside(tasks)
        self.rows[item.key] = row
        return row

    def forget_failed(self, items: Sequence[Item]) -> None:
        """Drop the rows of what could not be read, and is another file now."""
        paths, keys = {valid(item.path) for item in items}, {item.key for item in items}
        self.rows = {
            key: row
            for key, row in self.rows.items()
            if row["status"] != FAILED or key in keys or row["path"] not in paths
        }

    def _written(self, key: str) -> str:
        """sha256 of a final file as it was when its source was done, "" where nobody knows."""
        return self.rows.get(key, {}).get("sha256") or ""

    def _final(self, told: Row) -> Row:
        row = {name: told[name] for name in COLUMNS if name in told}
        row["engine"] = ", ".join(told.get("engines", ()))
        if len(told.get("problems", ())) > 1:
            row["message"] += f" (and {len(told['problems']) - 1} more)"
        return row

    def _set_aside(self, tasks: Sequence[Task]) -> Row:
        for task in tasks:
            reason = self.folder.failed(task.key, task.name)
            if reason:
                return {"status": FAILED, "message": reason}
        return {}

    def sum_up(self, keys: Iterable[str]) -> Summary:
        """What the sources come to."""
        rows = [self.rows[key] for key in keys]
        return Summary(
            Counter(row["status"] for row in rows),
            frames=sum(row["frames"] for row in rows if row["status"] in (DONE, DAMAGED)),
            poses=sum(row["poses"] for row in rows),
            seconds=sum(row["seconds"] for row in rows),
        )


@dataclass(frozen=True)
class Summary:
    """What a job has come to.

    Attributes:
        states: sources by status. frames, poses: of those that are done. seconds: CPU time in tasks.
    """

    states: Counter[str]
    frames: int
    poses: int
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """Sources by status, those of which there are none too."""
        return {state: self.states[state] for state in (DONE, DAMAGED, FAILED, WAITING)}

    @property
    def exit_code(self) -> int:
        """0 all done, 3 some failed or damaged, 1 all failed."""
        good = self.states[DONE] + self.states[DAMAGED]
        if good == self.states.total() and not self.states[DAMAGED]:
            return EXIT_DONE
        return EXIT_PARTLY if good else EXIT_FAILED

    def line(self) -> str:
        """For people."""
        words = [f"{n} {state}" for state, n in self.counts.items() if n]
        return f"{', '.join(words) or 'no sources'}; {self.frames} frames, {self.poses} poses"


def check(folder: Folder) -> list[str]:
    """All that is wrong with what lies in a folder; writes the manifest anew from the final files.

    Raises:
        UsageError: it holds no job.
    """
    if not folder.job.exists():
        raise UsageError(f"{folder.root} holds no job: there is no job.json in it.")
    manifest, found = Manifest.read(folder), set()
    known = set(manifest.rows)  # none where the manifest is gone: then nothing is out of place
    problems: list[str] = []
    for path in finals(folder):
        try:
            wrong = check_file(path)
            told = read_metadata(path)
        except SourceError as e:
            problems.append(str(e))
            continue
        if not {"path", "key", "status"} <= told.keys():
            problems.append(f"{path} is of no job.")
            continue
        digest = file_digest(path)
        if not wrong and (manifest._written(told["key"]) or digest) != digest:
            wrong = "it is not as it was written"
        if wrong:
            problems.append(f"{path}: {wrong}.")
        found.add(told["key"])
        if known and told["key"] not in known:
            problems.append(f"{path} is of no source of the manifest ({told['path']}).")
        manifest.rows[told["key"]] = manifest.rows.get(told["key"], {}) | manifest._final(told)
        manifest.rows[told["key"]]["sha256"] = manifest._written(told["key"]) or digest
    for key, row in manifest.rows.items():
        if row["status"] in (DONE, DAMAGED) and key not in found:
            problems.append(f"{row['path']} is done by the manifest, and its file is gone.")
            row["status"] = WAITING
    manifest.write()
    return problems
