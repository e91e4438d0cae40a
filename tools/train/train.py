"""Train edgepose-lite-body: `python -m tools.train.train --data FOLDER --minutes 100`.

Time is the budget: learning rate and image size follow the share of `--minutes` spent, so a run
always anneals to its end, on two CPU cores or on a GPU. Interrupted, the same command goes on from
the last checkpoint in `--out`; `--start FILE` begins a new schedule from another run's weights.

On a CPU `--processes 2` (one thread each, gradients averaged once a step) is nearly twice as fast as
two threads in one process, which wait for each other at every layer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# glibc gives big blocks back to the system at every step and pays page faults for them at the next
# one: a tenth of the time. These must be set before the process starts.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
    "MALLOC_TOP_PAD_": "500000000",
    "OMP_WAIT_POLICY": "PASSIVE",
}
if __name__ == "__main__" and any(os.environ.get(k) != v for k, v in MALLOC.items()):
    os.execve(sys.executable, [sys.executable, "-u", *sys.orig_argv[1:]], {**os.environ, **MALLOC})

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from . import augment, dataset, losses, movenet, validate  # noqa: E402
from .network import INPUT_MEAN, INPUT_STD, Config, Network, load_imagenet  # noqa: E402

# Share of the budget spent up to which a size is trained at: samples first, full size to finish.
SIZES = ((0.58, 160), (0.86, 192), (1.0, 256))
# How often each source is drawn; the others share the rest by their number of images.
SHARES = {"lspet": 0.45, "flickr8k": 0.42}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.json, val.json")
    parser.add_argument("--out", type=Path, default=Path("runs/lite-body"), help="checkpoints, log")
    parser.add_argument("--start", type=Path, help="begin from this checkpoint's averaged weights")
    parser.add_argument(
        "--movenet", type=Path, help="movenet-multipose.json: begin with MoveNet's trunk"
    )
    parser.add_argument("--minutes", type=float, default=100.0, help="wall-clock budget of the run")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate of the head")
    parser.add_argument("--trunk", type=float, default=0.3, help="trunk's share of the rate")
    parser.add_argument(
        "--rest", type=float, default=0.0, help="share of the run in which only the head learns"
    )
    parser.add_argument("--decay", type=float, default=1e-4, help="weight decay")
    parser.add_argument("--ema", type=float, default=0.9995)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="that share every step's work")
    parser.add_argument(
        "--rank", type=int, default=0, help="number of this process (set by the first)"
    )
    parser.add_argument(
        "--meeting", default="", help="file where processes meet (set by the first)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--workers", type=int, default=1, help="threads that augment")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--limit", type=int, help="use only so many images (for a trial)")
    parser.add_argument("--steps", type=int, help="stop after so many steps (for a trial)")
    parser.add_argument("--save-minutes", type=float, default=3.0)
    parser.add_argument("--check-minutes", type=float, default=10.0)
    parser.add_argument(
        "--sizes", default=json.dumps(SIZES), help="JSON: [share of the run until, pixels] each"
    )
    parser.add_argument(
        "--shares", default=json.dumps(SHARES), help="JSON: how often each source is drawn"
    )
    parser.add_argument("--recipe", default="{}", help="JSON: fields of augment.Recipe to change")
    parser.add_argument("--network", default="{}", help="JSON: fields of network.Config to change")
    return parser.parse_args()


def sampler(
    samples: list[dataset.Sample], shares: Mapping[str, float] = SHARES
) -> Callable[[np.random.Generator], int]:
    """A draw by source (see SHARES), evenly within a source; the others share what is left of 1."""
    groups: dict[str, list[int]] = {}
    for i, s in enumerate(samples):
        groups.setdefault(s.source if s.source in shares else "", []).append(i)
    names = list(groups)
    odds = np.array([shares.get(n, 1 - sum(shares.values())) for n in names])
    odds = odds / odds.sum()

    def pick(rng: np.random.Generator) -> int:
        group = groups[names[rng.choice(len(names), p=odds)]]
        return group[rng.integers(len(group))]

    return pick


def make_batch(
    samples: list[dataset.Sample],
    pick: Any,
    recipe: augment.Recipe,
    size: int,
    count: int,
    seed: int,
    number: int,
) -> tuple[Any, list[Any], Any]:
    """Batch `number`: uint8 pixels, keypoints in stride-4 cells, uint8 weights."""
    rng = np.random.default_rng((seed, number))
    scenes = [augment.compose(samples, pick, size, recipe, rng) for _ in range(count)]
    scale = np.array([1 / augment.STRIDE, 1 / augment.STRIDE, 1.0], np.float32)
    return (
        np.stack([s.pixels for s in scenes]),
        [s.keypoints * scale for s in scenes],
        np.stack([s.weights for s in scenes]),
    )


def prefetch(make: Callable[[int], Any], first: int, workers: int, ahead: int = 4) -> Iterator[Any]:
    """make(first), make(first + 1), ... in order, computed ahead in threads."""
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(make, first + i) for i in range(ahead)]
        number = first + ahead
        try:
            while True:
                yield waiting.pop(0).result()
                waiting.append(pool.submit(make, number))
                number += 1
        finally:
            for future in waiting:
                future.cancel()


class Run:
    """Everything a checkpoint holds: network, its moving average, optimiser, counters."""

    def __init__(self, options: argparse.Namespace, config: Config) -> None:
        self.options, self.device = options, options.device
        self.network = Network(config)
        self.step = self.images = 0
        self.elapsed, self.tick = 0.0, time.time()
        self.stopping = False
        self.network.to(self.device, memory_format=torch.channels_last)
        self.average = Network(config).to(self.device, memory_format=torch.channels_last)
        self.average.requires_grad_(False)
        trunk = [p for p in self.network.trunk.parameters() if p.requires_grad]
        inner = {id(p) for p in self.network.trunk.parameters()}
        head = [p for p in self.network.parameters() if id(p) not in inner]
        self.optimiser = torch.optim.AdamW(
            [{"params": head, "share": 1.0}, {"params": trunk, "share": options.trunk}],
            lr=options.rate,
            weight_decay=options.decay,
        )

    def begin(self, start: Path | None) -> None:
        """Weights to begin with: ImageNet's trunk, or another run's average."""
        if start is None and self.options.movenet:
            movenet.load(self.network.trunk, self.options.movenet, INPUT_MEAN, INPUT_STD)
        elif start is None:
            load_imagenet(self.network)
        else:
            self.network.load_state_dict(torch.load(start, map_location=self.device)["average"])
        self.average.load_state_dict(self.network.state_dict())

    def state(self) -> dict[str, Any]:
        return {
            "config": self.network.config.to_dict(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "images": self.images,
            "elapsed": self.elapsed,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint under a temporary name, then rename; the one before is kept."""
        temporary = path.with_suffix(".part")
        torch.save(self.state(), temporary)
        if path.exists():
            path.replace(path.with_suffix(".before.pt"))
        temporary.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.images, self.elapsed = state["step"], state["images"], state["elapsed"]

    @property
    def share(self) -> float:
        """Share of the budget spent."""
        return min(self.elapsed / (60 * self.options.minutes), 1.0)

    def set_rate(self) -> None:
        warm = min(1.0, (self.step + 1) / 300)
        factor = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.share)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * group["share"] * factor

    def train_step(self, batch: tuple[Any, list[Any], Any]) -> float:
        """One step of the optimiser; answers the loss of the final maps."""
        pixels, people, weights = batch
        self.network.train()
        self.set_rate()
        side = pixels.shape[1] // augment.STRIDE
        with torch.no_grad():
            targets = losses.draw_targets(people, side, side, device=self.device)
            full = losses.full_weights(torch.from_numpy(weights).to(self.device), targets)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            fine, guess = self.network(
                validate.normalise(pixels, self.device), still=self.share < self.options.rest
            )
        loss, last = losses.total_loss(fine, guess, targets, full)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._agree()
        norm = torch.nn.utils.clip_grad_norm_(self._learning(), 5.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        self.images += len(pixels) * self.options.processes
        if self.options.rank == 0:
            self._follow()
        return float(last)

    def _learning(self) -> list[torch.Tensor]:
        return [p for g in self.optimiser.param_groups for p in g["params"]]

    def _agree(self) -> None:
        """Average gradients and the clock over the processes; anybody's wish to stop is everybody's.

        All then take the same step at the same rate, so their weights never part.
        """
        now = time.time()
        self.elapsed += now - self.tick
        self.tick = now
        if self.options.processes == 1:
            return
        gradients = [p.grad for p in self._learning() if p.grad is not None]
        told = torch.tensor([self.elapsed, float(self.stopping)])
        flat = torch.cat([*(g.flatten() for g in gradients), told])
        torch.distributed.all_reduce(flat)
        flat /= self.options.processes
        start = 0
        for g in gradients:
            g.copy_(flat[start : start + g.numel()].view_as(g))
            start += g.numel()
        self.elapsed, self.stopping = float(flat[-2]), bool(flat[-1] > 0)

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.options.ema, (1 + self.step) / (20 + self.step))
        for mine, theirs in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - keep)
            else:
                mine.copy_(theirs)


def size_at(share: float, sizes: Sequence[Sequence[float]] = SIZES) -> int:
    """Side of the canvas after this share of the run."""
    return next((int(size) for until, size in sizes if share < until), int(sizes[-1][1]))


def check(run: Run, val: list[dataset.Sample], copied: list[dataset.Sample]) -> dict[str, float]:
    pck, height = validate.argmax_pck(run.average, val, device=run.device)
    loss, value = validate.copying_loss(run.average, copied, device=run.device)
    return {"argmax_pck": pck, "height": height, "copy_loss": loss, "copy_height": value}


def meet(options: argparse.Namespace) -> list[subprocess.Popen[bytes]]:
    """Start the other processes, from the first one, and connect all of them."""
    started = []
    if options.rank == 0:
        meeting = (options.out / f"meeting-{os.getpid()}").resolve()
        meeting.unlink(missing_ok=True)
        options.meeting = str(meeting)
        for rank in range(1, options.processes):
            more = ["--rank", str(rank), "--meeting", options.meeting]
            started.append(subprocess.Popen([sys.executable, "-u", *sys.orig_argv[2:], *more]))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{options.meeting}",
        rank=options.rank,
        world_size=options.processes,
    )
    return started


def begin(options: argparse.Namespace) -> Run:
    """A run from its last checkpoint where there is one, else from the beginning."""
    trunk = {"trunk": "movenet"} if options.movenet else {}
    run = Run(options, Config(**{**trunk, **json.loads(options.network)}))
    checkpoint = options.out / "last.pt"
    if checkpoint.exists():
        run.load(checkpoint)
        print(f"resumed at step {run.step}, {run.images} images, {run.elapsed / 60:.1f} min")
    else:
        run.begin(options.start)
    return run


def follow(run: Run, batches: Iterator[Any]) -> None:
    """The loop of a process that only helps."""
    for batch in batches:
        run.train_step(batch)
        if finished(run) or run.stopping:
            return


def finished(run: Run) -> bool:
    limit = run.options.steps
    return run.share >= 1.0 or (limit is not None and run.step >= limit)


def lead(run: Run, batches: Iterator[Any], log: Any, val: list[Any], copied: list[Any]) -> None:
    """The loop of the first process: it also logs, checks and saves."""
    options, checkpoint = run.options, run.options.out / "last.pt"
    mean, saved, checked = 0.0, time.time(), time.time()
    shown = (time.time(), run.images)
    for batch in batches:
        loss = run.train_step(batch)
        now = time.time()
        mean = loss if not mean else 0.98 * mean + 0.02 * loss
        ended = finished(run)
        if run.step % 50 == 0 or ended:
            rate = (run.images - shown[1]) / max(now - shown[0], 1e-9)
            shown = (now, run.images)
            row = {"step": run.step, "images": run.images, "minutes": run.elapsed / 60,
                   "size": batch[0].shape[1], "loss": mean, "images_per_s": rate,
                   "rate": run.optimiser.param_groups[0]["lr"]}  # fmt: skip
            log.write(json.dumps(row) + "\n")
            if run.step % 200 == 0:
                print(" ".join(f"{k}={v:.4g}" for k, v in row.items()))
        if ended or now - checked > 60 * options.check_minutes:
            row = {"step": run.step, "images": run.images, **check(run, val, copied)}
            log.write(json.dumps(row) + "\n")
            print("CHECK " + " ".join(f"{k}={v:.4g}" for k, v in row.items()))
            checked = time.time()
        if ended or run.stopping or now - saved > 60 * options.save_minutes:
            run.save(checkpoint)
            saved = time.time()
        if ended or run.stopping:
            return


def main() -> None:
    options = arguments()
    random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    others = meet(options) if options.processes > 1 else []
    run = begin(options)

    def stop(*_: object) -> None:
        run.stopping = True

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    train = dataset.read(options.data / "train.json", options.limit)
    pick, recipe = (
        sampler(train, json.loads(options.shares)),
        augment.Recipe(**json.loads(options.recipe)),
    )
    sizes = json.loads(options.sizes)
    print(f"{len(train)} images in memory")
    seed = options.seed + 1000 * options.rank

    def make(number: int) -> Any:
        return make_batch(
            train, pick, recipe, size_at(run.share, sizes), options.batch, seed, number
        )

    run.tick = time.time()
    batches = prefetch(make, run.step, options.workers)
    if options.rank == 0:
        val = dataset.read(options.data / "val.json", 200)
        copied = dataset.read(options.data / "val_teacher.json", 80)
        with (options.out / "log.jsonl").open("a", buffering=1) as log:
            lead(run, batches, log, val, copied)
        print(f"done: {run.images} images in {run.elapsed / 60:.1f} minutes")
    else:
        follow(run, batches)
    for process in others:
        process.wait(60)
    if options.meeting and options.rank == 0:
        Path(options.meeting).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
