"""Listeners at their own speed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from edgepose.serve.feed import WAITING, Feed, FeedClosed


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


def test_a_slow_listener_gets_the_newest_picture_and_every_event() -> None:
    async def test() -> None:
        feed: Feed[str] = Feed(kept=["event"])
        with feed.listen() as listener:
            for i in range(5):
                feed.publish(f"poses {i}", "poses")
                feed.publish(f"event {i}", "event")
            assert await listener.get(1) == [*(f"event {i}" for i in range(5)), "poses 4"]

    in_a_loop(test)


def test_nothing_is_lost_or_doubled_between_threads() -> None:
    async def test() -> None:
        feed: Feed[int] = Feed(kept=["event"])
        count = 200
        got: list[int] = []

        async def collect() -> None:
            while True:
                got.extend(await listener.get(5))

        def produce() -> None:
            for i in range(count):
                feed.publish(i, "event")
            feed.close()

        with feed.listen() as listener:
            thread = threading.Thread(target=produce)
            thread.start()
            with pytest.raises(FeedClosed):
                await collect()
            thread.join()
        assert got == list(range(count))

    in_a_loop(test)


def test_a_late_bell_is_not_taken_for_silence() -> None:
    """A viewer who is told of an item that it has already would be sent the picture before once more."""

    async def test() -> None:
        feed: Feed[int] = Feed()
        with feed.listen() as listener:
            feed.publish(1)
            assert await listener.get(5) == [1]  # at once; its bell has still to ring in this loop
            asyncio.get_running_loop().call_later(0.05, feed.publish, 2)
            assert await listener.get(5) == [2]

    in_a_loop(test)


def test_who_never_listens_costs_bounded_memory() -> None:
    async def test() -> None:
        feed: Feed[int] = Feed(kept=["event"])
        with feed.listen() as listener:
            for i in range(WAITING + 10):
                feed.publish(i, "event")
            assert await listener.get(1) == list(range(10, WAITING + 10))

    in_a_loop(test)


def test_kinds_that_are_not_listened_to_do_not_come() -> None:
    async def test() -> None:
        feed: Feed[str] = Feed()
        with feed.listen(["figures"]) as listener:
            assert feed.wants("figures")
            assert not feed.wants("poses")
            feed.publish("x", "poses")
            assert await listener.get(0.01) == []
            feed.publish("y", "figures")
            assert await listener.get(5) == ["y"]
        assert not feed.wants("figures")
        assert feed.listeners == 0

    in_a_loop(test)


def test_a_new_listener_gets_the_last_picture_only_where_that_is_wanted() -> None:
    async def test() -> None:
        for replay, expected in ((True, ["b"]), (False, [])):
            feed: Feed[str] = Feed(replay=replay)
            feed.publish("a")
            feed.publish("b")
            with feed.listen() as listener:
                assert await listener.get(0.01) == expected

    in_a_loop(test)


def test_a_closed_feed_gives_what_is_left_and_ends() -> None:
    async def test() -> None:
        feed: Feed[str] = Feed()
        with feed.listen() as listener:
            waiting = asyncio.ensure_future(listener.get(20))
            await asyncio.sleep(0)
            feed.publish("last")
            assert await waiting == ["last"]
            waiting = asyncio.ensure_future(listener.get(20))
            await asyncio.sleep(0)
            feed.close()
            with pytest.raises(FeedClosed):
                await waiting

    in_a_loop(test)


def test_a_listener_in_a_closed_loop_troubles_nobody() -> None:
    feed: Feed[str] = Feed()

    async def leave_without_a_word() -> None:
        feed.listen()

    asyncio.run(leave_without_a_word())
    feed.publish("x")

    async def test() -> None:
        with feed.listen() as listener:
            feed.publish("y")
            assert await listener.get(5) == ["y"]

    in_a_loop(test)


def test_what_is_out_of_date_is_not_replayed() -> None:
    feed: Feed[str] = Feed(replay=True)

    async def test() -> None:
        feed.publish("old")
        feed.forget()
        with feed.listen() as listener:
            assert await listener.get(0.01) == []
            feed.publish("new")
            assert await listener.get(5) == ["new"]

    in_a_loop(test)
