"""The manifests and topologies that come with edgepose: consistent, and as they were published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from edgepose.networks import registry
from edgepose.networks.manifest import Manifest, load_manifest
from edgepose.networks.registry import normalise
from edgepose.networks.resolve import own_topology
from edgepose.networks.topology import load_topology, shipped_topologies
from edgepose.paths import data_networks

FILES = sorted(data_networks().glob("*.json"))
MANIFESTS = [load_manifest(f) for f in FILES if f.stem not in shipped_topologies()]
TOPOLOGIES = shipped_topologies()
# sizes and sha384 of Open Model Zoo 2023.0, NVIDIA's files and addresses, COCO AP of OpenMMLab's files
PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "published.json").read_text())


def by_name(m: Manifest) -> str:
    return m.name


def test_every_file_is_a_manifest_or_a_topology() -> None:
    assert {m.name for m in MANIFESTS} == set(registry.names())
    assert len(MANIFESTS) + len(TOPOLOGIES) == len(FILES)
    assert len(MANIFESTS) >= 22


def test_names_and_aliases_are_unique() -> None:
    words = Counter(normalise(w) for m in MANIFESTS for w in {m.name, *m.aliases})
    assert [w for w, n in words.items() if n > 1] == []


@pytest.mark.parametrize("m", MANIFESTS, ids=by_name)
def test_a_manifest(m: Manifest) -> None:
    assert m.path is not None
    assert m.path.stem == m.name
    assert m.license
    assert m.description
    assert m.homepage.startswith("https://")
    assert (
        m.decoder["type"]
        in {
            "bottom-up": ("paf",),
            "top-down": ("heatmap", "simcc", "keypoints", "hand-landmark"),
            "one-stage": ("rtmo", "movenet", "yolo", "yolo-pose"),
            "detector": ("yolox", "ssd", "palm", "yolo"),
        }[m.family]
    )
    assert min(m.input.width, m.input.height) > 0
    for weights in m.weights.values():
        assert weights.model.endswith((".onnx", ".xml"))
        assert not weights.shipped or len(weights.sha256) == 64
        for d in weights.downloads:
            assert all(u.startswith("https://") for u in d.urls)
            assert bool(d.archive) == d.file.endswith((".tar.gz", ".zip"))
            assert not d.archive or weights.model in d.members
        if weights.downloads and not any(d.archive for d in weights.downloads):
            assert weights.model in [d.file for d in weights.downloads]
    if not any(w.downloads or w.shipped for w in m.weights.values()):
        assert m.notes, "a user must learn how to get it"


@pytest.mark.parametrize("m", [m for m in MANIFESTS if m.family != "detector"], ids=by_name)
def test_its_topology(m: Manifest) -> None:
    topology = own_topology(m)
    colors = m.colors or topology.colors
    assert len(colors) == len(topology.keypoints)
    if m.family == "bottom-up":
        first, end = m.decoder.get("paf_channels", [0, 2 * len(topology.links)])
        assert end - first == 2 * len(topology.links)
        assert sorted(topology.table[:, :2].ravel()) == list(range(end - first))
        first, end = m.decoder.get("cmap_channels", [0, len(topology.keypoints)])
        assert end - first == len(topology.keypoints)
    if m.family == "top-down":
        assert registry.find(m.detector).family == "detector"


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_colours_can_be_told_apart(name: str) -> None:
    colors = load_topology(name).colors
    assert len(set(colors)) == len(colors)
    # seen on dark and on bright pictures: never near black nor near white
    assert all(max(c[:3]) >= 170 and min(c[:3]) <= 150 and c[3] == 255 for c in colors)


@pytest.mark.parametrize(
    ("name", "keypoints", "links"),
    [
        ("human_pose", 18, 21),
        ("hand_pose", 21, 20),
        ("openpose_18", 18, 19),
        ("coco_17", 17, 19),
        ("mediapipe_hand", 21, 21),
    ],
)
def test_topologies(name: str, keypoints: int, links: int) -> None:
    t = load_topology(name)
    assert len(t.keypoints) == keypoints
    assert len(t.links) == links
    reached = {0}
    for _ in t.keypoints:
        reached |= {b for a, b in t.links if a in reached} | {a for a, b in t.links if b in reached}
    assert reached == set(range(keypoints)), "every keypoint hangs together with the first"


def test_a_limb_has_one_colour_family_on_every_topology() -> None:
    bodies = [load_topology(n) for n in ("human_pose", "openpose_18", "coco_17")]
    for keypoint in bodies[2].keypoints:
        shades = {t.colors[t.keypoints.index(keypoint)] for t in bodies}
        assert len(shades) == 1, keypoint


def test_every_published_address_and_digest_is_there() -> None:
    """The list of addresses that the manifests were made from."""
    published = {d.file: d for m in MANIFESTS for w in m.weights.values() for d in w.downloads}
    for network, variant, name, size, digest in PUBLISHED["intel"]:
        weights = registry.find(network).weights[variant]
        d = next(d for d in weights.downloads if d.file == name)
        assert (d.bytes, d.sha384) == (size, digest)
        assert d.urls[0].endswith(f"/models_bin/1/{network}/{variant}/{name}")
    for tar, box in PUBLISHED["nvidia"].items():
        assert box in published[tar].urls
        assert len(published[tar].urls) == 2


def test_figures_are_those_published() -> None:
    figures = dict(PUBLISHED["openmmlab_ap"])
    for m in MANIFESTS:
        files = [d.file for w in m.weights.values() for d in w.downloads if d.file.endswith(".zip")]
        for file in files:
            ap = m.metrics.get("coco_ap", m.metrics.get("box_ap"))
            assert ap == pytest.approx(figures.pop(file) / 100)
    assert not figures, "every network of the list has a manifest"


def test_shipped_weights_are_unchanged() -> None:
    import hashlib

    for m in MANIFESTS:
        for weights in m.weights.values():
            if weights.shipped:
                data = (data_networks() / weights.model).read_bytes()
                assert hashlib.sha256(data).hexdigest() == weights.sha256


def test_files_are_written_for_people() -> None:
    for file in FILES:
        text = file.read_text()
        assert text.endswith("}\n")
        assert max(map(len, text.splitlines())) < 400
        assert json.loads(text)


def test_the_wheel_stays_small_enough() -> None:
    """These files shrink by a tenth in a wheel, which is to have 45 MB at most; hatch_build.py leaves one out."""
    left_out = "edgepose-lite-body.onnx"
    files = [file for file in data_networks().iterdir() if file.name != left_out]
    assert sum(file.stat().st_size for file in files) < 46e6
