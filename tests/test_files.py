"""One atomic write, one digest, one lock, one answer to "the same file?"."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgepose.cli.main import run_words
from edgepose.errors import UsageError
from edgepose.files import (
    file_digest,
    identity,
    locked,
    refuse_input,
    replacing,
    write_atomically,
)

ROOT = Path(__file__).resolve().parents[1]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomically(file, "caf\u00e9")
    assert file.read_bytes() == "caf\u00e9".encode()
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")

    def fail_half_way() -> None:
        with replacing(file) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_permissions_are_those_of_the_old_file_or_of_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    write_atomically(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode
    plain.chmod(0o600)
    write_atomically(plain, b"secret")
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nosuch"):
        write_atomically(tmp_path / "nosuch" / "a", b"")


@pytest.mark.parametrize("name", ["/", "."])
def test_a_folder_in_place_of_a_file_is_an_os_error(name: str) -> None:
    with pytest.raises(OSError, match="directory"):
        write_atomically(name, "x")


def test_a_very_long_name_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("n" * 250)
    write_atomically(file, b"x")
    assert file.read_bytes() == b"x"


def test_the_digest_is_hashlibs(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc" * 700_000)
    assert file_digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file_digest(file, "sha384") == hashlib.sha384(file.read_bytes()).hexdigest()


def test_one_holder_of_a_lock_at_a_time(tmp_path: Path) -> None:
    lock, told, order = tmp_path / "deep" / ".lock", threading.Event(), []

    def second() -> None:
        with locked(lock, waiting=told.set):
            order.append("second")

    with locked(lock):
        thread = threading.Thread(target=second)
        thread.start()
        assert told.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_a_lock_that_is_never_free_ends_in_a_timeout(tmp_path: Path) -> None:
    with locked(tmp_path / "x"), pytest.raises(TimeoutError), locked(tmp_path / "x", timeout=0.05):
        pytest.fail("two holders")


def test_one_file_by_many_names(tmp_path: Path) -> None:
    film, folder = tmp_path / "film.mp4", tmp_path / "folder"
    film.write_bytes(b"x")
    folder.mkdir()
    os.link(film, folder / "hard.mp4")
    (folder / "soft.mp4").symlink_to(film)
    (tmp_path / "door").symlink_to(folder)
    for other in ("folder/hard.mp4", "folder/soft.mp4", "door/hard.mp4", "folder/../film.mp4"):
        assert identity(film) == identity(tmp_path / other), other
    assert identity(film) != identity(tmp_path / "other.mp4")


def test_a_file_that_is_not_there_yet_is_known_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "door").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "real" / "a")
    there = identity(tmp_path / "real" / "a")
    assert there == identity(tmp_path / "door" / "a") == identity(tmp_path / "dangling")
    assert there != identity(tmp_path / "real" / "b")
    assert identity(tmp_path / "nosuch" / "a") != identity(tmp_path / "nosuch" / "b")


WAYS = ["itself", "hard link", "symbolic link", "folder", "dots"]


@pytest.mark.parametrize("way", WAYS)
def test_an_output_is_not_what_is_read_by_any_other_name(way: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    source = tmp_path / "folder" / "a"
    source.write_bytes(b"kept")
    other = tmp_path / "b"
    if way == "hard link":
        os.link(source, other)
    elif way == "symbolic link":
        other.symlink_to(source)
    elif way == "folder":
        (tmp_path / "same").symlink_to(tmp_path / "folder")
        other = tmp_path / "same" / "a"
    else:
        other = source if way == "itself" else tmp_path / "folder" / ".." / "folder" / "a"
    with pytest.raises(UsageError, match="is the input itself"):
        refuse_input(other, ("", None, tmp_path / "c", source))
    refuse_input(tmp_path / "new", ("", None, "-", source))


def test_standard_input_from_a_file_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"kept")
    code = "import sys; from edgepose.files import refuse_input; refuse_input(sys.argv[1], ['-'])"
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], stdin=file, capture_output=True, text=True
        )
    assert "is the input itself" in done.stderr


@pytest.mark.parametrize("command", ["events export", "eval", "bench", "export"])
def test_no_command_writes_over_what_it_reads(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input.onnx"
    path.write_bytes(b"kept")
    shutil.copy(ROOT / "docs/images/readme.jpg", tmp_path / "a.jpg")
    truth = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 1200, "height": 432}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": []}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "keypoints": [9, 9, 2],
                "bbox": [0, 0, 9, 9],
                "area": 81,
            }
        ],
    }
    words: list[object] = {
        "events export": [path, "--db", path, "--format", "csv"],
        "eval": ["--annotations", path, "--images", tmp_path, "--results", path],
        "bench": ["--model", path, "--json", path],
        "export": ["resnet18-body", path, "--output", path],
    }[command]
    if command == "eval":
        path.write_text(json.dumps(truth))
    before = path.read_bytes()
    assert run_words([*command.split(), *map(str, words)]) == 2
    assert "is a file that this command reads" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_nothing_takes_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, "to whoever reads")
        assert os.read(reader, 100) == b"to whoever reads"
        assert pipe.is_fifo()
        with pytest.raises(KeyError), replacing(pipe):
            raise KeyError
        assert pipe.is_fifo()
    finally:
        os.close(reader)
