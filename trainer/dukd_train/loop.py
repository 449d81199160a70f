"""The training loop: batches in, gradients, one optimizer step, averaged weights out."""

import copy
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dukd_cache.manifest import View
from dukd_cache.networks import Network
from dukd_train import checkpoint, schedule
from dukd_train.checkpoint import Checkpoint
from dukd_train.config import TrainConfig
from dukd_train.data import Batches
from dukd_train.errors import RunError
from dukd_train.journal import Losses
from dukd_train.losses import PARTS, Part, l1
from dukd_train.observers import Observer, Row, Start
from dukd_train.order import step_seed
from dukd_train.pace import Pace
from dukd_train.rows import Batch
from dukd_train.validation import Validator


@dataclass(frozen=True)
class Training:
    """What a run works with."""

    config: TrainConfig
    student: Network
    batches: Batches
    weights: dict[Part, float]
    device: torch.device
    cache_digest: str
    """Names the data, so that a run is not resumed on others."""


def train(run: Training, out: Path, validator: Validator, observers: Observer) -> tuple[Network, float]:
    """Train from the last checkpoint in `out`, or from the start; return the averaged student and the seconds.

    A checkpoint is older than the row and the scores of its step: they are told again where a run goes on.

    Raises:
        RunError: the checkpoint is damaged, or the cache is not the one it was trained on.
    """
    config, student = run.config, run.student
    ema = copy.deepcopy(student)
    ema.module.requires_grad_(False)
    optimizer = torch.optim.Adam(
        student.module.parameters(),
        lr=config.optimizer.lr,
        betas=config.optimizer.betas,
        weight_decay=config.optimizer.weight_decay,
    )
    start, before, pending = _resume(run, out, ema, optimizer)
    losses, pace, done = Losses(run.weights, pending), Pace(start, config.steps, before), start

    def tell() -> None:
        """What is due after `done` steps."""
        if _due(config.log_every, done, config):
            observers.logged(_row(run, losses, pace, done))
        if _due(config.validation.every, done, config):
            observers.scored(done, validator.score(ema))

    student.module.train()
    try:
        observers.started(Start(config, out, start, config.steps))
        if start:
            tell()
        for step, batch in pace.waits(run.batches.ahead(start, config.steps)):
            _reseed(run.device, step_seed(config.seed, step))
            losses.add(optimize(run, batch, optimizer, _rate(config, step)))
            _average(ema.module, student.module, schedule.ema_decay(step, config.ema))
            done = step + 1
            observers.stepped(done)
            if _due(config.checkpoint_every, done, config) or _due(config.validation.every, done, config):
                _save(run, out, done, pace.seconds(), losses, ema, optimizer)
            tell()
    finally:
        observers.ended(done)
    return ema, pace.seconds()


def optimize(
    run: Training, batch: dict[View, Batch], optimizer: torch.optim.Optimizer, rate: float
) -> dict[Part, Tensor]:
    """One optimizer step; returns the parts of the loss, without their weights."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with _precision(run):
        outputs = _forward(run.student, batch)
    parts = {
        part: l1(outputs[view], batch[view].targets[target])
        for part, (view, target) in PARTS.items()
        if part in run.weights
    }
    total = torch.stack([run.weights[part] * value for part, value in parts.items()]).sum()
    optimizer.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    if run.config.optimizer.clip is not None:
        nn.utils.clip_grad_norm_(run.student.module.parameters(), run.config.optimizer.clip)
    optimizer.step()
    return {part: value.detach() for part, value in parts.items()}


def _forward(student: Network, batch: dict[View, Batch]) -> dict[View, Tensor]:
    """The student's outputs; views whose inputs have one size go through it together."""
    sizes = {view: part.input.shape[-1] for view, part in batch.items()}
    outputs: dict[View, Tensor] = {}
    for size in dict.fromkeys(sizes.values()):
        views = [view for view in batch if sizes[view] == size]
        inputs = torch.cat([batch[view].input for view in views])
        inputs = inputs.float().div(255).contiguous(memory_format=torch.channels_last)
        pieces = torch.split(student.forward(inputs), [len(batch[view].input) for view in views])
        outputs.update(zip(views, pieces, strict=True))
    return outputs


def _due(every: int, done: int, config: TrainConfig) -> bool:
    """Whether something is to happen after `done` steps: `every` so many (0: never), and after the last."""
    return done == config.steps or (every > 0 and done % every == 0)


def _rate(config: TrainConfig, step: int) -> float:
    """The learning rate at `step`, counted from 0."""
    return config.optimizer.lr * schedule.factor(step, config.steps, config.schedule)


def _row(run: Training, losses: Losses, pace: Pace, done: int) -> Row:
    total, parts = losses.take()
    speed = pace.lap(done)
    images = run.config.batch * len({PARTS[part][0] for part in parts})
    return Row(
        step=done,
        lr=_rate(run.config, done - 1),
        total=total,
        parts=parts,
        images_per_second=images * speed.steps_per_second,
        waiting=speed.waiting,
        seconds=pace.seconds(),
        left=speed.left,
    )


def _precision(run: Training) -> torch.autocast | nullcontext[None]:
    if run.config.precision == "fp32":
        return nullcontext()
    return torch.autocast(run.device.type, torch.bfloat16)


@torch.no_grad()
def _average(ema: nn.Module, student: nn.Module, decay: float) -> None:
    """ema ← decay·ema + (1 − decay)·student."""
    torch._foreach_lerp_(list(ema.parameters()), list(student.parameters()), 1 - decay)
    for kept, current in zip(ema.buffers(), student.buffers(), strict=True):
        kept.copy_(current)


def _reseed(device: torch.device, seed: int) -> None:
    """For students that draw random numbers in training; torch.manual_seed would take longer than a small step."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _resume(
    run: Training, out: Path, ema: Network, optimizer: torch.optim.Optimizer
) -> tuple[int, float, dict[Part, list[float]]]:
    found = checkpoint.load(out)
    if found is None:
        return 0, 0.0, {}
    if found.cache_digest != run.cache_digest:
        raise RunError(f"{out}: begun on another cache than {run.config.cache} holds now; choose another --out")
    run.student.module.load_state_dict(found.student)
    ema.module.load_state_dict(found.ema)
    optimizer.load_state_dict(found.optimizer)
    return found.step, found.seconds, found.losses


def _save(
    run: Training,
    out: Path,
    step: int,
    seconds: float,
    losses: Losses,
    ema: Network,
    optimizer: torch.optim.Optimizer,
) -> None:
    state = Checkpoint(
        step=step,
        seconds=seconds,
        cache_digest=run.cache_digest,
        losses=losses.pending(),
        student=run.student.module.state_dict(),
        ema=ema.module.state_dict(),
        optimizer=optimizer.state_dict(),
    )
    checkpoint.save(state, out)
