"""Names, aliases, variants, folders, and what --network, --model, --topology mean together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import (
    DownloadError,
    EdgeposeError,
    NetworkFileError,
    UnknownNameError,
    UsageError,
)
from edgepose.machine import has_int8_units, has_nvidia_gpu
from edgepose.networks import registry
from edgepose.networks.manifest import Manifest
from edgepose.networks.measured import Timed, store_ways
from edgepose.networks.registry import find, installed
from edgepose.networks.resolve import EMBEDDED, failed_lately, fast_variant, resolve
from edgepose.paths import networks_home
from tests.engines.onnx_nets import pose_like, write
from tests.networks.archives import tgz
from tests.networks.web import Web, file, status

LIMB = {"keypoints": ["a", "b"], "skeleton": [[1, 2]]}


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return write(tmp_path / "My_Net v2.onnx", pose_like())


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "limb.json"
    path.write_text(json.dumps(LIMB))
    return path


UserNetwork = Callable[..., Path]


@pytest.fixture
def user_network() -> UserNetwork:
    """Writes EDGEPOSE_HOME/networks/<name>/manifest.json."""

    def write(name: str, **fields: Any) -> Path:
        folder = networks_home() / name
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "name": name,
            "family": "bottom-up",
            "topology": "human_pose",
            "weights": {"FP32": {"model": "net.onnx"}},
            **fields,
        }
        (folder / "manifest.json").write_text(json.dumps(data))
        return folder

    return write


def put(manifest: Manifest, variant: str) -> Path:
    """Pretend that a variant is installed."""
    path = registry.find_variant(manifest, variant).candidates()[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x08\x07")
    if path.suffix == ".xml":
        path.with_suffix(".bin").write_bytes(b"\0")
    return path


# names ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "resnet18-body",
        "ResNet18-Body",
        "resnet18_body",
        " resnet18 body ",
        "resnet18",
        "POSE-RESNET18-BODY",
    ],
)
def test_names_and_aliases(name: str) -> None:
    assert find(name).name == "resnet18-body"


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet18-bdy", "resnet18-body"), ("rtmpose_x", "rtmpose-"), ("HRNet-W33", "hrnet-w3")],
)
def test_did_you_mean(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{near}"):
        find(name)


@pytest.mark.parametrize("name", ["", "zzzzzz", "../../etc", "a" * 10_000, "\0"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError):
        find(name)


def test_names_are_sorted_and_complete() -> None:
    names = registry.names()
    assert names == sorted(names)
    for wanted in (
        "resnet18-body",
        "resnet18-hand",
        "densenet121-body",
        "human-pose-estimation-0001",
    ):
        assert wanted in names


# user networks ------------------------------------------------------------------------------------
def test_a_network_of_ones_own(user_network: UserNetwork) -> None:
    folder = user_network("my-net", aliases=["mine"])
    assert "my-net" in registry.names()
    assert find("MINE").path == folder / "manifest.json"
    assert installed(find("mine")) is None
    (folder / "net.onnx").write_bytes(b"\x08")
    assert installed(find("mine")) == folder / "net.onnx"
    (folder / "FP32").mkdir()
    (folder / "FP32" / "net.onnx").write_bytes(b"\x08")
    assert installed(find("mine")) == folder / "FP32" / "net.onnx"


def test_it_may_bring_its_topology_and_colours(user_network: UserNetwork) -> None:
    folder = user_network("my-net", topology="limb.json", colors=[[1, 2, 3], [4, 5, 6]])
    (folder / "limb.json").write_text(json.dumps(LIMB))
    (folder / "net.onnx").write_bytes(b"\x08")
    network = resolve("my-net")
    assert network.topology is not None
    assert network.topology.keypoints == ("a", "b")
    assert network.topology.colors == ((1, 2, 3, 255), (4, 5, 6, 255))


def test_it_wins_over_a_shipped_one(user_network: UserNetwork) -> None:
    user_network("resnet18-body", description="retrained")
    assert find("resnet18-body").description == "retrained"
    assert registry.names().count("resnet18-body") == 1


def test_a_broken_manifest_breaks_only_its_own_network(user_network: UserNetwork) -> None:
    folder = user_network("my-net", family="sideways")
    assert "my-net" not in registry.names()
    assert find("resnet18-body")
    with pytest.raises(NetworkFileError, match="family"):
        find("my-net")
    assert [str(folder) in str(e) for e in registry.problems()] == [True]


def test_a_broken_one_is_not_replaced_by_the_shipped_one_in_silence(
    user_network: UserNetwork,
) -> None:
    user_network("resnet18-body", family="sideways")
    with pytest.raises(NetworkFileError, match="family"):
        find("ResNet18_Body")


def test_a_manifest_in_the_wrong_folder(user_network: UserNetwork) -> None:
    folder = user_network("my-net")
    folder.rename(folder.with_name("other"))
    with pytest.raises(NetworkFileError, match=r"'my-net'.*'other'"):
        find("other")


def test_of_two_broken_manifests_the_asked_one_is_reported(user_network: UserNetwork) -> None:
    user_network("a-net", family="sideways")
    user_network("b-net", metrics=3)
    with pytest.raises(NetworkFileError, match=r"b-net.*metrics"):
        find("b-net")


# installed ----------------------------------------------------------------------------------------
def test_variants() -> None:
    manifest = find("human-pose-estimation-0001")
    assert registry.find_variant(manifest).name == "FP32"
    assert registry.find_variant(manifest, "fp16_int8").name == "FP16-INT8"
    with pytest.raises(UnknownNameError, match="FP32, FP16, FP16-INT8"):
        registry.find_variant(manifest, "int4")
    assert installed(manifest) is None
    model = put(manifest, "FP16")
    assert installed(manifest) == installed(manifest, "fp16") == model
    assert installed(manifest, "FP32") is None
    assert resolve(manifest.name).variant == "FP16"  # what is there, rather than a download
    first = put(manifest, "FP32")
    assert installed(manifest) == first


def test_empty_and_half_installed_files_do_not_count() -> None:
    manifest = find("human-pose-estimation-0001")
    model = put(manifest, "FP32")
    model.write_bytes(b"")
    assert installed(manifest, "FP32") is None
    model.write_bytes(b"<net/>")
    model.with_suffix(".bin").write_bytes(b"")
    assert installed(manifest, "FP32") is None


def test_not_installed_names_what_was_looked_for_where() -> None:
    with pytest.raises(NetworkFileError) as e:
        resolve("resnet18-body", download=False)
    text = str(e.value)
    assert str(networks_home() / "resnet18-body" / "FP32" / "pose_resnet18_body.onnx") in text
    assert "edgepose download resnet18-body" in text
    with pytest.raises(NetworkFileError, match=r"edgepose download hrnet-w32 --from FILE"):
        resolve("hrnet-w32")


def test_it_is_fetched_on_first_use(web: Web, user_network: UserNetwork) -> None:
    url = web.on("/a", file(tgz({"x/net.onnx": b"\x08\x07"})))
    download = {"file": "n.tar.gz", "urls": [url], "archive": "tar.gz", "members": ["net.onnx"]}
    user_network("my-net", weights={"FP32": {"model": "net.onnx", "downloads": [download]}})
    with pytest.raises(NetworkFileError, match="edgepose download my-net"):
        resolve("my-net", download=False)
    assert web.requests == []
    network = resolve("my-net")
    assert network.model == networks_home() / "my-net" / "FP32" / "net.onnx"
    assert network.variant == "FP32"


# what the options mean ------------------------------------------------------------------------------
def test_a_known_network_with_the_weights_of_a_file(onnx: Path) -> None:
    network = resolve("openpose-mobilenet-v2-small", model=onnx)
    assert network.model == onnx
    assert network.manifest.name == "openpose-mobilenet-v2-small"
    assert network.topology is not None
    assert len(network.topology.keypoints) == 18
    assert network.variant == ""


def test_real_files_of_a_known_network(shared: Path) -> None:
    model = shared / "networks/human-pose-estimation-0001/FP16-INT8/human-pose-estimation-0001.xml"
    network = resolve("hpe-0001", model=model)
    assert network.manifest.input.width == 456
    assert network.model == model


def test_a_custom_network(onnx: Path, topology: Path) -> None:
    network = resolve(
        model=onnx, topology=topology, input_blob="in", output_cmap="heat", output_paf="field"
    )
    assert network.manifest.name == "my-net-v2"
    assert network.manifest.family == "bottom-up"
    assert network.manifest.decoder == {"type": "paf"}
    assert network.manifest.input.name == "in"
    assert (network.manifest.input.width, network.manifest.input.height) == (0, 0)  # the file says
    assert network.manifest.input.mean == (0.485, 0.456, 0.406)
    assert network.manifest.outputs == {"cmap": "heat", "paf": "field"}
    assert network.topology is not None
    assert network.topology.links == ((0, 1),)


def test_a_custom_network_with_a_shipped_topology(onnx: Path) -> None:
    network = resolve(model=str(onnx), topology="human_pose")
    assert network.topology is not None
    assert len(network.topology.links) == 21
    assert network.manifest.outputs == {}


def test_own_colours_and_topology_of_a_known_network(
    onnx: Path, topology: Path, tmp_path: Path
) -> None:
    colors = tmp_path / "colors.txt"
    colors.write_text("1 2 3\n4 5 6\n")
    network = resolve("resnet18-body", model=onnx, topology=topology, colors=colors)
    assert network.topology is not None
    assert network.topology.colors == ((1, 2, 3, 255), (4, 5, 6, 255))
    with pytest.raises(
        NetworkFileError, match=r"found 2, and topology human_pose has 18 keypoints"
    ):
        resolve("resnet18-body", model=onnx, colors=colors)


def test_a_manifest_by_its_path(tmp_path: Path, onnx: Path, topology: Path) -> None:
    data = {
        "name": "x",
        "family": "bottom-up",
        "topology": "limb.json",
        "weights": {"a": {"model": "x.onnx"}},
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(data))
    network = resolve(str(path), model=onnx)
    assert network.topology is not None
    assert network.topology.keypoints == ("a", "b")
    with pytest.raises(NetworkFileError, match="not installed"):
        resolve(str(path))
    with pytest.raises(NetworkFileError, match="does not exist"):
        resolve(str(tmp_path / "none.json"), model=onnx)


def test_model_takes_a_name_too(onnx: Path) -> None:
    """As jetson-inference's --model=resnet18-body."""
    with pytest.raises(NetworkFileError, match="Network resnet18-body"):
        resolve(model="resnet18-body", download=False)


def test_detectors_have_no_topology(onnx: Path) -> None:
    assert resolve("yolox-nano", model=onnx).topology is None


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"model": "{onnx}"}, UsageError, "--topology FILE"),
        ({"topology": "human_pose"}, UsageError, "--model FILE"),
        (
            {"model": "{dir}/none.onnx", "topology": "human_pose"},
            NetworkFileError,
            "does not exist",
        ),
        ({"model": "{dir}/net.pth", "topology": "human_pose"}, NetworkFileError, "edgepose export"),
        ({"model": "{dir}", "topology": "human_pose"}, NetworkFileError, "is not a file"),
        ({"model": "{dir}/empty.onnx", "topology": "human_pose"}, NetworkFileError, "is empty"),
        ({"model": "{dir}/lone.xml", "topology": "human_pose"}, NetworkFileError, "lone.bin"),
        ({"model": "{onnx}", "topology": "nothing"}, NetworkFileError, "human_pose"),
        ({"model": "{onnx}", "topology": "{dir}/none.json"}, NetworkFileError, "does not exist"),
        ({"name": "{onnx}"}, UsageError, "--model"),
        ({"name": "nothing"}, UnknownNameError, "Unknown network"),
        (
            {"name": "resnet18-body", "variant": "INT2"},
            UnknownNameError,
            "variant of resnet18-body",
        ),
        ({"name": "rtmo-s", "model": "{onnx}", "output_cmap": "x"}, UsageError, "one-stage"),
        (
            {"name": "resnet18-body", "model": "{onnx}", "colors": "{dir}/none"},
            NetworkFileError,
            "Colours",
        ),
    ],
)
def test_what_cannot_be_meant(
    options: dict[str, str], kind: type[EdgeposeError], says: str, onnx: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "lone.xml").write_bytes(b"<net/>")
    filled = {k: v.format(onnx=onnx, dir=tmp_path) for k, v in options.items()}
    with pytest.raises(kind) as e:
        resolve(**filled, download=False)  # type: ignore[arg-type]
    assert says in str(e.value)
    assert str(e.value).count("\n") <= 1


# the default network --------------------------------------------------------------------------------
def test_without_a_gpu_the_default_network_is_the_one_in_the_package(heard: list[str]) -> None:
    put(find("resnet18-body"), "FP32")
    network = resolve(gpu=False)
    assert network.manifest.name == EMBEDDED
    assert network.model.is_file()
    assert heard == []


def test_int8_is_for_cpus_that_are_fast_at_it(tmp_path: Path) -> None:
    manifest = find("movenet-multipose")
    assert fast_variant(manifest, gpu=False, int8=True) == "INT8"
    assert fast_variant(manifest, gpu=False, int8=False) == ""
    assert fast_variant(manifest, gpu=True, int8=True) == ""
    assert fast_variant(find("movenet-thunder"), gpu=False, int8=True) == "INT8"
    assert fast_variant(find("yolox-nano"), gpu=False, int8=True) == "", "has no int8 weights"
    assert fast_variant(manifest, gpu=False, int8=False, precision="int8") == "INT8"
    assert resolve("fast", variant="FP16").variant == "FP16"
    assert resolve("fast", gpu=False, precision="fp32").variant == "FP16", "not int8 unasked"
    assert resolve("fast", gpu=False, precision="int8").variant == "INT8"
    info = tmp_path / "cpuinfo"
    assert not has_int8_units(info)
    info.write_text("flags\t\t: fpu sse2 avx2\n")
    assert not has_int8_units(info)
    info.write_text("flags\t\t: fpu avx512_vnni\n")
    assert has_int8_units(info)


def test_what_was_measured_here_decides_among_variants() -> None:
    manifest = find("movenet-multipose")
    for variant in ("FP16", "INT8", "GONE"):
        store_ways(manifest.name, [Timed(variant, "x", 1, "onnxruntime", "", 1.0)])
        expected = "" if variant == "GONE" else variant
        assert fast_variant(manifest, gpu=False, int8=False) == expected
        assert fast_variant(manifest, gpu=False, int8=True) == (expected or "INT8")
        assert fast_variant(manifest, gpu=True, int8=True) == ""


def test_with_a_gpu_it_is_that_of_jetson_inference() -> None:
    model = put(find("resnet18-body"), "FP32")
    assert resolve(gpu=True).model == model


def test_a_gpu_is_known_by_its_driver(tmp_path: Path) -> None:
    node = tmp_path / "nvidiactl"
    assert not has_nvidia_gpu([str(node)])
    node.touch()
    assert has_nvidia_gpu([str(node)])


@pytest.mark.parametrize(
    ("word", "name"),
    [("fast", "movenet-multipose"), ("accurate", "movenet-thunder"), ("hand", "mediapipe-hand")],
)
def test_names_for_people_need_no_download(word: str, name: str) -> None:
    network = resolve(word, download=False)
    assert network.manifest.name == name
    detector = network.manifest.detector
    assert not detector or resolve(detector, download=False).model.is_file()


def test_without_it_the_shipped_one_stands_in(heard: list[str]) -> None:
    network = resolve(download=False, gpu=True)
    assert network.manifest.name == EMBEDDED
    assert network.model.is_file()
    assert len(heard) == 1
    assert f"using {EMBEDDED}" in heard[0]
    with pytest.raises(NetworkFileError, match="resnet18-body"):
        resolve("resnet18-body", download=False)  # asked for by name: no stand-in
    with pytest.raises(NetworkFileError, match="resnet18-body"):
        resolve(variant="FP32", download=False)
    assert not failed_lately(), "nobody tried"


def test_what_failed_is_not_tried_by_every_run(
    web: Web, user_network: UserNetwork, heard: list[str]
) -> None:
    d = {
        "file": "n.tar.gz",
        "urls": [web.on("/a", status(404))],
        "archive": "tar.gz",
        "members": ["net.onnx"],
    }
    weights = {"FP32": {"model": "net.onnx", "downloads": [d]}}
    user_network("resnet18-body", weights=weights)
    for _ in range(3):
        assert resolve(gpu=True).manifest.name == EMBEDDED
    assert len(web.requests) == 1
    assert len([s for s in heard if f"using {EMBEDDED}" in s]) == 1, "once a day is enough"
    assert not failed_lately(within=0)
    web.on("/a", file(tgz({"net.onnx": b"\x08"})))
    assert resolve("resnet18-body").variant == "FP32"  # by name it is tried at once
    assert resolve(gpu=True).manifest.name == "resnet18-body"


def test_where_nothing_stands_in_the_error_is_that_of_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEPOSE_OFFLINE", "1")
    with pytest.raises(DownloadError, match="resnet18-body"):
        resolve(gpu=True, variant="FP32")  # a variant of it is asked for, not any network
