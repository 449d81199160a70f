"""Whom the training loop tells how it goes: the run folder's files, the display, trackers of experiments.

Nobody here may keep the loop waiting: what is told are plain numbers that are already off the device.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dukd_cache.networks import Network
from dukd_train.scoring.scores import Score
from dukd_train.settings import TrainConfig


@dataclass(frozen=True)
class Start:
    """What is about to be trained."""

    config: TrainConfig
    """All settings."""
    folder: Path
    """The run folder."""
    step: int
    """Steps done before. What was told of this step (if it is not 0) and of later ones will be told again."""
    steps: int
    """Steps in all."""
    averaged: Network
    """The averaged student, whose weights every step changes."""
    losses_known: bool = True
    """Whether those of `step` are told again: a checkpoint of a loss with other terms has none."""
    best: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """PSNR-Y and step of the best validation before `step`, by set."""

    @property
    def losses_from(self) -> int:
        """Losses of this step and of later ones will be told again."""
        return self.step if self.losses_known else self.step + 1


@dataclass(frozen=True)
class Row:
    """The steps since the row before, up to `step`."""

    step: int
    """Steps done, counted from the run's beginning."""
    lr: float
    """Learning rate of the last of these steps."""
    total: float
    """Mean of the loss."""
    terms: Mapping[str, float]
    """Mean of each of its terms, without its weight."""
    images_per_second: float
    """Inputs of all views a second of wall time."""
    waiting: float
    """Share of the wall time, 0…1, in which the loop waited for data."""
    seconds: float
    """Spent on this run so far, in all sittings."""
    left: float
    """Estimated seconds until the last step."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of the terms whose weight changes: that of the last of these steps."""
    learned: Mapping[str, float] = field(default_factory=dict)
    """Means of what measures that learn tell of themselves: `gan.real`, `gan.fake`."""


class Observer:
    """Overrides what it wants to be told of. Called in the training's own thread: it has to be quick."""

    def started(self, start: Start) -> None:
        """Before the first step of this sitting."""

    def stepped(self, step: int) -> None:
        """`step` steps are done (queued, on a GPU). Called after every step."""

    def logged(self, row: Row) -> None:
        """Every `log_every` steps and after the last."""

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """The averaged student's scores after `step` steps, by validation set."""

    def saved(self, step: int) -> None:
        """The run folder holds a new checkpoint, of `step` steps, whose row and scores are not told yet."""

    def ended(self, step: int) -> None:
        """No more is told, as `step` steps are done: all of them, or fewer where an error or a signal ended it."""


class Observers(Observer):
    """Tells each of many, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, start: Start) -> None:
        for observer in self._observers:
            observer.started(start)

    def stepped(self, step: int) -> None:
        for observer in self._observers:
            observer.stepped(step)

    def logged(self, row: Row) -> None:
        for observer in self._observers:
            observer.logged(row)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        for observer in self._observers:
            observer.scored(step, scores)

    def saved(self, step: int) -> None:
        for observer in self._observers:
            observer.saved(step)

    def ended(self, step: int) -> None:
        with ExitStack() as everyone:  # also where one of them fails
            for observer in reversed(self._observers):
                everyone.callback(observer.ended, step)
