"""What a sweep knows of its jobs, and what it says of them."""

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from tests.terminals import terminal

from dukd_cache.system.lock import locked
from dukd_train.keeping.run_folder import LOCK
from dukd_train.sweeps import overview
from dukd_train.sweeps.engine import Engine
from dukd_train.sweeps.job_slots import JobSlots
from dukd_train.sweeps.jobs import Job, _next, run_all
from dukd_train.sweeps.overview import Overview, counts
from dukd_train.sweeps.run_process import Command, State


def job(folder: Path, name: str, finished: bool = False, after: Job | None = None) -> Job:
    return Job(name, folder / f"{name}.yaml", folder / name, folder / f"{name}.log", 100, finished, after)


def test_the_step_is_that_of_the_curve(tmp_path: Path) -> None:
    one = job(tmp_path, "a")
    assert one.step() == 0
    one.folder.mkdir()
    (one.folder / "curve.csv").write_text("step,lr,total\n")
    assert one.step() == 0
    (one.folder / "curve.csv").write_text("step,lr,total\n10,1,1\n20,1,1\n")
    assert one.step() == 20
    assert job(tmp_path, "b", finished=True).step() == 100


def test_last_words_are_the_last_line_with_something_in_it(tmp_path: Path) -> None:
    one = job(tmp_path, "a")
    assert one.last_words() == ""
    one.log.write_bytes(b"first\nlast \xff\n\n")
    assert one.last_words() == "last \ufffd"


def test_last_words_are_of_this_sitting_and_say_why(tmp_path: Path) -> None:
    one = job(tmp_path, "a")
    one.log.write_text("dukd-train: disk full\n")
    one._logged = one.log.stat().st_size
    assert one.last_words() == ""
    with one.log.open("a") as log:
        log.write("kd: 10/100 steps\ndukd-train: a/: another training writes here\nkd: 20/100 steps\n")
    assert one.last_words() == "dukd-train: a/: another training writes here"


def test_jobs_whose_folders_are_taken_come_last(tmp_path: Path) -> None:
    taken, free = job(tmp_path, "a"), job(tmp_path, "b")
    with locked(taken.folder, LOCK, "training"):
        assert _next([taken, free], in_vain=False) is free
        assert _next([taken], in_vain=False) is None
        assert f"another training writes here (process {os.getpid()})" in taken.held
        assert _next([taken], in_vain=True) is taken
    assert _next([taken, free], in_vain=False) is taken
    assert not taken.held


class Loses:
    """An engine's run that is lost at once."""

    def state(self) -> State:
        return State.LOST

    def ask_to_end(self) -> None: ...

    def wait(self, seconds: float) -> None: ...


def test_a_run_that_is_lost_again_and_again_fails(tmp_path: Path) -> None:
    engine, one, seen = Engine(JobSlots(1, 1, 1), lambda _command, _slot: Loses(), ""), job(tmp_path, "a"), list[str]()
    one.folder.mkdir()

    def watch(jobs: Sequence[Job]) -> None:
        seen.append(f"{jobs[0].state.value}: {jobs[0].held}")
        if len(seen) == 2:  # it came further before it was lost again
            (one.folder / "checkpoint-000010.pt").touch()

    run_all([one], engine, watch)
    times = [f"lost {number} of 3 times without a new checkpoint, see {one.log}" for number in (1, 2, 1, 2, 3)]
    assert seen == [*(f"waiting: {each}" for each in times[:-1]), f"failed: {times[-1]}"]


class Ends:
    """An engine's run that runs when it is first looked at, and has ended when it is looked at again."""

    def __init__(self, end: State) -> None:
        self._states = [end, State.RUNNING]

    def state(self) -> State:
        return self._states.pop()

    def ask_to_end(self) -> None: ...

    def wait(self, seconds: float) -> None: ...


@pytest.mark.parametrize("end", [State.FINISHED, State.FAILED])
def test_a_run_waits_for_the_one_whose_student_it_starts_from(end: State, tmp_path: Path) -> None:
    started: list[str] = []

    def start(command: Command, _slot: int) -> Ends:
        started.append(command.settings.stem)
        return Ends(end if command.settings.stem == "first" else State.FINISHED)

    first = job(tmp_path, "first")
    second, third = job(tmp_path, "second", after=first), job(tmp_path, "third")
    last = job(tmp_path, "last", after=second)
    run_all([second, last, first, third], Engine(JobSlots(2, 1, 1), start, ""), lambda _jobs: None)
    if end is State.FINISHED:
        assert started == ["first", "third", "second", "last"]
        assert all(each.state is State.FINISHED for each in (first, second, third, last))
    else:
        assert started == ["first", "third"]
        assert [each.state for each in (second, last, third)] == [State.FAILED, State.FAILED, State.FINISHED]
        assert second.last_words() == "it starts from the student of first, which failed"


def test_lines_say_what_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [job(tmp_path, "a", finished=True), job(tmp_path, "b"), job(tmp_path, "c")]
    with Overview(Console(stderr=True, force_terminal=False)) as shown:
        shown.show(jobs)
        jobs[1].state, jobs[1].began = State.RUNNING, time.monotonic()
        shown.show(jobs)
        jobs[1].state = State.FAILED
        jobs[1].log.write_text("dukd-train: disk full\n")
        jobs[2].state, jobs[2].began = State.RUNNING, time.monotonic()
        shown.show(jobs)
        shown.show(jobs)
        jobs[2].state = State.FINISHED
        shown.show(jobs)
    assert capsys.readouterr().err.splitlines() == [
        "sweep: a: finished before",
        "sweep: b: running",
        f"sweep: b: failed, see {jobs[1].log} (dukd-train: disk full)",
        "sweep: c: running",
        "sweep: c: finished in 0:00:00",
    ]
    assert counts(jobs) == "2 of 3 runs finished, 1 failed"


def test_a_line_now_and_then_has_the_steps_and_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(overview.time, "monotonic", lambda: now[0])
    jobs = [job(tmp_path, "a"), job(tmp_path, "b")]
    jobs[0].folder.mkdir()
    (jobs[0].folder / "curve.csv").write_text("step,lr,total\n10,1,1\n")
    shown = Overview(Console(stderr=True, force_terminal=False))
    jobs[0].state = State.RUNNING
    shown.show(jobs)
    (jobs[0].folder / "curve.csv").write_text("step,lr,total\n10,1,1\n30,1,1\n")
    now[0] += 100  # 20 steps in 100 s; 170 of 200 are left
    shown.show(jobs)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "sweep: 0 of 2 runs finished, 1 running, 0:14:10 left: a 30/100"
    )


def test_a_terminal_has_a_table_of_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    jobs = [job(tmp_path, "method=kd,seed=0"), job(tmp_path, "method=kd,seed=1")]
    with Overview(Console(file=screen, force_terminal=True, width=100)) as shown:
        jobs[0].state = State.RUNNING
        shown.show(jobs)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "0 of 2 runs finished, 1 running" in text
    assert re.search(r"method=kd,seed=0 .*0/100", text)
    assert "seed=1" not in text
