"""MoveNet's decoding kernels: equal to their twin, in batches, with crowds and ties, and from end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.cuda.kernels import PeopleBlock
from edgepose.cuda.pictures import address_of
from edgepose.decode.movenet import MAPS, MOST, MovenetPeople, decode_numpy
from edgepose.decode.movenet_device import MovenetDecoder, unpack_people
from edgepose.errors import BackendUnavailable, EngineError
from tests.decode.movenet_maps import empty, put, random_maps

Maps = dict[str, np.ndarray]
SPECIAL = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.5], np.float32)


def run(on: Any, maps: Maps, least: float) -> list[MovenetPeople]:
    """The people of each item of a batch, by the kernels."""
    batch, _, height, width = maps["center"].shape
    block = PeopleBlock(maps["kpt_heatmap"].shape[1], MOST)
    memory = on.put(np.full((batch, block.item_words), -7, np.int32))
    candidates = on.put(np.full((batch, height, width), -7, np.int32))
    there = {name: on.put(m) for name, m in maps.items()}
    addresses = {name: address_of(m) for name, m in there.items()}
    on.kernels.people(
        addresses, batch, (height, width), least, block, address_of(memory), address_of(candidates)
    )
    return [unpack_people(block, words) for words in on.get(memory)]


def same(found: list[MovenetPeople], maps: Maps, least: float) -> None:
    for i, people in enumerate(found):
        wanted = decode_numpy({name: m[i] for name, m in maps.items()}, least)
        for part, theirs in zip(people, wanted, strict=True):
            np.testing.assert_array_equal(part, theirs)


def crowd() -> Maps:
    """Two pictures: two people, and a map without a top."""
    people = empty()
    put(people, 8, 6, 0.5)
    put(people, 12, 24, 0.9)
    flat = {name: np.full_like(m, 0.5) for name, m in empty().items()}
    return {name: np.stack([people[name], flat[name]]) for name in MAPS}


@given(maps=random_maps(batch=2), least=st.sampled_from([0.0, 0.02, 0.5]))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_kernels_equal_their_twin(on: Any, maps: Maps, least: float) -> None:
    same(run(on, maps, least), maps, least)


def test_two_people_and_more_than_there_is_room_for(on: Any) -> None:
    maps = crowd()
    found = run(on, maps, 0.1)
    assert [len(people.scores) for people in found] == [2, MOST]
    same(found, maps, 0.1)


@given(maps=random_maps(batch=1), seed=st.integers(0, 2**32 - 1))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_values_that_are_no_numbers_lead_nowhere(on: Any, maps: Maps, seed: int) -> None:
    """Nothing is read or written outside of the maps, which the machine that runs the PTX sees."""
    rng = np.random.default_rng(seed)
    for values in maps.values():
        hurt = rng.random(values.shape) < 0.3
        values[hurt] = rng.choice(SPECIAL, int(hurt.sum()))
    (people,) = run(on, maps, 0.02)
    assert len(people.scores) == min(len(people.scores), MOST)
    assert not np.isnan(people.boxes).any()


def test_the_decoder_needs_a_device(libraries: Any) -> None:
    from edgepose.cuda.host_kernels import HostRunner
    from edgepose.cuda.kernels import Kernels

    with pytest.raises(BackendUnavailable, match="on a GPU"):
        MovenetDecoder(17, 0.1, Kernels(HostRunner(libraries["host"])))


@pytest.mark.gpu
def test_decoding_on_the_device_equals_the_twin(device: Any) -> None:
    maps = crowd()
    decoder = MovenetDecoder(17, 0.1, device.kernels)
    for _ in range(3):  # the pool's memory is used again
        first = decoder.start({name: device.put(m) for name, m in maps.items()})
        second = decoder.start({name: device.put(m[::-1].copy()) for name, m in maps.items()})
        assert first.result() is first.result()
        same(first.result(), maps, 0.1)
        same(second.result()[::-1], maps, 0.1)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kpt_regress": (1, 17, 8, 8)}, "Cannot decode kpt_regress of shape"),
        ({"center": (2, 1, 8, 8)}, "Cannot decode box_scale"),
        ({"center": (8, 8)}, "needs center of float32 and shape"),
        (dict.fromkeys(MAPS, (8, 600)), "larger than 512"),
    ],
)
def test_maps_that_do_not_fit(device: Any, changed: Any, words: str) -> None:
    shapes = {name: (1, *m.shape) for name, m in empty(8, 8).items()}
    if len(changed) == len(MAPS):
        changed = {name: (*shapes[name][:2], *size) for name, size in changed.items()}
    maps = {n: device.put(np.zeros(s, np.float32)) for n, s in {**shapes, **changed}.items()}
    with pytest.raises(EngineError, match=words):
        MovenetDecoder(17, 0.1, device.kernels).start(maps)
