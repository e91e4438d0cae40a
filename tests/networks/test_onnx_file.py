"""The outline of ONNX files, against the onnx package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgepose.errors import NetworkFileError
from edgepose.networks.onnx_file import (
    Node,
    OnnxOutline,
    Tensor,
    check_external,
    model_digest,
    read_outline,
)
from edgepose.paths import data_networks
from tests.conftest import Material
from tests.engines.conftest import Maker
from tests.engines.onnx_nets import pose_like, write

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


def test_outline_of_a_small_network(onnx_file: Maker) -> None:
    outline = read_outline(onnx_file("n.onnx", ("n", 3, 32, None)))
    assert outline.inputs == (Tensor("x", "float32", (-1, 3, 32, -1)),)
    assert [t.name for t in outline.outputs] == ["cmap", "paf"]
    assert outline.nodes[0] == Node("Conv", "stem", ("y",))
    assert (outline.opset, outline.external, outline.quantised) == (17, (), False)


def test_real_networks_read_as_the_onnx_package_reads_them(shared: Material) -> None:
    others = shared.find("networks") or data_networks()
    for path in sorted({*data_networks().glob("*.onnx"), *others.rglob("*.onnx")}):
        outline, model = read_outline(path), onnx.load(path)
        assert len(outline.nodes) == len(model.graph.node) > 10, path
        for mine, theirs in zip(outline.nodes, model.graph.node, strict=True):
            assert mine == Node(theirs.op_type, theirs.name, tuple(theirs.output))
        weights = {w.name for w in model.graph.initializer}
        names = [i.name for i in model.graph.input if i.name not in weights]
        assert [t.name for t in outline.inputs] == names
        assert outline.opset == model.opset_import[0].version


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=NAMES,
    dims=st.lists(st.one_of(st.integers(1, 2**40), NAMES, st.none()), max_size=6),
    kind=st.sampled_from([TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64]),
)
def test_any_input_survives(
    tmp_path: Path, name: str, dims: list[int | str | None], kind: int
) -> None:
    graph = helper.make_graph([], "g", [helper.make_tensor_value_info(name, kind, dims)], [])
    outline = read_outline(write(tmp_path / "m.onnx", helper.make_model(graph)))
    dtype = {1: "float32", 10: "float16", 7: "int64"}[kind]
    shape = tuple(d if isinstance(d, int) else -1 for d in dims)
    assert outline.inputs == (Tensor(name, dtype, shape),)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_in_one_line_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    good = pose_like().SerializeToString()
    cut = data.draw(st.integers(1, len(good)))
    at = data.draw(st.integers(0, cut - 1))
    noise = data.draw(st.binary(max_size=8))
    path = tmp_path / "bad.onnx"
    path.write_bytes(good[:at] + noise + good[at + len(noise) : cut])
    message = ""
    try:
        read_outline(path)
    except NetworkFileError as e:
        message = str(e)
    assert not message or "damaged, cut off or not an ONNX file" in message
    assert "\n" not in message


@given(st.binary(min_size=1, max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(content)
    try:
        read_outline(path)
    except NetworkFileError:
        return
    assert onnx.load_model(path, load_external_data=False).HasField("graph")


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.999])
def test_every_truncation_is_noticed(onnx_file: Maker, tmp_path: Path, part: float) -> None:
    good = onnx_file().read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(good[: max(1, int(len(good) * part))])
    with pytest.raises(NetworkFileError, match="cut off"):
        read_outline(cut)


def test_empty_and_missing(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    for name in ("empty.onnx", "missing.onnx"):
        with pytest.raises(NetworkFileError):
            read_outline(tmp_path / name)


def test_operators_of_other_domains_and_quantised_networks(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Gelu", ["q"], ["y"], domain="com.microsoft"),
    ]
    weights = [
        numpy_helper.from_array(np.array(0.5, "f"), "s"),
        numpy_helper.from_array(np.array(0, "b"), "z"),
    ]
    io = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", io[:1], io[1:], weights)
    imports = [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("", 15)]
    model = helper.make_model(graph, opset_imports=imports)
    outline = read_outline(write(tmp_path / "q.onnx", model))
    assert outline.quantised
    assert outline.nodes[1].operator == "com.microsoft.Gelu"
    assert outline.opset == 15


def test_digest_covers_weights_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(pose_like(), path, save_as_external_data=True, location="m.data", size_threshold=0)
    external = read_outline(path).external
    assert external == ("m.data",)
    before = model_digest(path, external)
    assert before == model_digest(path, external)
    content = bytearray((tmp_path / "m.data").read_bytes())
    content[0] ^= 1
    (tmp_path / "m.data").write_bytes(content)
    assert model_digest(path, external) != before
    (tmp_path / "m.data").unlink()
    with pytest.raises(NetworkFileError, match=r"needs .*m\.data"):
        model_digest(path, external)
    with pytest.raises(
        NetworkFileError, match=r"needs its weights beside it: .*m\.data is missing"
    ):
        check_external(path, read_outline(path))


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    outline = OnnxOutline((), (), (), 17, (location,))
    with pytest.raises(NetworkFileError, match="outside its folder"):
        check_external(tmp_path / "m.onnx", outline)


@pytest.mark.parametrize("name", ["/dev/zero", "../w.bin", "x" * 5000, "a/" * 2000 + "b", "a\0b"])
def test_weights_are_looked_for_beside_the_model_only(onnx_file: Maker, name: str) -> None:
    path = onnx_file()
    outline = replace(read_outline(path), external=(name,))
    for look in (lambda: check_external(path, outline), lambda: model_digest(path, (name,))):
        with pytest.raises(NetworkFileError, match="outside its folder"):
            look()
