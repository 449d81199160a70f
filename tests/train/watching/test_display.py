"""The display on a terminal and elsewhere."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from tests.terminals import terminal

from dukd_cache import networks
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig
from dukd_train.watching import display
from dukd_train.watching.display import Display
from dukd_train.watching.observers import Row, Start

Settings = Callable[..., TrainConfig]


STUDENT = networks.build("EDSR", 2, {"channels": 1, "blocks": 1})


def row(step: int) -> Row:
    parts = {"rec": 0.025, "kd": 0.05}
    return Row(step, 1e-4, 0.075, parts, images_per_second=1234.4, waiting=0.021, seconds=9.0, left=5.0)  # type: ignore[arg-type]


def test_a_terminal_shows_everything(settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    shown = Display(Console(file=screen, force_terminal=True, width=120, legacy_windows=False))
    shown.started(Start(settings_of(method="kd"), tmp_path, 4, 10, STUDENT))
    for step in (5, 6):
        shown.stepped(step)
    shown.logged(row(6))
    shown.scored(6, {"Set5": {"psnr_y": 30.0}, "B": {"psnr_y": 20.0}})
    shown.scored(8, {"Set5": {"psnr_y": 29.0}, "B": {"psnr_y": 21.0}, "photos": {"niqe": 4.5}})
    shown.ended(8)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert re.search(r"kd .* 8/10 steps", text)
    assert "loss 0.0750 (rec 0.0250, kd 0.0500)" in text
    assert "1234 images/s, 2% waiting for data, lr 1.0e-04" in text
    assert "step 8: Set5 29.00 dB (best 30.00 at 6), B 21.00 dB, photos NIQE 4.5000" in text


def test_an_end_without_a_start_is_quiet() -> None:
    Display().ended(0)


def test_lines_elsewhere(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 12.0, 13.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    shown = Display()
    shown.started(Start(settings_of(method="kd"), tmp_path, 4, 10, STUDENT))
    shown.stepped(5)
    shown.logged(row(5))
    shown.stepped(6)  # after twelve seconds
    shown.stepped(7)
    shown.scored(7, {"Set5": {"psnr_y": 30.0}})
    shown.scored(7, {})
    shown.ended(7)
    figures = "loss 0.0750 (rec 0.0250, kd 0.0500), 1234 images/s, 2% waiting for data, lr 1.0e-04"
    assert capsys.readouterr().err.splitlines() == [
        f"kd: 6/10 steps, {figures}, 24 s left",
        "kd: step 7: Set5 30.00 dB",
        f"kd: 7/10 steps, {figures} in 15 s",
    ]


@pytest.mark.parametrize("asked", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_log_has_lines_whatever_asks_for_colours(
    settings_of: Settings,
    tmp_path: Path,
    asked: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal(monkeypatch, **asked)
    shown = Display()
    shown.started(Start(settings_of(method="kd"), tmp_path, 4, 10, STUDENT))
    shown.stepped(5)
    shown.ended(5)
    told = capsys.readouterr().err
    assert told.startswith("kd: 5/10 steps")
    assert "\x1b" not in told


def test_a_terminal_that_cannot_be_redrawn_has_lines(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch, TERM="dumb")
    shown = Display(Console(file=screen))
    shown.started(Start(settings_of(method="kd"), tmp_path, 4, 10, STUDENT))
    shown.ended(5)
    assert screen.getvalue() == ""
    assert capsys.readouterr().err.startswith("kd: 5/10 steps")


def test_a_lone_part_is_not_repeated() -> None:
    lone = Row(1, 1e-4, 0.5, {"rec": 0.5}, images_per_second=1, waiting=0, seconds=1, left=0)
    assert display.losses(lone, {"rec": 1.0}) == "loss 0.5000"


def test_parts_add_up_to_the_loss() -> None:
    both = Row(1, 1e-4, 0.175, {"rec": 0.025, "kd": 0.05}, images_per_second=1, waiting=0, seconds=1, left=0)
    assert display.losses(both, {"rec": 5.0, "kd": 1.0}) == "loss 0.1750 (rec 0.1250, kd 0.0500)"


def test_a_weight_that_changes_is_that_of_the_last_step() -> None:
    row = Row(9, 1e-4, 0.15, {"rec": 0.025, "kd": 0.05}, 1, waiting=0, seconds=1, left=0, weights={"kd": 0.5})
    assert display.losses(row, {"rec": 5.0, "kd": 1.0}) == "loss 0.1500 (rec 0.1250, kd 0.0250)"


def test_a_run_that_goes_on_remembers_its_best(
    settings_of: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = terminal(monkeypatch)
    shown = Display(Console(file=screen, force_terminal=True, width=120, legacy_windows=False))
    shown.started(Start(settings_of(method="kd"), tmp_path, 4, 10, STUDENT, best={"Set5": (30.0, 3)}))
    shown.scored(6, {"Set5": {"psnr_y": 29.0}})
    shown.ended(6)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "step 6: Set5 29.00 dB (best 30.00 at 3)" in text
    assert f"{tmp_path}, cpu (" in text


def test_a_run_shows_how_it_goes(
    settings_of: Settings, tmp_path: Path, hr_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings_of(method="kd", steps=2, validation={"sets": {"V": {"hr": hr_folder}}}), tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("kd: ")]
    assert re.fullmatch(r"kd: step 2: V \d+\.\d\d dB", lines[-2])
    assert re.match(r"kd: 2/2 steps, loss 0\.\d{4} \(rec 0\.\d{4}, kd 0\.\d{4}\), \d+ images/s, ", lines[-1])
