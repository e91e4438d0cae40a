"""`edgepose teach`: collect examples into a set, show it, train gestures from it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from edgepose.cli.console import Talk, say_line
from edgepose.cli.loading import find_network, load_estimator
from edgepose.cli.table import print_table
from edgepose.cli.teach_options import TeachCollect, TeachShow, TeachTrain
from edgepose.errors import OutputError, UsageError
from edgepose.files import write_atomically
from edgepose.gestures.features import canonical
from edgepose.gestures.finder import ENDING
from edgepose.gestures.taught import LABEL, as_json
from edgepose.io.sources import open_source
from edgepose.pipeline import Pipeline
from edgepose.teach.collect import Wanted, collect
from edgepose.teach.example_set import ExampleSet, load_set, save_set
from edgepose.teach.train import Report, train
from edgepose.track.tracker import Tracker
from edgepose.wanted import camera_options


def collect_examples(asked: TeachCollect) -> None:
    """Add the people of inputs to a set."""
    talk = Talk.of(asked.talk)
    if not LABEL.fullmatch(asked.label):
        raise UsageError(
            f"{asked.label!r} is no label. A label is a plain word: a-z, 0-9, - and _."
        )
    wanted = Wanted(asked.label, asked.person, asked.largest, asked.countdown, asked.seconds)
    examples = load_set(asked.to) if asked.to.exists() else None
    network = find_network(asked.network, talk)
    estimator = load_estimator(network, asked.network, asked.estimator, asked.engine, talk)
    with closing(estimator):
        keypoints = canonical(estimator.topology.keypoints)[0]
        examples = examples or ExampleSet(keypoints)
        if examples.keypoints != keypoints:
            raise UsageError(
                f"{asked.to} holds poses of {len(examples.keypoints)} keypoints ({examples.keypoints[0]}, "
                f"{examples.keypoints[1]}, ...), and {network.manifest.name} finds others. Choose the network "
                "of the set, or another set."
            )
        before = len(examples)
        options = replace(camera_options(asked.camera), start=asked.start, frames=asked.frames)
        for name in asked.inputs:
            with open_source(name, options) as source:
                pipeline = Pipeline(
                    source,
                    estimator,
                    tracker=None if source.stills else lambda: Tracker(estimator.topology),
                )
                results = pipeline.results()
                examples = collect(
                    examples, results, wanted, stills=source.stills, live=source.live
                )
                pipeline.stop()
    if len(examples) == before:
        raise UsageError(
            f"Nobody new is seen in {', '.join(asked.inputs)}; {asked.to} stays as it was."
        )
    save_set(examples, asked.to)
    more = len(examples) - before
    poses = "pose" if more == 1 else "poses"
    talk.info(f"{more} {poses} of {asked.label} more in {asked.to}; now {len(examples)}.")


def show_set(asked: TeachShow) -> None:
    """What a set holds."""
    examples = load_set(asked.set)
    rows = [_label_row(examples, number) for number in range(len(examples.labels))]
    if asked.json:
        print(json.dumps({"keypoints": examples.keypoints, "labels": rows}))
        return
    print_table(
        ("label", "poses", "people", "films", "pictures", "seconds"),
        [list(map(str, r.values())) for r in rows],
    )


def _label_row(examples: ExampleSet, number: int) -> dict[str, str | int | float]:
    own = examples.label == number
    people = np.stack([examples.origin[own], examples.track[own]], axis=1)
    people, last = np.unique(people, axis=0, return_inverse=True)
    time = examples.time[own]
    lasted = sum(float(np.ptp(time[last.ravel() == i])) for i in range(len(people)))
    stills = [examples.origins[i].still for i in np.unique(examples.origin[own])]
    return {
        "label": examples.labels[number],
        "poses": int(own.sum()),
        "people": len(people),
        "films": stills.count(False),
        "pictures": stills.count(True),
        "seconds": round(lasted, 1),
    }


def train_set(asked: TeachTrain) -> None:
    """Make gestures out of a set."""
    if asked.to.suffix != ENDING:
        raise UsageError(
            f"--to {asked.to}: name it *{ENDING}, so that --gestures knows it for a file."
        )
    taught, report = train(load_set(asked.set), asked.window)
    _write_text(asked.to, json.dumps(as_json(taught), separators=(",", ":")))
    if asked.json:
        told = {"accuracy": report.accuracy, "labels": report.labels, "films": report.films}
        told |= {"confusion": report.confusion.tolist(), "wrong": [asdict(w) for w in report.wrong]}
        print(json.dumps(told))
        return
    _show(report, asked.wrong)
    window = f" and {taught.window:g} s of motion" if taught.window else ""
    say_line(f"{asked.to}: {', '.join(taught.labels)} by the pose{window}")


def _write_text(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as e:
        raise OutputError(f"{path} cannot be written: {e.strerror or e}.") from None


def _show(report: Report, most: int) -> None:
    """The confusion table, and where the examples are that were told wrongly."""
    print(
        f"Examples of films that were not learned from ({report.folds} parts): what was said of them"
    )
    rows = []
    for label, counts, films in zip(report.labels, report.confusion, report.films, strict=True):
        number = report.labels.index(label)
        said = int(report.confusion[:, number].sum())
        precision = f"{counts[number] / said:.2f}" if said else ""
        rows.append(
            [
                label,
                str(films),
                *map(str, counts),
                precision,
                f"{counts[number] / counts.sum():.2f}",
            ]
        )
    print_table(("is", "films", *report.labels, "nothing", "precision", "recall"), rows)
    print(f"{report.accuracy:.1%} told right")
    for wrong in report.wrong[:most]:
        where = f"{wrong.source} at {wrong.time:.1f} s, person {wrong.track}"
        print(f"  {where}: {wrong.label}, said {wrong.said or 'nothing'}")
    if len(report.wrong) > most:
        print(f"  and {len(report.wrong) - most} more (--wrong N)")
