"""Installing from addresses and local files: decided first, verified, put in place in one step."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import DownloadError, NetworkFileError, UnknownNameError
from edgepose.networks import registry
from edgepose.networks.download import InstallOptions, install, uninstall
from edgepose.networks.folders import damaged_files, read_record
from edgepose.networks.manifest import Download, Manifest, Weights
from edgepose.networks.pins import pins_file, read_pins
from edgepose.networks.transfer import TransferOptions
from edgepose.networks.variant import Variant
from edgepose.paths import cache, networks_home
from tests.networks.archives import tgz, zip_bytes
from tests.networks.web import Web, file, status

NET = b"\x08\x07" + b"weights of a network " * 500
XML = b"<?xml version='1.0'?><net/>" * 20
QUICK = TransferOptions(timeout=0.5, tries=2, backoff_max=0.0)


def options(**changes: object) -> InstallOptions:
    return replace(InstallOptions(transfer=QUICK), **changes)  # type: ignore[arg-type]


def sha384(data: bytes) -> str:
    return hashlib.sha384(data).hexdigest()


def archived(*urls: str, kind: str = "tar.gz") -> Manifest:
    """A network in an archive without published digest, as NVIDIA's."""
    d = Download("Net.tar.gz", urls, archive=kind, members=("net.onnx",))  # type: ignore[arg-type]
    return Manifest("net", "bottom-up", weights={"FP32": Weights("net.onnx", (d,))})


def ir(web: Web, *, digest: bool = True) -> Manifest:
    """A network of two plain files with published digests, as Intel's."""

    def one(name: str, data: bytes) -> Download:
        url = web.on(f"/{name}", file(data))
        return Download(name, (url,), len(data), sha384=sha384(data) if digest else "")

    files = (one("net.xml", XML), one("net.bin", NET))
    return Manifest(
        "net",
        "bottom-up",
        weights={"FP32": Weights("net.xml", files), "INT8": Weights("net.xml")},
    )


def leftovers() -> list[str]:
    """Temporary files and folders below the two private folders."""
    found = [p for root in (networks_home(), cache()) for p in root.rglob("*")]
    return [p.name for p in found if p.name.endswith((".tmp", ".old", ".part", ".part.json"))]


def refused(manifest: Manifest, variant: str = "FP32", **changes: object) -> str:
    with pytest.raises(DownloadError) as e:
        install(manifest, variant, options(**changes))
    assert registry.installed(manifest, variant) is None
    assert not [n for n in leftovers() if n.endswith((".tmp", ".old"))]
    assert "\n" not in str(e.value)
    return str(e.value)


# from the network -----------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive(web: Web, kind: str) -> None:
    pack = tgz if kind == "tar.gz" else zip_bytes
    manifest = archived(web.on("/a", file(pack({"Top/net.onnx": NET, "Top/x": b""}))), kind=kind)
    assert registry.installed(manifest) is None
    model = install(manifest, "", options())
    assert model == networks_home() / "net" / "FP32" / "net.onnx"
    assert model.read_bytes() == NET
    assert registry.installed(manifest) == model
    assert sorted(p.name for p in model.parent.iterdir()) == ["installed.json", "net.onnx"]
    record = read_record(model.parent)
    assert record["from"] == [web.url("/a")]
    assert record["files"]["net.onnx"]["sha256"] == hashlib.sha256(NET).hexdigest()
    assert damaged_files(model.parent) == []
    assert leftovers() == []
    assert not list((cache() / "downloads").rglob("Net.tar.gz"))


def test_plain_files(web: Web) -> None:
    model = install(ir(web), "fp32", options())
    assert model.read_bytes() == XML
    assert model.with_suffix(".bin").read_bytes() == NET
    assert read_pins() == {}, "published digests need no pin"


def test_what_is_there_is_not_fetched_again(web: Web) -> None:
    manifest = ir(web)
    install(manifest, "FP32", options())
    count = len(web.requests)
    install(manifest, "FP32", options())
    assert len(web.requests) == count
    install(manifest, "FP32", options(force=True))
    assert len(web.requests) == 2 * count


def test_an_ir_without_its_weights_counts_as_missing(web: Web) -> None:
    manifest = ir(web)
    model = install(manifest, "FP32", options())
    model.with_suffix(".bin").unlink()
    assert registry.installed(manifest, "FP32") is None
    assert install(manifest, "FP32", options()).with_suffix(".bin").read_bytes() == NET


def test_a_damaged_archive_goes_to_the_next_mirror(web: Web) -> None:
    good = tgz({"net.onnx": NET})
    for bad in (good[:-20], tgz({"other": b""}), tgz({"../net.onnx": NET}), b"no archive" * 9):
        manifest = archived(web.on("/bad", file(bad)), web.on("/good", file(good)))
        model = install(manifest, "", options(force=True))
        assert read_record(model.parent)["from"] == [web.url("/good")]


def test_nothing_remains_of_a_bad_download(web: Web) -> None:
    text = refused(archived(web.on("/a", file(tgz({"x/other.onnx": NET})))))
    assert "does not hold 'net.onnx'" in text
    assert "--from" in text
    assert read_pins() == {}, "a file that is no good must not be pinned"
    assert leftovers() == []


def test_one_of_two_files_fails(web: Web) -> None:
    manifest = ir(web)
    web.on("/net.bin", status(404))
    text = refused(manifest)
    assert "HTTP 404" in text
    web.on("/net.bin", file(NET))
    install(manifest, "FP32", options())
    asked = [path for path, _ in web.requests]
    assert asked.count("/net.xml") == 1, "what came well the first time is not fetched again"


def test_a_broken_transfer_goes_on_the_next_time(web: Web) -> None:
    data = tgz({"net.onnx": os.urandom(90_000)})
    manifest = archived(web.on("/a", file(data, stop=50_000, then="end")))
    refused(manifest, transfer=replace(QUICK, tries=1))
    web.on("/a", file(data))
    install(manifest, "", options())
    assert web.ranges()[-1] == "bytes=50000-"


def test_a_failed_update_keeps_the_old_files(web: Web) -> None:
    manifest = archived(web.on("/a", file(tgz({"net.onnx": NET}))))
    model = install(manifest, "", options())
    web.on("/a", status(500))
    with pytest.raises(DownloadError):
        install(manifest, "", options(force=True))
    assert model.read_bytes() == NET


def test_what_a_killed_process_left_is_cleared(web: Web) -> None:
    manifest = archived(web.on("/a", file(tgz({"net.onnx": NET}))))
    stale = networks_home() / "net" / ".FP32.99999.tmp"
    stale.mkdir(parents=True)
    (stale / "half").write_bytes(b"x")
    install(manifest, "", options())
    assert not stale.exists()


def test_variants_and_names(web: Web) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'FP32'"):
        install(ir(web), "FP23", options())
    text = refused(ir(web), "INT8")
    assert "edgepose download net:INT8 --from FILE" in text


# pins -------------------------------------------------------------------------------------------
def test_a_file_without_digest_is_pinned_and_compared(web: Web) -> None:
    first, second = tgz({"net.onnx": NET}), tgz({"net.onnx": NET + b"!"})
    manifest = archived(web.on("/a", file(first)))
    install(manifest, "", options())
    pins = read_pins()
    assert pins["net/FP32/Net.tar.gz"].sha256 == hashlib.sha256(first).hexdigest()
    assert pins["net/FP32/Net.tar.gz"].bytes == len(first)

    web.on("/a", file(second))
    with pytest.raises(DownloadError, match=r"another than at the first download.*--repin"):
        install(manifest, "", options(force=True))
    assert read_pins() == pins
    model = install(manifest, "", options(force=True, repin=True))
    assert model.read_bytes() == NET + b"!"
    assert read_pins()["net/FP32/Net.tar.gz"].sha256 == hashlib.sha256(second).hexdigest()


def test_a_mirror_with_the_pinned_file_is_found(web: Web) -> None:
    good = tgz({"net.onnx": NET})
    manifest = archived(web.on("/a", file(good)), web.on("/b", file(good)))
    install(manifest, "", options())
    web.on("/a", file(tgz({"net.onnx": b"tampered with"})))
    model = install(manifest, "", options(force=True))
    assert model.read_bytes() == NET


@pytest.mark.parametrize(
    "text", ["{", "abc\t1\t2\t3\t4", "0" * 64, "\udcff", "0" * 64 + "\t1\t2\tnet"]
)
def test_a_damaged_lock_file_is_never_passed_over(web: Web, text: str) -> None:
    manifest = archived(web.on("/a", file(tgz({"net.onnx": NET}))))
    pins_file().parent.mkdir(parents=True)
    pins_file().write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(NetworkFileError, match="Lock file"):
        install(manifest, "", options())
    assert registry.installed(manifest) is None


# mirrors and no network ---------------------------------------------------------------------------
def test_a_mirror_of_ones_own_is_asked_first(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tgz({"net.onnx": NET})
    manifest = archived(web.on("/public", file(good)))
    monkeypatch.setenv("EDGEPOSE_MIRROR", web.url("/mine/"))
    web.on("/mine/net/FP32/Net.tar.gz", file(good))
    install(manifest, "", options())
    assert [path for path, _ in web.requests] == ["/mine/net/FP32/Net.tar.gz"]
    web.on("/mine/net/FP32/Net.tar.gz", status(404))
    install(manifest, "", options(force=True))
    assert web.requests[-1][0] == "/public"


@pytest.mark.parametrize("by", ["option", "environment"])
def test_offline(web: Web, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("EDGEPOSE_OFFLINE", "1")
    text = refused(ir(web), offline=by == "option")
    assert web.requests == []
    assert str(networks_home() / "net" / "FP32" / "net.xml") in text
    assert "net.xml, net.bin" in text
    assert "--from" in text


# local files ------------------------------------------------------------------------------------
def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def test_an_archive_of_any_name(web: Web, tmp_path: Path) -> None:
    manifest = archived(web.url("/a"))
    source = tmp_path / "downloaded (1).gz"
    source.write_bytes(tgz({"Top/net.onnx": NET}))
    model = install(manifest, "", options(source=source))
    assert model.read_bytes() == NET
    assert read_pins()["net/FP32/Net.tar.gz"].origin == str(source).replace(" ", "%20")
    assert source.exists()
    assert web.requests == []


def test_a_model_that_was_unpacked_before(web: Web, tmp_path: Path) -> None:
    manifest = archived(web.url("/a"))
    for source in (
        put(tmp_path / "x" / "Pose", net_onnx=NET),
        tmp_path / "x",
        tmp_path / "x/Pose/net.onnx",
    ):
        model = install(manifest, "", options(source=source, force=True))
        assert model.read_bytes() == NET


@pytest.mark.parametrize("inside", [".", "FP32", "net", "net/FP32", "anything"])
def test_folders_are_searched(web: Web, tmp_path: Path, inside: str) -> None:
    put(tmp_path / "src" / inside, net_xml=XML, net_bin=NET)
    model = install(ir(web), "FP32", options(source=tmp_path / "src"))
    assert model.with_suffix(".bin").read_bytes() == NET
    assert web.requests == []


def test_the_published_digest_holds_for_local_files(web: Web, tmp_path: Path) -> None:
    source = put(tmp_path / "src", net_xml=XML, net_bin=NET[:-1] + b"?")
    text = refused(ir(web), source=source)
    assert "sha384" in text
    assert "--no-verify" in text
    model = install(ir(web), "FP32", options(source=source, verify=False))
    assert model.with_suffix(".bin").read_bytes() == NET[:-1] + b"?"
    assert read_record(model.parent)["verified"] is False


def test_a_page_saved_by_a_browser(web: Web, tmp_path: Path) -> None:
    source = tmp_path / "Net.tar.gz"
    source.write_bytes(b"<!DOCTYPE html><html>Sign in</html>")
    assert "web page" in refused(archived(web.url("/a")), source=source)


def test_the_variant_that_is_there(web: Web, tmp_path: Path) -> None:
    """Without --variant the digests and the folder's name decide which variant a folder holds."""
    other = put(tmp_path / "src" / "INT8", net_xml=XML + b" ", net_bin=NET * 2)
    model = install(ir(web), "", options(source=tmp_path / "src"))
    assert model.parent.name == "INT8"
    uninstall(Variant(ir(web), "INT8"))
    assert install(ir(web), "", options(source=other)).parent.name == "INT8"
    uninstall(Variant(ir(web), "INT8"))
    assert install(ir(web), "", options(source=other / "net.xml")).parent.name == "INT8"


def test_a_damaged_file_is_not_taken_for_an_unpublished_variant(web: Web, tmp_path: Path) -> None:
    source = put(tmp_path / "src", net_xml=XML, net_bin=b"damaged")
    for place in (source, source / "net.xml"):
        with pytest.raises(DownloadError, match="has 7 bytes, not the published"):
            install(ir(web), "", options(source=place))
    model = install(ir(web), "INT8", options(source=source))  # unless the user says so
    assert model.parent.name == "INT8"


@pytest.mark.parametrize("what", ["nothing", "empty folder", "wrong kind", "no weights"])
def test_a_source_without_it(web: Web, tmp_path: Path, what: str) -> None:
    source = tmp_path / "src"
    if what != "nothing":
        source.mkdir()
    if what == "wrong kind":
        source = source / "net.onnx"
        source.write_bytes(NET)
    if what == "no weights":
        source = put(source, net_xml=XML) / "net.xml"
    text = refused(ir(web), source=source)
    assert str(source) in text
    assert web.requests == []


# two processes ------------------------------------------------------------------------------------
CHILD = """
import sys
from edgepose.networks.download import install
from edgepose.networks.registry import find
print(install(find("twice")))
"""


def test_two_processes_fetch_once(web: Web) -> None:
    data = tgz({"net.onnx": os.urandom(300_000)})

    def slow(handler: object) -> None:
        time.sleep(0.7)  # so that the second comes while the first is at work
        file(data)(handler)  # type: ignore[arg-type]

    url = web.on("/a", slow)
    folder = networks_home() / "twice"
    folder.mkdir(parents=True)
    manifest = {
        "name": "twice",
        "family": "bottom-up",
        "topology": "human_pose",
        "weights": {
            "FP32": {
                "model": "net.onnx",
                "downloads": [
                    {
                        "file": "n.tar.gz",
                        "urls": [url],
                        "archive": "tar.gz",
                        "members": ["net.onnx"],
                    }
                ],
            }
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [child.communicate(timeout=60)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said == [str(folder / "FP32" / "net.onnx")] * 2
    assert [path for path, _ in web.requests] == ["/a"]
    assert leftovers() == []


def test_a_killed_process_leaves_a_transfer_to_go_on_with(web: Web) -> None:
    data = tgz({"net.onnx": os.urandom(300_000)})
    url = web.on("/a", file(data, stop=200_000, then="stall"))
    manifest = archived(url)
    code = (
        "from tests.networks.test_install import archived, options\n"
        "from edgepose.networks.download import install\n"
        f"install(archived({url!r}), '', options())"
    )
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    part = cache() / "downloads" / "net" / "FP32" / "Net.tar.gz.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 200_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.wait(10)
    web.on("/a", file(data))
    install(manifest, "", options())
    assert web.ranges()[-1] == "bytes=200000-"
    assert leftovers() == []


# folders that cannot be written --------------------------------------------------------------------
def test_a_home_that_cannot_be_written(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPOSE_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="EDGEPOSE_HOME"):
        install(archived(web.on("/a", file(tgz({"net.onnx": NET})))), "", options())
    assert web.requests == []


def test_remove(web: Web) -> None:
    manifest = ir(web)
    model = install(manifest, "FP32", options())
    assert uninstall(Variant(manifest, "FP32"))
    assert not model.parent.exists()
    assert not uninstall(Variant(manifest, "FP32"))


def test_damage_is_noticed(web: Web) -> None:
    model = install(ir(web), "FP32", options())
    model.write_bytes(b"changed")
    model.with_suffix(".bin").unlink()
    bad = damaged_files(model.parent)
    assert len(bad) == 2
    assert "missing" in bad[0]
    assert "changed" in bad[1]
