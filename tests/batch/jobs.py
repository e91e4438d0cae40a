"""Jobs of `edgepose batch` with the real engine on short films of walking figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.batch.files import Folder, held
from edgepose.batch.local import LocalPool
from edgepose.batch.manifest import Summary
from edgepose.batch.plan import Item, Job, digests, find_items, settle
from edgepose.batch.run import run_job
from edgepose.io.sinks.parquet import read_results
from edgepose.io.sinks.rows import result_row
from edgepose.options import EngineChoice, NetworkChoice
from edgepose.wanted import find_network

NETWORK = "edgepose-lite-body"
Rows = list[dict[str, Any]]


def job(**more: Any) -> Job:
    """A job that cuts films after 0.4 seconds."""
    fields = {"segment": 0.4, "shard": 4, **more}
    one = Job(network=NetworkChoice(network=NETWORK), engine=EngineChoice(threads=1), **fields)
    return replace(one, weights=digests(find_network(one.network)))


def run(out: Path, inputs: Sequence[Path], **more: Any) -> Summary:
    """Run a job in this process to its end."""
    folder = Folder(out)
    wanted = settle(folder, job(**more))
    with held(folder), LocalPool(str(out), 3, False) as pool:
        items = list(find_items([str(p) for p in inputs], wanted, folder, keep=True))
        return run_job(folder, wanted, items, pool, lambda done, progress: None)


def items_of(out: Path, inputs: Sequence[Path], **more: Any) -> list[Item]:
    """How a job cuts its inputs."""
    return list(find_items([str(p) for p in inputs], job(**more), Folder(out), keep=False))


def rows_in(out: Path, source: Path | None = None) -> Rows:
    """All rows of a job (of one source), as JSON lines have them but for the time of inference."""
    found = [r for path in sorted(out.glob("poses/*.parquet")) for r in read_results(path)]
    rows = [plain(result_row(r)) for r in found if source is None or r.source == str(source)]
    return sorted(rows, key=lambda row: (row["source"], row["frame"]))


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what differs from run to run."""
    return {k: v for k, v in row.items() if k != "inference_ms"}


def posenet_rows(*words: object) -> Rows:
    """What `posenet ... --json -` says."""
    command = [sys.executable, "-m", "edgepose", "posenet", "--network", NETWORK, "--threads", "1"]
    done = subprocess.run(
        [*command, *map(str, words), "--json", "-", "--headless"],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [plain(row) for row in rows if "frame" in row]
