"""Scores that are asked of a run when it is finished: its settings name new sets or metrics."""

from pathlib import Path

import torch

from dukd_cache import networks
from dukd_cache.system.lock import locked
from dukd_train.keeping import run_folder
from dukd_train.keeping.curve import rows_of
from dukd_train.keeping.validation import MADE, VALIDATION, ValidationFile, Validator, made
from dukd_train.scoring.scores import possible
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Start


def add(config: TrainConfig, out: Path, steps: int, validator: Validator, device: torch.device) -> tuple[str, ...]:
    """Score the student of a finished run of `steps` steps on what `config` asks for and its files do not have.

    The run's settings become `config`.

    Returns:
        The sets that were scored.

    Raises:
        CacheError: another process writes there.
        ImageError: an image cannot be used.
        WeightsError: the student cannot be read.
    """
    names = missing(config, out, steps, validator.scale)
    if names:
        validator.check()
        with locked(out, run_folder.LOCK, "training"):
            student = networks.load(out / run_folder.WEIGHTS).to(device)
            file = ValidationFile(out)
            file.started(Start(config, out, steps + 1, steps, student))
            file.scored(steps, validator.score(student, names))
            run_folder.record(out, config, run_folder.claim(out, config, allow=False), steps)
    return names


def missing(config: TrainConfig, out: Path, steps: int, scale: int) -> tuple[str, ...]:
    """The sets without a row of the last step that has all metrics and was made as it would be now."""
    rows = [row for row in rows_of(out / VALIDATION) if row["step"] == str(steps)]
    sets, metrics = config.validation.sets, config.validation.metrics
    return tuple(
        name
        for name, how in made(config.validation, scale).items()
        if not any(
            (row["set"], row.get(MADE)) == (name, how)
            and all(row.get(metric) for metric in possible(metrics, sets[name].hr is not None))
            for row in rows
        )
    )
