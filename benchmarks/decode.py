"""Bottom-up decoding alone, on one thread: compiled, numpy, and trt_pose's own C++ in turn.

    python benchmarks/decode.py [--trt-pose CLONE] [--repeat N] [--synthetic]

Frames are those of the test material's oracle with 1, 5 and 15 people (without its stress frames), or
synthetic ones. With a clone of NVIDIA-AI-IOT/trt_pose its decoder is compiled and runs in turn with
ours on every frame; without one, the times published with the oracle stand beside ours, which were
measured on another machine.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, material, store
from frames import frame

from edgepose.cuda import host_build
from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.networks.topology import Topology, load_topology

PEOPLE = (0, 1, 5, 15)
PUBLISHED_MS = {
    0: 0.057,
    1: 0.064,
    5: 0.101,
    15: 0.250,
}  # of trt_pose's C++, in the oracle's README
Frame = tuple[np.ndarray, np.ndarray]
Decode = Callable[[np.ndarray, np.ndarray], Any]


def oracle_frames(count: int) -> tuple[Topology, list[Frame]]:
    """The oracle's frames with so many people."""
    path = material() / "oracle/trt_pose_parse/trt_pose_parse_oracle.npz"
    with np.load(path) as data:
        chosen = np.flatnonzero((data["n_people"] == count) & (data["noise"] < 0.04))
        cmap, paf = (data[name][chosen].astype(np.float32) for name in ("cmap", "paf"))
        table = data["topology"].tolist()
    names = tuple(f"keypoint {i}" for i in range(18))
    topology = Topology("person", names, tuple((a, b) for _, _, a, b in table))
    return topology, list(zip(cmap, paf, strict=True))


def synthetic_frames(count: int) -> tuple[Topology, list[Frame]]:
    """Twenty synthetic frames with so many people."""
    topology = load_topology("human_pose")
    return topology, [frame(topology, count, seed) for seed in range(20)]


def trt_pose_decoder(clone: Path, folder: Path, topology: Topology) -> Decode:
    """trt_pose's C++ of a clone, compiled with -O3."""
    parse = clone / "trt_pose" / "parse"
    names = ("find_peaks", "refine_peaks", "paf_score_graph", "munkres", "connect_parts")
    sources = [parse / f"{name}.cpp" for name in names]
    missing = [str(path) for path in sources if not path.is_file()]
    compiler = host_build.compiler()
    if missing or compiler is None:
        sys.exit(f"Cannot build trt_pose's decoder: {missing or 'no C++ compiler'}.")
    library = folder / "trt_pose.so"
    wrapper = Path(__file__).with_name("trt_pose_decoder.cpp")
    command = [*compiler, "-std=c++17", "-O3", "-fPIC", "-shared", f"-I{parse}"]
    command += [str(wrapper), *map(str, sources), "-o", str(library)]
    subprocess.run(command, check=True)
    decode = ctypes.CDLL(str(library)).decode
    table = np.ascontiguousarray(topology.table)
    objects = np.empty((100, len(topology.keypoints)), np.int32)

    def run(cmap: np.ndarray, paf: np.ndarray) -> np.ndarray:
        found = decode(
            ctypes.c_void_p(cmap.ctypes.data),
            ctypes.c_void_p(paf.ctypes.data),
            ctypes.c_void_p(table.ctypes.data),
            *cmap.shape[:1],
            len(table),
            *cmap.shape[1:],
            ctypes.c_float(0.1),
            ctypes.c_float(0.1),
            5,
            7,
            100,
            ctypes.c_void_p(objects.ctypes.data),
        )
        return objects[:found]

    return run


def times_in_turn(
    decoders: dict[str, Decode], frames: list[Frame], repeat: int
) -> dict[str, list[float]]:
    """Milliseconds a frame of each decoder; each frame goes to all of them, in changing order."""
    times: dict[str, list[float]] = {name: [] for name in decoders}
    names = list(decoders)
    for turn in range(repeat):
        names = names[1:] + names[:1]
        for cmap, paf in frames:
            for name in names:
                start = time.perf_counter()
                decoders[name](cmap, paf)
                elapsed = (time.perf_counter() - start) * 1e3
                if turn:  # the first round warms up
                    times[name].append(elapsed)
    return times


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--trt-pose", type=Path, metavar="CLONE", help="its C++ runs in turn with ours"
    )
    parser.add_argument("--repeat", type=int, default=15, help="rounds over the frames")
    parser.add_argument(
        "--synthetic", action="store_true", help="frames made here, not the oracle's"
    )
    options = parser.parse_args()
    conditions = machine()
    compiler = host_build.compiler() or ["none"]
    version = subprocess.run([compiler[0], "--version"], capture_output=True, text=True)
    conditions["compiler"] = version.stdout.partition("\n")[0]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    figures: dict[str, Any] = {"frames": "synthetic" if options.synthetic else "oracle"}
    with tempfile.TemporaryDirectory() as folder:
        for count in PEOPLE:
            topology, frames = (synthetic_frames if options.synthetic else oracle_frames)(count)
            decoders: dict[str, Decode] = {
                "host": BottomUpDecoder(topology, backend="host"),
                "numpy": BottomUpDecoder(topology, backend="numpy"),
            }
            if options.trt_pose:
                decoders["trt_pose"] = trt_pose_decoder(options.trt_pose, Path(folder), topology)
                check_same(decoders, frames[0])
            times = times_in_turn(decoders, frames, options.repeat)
            figures[f"{count} people"] = report(count, times, len(frames))
    store("decode" + ("_synthetic" if options.synthetic else ""), figures, conditions)


def check_same(decoders: dict[str, Decode], sample: Frame) -> None:
    """The compared decoders find the same objects."""
    ours = decoders["host"](*sample).keypoints[..., 2] > 0
    theirs = decoders["trt_pose"](*sample) >= 0
    if not np.array_equal(ours, theirs):
        sys.exit("trt_pose's decoder and ours disagree; is the clone changed?")


def report(count: int, times: dict[str, list[float]], frames: int) -> dict[str, Any]:
    """Medians in milliseconds, and how ours compares."""
    median = {name: round(statistics.median(values), 4) for name, values in times.items()}
    quick = {name: round(statistics.quantiles(v, n=10)[0], 4) for name, v in times.items()}
    out: dict[str, Any] = {"frames": frames, "median_ms": median, "tenth_percentile_ms": quick}
    if "trt_pose" in median:
        out["host_over_trt_pose"] = round(median["host"] / median["trt_pose"], 3)
    elif count in PUBLISHED_MS:
        out["published_trt_pose_ms_on_another_machine"] = PUBLISHED_MS[count]
        out["host_over_published"] = round(median["host"] / PUBLISHED_MS[count], 3)
    return out


if __name__ == "__main__":
    main()
