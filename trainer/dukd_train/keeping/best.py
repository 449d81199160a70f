"""`best.safetensors`: the averaged student as it was at its best validation.

What was best so far is read from `validation.csv`, so that a run that was stopped keeps what an uninterrupted one does.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from dukd_cache import networks
from dukd_cache.networks import Network
from dukd_cache.system.errors import SettingError, unknown_name
from dukd_train.keeping.validation import made, scores_of, written
from dukd_train.scoring.scores import Score, best_of, is_better, possible
from dukd_train.settings import Validation
from dukd_train.watching.observers import Observer, Start

BEST = "best.safetensors"


class Criterion(NamedTuple):
    """By which score students are told apart."""

    set: str
    metric: str


def criterion(validation: Validation) -> Criterion | None:
    """What `validation.best` names, or the first set's first metric; None where there are no sets.

    Raises:
        SettingError: a set or metric that is not computed.
    """
    known = {
        f"{name}/{metric}": Criterion(name, metric)
        for name, images in validation.sets.items()
        for metric in possible(validation.metrics, images.hr is not None)
    }
    if validation.best is None:
        return next(iter(known.values()), None)
    if validation.best not in known:
        raise SettingError(unknown_name("score", validation.best, known), "setting validation.best")
    return known[validation.best]


class BestWeights(Observer):
    """Keeps `best.safetensors`. To be told after `validation.csv` is."""

    def __init__(self, by: Criterion) -> None:
        self._by = by
        self._best = math.nan
        self._made = ""
        self._folder: Path
        self._averaged: Network

    def started(self, start: Start) -> None:
        """Look up what the file holds, where a run goes on."""
        self._folder, self._averaged = start.folder, start.averaged
        self._made = made(start.config.validation, start.averaged.scale).get(self._by.set, "")
        self._best = self._so_far(start.step)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """Keep the weights if they are better than all before; the first of equals stays."""
        name, metric = self._by
        text = written(metric, scores[name][metric])  # empty where every image is answered exactly
        if text and is_better(metric, float(text), than=self._best):
            self._best = float(text)
            facts = {"step": str(step), "set": name, metric: text}
            networks.save(self._averaged, self._folder / BEST, facts)

    def _so_far(self, step: int) -> float:
        """The score of the weights in the file; NaN where there is none.

        Where they are of a step that will be told again, a killed run left them: what was best before counts, and they
        are written anew in their time.
        """
        kept = _step_of(self._folder / BEST)
        if kept is None:
            return math.nan
        scores = scores_of(self._folder, *self._by, self._made)
        return scores.get(kept, math.nan) if kept < step else best_of(self._by.metric, scores.values())


def _step_of(path: Path) -> int | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return int((file.metadata() or {})["step"])
    except Exception:  # not one of ours, or damaged: the next validation replaces it
        return None
