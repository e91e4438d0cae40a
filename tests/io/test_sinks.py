"""Data outputs."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.errors import OutputError, UsageError
from edgepose.io import sinks
from edgepose.io.base import SinkOptions
from edgepose.io.sinks import coco, open_sink
from edgepose.io.sinks.rows import plain, result_row, to_json
from edgepose.networks.keypoint_names import COCO_PERSON
from edgepose.types import Link, Pose, Result

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

SCHEMA = json.loads((Path(sinks.__file__).parent / "result.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RESULT = jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": "#/$defs/result"}]})

PERSON = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle", "neck",
)  # fmt: skip


def pose(
    number: int = 0, names: tuple[str, ...] = PERSON, missing: tuple[int, ...] = (3,), **more: Any
) -> Pose:
    points = np.array([[10.126 * i, 5.5 + i, 0.90004] for i in range(len(names))], np.float32)
    for i in missing:
        points[i] = (np.nan, np.nan, 0)
    fields = {"links": (Link(0, 1, 0.5), Link(2, 3, 0.25)), "score": 0.90004, **more}
    return Pose(number, points, names, box=(0.0, 5.5, 172.142, 22.5), **fields)


def result(frame: int = 0, source: str = "in/a.jpg", **more: Any) -> Result:
    fields = {"poses": (pose(0), pose(1, track=7)), "network": "net", "engine": "eng", **more}
    return Result(frame, 640, 480, source=source, name=Path(source).stem, **fields)


def write(kind: str, target: object, *results: Result, **options: Any) -> None:
    with open_sink(kind, str(target), SinkOptions(**options)) as sink:
        for one in results:
            sink.write(one)


def test_a_file_is_written_by_one_alone(tmp_path: Path) -> None:
    """The list of pictures beside a COCO file is a file, too; and other programs are others."""
    with open_sink("coco", str(tmp_path / "out.json")):
        for name in ("out.json", "out.images.json"):
            with pytest.raises(OutputError, match=r"^\S+ is being written already"):
                open_sink("json", str(tmp_path / name))
        command = (
            "import sys; from edgepose.io.sinks import open_sink; open_sink('csv', sys.argv[1])"
        )
        words = [sys.executable, "-c", command, str(tmp_path / "out.json")]
        other = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "is being written already" in other.stderr
    assert json.loads((tmp_path / "out.json").read_text()) == []
    write("json", tmp_path / "out.json", result())


# JSON lines -------------------------------------------------------------------------------------
def test_json_line(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write("json", path, result(3, inference_ms=7.12345, pts=0.1), result(4, poses=()))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert list(first) == [
        "source", "frame", "pts", "width", "height", "network", "engine", "inference_ms", "poses",
    ]  # fmt: skip
    assert (first["source"], first["frame"], first["pts"]) == ("in/a.jpg", 3, 0.1)
    assert first["inference_ms"] == 7.123
    assert second["poses"] == []
    assert second["pts"] is None
    one, two = first["poses"]
    assert one["box"] == [0.0, 5.5, 172.14, 22.5]
    assert one["score"] == 0.9
    assert one["keypoints"]["left_eye"] == {"x": 10.13, "y": 6.5, "score": 0.9}
    assert "left_ear" not in one["keypoints"]
    assert one["links"] == [["nose", "left_eye", 0.5]]  # the other one lacks an end
    assert "track" not in one
    assert two["track"] == 7
    for line in (first, second):
        RESULT.validate(line)


def test_events_are_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    sink = open_sink("json", str(path))
    sink.event({"event": "lost", "source": "rtsp://h/x", "after": np.float32(1.5), "x": math.nan})  # type: ignore[attr-defined]
    sink.close()
    lost = json.loads(path.read_text())
    assert lost == {"event": "lost", "source": "rtsp://h/x", "after": 1.5, "x": None}
    VALIDATOR.validate(lost)


def test_the_schema_refuses_what_is_wrong() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = json.loads(to_json(result_row(result())))
    for path, value in [
        (("frame",), -1),
        (("pts",), "0"),
        (("poses", 0, "box"), [1, 2, 3]),
        (("poses", 0, "score"), 1.5),
        (("poses", 0, "links"), [["a", "b"]]),
        (("poses", 0, "keypoints", "nose"), {"x": 1}),
    ]:
        bad = json.loads(json.dumps(good))
        at = bad
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        assert not RESULT.is_valid(bad), path
    assert not VALIDATOR.is_valid({"poses": []})


_NUMBER = st.floats(width=32) | st.integers(-5, 5)


@given(
    st.lists(st.tuples(_NUMBER, _NUMBER, st.floats(0, 1, width=32)), min_size=3, max_size=3),
    st.tuples(_NUMBER, _NUMBER, _NUMBER, _NUMBER),
    st.none() | st.floats(),
    st.text(max_size=20),
)
def test_any_result_is_valid_json(
    points: list[tuple[float, float, float]],
    box: tuple[float, float, float, float],
    pts: float | None,
    source: str,
) -> None:
    one = Pose(0, np.array(points, np.float32), ("a", "b", "c"), (Link(0, 2, 0.5),), 0.5, box)
    text = to_json(result_row(Result(0, 9, 9, (one,), pts, source)))
    assert text.isascii()
    assert "\n" not in text
    floats: list[str] = []
    row = json.loads(
        text,
        parse_constant=lambda name: pytest.fail(f"{name} is no JSON"),
        parse_float=lambda digits: floats.append(digits) or float(digits),  # type: ignore[func-returns-value]
    )
    assert "-0.0" not in floats
    RESULT.validate(row)
    assert row["source"] == source


def test_plain_takes_anything() -> None:
    assert plain({"a": (1, 2.0, None, True), 3: np.arange(2), "p": Path("x")}) == {
        "a": [1, 2.0, None, True],
        "3": [0, 1],
        "p": "x",
    }


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff\xe9.jpg")
    for kind in ("json", "csv", "coco", "dict"):
        write(kind, tmp_path / f"out.{kind}", result(source=name))
        assert (tmp_path / f"out.{kind}").read_bytes().decode("utf-8")
    assert json.loads((tmp_path / "out.json").read_text())["source"] == name


# stdout and files -------------------------------------------------------------------------------
_PRINTER = """
import sys, time
import numpy as np
from edgepose.io.sinks import open_sink
from edgepose.types import Pose, Result
one = Pose(0, np.ones((17, 3), np.float32), tuple("abcdefghijklmnopq"), score=1.0)
with open_sink(sys.argv[1], sys.argv[2]) as sink:
    for i in range(int(sys.argv[3])):
        sink.write(Result(i, 9, 9, (one,), source=f"{i}.jpg", name=str(i)))
        if i == 100 and len(sys.argv) > 4:
            print("ready", file=sys.stderr, flush=True)
            time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["json", "csv", "coco", "dict"])
def test_stdout(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINTER, kind, "-", "3"], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    write_target = tmp_path / "out"
    subprocess.run([sys.executable, "-c", _PRINTER, kind, str(write_target), "3"], timeout=60)
    assert done.stdout == write_target.read_text()


def test_each_line_arrives_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _PRINTER, "json", "-", "200", "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    for i in range(101):  # the writer now sleeps; everything before must be here
        assert json.loads(process.stdout.readline())["frame"] == i
    process.kill()
    process.wait(30)
    process.stdout.close()
    process.stderr.close()


def test_a_reader_that_goes_away_is_a_broken_pipe() -> None:
    command = f"{sys.executable} -c '{_PRINTER}' json - 20000 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)["frame"] == 0
    assert "BrokenPipeError" in done.stderr


@pytest.mark.parametrize("kind", ["json", "csv", "coco", "dict"])
def test_a_killed_program_leaves_valid_data(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", _PRINTER, kind, str(path), "200", "wait"], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stderr.close()
    text = path.read_text()
    if kind == "json":
        assert len([json.loads(line) for line in text.splitlines()]) == 101
    elif kind == "csv":
        assert len(list(csv.DictReader(io.StringIO(text)))) == 101 * 17
    else:
        assert len(json.loads(text)) == 101


@pytest.mark.parametrize("kind", ["json", "csv", "coco", "dict"])
def test_a_full_disk_leaves_valid_data(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = open_sink(kind, str(path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # as a quota would
    try:
        with pytest.raises(OutputError, match="cannot be written further"):
            deque(map(sink.write, (result(i, source=f"{i}.jpg") for i in range(1000))))
        sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    text = path.read_text()
    if kind == "json":
        assert len([json.loads(line) for line in text.splitlines()]) > 5
    elif kind == "csv":
        assert text.endswith("\n")
        rows = list(csv.reader(io.StringIO(text)))
        assert {len(row) for row in rows} == {18}
        assert len(rows) > 5
    else:
        assert len(json.loads(text)) > 5


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        open_sink("json", f"{tmp_path}/no/parent/a.json")
    with pytest.raises(OutputError, match="cannot be written"):
        open_sink("json", str(tmp_path))
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"x")
    with pytest.raises(UsageError, match="input itself"):
        open_sink("csv", str(picture), SinkOptions(inputs=(str(picture),)))
    assert picture.read_bytes() == b"x"
    sink = open_sink("json", f"{tmp_path}/new/a.json")
    sink.close()
    sink.close()
    with pytest.raises(OutputError, match="closed"):
        sink.write(result())


def test_a_pipe_is_a_target(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    write("coco", tmp_path / "pipe", result(source="7.jpg"), result(source="8.jpg"))
    out, _ = reader.communicate(timeout=30)
    assert [row["image_id"] for row in json.loads(out)] == [7, 7, 8, 8]


# CSV --------------------------------------------------------------------------------------------
def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write("csv", path, result(2, source='od"d, name.mp4', pts=0.2), result(3, poses=()))
    rows = list(csv.DictReader(path.open(newline="")))
    assert len(rows) == 2 * 17
    assert rows[1] == {
        "source": 'od"d, name.mp4', "frame": "2", "pts": "0.2", "width": "640", "height": "480",
        "gestures": "", "handedness": "", "pose": "0", "track": "", "pose_score": "0.9", "left": "0.0", "top": "5.5",
        "right": "172.14", "bottom": "22.5", "keypoint": "left_eye", "x": "10.13", "y": "6.5",
        "score": "0.9",
    }  # fmt: skip
    assert rows[-1]["track"] == "7"


def test_csv_without_people_has_its_header(tmp_path: Path) -> None:
    write("csv", tmp_path / "out.csv", result(poses=()))
    assert (tmp_path / "out.csv").read_text().startswith("source,frame,pts,")


# COCO -------------------------------------------------------------------------------------------
def test_coco_is_loaded_by_pycocotools(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    path = tmp_path / "out.json"
    full = pose(0, missing=())
    write("coco", path, *(result(source=f"val/{i:012d}.jpg", poses=(full,)) for i in (139, 285)))
    points = coco.coco_keypoints(full)
    annotations = [
        {
            "id": n,
            "image_id": i,
            "category_id": 1,
            "iscrowd": 0,
            "num_keypoints": 17,
            "keypoints": [v if k % 3 < 2 else 2 for k, v in enumerate(points)],
            "bbox": [0, 0, 200, 30],
            "area": 6000,
        }
        for n, i in enumerate((139, 285), 1)
    ]
    images = json.loads((tmp_path / "out.images.json").read_text())["images"]
    truth = {
        "info": {},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        ours = tools.COCO(str(tmp_path / "truth.json"))
        found = ours.loadRes(str(path))
        score = COCOeval(ours, found, "keypoints")
        score.evaluate()
        score.accumulate()
        score.summarize()
    assert sorted(found.getImgIds()) == [139, 285]
    assert score.stats[0] == pytest.approx(1.0)


def test_coco_keypoints_are_in_cocos_order() -> None:
    shuffled = ("neck", *(n.replace("_", " ").title() for n in reversed(COCO_PERSON)))
    points = np.array([[i, i + 0.5, 0.5] for i in range(18)], np.float32)
    points[3, 2] = 0
    flat = coco.coco_keypoints(Pose(0, points, shuffled))
    wanted = [[17.0 - i, 17.5 - i, 0.5] if i != 14 else [0.0, 0.0, 0.0] for i in range(17)]
    assert flat == [v for row in wanted for v in row]


@pytest.mark.parametrize(
    "names",
    [
        ("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_front_paw"),
        COCO_PERSON[:16],
    ],
)
def test_another_body_keeps_its_own_keypoints_in_its_order(
    names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    points = np.array([[i, 2 * i, 0.5] for i in range(len(names))], np.float32)
    coco._order.cache_clear()
    with caplog.at_level("INFO"):
        for _ in range(3):
            flat = coco.coco_keypoints(Pose(0, points, names))
    assert flat == points.ravel().tolist()
    assert caplog.text.count(f"own {len(names)} keypoints") == 1


def test_hands_keep_their_own_keypoints() -> None:
    points = np.array([[1, 2, 0.5], [np.nan, np.nan, 0]], np.float32)
    assert coco.coco_keypoints(Pose(0, points, ("palm", "thumb_1"))) == [1, 2, 0.5, 0, 0, 0]


def ids_of(sources: list[Any], inputs: tuple[str, ...] = ()) -> list[int]:
    ids = coco.ImageIds(inputs)
    return [ids.of(s if isinstance(s, Result) else Result(0, 9, 9, source=s))[0] for s in sources]


def test_image_ids() -> None:
    assert ids_of(["000000000139.jpg", "COCO_val2014_000000000042.jpg"]) == [139, 42]
    assert ids_of(["a.jpg", "b.jpg", "a.jpg"]) == [1, 2, 1]
    assert ids_of(["x/7.jpg", "y/7.jpg", "1.jpg"]) == [7, 1, 2]
    names = ("x/7.jpg", "y/7.jpg", "9.jpg")
    assert ids_of(list(names), names) == [1, 2, 9]  # 7 tells nothing apart
    names = ("2.jpg", "b.jpg", "1.jpg", "a.jpg")
    assert ids_of(list(names), names) == [2, 3, 1, 4]
    assert ids_of(list(names)) == [2, 1, 3, 4]  # nobody knew that a 1 would come
    assert ids_of(["9.jpg", "7.jpg"], ("7.jpg", "8.jpg", "9.jpg")) == [9, 7]
    film = [Result(i, 9, 9, source="clip.mp4", pts=i / 10) for i in (0, 1, 5)]
    assert ids_of(film) == [0, 1, 5]
    assert ids_of(["9" * 30 + ".jpg"]) == [1]


@given(st.lists(st.text("ab019", min_size=1, max_size=4), unique=True, max_size=30))
def test_image_ids_differ(stems: list[str]) -> None:
    names = [f"{s}.jpg" for s in stems]
    for inputs in ((), tuple(names)):
        assert len(set(ids_of(names, inputs))) == len(names)


def test_the_list_of_images(tmp_path: Path) -> None:
    write(
        "coco",
        tmp_path / "out.json",
        result(0, "clip.mp4", pts=0.0),
        result(1, "clip.mp4", pts=0.1, poses=()),
    )
    images = json.loads((tmp_path / "out.images.json").read_text())["images"]
    assert [(i["id"], i["file_name"], i["frame"]) for i in images] == [
        (0, "clip.mp4", 0),
        (1, "clip.mp4", 1),
    ]
    assert (images[0]["width"], images[0]["height"]) == (640, 480)
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [r["image_id"] for r in rows] == [0, 0]
    write("coco", tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


# dict -------------------------------------------------------------------------------------------
def test_dict(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write(
        "dict",
        path,
        result(source="in/a.jpg"),
        result(source="in/b.jpg", poses=()),
        result(source="other/a.jpg"),
        result(source="in/a.jpg"),  # once more, in a loop
        result(4, source="clip.mp4", pts=0.4),
    )
    got = json.loads(path.read_text())
    assert list(got) == ["a.jpg", "b.jpg", "other/a.jpg", "clip.mp4#4"]
    assert got["b.jpg"] == {"bounding_box": [], "key_points": []}
    assert got["a.jpg"]["bounding_box"] == [[0.0, 5.5, 172.14, 22.5]] * 2
    assert np.array(got["a.jpg"]["key_points"]).shape == (2, 18, 3)
    assert got["a.jpg"]["key_points"][0][1] == [6.5, 10.13, 0.9]  # y comes first
    assert got["a.jpg"]["key_points"][0][3] == [0.0, 0.0, 0.0]


def test_dict_without_anything(tmp_path: Path) -> None:
    write("dict", tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {}
