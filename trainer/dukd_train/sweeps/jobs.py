"""Trainings, several at once: started, watched, started again where they were lost, stopped together."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dukd_cache.system.errors import CacheError
from dukd_cache.system.lock import refuse_if_locked
from dukd_train.keeping.curve import CURVE
from dukd_train.keeping.run_folder import LOCK
from dukd_train.sweeps.engine import Engine, Running
from dukd_train.sweeps.run_process import SECONDS_TO_END, SECONDS_TO_LOOK, Command, State

_LOSSES = 3
"""So often may a run be lost without a new checkpoint in between: it may be what kills its machines."""

_MISTAKE = "dukd-train: "
"""So begins the line that says why a training ended."""


class Job:
    """One `dukd-train run` in a run folder."""

    def __init__(
        self,
        name: str,
        settings: Path,
        folder: Path,
        log: Path,
        steps: int,
        finished: bool,
        after: "Job | None" = None,
    ) -> None:
        self.name, self.folder, self.log, self.steps = name, folder, log, steps
        self.after = after
        """The one whose student it starts from."""
        self.state = State.FINISHED if finished else State.WAITING
        self.first_step = 0
        """Done before this sitting."""
        self.began = 0.0
        """Of this sitting, on the monotonic clock."""
        self.held = ""
        """Who else trains in its folder, where it waits or has waited in vain for that."""
        self._logged = 0
        self._settings = settings
        self._run: Running | None = None
        self._losses, self._checkpoint_at_loss = 0, ""

    @property
    def under_way(self) -> bool:
        """Started, and not ended yet."""
        return self._run is not None

    def start(self, engine: Engine, slot: int) -> None:
        """What it prints goes to the end of its log."""
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        self._run = engine.start(Command(self._settings, self.folder, self.log), slot)
        self.look()

    @property
    def waits_for_student(self) -> bool:
        """Whether it cannot start yet: the student that it starts from is not trained."""
        return self.after is not None and self.after.state is not State.FINISHED

    def may_start(self) -> bool:
        """Whether it has what it starts from, and nobody else trains in its folder, as one of an earlier sweep may that
        was killed a moment ago."""
        if self.waits_for_student:
            return False
        try:
            refuse_if_locked(self.folder, LOCK, "training")
            self.held = ""
        except CacheError as error:
            self.held = str(error)
        return not self.held

    def look(self) -> None:
        """Notice what has become of it."""
        if self._run is None:
            return
        state = self._run.state()
        if state is State.RUNNING and self.state is not State.RUNNING:
            self.first_step, self.began = self.step(), time.monotonic()
        if state not in (State.WAITING, State.RUNNING):
            self._run = None
        self.state = self._after_loss() if state is State.LOST else state

    def _after_loss(self) -> State:
        """It waits to be started again, or has failed: it was lost again and again and came no further."""
        newest = max((path.name for path in self.folder.glob("checkpoint-*.pt")), default="")
        self._losses = 1 + (self._losses if newest == self._checkpoint_at_loss else 0)
        self._checkpoint_at_loss = newest
        self.held = f"lost {self._losses} of {_LOSSES} times without a new checkpoint, see {self.log}"
        return State.WAITING if self._losses < _LOSSES else State.FAILED

    def ask_to_end(self) -> None:
        """Once; it ends when its step is done."""
        if self._run:
            self._run.ask_to_end()

    def wait(self, seconds: float) -> None:
        """Until it has ended; it is killed if that takes longer than `seconds`."""
        if self._run:
            self._run.wait(seconds)

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
            return self.held
        newest = [line for line in reversed(lines) if line.strip()]
        return next((line for line in newest if line.startswith(_MISTAKE)), newest[0] if newest else "")


def run_all(jobs: Sequence[Job], engine: Engine, watch: Callable[[Sequence[Job]], None], leave: bool = False) -> None:
    """Run what waits, as many at a time as `engine` has slots; `watch` is called several times a second.

    Those in whose folders others train come last. These are waited for as long as a training takes to end; then the
    jobs are started all the same, and say what is in their way, or with `leave` are left to the others.

    Whatever ends this early (a signal, an error) ends the jobs first, cleanly: they go on another time.
    """
    waiting = [job for job in jobs if job.state is State.WAITING]
    running: dict[int, Job] = {}
    busy = time.monotonic()
    try:
        while waiting or running:
            _give_up(waiting)
            for slot in range(engine.slots.jobs):
                in_vain = not running and time.monotonic() - busy > SECONDS_TO_END
                if in_vain and leave:
                    return
                if slot not in running and (job := _next(waiting, in_vain)):
                    waiting.remove(job)
                    running[slot] = job
                    job.start(engine, slot)
            if any(not job.held for job in running.values()):
                busy = time.monotonic()
            time.sleep(SECONDS_TO_LOOK)
            for slot, job in list(running.items()):
                job.look()
                if not job.under_way:
                    del running[slot]
                    if job.state is State.WAITING:
                        waiting.append(job)
            watch(jobs)
    finally:
        _end(running.values())


def _next(waiting: Sequence[Job], in_vain: bool) -> Job | None:
    """What may start; the first one where all have waited in vain."""
    held = next((job for job in waiting if not job.waits_for_student), None)
    return next((job for job in waiting if job.may_start()), held if in_vain else None)


def _give_up(waiting: list[Job]) -> None:
    """Take those away that start from the student of one that failed."""
    for job in [*waiting]:
        if job.after and job.after.state is State.FAILED:
            job.state, job.held = State.FAILED, f"it starts from the student of {job.after.name}, which failed"
            waiting.remove(job)


def _end(jobs: Iterable[Job]) -> None:
    jobs = list(jobs)
    for job in jobs:
        job.ask_to_end()
    deadline = time.monotonic() + SECONDS_TO_END
    for job in jobs:
        job.wait(max(0.0, deadline - time.monotonic()))
