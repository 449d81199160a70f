"""The training loop: batches in, gradients, one optimizer step, averaged weights out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from dukd_cache.networks import Network
from dukd_cache.system.errors import DukdError
from dukd_cache.system.terminal import say
from dukd_train.core import checkpoint, schedule
from dukd_train.core.checkpoint import Checkpoint, Origin
from dukd_train.core.learner import Learner
from dukd_train.core.parallel import Agreement, World
from dukd_train.core.stopping import Stop
from dukd_train.core.too_large import out_of_memory_is_said
from dukd_train.data.batches import Batches
from dukd_train.data.order import step_seed
from dukd_train.errors import DivergedError
from dukd_train.keeping.curve import Losses
from dukd_train.keeping.validation import Validator, best_before
from dukd_train.objective import Ramp, Term, without_weights
from dukd_train.settings import TrainConfig
from dukd_train.watching.observers import Observer, Row, Start
from dukd_train.watching.pace import Pace


@dataclass(frozen=True)
class Training:
    """What a run works with."""

    config: TrainConfig
    student: Network
    batches: Batches
    terms: dict[str, Term]
    """Of the loss."""
    world: World
    origin: Origin
    begun: float
    """POSIX time when the run began."""


Keep = Callable[[Network, float], None]
"""Keeps the averaged student of a run whose last step is done, and that took so many seconds."""


def train(
    run: Training, out: Path, last: Checkpoint | None, validator: Validator, observers: Observer, keep: Keep
) -> None:
    """Train on from the checkpoint `last`, or from the start, until `keep` has the averaged student and it is scored.

    A checkpoint is older than the row and the scores of its step: they are told again where a run goes on. SIGINT,
    SIGTERM and SIGHUP act when the step that is under way is done and saved. A validation that fails on the way is told
    and left out: its images may be there again for the next one.

    Raises:
        RunError: the checkpoint is of another student.
        DivergedError: a loss or a weight is not finite; what was saved before stays.
        DukdError, OSError: the last validation failed. The student is kept, and the same command validates it again.
    """
    config, learner = run.config, Learner(run.config, run.student, run.terms, run.world)
    start = done = last.step if last else 0
    if last:
        learner.restore(last.student, last.ema, last.optimizer, last.scaler, last.learned)
    terms = without_weights(run.terms)
    losses = Losses(run.terms, start, last.losses if last and last.terms == terms else {}, run.world.mean)
    pace = Pace(start, config.steps, last.seconds if last else 0.0)

    def due(every: int) -> bool:
        """Every so many steps (0: never), and after the last."""
        return done == config.steps or (every > 0 and done % every == 0)

    def save() -> None:
        pending = losses.pending()
        if not learner.is_finite():
            raise DivergedError(f"step {done}: the weights are not finite after it")
        if run.world.leads:
            state = Checkpoint(done, run.begun, pace.seconds(), (*run.origin,), terms, pending, **learner.state())
            checkpoint.save(state, out)
            observers.saved(done)

    def tell() -> None:
        if losses and due(config.log_every):
            observers.logged(_row(run, losses, pace, done))
        if done == config.steps:
            keep(learner.averaged, pace.seconds())
        if due(config.validation.every):
            validate()

    def validate() -> None:
        try:
            observers.scored(done, validator.score(learner.averaged))
        except (DukdError, OSError) as error:
            if done == config.steps:
                raise
            say(f"{out}: step {done}: no scores: {error}")

    try:
        known = start == 0 or len(losses) > 0
        best = best_before(out, config.validation, run.student.scale, start)
        observers.started(Start(config, out, start, config.steps, learner.averaged, known, best))
        if start:
            tell()
        with Stop(patient=run.world.size > 1) as stop, out_of_memory_is_said(config.batch):
            stopping = Agreement(run.world)
            for step, batch in pace.waits(run.batches.ahead(start, config.steps), learner.is_done):
                _reseed(run.world, step_seed(config.seed, step))
                losses.add(learner.step(batch, _rate(config, step), schedule.ema_decay(step, config.ema), step))
                done = step + 1
                observers.stepped(done)
                signal = stopping.largest(stop.signal)
                if signal or due(config.checkpoint_every) or due(config.validation.every):
                    save()
                    stop.deliver(signal)
                    with stop.at_once():  # a validation may take long, and is done again where the run goes on
                        tell()
                else:
                    tell()
    except DivergedError as error:
        raise DivergedError(str(error), out, cure=_advice(config)) from None
    finally:
        observers.ended(done)


def _rate(config: TrainConfig, step: int) -> float:
    """The learning rate at `step`, counted from 0."""
    return config.optimizer.lr * schedule.factor(step, config.steps, config.schedule)


def _row(run: Training, losses: Losses, pace: Pace, done: int) -> Row:
    total, means = losses.take()
    speed = pace.lap(done)
    images = run.config.batch * len({term.view for term in run.terms.values()})
    return Row(
        step=done,
        lr=_rate(run.config, done - 1),
        total=total,
        terms={name: means[name] for name in run.terms},
        images_per_second=images * speed.steps_per_second,
        waiting=speed.waiting,
        seconds=pace.seconds(),
        left=speed.left,
        weights={name: term.weight_at(done - 1) for name, term in run.terms.items() if isinstance(term.weight, Ramp)},
        learned={name: mean for name, mean in means.items() if name not in run.terms},
    )


def _advice(config: TrainConfig) -> str:
    """What to change in a training that diverged."""
    finer = "" if config.precision == "fp32" else "precision=fp32 or "
    clip = "" if config.optimizer.clip else " or optimizer.clip=1"
    return f"try {finer}an optimizer.lr below {config.optimizer.lr:g}{clip}, with `allow_changes` or another `out`"


def _reseed(world: World, seed: int) -> None:
    """For students that draw random numbers in training; torch.manual_seed would take longer than a small step."""
    if world.device.type == "cuda":
        torch.cuda.manual_seed(seed ^ world.rank)
    else:
        torch.default_generator.manual_seed(seed ^ world.rank)
