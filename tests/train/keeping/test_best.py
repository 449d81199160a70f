"""`best.safetensors`: which weights are kept, and that stopping changes nothing of it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import SettingError
from dukd_train.core import run as run_module
from dukd_train.keeping.best import BEST, BestWeights, Criterion, criterion
from dukd_train.keeping.validation import ValidationFile
from dukd_train.scoring.scores import Score
from dukd_train.settings import ImageSet, TrainConfig, Validation
from dukd_train.watching.observers import Observer, Observers, Start

A = ImageSet(hr=Path("a"))
BY_PSNR = Criterion("A", "psnr_y")


def test_what_is_best_by() -> None:
    assert criterion(Validation()) is None
    assert criterion(Validation(sets={"B": A, "A": A})) == Criterion("B", "psnr_y")
    assert criterion(Validation(sets={"B": A, "A": A}, best="A/ssim_y")) == Criterion("A", "ssim_y")
    for wrong in ("A/psnr", "C/psnr_y", "psnr_y", ""):
        with pytest.raises(SettingError, match=r"validation\.best: unknown score"):
            criterion(Validation(sets={"A": A}, best=wrong))


@pytest.fixture
def student() -> Network:
    torch.manual_seed(0)
    return networks.build("EDSR", 2, {"channels": 2, "blocks": 1})


class Story:
    """A training whose weights are the number of its step, told to what a run is told to."""

    def __init__(
        self, folder: Path, student: Network, by: Criterion = BY_PSNR, validation: Validation | None = None
    ) -> None:
        self._folder, self._student, self._by = folder, student, by
        self._validation = validation or Validation(metrics=("psnr_y", "ssim_y"))

    def go(self, start: int, told: dict[int, float], other: float = 0.0) -> None:
        watchers = Observers([ValidationFile(self._folder), BestWeights(self._by)])
        config = TrainConfig(cache=self._folder, validation=self._validation)
        watchers.started(Start(config, self._folder, start, 100, self._student))
        for step, value in told.items():
            for parameter in self._student.module.parameters():
                parameter.data.fill_(step)
            watchers.scored(step, {"B": {"psnr_y": other, "ssim_y": 0.1}, "A": {"psnr_y": value, "ssim_y": 1 / step}})

    def kept(self) -> tuple[int, str | None]:
        """Whose weights the file holds, and what it says of their score."""
        loaded = networks.load(self._folder / BEST)
        facts = loaded.metadata
        value = next(loaded.module.parameters()).flatten()[0].item()
        assert facts["step"] == str(int(value))
        return int(value), facts.get(self._by.metric)


def test_the_best_is_kept_and_the_first_of_equals(tmp_path: Path, student: Network) -> None:
    story = Story(tmp_path, student)
    story.go(0, {10: 30.0, 20: 31.00004, 30: 30.5, 40: 31.00001}, other=99.0)
    assert story.kept() == (20, "31.0000")


def test_other_metrics_choose_others(tmp_path: Path, student: Network) -> None:
    story = Story(tmp_path, student, Criterion("A", "ssim_y"))
    story.go(0, {10: 30.0, 20: 31.0})
    assert story.kept() == (10, "0.10000")


@pytest.mark.parametrize("stopped", [20, 30, 40])
def test_going_on_keeps_what_was_best(tmp_path: Path, student: Network, stopped: int) -> None:
    scores = {10: 30.0, 20: 31.0, 30: 30.5, 40: 30.9}
    story = Story(tmp_path, student)
    story.go(0, {step: value for step, value in scores.items() if step <= stopped})
    for resumed in (stopped, stopped - 10):
        story.go(resumed, {step: value for step, value in scores.items() if step >= resumed})
        assert story.kept() == (20, "31.0000")


def test_weights_of_steps_that_are_taken_back_are_replaced(tmp_path: Path, student: Network) -> None:
    story = Story(tmp_path, student)
    story.go(0, {10: 30.0, 20: 31.0})
    story.go(15, {17: 30.2, 20: 30.1})
    assert story.kept() == (17, "30.2000")


def test_a_new_criterion_or_a_lost_file_starts_anew(tmp_path: Path, student: Network) -> None:
    Story(tmp_path, student).go(0, {10: 30.0, 20: 31.0})
    story = Story(tmp_path, student, Criterion("A", "ssim_y"))
    story.go(25, {30: 20.0})
    assert story.kept() == (20, None), "its own score by the new criterion is known, and better"
    (tmp_path / BEST).write_bytes(b"damaged")
    story.go(35, {40: 20.0, 50: 20.0})
    assert story.kept() == (40, "0.02500")


def test_scores_made_in_another_way_are_not_compared(tmp_path: Path, student: Network, hr_folder: Path) -> None:
    def going_on(step: int, told: dict[int, float], tile: int) -> tuple[int, str | None]:
        sets = {"A": ImageSet(hr=hr_folder)}
        Story(tmp_path, student, validation=Validation(sets=sets, tile=tile, tile_overlap=0)).go(step, told)
        return Story(tmp_path, student).kept()

    assert going_on(0, {10: 31.0, 20: 30.0}, tile=0) == (10, "31.0000")
    assert going_on(25, {30: 30.5, 40: 30.2}, tile=24) == (30, "30.5000")
    assert going_on(45, {50: 30.4}, tile=24) == (30, "30.5000")


def test_what_has_no_score_is_not_the_best(tmp_path: Path, student: Network) -> None:
    story = Story(tmp_path, student)
    story.go(0, {10: math.nan, 20: 30.0, 30: math.nan})
    assert story.kept() == (20, "30.0000")


Settings = Callable[..., TrainConfig]


def test_a_run_keeps_its_best_and_a_stopped_one_the_same(
    settings_of: Settings, tmp_path: Path, hr_folder: Path
) -> None:
    validation: dict[str, Any] = {"every": 1, "sets": {"V": {"hr": hr_folder}}, "best": "V/ssim_y"}
    config = settings_of(steps=6, optimizer={"lr": 0.03}, ema=0.0, validation=validation, checkpoint_every=2)

    class Stopper(Observer):
        def scored(self, step: int, scores: dict[str, Score]) -> None:  # type: ignore[override]  # noqa: ARG002
            if step == 4:
                raise KeyboardInterrupt

    run_module.run(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_module.run(config, tmp_path / "halves", [Stopper()])
    run_module.run(config, tmp_path / "halves")
    whole, halves = (networks.load(tmp_path / name / BEST) for name in ("whole", "halves"))
    assert networks.fingerprint(halves) == networks.fingerprint(whole)
    assert halves.metadata == whole.metadata
    assert (tmp_path / "halves/validation.csv").read_bytes() == (tmp_path / "whole/validation.csv").read_bytes()
    lines = [line.split(",") for line in (tmp_path / "whole" / "validation.csv").read_text().splitlines()[1:]]
    best = max(lines, key=lambda line: float(line[3]))
    assert whole.metadata["step"] == best[0]


def test_a_wrong_criterion_is_told_before_the_folder_is_made(
    settings_of: Settings, tmp_path: Path, hr_folder: Path
) -> None:
    config = settings_of(validation={"sets": {"V": {"hr": hr_folder}}, "best": "W/psnr_y"})
    with pytest.raises(SettingError, match="did you mean 'V/psnr_y'"):
        run_module.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
