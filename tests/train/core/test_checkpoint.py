"""Checkpoints: exact; the newest that is whole is taken, what is not is named."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.left_overs import left_over
from torch import nn

from dukd_cache import networks
from dukd_cache.system.errors import WeightsError
from dukd_train.core import checkpoint
from dukd_train.core.checkpoint import Checkpoint
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
        begun=1e9,
        seconds=1.25,
        origin=("d1", ""),
        terms={"rec": {"view": "base", "to": "truth", "by": "l1"}},
        losses={"rec": [0.1, 1 / 3], "kd": []},
        student=student.state_dict(),
        ema=ema.state_dict(),
        optimizer=optimizer.state_dict()["state"],
        scaler={"scale": 65536.0, "_growth_tracker": 3},
    )


def names(run: Path) -> list[str]:
    return sorted(path.name for path in run.iterdir())


def found_step(run: Path) -> int | None:
    found = checkpoint.newest(run)
    return found.checkpoint.step if found else None


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
    assert checkpoint.newest(tmp_path) is None


def test_round_trip_is_exact(tmp_path: Path) -> None:
    state = example()
    checkpoint.save(state, tmp_path)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert_same(dict(vars(found.checkpoint)), dict(vars(state)))
    assert (found.name, found.damaged) == ("checkpoint-000007.pt", ())


def test_the_newest_two_stay(tmp_path: Path) -> None:
    for step in (8, 9, 1_000_000, 10_000_000):
        checkpoint.save(example(step), tmp_path)
    kept = ["checkpoint-10000000.pt", "checkpoint-1000000.pt"]
    assert names(tmp_path) == sorted(kept + [f"{name}.sha256" for name in kept])
    assert found_step(tmp_path) == 10_000_000


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    """A half-written checkpoint, a hash without its file; and what lay in a future that was lost."""
    left_over(tmp_path / "checkpoint-000003.pt")
    for name in ("checkpoint-000004.pt.sha256", "checkpoint-000009.pt"):
        (tmp_path / name).write_bytes(b"half")
    mine = ["checkpoint-000001.pt.bak", "checkpoint-000002.pt.partial", "checkpoint-mine.pt"]
    for name in mine:
        (tmp_path / name).write_bytes(b"the user's")
    checkpoint.save(example(5), tmp_path)
    assert names(tmp_path) == sorted(["checkpoint-000005.pt", "checkpoint-000005.pt.sha256", *mine])


def test_the_hash_is_one_that_sha256sum_checks(tmp_path: Path) -> None:
    checkpoint.save(example(), tmp_path)
    digest = hashlib.sha256((tmp_path / "checkpoint-000007.pt").read_bytes()).hexdigest()
    assert (tmp_path / "checkpoint-000007.pt.sha256").read_text() == f"{digest}  checkpoint-000007.pt\n"


@pytest.mark.parametrize("kept", [0, 1, 10, 0.3, 0.9, -1])
def test_the_one_before_a_damaged_one_is_taken(tmp_path: Path, kept: float) -> None:
    checkpoint.save(example(1), tmp_path)
    checkpoint.save(example(2), tmp_path)
    path = tmp_path / "checkpoint-000002.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.checkpoint.step, found.name) == (1, "checkpoint-000001.pt")
    stored, computed = (hashlib.sha256(content).hexdigest()[:12] for content in (whole, path.read_bytes()))
    assert found.damaged == (f"checkpoint-000002.pt is damaged: sha256 {stored}… stored, {computed}… computed",)


def test_one_flipped_bit_is_seen(tmp_path: Path) -> None:
    checkpoint.save(example(1), tmp_path)
    checkpoint.save(example(2), tmp_path)
    path = tmp_path / "checkpoint-000002.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert found_step(tmp_path) == 1


@pytest.mark.parametrize("sidecar", [None, b"", b"\xff\xfe", b"0" * 64 + b"  checkpoint-000002.pt\n"])
def test_a_hash_that_does_not_hold(tmp_path: Path, sidecar: bytes | None) -> None:
    checkpoint.save(example(1), tmp_path)
    checkpoint.save(example(2), tmp_path)
    path = tmp_path / "checkpoint-000002.pt.sha256"
    path.unlink() if sidecar is None else path.write_bytes(sidecar)
    assert found_step(tmp_path) == 1


def test_none_that_is_whole_is_refused_in_one_line(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(example(step), tmp_path)
        (tmp_path / f"checkpoint-{step:06d}.pt.sha256").unlink()
    with pytest.raises(RunError) as caught:
        checkpoint.newest(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: checkpoint-000002.pt is damaged: checkpoint-000002.pt.sha256 is missing; "
        "checkpoint-000001.pt is damaged: checkpoint-000001.pt.sha256 is missing; remove them to start again"
    )


def hashed(content: bytes, run: Path) -> None:
    """A file whose hash holds, whatever is in it."""
    (run / "checkpoint-000002.pt").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (run / "checkpoint-000002.pt.sha256").write_text(f"{digest}  checkpoint-000002.pt\n")


@pytest.mark.parametrize("content", [b"words, not tensors\n" * 20, b"\x80\x02", b"PK\x03\x04" + bytes(100), bytes(500)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    hashed(content, tmp_path)
    with pytest.raises(RunError, match="no checkpoint of this version"):
        checkpoint.newest(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"step": 1}, {1: 2}, torch.zeros(2)])
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other")
    hashed((tmp_path / "other").read_bytes(), tmp_path)
    with pytest.raises(RunError, match="no checkpoint of this version"):
        checkpoint.newest(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({**vars(example()), "step": Trap()}, tmp_path / "other")
    hashed((tmp_path / "other").read_bytes(), tmp_path)
    with pytest.raises(RunError):
        checkpoint.newest(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_a_save_that_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(example(1), tmp_path)
    before = names(tmp_path)

    def half(_state: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(example(2), tmp_path)
    assert found_step(tmp_path) == 1
    assert names(tmp_path) == before


def test_a_checkpoint_is_no_weights_file(tmp_path: Path) -> None:
    checkpoint.save(example(150), tmp_path)
    path = tmp_path / "checkpoint-000150.pt"
    what = "a checkpoint of a training (step 150), not a network"
    with pytest.raises(WeightsError) as caught:
        networks.load(path)
    assert str(caught.value) == f"{path}: {what}: the end of the training writes student.safetensors beside it"
