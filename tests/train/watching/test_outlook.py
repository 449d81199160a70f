"""What a run says before its first step, and when it knows how long it will take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.train.conftest import SWINIR

from dukd_cache import networks
from dukd_train.core.run import run
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Row, Start
from dukd_train.watching.outlook import Outlook, crowded, multiply_adds, table, warnings

Settings = Callable[..., TrainConfig]

STUDENT = networks.build("EDSR", 2, {"channels": 1, "blocks": 1})


def start(config: TrainConfig, step: int = 0) -> Start:
    return Start(config, Path("runs/kd"), step, config.steps, STUDENT)


def test_what_is_known_before_the_first_step(settings_of: Settings) -> None:
    config = settings_of(method="kd", steps=1500)
    lines = [*table(start(config), {"base": 1200, "zoom_in": 600})]
    assert [line[:10].rstrip() for line in lines] == ["run", "device", "student", "records", "passes", "batch"]
    threads = torch.get_num_threads()
    assert lines[0][10:] == "runs/kd: kd, 1,500 steps"
    assert lines[1].endswith(f", {threads} thread{'s' * (threads > 1)}, fp32")
    assert lines[2][10:] == "EDSR ×2, 128 parameters, 0.0495 G multiply-adds a megapixel of output"
    assert [line[10:] for line in lines[3:]] == [
        "1,200 base, 600 zoom_in",
        "5.0 over base, 10.0 over zoom_in",
        "4 of each view, 8 images",
    ]
    alike = [*table(start(config), {"base": 1200, "zoom_in": 1200})]
    assert alike[4][10:] == "5.0 over each view"


def test_what_may_not_be_meant_is_a_line_each(settings_of: Settings) -> None:
    assert [*warnings(start(settings_of(steps=250)), {"base": 4, "zoom_in": 1})] == [
        "note: a batch of 4 is more than the 1 records of zoom_in: some come twice"
    ]
    assert [*warnings(start(settings_of(steps=1001)), {"base": 4})] == [
        "note: 1,001 passes over the same records, scratch overfits: take more images or fewer steps"
    ]
    assert [*warnings(start(settings_of(steps=1000)), {"base": 4})] == []


def test_what_changes_longer_than_the_run_lasts_is_a_note(settings_of: Settings) -> None:
    ramp = {"start": 1, "end": 0, "steps": 300}
    asked = settings_of(
        steps=6, eco={"steps": 7}, loss={"kd": {"weight": ramp}, "zoom_in": {"weight": ramp | {"steps": 6}}}
    )
    assert [*warnings(start(asked), {"base": 4})] == [
        "note: eco changes over 7 steps, and the run has 6",
        "note: loss.kd.weight changes over 300 steps, and the run has 6",
    ]


@pytest.mark.parametrize(("capabilities", "noted"), [({"avx2": True}, True), ({"avx512_bf16": True}, False)])
def test_bf16_without_its_instructions_is_a_note(
    settings_of: Settings, monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], noted: bool
) -> None:
    note = "note: this machine has no instructions for bf16: `precision=fp32` is likely faster"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert [*warnings(start(settings_of(precision="bf16")), {"base": 20})] == [note] * noted
    assert [*warnings(start(settings_of(precision="fp32")), {"base": 20})] == []


def test_work_is_that_of_published_tables() -> None:
    """EDSR-baseline ×4: 114 G for 1280×720 pixels (Lim et al., CVPRW 2017; as efficient-SR papers count)."""
    edsr = networks.build("EDSR", 4, {"channels": 64, "blocks": 16})
    assert multiply_adds(edsr) * 0.9216 / 1e9 == pytest.approx(114, abs=0.5)
    assert multiply_adds(networks.build("SwinIR", 2, SWINIR["settings"])) > 0  # windows of 6, as it is called


DAYS = "note: more than a day on a CPU: take a GPU, a smaller student or fewer steps"
BF16 = (
    "note: this CPU may be two to three times as fast with `precision=bf16` and `compile=true`; begin in another folder"
)


@pytest.mark.parametrize(
    ("steps", "precision", "able", "time", "notes"),
    [
        (300, "fp32", True, "9.6 min for 287", []),
        (1_000, "fp32", False, "32.9 min for 987", []),
        (1_000, "fp32", True, "32.9 min for 987", [BF16]),
        (1_000, "bf16", True, "32.9 min for 987", []),
        (100_000, "fp32", False, "2.3 d for 99,987", [DAYS]),
        (100_000, "fp32", True, "2.3 d for 99,987", [DAYS, BF16]),
    ],
)
def test_the_time_is_told_once_it_is_known_and_what_would_be_faster(
    settings_of: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    precision: str,
    able: bool,
    time: str,
    notes: list[str],
) -> None:
    clock = iter([0.0, 2.0, 4.0, 6.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": able}, raising=False)
    outlook = Outlook({"base": 10**6})
    outlook.started(start(settings_of(steps=steps, precision=precision)))
    capsys.readouterr()
    for step in (11, 12, 13, 14):
        outlook.stepped(step)  # the first of them counts as none
    assert capsys.readouterr().err.splitlines() == [f"time      about {time} more steps at 0.5 a second", *notes]


@pytest.mark.parametrize(
    ("threads", "cores", "fewer"),
    [(1, 0.4, None), (2, 1.97, None), (2, 1.5, None), (2, 1.14, 1), (2, 0.3, 1), (16, 11.9, 12), (16, 12.1, None)],
)
def test_threads_that_share_their_cores_with_others_are_a_note(threads: int, cores: float, fewer: int | None) -> None:
    line = crowded(threads, cores)
    assert (line is None) if fewer is None else (line and f"OMP_NUM_THREADS={fewer} in" in line)


def test_the_cores_are_those_of_the_steps_that_are_measured(
    settings_of: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, used = iter([5.0, 7.0, 9.0]), iter([100.0, 102.0, 104.4])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("time.process_time", lambda: next(used))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    outlook = Outlook({"base": 10**6})
    outlook.started(start(settings_of(steps=20)))
    capsys.readouterr()
    for step in (1, 2, 3):
        outlook.stepped(step)
    row = Row(3, lr=0, total=0, terms={}, images_per_second=1, waiting=0.5, seconds=4, left=0)
    outlook.logged(row)
    assert "threads get" not in capsys.readouterr().err, "they wait for data"
    outlook.logged(replace(row, waiting=0.01))
    assert "note: 2 threads get 1.1 cores and wait for each other" in capsys.readouterr().err


def test_a_validation_is_no_step(
    settings_of: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 100.0, 101.0, 104.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    outlook = Outlook({"base": 10**6})
    outlook.started(start(settings_of(steps=103)))
    capsys.readouterr()
    outlook.stepped(1)
    outlook.scored(1, {})
    for step in (2, 3):
        outlook.stepped(step)
    assert capsys.readouterr().err == ""
    outlook.stepped(4)
    assert "for 99 more steps at 0.5 a second" in capsys.readouterr().err


def test_a_run_says_it_before_its_first_step(
    settings_of: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(settings_of(steps=1, batch=13), tmp_path / "run")
    told = capsys.readouterr().err
    assert f"\nrun       {tmp_path}/run: dukd, 1 steps\n" in told
    assert "\nrecords   12 base, 12 zoom_in, 12 zoom_out\n" in told
    assert told.index("more than the 12 records of base") < told.index("dukd: 1/1 steps")
