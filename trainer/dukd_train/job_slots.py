"""How many trainings one machine runs side by side, and what each of them gets of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dukd_cache.reader import Cache

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
    """Of each."""
    gpus: tuple[str, ...] = field(default=())
    """As `CUDA_VISIBLE_DEVICES` names them, where there are several to share out."""

    def environment(self, slot: int) -> dict[str, str]:
        """Variables for the training in place `slot`."""
        threads = dict.fromkeys(_THREADS, str(self.threads))
        return threads | ({"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {})


def choose_slots(jobs: int | None, runs: int, device: torch.device, cache: Cache) -> JobSlots:
    """`jobs` places, or as many as the machine has room for; their threads share its cores.

    Args:
        jobs: asked for by the user; none: to be decided.
        runs: there are; more places would stay empty.
        device: where the trainings compute.
        cache: what they read.
    """
    gpus = _gpus() if device.type == "cuda" else ()
    cores = usable_cores()
    if jobs is None:
        need = decoded_bytes(cache) + _BESIDE_DATA[device.type]
        if device.type == "cuda":
            free = min(torch.cuda.mem_get_info(at)[0] for at in range(torch.cuda.device_count()))
            jobs = min(len(gpus) * min(_MOST_ON_A_GPU, free // need), cores)
        else:
            jobs = min(cores, _free_memory() // need)
    jobs = max(1, min(jobs, runs))
    return JobSlots(jobs, _threads(cores, jobs, os.environ), gpus if len(gpus) > 1 else ())


def usable_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded_bytes(cache: Cache) -> int:
    """All pixels of a cache: inputs, answers and truths, one byte a value (two of float16 answers)."""
    spec, encoding = cache.manifest.spec, cache.manifest.encoding
    answer = 2 if encoding.dtype == "float16" else 1
    total = 0
    for view in cache.views:
        side = spec.zoom_out_patch if view == "zoom_out" else spec.patch
        planes = answer * (cache.manifest.teacher is not None) + (view != "zoom_in")
        total += cache.count(view) * 3 * side**2 * (1 + planes * spec.scale**2)
    return total


def _threads(cores: int, jobs: int, environment: Mapping[str, str]) -> int:
    """A share of the cores, or what the user set for every program."""
    asked = environment.get(_THREADS[0], "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else max(1, cores // jobs)


def _gpus() -> tuple[str, ...]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")) if named else tuple(map(str, range(torch.cuda.device_count())))


def _free_memory() -> int:
    """Bytes that can be taken without swapping; unlimited where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 2**63
