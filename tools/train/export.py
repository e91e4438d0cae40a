"""Write a checkpoint as ONNX: `python -m tools.train.export runs/lite-body/last.pt out.onnx`.

Inputs and outputs are those of trt_pose's networks (`input` -> `cmap`, `paf`), batch, height and
width are free (multiples of 32). Weights are stored as fp16 and cast to fp32 when the engine loads
the file (constant folding leaves no cast in the plan); arithmetic precision is the engine's choice.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .network import N_CMAP, Config, Network, folded

OPSET = 13
KEEP_FP32 = 64  # tensors up to this many values (biases, scales of Resize) stay fp32


class Shipped(nn.Module):
    """The inference half of the network, its last convolution split into the two outputs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = folded(network)
        self.cmap, self.paf = self._part(slice(0, N_CMAP)), self._part(slice(N_CMAP, None))

    def _part(self, channels: slice) -> nn.Conv2d:
        whole = self.network.out
        weight = whole.weight.detach()[channels]
        part = nn.Conv2d(weight.shape[1], weight.shape[0], 1)
        with torch.no_grad():
            part.weight.copy_(weight)
            part.bias.copy_(whole.bias[channels])
        return part

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, _ = self.network.decode(self.network.trunk(x))
        return self.cmap(z), self.paf(z)


def load_checkpoint(path: Path, which: str = "average") -> Network:
    """The "average" or the last ("network") weights of a checkpoint, in their configuration."""
    state = torch.load(path, map_location="cpu")
    network = Network(Config(**state["config"]))
    network.load_state_dict(state[which])
    return network.eval()


def to_onnx(network: Network) -> onnx.ModelProto:
    """ONNX of the inference half, fp32, dynamic batch, height and width."""
    free = {0: "batch", 2: "height", 3: "width"}
    maps = {0: "batch", 2: "map_height", 3: "map_width"}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            Shipped(network).eval(),
            (torch.zeros(1, 3, 256, 256),),
            str(path),
            input_names=["input"],
            output_names=["cmap", "paf"],
            dynamic_axes={"input": free, "cmap": maps, "paf": maps},
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(str(path))
    if network.config.trunk == "movenet":
        pad_below_and_right(model)
    return model


def pad_below_and_right(model: onnx.ModelProto) -> None:
    """Give the trunk's strided convolutions the padding they were trained with, in place."""
    for node in model.graph.node:
        attributes = {a.name: a for a in node.attribute}
        if "/trunk/" in node.name and node.op_type == "Conv" and attributes["strides"].ints[0] == 2:
            attributes["pads"].ints[:] = [0, 0, 1, 1]


def store_half(model: onnx.ModelProto) -> None:
    """Keep big weights as fp16 followed by a Cast to fp32, in place: half the file."""
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size <= KEEP_FP32:
            continue
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name + "_fp16"))
        casts.append(helper.make_node("Cast", [name + "_fp16"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)


def multiply_adds(model: onnx.ModelProto, size: int = 256) -> float:
    """GMAC of the convolutions for one size x size image."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for dim, value in zip(
        model.graph.input[0].type.tensor_type.shape.dim, (1, 3, size, size), strict=True
    ):
        dim.dim_value = value
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*inferred.value_info, *inferred.output)
    }
    sizes = {i.name.removesuffix("_fp16"): list(i.dims) for i in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            _, _, height, width = shapes[node.output[0]]
            total += int(np.prod(sizes[node.input[1]])) * height * width
    return total / 1e9


def describe(path: Path) -> dict[str, Any]:
    """Size, arithmetic, operators and checksum of an ONNX file."""
    model = onnx.load(str(path))
    return {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "gmac_256": round(multiply_adds(model), 3),
        "parameters": int(sum(np.prod(i.dims) for i in model.graph.initializer)),
        "opset": model.opset_import[0].version,
        "operators": sorted({n.op_type for n in model.graph.node}),
    }


def note_checksum(file: Path) -> None:
    """Write the file's sha256 into the manifest of the same name beside it, where there is one."""
    manifest = file.with_suffix(".json")
    if manifest.is_file():
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        text = manifest.read_text()
        manifest.write_text(re.sub(r'("sha256": ")[0-9a-f]*"', rf'\g<1>{digest}"', text, count=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--fp32", action="store_true", help="store weights in full precision")
    parser.add_argument("--last", action="store_true", help="the last weights, not the average")
    options = parser.parse_args()
    which = "network" if options.last else "average"
    model = to_onnx(load_checkpoint(options.checkpoint, which))
    if not options.fp32:
        store_half(model)
    model.producer_name, model.doc_string = "edgepose tools/train", "edgepose-lite-body"
    onnx.checker.check_model(model, full_check=True)
    temporary = options.onnx.with_suffix(".part")
    onnx.save(model, str(temporary))
    temporary.replace(options.onnx)
    note_checksum(options.onnx)
    for key, value in describe(options.onnx).items():
        print(f"{key}: {value}")


if __name__ == "__main__":
    main()
