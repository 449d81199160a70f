"""Clocks: alternatives taken in turns, so that what else a machine does falls on all of them alike."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Times:
    """Of one alternative, a value for each turn. Seconds."""

    wall: list[float]
    cpu: list[float]
    """Of all threads of this process."""

    @property
    def typical(self) -> float:
        """The median of the wall times."""
        return median(self.wall)


def taking_turns(alternatives: Sequence[T], turns: int) -> Iterator[T]:
    """A B …, and B A … in every other turn, so that no one always comes first."""
    for turn in range(turns):
        yield from alternatives[:: 1 if turn % 2 == 0 else -1]


def in_turns(alternatives: Mapping[str, Callable[[], object]], turns: int) -> dict[str, Times]:
    """Run the alternatives, `taking_turns`."""
    found = {name: Times([], []) for name in alternatives}
    for name in taking_turns(list(alternatives), turns):
        wall, cpu = time.perf_counter(), time.process_time()
        alternatives[name]()
        found[name].wall.append(time.perf_counter() - wall)
        found[name].cpu.append(time.process_time() - cpu)
    return found


def ratio(over: Times, under: Times) -> float:
    """The median, over the turns, of one alternative's wall time over another's."""
    return median(a / b for a, b in zip(over.wall, under.wall, strict=True))


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
