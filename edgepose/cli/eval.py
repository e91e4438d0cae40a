"""`edgepose eval`: COCO figures and PCK of a network on annotated pictures, with one engine or two."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk
from edgepose.cli.loading import engine_with_progress, estimator_options, find_network
from edgepose.cli.options import Eval
from edgepose.engines import EngineOptions
from edgepose.engines.table import choose
from edgepose.errors import Interrupted, OutputError, UsageError
from edgepose.estimators import EstimatorOptions, make_estimator
from edgepose.eval.annotations import Annotations, find_pictures, load_annotations
from edgepose.eval.figures import coco_figures, parse_sigmas, spread
from edgepose.eval.pck import measure
from edgepose.eval.report import Measurement, as_json, as_text
from edgepose.eval.run import Journal, journal_key, write_rows
from edgepose.eval.run import evaluate as run
from edgepose.files import refuse_input
from edgepose.networks.resolve import Network
from edgepose.paths import cache


def evaluate(asked: Eval) -> None:
    """Run the command.

    Raises:
        EdgeposeError: for everything that went wrong.
    """
    talk = Talk.of(asked.talk)
    terminate_as_interrupt()
    truth = load_annotations(asked.annotations).limited(asked.limit)
    truth = replace(truth, sigmas=parse_sigmas(asked.sigmas, truth.keypoints))
    _check_first(asked, truth)
    if not asked.network.network and asked.network.model is None:
        raise UsageError("Name what to measure: --network NAME, or --model FILE --topology FILE.")
    network = find_network(asked.network, talk, asked.engine.precision)
    options = _options(asked, network, talk)
    other = replace(options, engine=_other_engine(asked, network)) if asked.compare else None
    if network.topology is not None:
        truth = replace(truth, sigmas=truth.sigmas or spread(truth, network.topology))
    measured = [_measure(asked, truth, network, options, talk, asked.results)]
    if other is not None:
        measured.append(_measure(asked, truth, network, other, talk, _beside(asked.results)))
    name, count = network.manifest.name, len(truth.pictures)
    if asked.json:
        checker = "pck" if asked.pck else "pycocotools"
        print(json.dumps(as_json(name, count, measured, checker)))
    else:
        print(as_text(name, count, measured))


def _check_first(asked: Eval, truth: Annotations) -> None:
    """Whatever would only fail after an hour of inference."""
    find_pictures(truth, asked.images)
    if not asked.pck:
        coco_figures(truth, [])
    for path in (asked.results, _beside(asked.results)):
        if path is not None:
            refuse_input(path, (asked.annotations,))
    if asked.results is not None and not asked.results.parent.is_dir():
        raise OutputError(f"--results {asked.results}: there is no folder {asked.results.parent}.")


def _beside(results: Path | None) -> Path | None:
    return results.with_name(f"{results.stem}.compare{results.suffix}") if results else None


def _options(asked: Eval, network: Network, talk: Talk) -> EstimatorOptions:
    """How poses are found; low thresholds, as AP counts every pose by its score."""
    download = not asked.network.no_download
    options = estimator_options(asked.estimator, network, talk, download=download)
    if options.threshold is None:
        low = 0.1 if network.manifest.family == "bottom-up" else 0.0
        options = replace(options, threshold=low)
    return replace(options, engine=engine_with_progress(asked.engine, talk))


def _other_engine(asked: Eval, network: Network) -> EngineOptions:
    """The engine of --compare, which must be able to run here."""
    engine, _, precision = asked.compare.partition(":")
    options = EngineOptions(engine=engine, threads=asked.engine.threads, precision=precision)
    choose(network.model, options)
    return options


def _measure(
    asked: Eval,
    truth: Annotations,
    network: Network,
    options: EstimatorOptions,
    talk: Talk,
    results: Path | None,
) -> Measurement:
    estimator = make_estimator(network, options)
    try:
        talk.info(f"{network.manifest.name} on {estimator.engine_name}")
        key = journal_key(truth, **_identity(asked, network, options, estimator.engine_name))
        with Journal(_journal_path(results, key), key, asked.resume) as journal:
            if journal.done:
                talk.info(f"{len(journal.done)} pictures were done before.")
            with _progress(talk, len(truth.pictures)) as tick:
                try:
                    outcome = run(estimator, truth, asked.images, journal=journal, tick=tick)
                except KeyboardInterrupt:
                    raise Interrupted(_stopped(journal.path, truth)) from None
            if results is not None:
                write_rows(outcome.rows, results)
            journal.remove()
    finally:
        estimator.close()
    if asked.pck:
        figures = measure(truth, outcome.rows).figures()
    else:
        figures = coco_figures(truth, outcome.rows)
    return Measurement(estimator.engine_name, figures, len(outcome.rows), outcome.speed())


def _identity(
    asked: Eval, network: Network, options: EstimatorOptions, engine: str
) -> dict[str, Any]:
    """All that decides what is found, for the journal's key."""
    model = network.model.stat()
    return {
        "model": [str(network.model.resolve()), model.st_size, model.st_mtime],
        "manifest": repr(network.manifest),
        "topology": repr(network.topology),
        "detector": repr(options.detector),
        "engine": engine,
        "images": str(Path(asked.images).resolve()),
        "options": repr(asked.estimator),
        "precision": asked.engine.precision,
        "compare": asked.compare,
        "limit": asked.limit,
    }


def _journal_path(results: Path | None, key: str) -> Path:
    if results is not None:
        return results.with_name(results.name + ".partial")
    return cache() / "eval" / f"{key[:16]}.partial"


def _stopped(journal: Path, truth: Annotations) -> str:
    done = max(0, len(journal.read_text(encoding="utf-8").splitlines()) - 1)
    return (
        f"interrupted after {done} of {len(truth.pictures)} pictures; the same command with "
        "--resume goes on there"
    )


@contextmanager
def _progress(talk: Talk, total: int) -> Iterator[Any]:
    """A bar on a terminal, else a plain line every few seconds."""
    if talk.bars:
        from rich.progress import Progress

        with Progress(console=talk.console, transient=True) as bar:
            task = bar.add_task("pictures", total=total)
            yield lambda done, of: bar.update(task, completed=done)
        return
    last = time.monotonic()

    def tick(done: int, of: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 10:
            last = time.monotonic()
            talk.info(f"{done} of {of} pictures")

    yield tick
