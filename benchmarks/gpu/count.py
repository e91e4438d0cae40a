"""What each kernel costs, counted where no GPU is: thread instructions and bytes of the shipped PTX.

    python benchmarks/gpu/count.py [--store]

The PTX runs on the CPU (tests/cuda/ptx_machine.py, needs a C++ compiler). Each row is compared with what
benchmarks/results/gpu-count.json holds; --store replaces that. Counts are exact and the same on every machine;
they say nothing of caches, or of how fast a GPU is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from common import RESULTS, machine, store  # noqa: E402
from frames import frame  # noqa: E402

from edgepose.cuda.compile import digest, shipped_ptx  # noqa: E402
from edgepose.cuda.kernels import DecodeBlock, Kernels, PeopleBlock  # noqa: E402
from edgepose.cuda.pictures import Planes, Shape, TensorLayout, Window, address_of  # noqa: E402
from edgepose.decode.movenet import MOST  # noqa: E402
from edgepose.geometry import crop, letterbox, stretch  # noqa: E402
from edgepose.networks.topology import load_topology  # noqa: E402
from edgepose.paths import kernels_cache  # noqa: E402
from tests.cuda.ptx_machine import PtxMachine, PtxRunner  # noqa: E402
from tests.decode.movenet_maps import empty, put  # noqa: E402

Case = Callable[[Kernels, PtxRunner], None]


def preprocess(
    size: tuple[int, int], side: int, kind: str = "rgb8", place: Any = letterbox
) -> Case:
    """A picture of a size to a square input in float16."""

    def run(on: Kernels, memory: PtxRunner) -> None:
        width, height = size
        if kind == "nv12":
            luma = memory.allow(np.full((height, width), 99, np.uint8))
            chroma = memory.allow(np.full((height // 2, width // 2, 2), 99, np.uint8))
            picture = Planes.nv12(luma, chroma)
        else:
            picture = Planes.packed(memory.allow(np.full((height, width, 3), 99, np.uint8)))
        layout = TensorLayout(side, side, half=True)
        on.preprocess([picture], [place(size, (side, side))], layout)

    return run


def crops(window: Window | None = None) -> Case:
    """Eight people of 300 pixels, upright; what lies outside of a window is masked."""

    def run(on: Kernels, memory: PtxRunner) -> None:
        picture = Planes.packed(memory.allow(np.full((1080, 1920, 3), 99, np.uint8)))
        places = [crop((200 * i + 150, 500), (225, 300), (192, 256), 0.0) for i in range(8)]
        windows = [window] * 8 if window else []
        on.preprocess([picture] * 8, places, TensorLayout(192, 256, half=True), None, None, windows)

    return run


def turned_crops(on: Kernels, memory: PtxRunner) -> None:
    """Two hands of 300 pixels."""
    picture = Planes.packed(memory.allow(np.full((1080, 1920, 3), 99, np.uint8)))
    places = [crop((500 * i + 300, 500), (300, 300), (224, 224), 0.4) for i in range(2)]
    on.preprocess([picture] * 2, places, TensorLayout(224, 224, half=True))


def overlay(on: Kernels, memory: PtxRunner) -> None:
    """Fifteen people's links and keypoints on 1080p."""
    at = np.random.default_rng(0).uniform(0, 1800, 585)
    shapes = [Shape("capsule", (x, 500), (x + 40, 600), 4, (255, 0, 0), 0.8) for x in at]
    on.overlay(memory.allow(np.zeros((1080, 1920, 3), np.uint8)), shapes)


def decode(people: int) -> Case:
    """Peaks and line integrals of 18 maps of 56x56."""

    def run(on: Kernels, memory: PtxRunner) -> None:
        topology = load_topology("human_pose")
        cmap, paf = (memory.allow(maps) for maps in frame(topology, people, 1))
        block = DecodeBlock(18, len(topology.links), 100)
        words = memory.empty((block.item_words,), np.dtype(np.int32))
        far = memory.empty((block.far_words,), np.dtype(np.float32))
        table = memory.allow(np.ascontiguousarray(topology.table))
        at = address_of(words)
        on.peaks(address_of(cmap), 1, 0, (56, 56), 0.1, 5, block, at)
        tail = (address_of(table), 10, block, at, address_of(far))
        on.line_scores(address_of(paf), 1, 0, (56, 56), *tail)

    return run


def enlarge(on: Kernels, memory: PtxRunner) -> None:
    """Maps of human-pose-estimation-0001, whose fields take as much for each of 38."""
    maps = memory.allow(np.full((1, 18, 32, 57), 0.1, np.float32))
    out = memory.empty((1, 18, 64, 114), np.dtype(np.float32))
    on.enlarge(address_of(maps), (1, 18, 32, 57), maps.size, 2, address_of(out))


def movenet(people: int) -> Case:
    """MoveNet's six maps of 384x384 pixels; people as high as half of the picture."""

    def run(on: Kernels, memory: PtxRunner) -> None:
        maps = empty(96, 96)
        for i in range(people):
            put(maps, 30 + 7 * (i % 5), 12 + 72 * i // people, half=24)
        block = PeopleBlock(17, MOST)
        words = memory.empty((1, block.item_words), np.dtype(np.int32))
        candidates = memory.empty((96, 96), np.dtype(np.int32))
        at = {name: address_of(memory.allow(m)) for name, m in maps.items()}
        on.people(at, 1, (96, 96), 0.05, block, address_of(words), address_of(candidates))

    return run


CASES: dict[str, Case] = {
    "720p rgb8 to 224x224": preprocess((1280, 720), 224),
    "720p nv12 to 224x224": preprocess((1280, 720), 224, "nv12"),
    "1080p rgb8 to 224x224": preprocess((1920, 1080), 224),
    "1080p rgb8 to 640x640": preprocess((1920, 1080), 640),
    "1080p nv12 to 640x640": preprocess((1920, 1080), 640, "nv12"),
    "1080p rgb8 stretched to 640x640": preprocess((1920, 1080), 640, "rgb8", stretch),
    "4K rgb8 to 640x640": preprocess((3840, 2160), 640),
    "8 crops of 1080p to 192x256": crops(),
    "8 crops, half of each masked": crops((slice(0, 256), slice(48, 144))),
    "2 turned crops of 1080p to 224x224": turned_crops,
    "18 maps of 32x57 enlarged twice": enlarge,
    "decode 5 people": decode(5),
    "decode 30 people": decode(30),
    "movenet 1 person": movenet(1),
    "movenet 6 people": movenet(6),
    "movenet 20 people": movenet(20),
    "overlay of 15 people on 1080p": overlay,
}


def counts(ptx: PtxMachine, run: Case) -> Iterator[tuple[str, dict[str, int]]]:
    """Each kernel that a case launches, with what its threads executed and moved."""
    memory = PtxRunner(ptx)
    before = {name: ptx.hits(name) for name in ptx.blocks}
    run(Kernels(memory), memory)
    memory.close()
    for name, blocks in ptx.blocks.items():
        times = np.array(ptx.hits(name)) - before[name]
        if not times.any():
            continue
        yield (
            name,
            {
                "instructions": int(times @ [b.opcodes.total() for b in blocks]),
                "barriers": int(times @ [b.opcodes["bar.sync"] for b in blocks]),
                "global_loaded": int(times @ [b.loaded["global"] for b in blocks]),
                "global_stored": int(times @ [b.stored["global"] for b in blocks]),
                "shared_bytes": int(
                    times @ [b.loaded["shared"] + b.stored["shared"] for b in blocks]
                ),
            },
        )


def main() -> None:
    """Count, print beside what was stored, and store where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="keep these counts")
    options = parser.parse_args()
    known = RESULTS / "gpu-count.json"
    stored = json.loads(known.read_text())["figures"]["kernels"] if known.exists() else {}
    kernels_cache().mkdir(parents=True, exist_ok=True)
    ptx = PtxMachine(shipped_ptx().decode(), kernels_cache())
    found: dict[str, Any] = {}
    for case, run in CASES.items():
        for kernel, now in counts(ptx, run):
            label = f"{case}: {kernel}"
            found[label] = now
            before = stored.get(label, {}).get("instructions")
            ratio = f"{now['instructions'] / before:6.3f} of stored" if before else "new"
            moved = (now["global_loaded"] + now["global_stored"]) / 1e6
            print(
                f"{label:<56}{now['instructions'] / 1e6:9.2f} M thread instructions"
                f"{moved:8.2f} MB  {ratio}",
                file=sys.stderr,
            )
    if options.store:
        store("gpu-count", {"ptx": digest(), "kernels": found}, machine())


if __name__ == "__main__":
    main()
