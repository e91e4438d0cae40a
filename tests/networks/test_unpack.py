"""Archives: the wanted files and nothing else come out, and hostile ones are refused whole."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import DownloadError
from edgepose.networks.unpack import Limits, entries, unpack
from tests.networks.archives import tar_bytes, tar_entry, tgz, zip_bytes

NET = b"\x08\x07network" * 50
FILES = {"Pose/net.onnx": NET, "Pose/colors.txt": b"1 2 3\n"}


def take(data: bytes, kind: str, folder: Path, members: tuple[str, ...] = ("net.onnx",)) -> Path:
    archive = folder / "archive"
    archive.write_bytes(data)
    out = folder / "out"
    unpack(archive, kind, members, out)  # type: ignore[arg-type]
    return out


def refused(data: bytes, kind: str, folder: Path) -> str:
    with pytest.raises(DownloadError) as e:
        take(data, kind, folder)
    outside = {p.name for p in folder.rglob("*")} - {"archive", "out", "net.onnx"}
    assert not outside, "something was written where it does not belong"
    assert str(folder / "archive") in str(e.value)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(
    ("pack", "kind"), [(tgz, "tar.gz"), (tar_bytes, "tar"), (zip_bytes, "zip")]
)
def test_members_are_found_at_any_depth(pack, kind: str, tmp_path: Path) -> None:
    out = take(pack(FILES), kind, tmp_path)
    assert [p.name for p in out.rglob("*")] == ["net.onnx"]
    assert (out / "net.onnx").read_bytes() == NET


def test_members_keep_the_folders_they_name(tmp_path: Path) -> None:
    out = take(
        tgz({"a/b/FP16/x.xml": b"x", "a/b/FP32/x.xml": b"y"}), "tar.gz", tmp_path, ("FP16/x.xml",)
    )
    assert (out / "FP16/x.xml").read_bytes() == b"x"


@pytest.mark.parametrize("order", [("a/b/net.onnx", "a/net.onnx"), ("a/net.onnx", "a/b/net.onnx")])
def test_the_shallowest_wins(order: tuple[str, str], tmp_path: Path) -> None:
    out = take(tgz({name: name.encode() for name in order}), "tar.gz", tmp_path)
    assert (out / "net.onnx").read_bytes() == b"a/net.onnx"


def test_two_at_the_same_depth_are_ambiguous(tmp_path: Path) -> None:
    assert "twice" in refused(tgz({"a/net.onnx": b"1", "b/net.onnx": b"2"}), "tar.gz", tmp_path)


def test_a_missing_member_says_what_is_there(tmp_path: Path) -> None:
    text = refused(tgz({"Pose/other.onnx": NET}), "tar.gz", tmp_path)
    assert "'net.onnx'" in text
    assert "Pose/other.onnx" in text


def test_folders_and_empty_files_are_no_trouble(tmp_path: Path) -> None:
    data = tgz({"./x/net.onnx": NET, "x/empty": b""}, tar_entry("x/folder", tarfile.DIRTYPE))
    assert (take(data, "tar.gz", tmp_path) / "net.onnx").read_bytes() == NET


@pytest.mark.parametrize(
    "name",
    [
        "../net.onnx",
        "/tmp/net.onnx",
        "a/../../net.onnx",
        "a\\..\\net.onnx",
        "C:/net.onnx",
        "a\n/net.onnx",
    ],
)
def test_unsafe_paths(name: str, tmp_path: Path) -> None:
    for pack, kind in ((tgz, "tar.gz"), (zip_bytes, "zip")):
        refused(pack({"x/net.onnx": NET, name: b"!"}), kind, tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar(kind: bytes, tmp_path: Path) -> None:
    data = tgz({"x/net.onnx": NET}, tar_entry("x/evil", kind, "/etc/passwd"))
    assert "not a regular file" in refused(data, "tar.gz", tmp_path)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(kind: int, tmp_path: Path) -> None:
    assert "not a regular file" in refused(
        zip_bytes({"net.onnx": b"/etc"}, kind | 0o777), "zip", tmp_path
    )


def test_a_link_cannot_be_written_through(tmp_path: Path) -> None:
    """A link to a folder outside, then a file under its name."""
    outside = tmp_path / "outside"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(tar_entry("net.onnx", tarfile.SYMTYPE, str(outside)))
        info = tarfile.TarInfo("net.onnx")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"!"))
    refused(out.getvalue(), "tar.gz", tmp_path)
    assert not outside.exists()


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_bombs(kind: str, tmp_path: Path) -> None:
    zeros = bytes(3 << 20)
    data = (tgz if kind == "tar.gz" else zip_bytes)({"net.onnx": b"x", "bomb": zeros})
    assert len(data) < len(zeros) / 100
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    with pytest.raises(DownloadError, match="more than 1048576 bytes"):
        unpack(archive, kind, ["net.onnx"], tmp_path / "out", Limits(bytes=1 << 20))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_too_many_files(kind: str, tmp_path: Path) -> None:
    files = {f"f{n}": b"" for n in range(40)} | {"net.onnx": b"x"}
    archive = tmp_path / "archive"
    archive.write_bytes((tgz if kind == "tar.gz" else zip_bytes)(files))
    with pytest.raises(DownloadError, match="more than 30 entries"):
        unpack(archive, kind, ["net.onnx"], tmp_path / "out", Limits(files=30))  # type: ignore[arg-type]


def test_folders_count_too(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(
        tgz({"net.onnx": b"x"}, *(tar_entry(f"d{n}", tarfile.DIRTYPE) for n in range(40)))
    )
    with pytest.raises(DownloadError, match="more than 30 entries"):
        unpack(archive, "tar.gz", ["net.onnx"], tmp_path / "out", Limits(files=30))


def test_a_header_that_asks_for_memory(tmp_path: Path) -> None:
    """A pax header of 64 MB of zeros: a few kilobytes on the disk."""
    size = 64 << 20
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = size
    raw = info.tobuf(tarfile.USTAR_FORMAT) + bytes(size)
    assert "memory" in refused(gzip.compress(raw, 1), "tar.gz", tmp_path)


def test_a_zip_whose_directory_lies_about_a_size(tmp_path: Path) -> None:
    """Declares 10 bytes, holds a million: no more than 10 are believed."""
    data = bytearray(zip_bytes({"net.onnx": bytes(1_000_000)}))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(magic) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    refused(bytes(data), "zip", tmp_path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"net.onnx": NET}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    assert "encrypted" in refused(bytes(data), "zip", tmp_path)


def test_a_zip_with_an_unknown_compression(tmp_path: Path) -> None:
    data = bytearray(zip_bytes({"net.onnx": NET}))
    for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(magic) + offset] = 99
    refused(bytes(data), "zip", tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 10, 100, -1, -9, -500])
def test_cut_off_archives(keep: int, tmp_path: Path) -> None:
    files = {"x/net.onnx": os.urandom(3000)}
    for pack, kind in ((tgz, "tar.gz"), (zip_bytes, "zip")):
        data = pack(files)
        refused(data[:keep], kind, tmp_path)


def test_a_flipped_bit_behind_the_wanted_file(tmp_path: Path) -> None:
    data = bytearray(tgz({"net.onnx": NET, "tail": os.urandom(5000)}))
    data[-2000] ^= 4
    refused(bytes(data), "tar.gz", tmp_path)
    data = bytearray(zip_bytes({"net.onnx": os.urandom(3000)}))
    data[1000] ^= 4
    refused(bytes(data), "zip", tmp_path)


@pytest.mark.parametrize("data", [b"", b"<html>", bytes(5000), zipfile.__file__.encode()])
def test_no_archives(data: bytes, tmp_path: Path) -> None:
    for kind in ("tar.gz", "zip", "tar"):
        refused(data, kind, tmp_path)


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        list(entries(tmp_path / "nothing", "zip"))


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tgz(FILES))
    (tmp_path / "out").write_text("a file where a folder must be")
    with pytest.raises(DownloadError, match="cannot be written"):
        unpack(archive, "tar.gz", ["net.onnx"], tmp_path / "out")


GOOD = {"tar.gz": tgz(FILES), "tar": tar_bytes(FILES), "zip": zip_bytes(FILES)}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(sorted(GOOD)),
    changes=st.lists(
        st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=8
    ),
    cut=st.integers(0, 20_000),
)
def test_damaged_archives_end_in_one_error(
    kind: str, changes: list[tuple[int, int]], cut: int, tmp_path: Path
) -> None:
    data = bytearray(GOOD[kind])
    for at, value in changes:
        data[at % len(data)] = value
    if cut % 3 == 0:
        del data[cut % len(data) :]
    try:
        out = take(bytes(data), kind, tmp_path)
    except DownloadError:
        return
    assert (out / "net.onnx").is_file()
