"""How many trainings one machine runs side by side, and what each of them gets of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from dukd_cache.format.reader import Cache
from dukd_cache.system.memory import free_device_memory, free_memory
from dukd_cache.system.threads import allowed_cores
from dukd_train.data.decoded import decoded
from dukd_train.data.rows import targets_in

_GIB = 2**30

_BESIDE_DATA = {"cpu": 1 * _GIB, "cuda": 6 * _GIB}
"""What a training takes beside its data: libraries, the network, what gradients need."""

_MOST_ON_A_GPU = 4
"""Small students leave most of a GPU idle, but more than some only wait for one another."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class JobSlots:
    """Places to run a training in."""

    jobs: int
    """At the same time."""
    threads: int
    """Of each, to compute with."""
    workers: int
    """Processes of each that may read ahead where the data are not resident."""
    gpus: tuple[str, ...] = field(default=())
    """As `CUDA_VISIBLE_DEVICES` names them, where there are several to share out."""

    def environment(self, slot: int) -> dict[str, str]:
        """Variables for the training in slot `slot`."""
        threads = dict.fromkeys(_THREADS, str(self.threads))
        return threads | ({"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {})


def choose_slots(jobs: int | None, runs: int, device: torch.device, cache: Cache) -> JobSlots:
    """`jobs` slots, or as many as the machine has room for; their threads share its cores.

    Args:
        jobs: asked for by the user; none: to be decided.
        runs: there are; more slots would stay empty.
        device: where the trainings compute.
        cache: what they read.
    """
    gpus = _gpus() if device.type == "cuda" else ()
    cores = allowed_cores()
    if jobs is None:
        data = decoded_bytes(cache)
        if gpus:
            free = min(free_device_memory(torch.device("cuda", at)) for at in range(torch.cuda.device_count()))
            room = len(gpus) * min(_MOST_ON_A_GPU, (free // (_held(data, free) + _BESIDE_DATA["cuda"])))
        else:
            free = free_memory()
            room = (free - _held(data, free)) // _BESIDE_DATA["cpu"]  # all processes share one copy of the data
        jobs = min(cores, room)
    jobs = max(1, min(jobs, runs))
    return JobSlots(jobs, threads_of(cores, jobs, os.environ), max(1, cores // jobs), gpus if len(gpus) > 1 else ())


def _held(data: int, free: int) -> int:
    """What is resident of decoded records by default: all, where they take no more than half of what is free."""
    return data if data <= free // 2 else 0


def decoded_bytes(cache: Cache) -> int:
    """Of all records, with all that a loss may read of them."""
    return sum(decoded(cache, view, names).nbytes for view, names in targets_in(cache.manifest).items())


def threads_of(cores: int, jobs: int, environment: Mapping[str, str]) -> int:
    """A share of the cores, or what the user set for every program."""
    asked = environment.get(_THREADS[0], "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else max(1, cores // jobs)


def _gpus() -> tuple[str, ...]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(map(str, range(torch.cuda.device_count())))
