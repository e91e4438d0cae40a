"""When a clock is believed: it is set by hand here, and so is the time that passes."""

from __future__ import annotations

import pytest

from edgepose.events.ages import DAY, Ages

NOW, HOUR = 1_790_000_000.0, 3600.0


class Board:
    """A machine with a clock that can be set, and what happened on it."""

    def __init__(self, *happened: float) -> None:
        self.now, self.up, self.happened = NOW, 0.0, happened
        self.ages = Ages(HOUR, lambda: self.up)

    def after(self, seconds: float, leap: float = 0.0) -> bool:
        """Whether the clock is doubted so much later, set forward by `leap` meanwhile."""
        self.up += seconds
        self.now += seconds + leap
        return self.ages.doubtful(
            self.now, lambda since, until: any(since <= t <= until for t in self.happened)
        )


@pytest.mark.parametrize(
    ("happened", "doubtful"),
    [
        (NOW - 2 * HOUR, False),
        (NOW - DAY + 1, False),
        (NOW - DAY - 1, True),  # it was off, or the clock is wrong
        (NOW - 60, True),  # since a wrong start
        (NOW + DAY, True),
    ],
)
def test_at_the_start_the_day_before_is_asked(happened: float, doubtful: bool) -> None:
    assert Board(happened).after(0) is doubtful


def test_a_doubt_ends_with_the_next_round(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    board = Board()
    for seconds in (0.0, 10.0, 10.0, HOUR / 2):  # a full disk asks more often
        assert board.after(seconds)
        board.ages.say("Events", board.now)
    assert caplog.text.count("is more than a day ahead") == 1
    assert not board.after(HOUR / 2)


def test_a_clock_that_is_set_forward_is_doubted_for_a_round() -> None:
    board = Board(NOW - 2 * HOUR)
    assert [board.after(HOUR) for _ in range(30)] == [False] * 30
    assert not board.after(HOUR, leap=DAY / 2)  # summer time, a drift
    assert board.after(HOUR, leap=4000 * DAY)
    assert not board.after(HOUR, leap=-4000 * DAY)  # set right again meanwhile
    assert board.after(HOUR, leap=56 * 365 * DAY)  # as from 1970, where a board had no clock
    assert not board.after(HOUR)
