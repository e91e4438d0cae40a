"""Timings on the GPU: kernels against the bytes they must move, decoding, and a whole frame."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frames import frame

from edgepose.cuda.device import DeviceRunner, device_kernels
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


def gpu_ms(runner: DeviceRunner, work: Callable[[], Any]) -> float:
    """Milliseconds on the GPU for one piece of queued work, the median of many rounds."""
    driver = runner.context.driver
    times = []
    with runner.context.active():
        for turn in range(ROUNDS + 3):
            start, end = driver.Event(), driver.Event()
            start.record(runner.stream)
            for _ in range(LAUNCHES):
                work()
            end.record(runner.stream)
            end.synchronize()
            if turn >= 3:
                times.append(end.time_since(start) / LAUNCHES)
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
    size = (256 if not runner.context.integrated else 64) * 2**20
    a, b = (runner.pool.device((size,), np.uint8) for _ in range(2))
    copy = runner.context.driver.memcpy_dtod_async
    rate = 2 * size / gpu_ms(runner, lambda: copy(b.address, a.address, size, runner.stream))
    runner.pool.give(a)
    runner.pool.give(b)
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
            milliseconds = gpu_ms(runner, lambda: on.overlay(rgb, shapes))  # noqa: B023
            out["overlay of 15 people on 1080p"] = {"ms": round(milliseconds, 4)}
    return out


def _preprocess(
    on: Kernels, runner: DeviceRunner, picture: Planes, side: int, rate: float
) -> dict[str, float]:
    affine = letterbox((picture.width, picture.height), (side, side))
    layout = TensorLayout(side, side, half=True)
    tensor = runner.empty(layout.shape(1), layout.dtype)
    milliseconds = gpu_ms(runner, lambda: on.preprocess([picture], [affine], layout, tensor))
    source = sum(int(np.prod(plane.shape)) for plane in picture.planes)
    bound = (source + tensor.nbytes) / rate
    runner.pool.give(tensor)
    return {"ms": round(milliseconds, 4), "of_bytes_bound": round(bound / milliseconds, 3)}


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
    """Peaks, lines and the copy back, and the whole decode as the caller sees it."""
    on = device_kernels()
    runner: Any = on.runner
    topology = load_topology("human_pose")
    on_cpu = BottomUpDecoder(topology)
    decoder = DeviceDecoder(topology, BottomUpParams(), on)
    out: dict[str, Any] = {"cpu_backend": on_cpu.backend}
    for count in (1, 5, 15):
        cmap, paf = frame(topology, count, seed=count)
        maps, fields = on_gpu(runner, cmap[None]), on_gpu(runner, paf[None])

        def queue(maps: Any = maps, fields: Any = fields) -> None:
            decoder.start(maps, fields).result()

        out[f"{count} people"] = {
            "device_ms": round(wall_ms(queue), 4),
            "cpu_ms": round(wall_ms(lambda: on_cpu(cmap, paf)), 4),  # noqa: B023
            "people_found": len(decoder(maps, fields)[0].keypoints),
        }
    return out


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

            def alone() -> None:
                model(graph_input)

            def ours() -> None:
                on.preprocess([picture], [affine], layout, tensor)
                model(given.to(memory_format=torch.channels_last))
                decoder.start(maps, fields).result()

            def waited() -> None:
                alone()
                runner.stream.synchronize()

            figures = {
                "network_alone_ms": round(wall_ms(waited), 4),
                "whole_frame_ms": round(wall_ms(ours), 4),
            }
            theirs = _their_way(torch, model, topology, pixels, cmap, paf, trt_pose)
            figures["trt_pose_way_ms"] = round(wall_ms(theirs), 4)
    alone_ms, whole = figures["network_alone_ms"], figures["whole_frame_ms"]
    figures["added_to_network"] = round(whole / alone_ms - 1, 3)
    figures["rate_over_trt_pose_way"] = round(figures["trt_pose_way_ms"] / whole, 2)
    return figures


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
