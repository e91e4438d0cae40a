"""Write README's rows of figures from stored results, so that both say the same.

The results lie in benchmarks/results: `peers.json`, by benchmarks/peers.py, and `eval-NAME.json`, each what
`edgepose eval --network NAME --annotations person_keypoints.json --images images --json` printed, without its
times (`fast-fp32`: `--precision fp32`). What is not stored has no row.

usage: python tools/make_figures.py [--check]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
BEGIN, END = "| what | figure | command |\n|---|---|---|\n", "| film to film with human-pose"
EVALS = {"fast": "`fast` int8", "fast-fp32": "`fast` float32", "accurate": "`accurate`"}
PEERS = "`benchmarks/peers.py`"


def read(name: str) -> dict[str, Any]:
    """A stored result; nothing where there is none."""
    file = RESULTS / f"{name}.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def accuracy() -> Iterator[str]:
    """The row of AP."""
    found = {label: read(f"eval-{name}") for name, label in EVALS.items()}
    rows = {label: result for label, result in found.items() if result}
    if rows:
        figures = ", ".join(f"{label} {result['AP']:.3f}" for label, result in rows.items())
        pictures = next(iter(rows.values()))["images"]
        yield f"| AP on {pictures} COCO images, as shipped | {figures} | `edgepose eval --network NAME` |"


def peers() -> Iterator[str]:
    """A row for each program that ran in turn with ours."""
    for what, row in read("peers").get("figures", {}).items():
        name, peer = what.rsplit(", ", 1)
        kind = "film to film" if name.startswith("film") else name
        size = name.partition(" ")[2] if name.startswith("film ") else ""
        yield (
            f"| {kind}{f' at {size}' if size else ''}, against {peer}: time, CPU, memory | "
            f"{row['ratio_wall']:.2f}, {row['ratio_cpu']:.2f}, {row['ratio_memory']:.2f} of its | {PEERS} |"
        )


def main() -> int:
    """Rewrite the rows, or say with --check whether they are up to date."""
    text = README.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit("README.md has no table of figures any more.")
    rows = "".join(f"{row}\n" for row in (*accuracy(), *peers()))
    wanted = head + begin + rows + end + tail
    if "--check" not in sys.argv:
        README.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        print(
            "README.md's figures are not those stored: python tools/make_figures.py",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
