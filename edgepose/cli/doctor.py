"""`edgepose doctor`: what this machine has, what it means, how to mend it."""

from __future__ import annotations

import json as jsonlib
import os
from pathlib import Path

from edgepose.cli.console import say_line
from edgepose.cli.options import Doctor
from edgepose.doctor import Check, run_checks
from edgepose.doctor.proof import Proof
from edgepose.errors import EXIT_DONE, EXIT_FAILED, OutputError, UsageError
from edgepose.files import write_atomically

MARKS = {"ok": "ok  ", "note": "-   ", "absent": "-   ", "warn": "WARN", "fail": "FAIL"}


def doctor(asked: Doctor) -> int:
    """Run the command."""
    json, quick, report = asked.json, asked.quick, asked.report
    if (quick or report) and not asked.self_test:
        raise UsageError("--quick and --report belong to --self-test; add it.")
    if report:
        _check_writable(report)
    rows = run_checks(network=not asked.offline)
    failed = any(r.state == "fail" for r in rows)
    if not json:
        print("\n".join(lines(rows)), flush=True)
    if asked.self_test:
        failed = _self_test(rows, quick, report, json) or failed
    elif json:
        print(jsonlib.dumps([row.as_dict() for row in rows], indent=1))
    return EXIT_FAILED if failed else EXIT_DONE


def _self_test(rows: list[Check], quick: bool, path: Path | None, json: bool) -> bool:
    """Run it, print each line as it comes, write the report; True where something failed."""
    from edgepose.doctor import selftest  # with every stage of the program

    proofs: list[Proof] = []
    if not json:
        print("\nself-test", flush=True)
    frames = selftest.QUICK_FRAMES if quick else selftest.FRAMES
    for proof in selftest.run_proofs(frames=frames):
        proofs.append(proof)
        if not json:
            print("\n".join(proof_lines(proof)), flush=True)
    text = selftest.text_of(selftest.report(rows, proofs))
    if json:
        print(text, end="")
    else:
        states: list[str] = [p.state for p in proofs]
        counts = ", ".join(
            f"{states.count(state)} {word}"
            for state, word in (("ok", "as it should be"), ("fail", "not"), ("absent", "not here"))
        )
        print(counts)
    if path:
        _write_result(path, text)
    return any(p.state == "fail" for p in proofs)


def proof_lines(proof: Proof) -> list[str]:
    """One line, and below a failure what was asked."""
    out = [f"{MARKS[proof.state]}  {proof.name:<28}  {proof.found}"]
    if proof.state == "fail" and proof.bound:
        out.append(f"{'':36}asked: {proof.bound}")
    return out


def lines(rows: list[Check]) -> list[str]:
    """One line a row, and below it what it means and what to type."""
    width = max(len(r.name) for r in rows)
    out = []
    for row in rows:
        out.append(f"{MARKS[row.state]}  {row.name:<{width}}  {row.found}")
        indent = " " * (width + 8)
        if row.means and row.state != "ok":
            out.append(f"{indent}{row.means}")
        if row.fix and row.state in ("warn", "fail"):
            out.append(f"{indent}fix: {row.fix}")
    worst = sum(r.state == "fail" for r in rows), sum(r.state == "warn" for r in rows)
    out.append(f"{worst[0]} to mend, {worst[1]} to know about")
    return out


def _check_writable(path: Path) -> None:
    """Say now, and not after a minute, that the report cannot be written."""
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"Cannot write {path}: {folder} is no folder that can be written to.")


def _write_result(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as e:
        raise OutputError(f"Cannot write {path}: {e.strerror}.") from None
    say_line(f"Report: {path}")
