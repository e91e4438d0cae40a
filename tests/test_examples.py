"""The programs in examples/ are short, and they run."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgepose import Poses
from edgepose.io.sources import open_source
from edgepose.io.sources.testsrc import Painter, TestPattern
from edgepose.types import Pose

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
IMAGES = EXAMPLES / "images"
MOST_LINES = 45


def run(name: str, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=200,
    )


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_examples_are_short_and_say_how_they_are_used(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    assert lines[0].startswith('"""')
    assert "usage:" in path.read_text() or "`make demo`" in lines[0]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_help_says_what_an_example_does(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "usage:" in done.stdout + done.stderr or path.stem == "demo"


@pytest.mark.parametrize(
    "name", ["batch", "blur_faces", "count_crossings", "hands_up", "live_json"]
)
def test_an_input_that_is_not_there_is_said_in_a_line(name: str, tmp_path: Path) -> None:
    words = ["nowhere.mp4", "out.mp4"] if name == "blur_faces" else ["nowhere.mp4"]
    words += ["0"] * (name == "live_json")
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nowhere.mp4" in done.stderr


def test_every_example_is_run_here() -> None:
    here = Path(__file__).parent
    tested = "".join(
        (here / name).read_text()
        for name in ("test_examples.py", "test_api.py", "gestures/test_pages.py")
    )
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.stem}' in tested, f"{path.name} is in no test"


def test_every_example_is_on_the_api_page() -> None:
    page = (EXAMPLES.parent / "docs" / "api.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in page or path.name == "demo.py"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A folder with two drawn pictures."""
    import cv2

    folder = tmp_path / "people"
    folder.mkdir()
    painter = Painter(TestPattern())
    for number in range(2):
        picture = painter.paint(30 * number, 0.0)
        cv2.imwrite(str(folder / f"{number}.png"), picture[:, :, ::-1])
    return folder


def test_demo_and_detect_run(tmp_path: Path) -> None:
    done = run("demo.py")
    assert json.loads(done.stdout.splitlines()[0])["width"] == 512
    picture = str(IMAGES / "astronaut.jpg")
    done = run("detect.py", picture, str(tmp_path / "a.jpg"), "--network=edgepose-lite-body")
    assert "detected" in done.stdout
    assert (tmp_path / "a.jpg").is_file()


def test_poses_to_csv(people: Path, tmp_path: Path) -> None:
    run("poses_to_csv.py", str(people), "poses.csv", folder=tmp_path)
    rows = list(csv.DictReader((tmp_path / "poses.csv").open()))
    assert {row["picture"] for row in rows} == {"0.png", "1.png"}
    assert {"nose", "left_ankle"} <= {row["keypoint"] for row in rows}
    assert all(0 <= float(row["x"]) <= 640 and 0 < float(row["score"]) <= 1 for row in rows)


def test_poses_to_csv_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        run("poses_to_csv.py", "none", folder=tmp_path)
    assert "Traceback" not in error.value.stderr
    assert "none" in error.value.stderr


def test_count_crossings() -> None:
    # the figure in the middle of the picture walks through the line
    out = run("count_crossings.py", "test://people?rate=0&frames=170").stdout
    assert "to the left': 1" in out or "to the right': 1" in out


def test_blur_faces(people: Path, tmp_path: Path) -> None:
    run("blur_faces.py", str(people / "0.png"), str(tmp_path / "out.png"))
    (before,), (after,) = (
        list(open_source(str(f))) for f in (people / "0.png", tmp_path / "out.png")
    )
    changed = (before.pixels != after.pixels).any(axis=2)
    assert 0.0005 < changed.mean() < 0.1
    assert not changed[300:].any()  # faces are in the upper half, the rest is as it was


def test_live_json() -> None:
    command = [sys.executable, str(EXAMPLES / "live_json.py"), "test://people?rate=10", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            data = next(with_poses(url))
            assert set(data["poses"][0]) >= {"nose", "left_shoulder"}
        finally:
            process.kill()


def with_poses(url: str) -> Iterator[dict[str, list[dict[str, list[int]]]]]:
    """Answers that have poses in them; gives up after many."""
    import time

    for _ in range(600):
        with urllib.request.urlopen(url, timeout=20) as answer:
            data = json.load(answer)
        if data["poses"]:
            yield data
        time.sleep(0.05)


def test_custom_network() -> None:
    out = run("custom_network.py").stdout
    assert len(out.splitlines()) >= 1
    assert "my_nose" in out


def test_batch(people: Path) -> None:
    for number in range(2, 6):
        shutil.copy(people / "0.png", people / f"{number}.png")
    lines = run("batch.py", str(people)).stdout.splitlines()
    assert [Path(line.split(":")[0]).name for line in lines] == [f"{n}.png" for n in range(6)]
    assert len({line.split(" people")[0].split()[-1] for line in lines if "1.png" not in line}) == 1


def test_hands_up() -> None:
    module = load("hands_up")
    names = ("nose", "left_wrist", "right_wrist")
    points = np.array([[50, 50, 1], [80, 30, 1], [20, 90, 1]], np.float32)
    assert module.raised(Pose(0, points, names)) == ["left"]
    points[1, 2] = 0  # not seen is not raised
    assert module.raised(Pose(0, points, names)) == []
    module.main("test://people?rate=0&frames=2")


def test_the_notebook_runs_and_shows_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXAMPLES / "images", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "first_hour.ipynb").read_text())["cells"]
    known: dict[str, Any] = {}
    shown = []
    for cell in cells:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            exec(compile(ast.Module(body, []), "cell", "exec"), known)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), known))
            else:
                exec(compile(ast.Module([last], []), "cell", "exec"), known)
    pictures = [s._repr_png_() for s in shown if isinstance(s, Poses)]
    assert len(pictures) == 2
    assert all(p.startswith(b"\x89PNG") for p in pictures)
    assert known["seen"]
    assert {p.name for p in tmp_path.iterdir()} == {"images", "people.jpg", "people.json"}
