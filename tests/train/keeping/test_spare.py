"""Trainings as stages of DVC, which removes what a stage made before it runs it: they go on all the same."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import PROJECT
from tests.processes import wait_for
from tests.train.core.test_resume import assert_same_run
from tests.train.interruptions import in_step, interrupt

from dukd_cache import networks
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer

Settings = Callable[..., TrainConfig]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a DVC project, one of whose stages this process is."""
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(root))
    return root


def stop_in(step: int, asked: TrainConfig, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        in_step(step, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(asked, out)


def copies(project: Path) -> list[str]:
    return sorted(path.name for path in project.glob(".dvc/tmp/dukd/*/*"))


@pytest.mark.parametrize("logging", [{}, {"tensorboard": True, "dvclive": True}])
def test_a_run_whose_folder_was_removed_goes_on(
    settings_of: Settings,
    tmp_path: Path,
    project: Path,
    hr_folder: Path,
    logging: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    validation = {"every": 2, "sets": {"V": {"hr": hr_folder}}}
    asked = settings_of(checkpoint_every=3, validation=validation, logging=logging)
    with monkeypatch.context() as outside:
        outside.delenv("DVC_ROOT")
        run(asked, tmp_path / "straight")
    out = project / "run"
    for step, left in ((6, "000004"), (6, "000009")):  # the second time, steps are counted from the fourth
        stop_in(step, asked, out)
        assert copies(project) == [left]
        shutil.rmtree(out)
    run(asked, out)
    assert_same_run(out, tmp_path / "straight")
    best, expected = (networks.load(folder / "best.safetensors") for folder in (out, tmp_path / "straight"))
    assert networks.fingerprint(best) == networks.fingerprint(expected)
    assert best.metadata == expected.metadata
    for losses in out.glob("dvclive/plots/metrics/loss/*.tsv"):
        with losses.open(newline="") as stream:
            assert [row["step"] for row in csv.DictReader(stream, delimiter="\t")] == [*map(str, range(1, 11))]
    assert copies(project) == []


def test_other_settings_train_anew_and_harmless_ones_go_on(
    settings_of: Settings, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_in(6, settings_of(checkpoint_every=3), project / "run")
    shutil.rmtree(project / "run")
    run(settings_of(checkpoint_every=3, optimizer={"lr": 2e-3}), project / "run")
    assert "going on" not in capfd.readouterr().err
    run(settings_of(checkpoint_every=4), project / "elsewhere" / "run")  # as in the workspace of an experiment
    assert f"{project / 'elsewhere' / 'run'}: going on at step 3 (" in capfd.readouterr().err


def test_only_copies_are_removed(settings_of: Settings, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a person or a system puts beside them stays, and is in nobody's way."""
    asked = settings_of(checkpoint_every=3)
    stop_in(6, asked, project / "run")
    (place,) = project.glob(".dvc/tmp/dukd/*")
    (place / ".DS_Store").touch()
    (place / "notes").mkdir()
    (place / "notes" / "mine.txt").write_text("keep")
    shutil.rmtree(project / "run")
    run(asked, project / "run")
    assert "no spare copy" not in capfd.readouterr().err
    assert copies(project) == [".DS_Store", "notes"]
    assert (place / "notes" / "mine.txt").read_text() == "keep"


def test_a_copy_that_cannot_be_made_costs_no_training(
    settings_of: Settings, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / ".dvc" / "tmp").write_text("no folder")
    assert run(settings_of(steps=2), project / "run")["steps"] == 2
    assert "no spare copy of step 2" in capfd.readouterr().err


def test_a_training_whose_folder_is_removed_ends(settings_of: Settings, tmp_path: Path) -> None:
    """As of a process that DVC started and lost: another one may train there now."""

    class Removes(Observer):
        def logged(self, row: Any) -> None:
            if row.step == 3:
                shutil.rmtree(tmp_path / "run")
                (tmp_path / "run").mkdir()
                (tmp_path / "run" / "training.lock").write_text("1")

    with pytest.raises(RunError, match=r"was removed or taken by another training; this one ended at step 4"):
        run(settings_of(), tmp_path / "run", [Removes()])
    assert [path.name for path in (tmp_path / "run").iterdir()] == []


# For real ----------------------------------------------------------------------------------------------------------


class Dvc:
    """A DVC project with one stage that trains, and its commands."""

    def __init__(self, root: Path, settings: Mapping[str, Any], git: bool) -> None:
        self.root, self.run = root, root / "build" / "run"
        self._settings = dict(settings)
        command = f"{sys.executable} -m dukd_train run --config params.yaml --section train --out build/run"
        stage = {"cmd": command, "params": ["train"], "outs": ["build/run"]}
        root.mkdir()
        (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
        self.set()
        if git:
            (root / ".gitignore").write_text("/build/\n")
            for words in ("init -q", "config user.name tests", "config user.email tests@localhost"):
                subprocess.run(["git", *words.split()], cwd=root, check=True)
        self.call("init", "--quiet", *([] if git else ["--no-scm"]))
        if git:
            self.commit()

    def set(self, **changes: Any) -> None:
        """Settings of the training from now on."""
        self._settings |= changes
        (self.root / "params.yaml").write_text(yaml.safe_dump({"train": self._settings}))

    def commit(self) -> None:
        for words in (["add", "."], ["commit", "-qm", "tests"]):
            subprocess.run(["git", *words], cwd=self.root, check=True)

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(PROJECT / root) for root in ("pipeline", "trainer")),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "dvc", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def call(self, *words: str, fails: bool = False) -> str:
        process = self.start(*words)
        told, _ = process.communicate(timeout=240)
        assert bool(process.returncode) == fails, told
        return told

    def stop(self, number: int, *words: str) -> str:
        """Start a command, and send the training a signal when it has saved something; what was printed."""
        process = self.start(*words)
        saved = ".dvc/tmp/dukd/*/0*/checkpoint-*.pt"
        wait_for(lambda: [*self.root.glob(saved)] or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        (lock,) = [
            *self.root.glob("build/run/training.lock"),
            *self.root.glob(".dvc/tmp/exps/*/*/build/run/training.lock"),
        ]
        os.kill(int(lock.read_text().split()[0]), number)
        told, _ = process.communicate(timeout=120)
        assert process.returncode, told
        return told


@pytest.fixture
def training(cache_folder: Path) -> dict[str, Any]:
    """Settings of some seconds of training."""
    student = {"settings": {"channels": 4, "blocks": 1}}
    small = {"cache": str(cache_folder), "student": student, "batch": 2, "device": "cpu", "method": "scratch"}
    return small | {"steps": 300, "log_every": 100, "checkpoint_every": 10}


def test_a_stopped_repro_goes_on(tmp_path: Path, training: dict[str, Any]) -> None:
    pytest.importorskip("dvc")
    dvc = Dvc(tmp_path / "project", training, git=False)
    told = dvc.stop(signal.SIGTERM, "repro")
    assert "to resume, run the same command again" in told
    told = dvc.call("repro")
    assert "build/run: going on at step " in told
    assert (dvc.run / "run.json").exists()
    assert not list(dvc.root.glob(".dvc/tmp/dukd/*"))


@pytest.mark.slow
def test_a_killed_repro_goes_on_and_other_settings_train_anew(tmp_path: Path, training: dict[str, Any]) -> None:
    pytest.importorskip("dvc")
    dvc = Dvc(tmp_path / "project", training, git=False)
    dvc.stop(signal.SIGKILL, "repro")
    dvc.set(seed=1, steps=40)
    told = dvc.call("repro")
    assert "going on" not in told
    dvc.set(seed=0, steps=300)
    assert "build/run: going on at step " in dvc.call("repro")
    assert "up to date" in dvc.call("repro")


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--temp"]])
def test_stopped_experiments_go_on(tmp_path: Path, training: dict[str, Any], how: list[str]) -> None:
    """Those in the workspace, where DVC first puts back the run that was committed, and those in one of their own."""
    pytest.importorskip("dvc")
    dvc = Dvc(tmp_path / "project", training | {"steps": 10}, git=True)
    dvc.call("repro")
    dvc.commit()
    words = ("exp", "run", *how, "-S", "train.steps=300")
    dvc.stop(signal.SIGTERM, *words)
    assert "run: going on at step " in dvc.call(*words)
