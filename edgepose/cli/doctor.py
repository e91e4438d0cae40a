"""`edgepose doctor`: what this machine has, what it means, how to mend it."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepose.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from edgepose.doctor import Check
    from edgepose.doctor.proof import Proof

MARKS = {"ok": "ok  ", "note": "-   ", "absent": "-   ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="Rows (or the report) as JSON on stdout.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not try to reach the servers of the networks.")
    ] = False,
    self_test: Annotated[
        bool,
        typer.Option(
            "--self-test",
            help="Compute: kernels against their numpy twins, every engine that loads (TensorRT in "
            "fp32, fp16 and int8, OpenVINO, CUDA) against ONNX Runtime, memory over 1,000 frames. "
            "Seconds on a CPU; minutes where TensorRT has to build first.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="With --self-test: memory over 200 frames only.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="With --self-test: everything as JSON, to attach to a bug; without the name of the "
            "machine and of the user's folder.",
        ),
    ] = None,
) -> None:
    """Check board, drivers, engines, cameras, display, folders and networks, with the exact fix for each.

    Ends with 0 where nothing has to be mended, with 1 where something failed.
    """
    from edgepose.doctor import run_checks
    from edgepose.errors import UsageError

    if (quick or report) and not self_test:
        raise UsageError("--quick and --report belong to --self-test; add it.")
    if report:
        _check_writable(report)
    rows = run_checks(network=not offline)
    failed = any(r.state == "fail" for r in rows)
    if not json:
        print("\n".join(lines(rows)), flush=True)
    if self_test:
        failed = _self_test(rows, quick, report, json) or failed
    elif json:
        print(jsonlib.dumps([row.as_dict() for row in rows], indent=1))
    raise typer.Exit(EXIT_FAILED if failed else EXIT_DONE)


def _self_test(rows: list[Check], quick: bool, path: Path | None, json: bool) -> bool:
    """Run it, print each line as it comes, write the report; True where something failed."""
    from edgepose.cli.console import Talk
    from edgepose.doctor import selftest

    Talk()  # shows what an engine build has to say
    proofs: list[Proof] = []
    if not json:
        print("\nself-test", flush=True)
    frames = selftest.QUICK_FRAMES if quick else selftest.FRAMES
    for proof in selftest.run(frames=frames):
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
        _write(path, text)
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
    import os

    from edgepose.errors import OutputError

    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(f"Cannot write {path}: {folder} is no folder that can be written to.")


def _write(path: Path, text: str) -> None:
    from edgepose.errors import OutputError
    from edgepose.files import write_atomically

    try:
        write_atomically(path, text)
    except OSError as e:
        raise OutputError(f"Cannot write {path}: {e.strerror}.") from None
    print(f"Report: {path}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)
