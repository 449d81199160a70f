"""Checkpoints: exact, whole or refused, replaced in one go."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dukd_train import checkpoint
from dukd_train.checkpoint import CHECKPOINT, Checkpoint
from dukd_train.errors import RunError


def example(step: int = 7) -> Checkpoint:
    """The state of a small network after a step of Adam."""
    torch.manual_seed(step)
    student, ema = nn.Conv2d(3, 5, 3), nn.Conv2d(3, 5, 3)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.1)
    student(torch.rand(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    return Checkpoint(
        step=step,
        seconds=1.25,
        cache_digest="d1",
        losses={"rec": [0.1, 1 / 3], "kd": []},
        student=student.state_dict(),
        ema=ema.state_dict(),
        optimizer=optimizer.state_dict(),
    )


def assert_same(found: Any, expected: Any) -> None:
    """Equal to the last bit, however deep."""
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def test_no_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path) is None


def test_round_trip_is_exact(tmp_path: Path) -> None:
    state = example()
    checkpoint.save(state, tmp_path)
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert_same(dict(vars(found)), dict(vars(state)))


def test_the_last_one_stays(tmp_path: Path) -> None:
    checkpoint.save(example(1), tmp_path)
    checkpoint.save(example(2), tmp_path)
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found.step == 2
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


@pytest.mark.parametrize("kept", [0, 1, 10, 0.3, 0.9, -1])
def test_a_truncated_file_is_refused_in_one_line(tmp_path: Path, kept: float) -> None:
    checkpoint.save(example(), tmp_path)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(RunError) as caught:
        checkpoint.load(tmp_path)
    assert str(caught.value) == f"{path}: not a whole checkpoint; remove it to start again"


@pytest.mark.parametrize("content", [b"words, not tensors\n" * 20, b"\x80\x02", b"PK\x03\x04" + bytes(100), bytes(500)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(RunError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"step": 1}, {1: 2}, torch.zeros(2)])
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="not a whole checkpoint"):
        checkpoint.load(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({**vars(example()), "step": Trap()}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_save_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(example(1), tmp_path)

    def half(_state: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(example(2), tmp_path)
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found.step == 1
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
