"""What trackers of experiments are told, by name: the same names in all of them."""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from math import isfinite

from dukd_train.scoring.scores import Score
from dukd_train.watching.observers import Observer, Row


class Tracker(Observer):
    """Logs losses, rate, speed and scores as numbers; what is in `closing` is done at the end."""

    def __init__(self) -> None:
        self.closing = ExitStack()

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of `step` by name."""

    def logged(self, row: Row) -> None:
        """`loss/total`, `loss/rec`, …, weights that change, and the rate, speed and share of time without data."""
        terms = {f"loss/{term}": value for term, value in {**row.terms, **row.learned}.items()}
        terms |= {f"weight/{term}": value for term, value in row.weights.items()}
        rest = {"lr": row.lr, "images_per_second": row.images_per_second, "waiting": row.waiting}
        self.log(row.step, {"loss/total": row.total} | terms | rest)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """`Set5/psnr_y`, …; no score that is not a number, which JSON cannot hold."""
        values = {f"{name}/{metric}": value for name, score in scores.items() for metric, value in score.items()}
        self.log(step, {name: value for name, value in values.items() if isfinite(value)})

    def ended(self, step: int) -> None:  # noqa: ARG002
        self.closing.close()
