"""One atomic write, one digest, one lock, one answer to "the same file?"."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from edgepose.files import file_digest, identity, locked, replacing, same_file, write_atomically


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
        assert same_file(film, tmp_path / other), other
    assert not same_file(film, tmp_path / "other.mp4")


def test_a_file_that_is_not_there_yet_is_known_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "door").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "real" / "a")
    assert same_file(tmp_path / "real" / "a", tmp_path / "door" / "a")
    assert same_file(tmp_path / "real" / "a", tmp_path / "dangling")
    assert not same_file(tmp_path / "real" / "a", tmp_path / "real" / "b")
    assert identity(tmp_path / "nosuch" / "a") != identity(tmp_path / "nosuch" / "b")
