"""How far a sweep has come: a table that renews itself on a terminal, lines elsewhere."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dukd_cache.system.terminal import Board
from dukd_train.sweeps.jobs import Job
from dukd_train.sweeps.run_process import State

_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_LOOKS = 1.0


class Overview:
    """Told of the jobs again and again; says on standard error what has changed."""

    def __init__(self, console: Console | None = None) -> None:
        self._table: RenderableType = ""
        self._line = ""
        self._board = Board(lambda: self._table, lambda _: self._line, _SECONDS_BETWEEN_LINES, console)
        self._states: dict[str, tuple[State, str]] = {}
        self._began = self._looked = time.monotonic()
        self._before: int | None = None

    def __enter__(self) -> Self:
        self._board.__enter__()
        return self

    def __exit__(self, *_error: object) -> None:
        self._board.__exit__()

    def show(self, jobs: Sequence[Job]) -> None:
        """The jobs as they are now."""
        changed = self._tell_changes(jobs)
        now = time.monotonic()
        if not changed and now - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = now
        done = {job.name: job.step() for job in jobs}
        if self._before is None:
            self._before = sum(done.values())
        heading = f"{counts(jobs)}{self._left(sum(job.steps for job in jobs), sum(done.values()), now)}"
        steps = [f"{job.name} {done[job.name]}/{job.steps}" for job in jobs if job.state is State.RUNNING]
        self._table, self._line = _table(heading, jobs, done, now), f"sweep: {heading}: {'; '.join(steps)}"
        self._board.changed()

    def _left(self, steps: int, done: int, now: float) -> str:
        """At the speed of this sitting, all jobs together."""
        gained = done - (self._before or 0)
        seconds = (now - self._began) / gained * (steps - done) if gained > 0 else 0.0
        return f", {timedelta(seconds=round(seconds))} left" if seconds else ""

    def _tell_changes(self, jobs: Sequence[Job]) -> bool:
        changed = [job for job in jobs if self._states.get(job.name, (State.WAITING, "")) != (job.state, job.held)]
        for job in changed:
            known = job.name in self._states
            self._states[job.name] = (job.state, job.held)
            text = f"{job.name}: {job.state.value}"
            if job.state is State.FINISHED:
                text += f" in {timedelta(seconds=round(time.monotonic() - job.began))}" if known else " before"
            elif job.state is State.WAITING and job.held:
                text += f": {job.held}"
            elif job.state is State.FAILED:
                text += f", see {job.log} ({job.last_words()})"
            self._board.note(text if self._board.redrawn else f"sweep: {text}")
        return bool(changed)


def counts(jobs: Sequence[Job]) -> str:
    """`3 of 18 runs finished, 2 running, 1 failed`."""
    number = {state: sum(job.state is state for job in jobs) for state in State}
    text = f"{number[State.FINISHED]} of {len(jobs)} runs finished"
    for state in (State.RUNNING, State.FAILED):
        text += f", {number[state]} {state.value}" if number[state] else ""
    return text


def _table(heading: str, jobs: Sequence[Job], done: dict[str, int], now: float) -> Table:
    table = Table(title=heading, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    for job in jobs:
        if job.state is State.RUNNING:
            step, gained = done[job.name], done[job.name] - job.first_step
            seconds = (now - job.began) / gained * (job.steps - step) if gained > 0 else None
            left = f"{timedelta(seconds=round(seconds))} left" if seconds is not None else ""
            bar = ProgressBar(total=job.steps, completed=step, width=30)
            table.add_row(Text(job.name), bar, f"{step}/{job.steps}", left)
    return table
