"""Self-test of the kernels: compiled for the host, and on the GPU, against their numpy twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgepose.cuda import twins
from edgepose.cuda.device import device_kernels
from edgepose.cuda.host_kernels import HostRunner
from edgepose.cuda.kernels import DecodeBlock, Kernels, PeopleBlock
from edgepose.cuda.pictures import Planes, Shape, TensorLayout, address_of
from edgepose.decode.bottom_up import BottomUpDecoder
from edgepose.decode.bottom_up_numpy import BottomUpParams, Decoded, decode_numpy, decode_rest
from edgepose.decode.device import unpack
from edgepose.decode.movenet import MAPS, MOST
from edgepose.decode.movenet import decode_numpy as decode_movenet_numpy
from edgepose.decode.movenet_device import unpack_people
from edgepose.doctor.proof import Proof, attempt
from edgepose.geometry import Affine, letterbox, stretch
from edgepose.networks.topology import Topology, load_topology

ProofMaps = NDArray[np.float32]

# Kernels are compiled without fused multiply-add and equal their twins bit for bit on the host; a
# GPU may round a division or a square root differently.
TENSOR_BOUND = 1e-4  # of a normalised input, float32
HALF_BOUND = 4e-3  # the same in float16: one step at 4
LEVEL_BOUND = 1.0  # of 255, of a drawn pixel
PIXEL_BOUND = 0.01  # of a coordinate in the network's input
DECODE_BOUND = 1e-4  # of a coordinate as a fraction of the picture, and of a score


class Place(Protocol):
    """Where kernels run, and how arrays get there and back.

    Attributes:
        name: of the place, "" where its title says it.
    """

    kernels: Kernels
    name: str

    def put(self, array: NDArray[Any]) -> Any:
        """The array where kernels reach it."""
        ...

    def get(self, array: Any) -> NDArray[Any]:
        """The array as numpy."""
        ...


class OnHost:
    """The host build.

    Raises:
        BackendUnavailable: it was not compiled.
    """

    def __init__(self) -> None:
        self.kernels, self.name = Kernels(HostRunner()), ""

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return array

    def get(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array itself."""
        return array


class OnGpu:
    """The first GPU.

    Raises:
        BackendUnavailable: no binding, driver or GPU.
    """

    def __init__(self) -> None:
        self.kernels = device_kernels()
        self.runner = cast(Any, self.kernels.runner)  # a DeviceRunner
        gpu = self.runner.context.name
        self.name = f"{gpu}, {self.runner.origin}"

    def put(self, array: NDArray[Any]) -> Any:
        """A copy in GPU memory."""
        there = self.runner.pool.device(array.shape, array.dtype)
        self.runner.context.put(there.address, np.ascontiguousarray(array))
        return there

    def get(self, array: Any) -> NDArray[Any]:
        """A copy on the host, when the GPU is through."""
        copy: NDArray[Any] = self.runner.download(array)
        return copy


def prove() -> Iterator[Proof]:
    """All proofs of kernels, one after the other."""
    yield attempt("decoder, compiled", _compiled_decoder)
    for where, make in (("host", OnHost), ("GPU", OnGpu)):
        yield from _on_place(where, make)


def _on_place(where: str, make: Callable[[], Place]) -> Iterator[Proof]:
    place: Place | None = None
    for name, run, bounds in (
        ("preprocess", _preprocess, {"float32": TENSOR_BOUND, "float16": HALF_BOUND}),
        ("overlay", _overlay, {"levels": LEVEL_BOUND}),
        ("peaks and lines", _decode, {"coordinates": DECODE_BOUND, "scores": DECODE_BOUND}),
        ("people", _people, {"pixels": PIXEL_BOUND, "scores": DECODE_BOUND}),
    ):
        title = f"{name} kernel, {where}"

        def proof(
            title: str = title,
            run: Callable[[Place], dict[str, float]] = run,
            bounds: dict[str, float] = bounds,
        ) -> Proof:
            nonlocal place
            place = place or make()
            return _judged(title, run(place), bounds, place.name)

        yield attempt(title, proof)


def _judged(
    name: str, differences: dict[str, float], bounds: dict[str, float], where: str = ""
) -> Proof:
    """Largest differences against their bounds."""
    inside = all(differences[key] <= bound for key, bound in bounds.items())
    equal = not any(differences.values())
    found = "equals its twin" if equal else "off by " + _listed(differences)
    return Proof(
        name,
        "ok" if inside else "fail",
        f"{found} ({where})" if where else found,
        "at most " + _listed(bounds),
        differences,
    )


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{value:.2g} ({key})" for key, value in values.items())


def _largest(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where shapes or the places of NaN differ."""
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    return float(np.nanmax(np.abs(a - b), initial=0.0))


# pictures -----------------------------------------------------------------------------------------
def _picture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Slopes, edges and noise."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 255 / width, y * 255 / height, 128 + 100 * np.sin((x + y) / 9)], -1)
    noise = np.random.default_rng(seed).normal(0, 12, base.shape)
    base[height // 3 : height // 2, width // 4 : width // 2] = 255
    return np.clip(base + noise, 0, 255).astype(np.uint8)


def _preprocess(place: Place) -> dict[str, float]:
    plain = TensorLayout(96, 64, (0.017, 0.0175, 0.0174), (-2.1, -2.0, -1.8), pad=116)
    layouts = (
        plain,
        replace(plain, width=64, height=96, bgr=True, nhwc=True),
        replace(plain, half=True),
    )
    worst = {"float32": 0.0, "float16": 0.0}
    for seed, layout in enumerate(layouts):
        size = (layout.width, layout.height)
        for host, affine in _cases(size, seed):
            want = twins.preprocess([host], [affine], layout)
            there = Planes(
                tuple(place.put(plane) for plane in host.planes),
                host.format,
                host.width,
                host.height,
                host.matrix,
                host.full_range,
            )
            got = place.get(place.kernels.preprocess([there], [affine], layout))
            key = "float16" if layout.half else "float32"
            worst[key] = max(worst[key], _largest(got, want))
    return worst


def _cases(size: tuple[int, int], seed: int) -> Iterator[tuple[Planes, Affine]]:
    """Every format; enlarging, shrinking, padded, rotated."""
    small, large = _picture(50, 37, seed), _picture(333, 211, seed + 9)
    alpha = np.full((*large.shape[:2], 1), 255, np.uint8)
    yield Planes.packed(small), stretch((50, 37), size)
    yield Planes.packed(large), letterbox((333, 211), size)
    yield Planes.packed(large, "bgr8"), Affine(0.3, -0.2, 20.0, 0.2, 0.3, -10.0)
    yield Planes.packed(np.concatenate([large, alpha], 2), "rgba8"), stretch((333, 211), size)
    luma, u, v = large[..., 0].copy(), large[::2, ::2, 1].copy(), large[::2, ::2, 2].copy()
    yield Planes.nv12(luma, np.stack([u, v], -1)), letterbox((333, 211), size)
    yield Planes.i420(luma, u, v, matrix="bt709"), stretch((333, 211), size)


def _overlay(place: Place) -> dict[str, float]:
    rng = np.random.default_rng(3)
    canvas = _picture(160, 120, 1)
    shapes = [
        Shape(
            ("capsule", "box", "filled box")[i % 3],
            (float(x), float(y)),
            (float(x + dx), float(y + dy)),
            float(radius),
            (float(255 - i), float(i), float(3 * i)),
            0.25 + i / 80,
        )
        for i, (x, y, dx, dy, radius) in enumerate(
            rng.uniform(-20, 140, (60, 5)) * (1, 1, 1, 1, 0.05)
        )
    ]
    there = place.put(canvas.copy())
    place.kernels.overlay(there, shapes)
    got = place.get(there)
    twins.overlay(canvas, shapes)
    return {"levels": _largest(got, canvas)}


# decoding -----------------------------------------------------------------------------------------
def _crowd(
    topology: Topology, size: tuple[int, int], people: int, seed: int
) -> tuple[ProofMaps, ProofMaps]:
    """Maps of several people with noise: discs of confidence, fields along the links."""
    rng = np.random.default_rng(seed)
    height, width = size
    keypoints, fields = len(topology.keypoints), int(topology.table[:, :2].max()) + 1
    cmap = rng.normal(0, 0.03, (keypoints, height, width))
    paf = rng.normal(0, 0.05, (fields, height, width))
    y, x = np.mgrid[:height, :width] + 0.5
    for _ in range(people):
        centre = rng.uniform(0.2, 0.8, 2) * (width, height)
        places = centre + rng.normal(0, 0.12, (keypoints, 2)) * (width, height)
        for k, (px, py) in enumerate(places):
            cmap[k] += rng.uniform(0.3, 1) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4)
        for rows, columns, a, b in topology.table:
            start, way = places[a], places[b] - places[a]
            length = float(np.hypot(*way)) or 1.0
            t = ((x - start[0]) * way[0] + (y - start[1]) * way[1]) / length**2
            near = (np.abs((x - start[0]) * way[1] - (y - start[1]) * way[0]) / length < 2) & (
                np.abs(t - 0.5) < 0.6
            )
            paf[rows][near] = way[1] / length
            paf[columns][near] = way[0] / length
    cmap[:, 0, 0] = np.nan
    return cmap.astype(np.float32), paf.astype(np.float32)


def _scenes() -> Iterator[tuple[Topology, ProofMaps, ProofMaps]]:
    topology = load_topology("human_pose")
    for seed, (people, size) in enumerate(((0, (9, 14)), (1, (56, 56)), (7, (68, 120)))):
        yield topology, *_crowd(topology, size, people, seed)


def _apart(got: Decoded, want: Decoded) -> dict[str, float]:
    if got.keypoints.shape != want.keypoints.shape:
        return {"coordinates": float("inf"), "scores": float("inf")}
    return {
        "coordinates": _largest(got.keypoints[..., :2], want.keypoints[..., :2]),
        "scores": max(
            _largest(got.keypoints[..., 2], want.keypoints[..., 2]),
            _largest(got.links, want.links),
        ),
    }


def _compiled_decoder() -> Proof:
    worst = {"coordinates": 0.0, "scores": 0.0}
    params = BottomUpParams()
    for topology, cmap, paf in _scenes():
        got = BottomUpDecoder(topology, params, "host")(cmap, paf)
        apart = _apart(got, decode_numpy(cmap, paf, topology.table, params))
        worst = {key: max(worst[key], apart[key]) for key in worst}
    return _judged("decoder, compiled", worst, dict.fromkeys(worst, DECODE_BOUND))


def _decode(place: Place) -> dict[str, float]:
    worst = {"coordinates": 0.0, "scores": 0.0}
    params = BottomUpParams()
    for topology, cmap, paf in _scenes():
        got = _by_kernels(place, topology, cmap, paf, params)
        apart = _apart(got, decode_numpy(cmap, paf, topology.table, params))
        worst = {key: max(worst[key], apart[key]) for key in worst}
    return worst


def _by_kernels(
    place: Place, topology: Topology, cmap: ProofMaps, paf: ProofMaps, params: BottomUpParams
) -> Decoded:
    """Peaks and line scores by the kernels, the rest with numpy."""
    size, table = cmap.shape[1:], topology.table
    block = DecodeBlock(len(topology.keypoints), len(table), params.max_peaks)
    memory = place.put(np.zeros((1, block.item_words), np.int32))
    far = place.put(np.zeros((1, block.far_words), np.float32))
    maps, fields = place.put(cmap[None]), place.put(paf[None])
    links = place.put(np.ascontiguousarray(table, np.int32))
    place.kernels.peaks(
        address_of(maps),
        1,
        cmap.size,
        (size[0], size[1]),
        params.keypoint_threshold,
        params.window,
        block,
        address_of(memory),
    )
    place.kernels.line_scores(
        address_of(fields),
        1,
        paf.size,
        (size[0], size[1]),
        address_of(links),
        params.samples,
        block,
        address_of(memory),
        address_of(far),
    )
    found = unpack(block, place.get(memory)[0], place.get(far)[0], size[1])
    return decode_rest(*found, table, params, (size[0], size[1]))


def _people(place: Place) -> dict[str, float]:
    """MoveNet's maps with five people."""
    rng, count, k, size = np.random.default_rng(5), 5, 17, (48, 64)
    channels = dict(zip(MAPS, (1, 2, 2, k, 2 * k, 2 * k), strict=True))
    maps = {n: rng.uniform(0, 0.04, (c, *size)).astype(np.float32) for n, c in channels.items()}
    for y, x in rng.integers((8, 8), (40, 56), (count, 2)):
        maps["center"][0, y, x] = rng.uniform(0.3, 1)
        maps["box_scale"][:, y, x] = rng.uniform(8, 30, 2)
        maps["kpt_regress"][:, y, x] = rng.uniform(-9, 9, 2 * k)
    maps["kpt_heatmap"] += rng.uniform(0, 1, (k, *size)).astype(np.float32)
    block = PeopleBlock(k, MOST)
    memory = place.put(np.zeros((1, block.item_words), np.int32))
    candidates = place.put(np.zeros((1, *size), np.int32))
    there = {name: place.put(m[None]) for name, m in maps.items()}
    addresses = {name: address_of(array) for name, array in there.items()}
    place.kernels.people(addresses, 1, size, 0.1, block, address_of(memory), address_of(candidates))
    got, want = unpack_people(block, place.get(memory)[0]), decode_movenet_numpy(maps, 0.1)
    return {
        "pixels": max(
            _largest(got.points[..., :2], want.points[..., :2]), _largest(got.boxes, want.boxes)
        ),
        "scores": max(
            _largest(got.points[..., 2], want.points[..., 2]), _largest(got.scores, want.scores)
        ),
    }
