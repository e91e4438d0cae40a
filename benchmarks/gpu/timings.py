"""Timings on the GPU: kernels against the bytes they must move, decoding, and a whole frame."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frames import frame

from edgepose.cuda.device import UPLOADS, DeviceRunner, device_kernels
from edgepose.cuda.kernels import Kernels
from edgepose.cuda.pictures import Planes, Shape, TensorLayout
from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams
from edgepose.decode.device import DeviceDecoder
from edgepose.errors import BackendUnavailable
from edgepose.geometry import crop, letterbox
from edgepose.networks.topology import load_topology

ROUNDS, LAUNCHES = 20, 20
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Plug:
    """Copies that keep the stream busy while work is queued behind them, so that only the GPU is timed and not
    the Python that launches."""

    def __init__(self, runner: DeviceRunner) -> None:
        self._runner = runner
        self.size = (256 if not runner.context.integrated else 64) * 2**20
        self._memory = [runner.pool.device((self.size,), np.uint8) for _ in range(2)]
        self.copy()
        self.ms = min(_elapsed(runner, self.copy) for _ in range(5))

    def copy(self) -> None:
        """One copy inside the GPU."""
        a, b = (m.address for m in self._memory)
        stream = self._runner.stream
        self._runner.context.driver.memcpy_dtod_async(b, a, self.size, stream)

    def fill(self, milliseconds: float) -> None:
        """Copies for at least so long."""
        for _ in range(int(milliseconds / self.ms) + 2):
            self.copy()

    def close(self) -> None:
        """Give the memory back."""
        for memory in self._memory:
            self._runner.pool.give(memory)


def _elapsed(runner: DeviceRunner, work: Callable[[], Any]) -> float:
    driver = runner.context.driver
    start, end = driver.Event(), driver.Event()
    start.record(runner.stream)
    work()
    end.record(runner.stream)
    end.synchronize()
    return float(end.time_since(start))


def gpu_ms(runner: DeviceRunner, work: Callable[[], Any], launches: int = LAUNCHES) -> float:
    """Milliseconds on the GPU for one piece of queued work, the median of many rounds.

    Args:
        launches: in a round; as many as the runner has uploads where the work uploads something.
    """

    def queue() -> None:
        for _ in range(launches):
            work()

    times = []
    with runner.context.active():
        plug = Plug(runner)
        queue()
        started = time.perf_counter()
        queue()
        queueing = (time.perf_counter() - started) * 1e3
        runner.context.synchronize()
        for _ in range(ROUNDS):
            plug.fill(2 * queueing)
            times.append(_elapsed(runner, queue) / launches)
        plug.close()
    return statistics.median(times)


def host_ms(runner: DeviceRunner, work: Callable[[], Any]) -> float:
    """Milliseconds that the caller spends on queueing one piece of work, the median of many."""
    times = []
    for _ in range(5 * ROUNDS):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
        runner.context.synchronize()
    return statistics.median(times)


def wall_ms(work: Callable[[], Any]) -> float:
    """Milliseconds that the caller waits, the median of many rounds."""
    times = []
    for turn in range(5 * ROUNDS + 5):
        start = time.perf_counter()
        work()
        if turn >= 5:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def bandwidth(runner: DeviceRunner) -> float:
    """Bytes a millisecond that a plain copy inside the GPU moves, read and write counted."""
    with runner.context.active():
        plug = Plug(runner)
        rate = 2 * plug.size / gpu_ms(runner, plug.copy)
        plug.close()
    return rate


def on_gpu(runner: DeviceRunner, array: np.ndarray) -> Any:
    """A copy in GPU memory."""
    there = runner.pool.device(array.shape, array.dtype)
    runner.context.put(there.address, np.ascontiguousarray(array))
    return there


def kernels() -> dict[str, Any]:
    """Preprocess of several sources against the bytes bound, crops, and the overlay."""
    on = device_kernels()
    runner: Any = on.runner
    rate = bandwidth(runner)
    rng = np.random.default_rng(0)
    out: dict[str, Any] = {"kernels_from": runner.origin, "copy_GB_per_s": round(rate / 1e6, 1)}
    for name, (width, height) in {"4K": (3840, 2160), "1080p": (1920, 1080)}.items():
        rgb = on_gpu(runner, rng.integers(0, 256, (height, width, 3), np.uint8))
        luma = on_gpu(runner, rng.integers(0, 256, (height, width), np.uint8))
        chroma = on_gpu(runner, rng.integers(0, 256, (height // 2, width // 2, 2), np.uint8))
        for kind, picture in (
            ("rgb8", Planes.packed(rgb)),
            ("nv12", Planes.nv12(luma, chroma)),
        ):
            for side in (224, 640):
                label = f"{name} {kind} to {side}x{side}"
                out[label] = _preprocess(on, runner, picture, side, rate)
        if name == "1080p":
            out["8 crops of 1080p to 192x256"] = _crops(on, runner, Planes.packed(rgb))
            shapes = [
                Shape("capsule", (x, 500), (x + 40, 600), 4, (255, 0, 0), 0.8)
                for x in rng.uniform(0, 1800, 585)
            ]
            draw = partial(on.overlay, rgb, shapes)
            out["overlay of 15 people on 1080p"] = {
                "ms": round(gpu_ms(runner, draw, launches=UPLOADS), 4),
                "host_ms": round(host_ms(runner, draw), 4),
            }
    return out


def _preprocess(
    on: Kernels, runner: DeviceRunner, picture: Planes, side: int, rate: float
) -> dict[str, float]:
    affine = letterbox((picture.width, picture.height), (side, side))
    layout = TensorLayout(side, side, half=True)
    tensor = runner.empty(layout.shape(1), layout.dtype)
    place = partial(on.preprocess, [picture], [affine], layout, tensor)
    milliseconds, queueing = gpu_ms(runner, place), host_ms(runner, place)
    source = sum(int(np.prod(plane.shape)) for plane in picture.planes)
    bound = (source + tensor.nbytes) / rate
    runner.pool.give(tensor)
    return {
        "ms": round(milliseconds, 4),
        "of_bytes_bound": round(bound / milliseconds, 3),
        "host_ms": round(queueing, 4),
    }


def _crops(on: Kernels, runner: DeviceRunner, picture: Planes) -> dict[str, float]:
    layout = TensorLayout(192, 256)
    tensor = runner.empty(layout.shape(8), layout.dtype)
    places = [(200 * i + 150, 540) for i in range(8)]
    straight = [crop(p, (300, 400), (192, 256)) for p in places]
    turned = [crop(p, (300, 400), (192, 256), 0.3) for p in places]
    return {
        name: round(gpu_ms(runner, lambda: on.preprocess([picture] * 8, a, layout, tensor)), 4)  # noqa: B023
        for name, a in (("straight_ms", straight), ("turned_ms", turned))
    }


def decode() -> dict[str, Any]:
    """Peaks, lines and the copy back; the whole decode as the caller sees it; and the other way, with all maps
    copied to the host."""
    on = device_kernels()
    runner: Any = on.runner
    topology = load_topology("human_pose")
    on_cpu = BottomUpDecoder(topology)
    decoder = DeviceDecoder(topology, BottomUpParams(), on)
    out: dict[str, Any] = {"cpu_backend": on_cpu.backend}
    for count in (1, 5, 15):
        cmap, paf = frame(topology, count, seed=count)
        maps, fields = on_gpu(runner, cmap[None]), on_gpu(runner, paf[None])

        start = partial(decoder.start, maps, fields)
        started: list[Any] = []
        milliseconds = gpu_ms(runner, lambda: started.append(start()), launches=4)  # noqa: B023
        out[f"{count} people"] = {
            "gpu_ms": round(milliseconds, 4),
            "device_ms": round(wall_ms(lambda: start().result()), 4),  # noqa: B023
            "copy_and_cpu_ms": round(wall_ms(partial(_all_maps, runner, on_cpu, maps, fields)), 4),
            "cpu_ms": round(wall_ms(lambda: on_cpu(cmap, paf)), 4),  # noqa: B023
            "poses_found": [len(pending.result()[0].keypoints) for pending in started][-1],
        }
    return out


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


# ---- a whole frame -------------------------------------------------------------------------------


def resnet18_body(torch: Any) -> Any:
    """A network of the shape of resnet18-body in fp16: 224x224 in, 18 + 42 maps of 56x56 out."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.a = nn.Conv2d(inside, outside, 3, stride, 1)
            self.b = nn.Conv2d(outside, outside, 3, 1, 1)
            same = stride == 1 and inside == outside
            self.skip = nn.Identity() if same else nn.Conv2d(inside, outside, 1, stride)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.b(torch.relu(self.a(x))) + self.skip(x))

    class Network(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
            width = 64
            for outside, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
                layers += [Block(width, outside, stride), Block(outside, outside, 1)]
                width = outside
            for _ in range(3):
                layers += [nn.ConvTranspose2d(width, 256, 4, 2, 1), nn.ReLU()]
                width = 256
            self.trunk = nn.Sequential(*layers)
            self.cmap, self.paf = nn.Conv2d(256, 18, 1), nn.Conv2d(256, 42, 1)

        def forward(self, x: Any) -> Any:
            x = self.trunk(x)
            return self.cmap(x).float(), self.paf(x).float()

    return Network().eval().half().cuda().to(memory_format=torch.channels_last)


def network(trt_pose: Path | None) -> dict[str, Any]:
    """What preprocess, peaks, lines and the copy add to the network alone, and trt_pose's way.

    Random weights find nobody, so decoding reads prepared maps with 5 people; the network runs in
    torch on the stream of the kernels.
    """
    import torch

    if not torch.cuda.is_available():
        raise BackendUnavailable("torch is here, but without CUDA")
    on = device_kernels()
    runner: Any = on.runner
    topology = load_topology("human_pose")
    decoder = DeviceDecoder(topology, BottomUpParams(), on)
    model = resnet18_body(torch)
    layout = TensorLayout(
        224,
        224,
        tuple(1 / (255 * s) for s in STD),  # type: ignore[arg-type]
        tuple(-m / s for m, s in zip(MEAN, STD, strict=True)),  # type: ignore[arg-type]
        half=True,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    cmap, paf = frame(topology, 5, seed=5)
    maps, fields = on_gpu(runner, cmap[None]), on_gpu(runner, paf[None])
    picture = Planes.packed(on_gpu(runner, pixels))
    affine = letterbox((1920, 1080), (224, 224))
    tensor = runner.empty(layout.shape(1), layout.dtype)
    with runner.context.active(), torch.inference_mode():
        stream = torch.cuda.ExternalStream(runner.stream.handle)
        with torch.cuda.stream(stream):
            given = torch.as_tensor(tensor, device="cuda")
            graph_input = given.to(memory_format=torch.channels_last)

            for _ in range(3):
                model(graph_input)
            graph = torch.cuda.CUDAGraph()  # one launch, as an engine's plan is
            with torch.cuda.graph(graph, stream=stream):
                model(graph_input)
            theirs = _their_way(torch, model, topology, pixels, cmap, paf, trt_pose)
            figures = {"trt_pose_way": {"frame_ms": round(wall_ms(theirs), 4)}}
            place = partial(on.preprocess, [picture], [affine], layout, tensor)
            for name, run in (
                ("as torch launches it", lambda: model(graph_input)),
                ("as one graph", graph.replay),
            ):
                figures[name] = _frames(runner, place, run, partial(decoder.start, maps, fields))
    for name in list(figures)[1:]:
        ratio = figures["trt_pose_way"]["frame_ms"] / figures[name]["frame_of_a_stream_ms"]
        figures[name]["rate_over_trt_pose_way"] = round(ratio, 2)
    return figures


def _frames(
    runner: Any, place: Callable[[], Any], network: Callable[[], Any], start: Callable[[], Any]
) -> dict[str, Any]:
    """The network alone; with what comes before and after; and both as in a stream, where the next frame is queued
    before the last one is finished."""
    under_way: list[Any] = []

    def alone() -> None:
        network()
        runner.stream.synchronize()

    def frame() -> None:
        place()
        network()
        start().result()

    def frame_of_a_stream() -> None:
        place()
        network()
        under_way.append(start())
        if len(under_way) > 1:
            under_way.pop(0).result()

    def network_of_a_stream() -> None:
        network()
        under_way.append(runner.context.mark(runner.stream))
        if len(under_way) > 1:
            under_way.pop(0).synchronize()

    found = {"network_ms": wall_ms(alone), "frame_ms": wall_ms(frame)}
    found["frame_of_a_stream_ms"] = wall_ms(frame_of_a_stream)
    under_way.pop().result()
    found["network_of_a_stream_ms"] = wall_ms(network_of_a_stream)
    under_way.pop().synchronize()
    added = {
        "added_to_network": found["frame_ms"] / found["network_ms"] - 1,
        "added_in_a_stream": found["frame_of_a_stream_ms"] / found["network_of_a_stream_ms"] - 1,
    }
    return {name: round(value, 4) for name, value in (found | added).items()}


def _their_way(
    torch: Any,
    model: Any,
    topology: Any,
    pixels: np.ndarray,
    cmap: np.ndarray,
    paf: np.ndarray,
    trt_pose: Path | None,
) -> Callable[[], None]:
    """OpenCV resize, torch normalisation, the same network, the parse on the CPU."""
    import cv2

    if trt_pose is None:
        parse: Any = BottomUpDecoder(topology)  # quicker than theirs: the comparison flatters them
    else:
        from decode import trt_pose_decoder

        parse = trt_pose_decoder(trt_pose, Path(tempfile.mkdtemp()), topology)
    mean = torch.tensor(MEAN, device="cuda")[:, None, None]
    std = torch.tensor(STD, device="cuda")[:, None, None]

    def frame_their_way() -> None:
        small = cv2.resize(pixels, (224, 224))
        x = torch.from_numpy(small).permute(2, 0, 1).cuda().float().div_(255)
        x = x.sub_(mean).div_(std)[None].half().contiguous(memory_format=torch.channels_last)
        found, fields = model(x)
        found.cpu(), fields.cpu()
        parse(cmap, paf)

    return frame_their_way
