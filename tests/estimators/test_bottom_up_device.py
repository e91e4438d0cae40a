"""Bottom-up on a GPU equals bottom-up on the CPU: real pictures, a real network, real maps.

The tests marked gpu run on a GPU; without one, `test_all_of_it_on_a_stand_in` runs them with the real bindings
on a stand-in for the driver that executes the shipped PTX on the CPU (tests/cuda/fake_driver.cpp).
Only the network runs elsewhere: ONNX Runtime on the CPU takes its input out of the engine's buffers
and puts its maps there.
"""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgepose.cuda.pictures import Planes, address_of
from edgepose.cuda.twins import enlarge, preprocess
from edgepose.draw.overlay import Overlay
from edgepose.engines import EngineOptions, load_engine
from edgepose.engines.base import Choice
from edgepose.engines.device import DeviceEngine
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.bottom_up import BottomUp
from edgepose.networks import registry
from edgepose.networks.manifest import Manifest
from edgepose.networks.resolve import resolve
from edgepose.pipeline import Pipeline
from edgepose.preprocess import as_rgb, fit, to_tensor
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose, Shape, TensorSpec
from tests.cuda.stand_in import StandIn, all_passed

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "data/networks/edgepose-lite-body.onnx"
NAMES = (
    *("000000000139", "000000000790", "000000030752", "000000057597", "000000069468"),
    *("000000000005", "000000000008", "000000000009"),  # those that the repository brings
)
F32 = np.dtype(np.float32)
Maps = dict[str, np.ndarray]


def apart(maps: Maps) -> Maps:
    """The maps as the network gives them."""
    return maps


def joint(maps: Maps) -> Maps:
    """Fields behind the maps in one tensor, a background between them."""
    cmap, paf = maps["cmap"], maps["paf"]
    return {"both": np.concatenate([cmap, cmap[:, :1] * 0 + 9, paf], axis=1)}


def channels_last(maps: Maps) -> Maps:
    """NHWC."""
    return {name: np.ascontiguousarray(m.transpose(0, 2, 3, 1)) for name, m in maps.items()}


def half(maps: Maps) -> Maps:
    """float16."""
    return {name: m.astype(np.float16) for name, m in maps.items()}


class CpuNetwork(DeviceEngine):
    """A GPU engine whose network is ONNX Runtime's; remembers what went in and came out."""

    def __init__(
        self,
        rows: int = 1,
        fixed: bool = False,
        shaped: Callable[[Maps], Maps] = apart,
        model: Path = MODEL,
        side: int = 256,
    ):
        import onnxruntime

        from edgepose.cuda.buffers import open_cuda

        super().__init__(open_cuda())
        self.name, self.choice, self.max_batch = "double", Choice("double"), rows
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options)
        self._shaped, self._rows = shaped, rows
        self.fed: list[np.ndarray] = []
        self.answers: list[Maps] = []
        self.slots: list[Any] = []
        picture = (3, side, side)
        sample = self.compute(np.zeros((1, *picture), np.float32))
        batch = rows if fixed else -1
        self.inputs = (TensorSpec("input", (batch, *picture), F32),)
        self.outputs = tuple(
            TensorSpec(n, (batch, *m.shape[1:]), m.dtype) for n, m in sample.items()
        )

    def compute(self, feed: np.ndarray) -> Maps:
        names = [o.name for o in self._session.get_outputs()]
        return self._shaped(dict(zip(names, self._session.run(None, {"input": feed}), strict=True)))

    def largest(self, specs: Sequence[TensorSpec]) -> Iterator[TensorSpec]:
        return (s._replace(shape=(self._rows, *s.shape[1:])) for s in specs)

    def output_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {s.name: (shapes["input"][0], *s.shape[1:]) for s in self.outputs}

    def launch(self, slot: Any, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
        gpu = self.cuda.context  # type: ignore[attr-defined]
        self.stream.synchronize()
        feed = np.empty(inputs["input"], np.float32)
        gpu.driver.memcpy_dtoh(feed, slot.inputs["input"].address)
        answers = self.compute(np.nan_to_num(feed, posinf=0, neginf=0).clip(-9, 256))
        for name, maps in answers.items():
            assert maps.shape == outputs[name]
            gpu.put(slot.outputs[name].address, np.ascontiguousarray(maps))
        self.fed.append(feed)
        self.answers.append(answers)
        self.slots.append(slot)

    def release(self) -> None:
        self._session = None


class QueuedNetwork(CpuNetwork):
    """Answers what was prepared, in turn, by copies that only wait in the engine's stream."""

    def __init__(self) -> None:
        super().__init__()
        self.ready: list[dict[str, Any]] = []

    def launch(self, slot: Any, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
        driver = self.cuda.context.driver  # type: ignore[attr-defined]
        for name, maps in self.ready[len(self.slots)].items():
            target = slot.outputs[name].address
            driver.memcpy_dtod_async(target, maps.address, maps.nbytes, self.stream)
        self.slots.append(slot)

    def prepare(self, answers: Maps) -> None:
        """Further answers, in GPU memory already."""
        self.answers.append(answers)
        there = {name: self.cuda.empty(maps.shape, maps.dtype) for name, maps in answers.items()}
        for name, maps in answers.items():
            self.cuda.context.put(there[name].address, maps)  # type: ignore[attr-defined]
        self.ready.append(there)


@pytest.fixture(scope="module")
def gpu() -> Iterator[Any]:
    from edgepose.cuda.buffers import open_cuda

    try:
        yield open_cuda().context
    except BackendUnavailable as e:
        pytest.skip(f"no GPU: {e}")
    open_cuda().context.close()


@pytest.fixture(scope="module")
def frames(shared: Path) -> list[Frame]:
    cv2 = pytest.importorskip("cv2")
    folder = shared / "datasets/coco-mini/images"
    paths = [p for p in sorted(folder.glob("*.jpg")) if p.stem in NAMES]
    assert len(paths) >= 3
    return [Frame(as_rgb(cv2.imread(str(p))[:, :, ::-1]), index=i) for i, p in enumerate(paths)]


@pytest.fixture(scope="module")
def on_cpu(frames: list[Frame]) -> list[tuple[Pose, ...]]:
    """The poses that an engine on the CPU finds in `frames`."""
    return host_poses(frames)


def manifest(**decoder: Any) -> Manifest:
    own = registry.find("edgepose-lite-body")
    return replace(own, decoder={**own.decoder, **decoder})


def estimator(engine: Any, described: Manifest | None = None, **options: Any) -> BottomUp:
    topology = resolve("edgepose-lite-body", model=MODEL).topology
    assert topology is not None
    return BottomUp(engine, described or manifest(), topology, EstimatorOptions(**options))


def host_poses(
    frames: Sequence[Frame], described: Manifest | None = None
) -> list[tuple[Pose, ...]]:
    engine = load_engine(
        MODEL, EngineOptions(engine="onnxruntime", threads=1, default_shape=(256, 256))
    )
    return run(estimator(engine, described), frames)


def run(on: BottomUp, frames: Sequence[Frame]) -> list[tuple[Pose, ...]]:
    watch = Stopwatch()
    try:
        found = on.estimate(frames, watch)
    finally:
        on.close()
    assert set(watch.stages) == {"preprocess", "network", "postprocess"}
    return found


def decoded(on: BottomUp, answers: Sequence[Maps], frames: Sequence[Frame]) -> list[Any]:
    """The poses that the host decoder finds in what the network answered."""
    spec = on.manifest.input
    rows = [(maps, i) for maps in answers for i in range(len(next(iter(maps.values()))))]
    return [
        on.poses(on._decoder(*taken(on, maps, i)), fit(spec, f.width, f.height), f.width, f.height)
        for (maps, i), f in zip(rows, frames, strict=True)
    ]


def taken(on: BottomUp, maps: Maps, item: int) -> Iterator[np.ndarray]:
    """What is decoded: enlarged by the kernel's twin, from which OpenCV differs in the last bits."""
    for binding in on._maps:
        yield np.ascontiguousarray(enlarge(binding.take(maps, item), on._upsample))


def assert_same(found: Sequence[Any], wanted: Sequence[Any]) -> None:
    assert [len(p) for p in found] == [len(p) for p in wanted]
    assert sum(map(len, wanted)) >= 3  # people are there at all
    for mine, theirs in zip(found, wanted, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a.points, b.points)
            assert (a.id, a.links, a.score, a.box) == (b.id, b.links, b.score, b.box)


def assert_close(found: Sequence[Any], wanted: Sequence[Any], frames: Sequence[Frame]) -> None:
    """The same people, but for one: OpenCV rounds resized bytes, the kernel does not, and in a crowd that
    can turn a weak link between two people."""
    sure = missed = 0
    for mine, theirs, frame in zip(found, wanted, frames, strict=True):
        near = 0.01 * max(frame.width, frame.height)
        for pose in (p for p in theirs if p.score > 0.3):
            best = min(mine, key=lambda m: _distance(m, pose), default=None)
            sure += 1
            missed += best is None or _distance(best, pose) > near
    assert sure >= 3
    assert missed <= (sure >= 8)


def _distance(a: Pose, b: Pose) -> float:
    both = (a.points[:, 2] > 0) & (b.points[:, 2] > 0)
    off = np.hypot(*(a.points[both, :2] - b.points[both, :2]).T)
    return float(np.median(off)) if both.sum() >= 3 else np.inf


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shaped", "rows", "fixed", "upsample"),
    [
        (apart, 1, True, 1),
        (joint, 1, False, 1),
        (joint, 2, True, 2),
        (apart, 8, False, 1),
    ],
)
def test_the_same_poses_as_on_the_cpu(
    gpu: Any,
    frames: list[Frame],
    on_cpu: list[tuple[Pose, ...]],
    shaped: Callable[[Maps], Maps],
    rows: int,
    fixed: bool,
    upsample: int,
) -> None:
    engine = CpuNetwork(rows, fixed, shaped)
    described = manifest(upsample=upsample)
    if shaped is joint:
        own = manifest(upsample=upsample, cmap_channels=[0, 18], paf_channels=[19, 61])
        described = replace(own, outputs={"cmap": "both", "paf": "both"})
    on = estimator(engine, described)
    assert on.device is not None
    found = run(on, frames)
    filled = [len(frames[i : i + rows]) for i in range(0, len(frames), rows)]
    answers = [
        {name: maps[:n] for name, maps in answer.items()}
        for answer, n in zip(engine.answers, filled, strict=True)
    ]
    assert_same(found, decoded(on, answers, frames))
    assert_close(
        found, on_cpu if upsample == 1 else host_poses(frames, manifest(upsample=upsample)), frames
    )
    feeds = np.concatenate([feed[:n] for feed, n in zip(engine.fed, filled, strict=True)])
    layout = on._runner.device._layout  # type: ignore[union-attr]
    places = [fit(on.manifest.input, f.width, f.height) for f in frames]
    wanted = preprocess(
        [Planes.packed(f.pixels) for f in frames], [p.drawn for p in places], layout
    )
    np.testing.assert_allclose(feeds, wanted, atol=1e-5)
    rounded = [
        to_tensor([f.pixels], [p], on.manifest.input)[0]
        for f, p in zip(frames, places, strict=True)
    ]
    assert (
        np.abs(feeds - np.stack(rounded)).max() < 0.76 / 255 / 0.224
    )  # bytes are rounded, and so are OpenCV's weights


@pytest.mark.gpu
def test_frames_overtake_nothing_in_two_slots(gpu: Any, frames: list[Frame]) -> None:
    """Everything is queued, and nothing has waited, before the first poses are asked for."""
    engine = QueuedNetwork()
    on = estimator(engine)
    places = [fit(on.manifest.input, f.width, f.height) for f in frames]
    for f, place in zip(frames, places, strict=True):
        tensor = preprocess([Planes.packed(f.pixels)], [place.drawn], on._runner.device._layout)  # type: ignore[union-attr]
        engine.prepare(engine.compute(tensor))
    wanted = decoded(on, engine.answers, frames)
    assert on.ahead == 1
    finishers = [on.begin([f], Stopwatch()) for f in frames]
    found = [finish()[0] for finish in finishers]
    assert_same(found, wanted)
    assert len(set(map(id, engine.slots))) == 2
    assert all(a is not b for a, b in zip(engine.slots, engine.slots[1:], strict=False))
    on.close()


@pytest.mark.gpu
def test_eight_threads_get_their_own_poses(gpu: Any, frames: list[Frame]) -> None:
    """Both ways of pictures into the engine: maps decoded in place, and answers on the host."""
    on = estimator(CpuNetwork())
    places = [fit(on.manifest.input, f.width, f.height).drawn for f in frames]
    feed = on._runner.device
    assert feed is not None

    def ask(number: int) -> tuple[Any, np.ndarray]:
        frame, place = frames[number], [places[number]]
        poses = on.estimate([frame], Stopwatch())[0]
        return poses, feed.run([frame.pixels], [0], place, Stopwatch())["cmap"]

    alone = [ask(i) for i in range(len(frames))]
    with ThreadPoolExecutor(8) as pool:
        turns = [i % len(frames) for i in range(24)]
        for number, (poses, maps) in zip(turns, pool.map(ask, turns), strict=True):
            assert_same([poses, *(p for p, _ in alone)], [alone[number][0], *(p for p, _ in alone)])
            np.testing.assert_array_equal(maps, alone[number][1])
    on.close()


class CudaImage:
    """What jetson-utils hands out, as far as anybody may look at it."""

    def __init__(self, pixels: np.ndarray, runner: Any) -> None:
        from tests.cuda.conftest import copy_to_device

        self._memory = copy_to_device(runner, pixels)
        self.shape, self.format = pixels.shape, "rgb8"
        self.height, self.width, self.channels = pixels.shape

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._memory.__cuda_array_interface__, "typestr": "|u1"}


@pytest.mark.gpu
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("upsample", [1, 2])
def test_an_image_on_the_device_is_not_copied(
    gpu: Any, frames: list[Frame], alpha: bool, upsample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = manifest(upsample=upsample)
    on = estimator(CpuNetwork(), described)
    wanted = on.estimate(frames, Stopwatch())
    runner: Any = on._runner.device.kernels.runner  # type: ignore[union-attr]

    def upload(*arguments: Any) -> None:
        raise AssertionError("a picture was uploaded")

    monkeypatch.setattr(runner, "upload", upload)
    pictures = [np.dstack([f.pixels, f.pixels[..., :1]]) if alpha else f.pixels for f in frames]
    images = [Frame(CudaImage(np.ascontiguousarray(p), runner)) for p in pictures]
    assert images[0].on_device
    assert_same(on.estimate(images, Stopwatch()), wanted)
    on.close()


@pytest.mark.gpu
def test_a_picture_of_another_stream_is_waited_for(gpu: Any, frames: list[Frame]) -> None:
    """The maker's copy into the image is only queued when the frame is given."""
    on = estimator(CpuNetwork())
    wanted = on.estimate(frames[:1], Stopwatch())
    runner: Any = on._runner.device.kernels.runner  # type: ignore[union-attr]
    source = CudaImage(frames[0].pixels, runner)
    for stream in (None, gpu.stream()):
        image = CudaImage(np.zeros_like(frames[0].pixels), runner)
        with gpu.active():
            gpu.driver.memcpy_dtod_async(
                address_of(image), address_of(source), frames[0].pixels.nbytes, stream
            )
        named = SimpleNamespace(
            shape=image.shape,
            __cuda_array_interface__={
                **image.__cuda_array_interface__,
                **({"stream": stream.handle} if stream else {}),
            },
        )
        found = on.estimate([Frame(named)], Stopwatch())
        np.testing.assert_array_equal(found[0][0].points, wanted[0][0].points)
    on.close()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("shaped", "reason"),
    [
        (channels_last, "output 'cmap' has its channels last"),
        (half, "output 'cmap' is float16, not float32"),
    ],
)
def test_maps_that_the_kernels_do_not_read_come_to_the_cpu(
    gpu: Any,
    frames: list[Frame],
    shaped: Callable[[Maps], Maps],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = CpuNetwork(2, False, shaped)
    with caplog.at_level(logging.DEBUG, "edgepose"):
        on = estimator(engine)
        found = run(on, frames)
    assert on.device is None
    assert on.ahead == 0
    assert [r.getMessage() for r in caplog.records if "maps" in r.msg] == [
        f"double: its maps are decoded on the CPU, as {reason}"
    ]
    assert_same(
        found,
        decoded(on, [{k: np.float32(v) for k, v in a.items()} for a in engine.answers], frames),
    )
    if shaped is not half:
        assert_close(found, host_poses(frames), frames)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "what", ["edgepose.cuda.device.device_kernels", "edgepose.estimators.device_path.DeviceDecoder"]
)
@pytest.mark.parametrize("error", [BackendUnavailable("no luck."), RuntimeError("no luck")])
def test_what_does_not_start_is_said_once_and_the_cpu_serves(
    gpu: Any,
    frames: list[Frame],
    on_cpu: list[tuple[Pose, ...]],
    what: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(what, broken)
    on = estimator(CpuNetwork())
    found = run(on, frames)
    (message,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert message.startswith("double: ")
    assert message.endswith("on the CPU: no luck")
    assert_close(found, on_cpu, frames)


@pytest.mark.gpu
def test_an_answer_that_is_not_finite_is_an_error(gpu: Any, frames: list[Frame]) -> None:
    on = estimator(CpuNetwork(shaped=lambda maps: {n: m * np.nan for n, m in maps.items()}))
    with pytest.raises(EngineError, match="not finite"):
        run(on, frames)


@pytest.mark.gpu
def test_a_run_draws_into_the_device_frames_in_place(
    gpu: Any, frames: list[Frame], recwarn: pytest.WarningsRecorder
) -> None:
    """Source to output on the device: the same frames come out, with what was found drawn in."""
    on = estimator(CpuNetwork())
    runner: Any = on._runner.device.kernels.runner  # type: ignore[union-attr]
    images = [replace(f, pixels=CudaImage(f.pixels, runner)) for f in frames]

    class Images:
        live, name, stills = False, "device", False

        def __iter__(self) -> Iterator[Frame]:
            return iter(images)

        def close(self) -> None:
            pass

    gc.collect()  # of the tests before
    written: list[Frame] = []
    output: Any = SimpleNamespace(write=written.append)
    Pipeline(Images(), on, overlay=Overlay(on.topology), outputs=[output]).run()
    wanted = on.estimate(frames, Stopwatch())
    # what PyCUDA cannot free, as it lost its last user in a thread without the GPU
    late = [f"{w.message} {w.filename}:{w.lineno}" for w in recwarn if "clean" in str(w.message)]
    assert late == []
    assert [a.pixels is b.pixels for a, b in zip(written, images, strict=True)] == [True] * len(
        images
    )
    for frame, plain, poses in zip(written, frames, wanted, strict=True):
        drawn = runner.download(frame.pixels._memory)
        expected = plain.pixels.copy()
        Overlay(on.topology).draw(expected, poses)
        touched = (expected != plain.pixels).any(axis=2)
        off = np.abs(drawn.astype(int) - expected).max(axis=2)
        assert (off > 60).sum() <= 0.2 * touched.sum()
        assert not len(poses) or (drawn != plain.pixels).any()
    on.close()


@pytest.mark.gpu
def test_no_frames_and_frames_without_people(gpu: Any) -> None:
    on = estimator(CpuNetwork(2))
    assert on.estimate([], Stopwatch()) == []
    assert on.begin([], Stopwatch())() == []
    empty = [Frame(np.zeros((h, w, 3), np.uint8)) for h, w in ((480, 640), (1, 1), (3, 900))]
    assert on.estimate(empty, Stopwatch()) == [(), (), ()]
    assert on.begin(empty, Stopwatch())() == [(), (), ()]
    on.close()
    on.close()


@pytest.mark.gpu
def test_estimators_come_and_go_without_leaving_memory_behind(
    gpu: Any, frames: list[Frame]
) -> None:
    try:
        live = ctypes.CDLL("libcuda.so.1").fake_live
    except AttributeError:
        pytest.skip("only the stand-in counts")

    def counts() -> list[int]:
        gc.collect()
        now = (ctypes.c_int * 6)()
        live(now)
        return list(now)

    seen = []
    for _ in range(3):
        on = estimator(CpuNetwork(2))
        on.estimate(frames, Stopwatch())
        on.begin(frames[:1], Stopwatch())  # nobody asks for it
        on.close()
        seen.append(counts())
    # device and page-locked blocks, streams, modules: the engines' pool keeps its blocks for the next
    assert seen[1][:3] == seen[2][:3]
    assert seen[1][4] == seen[2][4]


@pytest.mark.parametrize(("binding", "integrated"), [("pycuda", "0"), ("cuda-bindings", "1")])
def test_all_of_it_on_a_stand_in(
    stand_in: StandIn, shared: Path, binding: str, integrated: str
) -> None:
    options = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", __file__]
    all_passed(stand_in.run(options, binding, FAKE_INTEGRATED=integrated))


LIFE = """
import ctypes, gc
import cv2, sys
from edgepose.pipeline import Pipeline
from edgepose.preprocess import as_rgb
from edgepose.timing import Stopwatch
from edgepose.types import Frame
from tests.estimators.test_bottom_up_device import CpuNetwork, estimator

on = estimator(CpuNetwork(2))
frames = [Frame(as_rgb(cv2.imread(p)[:, :, ::-1])) for p in sys.argv[1:]]
print(sum(map(len, on.estimate(frames, Stopwatch()))) > 0)
context = on.engine.cuda.context
on.close()
context.close()
del on, context
gc.collect()
counts = (ctypes.c_int * 6)()
ctypes.CDLL("libcuda.so.1").fake_live(counts)
print(counts[0], counts[1], counts[5])
"""


def test_nothing_is_left_when_the_context_closes(
    stand_in: StandIn,
    shared: Path,
) -> None:
    images = sorted((shared / "datasets/coco-mini/images").glob("*.jpg"))
    paths = [str(path) for path in images if path.stem in NAMES][1:3]
    done = stand_in.run(["-c", LIFE, *paths])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split("\n")[:2] == ["True", "0 0 0"]
    assert "clean-up" not in done.stderr


@pytest.mark.parametrize("way", ["get", "cpu", "jetson"])
def test_device_frames_are_fetched_for_an_engine_on_the_cpu(
    way: str, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = frames[1].pixels
    image = SimpleNamespace(shape=pixels.shape)
    if way == "get":
        image.get = lambda: pixels
    elif way == "cpu":
        image.cpu = lambda: SimpleNamespace(numpy=lambda: pixels)
    else:
        waited: list[int] = []
        utils = SimpleNamespace(
            cudaStreamSynchronize=waited.append, cudaToNumpy=lambda image: pixels
        )
        monkeypatch.setattr("edgepose.io.jetson_utils.find", lambda: (utils, ""))
    found = host_poses([Frame(image)])
    (wanted,) = host_poses([frames[1]])
    assert len(wanted) >= 1
    assert [p.score for p in found[0]] == [p.score for p in wanted]


def test_posenet_leaves_rgb_bytes_where_they_are() -> None:
    from edgepose.given import as_frame

    bytes_ = np.zeros((4, 6, 3), np.uint8)
    grey = np.full((4, 6, 1), 7, np.uint8)
    for pixels, stays in ((bytes_, True), (grey, False)):
        interface = {"shape": pixels.shape, "typestr": "|u1", "data": (0, False), "version": 3}
        image = SimpleNamespace(
            shape=pixels.shape, __cuda_array_interface__=interface, get=pixels.copy
        )
        taken = as_frame(image).pixels
        assert (taken is image) == stays
        assert stays or (taken.shape == (4, 6, 3) and (taken == 7).all())
    assert isinstance(as_frame(bytes_).pixels, np.ndarray)
