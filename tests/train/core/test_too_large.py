"""A batch beyond memory is one line, before the first step or in it."""

from pathlib import Path

import pytest
import torch

from dukd_cache import networks
from dukd_cache.system.errors import SettingError
from dukd_train.core import too_large
from dukd_train.core.learner import Learner
from dukd_train.core.run import run
from dukd_train.errors import RunError
from dukd_train.settings import TrainConfig

EDSR = {"channels": 8, "blocks": 2}


def test_what_a_step_holds_is_what_its_convolutions_keep() -> None:
    """Each keeps its input, in float32: six at the LR size, one at the HR size."""
    student = networks.build("EDSR", 2, EDSR)
    pixel = 4 * 16 * 16
    inputs = 3 + 8 * (1 + 2 * 2) + 8 + 8 * 4
    held = too_large.held_by(student, [16])
    assert inputs * pixel <= held <= 2 * inputs * pixel
    assert too_large.held_by(student, [16, 16]) == pytest.approx(2 * held, rel=0.01)
    assert too_large.held_by(student, [32]) == pytest.approx(4 * held, rel=0.01)


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [("EDSR", EDSR), ("SwiftSRGAN", {"num_channels": 8, "num_blocks": 1}), ("SPAN", {"feature_channels": 8})],
)
def test_counting_leaves_no_trace(architecture: str, settings: dict[str, int]) -> None:
    student = networks.build(architecture, 2, settings)
    before = {name: tensor.clone() for name, tensor in student.module.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    too_large.held_by(student, [16])
    assert torch.equal(torch.rand(1), expected)
    assert student.module.training
    for name, tensor in student.module.state_dict().items():
        assert torch.equal(tensor, before[name])


def config(cache_folder: Path, batch: int) -> TrainConfig:
    return TrainConfig.model_validate(
        {"cache": cache_folder, "batch": batch, "steps": 1, "student": {"settings": EDSR}, "device": "cpu"}
    )


def test_a_batch_beyond_memory_is_refused_before_anything_is_written(cache_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        run(config(cache_folder, 10**9), tmp_path / "run")
    line = str(caught.value)
    assert line.startswith("setting batch: 1000000000 is too many: a step holds at least ")
    fitting = int(line.partition("expected at most ")[2].partition(",")[0])
    assert 100 < fitting < 10**9
    assert not (tmp_path / "run").exists()


def test_a_batch_that_may_not_fit_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    student = networks.build("EDSR", 2, EDSR)
    monkeypatch.setattr(too_large, "obtainable_memory", lambda: 52 * too_large.held_by(student, [16]))
    too_large.refuse_too_large(20, student, [16], part=1.0)
    assert capsys.readouterr().err == ""
    too_large.refuse_too_large(52, student, [16], part=1.0)
    assert capsys.readouterr().err.rstrip().endswith("of memory can be had: a batch of 20 would fit")
    with pytest.raises(SettingError, match=r"53 is too many: .* expected at most 20, or a smaller patch"):
        too_large.refuse_too_large(53, student, [16], part=1.0)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_in_a_step_is_said(
    error: Exception, cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr(Learner, "step", fail)
    with pytest.raises(RunError, match="memory ran out in a step of batch 2: take a smaller batch or patch"):
        run(config(cache_folder, 2), tmp_path / "run")
