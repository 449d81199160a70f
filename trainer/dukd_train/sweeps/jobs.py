"""Trainings as processes of their own, several at once: started, watched, stopped together."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path

from dukd_cache.system.errors import CacheError
from dukd_cache.system.lock import refuse_if_locked
from dukd_train.core.stopping import PARENT
from dukd_train.keeping.curve import CURVE
from dukd_train.keeping.run_folder import LOCK
from dukd_train.sweeps.job_slots import JobSlots

_SECONDS_TO_LOOK = 0.2
_SECONDS_TO_END = 120.0
"""A training that is asked to end finishes its step and writes a checkpoint."""

_MISTAKE = "dukd-train: "
"""So begins the line that says why a training ended."""


class State(Enum):
    """What a job is doing."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class Job:
    """One `dukd-train run` in a run folder."""

    def __init__(self, name: str, settings: Path, folder: Path, log: Path, steps: int, finished: bool) -> None:
        self.name, self.folder, self.log, self.steps = name, folder, log, steps
        self.state = State.FINISHED if finished else State.WAITING
        self.first_step = 0
        """Done before this sitting."""
        self.began = 0.0
        """Of this sitting, on the monotonic clock."""
        self.held = ""
        """Who else trains in its folder, where it waits or has waited in vain for that."""
        self._logged = 0
        self._settings = settings
        self._process: subprocess.Popen[bytes]

    def start(self, environment: dict[str, str]) -> None:
        """What it prints goes to the end of its log."""
        words = ["run", "--config", str(self._settings), "--out", str(self.folder)]
        self.first_step, self.began = self.step(), time.monotonic()
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dukd_train", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment | {PARENT: str(os.getpid())},  # it ends with this process, however that ends
                start_new_session=True,  # Ctrl-C reaches it through `end` only
            )
        self.state = State.RUNNING

    def may_start(self) -> bool:
        """Whether nobody else trains in its folder, as one of an earlier sweep may that was killed a moment ago."""
        try:
            refuse_if_locked(self.folder, LOCK, "training")
            self.held = ""
        except CacheError as error:
            self.held = str(error)
        return not self.held

    def look(self) -> None:
        """Notice whether it has ended."""
        if self.state is State.RUNNING and (code := self._process.poll()) is not None:
            self.state = State.FAILED if code else State.FINISHED

    def ask_to_end(self) -> None:
        """Once; it ends when its step is done."""
        if self.state is State.RUNNING:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Until it has ended; it is killed if that takes longer than `seconds`."""
        if self.state is not State.RUNNING:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def step(self) -> int:
        """Steps done, as far as its curve says."""
        if self.state is State.FINISHED:
            return self.steps
        try:
            last = (self.folder / CURVE).read_text(encoding="utf-8").splitlines()[-1]
        except (OSError, IndexError):
            return 0
        number = last.partition(",")[0]
        return int(number) if number.isdigit() else 0

    def last_words(self) -> str:
        """The last line of its log in this sitting that says why it ended, or just the last one."""
        try:
            lines = self.log.read_bytes()[self._logged :].decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        newest = [line for line in reversed(lines) if line.strip()]
        return next((line for line in newest if line.startswith(_MISTAKE)), newest[0] if newest else "")


def run_all(
    jobs: Sequence[Job],
    slots: JobSlots,
    environment: dict[str, str],
    watch: Callable[[Sequence[Job]], None],
    leave: bool = False,
) -> None:
    """Run what waits, `slots.jobs` at a time; `watch` is called several times a second.

    Those in whose folders others train come last. These are waited for as long as a training takes to end; then the
    jobs are started all the same, and say what is in their way, or with `leave` are left to the others.

    Whatever ends this early (a signal, an error) ends the jobs first, cleanly: they go on another time.
    """
    waiting = [job for job in jobs if job.state is State.WAITING]
    running: dict[int, Job] = {}
    busy = time.monotonic()
    try:
        while waiting or running:
            for slot in range(slots.jobs):
                in_vain = not running and time.monotonic() - busy > _SECONDS_TO_END
                if in_vain and leave:
                    return
                if slot not in running and (job := _next(waiting, in_vain)):
                    waiting.remove(job)
                    running[slot] = job
                    job.start(environment | slots.environment(slot))
            if any(not job.held for job in running.values()):
                busy = time.monotonic()
            time.sleep(_SECONDS_TO_LOOK)
            for slot, job in list(running.items()):
                job.look()
                if job.state is not State.RUNNING:
                    del running[slot]
            watch(jobs)
    finally:
        _end(running.values())


def _next(waiting: Sequence[Job], in_vain: bool) -> Job | None:
    """What may start; the first one where all have waited in vain."""
    return next((job for job in waiting if job.may_start()), waiting[0] if in_vain and waiting else None)


def _end(jobs: Iterable[Job]) -> None:
    jobs = list(jobs)
    for job in jobs:
        job.ask_to_end()
    deadline = time.monotonic() + _SECONDS_TO_END
    for job in jobs:
        job.wait(max(0.0, deadline - time.monotonic()))
