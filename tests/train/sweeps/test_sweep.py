"""Sweeps for real: processes that train, one that fails, one that goes on, and a signal to all."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.conftest import PROJECT
from tests.processes import start_program, wait_for

from dukd_cache.settings.part import Part
from dukd_cache.system.errors import DukdError, SettingError, WeightsError
from dukd_cache.system.lock import locked
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.keeping.run_folder import LOCK
from dukd_train.sweeps import jobs
from dukd_train.sweeps.grid import points
from dukd_train.sweeps.sweep import ReportWanted, sweep
from dukd_train.watching.observers import Observer

DEFAULT = ReportWanted()


@pytest.fixture(autouse=True)
def _children_find_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")))


@pytest.fixture
def file(tmp_path: Path, cache_folder: Path, hr_folder: Path) -> Path:
    """Settings of a run of four steps."""
    content: dict[str, Any] = {
        "cache": str(cache_folder),
        "student": {"settings": {"channels": 4, "blocks": 1}},
        "steps": 4,
        "batch": 2,
        "device": "cpu",
        "log_every": 1,
        "checkpoint_every": 2,
        "validation": {"sets": {"V": {"hr": str(hr_folder)}}},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class StopsAfter(Observer):
    """Ends a run as Ctrl-C would, when `step` steps are done."""

    def __init__(self, step: int) -> None:
        self._step = step

    def stepped(self, step: int) -> None:
        if step == self._step:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("forked_programs")
def test_a_sweep_with_a_failing_run_and_one_that_goes_on(
    file: Path, tmp_path: Path, teacher_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "SECONDS_TO_END", 0.5)
    out = tmp_path / "sweep"
    grid = points(file, None, [], ["method=scratch,kd"])
    with pytest.raises(KeyboardInterrupt):
        run(grid[0].config, out / "method=scratch", [StopsAfter(3)])
    with locked(out / "method=kd", LOCK, "training"), pytest.raises(RunError) as caught:
        sweep(grid, out, 2, DEFAULT)
    assert str(caught.value) == f"1 of 2 runs failed: method=kd ({out / 'logs' / 'method=kd.log'})"
    held = f"{out / 'method=kd'}: another training writes here (process {os.getpid()})"
    told = capsys.readouterr().err
    assert f"sweep: method=kd: waiting: {held}" in told
    assert f"sweep: method=kd: failed, see {out / 'logs' / 'method=kd.log'} (dukd-train: {held}" in told
    assert "another training writes here" in (out / "logs" / "method=kd.log").read_text()
    assert "going on at step " in (out / "logs" / "method=scratch.log").read_text()
    assert "| method=scratch " in (out / "report" / "table.md").read_text()  # the others are compared all the same
    assert "method=kd" not in (out / "report" / "table.md").read_text()

    trained = (out / "method=scratch" / "student.safetensors").stat().st_mtime_ns
    table = sweep(grid, out, 2, ReportWanted(teacher=teacher_file))
    assert "| method=kd " in table
    assert "| teacher " in table
    assert (out / "report" / "report.html").is_file()
    assert (out / "method=scratch" / "student.safetensors").stat().st_mtime_ns == trained
    assert (out / "method=kd" / "run.json").is_file()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_what_ends_a_sweep_ends_its_trainings_and_loses_nothing(file: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "sweep"
    words = ["sweep", "--config", file, "--grid", "seed=0", "--out", out, "--set", "steps=1000000"]
    words += ["--set", "checkpoint_every=1000000"]
    running = start_program("dukd_train", words, tmp_path / "told.txt", os.environ)
    folder = out / "seed=0"
    try:
        wait_for(lambda: _rows(folder) >= 2 or not running.process.is_alive())
        assert running.process.is_alive(), running.end()
        os.kill(running.process.pid or 0, number)
        code, told = running.end()
    finally:
        running.process.kill()
    if number == signal.SIGHUP:
        assert code == 129
        assert told.splitlines()[-1] == "dukd-train: hung up; to resume, run the same command again"
    else:
        log = out / "logs" / "seed=0.log"
        wait_for(lambda: "dukd-train: terminated; to resume" in log.read_text())  # its last words, after all else
        assert not (folder / LOCK).exists()
    assert not (folder / LOCK).exists()  # nobody trains there
    assert list(folder.glob("checkpoint-*.pt"))
    assert not (folder / "run.json").exists()


@pytest.mark.usefixtures("forked_programs")
def test_parts_make_what_one_machine_makes(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun may have started both: each run is on its own all the same
    out, grid = tmp_path / "sweep", points(file, None, [], ["method=scratch,kd"])
    assert sweep(grid, out, 1, DEFAULT, Part(1, 2)) == ""
    told = capsys.readouterr().err.splitlines()
    assert "sweep: part 1/2 of 2 runs, 1 at once, 1 threads each" in told
    assert told[-1] == (
        "sweep: no report yet: 1 of 2 runs are not finished elsewhere (method=kd); "
        "the part that ends last makes it, or a sweep of all"
    )
    assert not (out / "method=kd").exists()
    table = sweep(grid, out, 1, DEFAULT, Part(2, 2))
    assert "| method=scratch " in table
    assert "| method=kd " in table
    assert (out / "report" / "report.html").is_file()
    monkeypatch.delenv("WORLD_SIZE")
    for point in grid:
        run(point.config, tmp_path / point.name)
        ours, theirs = (load_file(folder / point.name / "student.safetensors") for folder in (out, tmp_path))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    with locked(out, "report.lock", "report"):  # another part is at it
        assert sweep(grid, out, 1, DEFAULT, Part(3, 3)) == ""
    assert "another report writes here" in capsys.readouterr().err


@pytest.mark.usefixtures("forked_programs")
def test_runs_of_another_part_from_what_the_cache_held_before_are_not_compared(
    file: Path, tmp_path: Path, build_cache: Callable[..., Path], cache_folder: Path
) -> None:
    place, out = tmp_path / "cache", tmp_path / "sweep"
    grid = points(file, None, [f"cache={place}", "method=scratch"], ["seed=0,1"])
    copytree(build_cache(weights=None, scale=2, zoom_in=0, zoom_out=0), place)
    assert sweep(grid, out, 1, DEFAULT, Part(1, 2)) == ""
    rmtree(place)
    copytree(cache_folder, place)
    with pytest.raises(RunError, match=r"seed=0: trained on another cache than \S+cache holds now"):
        sweep(grid, out, 1, DEFAULT, Part(2, 2))
    assert not (out / "report").exists()


def test_a_part_leaves_folders_to_those_who_train_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "SECONDS_TO_END", 0.5)
    out, grid = tmp_path / "sweep", points(file, None, [], ["seed=0,1,2,3"])
    with locked(out / "seed=1", LOCK, "training"):
        assert sweep(grid, out, 1, DEFAULT, Part(2, 4)) == ""
    assert "4 of 4 runs are not finished elsewhere (seed=0, seed=1, seed=2, …)" in capsys.readouterr().err
    assert not (out / "logs" / "seed=1.log").exists()


def _rows(folder: Path) -> int:
    curve = folder / "curve.csv"
    return len(curve.read_text().splitlines()) if curve.exists() else 0


def refused(words: list[str], file: Path, out: Path, wanted: ReportWanted = DEFAULT, grid: str = "seed=0") -> str:
    """The line that a sweep gets; no run is begun."""
    with pytest.raises(DukdError) as caught:
        sweep(points(file, None, words, [grid]), out, 1, wanted)
    assert not (out / "logs").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_would_fail_later_is_refused_at_once(
    file: Path, tmp_path: Path, hr_folder: Path, build_cache: Callable[..., Path]
) -> None:
    out = tmp_path / "sweep"
    pairs = build_cache(weights=None, scale=2, zoom_in=0, zoom_out=0)
    said = refused([f"cache={pairs}"], file, out, grid="method=scratch,kd")
    assert said.startswith("method=kd: method kd: ")
    assert "use method scratch" in said
    said = refused(["student.architecture=EDRS"], file, out)
    assert said.startswith("seed=0: ")
    assert "EDSR" in said
    assert "no such" in refused([], file, out, ReportWanted(teacher=tmp_path / "none.pth")).lower()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in refused([], file, out, ReportWanted(hr={"E": empty}))
    assert str(empty) in refused([], file, out, ReportWanted(lr_only={"E": empty}))
    said = refused([], file, out, ReportWanted(lr_only={"V": empty}))
    assert said == "`lr_only`: there is another set V; give another name: NAME=FOLDER"
    said = refused([], file, out, grid=f"validation.sets.V.hr=[{hr_folder}, {copytree(hr_folder, tmp_path / 'same')}]")
    assert said.startswith("validation set V differs between ")
    (out / "seed=0").mkdir(parents=True)
    (out / "seed=0" / "mine.txt").touch()
    assert "holds something that is no run" in refused([], file, out)


def test_a_teacher_of_another_scale_is_refused(file: Path, tmp_path: Path) -> None:
    wanted = ReportWanted(teacher=PROJECT / "assets" / "edsr_x4.safetensors")
    with pytest.raises(WeightsError, match="expected a network of scale 2, found scale 4"):
        sweep(points(file, None, [], ["seed=0"]), tmp_path / "sweep", 1, wanted)


def test_caches_of_two_scales_have_no_report_in_common(
    file: Path, tmp_path: Path, build_cache: Callable[..., Path], cache_folder: Path
) -> None:
    other = build_cache(weights=None, scale=3, zoom_in=0, zoom_out=0)
    with pytest.raises(SettingError, match=r"expected caches of one scale, for one report; .* has 2 and .* has 3$"):
        sweep(points(file, None, ["method=scratch"], [f"cache={cache_folder},{other}"]), tmp_path / "s", 1, DEFAULT)
