"""Processes that train together do what one does alone, and end together."""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.processes import Running, wait_for
from tests.train.processes import start_together

from dukd_cache import networks
from dukd_cache.format.reader import Cache
from dukd_cache.settings.model import dump
from dukd_train.core import checkpoint
from dukd_train.core.parallel import World, joined
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig

Settings = Callable[..., TrainConfig]

WEIGHTS = 2e-5
"""Of weights: gradients are summed in another order, which shows most where Adam divides by a tiny one. Its steps are
1e-3 each, and there are ten or twenty."""


def losses(out: Path) -> list[dict[str, float]]:
    with (out / "curve.csv").open(newline="") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]


def assert_alike(found: Path, expected: Path) -> None:
    """The same training, but for the order of sums."""
    rows, wanted = losses(found), losses(expected)
    assert len(rows) == len(wanted) > 3
    for row, other in zip(rows, wanted, strict=True):
        assert row == pytest.approx(other, abs=2e-6), row["step"]
    tensors, others = (load_file(out / "student.safetensors") for out in (found, expected))
    for name, value in others.items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=WEIGHTS)


def files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def rows_written(out: Path) -> int:
    return (out / "curve.csv").read_text().count("\n") - 1 if (out / "curve.csv").exists() else -1


def test_torchrun_trains_what_one_process_trains(settings_of: Settings, tmp_path: Path, hr_folder: Path) -> None:
    """The command that a user types, with everything on that each process has a share in."""
    asked = settings_of(
        steps=20,
        patch=12,
        optimizer={"lr": 1e-3, "clip": 0.05, "kind": "adamw", "weight_decay": 0.01},
        checkpoint_every=8,
        validation={"every": 10, "sets": {"V": {"hr": hr_folder}}},
    )
    run(asked, tmp_path / "one")
    (tmp_path / "c.yaml").write_text(dump(asked))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "dukd_train", "run", "--config", str(tmp_path / "c.yaml"), "--out", "two"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "two: dukd, EDSR of 4,531 parameters, 20 steps\n"  # once
    assert done.stderr.count("data: ") == 1
    assert "Warning" not in done.stderr
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert_alike(tmp_path / "two", tmp_path / "one")
    scores = [(tmp_path / name / "validation.csv").read_text() for name in ("one", "two")]
    assert scores[0] == scores[1]


def test_a_signal_to_one_ends_all_and_any_number_goes_on(settings_of: Settings, tmp_path: Path) -> None:
    """Two trained the first steps, one the rest."""
    settings = {"steps": 2000, "schedule": {"milestones": [30]}, "log_every": 1}
    out = tmp_path / "run"
    running = start_together(settings_of(**settings), out)
    wait_for(lambda: rows_written(out) >= 4)
    running[1].process.terminate()
    ends = [each.end() for each in running]
    assert [code for code, _ in ends] == [143, 143]
    assert ends[0][1].splitlines()[-1].endswith("to resume, run the same command again")
    assert ends[1][1] == ""  # only the first speaks
    found = checkpoint.newest(out)
    assert found is not None
    assert found.checkpoint.step >= 4
    asked = settings_of(**settings | {"steps": found.checkpoint.step + 6})
    run(asked, out)
    run(asked, tmp_path / "one")
    assert_alike(out, tmp_path / "one")


def ended(running: list[Running]) -> list[str]:
    """What each printed, all of them having failed by a user's doing."""
    ends = [each.end() for each in running]
    assert [code for code, _ in ends] == [2] * len(running), ends
    assert all(text == "" for _, text in ends[1:]), "only the first speaks"
    return ends[0][1].splitlines()


def test_a_batch_that_cannot_be_shared_is_refused(settings_of: Settings, tmp_path: Path) -> None:
    lines = ended(start_together(settings_of(batch=5), tmp_path / "run"))
    assert lines == ["dukd-train: batch 5: cannot be shared evenly among 2 processes"]
    assert not (tmp_path / "run").exists()


def test_processes_with_other_settings_or_caches_do_not_train_together(
    settings_of: Settings, tmp_path: Path, build_cache: Callable[..., Path]
) -> None:
    """As on a machine whose copy of the cache is older."""
    asked = settings_of(method="scratch")
    other = settings_of(method="scratch", cache=build_cache(zoom_in=0, zoom_out=0))
    lines = ended(start_together(asked, tmp_path / "run", others=other))
    digests = [Cache(each.cache).digest for each in (other, asked)]
    has = f"cache_digest = {digests[0]}, and the first one {digests[1]}"
    assert lines == [f"dukd-train: process 1 of 2: has {has}: expected the same"]
    assert not (tmp_path / "run").exists()


def test_a_training_that_diverges_ends_all(settings_of: Settings, tmp_path: Path) -> None:
    lines = ended(start_together(settings_of(optimizer={"lr": 1e38}), tmp_path / "run"))
    assert lines[-1].startswith(f"dukd-train: {tmp_path / 'run'}: step 2: the loss is not finite (rec = ")
    assert "checkpoint-" not in " ".join(files(tmp_path / "run"))


def test_one_that_dies_ends_the_others(settings_of: Settings, tmp_path: Path) -> None:
    running = start_together(settings_of(steps=100_000, checkpoint_every=2), tmp_path / "run")
    wait_for(lambda: rows_written(tmp_path / "run") >= 3)
    running[1].process.kill()
    (leader, text), (other, _) = (each.end() for each in running)
    assert (leader, other) == (2, -signal.SIGKILL)
    ended = "process 0 of 2: another process of this training ended; to resume from the last checkpoint"
    assert text.splitlines()[-1] == f"dukd-train: {ended}, run the same command again"
    assert checkpoint.newest(tmp_path / "run") is not None
    assert "training.lock" not in files(tmp_path / "run")


@pytest.mark.parametrize("method", ["scratch", "dukd"])
def test_parameters_that_the_loss_does_not_reach(settings_of: Settings, tmp_path: Path, method: str) -> None:
    """A convolution of SPAN serves only its inference; it is left out of what is waited for."""
    student = {"architecture": "SPAN", "settings": {"feature_channels": 8}}
    asked = settings_of(method=method, steps=4, student=student)
    ends = [each.end() for each in start_together(asked, tmp_path / "two")]
    assert [code for code, _ in ends] == [0, 0], ends
    run(asked, tmp_path / "one")
    assert_alike(tmp_path / "two", tmp_path / "one")


def test_a_process_alone_is_a_world_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as world:
        assert world == World(torch.device("cpu"), rank=0, size=1, here=1)
        assert world.leads
        student = networks.build("EDSR", 2, {"channels": 4, "blocks": 1})
        assert world.shared(student) is student
        assert world.from_leader(lambda: 5) == world.together(lambda: 5) == 5
        assert torch.equal(world.mean(torch.ones(2)), torch.ones(2))
