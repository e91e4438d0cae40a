"""Run an ONNX network of your own with a topology of your own.

usage: python examples/custom_network.py [NETWORK.onnx] [SOURCE]
It answers maps (1, K, H, W) and fields (1, 2 L, H, W). Here edgepose-lite-body of the repository stands for yours."""

import json
import sys
import tempfile
from pathlib import Path

from edgepose import EdgeposeError, PoseNet
from edgepose.estimators import EstimatorOptions
from edgepose.networks.registry import find, installed
from edgepose.networks.topology import load_topology


def main(model=None, uri="test://people?rate=0&frames=1"):
    known = load_topology("human_pose")
    topology = {
        "supercategory": "person",
        "keypoints": [f"my_{name}" for name in known.keypoints],
        "skeleton": [[a + 1, b + 1] for a, b in known.links],  # as in COCO: from 1
    }
    options = EstimatorOptions(size=(256, 256))  # where the ONNX file leaves its size open
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "topology.json"
        file.write_text(json.dumps(topology))
        weights = model or installed(find("edgepose-lite-body"))
        with PoseNet(model=weights, topology=file, options=options) as net:
            for _, poses in net.stream(uri):
                for pose in poses:
                    print([f"{k.name} {k.x:.0f},{k.y:.0f}" for k in pose.keypoints])


if __name__ == "__main__":
    if sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except EdgeposeError as error:
        sys.exit(str(error))
