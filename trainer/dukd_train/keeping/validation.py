"""`validation.csv`: scores of the averaged student on named sets, while it is trained.

Beside them it says how they were made, as that may change while a run is stopped: only rows made alike are compared.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from math import isnan
from pathlib import Path

import torch

from dukd_cache.networks import Network
from dukd_cache.pictures.sources import LrFolder
from dukd_cache.system.errors import ImageError, SettingError
from dukd_train.keeping.curve import append_row, columns_of, keep_rows_before, rows_of
from dukd_train.scoring.evaluate import ImagePair, check_pairs, evaluate, pair_images
from dukd_train.scoring.inference import Inference, prepared
from dukd_train.scoring.provenance import files_of
from dukd_train.scoring.scores import MetricName, Score, is_better, refuse_blind, scorer
from dukd_train.settings import Validation
from dukd_train.watching.observers import Observer, Start

VALIDATION = "validation.csv"

MADE = "made"
"""The column that says how a row's scores were made."""

_SHOWN: MetricName = "psnr_y"
"""By displays and curves."""


class Validator:
    """Scores a network on the sets of a config: the same scores for the same weights, whenever it is asked.

    Raises:
        ImageError: a set holds no images.
        SettingError: a metric is not to be had, psnr_y is not among them, or none is for a set without HR images.
    """

    def __init__(self, validation: Validation, scale: int, device: torch.device) -> None:
        if _SHOWN not in validation.metrics:
            raise SettingError(f"expected {_SHOWN} among them, as curves show it", "setting validation.metrics")
        self.scale = scale
        self._how, self._metrics = inference(validation), validation.metrics
        self._score = scorer(validation.metrics, device)
        self._pairs = _pairs(validation, scale)
        for name, images in validation.sets.items():
            if images.hr is None:
                refuse_blind(validation.metrics, f"setting validation.sets.{name}", "validation.metrics")
        self._bicubic: dict[str, dict[str, Score]] = {name: {} for name in self._pairs}

    def check(self, known: set[Hashable] | None = None) -> None:
        """Read every image once, so that none ends a training whose steps are done.

        `known` holds the sets that were read before, and learns those of this validator.

        Raises:
            ImageError: an image cannot be used.
        """
        known = set() if known is None else known
        for pairs in self._pairs.values():
            if (asked := (self._metrics, *pairs)) not in known:
                check_pairs(pairs, self._score)
                known.add(asked)

    def score(self, network: Network, only: Collection[str] | None = None) -> dict[str, Score]:
        """The mean score of each set, or of the named ones.

        `network` is asked where its parameters are, and left in eval mode.
        """
        asked = prepared(network, self._how)
        return {
            name: evaluate(asked, pairs, self._score, bicubic=self._bicubic[name]).means.network
            for name, pairs in self._pairs.items()
            if only is None or name in only
        }


class ValidationFile(Observer):
    """Writes `validation.csv`: step, set, a column for each metric that is, or was, computed, and how it was made."""

    def __init__(self, run: Path) -> None:
        self._path = run / VALIDATION
        self._columns: tuple[str, ...] = ()
        self._made: Mapping[str, str] = {}

    def started(self, start: Start) -> None:
        """Drop the rows that will be told again."""
        columns = ("step", "set", *start.config.validation.metrics, MADE)
        self._columns = tuple(dict.fromkeys((*columns_of(self._path), *columns)))
        self._made = made(start.config.validation, start.averaged.scale)
        keep_rows_before(self._path, self._columns, start.step)

    def scored(self, step: int, scores: Mapping[str, Score]) -> None:
        """Add a row for each set."""
        for name, mean in scores.items():
            row: dict[str, object] = {"step": step, "set": name, MADE: self._made.get(name, "")}
            append_row(self._path, self._columns, row | {metric: written(metric, mean[metric]) for metric in mean})


def scores_of(run: Path, name: str, metric: str, how: str) -> dict[int, float]:
    """Those of a set by step, as `validation.csv` has them; those that were made otherwise than `how` are left out."""
    rows = [row for row in rows_of(run / VALIDATION) if row["set"] == name]
    rows = [row for row in rows if row.get(MADE, "") in ("", how)]  # a file of before says nothing
    return {int(row["step"]): float(row[metric]) for row in rows if row.get(metric)}


def best_before(run: Path, validation: Validation, scale: int, step: int) -> dict[str, tuple[float, int]]:
    """PSNR-Y and step of the best validation of each set in `run` before `step`, among those made as they are now."""
    found: dict[str, tuple[float, int]] = {}
    for name, how in (made(validation, scale) if step else {}).items():
        for at, score in scores_of(run, name, _SHOWN, how).items():
            if at < step and (name not in found or is_better(_SHOWN, score, than=found[name][0])):
                found[name] = score, at
    return found


def inference(validation: Validation) -> Inference:
    """How students are asked."""
    return Inference(validation.tile, validation.tile_overlap, validation.self_ensemble)


def made(validation: Validation, scale: int) -> dict[str, str]:
    """How the scores of each set are made: `5 images (3f9a01c2), whole images`.

    Scores of one student that are made alike are alike, wherever the images lie.
    """
    return {name: made_of(pairs, inference(validation)) for name, pairs in _pairs(validation, scale).items()}


def made_of(pairs: Sequence[ImagePair], how: Inference) -> str:
    """How scores of one set are made; see `made`."""
    return f"{files_of(pairs)}, {how}"


def written(metric: str, value: float) -> str:
    """A score as the file holds it, and as it is compared with others: 0.0001 dB, or five digits; empty for NaN."""
    if isnan(value):
        return ""
    return f"{value:.4f}" if metric in ("psnr_y", "psnr") else f"{value:.5f}"


def _pairs(validation: Validation, scale: int) -> dict[str, list[ImagePair]]:
    pairs = {}
    for name, images in validation.sets.items():
        try:
            pairs[name] = pair_images(images.hr, scale, LrFolder(images.lr) if images.lr else None)
        except ImageError as error:
            raise error.about(f"setting validation.sets.{name}") from error
    return pairs
