"""What trackers of experiments are told, by name: the same names in all of them."""

from collections.abc import Mapping
from math import isfinite

from dukd_train.scoring.scores import Score
from dukd_train.watching.observers import Row


def row_values(row: Row) -> dict[str, float]:
    """`loss/total`, `loss/rec`, …, and the rate, speed and share of time without data."""
    terms = {f"loss/{term}": value for term, value in row.terms.items()}
    rest = {"lr": row.lr, "images_per_second": row.images_per_second, "waiting": row.waiting}
    return {"loss/total": row.total} | terms | rest


def score_values(scores: Mapping[str, Score]) -> dict[str, float]:
    """`Set5/psnr_y`, …; no score that is not a number, which JSON cannot hold."""
    return {
        f"{name}/{metric}": value
        for name, score in scores.items()
        for metric, value in score.items()
        if isfinite(value)
    }
