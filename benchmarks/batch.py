"""What `edgepose batch` costs beside plain `posenet`: CPU time (not wall time), memory, bytes.

usage: python benchmarks/batch.py FILM [--network NAME] [--pairs N] [--no-ray | --only-ray] [--json FILE]

| number | goal |
|---|---|
| CPU of segments / plain posenet, the same frames, one thread | <= 1.03 |
| fixed CPU of a Ray job with two workers | <= 20 s |
| memory of a worker over plain posenet | <= +200 MB |
| tracking pass, one person | <= 1 ms a frame |
| Parquet / JSON lines | <= 0.25 |
| `--start` near the end `--frames 5` over `--frames 5` | <= 0.1 CPU-s |

Plain posenet and segments run in turn, pair by pair, and the ratio is the median of the pairs: what
else runs on the machine changes the CPU time of both. Processes that a job leaves to others are taken
over and waited for, so that their time counts too. Memory is the largest resident set that any one of the
processes ever had, pages that it shares with others counted whole: with Ray that is a worker's. What Ray
costs is the difference of two jobs on the film's beginning, since that of long ones is lost in their noise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av

ENGINE = ["--threads", "1", "--engine", "onnxruntime"]
PR_SET_CHILD_SUBREAPER = 36


def measured(*words: object) -> tuple[float, int]:
    """CPU seconds and MB of the largest process of `edgepose WORDS` and all that it started."""
    code = (
        "import os, resource, subprocess, sys, ctypes, time\n"
        f"ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1)\n"
        "done = subprocess.run([sys.executable, '-m', 'edgepose', *sys.argv[1:]], stdout=subprocess.DEVNULL)\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n"
        "    try:\n"
        "        if os.waitpid(-1, os.WNOHANG) == (0, 0): time.sleep(0.1)\n"
        "    except ChildProcessError: break\n"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(u.ru_utime + u.ru_stime, u.ru_maxrss // 1024, done.returncode)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True
    )
    cpu, memory, status = ended.stdout.split()
    if status != "0":
        sys.exit(f"edgepose {' '.join(map(str, words))} ended with {status}: {ended.stderr}")
    return float(cpu), int(memory)


def least(times: int, *words: object) -> float:
    """The least CPU time of several runs: what else runs only adds."""
    return min(measured(*words)[0] for _ in range(times))


def tracking_pass(job: Path, frames: int) -> float:
    """Milliseconds of CPU a frame to read, follow and write the rows of a job."""
    from edgepose.io.sinks.parquet import ParquetWriter, read_metadata, read_results
    from edgepose.networks.topology import Topology
    from edgepose.track.tracker import Tracker

    (final,) = job.glob("poses/*")
    told = read_metadata(final)  # loads pyarrow, once a process
    begun = time.process_time()
    tracker = Tracker(Topology("", tuple(told["keypoints"]), tuple(map(tuple, told["links"]))))
    with ParquetWriter(job / "again.parquet") as writer:
        for result in read_results(final):
            tracker.update(result.poses, result.pts or 0.0)
            writer.write(result)
    return (time.process_time() - begun) / frames * 1e3


def beginning(film: Path, target: Path, packets: int = 40) -> Path:
    """The first frames of a film, not encoded anew."""
    with av.open(str(film)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in islice(source.demux(stream), packets):
            packet.stream = copy
            out.mux(packet)
    return target


def measure_ray(film: Path, network: str, folder: Path) -> dict[str, Any]:
    """What two workers on Ray cost."""
    options = ["--network", network, *ENGINE, "--workers", "2", "--track"]
    cpu, largest = measured("batch", film, *options, "--segment", "10", "--out", folder / "ray")
    few = ["batch", beginning(film, folder / f"few{film.suffix}"), *options, "--segment", "2"]
    both = [
        [measured(*few, "--out", folder / f"{n}-{m}", "--workers", m)[0] for m in (2, 1)]
        for n in range(2)
    ]
    return {
        "ray_cpu_s": round(cpu, 2),
        "ray_fixed_cpu_s": round(min(a - b for a, b in both), 2),
        "worker_mb_ray": largest,
    }


def measure(film: Path, network: str, pairs: int, folder: Path) -> dict[str, Any]:
    """All figures without Ray."""
    options = ["--network", network, *ENGINE]
    words, lines = [film, "--headless", *options], folder / "a.jsonl"
    batch = ["batch", film, *options, "--segment", "10", "--track"]
    both = []
    for n in range(pairs):
        plain = measured("posenet", *words, "--json", lines, "--track")
        both.append((plain, measured(*batch, "--out", folder / f"local{n}")))
    (_, memory), (_, worker) = both[-1]
    frames = sum(1 for _ in lines.open())
    local = folder / "local0"
    parquet = sum(path.stat().st_size for path in local.glob("poses/*"))
    few, near = ["posenet", *words, "--frames", "5"], max(0, frames - 14)
    return {
        "frames": frames,
        "pairs_cpu_s": [[round(a[0], 2), round(b[0], 2)] for a, b in both],
        "ratio": round(statistics.median(b[0] / a[0] for a, b in both), 3),
        "plain_mb": memory,
        "worker_mb_local": worker,
        "tracking_ms_a_frame": round(tracking_pass(local, frames), 3),
        "parquet_to_json": round(parquet / lines.stat().st_size, 3),
        "start_cpu_s": round(least(3, *few, "--start", near) - least(3, *few), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--network", default="edgepose-lite-body")
    parser.add_argument("--pairs", type=int, default=3)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--no-ray", action="store_true")
    which.add_argument("--only-ray", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film, work = asked.film.resolve(), Path(folder)
        os.environ.setdefault("EDGEPOSE_CACHE", str(work / "cache"))
        figures: dict[str, Any] = {"film": film.name, "network": asked.network}
        if not asked.only_ray:
            figures |= measure(film, asked.network, asked.pairs, work)
        if not asked.no_ray:
            figures |= measure_ray(film, asked.network, work)
    figures["load"] = os.getloadavg()[0]
    print(json.dumps(figures, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
