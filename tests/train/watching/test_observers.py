"""What the loop tells, and to whom."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.train.interruptions import in_step, interrupt

from dukd_train.core.run import run
from dukd_train.scoring.scores import Score
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer, Observers, Row, Start

Settings = Callable[..., TrainConfig]


class Notes(Observer):
    """Writes down all that it is told."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    def of(self, kind: str) -> list[Any]:
        return [told for name, told in self.notes if name == kind]

    def started(self, start: Start) -> None:
        self.notes.append(("started", start))

    def stepped(self, step: int) -> None:
        self.notes.append(("stepped", step))

    def logged(self, row: Row) -> None:
        self.notes.append(("logged", row))

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        self.notes.append(("scored", (step, scores)))

    def ended(self, step: int) -> None:
        self.notes.append(("ended", step))


def test_the_story_of_a_run(settings_of: Settings, tmp_path: Path, hr_folder: Path) -> None:
    validation = {"every": 2, "sets": {"V": {"hr": hr_folder}}}
    config = settings_of(steps=3, log_every=2, validation=validation)
    notes = Notes()
    run(config, tmp_path / "run", [notes])
    order = [(name, told) if isinstance(told, int) else name for name, told in notes.notes]
    assert order == [
        "started", ("stepped", 1), ("stepped", 2), "logged", "scored", ("stepped", 3), "logged", "scored", ("ended", 3),
    ]  # fmt: skip
    (start,) = notes.of("started")
    assert start == Start(config, tmp_path / "run", 0, 3, start.averaged)
    assert [step for step, _ in notes.of("scored")] == [2, 3]
    assert notes.of("scored")[0][1]["V"]["psnr_y"] != notes.of("scored")[1][1]["V"]["psnr_y"]
    first, second = notes.of("logged")
    assert (first.step, second.step) == (2, 3)
    assert second.terms.keys() == {"rec", "kd", "zoom_in", "zoom_out_rec", "zoom_out_kd"}
    assert second.total == pytest.approx(sum(second.terms.values()))
    assert second.lr == pytest.approx(1e-3 * 0.25)  # cosine, two thirds of the way
    assert 0 < first.seconds < second.seconds
    assert first.images_per_second > 3 * 4 * 2 / first.seconds * 0.5  # batches of 4 of three views
    assert 0 <= first.waiting <= 1
    assert first.left > second.left == 0


def test_where_a_run_goes_on_it_is_told_again(
    settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings_of(method="scratch", steps=6, log_every=2, checkpoint_every=4)
    first, second = Notes(), Notes()
    with monkeypatch.context() as patch:
        in_step(6, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "run", [first])
    run(config, tmp_path / "run", [second])
    assert first.of("ended") == [5]
    assert [row.step for row in first.of("logged")] == [2, 4]
    assert [start.step for start in second.of("started")] == [4]
    assert [row.step for row in second.of("logged")] == [4, 6]
    assert second.of("logged")[0].terms == first.of("logged")[1].terms
    assert second.of("stepped") == [5, 6]


def test_everyone_hears_of_the_end() -> None:
    class Broken(Observer):
        def ended(self, step: int) -> None:
            raise OSError(f"disk full at {step}")

    notes = Notes()
    with pytest.raises(OSError, match="disk full at 7"):
        Observers([Broken(), notes]).ended(7)
    assert notes.of("ended") == [7]


def test_a_run_says_at_both_ends_which_programs_read_its_student(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings_of(steps=2), tmp_path / "run")
    line = "EDSR is read by BasicSR (EDSR), not by spandrel (chaiNNer)"
    told = [found for found in capsys.readouterr().err.splitlines() if found.startswith("EDSR")]
    assert told == [line, f"{line}; `dukd-train export {tmp_path / 'run'} …` makes files for them"]
    in_step(2, interrupt, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(settings_of(steps=2), tmp_path / "stopped")
    told = [found for found in capsys.readouterr().err.splitlines() if found.startswith("EDSR")]
    assert told == [line]
