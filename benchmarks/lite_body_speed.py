"""edgepose-lite-body at 256x256 against a network of resnet18-body's shapes, same engine, same run.

    python benchmarks/lite_body_speed.py [--threads 2] [--rounds 30]

The rival is built here with random weights: trt_pose's `resnet18_baseline_att` at 224x224 with
56x56 maps (ResNet-18, for each output three 4x4 transposed convolutions of 256 channels and a 3x3
attention), normalisation folded, 7.8 GMAC. The two run in turn, so that a busy machine slows both;
the ratio is that of the medians. Prints a line for people on stderr and JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

LITE = Path(__file__).resolve().parents[1] / "data" / "networks" / "edgepose-lite-body.onnx"


class Builder:
    """Collects nodes and random weights of an ONNX graph; methods answer the output's name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[object] = []
        self.weights: list[TensorProto] = []
        self.rng = np.random.default_rng(seed)

    def add(self, op: str, inputs: list[str], name: str = "", **attributes: object) -> str:
        """One node; its output is called `name` or by its number."""
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        """Random weights that keep activations of the order of one."""
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = self.rng.normal(0, (2 / fan) ** 0.5 if len(shape) > 1 else 0.01, shape)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(self, x: str, cin: int, cout: int, k: int, stride: int = 1, name: str = "") -> str:
        weights = [self.weight(cout, cin, k, k), self.weight(cout)]
        return self.add(
            "Conv",
            [x, *weights],
            name,
            kernel_shape=[k, k],
            strides=[stride] * 2,
            pads=[k // 2] * 4,
        )

    def relu(self, x: str) -> str:
        return self.add("Relu", [x])

    def basic(self, x: str, cin: int, cout: int, stride: int) -> str:
        """ResNet's basic block."""
        y = self.relu(self.conv(x, cin, cout, 3, stride))
        y = self.conv(y, cout, cout, 3)
        skip = x if stride == 1 and cin == cout else self.conv(x, cin, cout, 1, stride)
        return self.relu(self.add("Add", [y, skip]))

    def head(self, x: str, squash: str, channels: int, name: str) -> str:
        """Three upsamplings, attention, 1x1 convolution."""
        cin = 512
        for _ in range(3):
            weights = [self.weight(cin, 256, 4, 4), self.weight(256)]
            x = self.relu(
                self.add(
                    "ConvTranspose",
                    [x, *weights],
                    kernel_shape=[4, 4],
                    strides=[2, 2],
                    pads=[1, 1, 1, 1],
                )
            )
            cin = 256
        attention = self.add(squash, [self.conv(x, 256, 256, 3)])
        return self.conv(self.add("Mul", [x, attention]), 256, channels, 1, name=name)


def resnet18_shapes() -> ModelProto:
    """The rival: input 1x3x224x224, cmap 1x18x56x56, paf 1x42x56x56."""
    b = Builder()
    x = b.relu(b.conv("input", 3, 64, 7, 2))
    x = b.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    cin = 64
    for cout, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = b.basic(b.basic(x, cin, cout, stride), cout, cout, 1)
        cin = cout
    b.head(x, "Sigmoid", 18, "cmap")
    b.head(x, "Tanh", 42, "paf")

    def value(name: str, *shape: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        b.nodes,
        "resnet18-shapes",
        [value("input", 1, 3, 224, 224)],
        [value("cmap", 1, 18, 56, 56), value("paf", 1, 42, 56, 56)],
        b.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def session(model: bytes | str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # As edgepose runs it. Otherwise the threads of one session, turning while they wait, take a core
    # from the other's run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(lite: Path, threads: int, rounds: int) -> dict[str, object]:
    """Median milliseconds of both, run in turn, and their ratio."""
    runs = {
        "edgepose-lite-body": (session(str(lite), threads), 256),
        "resnet18-shapes": (session(resnet18_shapes().SerializeToString(), threads), 224),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 3):
        for name, (engine, size) in runs.items():
            x = np.random.default_rng(i).normal(size=(1, 3, size, size)).astype(np.float32)
            start = time.perf_counter()
            engine.run(None, {"input": x})
            if i >= 3:
                times[name].append((time.perf_counter() - start) * 1e3)
    medians = {name: round(statistics.median(t), 2) for name, t in times.items()}
    ratio = medians["edgepose-lite-body"] / medians["resnet18-shapes"]
    return {
        "engine": f"onnxruntime {ort.__version__}",
        "threads": threads,
        "rounds": rounds,
        "median_ms": medians,
        "fastest_ms": {name: round(min(t), 2) for name, t in times.items()},
        "ratio": round(ratio, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lite", type=Path, default=LITE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    result = measure(options.lite, options.threads, options.rounds)
    print(f"edgepose-lite-body takes {result['ratio']} of the rival's time", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
