"""Timings on the GPU: kernels against the bytes they must move, and a whole frame."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frames import frame

from edgepose.cuda.device import UPLOADS, DeviceRunner
from edgepose.cuda.kernels import THREADS, Kernels, images_by_value, strip_columns
from edgepose.cuda.pictures import Planes, Shape, TensorLayout, image_records
from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams
from edgepose.decode.device import DeviceDecoder
from edgepose.errors import BackendUnavailable
from edgepose.geometry import crop, letterbox
from edgepose.networks.topology import load_topology

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
THREADS_TRIED = (128, 192, 256, 384)


class Plug:
    """Copies that keep the stream busy while work is queued behind them, so that only the GPU is timed and not
    the Python that launches."""

    def __init__(self, runner: DeviceRunner, size: int) -> None:
        self._runner, self.size = runner, size
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
    start, end = (driver.Event(driver.event_flags.BLOCKING_SYNC) for _ in range(2))
    start.record(runner.stream)
    work()
    end.record(runner.stream)
    end.synchronize()
    return float(end.time_since(start))


class Clock:
    """Times work on the kernels of one runner.

    Args:
        on: on a GPU.
        quick: one round of everything on small pictures: whether it starts, and no figure to go by.
    """

    def __init__(self, on: Kernels, quick: bool = False) -> None:
        self.on, self.quick = on, quick
        self.runner: Any = on.runner
        self._rounds, self._launches, self._warm = (1, 1, 0) if quick else (20, 20, 5)
        self._turns = 1 if quick else 100
        self._plug_bytes = (
            2**20 if quick else (64 if self.runner.context.integrated else 256) * 2**20
        )

    def gpu_ms(self, work: Callable[[], Any], launches: int = 0) -> float:
        """Milliseconds on the GPU for one piece of queued work, the median of many rounds.

        Args:
            launches: in a round, at most; as many as the runner has uploads where the work uploads something.
        """
        launches = min(launches or self._launches, self._launches)
        runner = self.runner

        def queue() -> None:
            for _ in range(launches):
                work()

        times = []
        with runner.context.active():
            plug = Plug(runner, self._plug_bytes)
            for _ in range(1 if self.quick else 2):
                started = time.perf_counter()
                queue()
                queueing = (time.perf_counter() - started) * 1e3
            runner.context.synchronize()
            for _ in range(self._rounds):
                plug.fill(2 * queueing)
                times.append(_elapsed(runner, queue) / launches)
            plug.close()
        return statistics.median(times)

    def host_ms(self, work: Callable[[], Any]) -> float:
        """Milliseconds that the caller spends on queueing one piece of work, the median of many."""
        times = []
        for _ in range(self._turns):
            started = time.perf_counter()
            work()
            times.append((time.perf_counter() - started) * 1e3)
            self.runner.context.synchronize()
        return statistics.median(times)

    def wall_ms(self, work: Callable[[], Any]) -> float:
        """Milliseconds that the caller waits, the median of many rounds."""
        times = []
        for turn in range(self._turns + self._warm):
            start = time.perf_counter()
            work()
            if turn >= self._warm:
                times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)

    def bandwidth(self) -> float:
        """Bytes a millisecond that a plain copy inside the GPU moves, read and write counted."""
        with self.runner.context.active():
            plug = Plug(self.runner, self._plug_bytes)
            rate = 2 * plug.size / self.gpu_ms(plug.copy)
            plug.close()
        return rate


def on_gpu(runner: DeviceRunner, array: np.ndarray) -> Any:
    """A copy in GPU memory."""
    there = runner.pool.device(array.shape, array.dtype)
    runner.context.put(there.address, np.ascontiguousarray(array))
    return there


def kernels(clock: Clock) -> dict[str, Any]:
    """Preprocess of several sources against the bytes bound, crops, and the overlay."""
    runner, rate = clock.runner, clock.bandwidth()
    rng = np.random.default_rng(0)
    out: dict[str, Any] = {"kernels_from": runner.origin, "copy_GB_per_s": round(rate / 1e6, 1)}
    part = 8 if clock.quick else 1
    for name, (width, height) in {"4K": (3840, 2160), "1080p": (1920, 1080)}.items():
        width, height = width // part, height // part // 2 * 2
        rgb = on_gpu(runner, rng.integers(0, 256, (height, width, 3), np.uint8))
        luma = on_gpu(runner, rng.integers(0, 256, (height, width), np.uint8))
        chroma = on_gpu(runner, rng.integers(0, 256, (height // 2, width // 2, 2), np.uint8))
        for kind, picture in (
            ("rgb8", Planes.packed(rgb)),
            ("nv12", Planes.nv12(luma, chroma)),
        ):
            for side in (224, 640):
                label = f"{name} {kind} to {side}x{side}"
                out[label] = _preprocess(clock, picture, side // part, rate)
        side = {"4K": 640, "1080p": 224}[name]
        out[f"{name} rgb8 to {side}x{side} by blocks"] = _blocks(
            clock, Planes.packed(rgb), side // part
        )
    out["8 crops of 1080p to 192x256"] = _crops(clock, Planes.packed(rgb))
    out["overlay of 15 people on 1080p"] = _overlay(clock, rgb, 585 // part)
    return out


def _placed(clock: Clock, picture: Planes, side: int) -> tuple[Any, Callable[[], Any]]:
    """A float16 tensor, and what puts a picture into it."""
    affine = letterbox((picture.width, picture.height), (side, side))
    layout = TensorLayout(side, side, half=True)
    tensor = clock.runner.empty(layout.shape(1), layout.dtype)
    return tensor, partial(clock.on.preprocess, [picture], [affine], layout, tensor)


def _preprocess(clock: Clock, picture: Planes, side: int, rate: float) -> dict[str, float]:
    tensor, place = _placed(clock, picture, side)
    milliseconds, queueing = clock.gpu_ms(place), clock.host_ms(place)
    source = sum(int(np.prod(plane.shape)) for plane in picture.planes)
    bound = (source + tensor.nbytes) / rate
    clock.runner.pool.give(tensor)
    return {
        "ms": round(milliseconds, 4),
        "of_bytes_bound": round(bound / milliseconds, 3),
        "host_ms": round(queueing, 4),
    }


def _blocks(clock: Clock, picture: Planes, side: int) -> dict[str, float]:
    """Milliseconds with other blocks than those that ship, which any GPU may like better: threads of a block, and
    strips of an output row; the same bits come out of all."""
    shipped, out = THREADS["ep_preprocess"], {}
    tensor, place = _placed(clock, picture, side)
    place()
    wanted = clock.runner.download(tensor)
    affine = letterbox((picture.width, picture.height), (side, side))
    least = -(-side // strip_columns([picture.width / side], side))
    records = images_by_value(image_records([picture], [affine]))
    tried = THREADS_TRIED[:: 3 if clock.quick else 1]
    packed = TensorLayout(side, side, half=True).packed(tensor.address)
    try:
        for threads, strips in product(tried, (least, 2 * least, 4 * least)):
            THREADS["ep_preprocess"] = threads
            columns = -(-side // strips)
            work = partial(
                clock.runner.launch,
                *("ep_preprocess", (strips, side, 1), (records, packed, columns)),
            )
            out[f"{threads} threads, {strips} strips"] = round(clock.gpu_ms(work), 4)
            if not np.array_equal(clock.runner.download(tensor), wanted):
                raise RuntimeError(f"{threads} threads and {strips} strips give another picture")
        return out
    finally:
        THREADS["ep_preprocess"] = shipped
        clock.runner.pool.give(tensor)


def _crops(clock: Clock, picture: Planes) -> dict[str, float]:
    layout = TensorLayout(192, 256)
    tensor = clock.runner.empty(layout.shape(8), layout.dtype)
    unit = picture.width / 1920
    places = [(unit * (200 * i + 150), unit * 540) for i in range(8)]
    size = (300 * unit, 400 * unit)
    out = {}
    for name, angle in (("straight_ms", 0.0), ("turned_ms", 0.3)):
        affines = [crop(p, size, (192, 256), angle) for p in places]
        place = partial(clock.on.preprocess, [picture] * 8, affines, layout, tensor)
        out[name] = round(clock.gpu_ms(place), 4)
    return out


def _overlay(clock: Clock, rgb: Any, count: int) -> dict[str, float]:
    left = np.random.default_rng(0).uniform(0, rgb.shape[1] - 120, count)
    y = rgb.shape[0] / 2
    shapes = [Shape("capsule", (x, y), (x + 40, y + 60), 4, (255, 0, 0), 0.8) for x in left]
    draw = partial(clock.on.overlay, rgb, shapes)
    return {
        "ms": round(clock.gpu_ms(draw, launches=UPLOADS), 4),
        "host_ms": round(clock.host_ms(draw), 4),
    }


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


def network(clock: Clock, trt_pose: Path | None) -> dict[str, Any]:
    """What preprocess, peaks, lines and the copy add to the network alone, and trt_pose's way.

    Random weights find nobody, so decoding reads prepared maps with 5 people; the network runs in
    torch on the stream of the kernels.
    """
    import torch

    if not torch.cuda.is_available():
        raise BackendUnavailable("torch is here, but without CUDA")
    on, runner = clock.on, clock.runner
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
                answers = model(graph_input)

            def replayed(x: Any) -> Any:
                graph_input.copy_(x)
                graph.replay()
                return answers

            place = partial(on.preprocess, [picture], [affine], layout, tensor)
            parse = partial(_parser(topology, trt_pose), cmap, paf)
            figures = {}
            for name, ours, theirs in (
                ("as torch launches it", partial(model, graph_input), model),
                ("as one graph", graph.replay, replayed),
            ):
                found = _frames(clock, place, ours, partial(decoder.start, maps, fields))
                found["trt_pose_way_ms"] = clock.wall_ms(_their_way(torch, theirs, pixels, parse))
                ratio = found["trt_pose_way_ms"] / found["frame_of_a_stream_ms"]
                figures[name] = found | {"rate_over_trt_pose_way": ratio}
    return {n: {k: round(v, 4) for k, v in found.items()} for n, found in figures.items()}


def _frames(
    clock: Clock, place: Callable[[], Any], network: Callable[[], Any], start: Callable[[], Any]
) -> dict[str, Any]:
    """The network alone; with what comes before and after; and both as in a stream, where the next frame is queued
    before the last one is finished."""
    runner, under_way = clock.runner, list[Any]()

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

    found = {"network_ms": clock.wall_ms(alone), "frame_ms": clock.wall_ms(frame)}
    found["frame_of_a_stream_ms"] = clock.wall_ms(frame_of_a_stream)
    under_way.pop().result()
    found["network_of_a_stream_ms"] = clock.wall_ms(network_of_a_stream)
    under_way.pop().synchronize()
    added = {
        "added_to_network": found["frame_ms"] / found["network_ms"] - 1,
        "added_in_a_stream": found["frame_of_a_stream_ms"] / found["network_of_a_stream_ms"] - 1,
    }
    return found | added


def _parser(topology: Any, trt_pose: Path | None) -> Any:
    """trt_pose's decoding; ours where there is no clone of it, which is quicker and flatters them."""
    if trt_pose is None:
        return BottomUpDecoder(topology)
    from decode import trt_pose_decoder

    return trt_pose_decoder(trt_pose, Path(tempfile.mkdtemp()), topology)


def _their_way(
    torch: Any, network: Any, pixels: np.ndarray, parse: Callable[[], Any]
) -> Callable[[], None]:
    """OpenCV resize, torch normalisation, the same network, all maps to the CPU and the parse there."""
    import cv2

    mean = torch.tensor(MEAN, device="cuda")[:, None, None]
    std = torch.tensor(STD, device="cuda")[:, None, None]

    def frame_their_way() -> None:
        small = cv2.resize(pixels, (224, 224))
        x = torch.from_numpy(small).permute(2, 0, 1).cuda().float().div_(255)
        x = x.sub_(mean).div_(std)[None].half().contiguous(memory_format=torch.channels_last)
        found, fields = network(x)
        found.cpu(), fields.cpu()
        parse()

    return frame_their_way
