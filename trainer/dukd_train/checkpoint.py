"""The state of a run between two steps: saved whole or not at all, and restored exactly."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from dukd_cache.files import finished_file
from dukd_train.errors import RunError
from dukd_train.losses import Part

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    """All that the next step needs; data and schedule are functions of the step."""

    step: int
    """Steps done."""
    seconds: float
    """Time spent training so far."""
    cache_digest: str
    """Of the cache that was read."""
    losses: dict[Part, list[float]]
    """Of the steps since the last row of `curve.csv`."""
    student: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]


def save(checkpoint: Checkpoint, run: Path) -> None:
    """Replace the checkpoint of the run folder `run`."""
    with finished_file(run / CHECKPOINT) as partial:
        torch.save(vars(checkpoint), partial)


def load(run: Path) -> Checkpoint | None:
    """The checkpoint of `run`, if it has one.

    Raises:
        RunError: the file is not whole.
    """
    path = run / CHECKPOINT
    if not path.is_file():
        return None
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, EOFError, UnpicklingError) as error:
        raise RunError(f"{path}: not a whole checkpoint; remove it to start again") from error
