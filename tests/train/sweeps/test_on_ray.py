"""Sweeps on a real cluster of Ray's: two nodes of one core each, on this machine."""

import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.processes import wait_for

from dukd_cache import __version__
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.keeping.run_folder import LOCK
from dukd_train.sweeps.grid import points
from dukd_train.sweeps.on_ray import on_ray, shares
from dukd_train.sweeps.run_process import Command, run_on_node
from dukd_train.sweeps.sweep import ReportWanted, sweep

DEFAULT = ReportWanted()


@pytest.fixture
def file(tmp_path: Path, cache_folder: Path) -> Path:
    """Settings of a run of four steps, with nothing to score."""
    content: dict[str, Any] = {
        "cache": str(cache_folder),
        "student": {"settings": {"channels": 4, "blocks": 1}},
        "steps": 4,
        "batch": 2,
        "device": "cpu",
        "log_every": 1,
        "checkpoint_every": 2,
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def workers(log: Path) -> list[int]:
    """Processes of Ray's that have begun a run, by its log."""
    return [int(each) for each in re.findall(r"^sweep: on .*, process (\d+)$", log.read_text(), re.MULTILINE)]


def same_students(one: Path, other: Path) -> bool:
    ours, theirs = (load_file(folder / "student.safetensors") for folder in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_students_are_those_of_one_machine_also_when_a_worker_was_killed(
    file: Path, tmp_path: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = points(file, None, ["steps=200", "checkpoint_every=10"], ["method=scratch,kd"])
    out = tmp_path / "sweep"
    killed, log = out / "method=kd", out / "logs" / "method=kd.log"

    def kill() -> None:
        wait_for(lambda: [*killed.glob("checkpoint-*.pt")])
        os.kill(workers(log)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    sweep(grid, out, None, DEFAULT, opening=partial(on_ray, address=ray_cluster.address, runs_per_gpu=1))
    killer.join()
    told = capsys.readouterr().err
    assert "sweep: 2 runs, on Ray's 2 nodes, 1 CPUs each" in told
    assert f"sweep: method=kd: waiting: lost 1 of 3 times without a new checkpoint, see {log}" in told
    assert len({*workers(log)}) == 2
    assert "going on at step " in log.read_text()
    for point in grid:
        run(point.config, tmp_path / point.name)
        assert same_students(out / point.name, tmp_path / point.name)


@pytest.mark.slow
def test_ctrl_c_ends_all_runs_with_a_checkpoint(file: Path, tmp_path: Path, ray_cluster: Any) -> None:
    out = tmp_path / "sweep"
    words = ["sweep", "--config", file, "--grid", "seed=0,1,2", "--out", out, "--set", "steps=1000000"]
    words += ["--set", "checkpoint_every=1000000", "--engine", "ray", "--ray-address", ray_cluster.address]
    process = subprocess.Popen(
        [sys.executable, "-m", "dukd_train", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    begun = [out / f"seed={seed}" for seed in (0, 1)]
    try:
        for folder in begun:
            wait_for(lambda folder=folder: process.poll() is not None or (folder / "curve.csv").exists())
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert told.splitlines()[-1] == "dukd-train: interrupted; to resume, run the same command again"
    assert "seed=2: running" not in told  # two nodes of one core
    for folder in begun:
        assert [*folder.glob("checkpoint-*.pt")]
        assert not (folder / LOCK).exists()


def test_a_node_that_cannot_run_it_says_why(tmp_path: Path) -> None:
    command = Command(tmp_path / "c.yaml", tmp_path / "run", tmp_path / "log")
    with pytest.raises(RunError, match=r"c.yaml: .* does not see it: folders of a sweep must be shared"):
        run_on_node(command, {}, tmp_path, __version__)
    with pytest.raises(RunError, match=r"dukd .* is installed there, and 9.9 where the sweep was started"):
        run_on_node(command, {}, tmp_path, "9.9")


@pytest.mark.parametrize(
    ("nodes", "runs", "per_gpu", "expected"),
    [
        ([{"CPU": 16.0}, {"CPU": 8.0}], 100, 0, {"num_cpus": 1}),
        ([{"CPU": 16.0}, {"CPU": 8.0}], 6, 0, {"num_cpus": 4}),
        ([{"CPU": 16.0}, {"CPU": 8.0}], 1, 1, {"num_cpus": 16}),
        ([{}], 3, 1, {"num_cpus": 1}),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], 3, 1, {"num_cpus": 8, "num_gpus": 1}),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], 3, 4, {"num_cpus": 2, "num_gpus": 0.25}),
        ([{"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}], 3, 0, {"num_cpus": 12}),
    ],
)
def test_what_a_run_asks_for(
    nodes: list[dict[str, float]],
    runs: int,
    per_gpu: int,
    expected: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert shares(nodes, runs, per_gpu) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert shares(nodes, runs, per_gpu) == expected | {"num_cpus": 1}
