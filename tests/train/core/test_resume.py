"""Trainings that are killed, stopped by a signal, changed or damaged end as an undisturbed one does."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train import processes
from tests.train.conftest import SWINIR
from tests.train.interruptions import in_step, interrupt, stop_at

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.settings.model import dump
from dukd_cache.system.errors import CacheError
from dukd_cache.system.lock import locked
from dukd_train import cli
from dukd_train.core import checkpoint
from dukd_train.core.checkpoint import KEPT
from dukd_train.core.learner import Learner
from dukd_train.core.run import run
from dukd_train.errors import DivergedError, RunError
from dukd_train.keeping import run_folder
from dukd_train.keeping.validation import Validator
from dukd_train.objective import Loss
from dukd_train.scoring.scores import Score
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer, Row

Settings = Callable[..., TrainConfig]
SPAN = {"architecture": "SPAN", "settings": {"feature_channels": 8}}


@pytest.fixture(scope="module")
def validation(hr_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One image, scored after every step."""
    folder = tmp_path_factory.mktemp("validation")
    (folder / "photo0.png").write_bytes((hr_folder / "photo0.png").read_bytes())
    return {"every": 1, "sets": {"V": {"hr": folder}}}


MOMENT = dict.fromkeys(("seconds", "commit", "begun", "ended"))
"""Facts of a run that are not those of another, equal one."""


def assert_same_run(found: Path, expected: Path) -> None:
    """The same result to the last bit, the times apart."""
    facts = [json.loads((out / "run.json").read_text()) | MOMENT for out in (found, expected)]
    assert facts[0] == facts[1]
    for name in ("curve.csv", "validation.csv"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    tensors, wanted = (load_file(out / "student.safetensors") for out in (found, expected))
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    leftover = [path.name for path in found.iterdir() if path.name.endswith((".partial", ".lock"))]
    assert not leftover


def command(asked: TrainConfig, out: Path, *words: str) -> int:
    """`dukd-train run` in this process, with its handlers of signals → exit code."""
    path = out.with_name(f"{out.name}.yaml")
    path.write_text(dump(asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dukd-train", "run", "--config", str(path), "--out", str(out), *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("log_every", "checkpoint_every", "stopped_at", "changes"),
    [
        (1, 5, 6, {}),
        (1, 5, 5, {}),  # the row of step 5 is written, its score is not
        (4, 5, 7, {}),  # the row of step 8 has steps on both sides of the checkpoint
        (10, 3, 8, {}),
        (2, 3, 2, {}),
        (4, 3, 8, {"method": "kd", "patch": 10, "batch": 7}),
        (4, 3, 8, {"precision": "bf16"}),
        (4, 3, 8, {"precision": "fp16", "optimizer": {"clip": 0.1}}),
        (4, 3, 8, {"optimizer": {"kind": "adamw", "weight_decay": 0.1}}),
        (4, 3, 8, {"loss": {"kd": {"weight": {"start": 1, "end": 0, "steps": 9, "kind": "cosine"}}}}),
        (4, 3, 8, {"method": "scratch", "eco": {"steps": 9}}),
        (1, 5, 6, {"student": SWINIR}),  # drops paths at random
        (1, 5, 6, {"student": SPAN}),
    ],
)
def test_a_run_that_was_stopped_goes_on_exactly(
    settings_of: Settings,
    tmp_path: Path,
    validation: dict[str, Any],
    log_every: int,
    checkpoint_every: int,
    stopped_at: int,
    changes: dict[str, Any],
) -> None:
    scored = validation | ({"every": 3} if "student" in changes else {})  # by EDSR as often as can be
    every = {"log_every": log_every, "checkpoint_every": checkpoint_every, "validation": scored}
    asked = settings_of(**(every | changes))
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(stopped_at, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    assert not (stopped / "run.json").exists()
    torch.rand(17)  # another process would not have drawn what this one did
    run(asked, stopped)
    assert_same_run(stopped, straight)
    assert (stopped / "config.yaml").read_bytes() == (straight / "config.yaml").read_bytes()


@pytest.mark.parametrize(("stopped_in", "done"), [(1, 0), (3, 0), (4, 3), (5, 3), (10, 9)])
def test_steps_after_the_last_checkpoint_are_done_again(
    settings_of: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], stopped_in: int, done: int
) -> None:
    asked = settings_of(log_every=2, checkpoint_every=3)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        in_step(stopped_in, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    capfd.readouterr()
    run(asked, stopped)
    told = f"{stopped}: going on at step {done} (checkpoint-{done:06d}.pt)\n"
    assert (told in capfd.readouterr().err) == (done > 0)
    assert_same_run(stopped, straight)


def test_a_run_stopped_twice(settings_of: Settings, tmp_path: Path) -> None:
    """Once in the middle, once between the last step and the saving of its result."""
    asked = settings_of(method="scratch", log_every=4, checkpoint_every=3, validation={"every": 1})
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(7, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "save", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", lambda *_args: pytest.fail("trained a step"))
        run(asked, stopped)
    assert_same_run(stopped, straight)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_when_its_step_is_saved(
    settings_of: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    asked = settings_of(log_every=4)  # no checkpoint is due before the end
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        in_step(7, lambda: signal.raise_signal(number), patch)
        assert command(asked, stopped) == code
    assert capfd.readouterr().err.splitlines()[-1].endswith("to resume, run the same command again")
    assert sorted(path.name for path in stopped.glob("checkpoint-*.pt")) == ["checkpoint-000007.pt"]
    assert not (stopped / run_folder.LOCK).exists()
    assert command(asked, stopped) == 0
    assert f"{stopped}: going on at step 7 (checkpoint-000007.pt)" in capfd.readouterr().err
    assert_same_run(stopped, straight)


def test_a_terminal_that_is_closed_does_not_end_what_nohup_started(settings_of: Settings, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            in_step(3, lambda: signal.raise_signal(signal.SIGHUP), patch)
            assert command(settings_of(method="scratch", steps=4), tmp_path / "run") == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_wait_for_the_step(settings_of: Settings, tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        in_step(7, twice, patch)
        assert command(settings_of(checkpoint_every=2), tmp_path / "run") == 143
    found = checkpoint.newest(tmp_path / "run")
    assert found is not None
    assert found.checkpoint.step == 6


def test_a_signal_does_not_wait_for_a_validation(
    settings_of: Settings, tmp_path: Path, validation: dict[str, Any]
) -> None:
    """It would be lost, and nothing else: the step before it is saved."""
    asked = settings_of(validation=validation | {"every": 4})
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    score, after = Validator.score, []

    def disturbed(validator: Validator, network: Network) -> dict[str, Score]:
        signal.raise_signal(signal.SIGTERM)
        after.append(1)
        return score(validator, network)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validator, "score", disturbed)
        assert command(asked, stopped) == 143
        assert command(asked, stopped) == 143
    assert not after
    found = checkpoint.newest(stopped)
    assert found is not None
    assert found.checkpoint.step == 4
    assert command(asked, stopped) == 0
    assert_same_run(stopped, straight)


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    settings_of: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = settings_of(log_every=4, checkpoint_every=2)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run(asked, straight)
    with pytest.MonkeyPatch.context() as patch:
        in_step(8, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, stopped)
    kept = sorted(stopped.glob("checkpoint-*.pt"))
    assert [path.name for path in kept] == ["checkpoint-000004.pt", "checkpoint-000006.pt"]
    assert len(kept) == KEPT
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    capfd.readouterr()
    run(asked, stopped)
    told = f"{stopped}: going on at step 4 (checkpoint-000004.pt; checkpoint-000006.pt is damaged: sha256 "
    assert told in capfd.readouterr().err
    assert_same_run(stopped, straight)


def test_nothing_is_begun_anew_where_all_checkpoints_are_damaged(settings_of: Settings, tmp_path: Path) -> None:
    asked = settings_of(checkpoint_every=2)
    with pytest.MonkeyPatch.context() as patch:
        in_step(3, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("checkpoint-*.pt")
    path.write_bytes(b"")
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match=r"checkpoint-000002.pt is damaged: sha256 .*; remove them to start again"):
        run(asked, tmp_path / "run")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


def test_two_do_not_train_in_one_folder(settings_of: Settings, tmp_path: Path) -> None:
    asked = settings_of(method="scratch", steps=1)
    with locked(tmp_path / "run", run_folder.LOCK, "training"), pytest.raises(CacheError) as caught:
        run(asked, tmp_path / "run")
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: another training writes here (process {os.getpid()}); "
        "wait for its end, or choose another folder"
    )
    run(asked, tmp_path / "run")


MULTISTEP = {"schedule": {"milestones": [4, 12]}, "log_every": 4, "checkpoint_every": 3}


@pytest.mark.parametrize("more", [11, 15])
def test_more_steps_of_a_finished_run(
    settings_of: Settings, tmp_path: Path, validation: dict[str, Any], more: int
) -> None:
    """As if they had been asked for at once: also the rows that were written because the run ended."""
    asked = MULTISTEP | {"validation": validation | {"every": 4}}
    run(settings_of(**asked, steps=more), tmp_path / "straight")
    run(settings_of(**asked, steps=10), tmp_path / "longer")
    run(settings_of(**asked, steps=more), tmp_path / "longer")
    assert_same_run(tmp_path / "longer", tmp_path / "straight")
    assert TrainConfig.load(tmp_path / "longer" / "config.yaml").steps == more


def test_fewer_steps_than_are_done(settings_of: Settings, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        in_step(8, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(settings_of(**MULTISTEP), out)
    with pytest.raises(RunError) as caught:
        run(settings_of(**MULTISTEP, steps=5), out)
    assert str(caught.value) == f"{out}: holds a run of 6 steps already, asked for 5; choose another `out`"
    run(settings_of(**MULTISTEP, steps=7), out)
    run(settings_of(**MULTISTEP, steps=7), tmp_path / "straight")
    assert_same_run(out, tmp_path / "straight")


@pytest.mark.parametrize("allow", [False, True])
def test_a_cosine_depends_on_its_length(settings_of: Settings, tmp_path: Path, allow: bool) -> None:
    out = tmp_path / "run"
    run(settings_of(steps=4), out)
    if allow:
        assert run(settings_of(steps=6), out, allow_changes=True)["steps"] == 6
    else:
        with pytest.raises(RunError) as caught:
            run(settings_of(steps=6), out)
        message = f"{out}: holds a run with steps = 4, asked for 6; choose another `out`, or go on with `allow_changes`"
        assert str(caught.value) == message
        assert json.loads((out / "run.json").read_text())["steps"] == 4


def test_settings_that_do_not_change_what_is_trained_are_free(
    settings_of: Settings, tmp_path: Path, validation: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    asked = settings_of(log_every=3, checkpoint_every=4)
    moved = tmp_path / "moved"
    moved.symlink_to(asked.cache)
    new = settings_of(log_every=2, checkpoint_every=5, validation=validation, cache=moved)
    with pytest.MonkeyPatch.context() as patch:
        in_step(7, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, tmp_path / "run")
    run(new, tmp_path / "run")
    assert f"{tmp_path / 'run'}: from now on log_every = 2, not 3\n" in capfd.readouterr().err
    assert TrainConfig.load(tmp_path / "run" / "config.yaml") == new
    run(asked, tmp_path / "straight")
    tensors, wanted = (load_file(tmp_path / name / "student.safetensors") for name in ("run", "straight"))
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    steps = [line.split(",")[0] for line in (tmp_path / "run" / "curve.csv").read_text().splitlines()]
    assert steps == ["step", "3", "4", "6", "8", "10"]


def test_losses_by_another_measure_have_no_share_in_a_mean(settings_of: Settings, tmp_path: Path) -> None:
    """The row of steps 7 to 9 is of steps 8 and 9 alone, as the checkpoint's loss of step 7 was another's."""
    asked, out = settings_of(method="scratch", log_every=3, checkpoint_every=7, steps=9), tmp_path / "run"
    other = asked.model_copy(update={"loss": Loss({"rec": {"by": "mse", "weight": 2}})})
    with pytest.MonkeyPatch.context() as patch:
        in_step(9, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, out)
    message = r"holds a run with loss.rec.by = l1, asked for mse; choose another `out`, or go on with `allow_changes`"
    with pytest.raises(RunError, match=message):
        run(other, out)
    rows: list[Row] = []
    note = Observer()
    note.logged = rows.append  # type: ignore[method-assign]
    run(other, out, [note], allow_changes=True)
    assert [row.step for row in rows] == [9]
    assert rows[0].total == 2 * rows[0].terms["rec"] < 0.1  # squares of small differences
    lines = (out / "config.yaml").read_text().splitlines()
    assert lines[:2] == ["# until step 7: loss.rec.by = l1", "# until step 7: loss.rec.weight = 1.0"]


def test_changes_that_are_allowed_stay_on_record(settings_of: Settings, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for stopped_in, rate in ((7, 1e-3), (2, 1e-4)):
        with pytest.MonkeyPatch.context() as patch:
            in_step(stopped_in, interrupt, patch)
            with pytest.raises(KeyboardInterrupt):
                run(settings_of(checkpoint_every=3, optimizer={"lr": rate}), out, allow_changes=True)
    last = settings_of(checkpoint_every=3, optimizer={"lr": 1e-5, "kind": "adamw"}, method="kd", batch=2)
    with pytest.raises(RunError, match=r"run with method = dukd, asked for kd; choose another `out`, or go on with"):
        run(last, out)
    run(last, out, allow_changes=True)
    comments = [line for line in (out / "config.yaml").read_text().splitlines() if line.startswith("#")]
    assert comments == [
        "# until step 6: optimizer.lr = 0.001",
        "# until step 6: method = dukd",
        "# until step 6: batch = 4",
        "# until step 6: optimizer.kind = adam",
        "# until step 6: optimizer.lr = 0.0001",
    ]
    assert TrainConfig.load(out / "config.yaml") == last
    rows = (out / "curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(1, 11)]


def test_another_student_is_never_gone_on_with(settings_of: Settings, tmp_path: Path) -> None:
    asked = settings_of(method="scratch", steps=4, checkpoint_every=2)
    with pytest.MonkeyPatch.context() as patch:
        in_step(3, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, tmp_path / "run")
    other = settings_of(method="scratch", steps=4, student={"settings": {"channels": 6, "blocks": 1}})
    with pytest.raises(RunError, match=r"student.settings.channels = 8, asked for 6; choose another `out`$"):
        run(other, tmp_path / "run", allow_changes=True)


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_training_that_diverges_ends_and_keeps_what_was_good(
    settings_of: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str], log_every: int
) -> None:
    """A rate that throws the weights out of float32, then again a good one."""
    out = tmp_path / "run"
    good = settings_of(checkpoint_every=2, log_every=log_every)
    with pytest.MonkeyPatch.context() as patch:
        in_step(6, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(good, out)
    bad = settings_of(checkpoint_every=2, log_every=log_every, optimizer={"lr": 1e38})
    assert command(bad, out, "--allow-changes") == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(f"dukd-train: {out}: step 6: the loss is not finite (rec = ")
    assert line.endswith("; try an optimizer.lr below 1e+38 or optimizer.clip=1, with --allow-changes or another --out")
    found = checkpoint.newest(out)
    assert found is not None
    assert found.checkpoint.step == 4
    assert all(tensor.isfinite().all() for tensor in found.checkpoint.student.values())
    with pytest.raises(DivergedError):
        run(bad, out)  # the same again
    run(good, out, allow_changes=True)
    run(good, tmp_path / "straight")
    tensors, wanted = (load_file(path / "student.safetensors") for path in (out, tmp_path / "straight"))
    assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def test_weights_that_are_no_numbers_are_not_saved(settings_of: Settings, tmp_path: Path) -> None:
    """The loss of the last step is still finite."""
    asked = settings_of(method="scratch", steps=1, optimizer={"lr": 1e39})
    with pytest.raises(DivergedError, match=r"step 1: the weights are not finite after it; try an optimizer.lr below"):
        run(asked, tmp_path / "run")
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    assert not (tmp_path / "run" / "student.safetensors").exists()


# Killed ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(
    settings_of: Settings, validation: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainConfig, Path, float]:
    """A run that saves most of the time, trained in one go in a process of its own, and the seconds that took."""
    asked = settings_of(
        steps=40, log_every=3, checkpoint_every=1, validation=validation | {"every": 4}, schedule={"warmup": 5}
    )
    out = tmp_path_factory.mktemp("undisturbed")
    processes.start(asked, out / "first").end()  # loads torch, and what every process shares
    began = time.monotonic()
    assert processes.start(asked, out / "run").end()[0] == 0
    return asked, out / "run", time.monotonic() - began


def check_killed(undisturbed: tuple[TrainConfig, Path, float], out: Path, moment: random.Random, kills: int) -> None:
    """Kill a run so many times at random moments, then leave it in peace."""
    asked, straight, seconds = undisturbed
    killed = 0
    while killed < kills:
        process = processes.start(asked, out).process
        process.join(moment.uniform(0.05, 0.6) * seconds)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if (out / "run.json").exists():
            break
    assert processes.start(asked, out).end()[0] == 0
    assert killed
    assert_same_run(out, straight)


def test_a_run_that_was_killed_ends_with_the_same_bits(
    undisturbed: tuple[TrainConfig, Path, float], tmp_path: Path
) -> None:
    check_killed(undisturbed, tmp_path / "run", random.Random(1), kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_many_kills(undisturbed: tuple[TrainConfig, Path, float], tmp_path: Path, seed: int) -> None:
    moment = random.Random(100 + seed)
    check_killed(undisturbed, tmp_path / "run", moment, kills=moment.randint(1, 6))
