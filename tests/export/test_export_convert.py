"""Checkpoints as users have them, to installed networks; and those that must be refused."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the export extra (PyTorch) is not installed")

from edgepose.engines import EngineOptions, load_engine  # noqa: E402
from edgepose.errors import EdgeposeError, NetworkFileError, OutputError, UsageError  # noqa: E402
from edgepose.estimators import EstimatorOptions, make_estimator  # noqa: E402
from edgepose.export.architectures import find_architecture  # noqa: E402
from edgepose.export.checkpoint import read_checkpoint  # noqa: E402
from edgepose.export.convert import ExportOptions, convert  # noqa: E402
from edgepose.networks import registry  # noqa: E402
from edgepose.networks.resolve import resolve  # noqa: E402
from edgepose.networks.topology import load_topology  # noqa: E402
from edgepose.timing import Stopwatch  # noqa: E402
from edgepose.types import Frame  # noqa: E402

SMALL = (64, 64)


def weights(name: str, size: tuple[int, int] = SMALL, seed: int = 0) -> dict[str, Any]:
    """Random weights of a network with plausible statistics."""
    torch.manual_seed(seed)
    architecture = find_architecture(name)
    module = architecture.build(load_topology(architecture.topology), size)
    state = module.state_dict()
    for key, tensor in state.items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
    return dict(state)


@pytest.fixture(scope="module")
def resnet() -> dict[str, Any]:
    return weights("resnet18-body")


def save(data: Any, folder: Path, name: str = "checkpoint.pth") -> Path:
    file = folder / name
    torch.save(data, file)
    return file


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model, module.", "half, no counters"])
def test_checkpoints_as_they_come(wrapped: str, resnet: dict[str, Any], tmp_path: Path) -> None:
    """The same weights in every wrapping give the same answers as PyTorch's own module."""
    state: Any = dict(resnet)
    if wrapped == "state_dict":
        state = {"epoch": 7, "state_dict": state, "optimizer": {"lr": 0.1}}
    elif wrapped == "model, module.":
        state = {"model": {f"module.{k}": v for k, v in state.items()}}
    elif wrapped == "half, no counters":
        state = {k: v.half() for k, v in state.items() if not k.endswith("num_batches_tracked")}
        state = {k: v for k, v in state.items() if not k.startswith("0.resnet.fc")}
    file = tmp_path / "out.onnx"
    options = ExportOptions(output=file, size=SMALL, install=False)
    done = convert("resnet18_baseline_att", save(state, tmp_path), options)
    assert done.difference < 1e-4
    assert done.loaded + done.unused == len(resnet)
    assert done.network == ""
    module = find_architecture("resnet18-body").build(load_topology("human_pose"), SMALL)
    module.load_state_dict(resnet)
    feed = np.random.default_rng(1).random((2, 3, 64, 64)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(feed))
    found = load_engine(file, EngineOptions(engine="onnxruntime", threads=1)).infer({"input": feed})
    loose = 2e-2 if wrapped.startswith("half") else 1e-4
    for name, tensor in zip(("cmap", "paf"), expected, strict=True):
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=loose)


def test_installed_by_name_and_run(resnet: dict[str, Any], tmp_path: Path) -> None:
    done = convert("resnet18-body", save(resnet, tmp_path), ExportOptions(size=SMALL, name="Mine"))
    assert done.network == "mine"
    network = resolve("mine", download=False)
    assert str(network.model) == done.file
    assert (network.manifest.input.width, network.manifest.input.height) == SMALL
    assert network.manifest.input.mean == (0.485, 0.456, 0.406)
    assert network.topology == load_topology("human_pose")
    estimator = make_estimator(network, EstimatorOptions(engine=EngineOptions(threads=1)))
    estimator.estimate([Frame(np.zeros((50, 80, 3), np.uint8))], Stopwatch())
    estimator.close()
    # again, with other weights: they replace the former
    before = network.model.read_bytes()
    other = weights("resnet18-body", seed=1)
    convert("resnet18-body", save(other, tmp_path), ExportOptions(size=SMALL, name="mine"))
    assert resolve("mine", download=False).model.read_bytes() != before


def test_the_networks_own_size_installs_under_its_own_name(
    resnet: dict[str, Any], tmp_path: Path
) -> None:
    done = convert("resnet18-body", save(resnet, tmp_path), ExportOptions(batch=1))
    assert done.network == "resnet18-body"
    network = resolve("resnet18-body", download=False)
    assert network.model.is_file()
    engine = load_engine(network.model, EngineOptions(engine="onnxruntime", threads=1))
    assert engine.inputs[0].shape == (1, 3, 224, 224)
    assert not (network.model.parents[1] / "manifest.json").exists()


def test_a_topology_of_the_users_own_travels_along(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    names = ["nose", "tail", "paw"]
    mine.write_text(json.dumps({"name": "cat", "keypoints": names, "skeleton": [[1, 2], [2, 3]]}))
    architecture = find_architecture("resnet18-body")
    state = architecture.build(load_topology(mine), SMALL).state_dict()
    options = ExportOptions(size=SMALL, topology=str(mine))
    file = save(state, tmp_path)
    done = convert("resnet18-body", file, options)
    assert done.network == "resnet18-body-64x64-cat"
    mine.unlink()
    network = resolve(done.network, download=False)
    assert network.topology is not None
    assert network.topology.keypoints == tuple(names)
    with pytest.raises(
        NetworkFileError, match=r"4 misshaped: 1\.cmap_conv\.weight \[3, 256.*--top"
    ):
        convert("resnet18-body", file, ExportOptions(size=SMALL))


@pytest.mark.slow
def test_simdr_with_prefixes(tmp_path: Path) -> None:
    state = {f"module.{k}": v for k, v in weights("simdr-w32").items()}
    options = ExportOptions(output=tmp_path / "s.onnx", size=SMALL, install=False)
    done = convert("simdr-w32", save({"state_dict": state}, tmp_path), options)
    assert done.loaded == 1758
    assert done.difference < 1e-4
    engine = load_engine(tmp_path / "s.onnx", EngineOptions(engine="onnxruntime", threads=1))
    assert [t.shape[1:] for t in engine.outputs] == [(17, 128), (17, 128)]


def test_differences_are_listed(resnet: dict[str, Any], tmp_path: Path) -> None:
    state = dict(resnet)
    del state["1.paf_att.bias"]
    state["2.more"] = torch.zeros(3)
    state["1.cmap_conv.weight"] = torch.zeros(19, 256, 1, 1)
    options = ExportOptions(output=tmp_path / "o.onnx", size=SMALL, install=False)
    with pytest.raises(NetworkFileError) as e:
        convert("resnet18-body", save(state, tmp_path), options)
    message = str(e.value)
    assert "1 missing: 1.paf_att.bias" in message
    assert "1 unknown: 2.more" in message
    assert "1.cmap_conv.weight [19, 256, 1, 1] instead of [18, 256, 1, 1]" in message
    assert not (tmp_path / "o.onnx").exists()
    with pytest.raises(NetworkFileError, match=r"missing: .*, and \d+ more.*another network"):
        convert("densenet121-body", save(resnet, tmp_path), options)


def test_weights_that_are_not_finite_are_refused(resnet: dict[str, Any], tmp_path: Path) -> None:
    state = {**resnet, "1.paf_att.bias": torch.full((256,), float("nan"))}
    with pytest.raises(NetworkFileError, match=r"1\.paf_att\.bias not finite"):
        convert("resnet18-body", save(state, tmp_path), ExportOptions(size=SMALL))


class Bomb:
    """What a malicious file holds: an order to run a command when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("kind", ["torch.save", "bare pickle"])
def test_no_code_in_a_file_is_run(kind: str, resnet: dict[str, Any], tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    data = {"state_dict": dict(resnet), "extra": Bomb(mark)}
    file = tmp_path / "bomb.pth"
    if kind == "torch.save":
        torch.save(data, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(NetworkFileError, match=r"runs no code|cannot be read"):
        convert("resnet18-body", file, ExportOptions(size=SMALL))
    assert not mark.exists()
    assert "resnet18-body-64x64" not in registry.names()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a PyTorch file"),
        (b"not a checkpoint", "cannot be read|refused"),
        (b"PK\x03\x04 half an archive", "cannot be read"),
    ],
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "damaged.pth"
    file.write_bytes(content)
    with pytest.raises(NetworkFileError, match=message):
        read_checkpoint(file)


def test_files_without_tensors(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="does not exist"):
        read_checkpoint(tmp_path / "nowhere.pth")
    for data in ({"epoch": 3}, [1, 2], {"model": {"state_dict": {}}}):
        with pytest.raises(NetworkFileError, match="holds no table of tensors"):
            read_checkpoint(save(data, tmp_path))


def test_what_cannot_be_meant(resnet: dict[str, Any], tmp_path: Path) -> None:
    file = save(resnet, tmp_path)
    cases: list[tuple[ExportOptions, type[EdgeposeError], str]] = [
        (ExportOptions(install=False), UsageError, "keep nothing"),
        (ExportOptions(output=tmp_path / "a.txt"), UsageError, r"end in \.onnx"),
        (ExportOptions(size=(100, 64)), UsageError, "multiples of 32"),
        (ExportOptions(size=SMALL, output=tmp_path / "no/a.onnx"), OutputError, "no folder"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            convert("resnet18-body", file, options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pth"]
