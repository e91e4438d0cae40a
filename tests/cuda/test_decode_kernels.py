"""The decoding kernels: equal to their twins, in batches, with crowds, and from end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.cuda.kernels import DecodeBlock
from edgepose.cuda.pictures import address_of
from edgepose.cuda.twins import enlarge
from edgepose.decode.bottom_up_numpy import BottomUpParams, decode_numpy, decode_rest, stages_numpy
from edgepose.decode.device import DeviceDecoder, channels, unpack
from edgepose.errors import BackendUnavailable, EngineError
from edgepose.estimators.bottom_up import enlarge as by_opencv
from edgepose.networks.topology import Topology

SPECIAL = np.array([np.nan, np.inf, -np.inf, 3e38, 0.5, 0.5, 0.1], np.float32)


def run(
    on: Any, cmap: np.ndarray, paf: np.ndarray, table: np.ndarray, params: BottomUpParams, near: int
) -> list[Any]:
    """Peaks, positions, confidence and scores of each item of a batch, by the kernels."""
    batch, keypoints, height, width = cmap.shape
    block = DecodeBlock(keypoints, len(table), params.max_peaks, near)
    memory = on.put(np.full((batch, block.item_words), -7, np.int32))
    far = on.put(np.full((batch, block.far_words), -7, np.float32))
    there, fields = on.put(cmap), on.put(paf)
    links = on.put(np.ascontiguousarray(table)) if len(table) else None
    on.kernels.peaks(
        address_of(there),
        batch,
        cmap[0].size,
        (height, width),
        params.keypoint_threshold,
        params.window,
        block,
        address_of(memory),
    )
    on.kernels.line_scores(
        address_of(fields),
        batch,
        paf[0].size,
        (height, width),
        address_of(links) if links is not None else 0,
        params.samples,
        block,
        address_of(memory),
        address_of(far),
    )
    words, more = on.get(memory), on.get(far)
    return [unpack(block, words[i], more[i], width) for i in range(batch)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, BottomUpParams, int]:
    """Batches of maps of any size: noise, plateaus, empty, full, with NaN and infinities."""
    keypoints = draw(st.integers(1, 4))
    ends = st.tuples(st.integers(0, keypoints - 1), st.integers(0, keypoints - 1))
    links = draw(st.lists(ends, max_size=5))
    table = np.array([(2 * k, 2 * k + 1, a, b) for k, (a, b) in enumerate(links)], np.int32)
    batch, shape = draw(st.integers(1, 3)), (draw(st.integers(1, 33)), draw(st.integers(1, 33)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cmap = rng.normal(0, draw(st.sampled_from([0.0, 0.3])), (batch, keypoints, *shape))
    cmap += draw(st.sampled_from([0.0, 0.5]))
    maps = [cmap, rng.normal(0, 1, (batch, max(2 * len(links), 1), *shape))]
    maps = [m.astype(np.float32) for m in maps]
    for values in maps:
        hurt = rng.random(values.shape) < draw(st.sampled_from([0.0, 0.0, 0.05, 0.5]))
        values[hurt] = rng.choice(SPECIAL, int(hurt.sum()))
    params = BottomUpParams(
        draw(st.sampled_from([0.0, 0.1, 0.5])),
        0.1,
        draw(st.integers(1, 9)),
        draw(st.integers(2, 9)),
        draw(st.sampled_from([1, 3, 20, 100])),
    )
    return maps[0], maps[1], table.reshape(-1, 4), params, draw(st.sampled_from([1, 100, 8192]))


@given(case=cases())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_kernels_equal_their_twins(on: Any, case: Any) -> None:
    cmap, paf, table, params, near = case
    for item, (peaks, positions, confidence, scores) in enumerate(
        run(on, cmap, paf, table, params, near)
    ):
        want = stages_numpy(cmap[item], paf[item], table, params)
        np.testing.assert_array_equal(peaks.offsets, want.peaks.offsets)
        np.testing.assert_array_equal(peaks.cells, want.peaks.cells)
        np.testing.assert_array_equal(positions, want.positions)
        np.testing.assert_array_equal(scores, want.scores)
        rows, columns = peaks.cells.T
        np.testing.assert_array_equal(confidence, cmap[item][peaks.keypoints, rows, columns])
        decoded = decode_rest(
            peaks, positions, confidence, scores, table, params, (cmap.shape[2], cmap.shape[3])
        )
        whole = decode_numpy(cmap[item], paf[item], table, params)
        np.testing.assert_array_equal(decoded.keypoints, whole.keypoints)
        np.testing.assert_array_equal(decoded.links, whole.links)


@given(
    factor=st.integers(1, 4),
    shape=st.tuples(*[st.integers(1, n) for n in (3, 4, 9, 9)]),
    seed=st.integers(0, 2**32 - 1),
    hurt=st.sampled_from([0.0, 0.1]),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_enlarged_maps_equal_their_twin(
    on: Any, factor: int, shape: tuple[int, int, int, int], seed: int, hurt: float
) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=shape).astype(np.float32)
    maps[rng.random(shape) < hurt] = rng.choice(SPECIAL)
    batch, count, height, width = shape
    there = on.put(maps)
    made = on.put(
        np.full((batch, count - count // 2, height * factor, width * factor), 7e7, np.float32)
    )
    asked = (batch, count - count // 2, height, width)  # the further maps of an item are not wanted
    on.kernels.enlarge(address_of(there), asked, maps[0].size, factor, address_of(made))
    with np.errstate(all="ignore"):
        wanted = [enlarge(item[: asked[1]], factor) for item in maps]
    np.testing.assert_array_equal(on.get(made), np.stack(wanted))


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(3, 32, 57), (1, 1, 1), (2, 1, 5), (2, 7, 2)])
def test_enlarged_maps_are_those_of_opencv(factor: int, shape: tuple[int, int, int]) -> None:
    """By which the host enlarges."""
    maps = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(enlarge(maps, factor), by_opencv(maps, factor), atol=3e-6)


@pytest.fixture(scope="session")
def frames(shared: Path) -> tuple[np.ndarray, np.ndarray, Topology]:
    """Some frames of trt_pose's oracle: 1, 5 and 15 people and a stress frame."""
    with np.load(shared / "oracle/trt_pose_parse/trt_pose_parse_oracle.npz") as data:
        numbers = data["frames"].tolist() if "frames" in data else range(200)
        chosen = [numbers.index(frame) for frame in (5, 110, 165, 199, 180)]
        cmap, paf = (data[name][chosen].astype(np.float32) for name in ("cmap", "paf"))
        table = data["topology"].tolist()
    names = tuple(f"k{i}" for i in range(cmap.shape[1]))
    return cmap, paf, Topology("person", names, tuple((a, b) for _, _, a, b in table))


def test_frames_of_the_oracle(on: Any, frames: Any) -> None:
    cmap, paf, topology = frames
    params = BottomUpParams()
    for item, found in enumerate(run(on, cmap, paf, topology.table, params, 8192)):
        want = stages_numpy(cmap[item], paf[item], topology.table, params)
        np.testing.assert_array_equal(found[0].cells, want.peaks.cells)
        np.testing.assert_array_equal(found[1], want.positions)
        np.testing.assert_array_equal(found[3], want.scores)


def test_the_device_decoder_needs_a_device(libraries: Any) -> None:
    from edgepose.cuda.host_kernels import HostRunner
    from edgepose.cuda.kernels import Kernels

    topology = Topology("pair", ("a", "b"), ((0, 1),))
    with pytest.raises(BackendUnavailable, match="on a GPU"):
        DeviceDecoder(topology, BottomUpParams(), Kernels(HostRunner(libraries["host"])))


@pytest.mark.gpu
def test_decoding_on_the_device_equals_the_twin(device: Any, frames: Any) -> None:
    cmap, paf, topology = frames
    params = BottomUpParams()
    decoder = DeviceDecoder(topology, params, device.kernels)
    first = decoder.start(device.put(cmap), device.put(paf))
    second = decoder.start(device.put(cmap[::-1].copy()), device.put(paf[::-1].copy()))
    for pending, order in ((first, 1), (second, -1)):
        results = pending.result()
        assert pending.result() is results
        for decoded, c, p in zip(results, cmap[::order], paf[::order], strict=True):
            want = decode_numpy(c, p, topology.table, params)
            np.testing.assert_array_equal(decoded.keypoints, want.keypoints)
            np.testing.assert_array_equal(decoded.links, want.links)


@pytest.mark.gpu
def test_a_crowd_needs_a_second_copy(device: Any) -> None:
    topology = Topology("three", ("a", "b", "c"), ((0, 1), (1, 2)))
    rng = np.random.default_rng(1)
    cmap = rng.random((2, 4, 60, 60), np.float32)  # a fourth channel that is not asked for
    paf = rng.normal(size=(2, 4, 60, 60)).astype(np.float32)
    params = BottomUpParams(window=3)
    decoder = DeviceDecoder(topology, params, device.kernels)
    for _ in range(3):  # the pool's memory is used again
        results = decoder(device.put(cmap), device.put(paf))
        for decoded, c, p in zip(results, cmap, paf, strict=True):
            want = decode_numpy(c[:3], p, topology.table, params)
            np.testing.assert_array_equal(decoded.keypoints, want.keypoints)
            np.testing.assert_array_equal(decoded.links, want.links)


@pytest.mark.gpu
def test_maps_and_fields_of_one_tensor(device: Any, frames: Any) -> None:
    cmap, paf, topology = frames
    both = device.put(np.concatenate([paf, cmap], axis=1))
    decoder = DeviceDecoder(topology, BottomUpParams(), device.kernels)
    results = decoder(channels(both, 42, 18), channels(both, 0, 42))
    for decoded, c, p in zip(results, cmap, paf, strict=True):
        want = decode_numpy(c, p, topology.table, BottomUpParams())
        np.testing.assert_array_equal(decoded.keypoints, want.keypoints)
        np.testing.assert_array_equal(decoded.links, want.links)


@pytest.mark.gpu
def test_without_the_compiled_library_numpy_finishes(
    device: Any, frames: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from edgepose.cuda import host

    monkeypatch.setattr(host, "library", lambda: host.load(tmp_path / "none.so"))
    cmap, paf, topology = frames
    decoder = DeviceDecoder(topology, BottomUpParams(), device.kernels)
    decoded = decoder(device.put(cmap[1:2]), device.put(paf[1:2]))[0]
    want = decode_numpy(cmap[1], paf[1], topology.table, BottomUpParams())
    np.testing.assert_array_equal(decoded.keypoints, want.keypoints)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("cmap", "paf", "words"),
    [
        ((1, 1, 8, 8), (1, 2, 8, 8), "needs 2 and 2 channels"),
        ((1, 2, 8, 8), (1, 2, 8, 9), "needs 2 and 2 channels"),
        ((2, 8, 8), (1, 2, 8, 8), "shape"),
    ],
)
def test_maps_that_do_not_fit(device: Any, cmap: Any, paf: Any, words: str) -> None:
    topology = Topology("pair", ("a", "b"), ((0, 1),))
    decoder = DeviceDecoder(topology, BottomUpParams(), device.kernels)
    maps = [device.put(np.zeros(shape, np.float32)) for shape in (cmap, paf)]
    with pytest.raises(EngineError, match=words):
        decoder.start(*maps)
