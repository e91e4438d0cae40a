"""Several sources through one engine: fair, ordered, and nobody waits for the dead."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from edgepose.batching import DynamicBatcher
from edgepose.errors import SourceError, SourceLost
from edgepose.io.base import SourceOptions
from edgepose.io.sources.live import LiveSource
from edgepose.io.sources.testsrc import open_test
from edgepose.io.uri import parse
from edgepose.types import Frame

PIXELS = np.zeros((2, 2, 3), np.uint8)


class Synthetic:
    """A source under the test's control: `frames` are there already, one for each poll."""

    rate = 30.0

    def __init__(self, name: str, frames: int = 0, lost: bool = False) -> None:
        self.name, self.left, self.lost = name, frames, lost
        self.error: SourceError | None = None
        self.over = self.closed = False
        self.index = 0
        self.callback: Callable[[], None] = lambda: None

    @property
    def ended(self) -> bool:
        return self.over and not self.left

    def poll(self) -> Frame | None:
        if self.error is not None:
            raise self.error
        if not self.left:
            return None
        self.left -= 1
        self.index += 1
        return Frame(PIXELS, self.index - 1, name=self.name)

    def subscribe(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def close(self) -> None:
        self.closed = True

    def deliver(self, frames: int = 1) -> None:
        self.left += frames
        self.callback()


def names(batch: list[Frame]) -> list[str]:
    return [f.name for f in batch]


def test_one_frame_of_each_source_in_each_sources_order() -> None:
    sources = [Synthetic("a", 3), Synthetic("b", 3), Synthetic("c", 3)]
    for source in sources:
        source.over = True
    batches = list(DynamicBatcher(sources).batches())
    assert [sorted(names(b)) for b in batches] == [["a", "b", "c"]] * 3
    for name in "abc":
        assert [f.index for b in batches for f in b if f.name == name] == [0, 1, 2]


def test_small_batches_take_turns() -> None:
    sources = [Synthetic(n, 1000) for n in "abcde"]
    batches = DynamicBatcher(sources, size=2).batches()
    seen = Counter(name for _ in range(50) for name in names(next(batches)))
    assert seen == Counter(dict.fromkeys("abcde", 20))


def test_a_fast_source_does_not_crowd_out_a_slow_one() -> None:
    fast, slow = Synthetic("fast", 10_000), Synthetic("slow")
    batches = DynamicBatcher([fast, slow], deadline=0.0).batches()
    order = []
    for round_ in range(10):
        if round_ % 3 == 0:
            slow.deliver()
        order.append(names(next(batches)))
    assert sum("slow" in batch for batch in order) == 4
    assert all(batch.count("fast") <= 1 for batch in order)


def test_the_first_frame_waits_for_the_others_until_the_deadline() -> None:
    early, late = Synthetic("early", 1), Synthetic("late")
    batches = DynamicBatcher([early, late], deadline=30.0).batches()
    threading.Timer(0.05, late.deliver).start()
    assert names(next(batches)) == ["early", "late"]
    early.deliver()
    batches = DynamicBatcher([early, late], deadline=0.01).batches()
    assert names(next(batches)) == ["early"]


def test_nobody_waits_for_a_lost_source() -> None:
    alive, lost = Synthetic("alive", 5), Synthetic("lost", lost=True)
    batches = DynamicBatcher([alive, lost], deadline=3600.0).batches()
    for _ in range(5):
        assert names(next(batches)) == ["alive"]


def test_a_failed_source_is_reported_and_the_others_go_on() -> None:
    good, bad = Synthetic("good", 2), Synthetic("bad", 1)
    good.over = True
    failed: list[tuple[str, Exception]] = []
    group = DynamicBatcher([good, bad], deadline=0.0, on_error=lambda n, e: failed.append((n, e)))
    batches = group.batches()
    assert sorted(names(next(batches))) == ["bad", "good"]
    bad.error = SourceLost("bad is gone")
    assert [names(b) for b in batches] == [["good"]]
    assert [(n, str(e)) for n, e in failed] == [("bad", "bad is gone")]


def test_without_a_listener_a_failure_is_raised_and_all_failed_always() -> None:
    bad = Synthetic("bad")
    bad.error = SourceLost("gone")
    with pytest.raises(SourceLost, match="gone"):
        next(DynamicBatcher([bad, Synthetic("x", 1)]).batches())
    with pytest.raises(SourceLost, match="gone"):
        next(DynamicBatcher([bad], on_error=lambda n, e: None).batches())


def test_close_ends_a_waiting_batch() -> None:
    sources = [Synthetic("a"), Synthetic("b")]
    group = DynamicBatcher(sources)
    closer = threading.Timer(0.05, group.close)
    closer.start()
    assert list(group) == []
    closer.join()
    assert all(s.closed for s in sources)


def test_eight_live_sources_and_one_that_stops() -> None:
    options = SourceOptions()
    uris = [f"test://people?rate=100&size=64x48&people=0&frames={5 + 10 * i}" for i in range(8)]
    sources = [open_test(parse(uri), options) for uri in uris]
    assert all(isinstance(s, LiveSource) for s in sources)
    for i, source in enumerate(sources):
        source.name = f"camera{i}"
    with DynamicBatcher(sources, deadline=0.02) as group:  # type: ignore[arg-type]
        for batch in group.batches():
            assert len({id(f) for f in batch}) == len(batch) <= 8
        counters = group.counts()
    assert set(counters) == {f"camera{i}" for i in range(8)}
    for i in range(8):
        c = counters[f"camera{i}"]
        assert c["read"] == 5 + 10 * i == c["taken"] + c["dropped"]
