"""`edgepose eval` as a user runs it, with a real network on real pictures."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepose.cli.common import run_app
from edgepose.cli.main import make_app

pytest.importorskip("pycocotools", reason="the eval extra is not installed")


@pytest.fixture
def command(shared: Path, body_words: list[str]) -> list[str]:
    data = shared / "datasets/coco-mini"
    return [
        "eval",
        *body_words,
        *("--annotations", str(data / "person_keypoints.json"), "--images", str(data / "images")),
        *("--threads", "1"),
    ]


def run(words: list[str]) -> int:
    return run_app(make_app(), words, "edgepose")


def test_json_has_the_ten_figures_and_the_comparison(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    more = ["--limit", "6", "--json", "--compare", "openvino:fp32", "--results", str(file)]
    assert run(command + more) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    figures = "AP AP50 AP75 APm APl AR AR50 AR75 ARm ARl".split()
    assert set(figures) <= set(answer)
    assert 0.05 < answer["AP"] <= 1
    assert answer["images"] == 6
    assert answer["fps"] > 0
    assert "fp32" in answer["compare"]["engine"]
    assert set(answer["compare"]["delta"]) == set(figures)
    assert abs(answer["compare"]["delta"]["AR50"]) < 0.2
    rows = json.loads(file.read_text())
    assert len(rows) == answer["poses"]
    assert set(rows[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert len(rows[0]["keypoints"]) == 51
    assert (tmp_path / "found.compare.json").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"found.json", "found.compare.json"}


def test_table_for_people(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--limit", "2"]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == f"{command[2]}, 2 images"
    assert any(line.split()[0] == "AP75" for line in lines if line)
    assert command[2] in captured.err


def test_pck(shared: Path, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    people = (shared / "datasets/people/val.json").parent
    command[command.index("--annotations") + 1] = str(people / "val.json")
    command[command.index("--images") + 1] = str(people / "images")
    assert run([*command, "--pck", "--limit", "12", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 0.05 < answer["PCK@0.2"] <= answer["PCK@0.5"] <= 1
    assert answer["PCK@0.2 sides exchangeable"] >= answer["PCK@0.2"]
    assert "AP" not in answer


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"--annotations": "nowhere.json"}, 1, "nowhere.json cannot be read"),
        ({"--images": "."}, 1, "images that person_keypoints.json names"),
        ({"--results": "no/such/folder.json"}, 1, "there is no folder"),
        ({"--resize": "crop"}, 2, "Unknown value of --resize"),
        ({"--compare": "warp-drive"}, 2, "Unknown engine 'warp-drive'"),
        ({"--network": "yolox-nano"}, 2, "is a detector"),
    ],
)
def test_mistakes_are_found_before_inference(
    change: dict[str, str],
    code: int,
    message: str,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flag, value in change.items():
        if flag in command:
            command[command.index(flag) + 1] = value
        else:
            command += [flag, value]
    assert run([*command, "--limit", "1"] if "--images" not in change else command) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_ctrl_c_and_resume(command: list[str], tmp_path: Path) -> None:
    """An interrupted measurement says how far it came; the same command goes on there."""
    file, partial = tmp_path / "found.json", tmp_path / "found.json.partial"
    at = command.index("--annotations") + 1
    truth = json.loads(Path(command[at]).read_text())
    truth["images"] = [truth["images"][i % len(truth["images"])] | {"id": i} for i in range(60)]
    truth["annotations"] = [a | {"image_id": i} for i, a in enumerate(truth["annotations"])]
    command[at] = str(tmp_path / "truth.json")
    Path(command[at]).write_text(json.dumps(truth))
    words = [sys.executable, "-m", "edgepose", *command, "--limit", "60", "--results", str(file)]
    job = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 120
    while job.poll() is None and time.monotonic() < deadline:
        if partial.is_file() and len(partial.read_text().splitlines()) > 3:
            job.send_signal(signal.SIGINT)
            break
        time.sleep(0.02)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 130
    done = re.search(r"interrupted after (\d+) of 60 pictures", err)
    assert done is not None
    assert not file.exists()
    assert len(partial.read_text().splitlines()) == int(done[1]) + 1
    again = subprocess.run(
        [*words, "--resume"], capture_output=True, text=True, timeout=200, check=True
    )
    assert f"{done[1]} pictures were done before." in again.stderr
    assert {row["image_id"] for row in json.loads(file.read_text())}
    assert not partial.exists()


def test_a_network_must_be_named(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = shared / "datasets/coco-mini"
    words = ["eval", "--annotations", str(data / "person_keypoints.json")]
    assert run([*words, "--images", str(data / "images")]) == 2
    assert "--network NAME" in capsys.readouterr().err
