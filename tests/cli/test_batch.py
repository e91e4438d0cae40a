"""`edgepose batch` as people type it: what it says and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from films import write_kind
from media import png_of_size

from edgepose.batch.plan import read_list
from edgepose.errors import UsageError
from edgepose.io.sinks.parquet import read_results
from edgepose.io.sources.testsrc import Painter, TestPattern

pytest.importorskip("pyarrow", reason="the batch extra is not installed")

BATCH = [sys.executable, "-m", "edgepose", "batch"]
NETWORK = ["--network", "edgepose-lite-body", "--threads", "1", "--segment", "0.4"]


def batch(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [*BATCH, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    painter = Painter(TestPattern(width=192, height=144, people=2))
    folder = tmp_path_factory.mktemp("film")
    return write_kind(folder, "closed", 36, (192, 144), lambda i, size: painter.paint(i, i / 25))


@pytest.fixture(scope="module")
def done(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job that is done."""
    out = tmp_path_factory.mktemp("job") / "out"
    said = batch(film, "--out", out, *NETWORK, "--track", "--progress", "json")
    assert said.returncode == 0, said.stderr
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert [row["event"] for row in rows] == ["part"] * 3 + ["end"]
    assert (rows[-1]["done"], rows[-1]["frames"], rows[-2]["seconds_left"]) == (1, 36, 0.0)
    return out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "Name films, pictures or folders"),
        (["films"], 2, "--out DIR"),
        (["rtsp://camera/live", "--out", "x"], 2, "not rtsp://camera/live"),
        (["--list", "none.txt", "--out", "x"], 2, "none.txt cannot be read"),
        (["a.mp4", "--out", "x", "--progress", "loud"], 2, "value of --progress 'loud'"),
        (["a.mp4", "--out", "x", "--gpus-per-worker", "1"], 2, "is for several workers"),
        (["a.mp4", "--out", "x", "--zones", "none.json"], 2, "none.json does not exist"),
        (
            ["a.mp4", "--out", "x", "--detect-every", "5"],
            2,
            "--detect-every is for a film in one go",
        ),
        (["a.mp4", "--out", "/proc/none", *NETWORK], 1, "/proc/none cannot be made"),
        (["status", "."], 2, "holds no job of edgepose batch"),
        (["check", "."], 2, "holds no job of edgepose batch"),
        (["export", ".", "--json", "-"], 2, "holds no job of edgepose batch"),
    ],
)
def test_refusals_are_one_line(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    ended = batch(*words, cwd=tmp_path)
    assert ended.returncode == code
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_list_has_names_as_the_disk_has_them(tmp_path: Path) -> None:
    names = [b"a b.jpg", b"caf\xe9.jpg", "\u2028.jpg".encode(), b"c.jpg"]
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbf# pictures\r\n\r\n" + b"\r\n".join(names))
    assert read_list(path) == [os.fsdecode(name) for name in names]
    with pytest.raises(UsageError, match="directory"):
        read_list(tmp_path)


def test_a_plan_is_only_said(film: Path, tmp_path: Path) -> None:
    ended = batch(film, "--out", tmp_path / "out", "--dry-run", *NETWORK)
    assert ended.returncode == 0
    assert "1 film, 36 frames; parts to do: 3." in ended.stdout
    assert "with one worker here" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_status_check_and_export(done: Path, film: Path, tmp_path: Path) -> None:
    said = batch("status", done)
    assert f"{done} does not run now: 1 done; 36 frames" in said.stdout
    told = json.loads(batch("status", done, "--json").stdout)
    assert (told["running"], told["done"], told["sources"][0]["path"]) == (None, 1, str(film))
    assert batch("check", done).stdout == "1 files, 0 problems\n"
    exported = batch("export", done, "--json", tmp_path / "a.jsonl", "--csv", "-")
    assert exported.stdout.startswith("source,frame,pts")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(36))
    plain = subprocess.run(
        [*BATCH[:-1], "posenet", str(film), "--headless", "--track", *NETWORK[:4], "--json", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [json.loads(line) for line in plain.stdout.splitlines()]
    for row in [*rows, *expected]:
        del row["inference_ms"]
    assert rows == expected
    assert batch("export", done).returncode == 2


def test_a_damaged_result_is_told(done: Path, tmp_path: Path, film: Path) -> None:
    out = tmp_path / "out"
    subprocess.run(["cp", "-r", done, out], check=True)
    final = next(out.glob("poses/*"))
    final.write_bytes(final.read_bytes()[:100])
    ended = batch("check", out)
    assert ended.returncode == 1
    assert "is not a whole Parquet file" in ended.stdout


def test_another_job_and_inputs_that_fail(film: Path, done: Path, tmp_path: Path) -> None:
    for more in ([], ["--dry-run"]):
        ended = batch(film, "--out", done, *NETWORK, *more)
        assert ended.returncode == 2
        assert "track was True and is False" in ended.stderr
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("text.mp4", "a.png", "b.jpg"):
        (folder / name).write_text("no picture")
    ended = batch(folder, film, "--out", tmp_path / "out", *NETWORK)
    assert ended.returncode == 3
    assert "text.mp4 cannot be opened" in ended.stderr
    said = batch("status", tmp_path / "out").stdout
    assert "1 done, 2 failed" in said
    assert all(f"{name} cannot be" in said for name in ("text.mp4", "a.png", "b.jpg"))


# root reads every folder unless it gives up the right to
PLAIN = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
AS_USER = PLAIN if os.geteuid() == 0 else []


@pytest.mark.skipif(
    bool(AS_USER) and not shutil.which("setpriv"),
    reason="setpriv (util-linux) is not there, and root reads every folder",
)
def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_done(
    film: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "locked", tmp_path / "out"
    folder.mkdir(0o000)
    words = [*AS_USER, *BATCH, str(folder), str(film), "--out", str(out), *NETWORK]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    told = f"Folder {folder} cannot be read: Permission denied."
    assert f"edgepose: {told}" in ended.stderr.splitlines()
    sources = json.loads(batch("status", out, "--json").stdout)["sources"]
    assert [(s["status"], s["problems"]) for s in sources] == [("failed", [told]), ("done", [])]


def test_zones_give_events(film: Path, tmp_path: Path) -> None:
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    zones = tmp_path / "zones.json"
    zones.write_text(json.dumps({"zones": [{"name": "all", "polygon": square}]}))
    picture = tmp_path / "a.png"
    picture.write_bytes(png_of_size(4, 4))
    ended = batch(film, picture, "--out", tmp_path / "out", "--zones", zones, *NETWORK)
    assert ended.returncode == 0, ended.stderr
    assert "pictures make none" in ended.stderr
    (file,) = (tmp_path / "out" / "events").iterdir()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(r["event"], r["zone"]) for r in rows} >= {("enter", "all"), ("exit", "all")}


def test_ctrl_c_ends_it_and_the_same_command_goes_on(film: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [str(film), "--out", str(out), *NETWORK, "--track"]
    child = subprocess.Popen([*BATCH, *words], stderr=subprocess.PIPE, text=True)
    while child.poll() is None and not list(out.glob("work/*/segment-*.parquet")):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    if child.returncode:  # else it was done before the signal came
        assert child.returncode == 130
        assert "interrupted" in said
        assert list(out.glob("work/*/*.tries")) == []
        assert not (out / "lock.json").exists()
    assert batch(*words).returncode == 0
    assert [r.frame for r in read_results(next(out.glob("poses/*")))] == list(range(36))


def test_a_full_disk_stops_the_job_and_it_goes_on(film: Path, tmp_path: Path) -> None:
    import resource

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    out = tmp_path / "out"
    ended = batch(film, "--out", out, *NETWORK, preexec_fn=small)
    assert ended.returncode == 1
    assert "cannot be written: File too large." in ended.stderr
    assert list(out.glob("work/*/*.tries")) == []
    assert batch(film, "--out", out, *NETWORK).returncode == 0
    assert os.listdir(out / "work") == []


def test_parquet_of_posenet_has_the_same_rows(film: Path, done: Path, tmp_path: Path) -> None:
    words = ["posenet", str(film), "--headless", "--track", *NETWORK[:4]]
    target = tmp_path / "a.parquet"
    subprocess.run([*BATCH[:-1], *words, "--parquet", str(target), "--quiet"], check=True)

    def rows(path: Path) -> list[Any]:
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path, partitioning=None).to_pylist()  # type: ignore[no-any-return]

    assert rows(target) == rows(next(done.glob("poses/*")))
