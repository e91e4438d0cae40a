"""Gestures taught from examples: figures on hands in space, what is refused, what a damaged file does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.cli.main import run_words
from edgepose.errors import NetworkFileError, SourceError, UsageError
from edgepose.gestures.features import canonical
from edgepose.gestures.finder import make_finders
from edgepose.gestures.taught import Taught, TaughtJudge, as_json, load_taught, parse_taught
from edgepose.teach.collect import Wanted, collect
from edgepose.teach.example_set import ExampleSet, Origin, load_set, save_set
from edgepose.types import Frame, Pose, Result
from tests.gestures.hands3d import NAMES, OTHERS, SIGNS, seen
from tests.gestures.people import FIGURES, pose, renamed, topology_of

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra teach)")
from edgepose.teach.train import Report, train

ROOT = Path(__file__).resolve().parents[2]
ANGLE = 15  # degrees by which hands are turned about each axis, standard deviation


def hand_set(seed: int = 0, each: int = 10) -> ExampleSet:
    random = np.random.default_rng(seed)
    examples = ExampleSet(canonical(NAMES)[0])
    for sign in SIGNS:
        for i in range(each):
            origin = Origin(f"{sign}-{i}.jpg", f"{sign}{i}", True)
            one = seen(sign, random, angle=ANGLE)
            examples = examples.added(sign, origin, [one.points], [0.0], [0])
    return examples


@pytest.fixture(scope="module")
def learned() -> tuple[Taught, Report]:
    return train(hand_set())


def said(taught: Taught, poses: list[Pose]) -> list[str]:
    """What is told of each pose, "" = nothing."""
    judge = TaughtJudge(taught, poses[0].names, "x")
    points = np.stack([p.points for p in poses]).astype(np.float64)
    scores = np.nan_to_num(judge.scores(points, [None] * len(poses), 0.0))
    best = scores.argmax(axis=1)
    return [taught.labels[b] if s[b] >= 0.5 else "" for b, s in zip(best, scores, strict=True)]


def test_four_signs_from_ten_examples_each_are_told_in_new_hands(
    learned: tuple[Taught, Report],
) -> None:
    random = np.random.default_rng(99)
    right = {
        sign: said(learned[0], [seen(sign, random, angle=ANGLE) for _ in range(250)]).count(sign)
        / 250
        for sign in SIGNS
    }
    assert sum(right.values()) / 4 >= 0.95, right
    assert learned[1].accuracy >= 0.9


def test_what_looks_like_no_example_has_no_label(learned: tuple[Taught, Report]) -> None:
    random = np.random.default_rng(7)
    for other in OTHERS:
        told = said(learned[0], [seen(other, random, angle=ANGLE) for _ in range(100)])
        assert told.count("") >= 60, other
    noise = random.uniform(0, 500, (50, 21, 3)).astype(np.float32)
    scattered = [Pose(0, points, NAMES) for points in noise]
    assert said(learned[0], scattered).count("") >= 48


def test_a_file_says_the_same_as_what_was_taught_and_fits_both_hands(
    learned: tuple[Taught, Report], tmp_path: Path
) -> None:
    file = tmp_path / "signs.gestures"
    file.write_text(json.dumps(as_json(learned[0])))
    random = np.random.default_rng(3)
    poses = [seen(sign, random, angle=ANGLE) for sign in SIGNS for _ in range(20)]
    assert said(load_taught(file), poses) == said(learned[0], poses)
    other = [
        pose(
            renamed({k.name: (k.x / 100, k.y / 100) for k in p.keypoints}, "hand_pose"), "hand_pose"
        )
        for p in poses
    ]
    assert said(load_taught(file), other) == said(learned[0], poses)
    finder = make_finders(f"{file},open_hand", topology_of("mediapipe_hand"))()
    told = [[g.name for g in p.gestures] for p in finder.update(poses[:20], 0.0)]
    assert sum("palm" in names for names in told) >= 18
    assert {name for names in told for name in names} <= {*SIGNS, "open_hand"}


def test_too_much_that_is_missing_cannot_be_told(learned: tuple[Taught, Report]) -> None:
    one = seen("palm", np.random.default_rng(1))
    one.points[5:16] = (np.nan, np.nan, 0)
    judge = TaughtJudge(learned[0], NAMES, "x")
    assert np.isnan(judge.scores(one.points[None].astype(float), [None], 0.0)).all()


# motion ------------------------------------------------------------------------------------------
def waver(speed: float, number: int, seconds: float = 4.0) -> list[tuple[Pose, float]]:
    """A person whose raised left forearm swings so many times a second, or hangs still."""
    random, frames = np.random.default_rng(number), []
    for i in range(int(seconds * 15)):
        now = i / 15
        figure = dict(FIGURES["left_hand_up"])
        swing = 0.35 * np.sin(2 * np.pi * speed * now + number)
        x, y = figure["left_wrist"]
        figure["left_wrist"] = (x + swing, y)
        one = pose(figure, size=90 + 3 * number, track=1)
        one.points[:, :2] += random.normal(0, 1.0, (17, 2))
        frames.append((one, now))
    return frames


def motion_set() -> ExampleSet:
    """Four films of waving, four of a hand that is held up."""
    examples = ExampleSet(canonical(topology_of("coco_17").keypoints)[0])
    for label, speed in (("waving", 1.5), ("raised", 0.0)):
        for film in range(4):
            poses = waver(speed, film + 10 * bool(speed))
            examples = examples.added(
                label, Origin(f"{label}{film}.mp4", f"{label}{film}", False),
                [p.points for p, _ in poses], [t for _, t in poses], [1] * len(poses),
            )  # fmt: skip
    return examples


def test_motion_tells_waving_from_a_hand_that_is_held_up() -> None:
    taught, report = train(motion_set())
    assert taught.window == 0.6
    assert report.accuracy >= 0.9
    judge = TaughtJudge(taught, topology_of("coco_17").keypoints, "x")
    for label, speed in (("waving", 1.4), ("raised", 0.0)):
        scores = [
            judge.scores(p.points[None].astype(float), [5], t)[0] for p, t in waver(speed, 77)
        ]
        best = [taught.labels[s.argmax()] for s in scores[15:] if s.max() > 0.5]
        judge = TaughtJudge(taught, topology_of("coco_17").keypoints, "x")
        assert best.count(label) >= 0.8 * len(scores[15:]), label
    with pytest.raises(UsageError, match="pictures"):
        train(hand_set(), window=0.5)


# what is refused ----------------------------------------------------------------------------------
def test_sets_that_are_too_small_or_leak_are_refused() -> None:
    examples = hand_set()
    few = replace(
        examples, points=examples.points[:27], time=examples.time[:27], track=examples.track[:27],
        label=examples.label[:27], origin=examples.origin[:27], labels=examples.labels[:3],
    )  # fmt: skip
    with pytest.raises(UsageError, match="7 examples"):
        train(few)
    with pytest.raises(UsageError, match="one film"):
        train(replace(examples, origin=examples.label))  # a film a label
    with pytest.raises(UsageError, match="two or more"):
        train(ExampleSet(canonical(NAMES)[0]))
    one = replace(examples, labels=("palm",), label=examples.label * 0)
    with pytest.raises(UsageError, match="has 1 label"):
        train(one)


def test_one_pose_has_one_label_and_is_in_a_set_once() -> None:
    examples = ExampleSet(canonical(NAMES)[0])
    points = [seen("palm", np.random.default_rng(0)).points]
    examples = examples.added("palm", Origin("a.jpg", "d", True), points, [0.0], [0])
    assert len(examples.added("palm", Origin("copy.jpg", "d", True), points, [0.0], [0])) == 1
    with pytest.raises(UsageError, match="'palm' already"):
        examples.added("fist", Origin("copy.jpg", "d", True), points, [0.0], [0])


def results(count: int, live: bool) -> list[tuple[Frame, Result]]:
    frames = []
    for i in range(count):
        frame = Frame(
            np.zeros((4, 4, 3), np.uint8), i, i / 10, "cam", captured=i / 10 if live else None
        )
        poses = tuple(pose(FIGURES["standing"], size=50 * t, track=t) for t in (1, 2))
        frames.append((frame, Result(i, 4, 4, (*poses, poses[0].with_(track=None)))))
    return frames


def test_collecting_takes_the_people_that_are_asked_for() -> None:
    empty = ExampleSet(canonical(topology_of("coco_17").keypoints)[0])
    for how, tracks in (({}, [1, 2]), ({"person": 1}, [1]), ({"largest": True}, [2])):
        found = collect(empty, results(5, False), Wanted("up", **how), stills=False, live=False)  # type: ignore[arg-type]
        assert sorted(set(found.track.tolist())) == tracks
        assert len(found) == 5 * len(tracks)
    pictures = collect(empty, results(1, False), Wanted("up"), stills=True, live=False)
    assert len(pictures) == 1  # all three have the number 0 in their picture


def test_a_camera_counts_down_and_then_counts(caplog: pytest.LogCaptureFixture) -> None:
    empty = ExampleSet(canonical(topology_of("coco_17").keypoints)[0])
    wanted = Wanted("up", person=1, countdown=2, seconds=1)
    with caplog.at_level("INFO", "edgepose"):
        found = collect(empty, results(60, True), wanted, stills=False, live=True)
    assert found.time.tolist() == pytest.approx([2 + i / 10 for i in range(10)])
    assert [r.getMessage() for r in caplog.records] == ["2", "1", "up: go, for 1 seconds"]


# files --------------------------------------------------------------------------------------------
def test_a_set_comes_back_as_it_was(tmp_path: Path) -> None:
    examples = hand_set(each=2)
    save_set(examples, tmp_path / "s.npz")
    found = load_set(tmp_path / "s.npz")
    assert (found.keypoints, found.labels, found.origins) == (
        examples.keypoints, examples.labels, examples.origins,
    )  # fmt: skip
    np.testing.assert_array_equal(found.points, examples.points)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_damaged_set_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    save_set(hand_set(each=1), path)
    data = bytearray(path.read_bytes())
    place = at % len(data)
    data[place] = value
    path.write_bytes(data[:place] if cut else data)
    try:
        found = load_set(path)
    except SourceError as e:
        said = str(e)
    else:
        said = "damaged.npz" * (len(found) == 4)  # a byte that does not matter
    assert "damaged.npz" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: replace(s, points=s.points * np.nan), "no numbers"),
        (lambda s: replace(s, label=s.label + 9), "does not name"),
        (lambda s: replace(s, keypoints=s.keypoints[:4]), "keypoints that it names"),
        (lambda s: replace(s, time=s.time + np.inf), "no numbers"),
    ],
)
def test_a_set_that_cannot_be_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    save_set(change(hand_set(each=1)), tmp_path / "s.npz")
    with pytest.raises(SourceError, match=words):
        load_set(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("version", 2, "update edgepose"),
        ("format", "x", "not a file of gestures"),
        ("labels", ["palm"], "two or more"),
        ("labels", ["a b", "c", "d", "e"], "plain words"),
        ("keypoints", ["tail"] * 2, "twice"),
        ("mean", [1.0], "numbers that belong"),
        ("weights", None, "numbers that belong|no number"),
        ("examples", [], "numbers that belong"),
        ("of", [0.0], "numbers that belong"),
        ("scale", 0, "numbers that belong"),
        ("window", -1, "window"),
        ("window", "1", "window"),
    ],
)
def test_a_gesture_file_that_cannot_be_is_refused(
    learned: tuple[Taught, Report], field: str, value: object, words: str
) -> None:
    data = json.loads(json.dumps(as_json(learned[0])))
    with pytest.raises(NetworkFileError, match=words):
        parse_taught({**data, field: value}, "x")
    del data[field]
    with pytest.raises(NetworkFileError, match="cannot be used"):
        parse_taught(data, "x")


def test_gestures_of_other_keypoints_are_refused(
    learned: tuple[Taught, Report], tmp_path: Path
) -> None:
    file = tmp_path / "signs.gestures"
    file.write_text(json.dumps(as_json(learned[0])))
    with pytest.raises(NetworkFileError, match="names 'wrist'"):
        make_finders(str(file), topology_of("coco_17"))
    with pytest.raises(NetworkFileError, match="does not exist"):
        make_finders(str(tmp_path / "no.gestures"), topology_of("coco_17"))
    (tmp_path / "bad.gestures").write_text('{"a": NaN}')
    with pytest.raises(NetworkFileError, match="not valid JSON"):
        make_finders(str(tmp_path / "bad.gestures"), topology_of("coco_17"))


def test_a_set_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    save_set(hand_set(each=1), tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays["meta"].tobytes())
    text = json.dumps({**meta, "version": 2}).encode()
    np.savez(tmp_path / "s.npz", **{**arrays, "meta": np.frombuffer(text, np.uint8)})
    with pytest.raises(SourceError, match="update edgepose"):
        load_set(tmp_path / "s.npz")


# the command ------------------------------------------------------------------------------------
def test_a_camera_is_collected_from_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All the people of a live source, each by its track, after the countdown."""
    words = ["--to", str(tmp_path / "s.npz"), "--network", "edgepose-lite-body"]
    words += ["--countdown", "1.5", "--seconds", "1.0"]
    assert run_words(["teach", "collect", "walks", "test://people?rate=10", *words]) == 0
    said = capsys.readouterr().err
    assert said.index("2") < said.index("walks: go, for 1 seconds")
    examples = load_set(tmp_path / "s.npz")
    assert len(set(examples.track.tolist())) >= 2
    assert 0 < examples.time.max() - examples.time.min() <= 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "update edgepose"),
        ({"keypoints": ["tail", "head"]}, "numbers that belong"),
        ({"bias": [float("nan")]}, "not valid JSON"),
        ({"labels": ["alone"]}, "two or more"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong_with_a_file(
    learned: tuple[Taught, Report],
    change: dict[str, object],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "x.gestures"
    file.write_text(json.dumps({**as_json(learned[0]), **change}))
    picture = str(ROOT / "examples/images/astronaut.jpg")
    assert run_words(["posenet", picture, "--network", "hand", "--gestures", str(file)]) == 1
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.replace("\n  ", " ").splitlines()) <= 2


def test_the_command_collects_shows_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples, picture = tmp_path / "s.npz", str(ROOT / "examples/images/astronaut.jpg")
    words = ["--to", str(examples), "--network", "edgepose-lite-body"]
    assert run_words(["teach", "collect", "looks", picture, *words]) == 0
    assert run_words(["teach", "show", str(examples), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["labels"]
    assert (row["label"], row["poses"], row["pictures"]) == ("looks", 1, 1)
    assert run_words(["teach", "collect", "other", picture, *words]) == 2
    assert run_words(["teach", "collect", "No label", picture, *words]) == 2
    assert run_words(["teach", "train", str(examples), "--to", str(tmp_path / "g.gestures")]) == 2
    save_set(hand_set(each=1), tmp_path / "hands.npz")
    words[1] = str(tmp_path / "hands.npz")
    assert run_words(["teach", "collect", "looks", picture, *words]) == 2
    assert "holds poses of 21 keypoints" in capsys.readouterr().err
    save_set(hand_set(), tmp_path / "hands.npz")
    file = str(tmp_path / "g.gestures")
    assert run_words(["teach", "train", str(tmp_path / "hands.npz"), "--to", file]) == 0
    assert "told right" in capsys.readouterr().out
