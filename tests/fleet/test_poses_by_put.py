"""Poses as Parquet files that a real centre takes: once, from whom they say, and never at the cost of events."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broker import wait_for

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra batch)")
pytest.importorskip("uvicorn", reason="the serve extra is not installed")

from edgepose import settings
from edgepose.cli.main import run_words
from edgepose.collect.inbox import Inbox, device_password
from edgepose.errors import UsageError
from edgepose.fleet.poses import FleetPoses, PoseFiles, PosePut, size_of
from edgepose.io.sinks.parquet import read_metadata, read_results
from edgepose.types import Pose, Result
from edgepose.web import server as web_server

KEY = "a key of the centre"
PLENTY = 10**9


class Centre:
    """The part of `edgepose collect` that takes files, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listening = web_server.bind("127.0.0.1", 0)
        self.server: Any = web_server.make_server(Inbox(nothing, folder, KEY), lambda: None)
        self._thread = threading.Thread(target=self.server.run, args=([self.listening],))
        self._thread.start()
        self.at = f"127.0.0.1:{self.listening.getsockname()[1]}"

    def url(self, device: str, password: str = "") -> str:
        return f"http://{device}:{password or device_password(KEY, device)}@{self.at}/"

    def files(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.is_file())

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)
        self.listening.close()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(tmp_path / "centre")
    yield made
    made.close()


def result(frame: int, network: str = "n") -> Result:
    pose = Pose(0, np.array([[10 + frame, 20, 0.9]], np.float32), ("nose",), box=(0, 0, 9, 9))
    return Result(frame, 64, 48, (pose,), pts=frame / 10, source="cam", network=network)


def kept(folder: Path, count: int = 1, quota: int = PLENTY) -> PoseFiles:
    """A folder with so many files, each of a camera that began anew, and whoever writes there."""
    files = PoseFiles(folder, quota, folder.with_name("events.db"))
    for n in range(count):
        for frame in range(3):
            files.add(f"cam{n}", result(frame), None)
    files.close()
    return files


def test_poses_arrive_as_they_were(centre: Centre, tmp_path: Path) -> None:
    poses = FleetPoses(centre.url("cam-1"), tmp_path / "events.db", PLENTY, seconds=0.3)
    for frame in range(5):
        poses.files.add("tür", result(frame), None)
    wait_for(lambda: poses.put.sent == 1, "the file")
    poses.close()
    (path,) = centre.files()
    assert path.parent.name == "cam-1"
    found = list(read_results(path))
    assert [r.frame for r in found] == list(range(5))
    assert [float(r.poses[0].points[0, 0]) for r in found] == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert read_metadata(path)["camera"] == "tür"
    assert poses.state == {
        "files": 0,
        "bytes": 0,
        "sent": 1,
        "dropped": 0,
        "left_out": 0,
        "error": "",
    }


def test_a_file_waits_for_the_centre_and_comes_once(tmp_path: Path) -> None:
    files = kept(tmp_path / "poses", 3)
    names = [p.name for p in files.finished()]
    assert len(names) == 3
    closed = web_server.bind("127.0.0.1", 0)  # listens to nobody
    port = closed.getsockname()[1]
    closed.close()
    with PosePut(f"http://cam-1:x@127.0.0.1:{port}/", files, first_delay=0.01) as put:
        wait_for(lambda: put.error, "the trouble")
    assert [p.name for p in files.finished()] == names
    centre = Centre(tmp_path / "centre")
    for _ in range(2):  # as if the answer had been lost: the same names again
        before = {p.name: p.read_bytes() for p in files.finished()}
        with PosePut(centre.url("cam-1"), files) as put:
            wait_for(lambda: put.sent == 3, "all files")
        assert files.finished() == []
        for name, content in before.items():
            (files.folder / name).write_bytes(content)
    assert sorted(p.name for p in centre.files()) == sorted(names)
    centre.close()


def test_a_network_or_a_film_that_begins_anew_begins_a_new_file(tmp_path: Path) -> None:
    files = PoseFiles(tmp_path / "poses", PLENTY, tmp_path / "events.db")
    for one in (result(0), result(1), result(0), result(1, "other")):
        files.add("cam", one, None)
    files.close()
    assert sorted(len(list(read_results(p))) for p in files.finished()) == [1, 1, 2]


def test_the_oldest_poses_make_room_and_events_stay(tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    database.write_bytes(bytes(50_000))
    folder = kept(tmp_path / "poses", 4).folder
    for n, path in enumerate(sorted(folder.glob("*.parquet"))):
        path.rename(folder / f"cam@2026010{4 - n}T000000-{n}.parquet")
    sizes = {p: p.stat().st_size for p in folder.glob("*.parquet")}
    (folder / ".x.part").write_bytes(b"of a program that was killed")
    files = PoseFiles(folder, 50_000 + sum(sorted(sizes.values())[-2:]), database)
    wait_for(lambda: files.dropped == 2, "two deleted files")
    files.close()
    assert [p.name[4:12] for p in files.finished()] == ["20260103", "20260104"]
    assert database.stat().st_size == 50_000
    assert not (folder / ".x.part").exists()


def put(
    centre: Centre, path: str, device: str = "cam-1", password: str = "", digest: str = ""
) -> int:
    """The answer to a file whose path is sent as it is: a client would tidy it up."""
    login = b64encode(f"{device}:{password or device_password(KEY, device)}".encode()).decode()
    headers = {"authorization": f"Basic {login}"}
    headers["x-sha256"] = digest or hashlib.sha256(b"abc").hexdigest()
    connection = HTTPConnection(centre.at, timeout=20)
    connection.request("PUT", path, b"abc", headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    "path",
    ["/poses/../x.parquet", "/poses/cam-1/../../x.parquet", "/poses/cam-1/%2e%2e%2fx.parquet",
     "/poses/cam-1/..parquet", "/poses/cam-1/.x.parquet", "/poses/..%2fcam-1/x.parquet", "/poses/cam-1/x.txt",
     "/poses/cam-1/a%00.parquet", "/poses/cam-1/x.parquet%0a", "/poses/cam-1/" + "x" * 300 + ".parquet"],
)  # fmt: skip
def test_tricks_in_names_are_refused(centre: Centre, path: str) -> None:
    assert put(centre, path) == 400
    assert centre.files() == []


def test_what_the_centre_does_not_take(centre: Centre) -> None:
    good = "/poses/cam-1/x.parquet"
    assert put(centre, good, digest="0" * 64) == 422
    assert put(centre, good, digest="none") == 400
    assert put(centre, good, device="cam-2") == 401  # another device's own password
    assert put(centre, good, password="wrong") == 401
    assert centre.files() == []
    assert (put(centre, good), put(centre, good)) == (201, 201)
    assert [p.read_bytes() for p in centre.files()] == [b"abc"]


def test_a_file_that_is_refused_for_good_holds_up_no_other(centre: Centre, tmp_path: Path) -> None:
    files = kept(tmp_path / "poses", 1)
    (files.folder / "bad name@0.parquet").write_bytes(b"x")
    with PosePut(centre.url("cam-1"), files, first_delay=0.01) as sender:
        wait_for(lambda: sender.sent == 1, "the good one")
    assert [p.suffix for p in files.folder.iterdir()] == [".refused"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_at_the_centre(tmp_path: Path) -> None:
    """507: nothing half-written stays there, the device keeps its file and brings it when there is room."""
    disk, files = tmp_path / "disk", kept(tmp_path / "poses", 1)
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    centre = Centre(disk)
    try:
        ballast = disk / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with PosePut(centre.url("cam-1"), files, first_delay=0.01) as sender:
            wait_for(lambda: "507" in sender.error, "the answer")
            assert len(files.finished()) == 1
            assert centre.files() == [ballast]
            ballast.unlink()
            wait_for(lambda: sender.sent == 1, "the file")
        assert [p.parent.name for p in centre.files()] == ["cam-1"]
    finally:
        centre.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2 * 10**9), ("500m", 5 * 10**8), ("1.5TB", 15 * 10**11), ("7", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


def test_what_cannot_be_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "x", "-1G", "2 G"):
        with pytest.raises(UsageError, match="fleet-disk"):
            size_of(text)
    for url in (
        "https://host/",
        "mqtt://a:b@host/",
        "https://.a:b@host/",
        "https://a:b@host/?ca=none",
    ):
        with pytest.raises(UsageError, match="fleet-poses"):
            FleetPoses(url, tmp_path / "events.db", PLENTY)
    assert run_words(["collect", "mqtt://127.0.0.1:1", "--poses", str(tmp_path / "p")]) == 2
    assert "EDGEPOSE_POSES_KEY" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["FLEET", "FLEET_POSES", "FLEET_STORE", "POSES_KEY", "WEBHOOK_SECRET"]
)
def test_a_variable_that_is_read_is_known(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert settings.load({"serve": ["fleet"]}, {f"EDGEPOSE_{name}": "x"}) == []
    assert caplog.text == ""
