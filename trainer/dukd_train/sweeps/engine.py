"""Where the runs of a sweep are started: on this machine, or by something that knows others."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from dukd_cache.format.reader import Cache
from dukd_cache.networks.devices import choose_device
from dukd_train.settings import TrainConfig
from dukd_train.sweeps.job_slots import JobSlots, choose_slots
from dukd_train.sweeps.run_process import Command, RunProcess, State


class Running(Protocol):
    """A run that was started."""

    def state(self) -> State:
        """Waiting for room, running, finished, failed or lost."""

    def ask_to_end(self) -> None:
        """It ends when its step is done."""

    def wait(self, seconds: float) -> None:
        """Until it has ended; it is killed if that takes longer than `seconds`."""


@dataclass(frozen=True)
class Engine:
    """Starts runs, as many at once as it has slots."""

    slots: JobSlots
    start: Callable[[Command, int], Running]
    """In one of the slots."""
    room: str
    """For people: how many at once."""


Opening = Callable[[int | None, int, TrainConfig], AbstractContextManager[Engine]]
"""By the number of runs at once that was asked for, of runs in all, and the settings of one: an engine."""


@contextmanager
def this_machine(jobs: int | None, runs: int, config: TrainConfig) -> Iterator[Engine]:
    """Processes of this machine."""
    slots = choose_slots(jobs, runs, choose_device(config.device), Cache(config.cache))

    def start(command: Command, slot: int) -> RunProcess:
        return RunProcess(command, slots.environment(slot))

    yield Engine(slots, start, f"{slots.jobs} at once, {slots.threads} threads each")
