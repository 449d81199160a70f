"""Speed and waiting, with a clock that the test turns."""

import time
from collections.abc import Iterator

import pytest

from dukd_train.watching.pace import Pace, Speed


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_laps(clock: Clock) -> None:
    """Items that are waited for 1 s each and worked on for 3 s, from step 10 of 20 on."""

    def slow() -> Iterator[int]:
        for step in range(10, 14):
            clock.now += 1
            yield step

    pace = Pace(step=10, steps=20, seconds_before=100.0)
    speeds: list[Speed] = []
    for step in pace.waits(slow()):
        clock.now += 3
        if step % 2:
            speeds.append(pace.lap(step + 1))
            clock.now += 4  # a validation, say
    assert speeds == [
        Speed(steps_per_second=2 / 8, waiting=2 / 8, left=(8 / 2) * 8),
        Speed(steps_per_second=2 / 12, waiting=2 / 12, left=(20 / 4) * 6),
    ]
    assert pace.seconds() == 100 + 4 * 4 + 2 * 4


def test_a_wait_while_there_is_work_holds_up_nothing(clock: Clock) -> None:
    """Items that take 1 s each, for a device that needs 3 s for the first and nothing for the others."""
    ready = clock.now + 1 + 3

    def slow() -> Iterator[int]:
        for item in range(5):
            clock.now += 1
            yield item

    pace = Pace(step=0, steps=5, seconds_before=0.0)
    found = list(pace.waits(slow(), lambda: clock.now == 1001 or clock.now >= ready))
    assert found == [0, 1, 2, 3, 4]
    assert pace.lap(5).waiting == 3 / 5


def test_no_time_and_no_steps(clock: Clock) -> None:
    assert clock.now > 0
    assert Pace(step=5, steps=5, seconds_before=0.0).lap(5) == Speed(0.0, 0.0, 0.0)


def test_the_end_of_the_items_and_their_errors_pass_through() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    pace = Pace(0, 2, 0.0)
    assert list(pace.waits(iter([1, 2]))) == [1, 2]
    with pytest.raises(ValueError, match="damaged"):
        list(pace.waits(failing()))
