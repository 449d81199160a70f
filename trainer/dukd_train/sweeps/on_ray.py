"""Runs on the nodes of a Ray cluster, each a task that starts `dukd-train run` there.

Ray finds the node and tells when it died. It retries nothing by itself: a lost run is started anew as any other that
waits, when whoever wrote into its folder is gone.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dukd_cache import __version__
from dukd_cache.system.errors import one_line
from dukd_cache.system.ray_cluster import connected
from dukd_cache.system.threads import allowed_cores, apart
from dukd_train.settings import TrainConfig
from dukd_train.sweeps.engine import Engine
from dukd_train.sweeps.job_slots import JobSlots, threads_of
from dukd_train.sweeps.run_process import Command, State, run_on_node


@contextmanager
def on_ray(
    jobs: int | None, runs: int, config: TrainConfig, *, address: str | None, runs_per_gpu: int
) -> Iterator[Engine]:
    """Tasks of the cluster at `address`, or of one of this machine alone; see `dukd_cache.system.ray_cluster`.

    As many run at once as the cluster has room for, also when it grows, but no more than `jobs`.

    Raises:
        DukdError: there is no such cluster, or no Ray.
    """
    with connected(address, allowed_cores()) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = shares(nodes, jobs or runs, runs_per_gpu if config.device != "cpu" else 0)
        slots = JobSlots(jobs or runs, int(share["num_cpus"]), int(share["num_cpus"]))
        task = ray.remote(run_on_node).options(max_retries=0, runtime_env={"env_vars": _TIME_TO_END}, **share)

        def start(command: Command, slot: int) -> _RayRun:
            return _RayRun(ray, task, command, slots.environment(slot))

        each = ", ".join(f"{share[kind]:g} {word}" for kind, word in _WORDS.items() if kind in share)
        yield Engine(slots, start, f"on Ray's {len(nodes)} nodes, {each} each")


_TIME_TO_END = {"RAY_kill_child_processes_on_worker_exit": "false"}
"""A run notices itself that what started it is gone, and writes a checkpoint. Ray would kill it at once."""

_WORDS = {"num_cpus": "CPUs", "num_gpus": "GPUs"}


def shares(nodes: Sequence[Mapping[str, float]], at_once: int, runs_per_gpu: int) -> dict[str, float]:
    """What each of `at_once` runs asks Ray for.

    Args:
        nodes: Ray's resources of each, `CPU` and `GPU` among them.
        runs_per_gpu: where there are GPUs; 0: none is wanted.
    """
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    if with_gpus and runs_per_gpu:
        cores = min(node.get("CPU", 1) / (node["GPU"] * runs_per_gpu) for node in with_gpus)
        return {"num_cpus": threads_of(max(1, int(cores)), 1, os.environ), "num_gpus": 1 / runs_per_gpu}
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    threads = threads_of(sum(cpus), min(at_once, max(1, sum(cpus))), os.environ)
    return {"num_cpus": min(threads, max([1, *cpus]))}


class _RayRun:
    """A run that a task of Ray's watches over."""

    def __init__(self, ray: Any, task: Any, command: Command, environment: Mapping[str, str]) -> None:
        self._ray, self._log = ray, command.log
        self._before = self._log.stat().st_size if self._log.exists() else 0
        self._begun = False
        self._task = apart(lambda: task.remote(command, environment, Path.cwd(), __version__))

    def state(self) -> State:
        """Waiting for a node, running, finished, failed or lost."""
        exceptions = self._ray.exceptions
        if not self._has_ended(0):
            self._begun = self._begun or (self._log.exists() and self._log.stat().st_size > self._before)
            return State.RUNNING if self._begun else State.WAITING
        try:
            found: State = apart(lambda: self._ray.get(self._task))
        except exceptions.RayTaskError as error:
            self._note(str(error.cause))
            return State.FAILED
        except exceptions.RayError as error:
            self._note(f"lost: {one_line(error)}")
            return State.LOST
        return found

    def ask_to_end(self) -> None:
        """A task that runs is interrupted, and ends with its run; one that waits for a node will not start."""
        self._ray.cancel(self._task)

    def wait(self, seconds: float) -> None:
        """Until it has ended; what runs it there is killed if that takes longer than `seconds`."""
        if not self._has_ended(seconds):
            self._ray.cancel(self._task, force=True)

    def _has_ended(self, seconds: float) -> bool:
        """Now, or within so many seconds."""
        return bool(apart(lambda: self._ray.wait([self._task], timeout=seconds)[0]))

    def _note(self, what: str) -> None:
        with self._log.open("a") as log:
            log.write(f"dukd-train: {what}\n")
