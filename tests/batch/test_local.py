"""Jobs in one process: the same rows as a single run, whatever died, whatever was damaged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from films import damage
from jobs import items_of, job, posenet_rows, rows_in, run
from media import png_of_size

from edgepose.batch.files import Folder, Task, held
from edgepose.batch.finish import forget_failures
from edgepose.batch.manifest import Manifest, check
from edgepose.batch.plan import gesture_files, settle, stored
from edgepose.batch.worker import LOCAL, Worker
from edgepose.errors import UsageError

MakeFilm = Callable[..., Path]


@pytest.mark.parametrize("kind", ["mp4", "closed", "open", "hevc", "ts"])
def test_segments_give_the_rows_of_a_single_run(
    make_film: MakeFilm, tmp_path: Path, kind: str
) -> None:
    film = make_film(kind)
    assert len(items_of(tmp_path, [film])[0].segments) >= 4
    summary = run(tmp_path / "out", [film])
    assert (summary.exit_code, summary.frames) == (0, 48)
    assert rows_in(tmp_path / "out") == posenet_rows(film)


def test_tracks_go_over_the_borders_of_segments(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("closed")
    run(tmp_path / "out", [film], smooth=True)
    rows = rows_in(tmp_path / "out")
    assert rows == posenet_rows(film, "--smooth")
    assert {p.get("track") for r in rows[24:] for p in r["poses"]} & {1, 2}


def test_gestures_go_over_the_borders_of_segments(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("closed")
    run(tmp_path / "out", [film], gestures="builtin")
    rows = rows_in(tmp_path / "out")
    assert rows == posenet_rows(film, "--gestures", "builtin")
    assert any(pose.get("gestures") for row in rows for pose in row["poses"])


def test_pictures_go_through_in_shards(make_film: MakeFilm, tmp_path: Path) -> None:
    import cv2

    folder = tmp_path / "pictures"
    folder.mkdir()
    capture = cv2.VideoCapture(str(make_film("mp4")))
    for i in range(10):
        cv2.imwrite(str(folder / f"{i}.png"), capture.read()[1])
    (folder / "large.png").write_bytes(png_of_size(200_000, 200_000))
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    summary = run(tmp_path / "out", [folder])
    assert (summary.exit_code, summary.frames) == (3, 10)
    assert rows_in(tmp_path / "out") == posenet_rows(folder)
    manifest = Manifest.read(Folder(tmp_path / "out"))
    assert [r["status"] for r in manifest.rows.values()] == ["done", "done", "damaged"]
    message = list(manifest.rows.values())[-1]["message"]
    assert "cut.jpg" in message
    assert "1 more" in message


def test_films_and_pictures_of_a_folder(make_film: MakeFilm, tmp_path: Path) -> None:
    for kind in ("mp4", "ts"):
        shutil.copy(make_film(kind), tmp_path)
    (tmp_path / "a.png").write_bytes(png_of_size(4, 4))
    kinds = [(i.kind, Path(i.path).name) for i in items_of(tmp_path, [tmp_path])]
    assert kinds == [("film", "mp4.mp4"), ("film", "ts.ts"), ("pictures", tmp_path.name)]
    # a source that is named twice is done once
    assert len(items_of(tmp_path, [tmp_path, tmp_path / "mp4.mp4"])) == 3


def test_what_cannot_be_read_is_named_and_the_others_are_done(
    make_film: MakeFilm, tmp_path: Path
) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no film at all\n" * 50)
    cut = tmp_path / "cut.mkv"
    whole = make_film("open").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    summary = run(tmp_path / "out", [text, cut, make_film("mp4"), tmp_path / "gone.mp4"])
    assert summary.exit_code == 3
    rows = {Path(r["path"]).name: r for r in Manifest.read(Folder(tmp_path / "out")).rows.values()}
    assert {n: r["status"] for n, r in rows.items()} == {
        "notes.mp4": "failed",
        "gone.mp4": "failed",
        "cut.mkv": "damaged",
        "mp4.mp4": "done",
    }
    assert "ends after" in rows["cut.mkv"]["message"]
    assert rows_in(tmp_path / "out", cut) == posenet_rows(cut)
    assert run(tmp_path / "none", [text]).exit_code == 1
    # what was mended is not called failed any more, and what has two names fails once
    shutil.copy(make_film("mp4"), text)
    gone = tmp_path / "gone.mp4"
    twice = tmp_path / "x" / ".." / "gone.mp4"
    assert run(tmp_path / "out", [text, gone, twice]).states == {"done": 1, "failed": 1}
    rows = Manifest.read(Folder(tmp_path / "out")).rows.values()
    assert [r["status"] for r in rows if r["path"] == str(text)] == ["done"]


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 16))]
)
def test_a_damaged_film_gives_the_rows_of_a_single_run(
    make_film: MakeFilm, tmp_path: Path, seed: int
) -> None:
    film = Path(shutil.copy(make_film("closed"), tmp_path))
    film = damage(film, seed)
    run(tmp_path / "out", [film])
    assert rows_in(tmp_path / "out") == posenet_rows(film)


def test_a_finished_job_does_nothing_more(make_film: MakeFilm, tmp_path: Path) -> None:
    out, film = tmp_path / "out", make_film("mp4")
    run(out, [film])
    final = next(out.glob("poses/*"))
    before = final.stat().st_mtime_ns
    assert run(out, [film]).frames == 48
    assert final.stat().st_mtime_ns == before
    assert list(out.glob("work/*")) == []


def test_another_job_in_the_folder_is_refused(make_film: MakeFilm, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    settle(folder, job())
    with pytest.raises(UsageError, match=r"segment was .*track was False and is True"):
        settle(folder, job(track=True, segment=9.0))
    assert stored(folder) == job()
    settle(folder, job(track=True), overwrite=True)
    assert stored(folder) == job(track=True)
    folder.job.write_text("[" * 100)
    with pytest.raises(UsageError, match="not a job of edgepose"):
        settle(folder, job())


def test_gestures_that_were_changed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.gestures"
    file.write_bytes(b"one")
    words = f"builtin,{file}"
    settle(Folder(tmp_path / "out"), job(gestures=words, taught=gesture_files(words)))
    file.write_bytes(b"two")
    with pytest.raises(UsageError, match="other gestures than the job"):
        Worker(str(tmp_path / "out"))
    with pytest.raises(UsageError, match="other taught"):
        settle(Folder(tmp_path / "out"), job(gestures=words, taught=gesture_files(words)))
    file.unlink()
    with pytest.raises(UsageError, match=r"mine.gestures is not seen here"):
        Worker(str(tmp_path / "out"))


def test_a_worker_that_would_answer_otherwise_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    settle(folder, job())
    Worker(str(tmp_path)).close()  # the first writes down its engine
    Worker(str(tmp_path)).close()
    folder.engine.write_text('{"engine": "tensorrt (Orin)"}')
    with pytest.raises(UsageError, match=r"the job began with tensorrt \(Orin\)"):
        Worker(str(tmp_path))
    Worker(str(tmp_path), mixed=True).close()
    for damaged in ("", "[]"):
        folder.engine.write_text(damaged)
        with pytest.raises(UsageError, match=r"engine\.json is not valid|job began with None"):
            Worker(str(tmp_path))
    settle(folder, replace(job(), weights={"edgepose-lite-body": "0" * 64}), overwrite=True)
    with pytest.raises(UsageError, match="other weights of edgepose-lite-body"):
        Worker(str(tmp_path))
    settle(folder, replace(job(), edgepose="0.0.1"), overwrite=True)
    with pytest.raises(UsageError, match=r"the job is of 0\.0\.1"):
        Worker(str(tmp_path))


def test_two_drivers_of_one_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with held(folder):
        with pytest.raises(UsageError, match="being worked on"), held(folder):
            pass
    # a driver that is dead, here and on another machine
    folder.lock.write_text(json.dumps({"host": os.uname().nodename, "pid": 2**22 + 1, "run": "x"}))
    with held(folder):
        pass
    folder.lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "run": "x"}))
    with pytest.raises(UsageError, match="process 1 on elsewhere"), held(folder):
        pass
    os.utime(folder.lock, (time.time() - 100, time.time() - 100))
    with held(folder):
        pass
    assert not folder.lock.exists()


def test_a_task_that_kills_its_worker_is_set_aside(make_film: MakeFilm, tmp_path: Path) -> None:
    out, film = tmp_path / "out", make_film("mp4")
    folder = Folder(out)
    settle(folder, job())
    task = items_of(out, [film])[0].tasks(recut=False)[1]
    folder.work(task.key).mkdir(parents=True)
    for _ in range(3):
        folder.add_try(task.key, task.name, "local")
    with Worker(str(out)) as worker:
        done = worker.do(task)
    assert done.problem == f"{film}: its worker died 3 times"
    summary = run(out, [film])
    assert summary.exit_code == 1
    assert len(list(out.glob("work/*/segment-*.parquet"))) == 3  # the others are done
    assert forget_failures(folder) == 1
    assert run(out, [film]).exit_code == 0
    assert rows_in(out) == posenet_rows(film)


@pytest.fixture(scope="session")
def pictures(make_film: MakeFilm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six pictures."""
    import cv2

    folder = tmp_path_factory.mktemp("pictures")
    capture = cv2.VideoCapture(str(make_film("mp4")))
    for i in range(6):
        cv2.imwrite(str(folder / f"{i}.png"), capture.read()[1])
    return folder


def test_a_picture_that_kills_its_worker_is_set_aside_alone(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = Folder(out)
    settle(folder, job())
    item = items_of(out, [pictures])[0]
    (whole,) = item.tasks(recut=False)
    folder.make_work(whole.key)
    folder.add_try(whole.key, "whole", LOCAL)  # its worker died
    with Worker(str(out)) as worker:
        assert worker.do(whole).recut
        bad = item.tasks(recut=True)[2]
        for _ in range(3):
            folder.add_try(bad.key, bad.name, LOCAL)
        assert worker.do(bad).problem == f"{bad.paths[0]}: its worker died 3 times"
    expected = [r for r in posenet_rows(pictures) if r["source"] != bad.paths[0]]
    summary = run(out, [pictures])
    assert (summary.exit_code, summary.frames) == (3, 5)
    assert rows_in(out) == expected
    assert check(folder) == []
    first = next(iter(Manifest.read(folder).rows.values()))
    assert (first["status"], first["message"]) == (
        "damaged",
        f"{bad.paths[0]}: its worker died 3 times",
    )
    assert forget_failures(folder) == 1
    assert run(out, [pictures]).exit_code == 0
    assert rows_in(out) == posenet_rows(pictures)


def test_a_shard_without_a_picture_has_failed(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(4):
        (tmp_path / "in" / f"{i}.png").write_bytes(png_of_size(200_000, 200_000))
    assert run(tmp_path / "none", [tmp_path / "in"]).exit_code == 1
    summary = run(tmp_path / "out", [tmp_path / "in", pictures])
    assert (summary.exit_code, summary.states) == (3, {"failed": 1, "done": 2})


def test_names_that_are_no_text(pictures: Path, make_film: MakeFilm, tmp_path: Path) -> None:
    folder, out = os.fsencode(tmp_path) + b"/caf\xe9", tmp_path / "out"
    os.mkdir(folder)
    shutil.copy(make_film("mp4"), folder + b"/\xff.mp4")
    shutil.copy(pictures / "0.png", folder + b"/\xfe.png")
    Path(os.fsdecode(folder + b"/\xfd.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
    inputs = [Path(os.fsdecode(folder))]
    assert run(out, inputs).exit_code == 3
    assert run(out, inputs).exit_code == 3  # all that it wrote can be read again
    assert check(Folder(out)) == []
    assert {r["source"] for r in rows_in(out)} == {
        f"{tmp_path}/caf\\udce9/\\udcff.mp4",
        f"{tmp_path}/caf\\udce9/\\udcfe.png",
    }


def test_killed_at_any_moment_the_same_job_goes_on(make_film: MakeFilm, tmp_path: Path) -> None:
    out, film = tmp_path / "out", make_film("closed", 96)
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nfrom jobs import run\n"
        f"run(Path({str(out)!r}), [Path({str(film)!r})], track=True)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        while child.poll() is None and len(list(out.glob("work/*/segment-*.parquet"))) < 3:
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = {p: p.stat().st_mtime_ns for p in out.glob("work/*/segment-*.parquet")}
    assert done
    (out / "poses" / ".film=0.parquet.1.00.part").touch()  # killed while it finished a film
    run(out, [film], track=True)
    assert rows_in(out) == posenet_rows(film, "--track")
    assert check(Folder(out)) == []
    assert list(out.rglob("*.part")) == []


def test_check_names_what_is_wrong(make_film: MakeFilm, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, [make_film("mp4"), make_film("ts")])
    assert check(Folder(out)) == []

    def told() -> list[tuple[str, str, str]]:
        rows = Manifest.read(Folder(out)).rows.values()
        return sorted((row["path"], row["status"], row["sha256"]) for row in rows)

    before = told()
    (out / "manifest.parquet").unlink()
    assert check(Folder(out)) == []
    assert told() == before  # made anew
    first, second = sorted(out.glob("poses/*"))
    whole = first.read_bytes()
    turned = whole.index(b"left_elbow")  # in the metadata, which have no checksum of their own
    first.write_bytes(whole[:turned] + b"k" + whole[turned + 1 :])
    for _ in range(2):
        assert check(Folder(out)) == [f"{first}: it is not as it was written."]
    first.write_bytes(whole)
    first.write_bytes(first.read_bytes()[:-10])
    second.rename(out / "poses" / "film=other.parquet")
    problems = check(Folder(out))
    assert any("not a whole Parquet file" in p for p in problems)
    assert any("its file is gone" in p for p in problems)
    with pytest.raises(UsageError, match="holds no job"):
        check(Folder(tmp_path))


def test_tasks_survive_the_way_to_a_worker(make_film: MakeFilm, tmp_path: Path) -> None:
    item = items_of(tmp_path, [make_film("open")])[0]
    for task in [*item.tasks(False), *item.tasks(True)]:
        assert Task.of_json(task.to_json()) == task
