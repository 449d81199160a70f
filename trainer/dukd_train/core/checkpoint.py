"""The state of a run between two steps: saved whole or not at all, and restored exactly.

`checkpoint-001200.pt` is the state after 1200 steps; `checkpoint-001200.pt.sha256`, written before it, is what
`sha256sum --check` reads. The newest two stay, so that there is another one where the newest is damaged.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch

from dukd_cache.system.files import finished_file, write_atomically
from dukd_cache.system.left_overs import remove_left_overs
from dukd_train.errors import RunError

KEPT = 2
"""How many checkpoints a run folder holds."""

_NAME = re.compile(r"checkpoint-(\d{6,})\.pt")
_HASH = ".sha256"


class Origin(NamedTuple):
    """What a run was made of, so that it is not resumed on anything else."""

    cache_digest: str
    init_fingerprint: str
    """Of the network that the student started from; empty where its weights were drawn."""


@dataclass(frozen=True)
class Checkpoint:
    """All that the next step needs; data and schedule are functions of the step."""

    step: int
    """Steps done."""
    begun: float
    """POSIX time when the run began."""
    seconds: float
    """Time spent training so far."""
    origin: tuple[str, str]
    """An `Origin`."""
    terms: dict[str, dict[str, str]]
    """What the loss was made of, without its weights."""
    losses: dict[str, list[float]]
    """Of the steps since the last row of `curve.csv`, by term."""
    student: dict[str, Any]
    ema: dict[str, Any]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    """Of the gradient scaler; {} where there is none."""
    learned: dict[str, Any] = field(default_factory=dict)
    """Of measures that learn, by term."""


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint of a run."""

    checkpoint: Checkpoint
    name: str
    """Of its file."""
    damaged: tuple[str, ...]
    """What is wrong with the newer ones, newest first; a line each."""


def save(checkpoint: Checkpoint, run: Path) -> None:
    """Add a checkpoint to the run folder `run`; drop those that are too old, and any of later steps."""
    path = run / f"checkpoint-{checkpoint.step:06d}.pt"
    with finished_file(path) as partial:
        torch.save(vars(checkpoint), partial)
        write_atomically(_sidecar(path), f"{_sha256(partial)}  {path.name}\n".encode())
    kept = [step for step in _steps(run) if step <= checkpoint.step][:KEPT]
    for other in run.glob("checkpoint-*"):
        name = _NAME.fullmatch(other.name.removesuffix(_HASH))
        if name and int(name[1]) not in kept:
            other.unlink(missing_ok=True)
    remove_left_overs(run.iterdir())


def newest(run: Path) -> Found | None:
    """The newest checkpoint of `run` that is whole; None where it has none at all.

    Raises:
        RunError: there are checkpoints, but none of them is whole.
    """
    damaged: list[str] = []
    for step in _steps(run):
        path = run / f"checkpoint-{step:06d}.pt"
        try:
            return Found(_load(path), path.name, tuple(damaged))
        except RunError as error:
            damaged.append(str(error))
    if damaged:
        raise RunError("; ".join(damaged), run, cure="remove them to start again")
    return None


def _load(path: Path) -> Checkpoint:
    """A checkpoint whose bytes are those that were written.

    Raises:
        RunError: they are not, or it holds something else.
    """
    try:
        stored, computed = _sidecar(path).read_text(errors="replace").split()[:1], _sha256(path)
    except FileNotFoundError:
        raise RunError(f"{path.name} is damaged: {_sidecar(path).name} is missing") from None
    if stored != [computed]:
        shown = stored[0][:12] if stored else "nothing"
        raise RunError(f"{path.name} is damaged: sha256 {shown}… stored, {computed[:12]}… computed")
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, TypeError, EOFError, UnpicklingError) as error:
        raise RunError(f"{path.name} is no checkpoint of this version") from error


def _steps(run: Path) -> list[int]:
    """Of all checkpoints in `run`, newest first."""
    names = (_NAME.fullmatch(path.name) for path in run.glob("checkpoint-*.pt"))
    return sorted((int(name[1]) for name in names if name), reverse=True)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}{_HASH}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
