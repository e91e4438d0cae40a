"""Timings of decoding on the GPU, step by step, beside the CPU's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from frames import frame  # noqa: E402
from timings import Clock, on_gpu  # noqa: E402

from edgepose.decode.bottom_up import BottomUpDecoder  # noqa: E402
from edgepose.decode.bottom_up_numpy import BottomUpParams  # noqa: E402
from edgepose.decode.device import DeviceDecoder  # noqa: E402
from edgepose.decode.movenet import decode_movenet  # noqa: E402
from edgepose.decode.movenet_device import MovenetDecoder  # noqa: E402
from edgepose.networks.topology import load_topology  # noqa: E402
from tests.decode.movenet_maps import empty, put  # noqa: E402


def decode(clock: Clock) -> dict[str, Any]:
    """Peaks, lines and the copy back, each alone too; the whole decode as the caller sees it; the other way, with
    all maps copied to the host; and maps that are enlarged first."""
    runner = clock.runner
    topology = load_topology("human_pose")
    on_cpu = BottomUpDecoder(topology)
    decoder = DeviceDecoder(topology, BottomUpParams(), clock.on)
    larger = DeviceDecoder(topology, BottomUpParams(), clock.on, factor=2)
    out: dict[str, Any] = {"cpu_backend": on_cpu.backend}
    for count in (1, 5, 15)[: 1 if clock.quick else None]:
        cmap, paf = frame(topology, count, seed=count)
        maps, fields = on_gpu(runner, cmap[None]), on_gpu(runner, paf[None])
        start = partial(decoder.start, maps, fields)
        out[f"{count} people"] = {
            "gpu_ms": _queued(clock, start),
            **_steps(clock, decoder, maps, fields),
            "device_ms": round(clock.wall_ms(lambda: start().result()), 4),  # noqa: B023
            "copy_and_cpu_ms": round(
                clock.wall_ms(partial(_all_maps, runner, on_cpu, maps, fields)), 4
            ),
            "cpu_ms": round(clock.wall_ms(lambda: on_cpu(cmap, paf)), 4),  # noqa: B023
            "poses_found": len(start().result()[0].keypoints),
            "enlarged_twice_gpu_ms": _queued(clock, partial(larger.start, maps, fields)),
        }
    return out


def movenet(clock: Clock) -> dict[str, Any]:
    """MoveNet's six maps of a picture of 384x384, with people as high as half of it."""
    return {
        f"{people} people": _movenet(clock, people)
        for people in (1, 6, 20)[: 1 if clock.quick else None]
    }


def _queued(clock: Clock, start: Callable[[], Any]) -> float:
    """Milliseconds on the GPU of what a decoder queues; every result is taken, as memory comes back with it."""
    started: list[Any] = []

    def one() -> None:
        started.append(start())

    milliseconds = clock.gpu_ms(one, launches=4)
    for pending in started:
        pending.result()
    return round(milliseconds, 4)


def _steps(clock: Clock, decoder: DeviceDecoder, maps: Any, fields: Any) -> dict[str, float]:
    """Milliseconds of each thing that a decode queues."""
    runner, block, on, params = clock.runner, decoder.block, clock.on, decoder.params
    memory = runner.empty((block.item_words,), np.dtype(np.int32))
    far = runner.empty((block.far_words,), np.dtype(np.float32))
    table = on_gpu(runner, decoder.topology.table)
    host = runner.pool.pinned(memory.nbytes)
    size, at = tuple(maps.shape[2:]), memory.address
    peaks = (size, params.keypoint_threshold, params.window, block, at)
    lines = (size, table.address, params.samples, block, at, far.address)
    driver, stream = runner.context.driver, runner.stream
    steps: dict[str, Callable[[], Any]] = {
        "peaks_ms": lambda: on.peaks(maps.address, 1, 0, *peaks),
        "lines_ms": lambda: on.line_scores(fields.address, 1, 0, *lines),
        "copy_ms": lambda: driver.memcpy_dtoh_async(host.array[: memory.nbytes], at, stream),
        "event_ms": lambda: runner.context.mark(stream),
    }
    out = {name: round(clock.gpu_ms(step), 4) for name, step in steps.items()}
    for used in (memory, far, table, host):
        runner.pool.give(used)
    return out


def _movenet(clock: Clock, people: int) -> dict[str, float]:
    maps = empty(96, 96)
    for i in range(people):
        put(maps, 30 + 7 * (i % 5), 12 + 72 * i // people, half=24)
    there = {name: on_gpu(clock.runner, m[None]) for name, m in maps.items()}
    start = partial(MovenetDecoder(17, 0.05, clock.on).start, there)
    on_cpu = partial(decode_movenet, maps, 0.05)
    return {
        "gpu_ms": _queued(clock, start),
        "device_ms": round(clock.wall_ms(lambda: start().result()), 4),
        "cpu_ms": round(clock.wall_ms(on_cpu), 4),
        "people_found": len(start().result()[0].scores),
    }


def _all_maps(runner: Any, decoder: Any, *maps: Any) -> None:
    hosts = [runner.pool.pinned(m.nbytes) for m in maps]
    with runner.context.active():
        for host, there in zip(hosts, maps, strict=True):
            wanted = host.array[: there.nbytes]
            runner.context.driver.memcpy_dtoh_async(wanted, there.address, runner.stream)
        runner.context.wait(runner.stream)
    decoder(*(h.view(m.shape[1:], m.dtype) for h, m in zip(hosts, maps, strict=True)))
    for host in hosts:
        runner.pool.give(host)
