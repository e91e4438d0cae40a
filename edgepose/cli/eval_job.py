"""What `edgepose eval` does with its arguments: load, run (once or with two engines), report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.cli.common import terminate_as_interrupt
from edgepose.cli.console import Talk
from edgepose.errors import Interrupted, OutputError, UsageError

if TYPE_CHECKING:
    from edgepose.engines import EngineOptions
    from edgepose.estimators import EstimatorOptions
    from edgepose.eval.annotations import Annotations
    from edgepose.eval.report import Measurement
    from edgepose.networks.resolve import Network


def run(a: Mapping[str, Any]) -> None:
    """Run `edgepose eval`.

    Raises:
        EdgeposeError: for everything that went wrong.
    """
    from edgepose.eval.annotations import load_annotations
    from edgepose.eval.report import as_json, as_text

    talk = Talk("error" if a["quiet"] else "info", progress=not a["no_progress"])
    terminate_as_interrupt()
    truth = load_annotations(a["annotations"]).limited(a["limit"])
    _check_first(a, truth)
    network = _network(a)
    options = _options(a, network)
    other = replace(options, engine=_other_engine(a, network)) if a["compare"] else None
    measured = [_measure(a, truth, network, options, talk, a["results"])]
    if other is not None:
        measured.append(_measure(a, truth, network, other, talk, _beside(a["results"])))
    name, count = network.manifest.name, len(truth.pictures)
    if a["json_"]:
        checker = "pck" if a["pck"] else "pycocotools"
        print(json.dumps(as_json(name, count, measured, checker)))
    else:
        print(as_text(name, count, measured))


def _check_first(a: Mapping[str, Any], truth: Annotations) -> None:
    """Whatever would only fail after an hour of inference."""
    from edgepose.eval.annotations import find_pictures
    from edgepose.eval.figures import coco_figures

    find_pictures(truth, a["images"])
    if not a["pck"]:
        coco_figures(truth.limited(1), [])
    if a["results"] is not None and not a["results"].parent.is_dir():
        raise OutputError(f"--results {a['results']}: there is no folder {a['results'].parent}.")


def _beside(results: Path | None) -> Path | None:
    return results.with_name(f"{results.stem}.compare{results.suffix}") if results else None


def _network(a: Mapping[str, Any]) -> Network:
    from edgepose.networks.resolve import resolve

    if not a["network"] and a["model"] is None:
        raise UsageError("Name what to measure: --network NAME, or --model FILE --topology FILE.")
    return resolve(
        a["network"],
        variant=a["variant"],
        model=a["model"],
        topology=a["topology"] or None,
        download=not a["no_download"],
    )


def _options(a: Mapping[str, Any], network: Network) -> EstimatorOptions:
    from edgepose.cli.wanted import parse_size
    from edgepose.engines import EngineOptions
    from edgepose.estimators import EstimatorOptions
    from edgepose.networks.resolve import resolve

    family = network.manifest.family
    detector = None
    if family == "top-down":
        name = a["detector"] or network.manifest.detector
        detector = resolve(name, model=a["detector_model"], download=not a["no_download"])
    if a["resize"] not in ("", "stretch", "letterbox"):
        raise UsageError(f"--resize {a['resize']!r} is not stretch or letterbox.")
    threshold = a["threshold"]
    if threshold is None:
        threshold = 0.1 if family == "bottom-up" else 0.0
    return EstimatorOptions(
        threshold=threshold,
        min_keypoints=a["min_keypoints"],
        resize=a["resize"],
        size=parse_size("--network-size", a["network_size"]),
        detector=detector,
        detector_size=a["detector_size"],
        box_threshold=a["box_threshold"],
        nms_threshold=a["nms_threshold"],
        max_people=a["max_people"],
        flip_test=a["flip_test"],
        batch=a["batch_size"],
        engine=EngineOptions(
            engine=a["engine"],
            device=a["device"],
            threads=a["threads"],
            precision=a["precision"],
        ),
    )


def _other_engine(a: Mapping[str, Any], network: Network) -> EngineOptions:
    """The engine of --compare, which must be able to run here."""
    from edgepose.engines import EngineOptions
    from edgepose.engines.table import choose

    engine, _, precision = a["compare"].partition(":")
    options = EngineOptions(engine=engine, threads=a["threads"], precision=precision)
    choose(network.model, options)
    return options


def _measure(
    a: Mapping[str, Any],
    truth: Annotations,
    network: Network,
    options: EstimatorOptions,
    talk: Talk,
    results: Path | None,
) -> Measurement:
    from edgepose.estimators import make_estimator
    from edgepose.eval.figures import coco_figures
    from edgepose.eval.pck import measure
    from edgepose.eval.report import Measurement
    from edgepose.eval.run import Journal, evaluate, journal_key, write_rows

    estimator = make_estimator(network, options)
    try:
        talk.info(f"{network.manifest.name} on {estimator.engine_name}")
        key = journal_key(truth, **_identity(a, network, options, estimator.engine_name))
        with Journal(_journal_path(results, key), key, a["resume"]) as journal:
            if journal.done:
                talk.info(f"{len(journal.done)} pictures were done before.")
            with _progress(talk, len(truth.pictures)) as tick:
                try:
                    outcome = evaluate(estimator, truth, a["images"], journal=journal, tick=tick)
                except KeyboardInterrupt:
                    raise Interrupted(_stopped(journal.path, truth, a)) from None
            if results is not None:
                write_rows(outcome.rows, results)
            journal.remove()
    finally:
        estimator.close()
    if a["pck"]:
        figures = measure(truth, outcome.rows).figures()
    else:
        figures = coco_figures(truth, outcome.rows)
    return Measurement(estimator.engine_name, figures, len(outcome.rows), outcome.speed())


def _identity(
    a: Mapping[str, Any], network: Network, options: EstimatorOptions, engine: str
) -> dict[str, Any]:
    """All that decides what is found, for the journal's key."""
    model = network.model.stat()
    same = (
        "threshold min_keypoints resize network_size box_threshold nms_threshold max_people "
        "flip_test detector_size precision compare limit"
    ).split()
    return {
        "model": [str(network.model.resolve()), model.st_size, model.st_mtime],
        "manifest": repr(network.manifest),
        "topology": repr(network.topology),
        "detector": repr(options.detector),
        "engine": engine,
        "images": str(Path(a["images"]).resolve()),
        **{name: a[name] for name in same},
    }


def _journal_path(results: Path | None, key: str) -> Path:
    from edgepose.paths import cache

    if results is not None:
        return results.with_name(results.name + ".partial")
    return cache() / "eval" / f"{key[:16]}.partial"


def _stopped(journal: Path, truth: Annotations, a: Mapping[str, Any]) -> str:
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
