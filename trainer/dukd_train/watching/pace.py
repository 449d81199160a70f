"""How fast a training goes, and how much of the time it waits for data."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """Since the last time it was asked for."""

    steps_per_second: float
    waiting: float
    """Share of the wall time, 0…1, in which `Pace.waits` held up the work."""
    left: float
    """Seconds until the last step, if the rest goes as this sitting went so far."""


class Pace:
    """A clock that runs from its making."""

    def __init__(self, step: int, steps: int, seconds_before: float) -> None:
        self._first, self._steps, self._before = step, steps, seconds_before
        self._began = self._since = time.perf_counter()
        self._step, self._waited = step, 0.0

    def seconds(self) -> float:
        """Spent in this sitting and in those before it."""
        return self._before + time.perf_counter() - self._began

    def waits(self, items: Iterator[T], done: Callable[[], bool] = lambda: True) -> Generator[T, None, None]:
        """The items of `items`; measures how long each is waited for.

        Args:
            done: whether the work on all items before has ended. A wait after which it has not held up nothing: a GPU
                works meanwhile.
        """
        while True:
            asked = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            if done():
                self._waited += time.perf_counter() - asked
            yield item

    def lap(self, step: int) -> Speed:
        """The speed since the last lap, `step` steps being done."""
        now = time.perf_counter()
        wall, done = max(now - self._since, 1e-9), step - self._first
        left = (now - self._began) / done * (self._steps - step) if done else 0.0
        speed = Speed((step - self._step) / wall, min(self._waited / wall, 1.0), left)
        self._since, self._step, self._waited = now, step, 0.0
        return speed
