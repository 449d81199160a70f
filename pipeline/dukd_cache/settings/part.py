"""Which share of the work this machine does, where many run the same command: `3/16`, or by what started it."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dukd_cache.system.errors import SettingError

T = TypeVar("T")

_TEXT = re.compile(r"(?:(?P<number>[0-9]+)/|auto/)(?P<count>[0-9]+)|auto")
_ARRAY = tuple(f"SLURM_ARRAY_TASK_{each}" for each in ("ID", "MIN", "MAX"))
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
_TORCHRUN = ("RANK", "WORLD_SIZE")
_KUBERNETES = "JOB_COMPLETION_INDEX"
_KNOWN = ", ".join([*(" with ".join(each) for each in (_ARRAY, _TORCHRUN, _SRUN)), _KUBERNETES])


@dataclass(frozen=True)
class Part:
    """The `number`-th of `count` parts, from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            expected = f"expected 1/{self.count} to {self.count}/{self.count}"
            reason = expected if self.count > 0 else "the count must be positive"
            raise SettingError(f"there is no such part: {reason}", str(self))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Those of `items` that are this part's: every `count`-th one. Each item is in one part and no other."""
        return items[self.number - 1 :: self.count]

    def split(self, inner: "Part") -> "Part":
        """The `inner` part of this one."""
        return Part(self.number + self.count * (inner.number - 1), self.count * inner.count)


def part_of(text: str, environment: Mapping[str, str] = os.environ) -> Part:
    """`3/16`; `auto`: what started this process says which part it is; `auto/16`: so it does, and there are 16.

    What is asked, the first that has set all its variables:

    - A Slurm array. Its indices are MIN, MIN + STEP, … MAX; a list that is no such row (`3,7`) is refused. Where a task
      of the array starts several processes with srun or torchrun, each takes its share of the task's part.
    - torchrun. It comes before srun, which may have started one torchrun a node.
    - srun. A batch script that does without srun is one process, though SLURM_NTASKS says how many it could start:
      SLURM_STEP_NUM_TASKS is set by srun alone.
    - An indexed job of Kubernetes, which says the index but not the count: `auto/16`.

    Raises:
        SettingError: it is none of these, no such part, or nothing says which part this is.
    """
    found = _TEXT.fullmatch(text)
    if not found:
        raise SettingError("expected a part and how many there are, like 3/16, or auto, or auto/16", repr(text))
    count = int(found["count"]) if found["count"] else None
    if found["number"] and count is not None:
        return Part(int(found["number"]), count)
    part = _array(environment)
    if inner := _ranks(environment, *_TORCHRUN) or _ranks(environment, *_SRUN):
        part = part.split(inner) if part else inner
    if part is None and _KUBERNETES in environment:
        if count is None:
            raise SettingError(f"{_KUBERNETES} says which part, nothing says how many: give auto/16 for 16", text)
        return Part(_number(environment, _KUBERNETES) + 1, count)
    if part is None:
        raise SettingError(f"nothing says which part this is: looked for {_KNOWN}", text)
    if count not in (None, part.count):
        raise SettingError(f"this is part {part} by what started it", text)
    return part


def _array(environment: Mapping[str, str]) -> Part | None:
    if not all(name in environment for name in _ARRAY):
        return None
    task, first, last = (_number(environment, name) for name in _ARRAY)
    step = _number(environment, "SLURM_ARRAY_TASK_STEP", 1)
    place, off = divmod(task - first, max(step, 1))
    count = (last - first) // max(step, 1) + 1
    if off or not 0 <= place < count or _number(environment, "SLURM_ARRAY_TASK_COUNT", count) != count:
        row = f"{first}-{last}:{step}"
        raise SettingError(f"the array's indices are not {row}; number it in one row, like 0-15, or give 3/16", "auto")
    return Part(place + 1, count)


def _ranks(environment: Mapping[str, str], rank: str, size: str) -> Part | None:
    """The part by a rank, counted from 0, and the number of ranks."""
    if rank not in environment or size not in environment:
        return None
    return Part(_number(environment, rank) + 1, _number(environment, size))


def _number(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    text = environment.get(name, str(default))
    if not re.fullmatch("[0-9]+", text):
        raise SettingError(f"expected a whole number, got {text!r}", name)
    return int(text)
