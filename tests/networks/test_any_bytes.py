"""Whatever a file holds, its reader answers or raises the error that its page promises; nothing else.

The readers of networks and engines, on files that were right before some bytes of them changed, and on
JSON of every shape: bottomless, with endless numbers, halves of characters, names that no disk takes.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.engines.cache import PlanCache, PlanKey, Sidecar, sidecar_path
from edgepose.errors import EdgeposeError
from edgepose.gestures.features import Features
from edgepose.gestures.taught import Taught, as_json, load_taught
from edgepose.networks import measured
from edgepose.networks.bundle import install_bundle
from edgepose.networks.folders import RECORD, damaged_files
from edgepose.networks.manifest import load_manifest
from edgepose.networks.model_file import check_model_file
from edgepose.networks.onnx_file import read_outline
from edgepose.networks.pins import pins_file, read_pins
from edgepose.networks.topology import load_colors, load_topology
from edgepose.networks.unpack import Kind, Limits, entries, read_entry
from edgepose.paths import data_networks, home
from tests.engines.onnx_nets import pose_like

PLAN = b"ptrt" + bytes(range(256)) * 4
KEY = PlanKey("a" * 64, "tensorrt", "10.3.0", "Orin", "8.7", "12.6")


@dataclass(frozen=True)
class Reader:
    """A reader of one file; shown by its name.

    Attributes:
        name: of the file below the test's folder. seed: bytes that it accepts.
        read: reads the file; may raise EdgeposeError.
    """

    name: str
    seed: bytes = field(repr=False)
    read: Callable[[Path], Any] = field(repr=False)


def archive(kind: Kind) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
            z.writestr("a/net.onnx", PLAN)
        return out.getvalue()
    mode = "w:gz" if kind == "tar.gz" else "w"
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("a/net.onnx", PLAN), ("é" * 90, b"x")):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return out.getvalue()


def unpacking(kind: Kind) -> Reader:
    limits = Limits(bytes=1 << 20, files=50)
    return Reader(
        f"a.{kind}", archive(kind), lambda p: [read_entry(e, p) for e in entries(p, kind, limits)]
    )


def read_sidecars(path: Path) -> None:
    """All that a build, `engines list` and `engines import` ask of a plan's sidecar."""
    path.with_name("net.engine").write_bytes(PLAN)
    cache = PlanCache(path.parent)
    for entry in cache.entries():
        assert entry.damage is not None
        assert cache.damage(entry.path, KEY) is not None
    cache.look_up("net", replace(KEY, driver="12.7"))
    cache.calibrated("net", KEY)


def read_everything_pinned(path: Path) -> None:
    pins_file().parent.mkdir(parents=True, exist_ok=True)
    pins_file().write_bytes(path.read_bytes())
    read_pins()


def read_measured(path: Path) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "measured.json").write_bytes(path.read_bytes())
    for row in measured.load().values():
        float(row["ms"])


def read_ir(path: Path) -> None:
    path.with_suffix(".bin").write_bytes(b"x")
    check_model_file(path)


def shipped(name: str) -> bytes:
    return (data_networks() / name).read_bytes()


def taught() -> bytes:
    """Two signs of a hand, as `edgepose teach train` writes them."""
    names = load_topology("mediapipe_hand").keypoints
    count = Features(names, 1).count
    rows = np.arange(2.0 * count).reshape(2, count) / count
    signs = Taught(
        ("a", "b"),
        names,
        0.0,
        rows[0],
        rows[0] + 1,
        rows,
        rows[:, 0],
        rows,
        rows[:, 0],
        rows[:, 0] + 1,
    )
    return json.dumps(as_json(signs)).encode()


RECORDED = {"network": "n", "files": {"a.onnx": {"bytes": 3, "sha256": "0" * 64}}}
SIDECAR = Sidecar(KEY, "net", "/net.onnx", len(PLAN), "0" * 64, 1.0, 2.0, {"x": ["f", [1]]})
PIN = "\t".join(["0" * 64, "12", "2026-01-01T00:00:00Z", "https://h/a", "n/FP32/a.onnx"]) + "\n"
JSON_READERS = (
    Reader("manifest.json", shipped("rtmpose-m.json"), load_manifest),
    Reader("topology.json", shipped("human_pose.json"), load_topology),
    Reader("net.engine.json", json.dumps(SIDECAR.to_json()).encode(), read_sidecars),
    Reader(RECORD, json.dumps(RECORDED).encode(), lambda p: damaged_files(p.parent)),
    Reader("a.gestures", taught(), load_taught),
    Reader("measured", b'{"a": {"ms": 1.5, "engine": "x"}}', read_measured),
)
READERS = (
    *JSON_READERS,
    Reader("colors.txt", b"1 2 3\n4 5 6 7\n", load_colors),
    Reader("lock.tsv", PIN.encode(), read_everything_pinned),
    Reader("net.onnx", pose_like().SerializeToString(), read_outline),
    Reader("net.xml", b'<?xml version="1.0"?>\n<net name="x"></net>', read_ir),
    Reader("all.tar", archive("tar"), install_bundle),
    unpacking("tar"),
    unpacking("tar.gz"),
    unpacking("zip"),
)
BOTTOMLESS = {
    "lists": "[" * 5000 + "]" * 5000,
    "objects": '{"a":' * 5000 + "1" + "}" * 5000,
}
ODD = {
    **BOTTOMLESS,
    "digits": "9" * 5000,
    "too large for a float": "-" + "9" * 400,
    "long name": json.dumps("x" * 5000),
    "up and up": json.dumps("../" * 700),
    **{t: t for t in ("1e999", "NaN", "Infinity", "null", "[]", "{}", "true", "-1", "0.5", '""')},
    **{t: t for t in (r'"\ud800"', r'"a\u0000b"')},
}
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(max_size=4)), max_size=5)
QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def answers(reader: Reader, folder: Path, data: bytes) -> None:
    path = folder / reader.name
    path.write_bytes(data)
    with suppress(EdgeposeError):
        reader.read(path)


@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.name)
def test_the_seeds_are_right(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / reader.name
    path.write_bytes(reader.seed)
    if reader.name != "all.tar":  # a tar, but no bundle
        reader.read(path)


@pytest.mark.parametrize("reader", READERS, ids=lambda r: r.name)
@QUICK
@given(changes=CHANGES, cut=st.integers(0, 1 << 20), whole=st.booleans())
def test_changed_bytes(
    reader: Reader, tmp_path: Path, changes: list[tuple[int, bytes]], cut: int, whole: bool
) -> None:
    data = bytearray(reader.seed)
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new
    answers(reader, tmp_path, bytes(data if whole else data[: cut % (len(data) + 1)]))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = list(enumerate(value)) if isinstance(value, list) else []
    inner = list(value.items()) if isinstance(value, dict) else inner
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


def grafted(seed: bytes, number: int, text: str) -> str:
    """The JSON text with another value (as text, which need not be JSON) at one of its places."""
    mark = "a place of its own"
    value = json.loads(seed)
    all_places = places(value)
    path = all_places[number % len(all_places)]
    if not path:
        return text
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = mark
    return json.dumps(value).replace(json.dumps(mark), text)


@pytest.mark.parametrize("reader", JSON_READERS, ids=lambda r: r.name)
@QUICK
@given(number=st.integers(0, 1 << 16), odd=st.sampled_from(sorted(ODD)))
def test_odd_values(reader: Reader, tmp_path: Path, number: int, odd: str) -> None:
    answers(reader, tmp_path, grafted(reader.seed, number, ODD[odd]).encode())


@pytest.mark.parametrize("reader", JSON_READERS, ids=lambda r: r.name)
@pytest.mark.parametrize("odd", sorted(ODD))
def test_one_odd_file_stops_nothing(reader: Reader, tmp_path: Path, odd: str) -> None:
    answers(reader, tmp_path, ODD[odd].encode())


def test_a_damaged_sidecar_of_another_network_stops_no_build(tmp_path: Path) -> None:
    (tmp_path / "other.fp16.engine").write_bytes(PLAN)
    sidecar_path(tmp_path / "other.fp16.engine").write_text(BOTTOMLESS["lists"])
    cache = PlanCache(tmp_path)
    path = cache.store(PLAN, SIDECAR)
    assert cache.look_up("net", KEY).path == path
    assert [bool(e.damage) for e in cache.entries()] == [False, True]
