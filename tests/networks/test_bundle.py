"""Bundles: what went in comes out on another machine, and nothing else does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import DownloadError, EdgeposeError, UnknownNameError
from edgepose.networks import registry
from edgepose.networks.bundle import INDEX, install_bundle, is_bundle, write_bundle
from edgepose.networks.download import InstallOptions, install, installed_variants
from edgepose.networks.folders import damaged_files, facts, read_record
from edgepose.networks.resolve import resolve
from edgepose.paths import networks_home
from tests.networks.archives import tar_bytes

NET = b"\x08\x07" + b"weights" * 999


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A shipped network without address and one of the user's own, bundled."""
    source = tmp_path / "op.onnx"
    source.write_bytes(NET)
    install(registry.find("openpose-mobilenet-v2-small"), "", InstallOptions(source=source))
    own = networks_home() / "own"
    (own / "FP32").mkdir(parents=True)
    (own / "FP32" / "net.onnx").write_bytes(NET * 2)
    (own / "limb.json").write_text('{"keypoints": ["a", "b"], "skeleton": [[1, 2]]}')
    manifest = {
        "name": "own",
        "aliases": ["mine"],
        "family": "bottom-up",
        "topology": "limb.json",
        "weights": {"FP32": {"model": "net.onnx"}},
    }
    (own / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "all.tar"
    size = write_bundle(installed_variants(registry.manifests()), out)
    assert size == out.stat().st_size
    return out


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Moves to another machine: an empty EDGEPOSE_HOME."""
    count = iter(range(10_000))

    def move() -> Path:
        home = tmp_path / f"machine{next(count)}"
        monkeypatch.setenv("EDGEPOSE_HOME", str(home))
        return home

    return move


def hidden() -> list[str]:
    root = networks_home()
    return (
        [p.name for p in root.rglob(".*") if not p.name.endswith(".lock")] if root.exists() else []
    )


def test_there_and_back(bundle: Path, elsewhere: Callable[[], Path]) -> None:
    assert is_bundle(bundle)
    elsewhere()
    done = install_bundle(bundle)
    assert [(d.variant.manifest.name, d.variant.name) for d in done] == [
        ("openpose-mobilenet-v2-small", "FP32"),
        ("own", "FP32"),
    ]
    assert done[0].model.read_bytes() == NET
    assert damaged_files(done[0].model.parent) == []
    assert read_record(done[0].model.parent)["network"] == "openpose-mobilenet-v2-small"
    network = resolve("mine", download=False)
    assert network.model.read_bytes() == NET * 2
    assert network.topology is not None
    assert network.topology.keypoints == ("a", "b")
    assert hidden() == []


def test_the_same_content_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    write_bundle(installed_variants(registry.manifests()), again)
    assert again.read_bytes() == bundle.read_bytes()


def test_some_of_it(bundle: Path, elsewhere: Callable[[], Path]) -> None:
    elsewhere()
    with pytest.raises(UnknownNameError, match=r"all\.tar"):
        install_bundle(bundle, ["resnet18-body"])
    assert not (networks_home() / "own").exists()
    done = install_bundle(bundle, ["TF-pose-mobilenet-v2-small"])
    assert [d.variant.manifest.name for d in done] == ["openpose-mobilenet-v2-small"]
    assert not (networks_home() / "own").exists()


def test_what_is_there_stays_unless_forced(bundle: Path, elsewhere: Callable[[], Path]) -> None:
    elsewhere()
    model = install_bundle(bundle)[1].model
    model.write_bytes(b"newer")
    install_bundle(bundle)
    assert model.read_bytes() == b"newer"
    (networks_home() / "own" / "limb.json").write_text("changed")
    with pytest.raises(DownloadError, match="--force"):
        install_bundle(bundle)
    install_bundle(bundle, force=True)
    assert model.read_bytes() == NET * 2


def test_nothing_to_bundle(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="nothing to bundle"):
        write_bundle([], tmp_path / "x.tar")


def test_a_place_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    items = installed_variants(registry.manifests())
    with pytest.raises(DownloadError, match="cannot be written"):
        write_bundle(items, tmp_path / "none" / "x.tar")
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


# hostile and damaged --------------------------------------------------------------------------------
def repacked(bundle: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The bundle with its files and its index changed."""
    with tarfile.open(bundle) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    index = json.loads(files.pop(INDEX))
    change(files, index)
    out = bundle.with_name("bad.tar")
    out.write_bytes(tar_bytes({INDEX: json.dumps(index).encode(), **files}))
    return out


def claim(files: dict[str, bytes], index: dict[str, Any], name: str, data: bytes) -> None:
    """Put a file in and into the index, as somebody with bad intentions would."""
    import hashlib

    files[name] = data
    index["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


OP = "openpose-mobilenet-v2-small/FP32/openpose-mobilenet-v2-small.onnx"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f, i: f.update({OP: b"changed"}), "missing or damaged"),
        (lambda f, i: f.pop(OP), "missing or damaged"),
        (lambda f, i: f.update(extra=b""), "not in its index"),
        (lambda f, i: claim(f, i, "../evil", b"x"), "unsafe path"),
        (lambda f, i: claim(f, i, "/tmp/evil", b"x"), "unsafe path"),
        (lambda f, i: i.update(format=2), "cannot read"),
        (lambda f, i: i.update(networks=3), "cannot read"),
        (lambda f, i: i.update(networks=[]), "cannot read"),
        (lambda f, i: i.update(files=[]), "cannot read"),
        (lambda f, i: i["networks"].append({"network": "../x", "variant": "a"}), "cannot read"),
        (lambda f, i: i["networks"].append({"network": "own", "variant": None}), "cannot read"),
        (
            lambda f, i: i["networks"].append({"network": "yolox-m", "variant": "FP32"}),
            "lacks end2end.onnx",
        ),
        (
            lambda f, i: i["networks"].append({"network": "nobody", "variant": "FP32"}),
            "Unknown network",
        ),
        (lambda f, i: i["networks"].append({"network": "own", "variant": "X"}), "Unknown variant"),
        (
            lambda f, i: claim(f, i, "own/manifest.json", b"{}"),
            "bad.tar: Manifest own/manifest.json",
        ),
        (
            lambda f, i: claim(f, i, "own/manifest.json", b"\xff"),
            "bad.tar: Manifest own/manifest.json",
        ),
    ],
)
def test_bad_bundles(
    bundle: Path, elsewhere: Callable[[], Path], change: Callable[[Any, Any], None], says: str
) -> None:
    bad = repacked(bundle, change)
    elsewhere()
    with pytest.raises(EdgeposeError) as e:
        install_bundle(bad)
    assert says in str(e.value)
    assert ".tmp" not in str(e.value)  # no name of what will be gone
    assert hidden() == []
    assert not Path("/tmp/evil").exists()
    assert not list(bundle.parent.rglob("evil"))


def test_a_published_digest_holds_for_bundles_too(
    bundle: Path, elsewhere: Callable[[], Path]
) -> None:
    name = "human-pose-estimation-0001"

    def change(files: dict[str, bytes], index: dict[str, Any]) -> None:
        claim(files, index, f"{name}/FP16/{name}.xml", b"<net/>")
        claim(files, index, f"{name}/FP16/{name}.bin", b"weights")
        index["networks"].append({"network": name, "variant": "FP16"})

    bad = repacked(bundle, change)
    elsewhere()
    with pytest.raises(DownloadError, match="not the published"):
        install_bundle(bad)
    assert registry.installed(registry.find(name)) is None


def test_what_is_no_bundle(tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    plain.write_bytes(tar_bytes({"a": b"b"}))
    junk = tmp_path / "junk.tar"
    junk.write_bytes(os.urandom(3000))
    for path in (plain, junk, tmp_path, tmp_path / "none"):
        assert not is_bundle(path)
        with pytest.raises(DownloadError):
            install_bundle(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4
    ),
    cut=st.booleans(),
)
def test_damaged_bundles_end_in_one_error(
    bundle: Path, elsewhere: Callable[[], Path], changes: list[tuple[int, int]], cut: bool
) -> None:
    data = bytearray(bundle.read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    if cut:
        del data[changes[0][0] % len(data) :]
    bad = bundle.with_name("bad.tar")
    bad.write_bytes(data)
    elsewhere()
    try:
        done = install_bundle(bad)
    except EdgeposeError:
        assert hidden() == []
        return
    # what was installed is what the index promised
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
        index = json.loads(tar.extractfile(INDEX).read())  # type: ignore[union-attr]
    for item in done:
        name = f"{item.variant.manifest.name}/{item.variant.name}/{item.model.name}"
        assert facts(item.model) == index["files"][name]


# trust --------------------------------------------------------------------------------------------
def packed(path: Path, network: str, files: dict[str, bytes], variant: str = "FP32") -> Path:
    """A bundle with whatever content, its own index right."""
    index = {
        "format": 1,
        "networks": [{"network": network, "variant": variant}],
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }
    everything = {"edgepose-bundle.json": json.dumps(index).encode(), **files}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in everything.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def evil(name: str, **changes: object) -> dict[str, bytes]:
    manifest = {
        "name": name,
        "family": "detector",
        "decoder": {"type": "ssd"},
        "weights": {"FP32": {"model": "net.onnx"}},
        **changes,
    }
    folder = manifest["name"]
    return {
        f"{folder}/FP32/net.onnx": NET,
        f"{folder}/manifest.json": json.dumps(manifest).encode(),
    }


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("human-pose-estimation-0001", []),
        ("rtmpose-m", []),
        ("own", ["resnet18-body"]),
        ("own", ["pose_resnet18-body"]),
        ("pose-resnet18-body", []),
    ],
)
def test_a_shipped_network_is_replaced_only_with_trust(
    tmp_path: Path, name: str, aliases: list[str], heard: list[str]
) -> None:
    path = packed(tmp_path / "evil.tar", name, evil(name, aliases=aliases))
    with pytest.raises(DownloadError, match=r"replaces the shipped network.*--trust"):
        install_bundle(path, force=True)
    assert hidden() == []
    assert not (networks_home() / name).exists()
    assert install_bundle(path, trust=True)[0].model.read_bytes() == NET
    assert any("trusted as asked" in line for line in heard)


def test_a_published_digest_is_passed_over_only_with_trust(tmp_path: Path) -> None:
    name = "human-pose-estimation-0001"
    files = {f"{name}/FP32/{name}.xml": b"<net/>", f"{name}/FP32/{name}.bin": b"evil"}
    path = packed(tmp_path / "a.tar", name, files)
    with pytest.raises(DownloadError, match=r"holds another .*not the published.*--trust"):
        install_bundle(path)
    # the maker's word that it was taken unverified is no trust of the user's
    record = json.dumps({"network": name, "verified": False}).encode()
    path = packed(tmp_path / "b.tar", name, {**files, f"{name}/FP32/installed.json": record})
    with pytest.raises(DownloadError, match=r"took unverified.*--trust"):
        install_bundle(path)
    assert registry.installed(registry.find(name)) is None
    install_bundle(path, trust=True)
    assert registry.installed(registry.find(name)) is not None


def test_files_beside_a_manifest_stay_outside(tmp_path: Path) -> None:
    """A model beside the folders of variants would be taken for every variant."""
    files = {**evil("own"), "own/net.onnx": b"other"}
    install_bundle(packed(tmp_path / "a.tar", "own", files))
    assert not (networks_home() / "own" / "net.onnx").exists()


@pytest.mark.parametrize(
    "name", ["x" * 5000, "a/" * 2000 + "b", "é" * 150, "../up", "/abs", "a\\b"]
)
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    path = packed(tmp_path / "a.tar", "own", {**evil("own"), name: b"x"})
    with pytest.raises(DownloadError, match=r"a\.tar"):
        install_bundle(path)
    assert hidden() == []
