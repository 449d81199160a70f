"""Where a test makes a training stop, or does something to it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dukd_train.core.learner import Learner
from dukd_train.keeping.validation import ValidationFile
from dukd_train.scoring.scores import Score


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run where the scores of `step` are to be written."""
    scored = ValidationFile.scored

    def interrupted(file: ValidationFile, done: int, scores: Mapping[str, Score]) -> None:
        if done == step:
            raise KeyboardInterrupt
        scored(file, done, scores)

    monkeypatch.setattr(ValidationFile, "scored", interrupted)


def in_step(number: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something in the middle of the `number`-th step from now, counted from 1."""
    step, calls = Learner.step, iter(range(1, 1000))

    def disturbed(*arguments: Any) -> Any:
        if next(calls) == number:
            act()
        return step(*arguments)

    monkeypatch.setattr(Learner, "step", disturbed)


def interrupt() -> None:
    raise KeyboardInterrupt
